//! An API that takes longer to read than a function may run: each one goes on where the last one was (E4).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hakiri_sim::lambda::Outcome;
use serde_json::{Value, json};

use crate::support::api::{Api, Response};
use crate::support::lambda::{Deployment, Lambda};
use crate::support::server::wait_for;

const WAKE: &str = "2026-11-28T09:00:00Z";
/// Functions of the test have as long, and a tenth of it to save what they have read.
const SHORT: Duration = Duration::from_secs(5);
/// An API takes as long for every answer, so that a read of everything takes more than twice the time of a function.
const PACE: Duration = Duration::from_millis(200);

/// Orders, so many on a page, and two lines of each.
fn api(orders: usize, on_page: usize, version: Arc<AtomicUsize>) -> Api {
    Api::start(move |asked| {
        std::thread::sleep(PACE);
        let version = version.load(Ordering::SeqCst);
        let order = asked.path.strip_prefix("/orders/").and_then(|rest| rest.strip_suffix("/lines"));
        let items: Vec<Value> = match order {
            Some(order) => (1..3).map(|n| json!({ "id": format!("{order}-{n}"), "version": version })).collect(),
            None => {
                let page: usize = asked.query["page"].parse().unwrap();
                let ids = (page - 1) * on_page + 1..=(page * on_page).min(orders);
                ids.map(|id| json!({ "id": id, "version": version, "tags": [{ "of": id }] })).collect()
            }
        };
        Response::json(&json!(items))
    })
}

fn deployment(api: &Api) -> Deployment {
    let manifest = r#"
[[pipeline]]
id = "p"
schedule = "every 1m"
secrets = ["API_URL"]
[pipeline.source]
connector = "http"
[pipeline.source.config]
base_url = "${API_URL}"
allow_private = true
[pipeline.source.config.resources.orders]
path = "/orders"
primary_key = ["id"]
children = ["tags"]
paginate = { page = { param = "page" } }
[pipeline.source.config.resources.lines]
path = "/orders/{orders.id}/lines"
primary_key = ["id"]
include = { order = "id" }
"#;
    Deployment::new(manifest).with("API_URL", &api.url)
}

/// Asks for the only step of a run with little time each until it is done; how often it said `again`.
fn in_short_times(function: &Lambda, begun: &Value, between: impl Fn(usize)) -> usize {
    for again in 0.. {
        match function.ask_within(&Lambda::step("p", begun, 0), SHORT) {
            done if done == json!({ "next": "done" }) => return again,
            other => assert_eq!(other, json!({ "next": "again" }), "{}", function.0.log()),
        }
        assert!(again < 20, "it does not get on: {}", function.0.log());
        between(again);
    }
    unreachable!()
}

#[test]
fn an_api_is_read_on_by_function_after_function_and_gives_the_bytes_of_one_read() {
    let api = api(40, 4, Arc::default());
    let whole = deployment(&api);
    whole.function().drive("p", WAKE);
    let requests = api.count();
    assert_eq!(requests, 40 + 11, "pages, the last of which is empty, and the lines of each order");

    let cut = deployment(&api);
    let function = cut.function();
    let begun = function.begin("p", WAKE);
    // One of them is killed: the next one has what was saved before.
    let again = in_short_times(&function, &begun, |again| {
        if again == 0 {
            function.0.kill();
        }
    });
    assert!(again >= 2, "{again}: it was never cut short");
    let more = api.count() - 2 * requests;
    assert!(
        more <= 3 * again,
        "{more} requests more, although only a page and a record are asked for again at each cut"
    );
    assert!(cut.steps().len() > again, "{:?}", cut.steps());
    assert_eq!(function.ask(&Lambda::of("commit", "p", &begun)), json!({ "next": "begin" }));
    assert_eq!(cut.steps(), Vec::<String>::new(), "what the source gave stays nowhere but in the tables");
    assert_eq!(cut.files(), whole.files());
    let rows = cut.rows("select (select count(*) from p_orders) o, (select count(*) from p_lines) l");
    assert_eq!(rows, json!([{ "o": 40, "l": 80 }]));
}

#[test]
fn a_page_that_changed_between_two_functions_is_read_from_the_start_of_everything() {
    let version = Arc::new(AtomicUsize::new(1));
    let api = api(30, 30, version.clone());
    let deployment = deployment(&api);
    let function = deployment.function();
    let begun = function.begin("p", WAKE);
    let again = in_short_times(&function, &begun, |again| {
        if again == 0 {
            version.store(2, Ordering::SeqCst);
        }
    });
    assert!(again >= 2, "{again}");
    assert_eq!(function.ask(&Lambda::of("commit", "p", &begun)), json!({ "next": "begin" }));
    let rows = deployment.rows("select min(version) a, max(version) b, count(*) n from p_lines");
    assert_eq!(rows, json!([{ "a": 2, "b": 2, "n": 60 }]));
    let log = function.0.log();
    assert!(log.contains("what was read before cannot be gone on with"), "{log}");
}

#[test]
fn a_function_that_dies_loses_no_more_than_what_was_not_saved_yet() {
    let gate = Arc::new(AtomicUsize::new(0));
    let closed = gate.clone();
    let api = Api::start(move |asked| {
        let Some(order) = asked.path.strip_prefix("/orders/").and_then(|rest| rest.strip_suffix("/lines")) else {
            let ids = if asked.query["page"] == "1" { 1..61 } else { 1..1 };
            return Response::json(&ids.map(|id| json!({ "id": id })).collect());
        };
        while order.parse::<u32>().unwrap() > 50 && closed.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        Response::json(&json!([{ "id": order, "text": "x".repeat(400_000) }]))
    });
    // So little memory that what was read has to be saved every four megabytes.
    let deployment = deployment(&api).with("HAKIRI_LEASE", "2s").with("HAKIRI_MEMORY", "64MiB");
    let function = deployment.function();
    let begun = function.begin("p", WAKE);
    function.0.begin(&Lambda::step("p", &begun, 0).to_string(), Duration::from_secs(60));
    wait_for("the fiftieth order", Duration::from_secs(60), || (api.count() > 51).then_some(()));
    // Its record says what is saved with the next heartbeat.
    std::thread::sleep(Duration::from_secs(2));
    function.0.kill();
    assert_eq!(function.0.wait(), Outcome::Exited);
    gate.store(1, Ordering::SeqCst);
    assert_eq!(function.step_to_its_end("p", &begun, 0), json!({ "next": "done" }));
    let more = api.count() - 62;
    assert!(more < 25, "{more} of 52 requests were made again");
    assert_eq!(function.ask(&Lambda::of("commit", "p", &begun)), json!({ "next": "begin" }));
    let rows = deployment.rows("select count(*) n, count(distinct \"order\") d, sum(length(text)) l from p_lines");
    assert_eq!(rows, json!([{ "n": 60, "d": 60, "l": 24_000_000 }]));
}

#[test]
fn a_page_that_is_never_the_same_is_not_started_again_for_ever() {
    let count = AtomicUsize::new(0);
    let api = Api::start(move |asked| {
        std::thread::sleep(PACE);
        let n = count.fetch_add(1, Ordering::SeqCst);
        let ids = if asked.path == "/orders" && asked.query["page"] == "1" { 1..61 } else { 1..1 };
        Response::json(&ids.map(|id| json!({ "id": id, "asked": n })).collect())
    });
    let deployment = deployment(&api);
    let function = deployment.function();
    let begun = function.begin("p", WAKE);
    let mut answers = Vec::new();
    while answers.last().is_none_or(|last| *last == json!({ "next": "again" })) && answers.len() < 8 {
        answers.push(function.ask_within(&Lambda::step("p", &begun, 0), SHORT));
    }
    let again = json!({ "next": "again" });
    assert_eq!(answers, [again.clone(), again.clone(), again, json!({ "next": "fail", "code": "HK0912" })]);
}

#[test]
fn what_was_read_before_an_api_gave_up_is_not_read_again() {
    let broken = Arc::new(AtomicUsize::new(1));
    let breaks = broken.clone();
    let api = Api::start(move |asked| match asked.path.as_str() {
        "/orders/21/lines" if breaks.load(Ordering::SeqCst) == 1 => Response::text(503, "text/plain", "busy"),
        "/orders" if asked.query["page"] == "1" => Response::json(&(1..31).map(|id| json!({ "id": id })).collect()),
        "/orders" => Response::json(&json!([])),
        path => Response::json(&json!([{ "id": path }])),
    });
    let deployment = deployment(&api);
    let function = deployment.function();
    let begun = function.begin("p", WAKE);
    let answer = function.ask(&Lambda::step("p", &begun, 0));
    assert_eq!(answer["next"], "wait", "{answer}");
    broken.store(0, Ordering::SeqCst);
    assert_eq!(function.step_to_its_end("p", &begun, 0), json!({ "next": "done" }));
    for order in (1..31).filter(|order| *order != 21) {
        let path = format!("/orders/{order}/lines");
        assert_eq!(api.log.lock().unwrap().iter().filter(|asked| asked.path == path).count(), 1, "{path}");
    }
    assert_eq!(function.ask(&Lambda::of("commit", "p", &begun)), json!({ "next": "begin" }));
    assert_eq!(deployment.rows("select count(distinct id) n from p_lines"), json!([{ "n": 30 }]));
}
