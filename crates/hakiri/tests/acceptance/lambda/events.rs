//! What the function answers, and what it leaves behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hakiri_sim::lambda::{Function, Outcome};
use serde_json::{Value, json};

use super::{minutely, source};
use crate::support::api::{self, Api, Response};
use crate::support::lambda::{Deployment, Lambda};
use crate::support::server::wait_for;
use crate::support::{Project, binary, files_below};

#[test]
fn ticks_through_the_function_have_the_bytes_of_ticks_on_a_laptop() {
    let db = source(25);
    let manifest = minutely("catch_up = \"each\"\n", "chunk_rows = 10\nincremental = \"id\"");
    let deployment = Deployment::new(&manifest).with("DATABASE_URL", &db.url());
    let (function, here) = (deployment.function(), Project::new(&manifest));
    for minute in 0..4 {
        let wake = format!("2026-11-28T09:{minute:02}:00Z");
        db.sql(&format!("insert into t values ({}, 'new')", 100 + minute));
        function.drive("p", &wake);
        let mut command = here.command(&["run", "--tick", &wake]);
        assert!(command.env("DATABASE_URL", db.url()).output().unwrap().status.success());
    }
    let files = files_below(&here.store().join("tables"), &here.store());
    let files: Vec<_> = files.into_iter().map(|p| (p.clone(), std::fs::read(here.store().join(p)).unwrap())).collect();
    assert!(files.len() > 8, "{}", files.len());
    assert!(deployment.files() == files, "not the same files");
    // Nothing is written beside the code, and nothing is left of what was on its way.
    assert_eq!(files_below(&function.0.task().join("project"), &function.0.task()), ["project/hakiri.toml"]);
    assert_eq!(files_below(&function.0.tmp(), &function.0.tmp()), [""; 0]);
    let log = function.0.log();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(log.contains("\"request\":\"invocation-1\"") && !log.contains("new"), "{log}");
}

#[test]
fn a_run_of_more_steps_than_a_window_goes_on_in_another_execution_at_once() {
    let db = source(450);
    let manifest = minutely("", "chunk_rows = 1");
    let deployment = Deployment::new(&manifest).with("DATABASE_URL", &db.url());
    let (one, other) = (deployment.function(), deployment.function());
    let begun = one.begin("p", "2026-11-28T09:00:00Z");
    let steps = |begun: &Value| begun["steps"].as_array().unwrap().len();
    assert_eq!((steps(&begun), &begun["more"], &begun["concurrency"]), (400, &json!(true), &json!(4)));
    for step in 0..3 {
        assert_eq!(one.ask(&Lambda::step("p", &begun, step)), json!({ "next": "done" }));
    }
    // The lease is another execution's only once it is given back.
    assert_eq!(other.begin("p", "2026-11-28T09:00:00Z")["next"], "wait");
    let handed = other.ask(&Lambda::of("hand_over", "p", &begun));
    assert_eq!(handed, json!({ "next": "begin" }));
    let next = other.begin("p", "2026-11-28T09:00:00Z");
    assert_eq!((steps(&next), &next["more"], &next["run"]), (400, &json!(true), &begun["run"]));
    assert_eq!(next["steps"][0], 3, "what is done is not handed out again");
    // The first execution, should it go on, hears that it is the first.
    let (kind, message) = one.error(&Lambda::step("p", &begun, 5));
    assert!(kind == "Hakiri.Fenced" && message.starts_with("HK0202: "), "{kind} {message}");
    // A history that is nearly full: the catalog is not even asked.
    let full = json!({ "op": "begin", "pipeline": "p", "wake": "2026-11-28T09:00:00Z", "spent": 19_000 });
    assert_eq!(other.ask(&full), json!({ "next": "follow" }));
    assert_eq!(one.ask(&full), json!({ "next": "follow" }));
}

#[test]
fn errors_are_told_apart_by_what_the_machine_does_about_them() {
    let db = source(1);
    let deployment = Deployment::new(&minutely("", "")).with("DATABASE_URL", &db.url());
    let mut function = deployment.function();
    let (kind, message) = function.error(&json!({ "op": "begin", "pipeline": "q", "wake": "2026-11-28T09:00:00Z" }));
    assert!(kind == "Hakiri.Permanent" && message.starts_with("HK0906: "), "{kind} {message}");
    let literal = json!({ "op": "begin", "pipeline": "p", "wake": "<aws.scheduler.scheduled-time>" });
    let (kind, message) = function.error(&literal);
    assert!(kind == "Hakiri.Permanent" && message.starts_with("HK1114: "), "{kind} {message}");
    // It lives on, and a store that cannot be reached may come back.
    function.drive("p", "2026-11-28T09:00:00Z");
    function.0.kill();
    let reachable = std::env::var("HAKIRI_TEST_S3").unwrap();
    function.0.set("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    let begin = json!({ "op": "begin", "pipeline": "p", "wake": "2026-11-28T09:01:00Z" });
    let (kind, message) = function.error(&begin);
    assert!(kind == "Hakiri.Transient" && message.starts_with("HK03"), "{kind} {message}");
    // It comes by another way than the answer.
    wait_for("the error in the log", Duration::from_secs(20), || {
        let said = function.0.log();
        said.lines().any(|line| line.contains("\"level\":\"error\"") && line.contains("HK03")).then_some(())
    });
    function.0.kill();
    function.0.set("AWS_ENDPOINT_URL_S3", &reachable);
    function.drive("p", "2026-11-28T09:01:00Z");
}

/// The platform bills a start and lets it wait for one: nothing is asked of anybody before the first event. How long it
/// takes is measured by `bench/lambda-init.py`, which also says what it is spent on.
#[test]
fn artifact_the_function_is_ready_before_it_asks_anything_of_anybody() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let everything = Api::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Response::text(500, "text/plain", "")
    });
    let manager = ("HAKIRI_SECRETS", "arn:aws:secretsmanager:us-east-1:000000000000:secret:test-Ab12Cd");
    let deployment = Deployment::new(&minutely("", "")).with(manager.0, manager.1);
    let mut function = deployment.function();
    for name in
        ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SECRETS_MANAGER"]
    {
        function.0.set(name, &everything.url);
    }
    function.0.start();
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    function.error(&json!({ "op": "begin", "pipeline": "p", "wake": "2026-11-28T09:00:00Z" }));
    assert!(asked.load(Ordering::SeqCst) > 0, "the first event needs them");
}

#[test]
fn a_manifest_that_cannot_be_used_is_said_at_the_start() {
    let deployment = Deployment::new("[[pipeline]]\nid = \"p\"\nsauce = 1\n");
    let function = deployment.function();
    let Outcome::Failed(kind, body) = function.0.invoke("{}", Duration::from_secs(30)) else { panic!() };
    assert!(kind == "Hakiri.Permanent" && body.contains("HK01") && body.contains("hakiri.toml:"), "{kind} {body}");
    let nowhere = Function::new(&binary(), &[], &[]);
    let Outcome::Failed(kind, body) = nowhere.invoke("{}", Duration::from_secs(30)) else { panic!() };
    assert!(kind == "Hakiri.Permanent" && body.contains("HK0004"), "{kind} {body}");
}

/// A process that is frozen with its answer must have told the webhook before.
#[test]
fn the_webhook_is_told_before_the_answer_and_nothing_is_left_running() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let hook = Api::start(move |_| {
        std::thread::sleep(Duration::from_millis(1_500));
        count.fetch_add(1, Ordering::SeqCst);
        Response::text(200, "text/plain", "")
    });
    let api = Api::start(|_| Response::text(404, "text/plain", "gone"));
    let notify = format!("[notify]\nwebhook = \"{}\"\nallow_private = true\nevents = [\"failed\"]\n", hook.url);
    let manifest = api::manifest(&api.url, "").replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1m\"");
    let deployment = Deployment::new(&format!("{notify}{manifest}"));
    let function = deployment.function();
    let begun = function.begin("api", "2026-11-28T09:00:00Z");
    let failed = function.ask(&Lambda::step("api", &begun, 0));
    assert_eq!(failed["next"], "fail");
    assert!(failed["code"].as_str().unwrap().starts_with("HK05"), "{failed}");
    assert_eq!(answered.load(Ordering::SeqCst), 0);
    assert_eq!(function.ask(&Lambda::of("commit", "api", &begun)), json!({ "next": "begin" }));
    assert_eq!(answered.load(Ordering::SeqCst), 1, "the answer came before the webhook's");
    assert!(hook.log.lock().unwrap()[0].body.contains("\"type\":\"failed\""));
    // While it is frozen it does nothing, and nothing was waiting for it to go on.
    let asked = (api.count(), hook.count());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(function.begin("api", "2026-11-28T09:00:00Z"), json!({ "next": "nothing", "spent": 0 }));
    assert_eq!((api.count(), hook.count()), asked);
}

#[test]
fn an_alarm_is_told_to_the_webhook_without_catalog_and_store() {
    let hook = Api::start(|_| Response::text(200, "text/plain", ""));
    let notify = "[notify]\nwebhook = \"${HOOK}\"\nsecret = \"${HOOK_KEY}\"\nallow_private = true\n";
    let manifest = format!("[project]\nname = \"test\"\n{notify}");
    let variables = [("HOOK", hook.url.as_str()), ("HOOK_KEY", "whsec_c2VjcmV0")];
    let function = Lambda(Function::new(&binary(), &[("hakiri.toml", &manifest)], &variables));
    let alarm = json!({
        "source": "aws.cloudwatch",
        "alarmArn": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:test-failed",
        "time": "2026-11-28T12:36:15.490+0000",
        "alarmData": {
            "alarmName": "test-failed",
            "state": { "value": "ALARM", "reason": "Threshold Crossed", "timestamp": "2026-11-28T12:36:15.490+0000" },
            "configuration": { "description": "an execution failed" },
        },
    });
    assert_eq!(function.ask(&alarm), json!({ "next": "nothing" }));
    assert_eq!(function.ask(&alarm), json!({ "next": "nothing" }));
    let told = hook.log.lock().unwrap().clone();
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!((&body["type"], &body["pipeline"]), (&json!("alarm"), &Value::Null));
    assert_eq!((&body["data"]["alarm"], &body["data"]["state"]), (&json!("test-failed"), &json!("ALARM")));
    assert_eq!(body["timestamp"], "2026-11-28T12:36:15.490Z");
    // A repetition is known by its id, and each is signed as the other events are.
    let id = body["id"].as_str().unwrap();
    assert!(told.iter().all(|r| r.headers["webhook-id"] == id) && told.len() == 2);
    let signed = format!("{id}.{}.{}", told[0].headers["webhook-timestamp"], told[0].body);
    let script = "import sys, hmac, hashlib, base64\n\
                  print('v1,' + base64.b64encode(hmac.new(b'secret', sys.argv[1].encode(), hashlib.sha256).digest()).decode())";
    assert_eq!(told[0].headers["webhook-signature"], crate::support::python(script, &[&signed]).trim());
    // One that is not taken is an error, so that the platform brings it again.
    drop(hook);
    let asked = Instant::now();
    let (kind, _) = function.error(&alarm);
    assert!(kind.starts_with("Hakiri.") && asked.elapsed() > Duration::from_secs(5), "{kind} {:?}", asked.elapsed());
}
