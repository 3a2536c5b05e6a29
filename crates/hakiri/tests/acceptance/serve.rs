//! `hakiri serve` alone (Topology 2): ticks, reload, its end, and what people do beside it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::Project;
use crate::support::api::{self, Api, Response, manifest};
use crate::support::server::{Server, wait_for};

const SOON: Duration = Duration::from_secs(60);

fn wall() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The runs of a pipeline that ended, oldest first, straight from the catalog.
fn runs(project: &Project, pipeline: &str) -> Vec<Value> {
    let path = project.path().join(".hakiri/catalog.sqlite");
    let Ok(catalog) = rusqlite::Connection::open(path) else { return Vec::new() };
    catalog.busy_timeout(Duration::from_secs(10)).unwrap();
    let Ok(mut select) = catalog.prepare("SELECT text FROM records WHERE key LIKE ?1 ORDER BY key") else {
        return Vec::new();
    };
    let rows = select.query_map([format!("3run\u{1}{pipeline}\u{1}%")], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|text| serde_json::from_str::<Value>(&text.unwrap()).unwrap()["record"]["report"].clone())
        .filter(|report| report["status"] != "running")
        .collect()
}

fn millis(instant: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(instant.as_str().unwrap()).unwrap().timestamp_millis()
}

/// A time that goes `speed` times as fast as the wall's, for the server and for the test.
#[derive(Clone, Copy)]
struct Fast {
    origin: i64,
    from: i64,
    speed: i64,
}

impl Fast {
    fn new(speed: i64) -> Self {
        // Midnight of some day.
        Self { origin: 1_800_057_600_000, from: wall(), speed }
    }

    fn now(self) -> i64 {
        self.origin + (wall() - self.from) * self.speed
    }

    fn setting(self) -> String {
        format!("{},{},{}", self.origin, self.from, self.speed)
    }
}

const MINUTE: i64 = 60_000;

/// A source that has one record for each minute that has passed, in mode append without any settling: a window that
/// is left out loses records, one that is read twice doubles them.
fn minutes(fast: Fast) -> Api {
    Api::start(move |request| {
        let since = request.query.get("since").and_then(|s| chrono::DateTime::parse_from_rfc3339(s).ok());
        let from = since.map_or(fast.origin, |s| s.timestamp_millis()).max(fast.origin);
        let first = from.div_euclid(MINUTE) + i64::from(from % MINUTE > 0);
        let at = |m: i64| chrono::DateTime::from_timestamp_millis(m * MINUTE).unwrap().to_rfc3339();
        let data: Vec<Value> =
            (first..=fast.now().div_euclid(MINUTE)).map(|m| json!({ "minute": m, "at": at(m) })).collect();
        Response::json(&json!({ "data": data }))
    })
}

fn minutely(url: &str) -> String {
    format!(
        r#"
[[pipeline]]
id = "m"
schedule = "every 1m"
[pipeline.source]
connector = "http"
[pipeline.source.config]
base_url = "{url}"
allow_private = true
[pipeline.source.config.resources.minutes]
path = "/minutes"
records = "data"
incremental = {{ param = "since", field = "at" }}
[pipeline.table.minutes]
mode = "append"
settle = "0s"
"#
    )
}

/// Each tick of `from..=to` has one run, and each minute before the last tick one row.
#[track_caller]
fn every_tick_once(project: &Project, fast: Fast, count: usize) {
    let runs = runs(project, "m");
    let ticks: Vec<i64> = runs.iter().map(|r| millis(&r["tick"])).collect();
    assert!(ticks.len() >= count, "{} of {count} ticks", ticks.len());
    assert!(runs.iter().all(|r| r["status"] == "succeeded"), "{:?}", runs.iter().find(|r| r["status"] != "succeeded"));
    for pair in ticks.windows(2) {
        assert_eq!(pair[1] - pair[0], MINUTE, "a tick is missing or doubled after {}", pair[0]);
    }
    let last = *ticks.last().unwrap();
    let minutes = (last - fast.origin) / MINUTE;
    assert_eq!(project.number("select count(*) from m_minutes"), minutes, "rows lost or doubled");
    assert_eq!(project.number("select count(distinct minute) from m_minutes"), minutes);
}

/// Simulated days of ticks every minute: a half of one in each run of CI, seven with `--long`.
#[test]
fn days_of_ticks_miss_and_double_nothing() {
    let (ticks, speed) = if std::env::var_os("HAKIRI_LONG").is_some() { (7 * 24 * 60, 600) } else { (720, 1_200) };
    let fast = Fast::new(speed);
    let api = minutes(fast);
    let project = Project::new(&minutely(&api.url));
    let server = Server::start_with(&project, &[], |c| {
        c.env("HAKIRI_CLOCK", fast.setting());
    });
    let mut usage = Vec::new();
    let bound = Duration::from_secs(3_000);
    wait_for("all ticks", bound, || {
        std::thread::sleep(Duration::from_millis(500));
        usage.push(server.usage());
        (runs(&project, "m").len() >= ticks).then_some(())
    });
    let (status, _, log) = server.terminate(SOON);
    assert!(status.success(), "{log}");
    every_tick_once(&project, fast, ticks);
    // The first quarter warms up caches; after it nothing may grow.
    let quarter = usage.len() / 4;
    let mean = |of: &[(u64, usize)]| of.iter().map(|u| u.0).sum::<u64>() / of.len().max(1) as u64;
    let (early, late) = (&usage[quarter..2 * quarter], &usage[3 * quarter..]);
    println!(
        "{ticks} ticks: {} KiB in the second quarter, {} KiB in the last; descriptors {:?} and {:?}",
        mean(early),
        mean(late),
        early.iter().map(|u| u.1).max(),
        late.iter().map(|u| u.1).max()
    );
    assert!(mean(late) < mean(early) * 5 / 4 + 8_192, "memory grows: {usage:?}");
    let most = |of: &[(u64, usize)]| of.iter().map(|u| u.1).max().unwrap();
    assert!(most(late) <= most(early) + 4, "descriptors grow: {usage:?}");
}

#[test]
fn a_manifest_is_taken_up_without_losing_a_tick() {
    let fast = Fast::new(600);
    let api = minutes(fast);
    let project = Project::new(&minutely(&api.url));
    project.write("data/a.csv", "id,n\n1,2\n");
    let server = Server::start_with(&project, &[], |c| {
        c.env("HAKIRI_CLOCK", fast.setting());
    });
    wait_for("some ticks", SOON, || (runs(&project, "m").len() > 20).then_some(()));
    // An error leaves the manifest before it in force.
    project.manifest(&format!("{}\nschedul = 1\n", minutely(&api.url)));
    wait_for("the refusal", SOON, || server.log().contains("HK0102").then_some(()));
    let so_far = runs(&project, "m").len();
    wait_for("more ticks", SOON, || (runs(&project, "m").len() > so_far + 20).then_some(()));
    // A new pipeline runs without a restart.
    let more = "[[pipeline]]\nid = \"f\"\nschedule = \"every 1h\"\ntables = [\"t\"]\nsource = { connector = \"file\", config = { path = \"data/*.csv\" } }\n";
    project.manifest(&format!("{}\n{more}", minutely(&api.url)));
    wait_for("the new pipeline", SOON, || (!runs(&project, "f").is_empty()).then_some(()));
    // Gone again: no further run of it, and the other one goes on.
    project.manifest(&minutely(&api.url));
    let so_far = runs(&project, "m").len();
    wait_for("more ticks", SOON, || (runs(&project, "m").len() > so_far + 90).then_some(()));
    let (status, _, log) = server.terminate(SOON);
    assert!(status.success(), "{log}");
    every_tick_once(&project, fast, 100);
}

/// An API whose answers are held back for so many milliseconds, and how many requests have read for how long: from then
/// on a change is for later ones alone.
fn slow(hold: Arc<AtomicU64>) -> (Api, Arc<AtomicUsize>) {
    let held = Arc::new(AtomicUsize::new(0));
    let count = held.clone();
    let api = Api::start(move |_| {
        let pause = Duration::from_millis(hold.load(Ordering::SeqCst));
        count.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(pause);
        Response::json(&json!({ "data": [{ "id": 1 }] }))
    });
    (api, held)
}

fn every_second(url: &str) -> String {
    manifest(url, "")
        .replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1s\"")
        .replace("paginate = { page = { param = \"page\" } }", "")
}

#[test]
fn sigterm_finishes_what_was_started() {
    let held = Arc::new(AtomicBool::new(true));
    let hold = held.clone();
    let api = Api::start(move |_| {
        api::hold(&hold);
        Response::json(&json!({ "data": [{ "id": 1 }] }))
    });
    let project = Project::new(&every_second(&api.url));
    // A grace that no stall is longer than.
    let mut server = Server::start(&project, &["--grace", "300s"]);
    wait_for("a request", SOON, || (api.count() > 0).then_some(()));
    server.signal(15);
    wait_for("it to know", SOON, || server.log().contains("ending: finishing what was started").then_some(()));
    // Nothing is there to wait for: by now it would be gone, and another tick has come.
    std::thread::sleep(Duration::from_secs(1));
    assert!(server.runs(), "it did not wait for its step: {}", server.log());
    held.store(false, Ordering::SeqCst);
    let (status, log) = server.end(SOON);
    assert!(status.success(), "{log}");
    assert_eq!(runs(&project, "api").len(), 1, "the run that was under way, and no other");
    assert_eq!(project.number("select count(*) from api_items"), 1);
}

#[test]
fn sigterm_hands_over_what_takes_longer_than_the_grace() {
    let hold = Arc::new(AtomicU64::new(600_000));
    let (api, held) = slow(hold.clone());
    let project = Project::new(&every_second(&api.url));
    let server = Server::start(&project, &["--grace", "1s"]);
    wait_for("a request", SOON, || (held.load(Ordering::SeqCst) > 0).then_some(()));
    let (status, took, log) = server.terminate(Duration::from_secs(30));
    assert!(status.success(), "{log}");
    assert!(took < Duration::from_secs(15), "grace and a moment, not {took:?}");
    assert!(log.contains("handing over"), "{log}");
    assert_eq!(runs(&project, "api").len(), 0);
    let unfinished = project.hakiri(&["runs", "--json"]).expect(0).json()["runs"][0].clone();
    assert_eq!(unfinished["status"], "running");
    // The next process goes on with that run.
    hold.store(0, Ordering::SeqCst);
    let again = Server::start(&project, &[]);
    let first = wait_for("its run", SOON, || runs(&project, "api").first().cloned());
    assert_eq!((&first["run"], &first["status"]), (&unfinished["run"], &json!("succeeded")));
    again.terminate(SOON);
}

#[test]
fn pausing_keeps_runs_from_starting_and_resuming_catches_up() {
    let fast = Fast::new(600);
    let api = minutes(fast);
    let project = Project::new(&minutely(&api.url));
    let server = Server::start_with(&project, &[], |c| {
        c.env("HAKIRI_CLOCK", fast.setting());
    });
    let command = |args: &[&str]| -> crate::support::Ran {
        project.command(args).env("HAKIRI_CLOCK", fast.setting()).output().unwrap().into()
    };
    wait_for("some ticks", SOON, || (runs(&project, "m").len() > 5).then_some(()));
    command(&["pause", "m"]).expect(0).says("paused since");
    // Whoever has the lock knows that the run under way has ended, and that whatever begins later sees the pause. The
    // server has it also while it looks, at each tick and so ten times a second here, whether it is still paused.
    let ran = wait_for("the lock", SOON, || Some(command(&["run", "m"])).filter(|ran| !ran.stderr.contains("HK0208")));
    ran.expect(2).says("HK0911");
    let so_far = runs(&project, "m").len();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(runs(&project, "m").len(), so_far, "twenty ticks passed");
    command(&["resume", "m"]).expect(0).says("by its schedule");
    wait_for("the missed ticks", SOON, || (runs(&project, "m").len() > so_far + 20).then_some(()));
    server.terminate(SOON);
    every_tick_once(&project, fast, so_far + 20);
}

#[test]
fn cancelling_ends_a_run_and_the_next_one_reads_what_it_would_have_read() {
    let hold = Arc::new(AtomicU64::new(600_000));
    let (api, held) = slow(hold.clone());
    let project = Project::new(&every_second(&api.url));
    project.hakiri(&["cancel", "api"]).expect(1).says("HK0203");
    let server = Server::start(&project, &[]);
    wait_for("a request", SOON, || (held.load(Ordering::SeqCst) > 0).then_some(()));
    hold.store(0, Ordering::SeqCst);
    let cancelled = project.hakiri(&["cancel", "api", "--json"]).expect(0).json()["run"].clone();
    let next = wait_for("the next run", SOON, || runs(&project, "api").get(1).cloned());
    let first = runs(&project, "api")[0].clone();
    assert_eq!((&first["run"], &first["status"]), (&cancelled, &json!("cancelled")));
    assert_eq!(first["tables"][0]["failure"]["code"], "HK0910");
    assert_eq!(next["status"], "succeeded");
    server.terminate(SOON);
    assert_eq!(project.number("select count(*) from api_items"), 1);
}

/// What a webhook got: headers and body of each delivery.
type Deliveries = Arc<Mutex<Vec<(std::collections::BTreeMap<String, String>, String)>>>;

fn webhook(refuse: Arc<AtomicI64>) -> (Api, Deliveries) {
    let got: Deliveries = Arc::default();
    let seen = got.clone();
    let api = Api::start(move |request| {
        seen.lock().unwrap().push((request.headers.clone(), request.body.clone()));
        let status = if refuse.fetch_sub(1, Ordering::SeqCst) > 0 { 500 } else { 204 };
        Response::text(status, "text/plain", "")
    });
    (api, got)
}

fn signature(key: &str, headers: &std::collections::BTreeMap<String, String>, body: &str) -> String {
    let script = "import sys,hmac,hashlib,base64;k,i,t,b=sys.argv[1:5];print('v1,'+base64.b64encode(hmac.new(k.encode(),f'{i}.{t}.{b}'.encode(),hashlib.sha256).digest()).decode(),end='')";
    crate::support::python(script, &[key, &headers["webhook-id"], &headers["webhook-timestamp"], body])
}

#[test]
fn a_webhook_hears_of_failure_and_recovery_once_each_signed_and_repeated_until_it_takes_them() {
    // Refuses the first delivery twice.
    let (hook, got) = webhook(Arc::new(AtomicI64::new(2)));
    let broken = Arc::new(AtomicI64::new(0));
    let state = broken.clone();
    let api = Api::start(move |_| match state.load(Ordering::SeqCst) {
        0 => Response::json(&json!({ "data": [{ "id": 1 }] })),
        1 => Response::text(400, "text/plain", "no s3cret-canary here"),
        _ => Response::json(&json!({ "data": [{ "id": 1, "new": true }] })),
    });
    let project = Project::new(&format!(
        "[notify]\nwebhook = \"{}/hook/${{HOOK_PATH}}\"\nsecret = \"${{HOOK_KEY}}\"\nallow_private = true\n{}",
        hook.url,
        every_second(&api.url)
    ));
    let server = Server::start_with(&project, &[], |c| {
        c.env("HOOK_PATH", "s3cret-canary").env("HOOK_KEY", "key-canary-2");
    });
    let types = || -> Vec<String> {
        let bodies = got.lock().unwrap();
        bodies
            .iter()
            .map(|(_, b)| serde_json::from_str::<Value>(b).unwrap()["type"].as_str().unwrap().to_owned())
            .collect()
    };
    wait_for("a good run", SOON, || (!runs(&project, "api").is_empty()).then_some(()));
    broken.store(1, Ordering::SeqCst);
    wait_for("the failure, three times", SOON, || (types().len() >= 3).then_some(()));
    assert_eq!(types(), ["failed"; 3], "refused twice, then taken");
    // Several further runs fail, and nobody hears of them.
    let so_far = runs(&project, "api").len();
    wait_for("more failures", SOON, || (runs(&project, "api").len() > so_far + 3).then_some(()));
    assert_eq!(types().len(), 3);
    broken.store(2, Ordering::SeqCst);
    wait_for("recovery and new schema", SOON, || (types().len() >= 5).then_some(()));
    let (_, _, log) = server.terminate(SOON);
    let mut last = types().split_off(3);
    last.sort();
    assert_eq!(last, ["recovered", "schema_changed"]);
    // A restart sends nothing again.
    let again = Server::start_with(&project, &[], |c| {
        c.env("HOOK_PATH", "s3cret-canary").env("HOOK_KEY", "key-canary-2");
    });
    let so_far = runs(&project, "api").len();
    wait_for("more runs", SOON, || (runs(&project, "api").len() > so_far + 2).then_some(()));
    again.terminate(SOON);
    assert_eq!(types().len(), 5);
    let got = got.lock().unwrap().clone();
    assert_eq!(got[0].0["webhook-id"], got[2].0["webhook-id"], "a repetition has the same id");
    for (headers, body) in &got {
        assert_eq!(headers["webhook-signature"], signature("key-canary-2", headers, body));
        assert!(!body.contains("canary"), "{body}");
    }
    let event: Value = serde_json::from_str(&got[0].1).unwrap();
    assert_eq!((&event["pipeline"], &event["data"]["errors"][0]["error"]["code"]), (&json!("api"), &json!("HK0501")));
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn a_webhook_hears_of_late_runs_and_of_runs_that_cannot_be_planned() {
    let (hook, got) = webhook(Arc::new(AtomicI64::new(0)));
    let notify = format!("[notify]\nwebhook = \"{}\"\nallow_private = true\nlate_after = \"2s\"\n", hook.url);
    let hold = Arc::new(AtomicU64::new(600_000));
    let (api, _) = slow(hold);
    // The second pipeline's table is not there, which is found out when its run is planned.
    let broken = "[[pipeline]]\nid = \"b\"\nschedule = \"every 1s\"\ntables = [\"t\"]\nsource = { connector = \"file\", config = { path = \"missing/*.csv\" } }\n";
    let project = Project::new(&format!("{notify}{}{broken}", every_second(&api.url)));
    let server = Server::start(&project, &["--grace", "1s"]);
    let kinds = || -> Vec<(String, String)> {
        let bodies = got.lock().unwrap();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let mut all: Vec<_> = bodies
            .iter()
            .map(|(_, b)| serde_json::from_str::<Value>(b).unwrap())
            .map(|b| (text(&b["pipeline"]), text(&b["type"])))
            .collect();
        all.sort();
        all.dedup();
        all
    };
    let has = |pipeline: &str, kind: &str| kinds().contains(&(pipeline.to_owned(), kind.to_owned()));
    wait_for("lateness and trouble", SOON, || (has("api", "late") && has("b", "failed")).then_some(()));
    project.write("missing/a.csv", "id\n1\n");
    wait_for("the end of trouble", SOON, || has("b", "recovered").then_some(()));
    server.terminate(SOON);
}
