//! `hakiri deploy cloudflare` on real workerd: the generated Worker, Workflow, Durable Object and Container class, with
//! the binary as the containers' process. The bytes of the parts are those of `hakiri run` (P1), whatever is killed (E1),
//! and the calls of each step those of the orchestrator in process (E6).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{self, Api};
use crate::support::bucket::{Keys, objects_of, put};
use crate::support::dev::{Dev, kill};
use crate::support::sources::{
    BUCKET, FIRST, SCRIPTS, Sources, assert_same, file, here, minute, named, records, reference, scripted, traces,
};
use crate::support::{Project, sha256};

const TARGET: &str = "[deploy.cloudflare]\nbucket = \"hakiri-test\"";
/// The longest that anything here may take.
const BOUND: Duration = Duration::from_secs(240);

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
    let (cloud, laptop) = (sources.project(TARGET), sources.project(TARGET));
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
    let (cloud, laptop) = (sources.project(TARGET), sources.project(TARGET));
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
