//! `hakiri worker`: operations over HTTP, with the bytes of `hakiri run`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use hakiri_core::time::Instant;
use serde_json::json;

use crate::support::api::{self, Api, Response};
use crate::support::orchestrator::{call, drive};
use crate::support::server::{Server, send, wait_for};
use crate::support::{Project, sha256};

const MINUTELY: &str = r#"
[[pipeline]]
id = "p"
schedule = "every 1m"
catch_up = "each"
source = { connector = "file", config = { path = "data/*.csv", table = "rows" } }
"#;

/// Commits a run whose steps are done.
#[track_caller]
fn commit(address: &str, begun: &serde_json::Value) {
    let request = json!({ "pipeline": "api", "run": begun["run"], "epoch": begun["epoch"] });
    let (status, answer) = call(address, "commit", &request);
    assert_eq!((status, &answer["next"]), (200, &json!("begin")), "{answer}");
}

fn parts(project: &Project) -> Vec<(String, String)> {
    let hash = |path: String| {
        let bytes = std::fs::read(project.store().join(&path)).unwrap();
        (path, sha256(&bytes))
    };
    project.files().into_iter().map(hash).collect()
}

#[test]
fn ticks_through_a_worker_have_the_bytes_of_ticks_on_a_laptop() {
    let (here, there) = (Project::new(MINUTELY), Project::new(MINUTELY));
    let worker = Server::worker(&there, &[]);
    for minute in 0..5 {
        let tick = format!("2026-11-28T09:{minute:02}:00Z");
        for project in [&here, &there] {
            project.write(&format!("data/{minute}.csv"), format!("id,name\n{minute},a\n{},b\n", minute + 100));
        }
        here.hakiri(&["run", "--tick", &tick]).expect(0);
        let last = drive(&worker.address, "p", &tick);
        assert_eq!(last["next"], "nothing");
        assert_eq!(last["due"], format!("2026-11-28T09:{:02}:00.000Z", minute + 1), "{last}");
    }
    assert!(parts(&here).len() >= 5);
    assert_eq!(parts(&here), parts(&there));
    let (status, log) = {
        let (status, took, log) = worker.terminate(Duration::from_secs(10));
        assert!(took < Duration::from_secs(5), "{took:?}");
        (status, log)
    };
    assert!(status.success(), "{log}");
}

#[test]
fn a_step_asked_for_twice_is_carried_out_once_and_outlives_the_connection() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (seen, records) = (asked.clone(), vec![json!({ "id": 1 }), json!({ "id": 2 })]);
    let pages = api::paged(records, 10);
    let api = Api::start(move |request| {
        if request.query.get("page").is_none_or(|p| p == "1") {
            seen.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1_500));
        }
        pages(request)
    });
    let project = Project::new(&api::manifest(&api.url, ""));
    project.manifest(&api::manifest(&api.url, "").replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1m\""));
    let worker = Server::worker(&project, &[]);
    let (status, begun) = call(&worker.address, "begin", &json!({ "pipeline": "api", "wake": "2026-11-28T09:00:00Z" }));
    assert_eq!((status, &begun["next"]), (200, &json!("steps")), "{begun}");
    asked.store(0, Ordering::SeqCst);
    let request = json!({ "pipeline": "api", "run": begun["run"], "epoch": begun["epoch"], "step": 0 });
    // One who gives up at once, and two who wait.
    let address = worker.address.clone();
    let text = request.to_string();
    let mut gone = std::net::TcpStream::connect(&address).unwrap();
    let head = format!("POST /v1/step HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    std::io::Write::write_all(&mut gone, head.as_bytes()).unwrap();
    wait_for("the step to ask the source", Duration::from_secs(10), || {
        (asked.load(Ordering::SeqCst) == 1).then_some(())
    });
    drop(gone);
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (address, request) = (address.clone(), request.clone());
            std::thread::spawn(move || call(&address, "step", &request))
        })
        .collect();
    for answer in waiting {
        assert_eq!(answer.join().unwrap(), (200, json!({ "next": "done" })));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the source was read more than once");
    commit(&address, &begun);
    assert_eq!(project.number("select count(*) from api_items"), 2);
}

#[test]
fn an_end_hands_the_step_over_and_another_worker_goes_on() {
    let stuck = Arc::new(AtomicUsize::new(1));
    let (hold, pages) = (stuck.clone(), api::paged(vec![json!({ "id": 1 })], 10));
    let api = Api::start(move |request| {
        while hold.load(Ordering::SeqCst) == 1 {
            std::thread::sleep(Duration::from_millis(20));
        }
        pages(request)
    });
    let project = Project::new(&api::manifest(&api.url, ""));
    project.manifest(&api::manifest(&api.url, "").replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1m\""));
    let worker = Server::worker(&project, &["--grace", "1s"]);
    let (_, begun) = call(&worker.address, "begin", &json!({ "pipeline": "api", "wake": "2026-11-28T09:00:00Z" }));
    let request = json!({ "pipeline": "api", "run": begun["run"], "epoch": begun["epoch"], "step": 0 });
    let (address, asked) = (worker.address.clone(), request.clone());
    let waiting = std::thread::spawn(move || call(&address, "step", &asked));
    wait_for("the source to be asked", Duration::from_secs(10), || (api.count() > 0).then_some(()));
    let (status, took, log) = worker.terminate(Duration::from_secs(15));
    assert!(status.success() && took < Duration::from_secs(8), "{took:?}\n{log}");
    let (status, answer) = waiting.join().unwrap();
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("HK0003")), "{answer}");
    stuck.store(0, Ordering::SeqCst);
    // The orchestrator knows nothing of it: it asks for the same step of the same epoch.
    let next = Server::worker(&project, &[]);
    assert_eq!(call(&next.address, "step", &request), (200, json!({ "next": "done" })));
    commit(&next.address, &begun);
    assert_eq!(project.number("select count(*) from api_items"), 1);
}

#[test]
fn what_is_no_request_of_the_contract_is_refused_with_a_code() {
    let project = Project::new(MINUTELY);
    project.write("data/a.csv", "id\n1\n");
    let worker = Server::worker(&project, &[]);
    let error = |path: &str, contract: &str, body: &str| {
        let (status, _, text) = send(&worker.address, "POST", path, &[("hakiri-contract", contract)], body);
        let answer: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_default();
        (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned(), text)
    };
    let begin = r#"{"pipeline":"p","wake":"2026-11-28T09:00:00Z"}"#;
    let (status, code, text) = error("/v1/begin", "2", begin);
    assert_eq!((status, code.as_str()), (400, "HK1115"), "{text}");
    assert!(text.contains("speaks version 2") && text.contains("deploy the newer one"), "{text}");
    assert_eq!(error("/v1/begin", "1", "{").0, 400);
    assert_eq!(error("/v1/step", "1", begin).1, "HK1114");
    let (status, code, _) = error("/v1/begin", "1", r#"{"pipeline":"nobody","wake":"2026-11-28T09:00:00Z"}"#);
    assert_eq!((status, code.as_str()), (422, "HK0906"));
    let unknown = r#"{"pipeline":"p","run":"run-01HF7YAT000EHSQYTMAS6Z17BF","epoch":1,"step":0}"#;
    assert_eq!(error("/v1/step", "1", unknown).1, "HK0203");
    assert_eq!(worker.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(worker.get("/v1/begin").0, 405);
}

#[test]
fn beyond_loopback_a_worker_needs_a_token_and_asks_for_it() {
    let project = Project::new(MINUTELY);
    let ran = project.hakiri(&["worker", "--listen", "0.0.0.0:0"]).expect(2);
    ran.says("HK1110");
    let mut command = project.command(&["worker", "--listen", "127.0.0.1:0"]);
    command.env("HAKIRI_TOKEN", "a-token-of-the-test-0123");
    let worker = Server::spawn(command);
    let body = r#"{"pipeline":"p","wake":"2026-11-28T09:00:00Z"}"#;
    assert_eq!(send(&worker.address, "POST", "/v1/begin", &[], body).0, 401);
    let bearer = [("authorization", "Bearer a-token-of-the-test-0123")];
    let answered = send(&worker.address, "POST", "/v1/begin", &bearer, body);
    assert_ne!(answered.0, 401, "{answered:?}");
    assert_eq!(worker.get("/healthz").0, 200);
}

#[test]
fn a_run_that_is_told_to_wait_keeps_its_lease_until_after_it() {
    let api = Api::start(|_| Response::text(429, "text/plain", "slow").header("retry-after", "500"));
    let project = Project::new(&api::manifest(&api.url, ""));
    project.manifest(&api::manifest(&api.url, "").replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1m\""));
    let worker = Server::worker(&project, &["--lease", "20s"]);
    let (_, begun) = call(&worker.address, "begin", &json!({ "pipeline": "api", "wake": "2026-11-28T09:00:00Z" }));
    let request = json!({ "pipeline": "api", "run": begun["run"], "epoch": begun["epoch"], "step": 0 });
    assert_eq!(call(&worker.address, "step", &request), (200, json!({ "next": "wait", "seconds": 500 })));
    let catalog = rusqlite::Connection::open(project.path().join(".hakiri/catalog.sqlite")).unwrap();
    let select = "select text from records where key like '0head%'";
    let head: String = catalog.query_row(select, [], |row| row.get(0)).unwrap();
    let head: serde_json::Value = serde_json::from_str(&head).unwrap();
    let expires: Instant =
        head["record"]["lease"]["expires"].as_str().unwrap_or_else(|| panic!("{head}")).parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let left = expires.millis() / 1000 - i64::try_from(now.as_secs()).unwrap();
    assert!((500..=525).contains(&left), "{left} s are left of {head}");
}

#[test]
fn the_webhook_hears_once_of_runs_that_cannot_begin_and_that_they_can_again() {
    let (hook, api) = (Api::start(|_| Response::text(200, "text/plain", "")), Api::start(api::paged(Vec::new(), 10)));
    let notify =
        format!("[notify]\nwebhook = \"{}\"\nallow_private = true\nevents = [\"failed\", \"recovered\"]\n", hook.url);
    let pipeline = api::manifest("${API_URL}", "")
        .replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1m\"\nsecrets = [\"API_URL\"]");
    let project = Project::new(&format!("{notify}{pipeline}"));
    let begin = |minute: u32| json!({ "pipeline": "api", "wake": format!("2026-11-28T09:{minute:02}:00Z") });
    let start = |url: Option<&str>| {
        let mut command = project.command(&["worker", "--listen", "127.0.0.1:0"]);
        command.envs(url.map(|url| ("API_URL", url)));
        Server::spawn(command)
    };
    let told = || hook.log.lock().unwrap().iter().map(|r| r.body.clone()).collect::<Vec<_>>();
    let first = start(Some(&api.url));
    drive(&first.address, "api", "2026-11-28T09:00:00Z");
    drop(first);
    // Each container is a new process, and each fails at the same tick.
    for _ in 0..2 {
        let worker = start(None);
        for _ in 0..2 {
            let (status, answer) = call(&worker.address, "begin", &begin(1));
            assert_eq!((status, &answer["error"]["code"]), (422, &json!("HK0112")));
        }
        worker.terminate(Duration::from_secs(20));
    }
    assert_eq!(told().len(), 1, "{:?}", told());
    assert!(told()[0].contains("\"type\":\"failed\"") && told()[0].contains("HK0112"), "{:?}", told());
    let worker = start(Some(&api.url));
    drive(&worker.address, "api", "2026-11-28T09:01:00Z");
    worker.terminate(Duration::from_secs(20));
    assert_eq!(told().len(), 2, "{:?}", told());
    assert!(told()[1].contains("\"type\":\"recovered\""), "{:?}", told());
}

/// A slow webhook keeps the process, not the pipeline: who asks again is answered by what is so then.
#[test]
fn an_operation_that_failed_is_done_anew_while_the_webhook_still_hears_of_it() {
    let held = Arc::new(AtomicBool::new(true));
    let hold = held.clone();
    let hook = Api::start(move |_| {
        api::hold(&hold);
        Response::text(200, "text/plain", "")
    });
    let api = Api::start(api::paged(Vec::new(), 10));
    let notify = format!("[notify]\nwebhook = \"{}\"\nallow_private = true\nevents = [\"failed\"]\n", hook.url);
    let pipeline = api::manifest("${API_URL}", "")
        .replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1m\"\nsecrets = [\"API_URL\"]");
    let project = Project::new(&format!("{notify}{pipeline}"));
    // A grace that no stall is longer than.
    let mut worker = Server::worker(&project, &["--grace", "300s"]);
    let begin = json!({ "pipeline": "api", "wake": "2026-11-28T09:00:00Z" });
    assert_eq!(call(&worker.address, "begin", &begin).0, 422);
    wait_for("the webhook to be told", Duration::from_secs(60), || (hook.count() > 0).then_some(()));
    let env = project.path().join(".env");
    std::fs::write(&env, format!("API_URL={}\n", api.url)).unwrap();
    std::fs::set_permissions(&env, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (status, answer) = call(&worker.address, "begin", &begin);
    assert_eq!((status, &answer["next"]), (200, &json!("steps")), "{answer}");
    // And the process does not end before the webhook has answered.
    worker.signal(15);
    wait_for("it to know", Duration::from_secs(60), || {
        worker.log().contains("ending: finishing what was started").then_some(())
    });
    // Nothing is there to wait for: by now it would be gone.
    std::thread::sleep(Duration::from_secs(2));
    assert!(worker.runs(), "{}", worker.log());
    assert!(!worker.log().contains("told the webhook"), "{}", worker.log());
    held.store(false, Ordering::SeqCst);
    let (status, log) = worker.end(Duration::from_secs(60));
    assert!(status.success() && log.contains("told the webhook"), "{log}");
}

/// No lock says that a worker is alone, on whatever catalog: another process finds its lease, not a dead one's.
#[test]
fn two_workers_on_one_catalog_know_each_other_by_their_leases() {
    let project = Project::new(MINUTELY);
    project.write("data/a.csv", "id\n1\n");
    let (one, other) = (Server::worker(&project, &[]), Server::worker(&project, &[]));
    let begin = json!({ "pipeline": "p", "wake": "2026-11-28T09:00:00Z" });
    assert_eq!(call(&one.address, "begin", &begin).1["next"], "steps");
    assert_eq!(call(&other.address, "begin", &begin).1["next"], "wait", "it took a live worker for a dead one");
    assert_eq!(call(&one.address, "begin", &json!({ "pipeline": "p", "wake": "2026-11-28T09:00:30Z" })).0, 200);
}
