//! `hakiri deploy aws` on a stand-in for AWS: the generated template deployed through CloudFormation, the generated machine
//! interpreted, the binary as the function and as the container of each task, in both shapes: a table of DynamoDB with
//! functions and a task, and a PostgreSQL with tasks alone. Permissions are enforced. The bytes of the parts are those of
//! `hakiri run` (P1), whatever is killed (E1), and the calls of each step those of the orchestrator in process (E6).

mod faults;
mod lake;
mod permissions;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;

use crate::support::api;
use crate::support::bucket::{Keys, objects_of, put};
use crate::support::dev::{Dev, kill};
use crate::support::pg::Db;
use crate::support::sources::{
    BUCKET, FIRST, SCRIPTS, Sources, assert_same, file, here, minute, named, records, reference, scripted, traces,
};
use crate::support::{Project, sha256};

/// The longest that anything here may take.
const BOUND: Duration = Duration::from_secs(240);
/// Functions for what they can reach, and a task for the database.
const FUNCTIONS: &str = "[deploy.aws]\nfargate = [\"db\"]";
/// Tasks alone, on PostgreSQL.
const TASKS: &str = "[deploy.aws]\ncatalog = \"postgres\"";

/// A deployment on the stand-in, where somebody may look and bring files.
struct There {
    dev: Dev,
    /// The stand-in's address.
    url: String,
    /// The store's bucket.
    bucket: String,
}

impl There {
    fn open(project: &Project, secrets: &[(&str, &str)]) -> Self {
        let mut dev = Dev::start(project, "aws", &["--ticks", "0"], secrets);
        let ready = dev.wait_for("ready", BOUND);
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{ready}")).to_owned();
        Self { url: text(&ready["url"]), bucket: text(&ready["outputs"]["Bucket"]), dev }
    }

    /// The files of the store by their hashes, but the marker.
    fn files(&self) -> BTreeMap<String, String> {
        let files = objects_of(&self.url, &self.bucket, "", &Keys::local());
        files.into_iter().filter(|(f, _)| f != "_hakiri.json").map(|(f, bytes)| (f, sha256(&bytes))).collect()
    }

    /// Puts files into the inbox here, and into that of `hakiri run`.
    fn deliver(&self, sources: &Sources, files: &[u32]) {
        let endpoint = std::env::var("HAKIRI_TEST_S3").expect("HAKIRI_TEST_S3 is not set: run the tests with ./x test");
        for (name, text) in files.iter().copied().map(file) {
            let key = format!("{}/{name}", sources.inbox);
            put(&endpoint, BUCKET, &key, text.as_bytes(), &Keys::from_env());
            put(&self.url, BUCKET, &key, text.as_bytes(), &Keys::local());
        }
    }

    /// Ends it in an orderly way.
    fn close(self) {
        drop(self.dev);
    }
}

fn borrowed<'s>(secrets: &'s [(&'static str, String)]) -> Vec<(&'s str, &'s str)> {
    secrets.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// No execution of a run without faults fails, and every tick is reported.
#[track_caller]
fn all_went_well(lines: &[Value], ticks: usize) {
    let settled: Vec<&Value> = lines.iter().filter(|l| l["event"] == "settled").collect();
    assert_eq!(settled.len(), ticks);
    let failed: Vec<_> = settled.iter().filter(|l| l["failed"] != serde_json::json!({})).collect();
    let said: Vec<_> = lines.iter().filter(|l| l["part"] == "machine").collect();
    assert!(failed.is_empty(), "{failed:#?}\n{said:#?}");
}

fn twenty_ticks(deploy: &str) -> Vec<Value> {
    let sources = Sources::new(20, Duration::ZERO);
    let (cloud, laptop) = (sources.project(deploy), sources.project(deploy));
    let secrets = sources.secrets();
    let secrets = borrowed(&secrets);
    let mut all = Vec::new();
    // What was deployed, its catalog and its store outlive the local run.
    for (from, ticks, files) in [(0, 12, vec![1, 2]), (12, 8, vec![3])] {
        let there = There::open(&cloud, &secrets);
        there.deliver(&sources, &files);
        there.close();
        let (first, count) = (minute(from, 0), ticks.to_string());
        let lines = Dev::start(&cloud, "aws", &["--ticks", &count, "--from", &first], &secrets).finish(BOUND);
        all_went_well(&lines, ticks as usize);
        all.extend(lines);
        reference(&sources, from, ticks, &laptop);
    }
    // The stand-in has the values of secrets, for nobody else to read.
    let kept = cloud.path().join(".hakiri/dev/aws/state/secretsmanager.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o077, 0, "{kept:?}");
    let (here, there) = (here(&laptop), There::open(&cloud, &secrets).files());
    assert!(here.keys().filter(|f| f.ends_with(".parquet")).count() >= 20 + 40 + 3, "{here:#?}");
    assert_same(&here, &there);
    all
}

/// How many processes of a part were started.
fn started(lines: &[Value], part: &str) -> usize {
    lines.iter().filter(|l| l["event"] == "started" && l["part"] == part).count()
}

#[test]
fn aws_twenty_ticks_of_functions_and_a_task_have_the_bytes_of_a_laptop() {
    let lines = twenty_ticks(FUNCTIONS);
    // Functions are kept warm; a task is one for each run.
    let (functions, tasks) = (started(&lines, "function"), started(&lines, "task:db"));
    assert!((1..=20).contains(&functions) && tasks >= 20, "{functions} functions, {tasks} tasks");
    assert_eq!((started(&lines, "task:api"), started(&lines, "task:files")), (0, 0));
}

#[test]
fn aws_twenty_ticks_of_tasks_on_postgres_have_the_bytes_of_a_laptop() {
    let lines = twenty_ticks(TASKS);
    for pipeline in ["api", "db", "files"] {
        assert!(started(&lines, &format!("task:{pipeline}")) >= 20);
    }
    assert_eq!(started(&lines, "function"), 0);
}

#[test]
fn aws_what_is_there_already_is_used_and_has_the_bytes_of_a_laptop() {
    const GIVEN: &str = "[deploy.aws]\nbucket = \"acme-lake\"\nvpc_id = \"vpc-0123456789abcdef0\"\n\
        subnet_ids = [\"subnet-0123456789abcdef0\", \"subnet-0123456789abcdef1\"]\n\
        security_group_ids = [\"sg-0123456789abcdef0\"]\ntags = { team = \"data\" }\n\
        database_secret_arn = \"arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/hakiri-AbCdEf\"";
    let apis = [api::Api::start(api::paged(records(3), 2))];
    let (cloud, secrets) = six(&apis, GIVEN);
    let borrowed: Vec<(&str, &str)> = secrets.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let lines = Dev::start(&cloud, "aws", &["--ticks", "2", "--from", FIRST], &borrowed).finish(BOUND);
    all_went_well(&lines, 2);
    assert_eq!((started(&lines, "task:p0"), started(&lines, "function")), (2, 0));
    let mut dev = Dev::start(&cloud, "aws", &["--ticks", "0"], &borrowed);
    let url = dev.wait_for("ready", BOUND)["url"].as_str().unwrap().to_owned();
    let there = objects_of(&url, "acme-lake", "", &Keys::local());
    let (laptop, _) = six(&apis, GIVEN);
    for tick in 0..2 {
        let mut command = laptop.command(&["run", "--tick", &minute(tick, 0)]);
        assert!(command.envs(secrets.clone()).output().unwrap().status.success());
    }
    let there = there.into_iter().map(|(path, bytes)| (path.replacen("test/", "", 1), sha256(&bytes))).collect();
    let here = here(&laptop);
    assert!(here.keys().filter(|f| f.ends_with(".parquet")).count() >= 2, "{here:#?}");
    assert_same(&here, &named(&there, &here));
}

/// What was committed stays so: a catalog that forgot would commit the same bytes again, and nobody would see it by them.
#[track_caller]
fn never_back(lines: &[Value]) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines.iter().filter_map(|l| serde_json::from_str::<Value>(l["text"].as_str()?).ok()) {
        if let (true, Some(seq)) = (line["message"] == "run committed", line["seq"].as_u64()) {
            let before = last.insert(line["pipeline"].to_string(), seq);
            assert!(before.is_none_or(|before| before <= seq), "{before:?}, then {line}");
        }
    }
    assert_eq!(last.len(), 3, "{last:?}");
}

/// Ticks during which processes are killed: functions, tasks and the stand-in in turn, as far as `whom` says. The last
/// ticks are left alone: what was broken before has to be whole at the end.
fn killed_at_random(deploy: &str, ticks: u32, kills: usize, whom: &[&str]) {
    let sources = Sources::new(ticks, Duration::from_millis(150));
    let (cloud, laptop) = (sources.project(deploy), sources.project(deploy));
    let secrets = sources.secrets();
    let secrets = borrowed(&secrets);
    let there = There::open(&cloud, &secrets);
    there.deliver(&sources, &[1, 2, 3]);
    there.close();
    reference(&sources, 0, ticks, &laptop);
    let count = ticks.to_string();
    let mut dev = Dev::start(&cloud, "aws", &["--ticks", &count, "--from", FIRST], &secrets);
    dev.wait_for("tick", BOUND);
    let (mut done, mut seed) = (vec![0; whom.len()], 11_u64);
    let mut next = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let calm = ticks as usize - 3;
    while done.iter().sum::<usize>() < kills && dev.runs() && dev.events("settled").len() < calm {
        std::thread::sleep(Duration::from_millis(200 + next(900)));
        // Whose turn it is: none comes too short.
        let who = (0..whom.len()).min_by_key(|who| done[*who]).unwrap();
        let gone: Vec<Value> = dev.events("exited").iter().map(|l| l["pid"].clone()).collect();
        let processes = [dev.events("started"), dev.events("standin")].concat();
        let is_one = |l: &&Value| match whom[who] {
            "stand-in" => l["event"] == "standin",
            part => l["part"].as_str().is_some_and(|p| p.starts_with(part)) && !gone.contains(&l["pid"]),
        };
        // Or none is at work just now.
        if let Some(pid) = processes.iter().rev().find(is_one).and_then(|l| l["pid"].as_i64()) {
            kill(pid);
            done[who] += 1;
        }
    }
    let lines = dev.finish(Duration::from_secs(540));
    let count = |event: &str| lines.iter().filter(|l| l["event"] == event).count();
    assert_eq!(count("settled"), ticks as usize);
    println!("killed {whom:?}: {done:?}; the stand-in was started {} times", count("standin"));
    assert!(done.iter().all(|n| *n >= kills / whom.len()) && count("standin") > 1, "{done:?}");
    never_back(&lines);
    let (here, there) = (here(&laptop), There::open(&cloud, &secrets).files());
    // Nothing that a laptop committed is missing or different; what is more are strays that no commit names.
    assert_same(&here, &named(&there, &here));
}

/// So many here, and many more where there is time.
fn kills(few: usize, many: usize) -> usize {
    if std::env::var_os("HAKIRI_LONG").is_some() { many } else { few }
}

#[test]
fn kill_functions_tasks_and_the_stand_in_at_random_and_nothing_is_lost_or_doubled() {
    killed_at_random(FUNCTIONS, 20, kills(9, 24), &["function", "task:", "stand-in"]);
}

#[test]
fn kill_tasks_on_postgres_and_the_stand_in_at_random_and_nothing_is_lost_or_doubled() {
    killed_at_random(TASKS, 8, kills(2, 12), &["task:", "stand-in"]);
}

/// A pipeline of an API for each script.
fn six(apis: &[api::Api], deploy: &str) -> (Project, Vec<(String, String)>) {
    let mut text = String::new();
    let mut secrets = Vec::new();
    for (n, api) in apis.iter().enumerate() {
        let secret = format!("API_URL_{n}");
        let one = api::manifest(&format!("${{{secret}}}"), "");
        text +=
            &one.replace("id = \"api\"", &format!("id = \"p{n}\"\nschedule = \"every 1m\"\nsecrets = [\"{secret}\"]"));
        secrets.push((secret, api.url.clone()));
    }
    (Project::new(&format!("{text}\n{deploy}\n")), secrets)
}

#[test]
fn aws_faults_give_the_calls_of_the_orchestrator_in_process() {
    let apis: Vec<_> = SCRIPTS.iter().map(scripted).collect();
    let (laptop, secrets) = six(&apis, "");
    let mut command = laptop.command(&["--log-format", "json", "run", "--tick", FIRST]);
    command.envs(secrets).env("HAKIRI_LOG", "warn,hakiri=info,hakiri_engine::ops=debug");
    let ran = command.output().unwrap();
    let log = String::from_utf8_lossy(&ran.stderr).into_owned();
    let in_process = traces(log.lines());
    assert_eq!(in_process.len(), SCRIPTS.len(), "{log}");

    let apis: Vec<_> = SCRIPTS.iter().map(scripted).collect();
    let (cloud, secrets) = six(&apis, "");
    let secrets: Vec<(&str, &str)> = secrets.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let lines = Dev::start(&cloud, "aws", &["--ticks", "1", "--from", FIRST], &secrets).finish(BOUND);
    let texts: Vec<&str> = lines.iter().filter_map(|l| l["text"].as_str()).collect();
    assert_eq!(traces(texts.iter().copied()), in_process, "{texts:#?}");
    assert_eq!(started(&lines, "task:p0"), 0);
}

/// What is too much for the history of one execution goes on in another one, which takes up the run where it is.
#[test]
fn aws_an_execution_whose_history_is_full_is_followed_by_another() {
    let db = Db::new("create table items (id bigint primary key, name text)");
    db.sql("insert into items select n, 'item ' || n from generate_series(1, 2600) n");
    let text = "[[pipeline]]\nid = \"db\"\nschedule = \"every 1m\"\nsecrets = [\"DB_URL\"]\ntables = [\"items\"]\n\
         source = { connector = \"postgres\", config = { url = \"${DB_URL}\" } }\n\
         [pipeline.table.items]\nchunk_rows = 20\n\n[deploy.aws]\ncompute = \"lambda\"\n";
    let (cloud, laptop) = (Project::new(text), Project::new(text));
    let url = db.url();
    let secrets = [("DB_URL", url.as_str())];
    cloud.hakiri(&["deploy", "aws"]).expect(0);
    // As if most of the history were spent at the beginning: there is room for the smallest window, of 100 steps.
    let machine = "deploy/aws/hakiri.asl.json";
    let text = crate::support::text(&cloud, machine);
    assert!(text.contains("\"spent\": 0"), "{text}");
    cloud.write(machine, text.replace("\"spent\": 0", "\"spent\": 15960"));
    let lines = Dev::start(&cloud, "aws", &["--ticks", "1", "--from", FIRST], &secrets).finish(BOUND);
    all_went_well(&lines, 1);
    // 100 steps, the other 30 with the commit, and one in which nothing is due any more.
    let settled = lines.iter().find(|l| l["event"] == "settled").unwrap();
    assert_eq!(settled["executions"], 3, "{settled}");
    let ran = laptop.command(&["run", "--tick", FIRST]).envs(secrets).output().unwrap();
    crate::support::Ran::from(ran).expect(0);
    let here = here(&laptop);
    assert!(here.keys().filter(|f| f.ends_with(".parquet")).count() >= 130, "{here:#?}");
    assert_same(&here, &There::open(&cloud, &secrets).files());
}

/// The binary that is shipped, packed as `--apply` packs it.
#[test]
fn artifact_the_packed_binary_runs_as_a_function() {
    let sources = Sources::new(2, Duration::ZERO);
    let (cloud, laptop) = (sources.project(FUNCTIONS), sources.project(FUNCTIONS));
    let secrets = sources.secrets();
    let secrets = borrowed(&secrets);
    cloud.hakiri(&["deploy", "aws"]).expect(0);
    std::fs::copy(crate::support::binary(), cloud.path().join("deploy/aws/code/bootstrap")).unwrap();
    let there = There::open(&cloud, &secrets);
    there.deliver(&sources, &[1]);
    there.close();
    let lines = Dev::start(&cloud, "aws", &["--ticks", "2", "--from", FIRST], &secrets).finish(BOUND);
    all_went_well(&lines, 2);
    reference(&sources, 0, 2, &laptop);
    assert_same(&here(&laptop), &There::open(&cloud, &secrets).files());
}
