//! `hakiri deploy cloudflare` on real workerd: the generated Worker, Workflow, Durable Object and Container class, with
//! the binary as the containers' process. The bytes of the parts are those of `hakiri run` (P1), whatever is killed (E1),
//! and the calls of each step those of the orchestrator in process (E6).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{self, Api, Request, Response};
use crate::support::bucket::{Keys, objects_of, put};
use crate::support::dev::{Dev, kill};
use crate::support::pg::Db;
use crate::support::{Project, files_below, sha256};

const FIRST: &str = "2026-11-27T00:00:00Z";
const BUCKET: &str = "hakiri-test";
/// The longest that anything here may take.
const BOUND: Duration = Duration::from_secs(240);

/// Three pipelines on a minute's schedule: an API, a database, and files in the bucket.
fn manifest(inbox: &str) -> String {
    format!(
        r#"
[[pipeline]]
id = "api"
schedule = "every 1m"
catch_up = "each"
secrets = ["API_URL"]
source = {{ connector = "http", config = {{ base_url = "${{API_URL}}", allow_private = true, resources = {{ items = {{ path = "/items", records = "data", primary_key = ["id"], paginate = {{ page = {{ param = "page" }} }} }} }} }} }}
[pipeline.table.items]
incremental = "updated_at"

[[pipeline]]
id = "db"
schedule = "every 1m"
catch_up = "each"
secrets = ["DB_URL"]
tables = ["orders"]
source = {{ connector = "postgres", config = {{ url = "${{DB_URL}}" }} }}
[pipeline.table.orders]
incremental = "updated_at"
chunk_rows = 50

[[pipeline]]
id = "files"
schedule = "every 1m"
catch_up = "each"
source = {{ connector = "file", config = {{ path = "s3://{BUCKET}/{inbox}/*.csv", table = "rows" }} }}

[deploy.cloudflare]
bucket = "{BUCKET}"
"#
    )
}

fn minute(n: u32, second: u32) -> String {
    format!("2026-11-27T00:{n:02}:{second:02}Z")
}

/// Records of an API, some for each minute.
fn records(minutes: u32) -> Vec<Value> {
    let of = |m: u32, k: u32| json!({ "id": m * 10 + k, "name": format!("ü{m}"), "updated_at": minute(m, k) });
    (0..minutes).flat_map(|m| (0..7).map(move |k| of(m, k))).collect()
}

/// A world of sources, with the same answers for everybody.
struct Sources {
    api: Api,
    db: Db,
    inbox: String,
}

impl Sources {
    fn new(minutes: u32, slow: Duration) -> Self {
        let pages = api::paged(records(minutes), 50);
        let api = Api::start(move |request: &Request| {
            std::thread::sleep(slow);
            pages(request)
        });
        let db = Db::new("create table orders (id bigint primary key, amount numeric(10,2), updated_at timestamptz)");
        db.connection.sql(&format!(
            "insert into orders select m * 100 + k, k * 1.5, timestamptz '{FIRST}' + m * interval '1 minute' + k * interval '200 ms' \
             from generate_series(0, {}) m, generate_series(0, 99) k",
            minutes - 1
        ));
        let inbox = format!("inbox-{}-{}", std::process::id(), db.name);
        Self { api, db, inbox }
    }

    fn project(&self) -> Project {
        Project::new(&manifest(&self.inbox))
    }

    fn secrets(&self) -> Vec<(&'static str, String)> {
        vec![("API_URL", self.api.url.clone()), ("DB_URL", self.db.url())]
    }
}

/// The files of the inbox, the `n`th time.
fn file(n: u32) -> (String, String) {
    (format!("{n:03}.csv"), format!("id,n\n{n},a\n{},b\n", n + 1000))
}

/// What `hakiri run` makes of the ticks, here in a folder.
fn reference(sources: &Sources, from: u32, ticks: u32, project: &Project) {
    let endpoint = std::env::var("HAKIRI_TEST_S3").expect("HAKIRI_TEST_S3 is not set: run the tests with ./x test");
    for n in from..from + ticks {
        let mut command = project.command(&["run", "--tick", &minute(n, 0)]);
        command.envs(sources.secrets()).env("AWS_ENDPOINT_URL", &endpoint);
        let ran: crate::support::Ran = command.output().unwrap().into();
        ran.expect(0);
    }
}

/// The files by their hashes, but the marker, which names its catalog.
fn here(project: &Project) -> BTreeMap<String, String> {
    let files = files_below(&project.store(), &project.store()).into_iter();
    let files = files.filter(|f| f != "_hakiri.json" && !f.starts_with(".tmp/"));
    files.map(|f| (f.clone(), sha256(&std::fs::read(project.store().join(&f)).unwrap()))).collect()
}

/// The same of the local R2, which the platform must be started for.
fn there(project: &Project, secrets: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut dev = Dev::start(project, "cloudflare", &["--ticks", "0"], secrets);
    let s3 = dev.wait_for("ready", BOUND)["s3"].as_str().unwrap().to_owned();
    let files = objects_of(&s3, BUCKET, "", &Keys::local());
    files.into_iter().filter(|(f, _)| f != "_hakiri.json").map(|(f, bytes)| (f, sha256(&bytes))).collect()
}

/// Puts files into both inboxes.
fn deliver(sources: &Sources, project: &Project, secrets: &[(&str, &str)], files: &[u32]) {
    let endpoint = std::env::var("HAKIRI_TEST_S3").expect("HAKIRI_TEST_S3 is not set: run the tests with ./x test");
    let mut dev = Dev::start(project, "cloudflare", &["--ticks", "0"], secrets);
    let s3 = dev.wait_for("ready", BOUND)["s3"].as_str().unwrap().to_owned();
    for (name, text) in files.iter().copied().map(file) {
        let key = format!("{}/{name}", sources.inbox);
        put(&endpoint, BUCKET, &key, text.as_bytes(), &Keys::from_env());
        put(&s3, BUCKET, &key, text.as_bytes(), &Keys::local());
    }
}

/// Compares and says what differs by name.
#[track_caller]
fn assert_same(here: &BTreeMap<String, String>, there: &BTreeMap<String, String>) {
    let missing: Vec<_> = here.keys().filter(|f| !there.contains_key(*f)).collect();
    let more: Vec<_> = there.keys().filter(|f| !here.contains_key(*f)).collect();
    let other: Vec<_> = here.iter().filter(|(f, h)| there.get(*f).is_some_and(|t| t != *h)).map(|(f, _)| f).collect();
    assert!(
        missing.is_empty() && more.is_empty() && other.is_empty(),
        "missing: {missing:#?}\nmore: {more:#?}\nother bytes: {other:#?}"
    );
}

/// Those files that commits name: strays of attempts that were killed are `gc`'s.
fn named(files: &BTreeMap<String, String>, by: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    files.iter().filter(|(f, _)| by.contains_key(*f)).map(|(f, h)| (f.clone(), h.clone())).collect()
}

/// Every container that was started ended by itself within seconds of having nothing to do: what a container is not told,
/// it is billed for.
#[track_caller]
fn ended_soon(lines: &[Value]) {
    let with = |event: &'static str| lines.iter().filter(move |l| l["event"] == event);
    assert!(with("started").count() >= 3);
    for started in with("started") {
        let exited = with("exited").find(|l| l["pid"] == started["pid"]);
        let exited = exited.unwrap_or_else(|| panic!("{started} never ended"));
        assert_eq!((exited["code"].as_i64(), &exited["signal"]), (Some(0), &Value::Null), "{exited}");
        let name = started["name"].as_str().unwrap();
        let said = format!("{name}: begin → nothing");
        let (began, ended) = (started["at"].as_i64().unwrap(), exited["at"].as_i64().unwrap());
        let told = lines.iter().filter(|l| l["part"] == "workflow" && l["text"] == said.as_str());
        let told = told.filter_map(|l| l["at"].as_i64()).find(|at| (began..=ended).contains(at));
        let after = ended - told.unwrap_or_else(|| panic!("{started} ended before it had nothing to do"));
        assert!(after < 5_000, "{name} ended {after} ms after `nothing`");
    }
}

#[test]
fn kill_nothing_and_twenty_ticks_have_the_bytes_of_a_laptop() {
    let sources = Sources::new(20, Duration::ZERO);
    let (cloud, laptop) = (sources.project(), sources.project());
    let secrets = sources.secrets();
    let secrets: Vec<(&str, &str)> = secrets.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let mut ticked = 0;
    for (from, ticks, files) in [(0, 12, vec![1, 2]), (12, 8, vec![3])] {
        deliver(&sources, &cloud, &secrets, &files);
        let (first, count) = (minute(from, 0), ticks.to_string());
        let dev = Dev::start(&cloud, "cloudflare", &["--ticks", &count, "--from", &first], &secrets);
        let lines = dev.finish(BOUND);
        ticked += lines.iter().filter(|l| l["event"] == "settled").count();
        ended_soon(&lines);
        reference(&sources, from, ticks, &laptop);
    }
    assert_eq!(ticked, 20);
    let (here, there) = (here(&laptop), there(&cloud, &secrets));
    assert!(here.keys().filter(|f| f.ends_with(".parquet")).count() >= 20 + 40 + 3, "{here:#?}");
    assert_same(&here, &there);
}

#[test]
fn kill_workerd_and_containers_at_random_and_nothing_is_lost_or_doubled() {
    let kills = if std::env::var_os("HAKIRI_LONG").is_some() { 60 } else { 12 };
    let sources = Sources::new(20, Duration::from_millis(250));
    let (cloud, laptop) = (sources.project(), sources.project());
    let secrets = sources.secrets();
    let secrets: Vec<(&str, &str)> = secrets.iter().map(|(n, v)| (*n, v.as_str())).collect();
    deliver(&sources, &cloud, &secrets, &[1, 2, 3]);
    reference(&sources, 0, 20, &laptop);
    let mut dev = Dev::start(&cloud, "cloudflare", &["--ticks", "20", "--from", FIRST], &secrets);
    dev.wait_for("tick", BOUND);
    let (mut done, mut seed) = ([0; 3], 7_u64);
    let mut next = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    while done.iter().sum::<usize>() < kills && dev.runs() {
        std::thread::sleep(Duration::from_millis(300 + next(1_500)));
        // Whose turn it is, of workerd, a container, both: none comes too short.
        let what = (0..3).min_by_key(|what| done[*what]).unwrap();
        let gone: Vec<Value> = dev.events("exited").iter().map(|l| l["pid"].clone()).collect();
        let containers = dev.events("started");
        let at_work = containers.iter().rev().find(|l| !gone.contains(&l["pid"])).and_then(|l| l["pid"].as_i64());
        let workerd = dev.events("workerd").last().and_then(|l| l["pid"].as_i64());
        match (what, workerd, at_work) {
            (0, Some(workerd), _) => kill(workerd),
            (1, _, Some(container)) => kill(container),
            (2, Some(workerd), Some(container)) => [workerd, container].into_iter().for_each(kill),
            _ => continue, // no container is at work just now
        }
        done[what] += 1;
    }
    let lines = dev.finish(Duration::from_secs(540));
    let count = |event: &str| lines.iter().filter(|l| l["event"] == event).count();
    assert_eq!(count("settled"), 20);
    let died = lines.iter().filter(|l| l["event"] == "exited" && l["signal"] == "SIGKILL").count();
    let starts = count("workerd");
    println!("killed workerd, a container, both: {done:?}; {died} containers died, workerd was started {starts} times");
    assert!(done.iter().all(|n| *n >= 2) && died >= 4 && starts > 4, "{done:?}, {died}, {starts}");
    let (here, there) = (here(&laptop), there(&cloud, &secrets));
    // Nothing that a laptop committed is missing or different; what is more are strays that no commit names.
    assert_same(&here, &named(&there, &here));
}

/// What a source does before it answers well, by request of its first page.
struct Script {
    name: &'static str,
    faults: &'static [(u16, Option<&'static str>)],
    /// How long its first answer takes.
    slow: Duration,
}

const SCRIPTS: [Script; 6] = [
    Script { name: "no fault", faults: &[], slow: Duration::ZERO },
    Script { name: "rate limited", faults: &[(429, Some("1")), (429, Some("2"))], slow: Duration::ZERO },
    Script { name: "unavailable twice", faults: &[(503, None); 2], slow: Duration::ZERO },
    Script { name: "gone", faults: &[(404, None); 8], slow: Duration::ZERO },
    Script { name: "refused", faults: &[(401, None); 8], slow: Duration::ZERO },
    // Longer than a worker lets a request wait: the next one joins the step.
    Script { name: "slow", faults: &[], slow: Duration::from_secs(22) },
];

/// An API that follows a script, for one project alone.
fn scripted(script: &Script) -> Api {
    let (asked, faults, slow) = (Arc::new(AtomicUsize::new(0)), script.faults, script.slow);
    let pages = api::paged(records(1), 50);
    Api::start(move |request| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(if n == 0 { slow } else { Duration::ZERO });
        match faults.get(n) {
            Some((status, after)) => {
                let answer = Response::text(*status, "text/plain", "fault");
                after.map_or(answer.clone(), |after| answer.header("retry-after", after))
            }
            None => pages(request),
        }
    })
}

/// The answers of each step's calls, in order, from log lines.
fn traces<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let (Some(op), Some(next)) = (line["op"].as_str(), line["next"].as_str()) else { continue };
        if op == "step" {
            out.entry(format!("{} {}", line["run"], line["step_index"])).or_default().push(next.to_owned());
        }
    }
    out
}

#[test]
fn kill_nothing_and_faults_give_the_calls_of_the_orchestrator_in_process() {
    for script in &SCRIPTS {
        let manifest = |api: &Api| {
            let text = api::manifest("${API_URL}", "");
            let text = text.replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1m\"\nsecrets = [\"API_URL\"]");
            (Project::new(&text), api.url.clone())
        };
        let api = scripted(script);
        let (laptop, url) = manifest(&api);
        let mut command = laptop.command(&["--log-format", "json", "run", "--tick", FIRST]);
        command.env("API_URL", url).env("HAKIRI_LOG", "warn,hakiri=info,hakiri_engine::ops=debug");
        let ran = command.output().unwrap();
        let log = String::from_utf8_lossy(&ran.stderr).into_owned();
        let in_process = traces(log.lines());
        assert_eq!(in_process.len(), 1, "{}: {log}", script.name);

        let api = scripted(script);
        let (cloud, url) = manifest(&api);
        let dev = Dev::start(&cloud, "cloudflare", &["--ticks", "1", "--from", FIRST], &[("API_URL", &url)]);
        let lines = dev.finish(BOUND);
        let texts: Vec<&str> = lines.iter().filter_map(|l| l["text"].as_str()).collect();
        assert_eq!(traces(texts.iter().copied()), in_process, "{}: {texts:#?}", script.name);
        let was_slow = texts.iter().any(|text| text.ends_with("step 0 → again"));
        assert_eq!(was_slow, !script.slow.is_zero(), "{}: {texts:#?}", script.name);
    }
}

/// An API that answers only while it is let, and counts the first pages that were asked for.
fn held() -> (Api, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let (let_through, pages) = (open.clone(), api::paged(records(3), 50));
    let api = Api::start(move |request| {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while let_through.load(Ordering::SeqCst) == 0 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        pages(request)
    });
    (api, open)
}

fn one_pipeline(id: &str) -> String {
    let text = api::manifest("${API_URL}", "");
    text.replace("id = \"api\"", &format!("id = \"{id}\"\nschedule = \"every 1m\"\nsecrets = [\"API_URL\"]"))
}

/// Worker and image change one after the other, in either order, while a run is under way.
#[test]
fn kill_nothing_and_worker_and_image_are_upgraded_in_either_order_with_a_run_in_flight() {
    for worker_first in [true, false] {
        let (api, open) = held();
        let secrets = [("API_URL", api.url.as_str())];
        let project = Project::new(&one_pipeline("old"));
        project.hakiri(&["deploy", "cloudflare"]).expect(0);
        let generated = |path: &str| project.path().join("deploy/cloudflare").join(path);
        let read = |path: &str| std::fs::read(generated(path)).unwrap();
        let parts = ["src/project.ts", "project/hakiri.toml"];
        let before = parts.map(|path| (path, read(path)));

        // The first tick's step is under way when everything ends: a deployment restarts what it replaces.
        let dev = Dev::start(&project, "cloudflare", &["--ticks", "1", "--from", &minute(0, 0)], &secrets);
        crate::support::server::wait_for("the source to be asked", BOUND, || (api.count() > 0).then_some(()));
        drop(dev);
        open.store(1, Ordering::SeqCst);

        // The new manifest has one pipeline more. One part of the deployment is still of the old one.
        project.manifest(&format!("{}{}", one_pipeline("old"), one_pipeline("new")));
        project.hakiri(&["deploy", "cloudflare"]).expect(0);
        let after = parts.map(|path| (path, read(path)));
        let late = usize::from(worker_first);
        std::fs::write(generated(before[late].0), &before[late].1).unwrap();
        let dev = Dev::start(&project, "cloudflare", &["--ticks", "2", "--from", &minute(0, 0)], &secrets);
        let lines = dev.finish(BOUND);
        let committed = |lines: &[Value], pipeline: &str| {
            let text = format!("\"pipeline\":\"{pipeline}\"");
            let of = |l: &&Value| {
                let line = l["text"].as_str().unwrap_or_default();
                line.contains("run committed") && line.contains(&text)
            };
            lines.iter().filter(of).count()
        };
        assert_eq!(committed(&lines, "old"), 2, "worker first: {worker_first}\n{lines:#?}");
        assert_eq!(committed(&lines, "new"), 0, "half of a deployment knows of it: {lines:#?}");

        // Then the other part follows.
        std::fs::write(generated(after[late].0), &after[late].1).unwrap();
        let dev = Dev::start(&project, "cloudflare", &["--ticks", "2", "--from", &minute(4, 0)], &secrets);
        let lines = dev.finish(BOUND);
        assert!(committed(&lines, "old") >= 2 && committed(&lines, "new") >= 2, "{worker_first}: {lines:#?}");
    }
}

/// The door to the catalog: closed without a token, and then open to whoever has it, as `runs` and `query` of a laptop.
#[test]
fn kill_nothing_and_the_public_door_opens_to_its_token_alone() {
    let api = Api::start(api::paged(records(1), 50));
    let project = Project::new(&one_pipeline("api"));
    let secrets = [("API_URL", api.url.as_str())];
    Dev::start(&project, "cloudflare", &["--ticks", "2", "--from", FIRST], &secrets).finish(BOUND);
    let info = |dev: &mut Dev, token: Option<&str>| {
        let url = dev.wait_for("ready", BOUND)["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("hakiri-catalog", "1"), ("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        crate::support::server::send(&url, "POST", "/catalog/v1/info", &headers, "{\"new_id\":null}").0
    };
    let mut closed = Dev::start(&project, "cloudflare", &["--ticks", "0"], &secrets);
    assert_eq!((info(&mut closed, None), info(&mut closed, Some("a-token-of-the-test"))), (404, 404));
    drop(closed);

    let token = "a-token-of-the-test-0123";
    let mut open = Dev::start(
        &project,
        "cloudflare",
        &["--ticks", "0", "--page", "127.0.0.1:0"],
        &[secrets[0], ("HAKIRI_CATALOG_TOKEN", token)],
    );
    assert_eq!((info(&mut open, None), info(&mut open, Some("wrong-token-0123456"))), (401, 401));
    assert_eq!(info(&mut open, Some(token)), 200);
    let ready = open.wait_for("ready", BOUND);
    let (url, s3) = (ready["url"].as_str().unwrap(), ready["s3"].as_str().unwrap());
    project.manifest(&format!(
        "{}\n[env.cloud.catalog]\nurl = \"{url}/catalog\"\n[env.cloud.context]\npath = \"s3://hakiri-test\"\nendpoint = \"{s3}\"\nregion = \"auto\"\n",
        one_pipeline("api")
    ));
    let there = |args: &[&str]| -> crate::support::Ran {
        let mut command = project.command(args);
        command.env("HAKIRI_CATALOG_TOKEN", token).envs([secrets[0]]);
        command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "localsecret");
        command.output().unwrap().into()
    };
    let runs = there(&["--env", "cloud", "runs", "--json"]).expect(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2, "{runs}");
    let sql = "select count(*) n from api_items";
    assert_eq!(there(&["--env", "cloud", "query", "--format", "json", sql]).expect(0).json(), json!([{ "n": 7 }]));
    // The page is that of the same catalog.
    let said = open.wait_for("page", BOUND);
    let (status, body) = {
        let (status, _, body) = crate::support::server::request(said["address"].as_str().unwrap(), "GET", "/", &[]);
        (status, body)
    };
    assert!(status == 200 && body.contains("api") && body.contains("2026-11-27"), "{status}: {body}");
}
