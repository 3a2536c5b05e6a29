//! The least that an orchestrator is: it calls the operations of a worker over HTTP, and obeys their `next` (`05`).

use std::time::Duration;

use serde_json::{Value, json};

use super::server::send;

/// One call and its answer: status and body.
pub fn call(address: &str, op: &str, body: &Value) -> (u16, Value) {
    let headers = [("hakiri-contract", "1"), ("content-type", "application/json")];
    let (status, _, text) = send(address, "POST", &format!("/v1/{op}"), &headers, &body.to_string());
    let text = text.trim();
    (status, serde_json::from_str(text).unwrap_or_else(|e| panic!("{op}: {status} {e}: {text}")))
}

/// Drives a pipeline until nothing is due; gives that last answer. Waits at most a moment, whatever it is told.
#[track_caller]
pub fn drive(address: &str, pipeline: &str, wake: &str) -> Value {
    loop {
        let begun = expect(address, "begin", &json!({ "pipeline": pipeline, "wake": wake }));
        match begun["next"].as_str() {
            Some("steps") => {
                for step in begun["steps"].as_array().unwrap() {
                    step_to_its_end(address, pipeline, &begun, step);
                }
            }
            Some("commit") => {}
            Some("wait") => {
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
            _ => return begun,
        }
        let committed =
            expect(address, "commit", &json!({ "pipeline": pipeline, "run": begun["run"], "epoch": begun["epoch"] }));
        assert_eq!(committed["next"], "begin");
    }
}

#[track_caller]
fn step_to_its_end(address: &str, pipeline: &str, begun: &Value, step: &Value) {
    let request = json!({ "pipeline": pipeline, "run": begun["run"], "epoch": begun["epoch"], "step": step });
    loop {
        let answer = expect(address, "step", &request);
        match answer["next"].as_str() {
            Some("wait") => std::thread::sleep(Duration::from_millis(200)),
            Some("again") => {}
            _ => return,
        }
    }
}

#[track_caller]
fn expect(address: &str, op: &str, body: &Value) -> Value {
    let (status, answer) = call(address, op, body);
    assert_eq!(status, 200, "{op}: {answer}");
    answer
}
