//! Secrets that are changed while the function lives: read again when a source refuses one, before its step is recorded as
//! failed.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{minutely, source};
use crate::support::api::{self, Api, Response};
use crate::support::lambda::{Deployment, Lambda};

const ARN: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:test-Ab12Cd";

/// A stand-in for Secrets Manager with one secret.
fn manager(secret: Arc<Mutex<Value>>) -> Api {
    Api::start(move |request| {
        assert_eq!(request.headers["x-amz-target"], "secretsmanager.GetSecretValue");
        let asked: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(asked["SecretId"], ARN);
        let text = secret.lock().unwrap().to_string();
        Response::json(&json!({ "ARN": ARN, "Name": "test", "SecretString": text, "VersionId": "1" }))
    })
}

fn with_secrets(deployment: Deployment, manager: &Api) -> Deployment {
    deployment.with("HAKIRI_SECRETS", ARN).with("AWS_ENDPOINT_URL_SECRETS_MANAGER", &manager.url)
}

#[test]
fn a_token_that_was_rotated_is_tried_before_its_step_is_taken_for_failed() {
    let secret = Arc::new(Mutex::new(json!({ "TOKEN": "c4n4ry-one" })));
    let manager = manager(secret.clone());
    let wanted = Arc::new(Mutex::new("c4n4ry-one"));
    let (expected, pages) = (wanted.clone(), api::paged(vec![json!({ "id": 1 })], 10));
    let source = Api::start(move |request| {
        match request.headers["authorization"] == format!("Bearer {}", expected.lock().unwrap()) {
            true => pages(request),
            false => Response::text(401, "text/plain", "who are you"),
        }
    });
    let manifest = api::manifest(&source.url, "")
        .replace("id = \"api\"", "id = \"api\"\nschedule = \"every 1m\"\nsecrets = [\"TOKEN\"]")
        .replace("allow_private = true", "allow_private = true\nauth = { bearer = \"${TOKEN}\" }");
    let deployment = with_secrets(Deployment::new(&manifest), &manager);
    let function = deployment.function();
    function.drive("api", "2026-11-28T09:00:00Z");
    let read = manager.count();
    assert!(read >= 1);
    function.drive("api", "2026-11-28T09:01:00Z");
    assert_eq!(manager.count(), read, "what was read a moment ago is not read again");

    // Rotated between two runs: one refusal, one look, and the step is done.
    *wanted.lock().unwrap() = "c4n4ry-two";
    *secret.lock().unwrap() = json!({ "TOKEN": "c4n4ry-two" });
    let begun = function.begin("api", "2026-11-28T09:02:00Z");
    assert_eq!(function.ask(&Lambda::step("api", &begun, 0)), json!({ "next": "done" }));
    assert_eq!(function.ask(&Lambda::of("commit", "api", &begun)), json!({ "next": "begin" }));
    assert_eq!(manager.count(), read + 1);

    // Refused and not changed: it fails, at once and for good. By a process that knows of no change a moment ago, after
    // which a refused credential may have been the old one.
    *wanted.lock().unwrap() = "c4n4ry-three";
    function.0.kill();
    let begun = function.begin("api", "2026-11-28T09:03:00Z");
    let asked = source.count();
    assert_eq!(function.ask(&Lambda::step("api", &begun, 0))["next"], "fail");
    assert_eq!((source.count() - asked, manager.count()), (1, read + 3));
    assert_eq!(function.ask(&Lambda::of("commit", "api", &begun)), json!({ "next": "begin" }));
    assert!(!function.0.log().contains("c4n4ry"), "{}", function.0.log());
}

#[test]
fn a_password_that_was_rotated_is_tried_before_a_run_is_said_not_to_begin() {
    let db = source(3);
    let role = format!("{}_reader", db.name);
    db.sql(&format!("create role {role} login password 'c4n4ry-one'; grant select on t to {role}"));
    let of = |password: &str| json!({ "DATABASE_URL": db.url_as(&role, password) });
    // The server lets in whoever comes: what is refused is another role, which is there from the second reading on.
    let secret = Arc::new(Mutex::new(json!({ "DATABASE_URL": db.url_as(&format!("{role}_gone"), "x") })));
    let manager = manager(secret.clone());
    let deployment = with_secrets(Deployment::new(&minutely("", "")), &manager);
    let function = deployment.function();
    let begin = json!({ "op": "begin", "pipeline": "p", "wake": "2026-11-28T09:00:00Z" });
    let (kind, message) = function.error(&begin);
    assert!(kind == "Hakiri.Permanent" && message.starts_with("HK1003: "), "{kind} {message}");
    *secret.lock().unwrap() = of("c4n4ry-one");
    function.drive("p", "2026-11-28T09:00:00Z");
    assert_eq!(deployment.rows("select count(*) n from p_t"), json!([{ "n": 3 }]));
    assert!(!function.0.log().contains("c4n4ry"), "{}", function.0.log());
    db.sql(&format!("drop owned by {role}; drop role {role}"));
}

#[test]
fn a_secret_that_has_no_value_yet_is_looked_for_again() {
    let db = source(1);
    let secret = Arc::new(Mutex::new(json!({})));
    let manager = manager(secret.clone());
    let deployment = with_secrets(Deployment::new(&minutely("", "")), &manager);
    let function = deployment.function();
    let begin = json!({ "op": "begin", "pipeline": "p", "wake": "2026-11-28T09:00:00Z" });
    let (kind, message) = function.error(&begin);
    assert!(kind == "Hakiri.Permanent" && message.starts_with("HK0112: "), "{kind} {message}");
    *secret.lock().unwrap() = json!({ "DATABASE_URL": db.url() });
    function.drive("p", "2026-11-28T09:00:00Z");
    assert_eq!(deployment.rows("select count(*) n from p_t"), json!([{ "n": 1 }]));
}
