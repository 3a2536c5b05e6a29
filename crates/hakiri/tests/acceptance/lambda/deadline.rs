//! Long work in short workers: what is finished is never done again (E1, E4, E5).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hakiri_sim::lambda::Outcome;
use hakiri_sim::postgres::{Options, Server};
use serde_json::json;

use super::{minutely, source};
use crate::support::lambda::{Deployment, Lambda};
use crate::support::pg::Connection;
use crate::support::proxy::Proxy;
use crate::support::server::wait_for;

/// The longest that anything here may take.
const SOON: Duration = Duration::from_secs(60);

/// How often the server was asked to copy each range: its log has every statement, and a range has its bounds in its.
fn copies(server: &Server) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for line in server.log().lines().filter(|line| line.contains("COPY (")) {
        let statement = line.split_once("COPY (").unwrap().1.to_owned();
        *copies.entry(statement).or_default() += 1;
    }
    copies
}

#[test]
fn chunks_that_are_finished_are_not_read_again_whatever_happens_to_the_function() {
    let settings = vec![("log_statement".to_owned(), "all".to_owned())];
    let server = Server::start(&Options { settings, ..Options::default() });
    let url = format!("{}?sslmode=disable", server.url());
    let connection = Connection::open(&url);
    connection.sql("create table t (id int primary key, v text)");
    connection.sql("insert into t select i, 'v' || i from generate_series(1, 120) i");
    let deployment = Deployment::new(&minutely("", "chunk_rows = 10")).with("DATABASE_URL", &url);
    let deployment = deployment.with("HAKIRI_LEASE", "10s");
    let function = deployment.function();
    let begun = function.begin("p", "2026-11-28T09:00:00Z");
    assert_eq!(begun["steps"].as_array().unwrap().len(), 12);
    for step in 0..4 {
        assert_eq!(function.ask(&Lambda::step("p", &begun, step)), json!({ "next": "done" }));
    }
    let (before, parts) = (copies(&server), parts(&deployment));
    assert_eq!((before.len(), before.values().sum::<usize>(), parts.len()), (4, 4, 4));

    // A step that cannot end: it stops before its deadline, and says so.
    let lock = Connection::open(&url);
    lock.sql("begin; lock table t in access exclusive mode");
    let (asked, timeout) = (Instant::now(), Duration::from_secs(8));
    assert_eq!(function.ask_within(&Lambda::step("p", &begun, 4), timeout), json!({ "next": "again" }));
    let took = asked.elapsed();
    assert!(took > Duration::from_secs(6) && took < timeout, "{took:?}");
    // Its claim is given back: another sandbox has it at once. That one is killed in the middle of it.
    let other = deployment.function();
    other.0.begin(&Lambda::step("p", &begun, 4).to_string(), Duration::from_secs(60));
    wait_for("its read", SOON, || (copies(&server).values().sum::<usize>() == 6).then_some(()));
    other.0.kill();
    assert_eq!(other.0.wait(), Outcome::Exited);
    // Until its claim ends the step is its own; then it is anybody's of this run.
    assert_eq!(function.ask(&Lambda::step("p", &begun, 4))["next"], "wait");
    lock.sql("commit");
    for step in 4..12 {
        assert_eq!(function.step_to_its_end("p", &begun, step), json!({ "next": "done" }));
    }
    // Whatever is asked for twice is answered from the catalog.
    for step in 0..12 {
        assert_eq!(other.ask(&Lambda::step("p", &begun, step)), json!({ "next": "done" }));
    }
    let after = copies(&server);
    assert_eq!(after.len(), 12);
    for (statement, times) in &after {
        let cut = !before.contains_key(statement) && *times > 1;
        assert!(*times == 1 || (cut && *times == 3), "{times} times: {statement}");
    }
    assert_eq!(after.values().sum::<usize>(), 14, "one attempt was cut short, one died, and nothing else was repeated");
    assert_eq!(function.ask(&Lambda::of("commit", "p", &begun)), json!({ "next": "begin" }));
    let rows = deployment.rows("select count(*) n, count(distinct id) d, min(id) a, max(id) b from p_t");
    assert_eq!(rows, json!([{ "n": 120, "d": 120, "a": 1, "b": 120 }]));
    let committed = self::parts(&deployment);
    assert_eq!(committed.len(), 12);
    assert!(parts.iter().all(|part| committed.contains(part)), "a part was written anew");
}

fn parts(deployment: &Deployment) -> Vec<String> {
    deployment.files().into_iter().map(|(path, _)| path).filter(|path| path.contains("/part-")).collect()
}

#[test]
fn a_run_that_is_not_planned_in_time_is_said_to_be_so_and_the_next_wake_plans_it() {
    let db = source(30);
    let deployment = Deployment::new(&minutely("", "chunk_rows = 10")).with("DATABASE_URL", &db.url());
    let function = deployment.function();
    // Where the chunks begin cannot be found meanwhile.
    let lock = Connection::open(&db.url());
    lock.sql("begin; lock table t in access exclusive mode");
    let begin = json!({ "op": "begin", "pipeline": "p", "wake": "2026-11-28T09:00:00Z", "spent": 0 });
    let (asked, timeout) = (Instant::now(), Duration::from_secs(8));
    let (kind, message) = function.error_within(&begin, timeout);
    assert!(asked.elapsed() < timeout, "{:?}", asked.elapsed());
    assert_eq!((kind.as_str(), &message[..6]), ("Hakiri.Permanent", "HK0913"), "{message}");
    assert!(message.contains("fargate"), "{message}");
    lock.sql("commit");
    // Its lease was given back.
    function.drive("p", "2026-11-28T09:00:00Z");
    assert_eq!(deployment.rows("select count(*) n from p_t"), json!([{ "n": 30 }]));
}

#[test]
fn a_step_that_never_fits_fails_its_table_at_the_third_cut_and_the_others_are_committed() {
    let db = source(3);
    db.sql("create view slow as select i as id, repeat('x', 1000) || pg_sleep(0.05) as s from generate_series(1, 100000) i");
    let deployment = Deployment::new(&minutely("", "")).with("DATABASE_URL", &db.url());
    let function = deployment.function();
    let begun = function.begin("p", "2026-11-28T09:00:00Z");
    let short = Duration::from_secs(5);
    let mut failed = Vec::new();
    for step in begun["steps"].as_array().unwrap() {
        let step = Lambda::step("p", &begun, step.as_u64().unwrap());
        let mut again = 0;
        loop {
            let answer = function.ask_within(&step, short);
            match answer["next"].as_str() {
                Some("again") if again < 5 => again += 1,
                Some("fail") => break failed.push((again, answer)),
                _ => break assert_eq!((again, answer), (0, json!({ "next": "done" }))),
            }
        }
    }
    assert_eq!(failed, [(2, json!({ "next": "fail", "code": "HK0912" }))]);
    let copies = "select count(*) from pg_stat_activity where datname = current_database() and query like 'COPY%' and state = 'active'";
    let asked = Instant::now();
    while db.connection.value(copies) != "0" {
        // It is frozen by now, and its connections would be open if they were not closed before.
        assert!(asked.elapsed() < Duration::from_secs(20), "a copy goes on that nobody reads");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(function.ask(&Lambda::of("commit", "p", &begun)), json!({ "next": "begin" }));
    assert_eq!(deployment.rows("select count(*) n from p_t"), json!([{ "n": 3 }]));
    let log = function.0.log();
    assert!(log.contains("cut short 3 times by the end of its worker's time"), "{log}");
}

#[test]
fn a_function_that_dies_is_started_anew_and_its_run_goes_on_when_its_lease_ends() {
    let db = source(30);
    let deployment = Deployment::new(&minutely("", "chunk_rows = 10")).with("DATABASE_URL", &db.url());
    let deployment = deployment.with("HAKIRI_LEASE", "1s");
    let function = deployment.function();
    let begun = function.begin("p", "2026-11-28T09:00:00Z");
    assert_eq!(function.ask(&Lambda::step("p", &begun, 0)), json!({ "next": "done" }));
    function.0.kill();
    // The machine asks again with the same epoch: the run is still its own.
    assert_eq!(function.ask(&Lambda::step("p", &begun, 1)), json!({ "next": "done" }));
    function.0.kill();
    // Another execution takes the run over once the lease has ended, and only then.
    function.drive("p", "2026-11-28T09:00:00Z");
    assert_eq!(deployment.rows("select count(*) n, count(distinct id) d from p_t"), json!([{ "n": 30, "d": 30 }]));
}

#[test]
fn a_commit_that_does_not_end_in_time_says_so_and_is_made_by_the_next_call() {
    let db = source(3);
    let s3 = std::env::var("HAKIRI_TEST_S3").unwrap();
    let cable = Proxy::start("127.0.0.2", s3.trim_start_matches("http://"));
    let deployment = Deployment::new(&minutely("", "")).with("DATABASE_URL", &db.url());
    let deployment = deployment.with("AWS_ENDPOINT_URL_S3", &format!("http://{}", cable.address));
    let function = deployment.function();
    let begun = function.begin("p", "2026-11-28T09:00:00Z");
    assert_eq!(function.ask(&Lambda::step("p", &begun, 0)), json!({ "next": "done" }));
    cable.cut();
    let (asked, timeout, commit) = (Instant::now(), Duration::from_secs(8), Lambda::of("commit", "p", &begun));
    assert_eq!(function.ask_within(&commit, timeout), json!({ "next": "wait", "seconds": 1 }));
    assert!(asked.elapsed() < timeout, "{:?}", asked.elapsed());
    cable.mend();
    assert_eq!(function.ask(&commit), json!({ "next": "begin" }));
    assert_eq!(function.ask(&commit), json!({ "next": "begin" }), "and again, harmlessly");
    assert_eq!(deployment.rows("select count(*) n from p_t"), json!([{ "n": 3 }]));
}
