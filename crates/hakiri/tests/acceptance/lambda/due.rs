//! `hakiri run --due`: a whole run in one process, as a task of a cloud does it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{minutely, source};
use crate::support::Project;
use crate::support::lambda::{Deployment, Lambda};
use crate::support::pg::Db;
use crate::support::server::wait_for;

#[test]
fn what_is_due_is_run_as_on_lambda_and_nothing_twice() {
    let db = source(25);
    let manifest = minutely("catch_up = \"each\"\n", "chunk_rows = 10");
    let deployment = Deployment::new(&manifest).with("DATABASE_URL", &db.url()).with("HAKIRI_LEASE", "2s");
    let task =
        |wake: &str| deployment.run(&["--due", "--orchestrated", "--wake", wake, "p", "--json"]).expect(0).json();
    let ticks = |json: serde_json::Value| {
        json["runs"].as_array().unwrap().iter().map(|r| r["tick"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ticks(task("2026-11-28T09:00:30Z")), [json!("2026-11-28T09:00:00.000Z")]);
    assert_eq!(ticks(task("2026-11-28T09:00:59Z")).len(), 0, "that tick is done");
    let three = ["2026-11-28T09:01:00.000Z", "2026-11-28T09:02:00.000Z", "2026-11-28T09:03:00.000Z"];
    assert_eq!(ticks(task("2026-11-28T09:03:00Z")), three);
    let quiet = deployment.run(&["--due", "--wake", "2026-11-28T09:03:10Z", "p"]).expect(0);
    quiet.says("p: nothing is due");
    // A run that the function began and left is taken over, once its lease has ended.
    let function = deployment.function();
    let begun = function.begin("p", "2026-11-28T09:04:00Z");
    assert_eq!(function.ask(&Lambda::step("p", &begun, 0)), json!({ "next": "done" }));
    assert_eq!(ticks(task("2026-11-28T09:04:00Z")), [json!("2026-11-28T09:04:00.000Z")]);
    // Whoever began it finds it done, whatever it asks for.
    assert_eq!(function.ask(&Lambda::step("p", &begun, 1)), json!({ "next": "done" }));
    assert_eq!(function.ask(&Lambda::of("commit", "p", &begun)), json!({ "next": "begin" }));
    assert_eq!(deployment.rows("select count(*) n, count(distinct id) d from p_t"), json!([{ "n": 25, "d": 25 }]));
}

#[test]
fn a_failed_table_is_the_catalogs_to_say_where_an_orchestrator_asks() {
    let db = source(1);
    db.sql("create view broken as select 1 / 0 as x");
    let deployment = Deployment::new(&minutely("", "")).with("DATABASE_URL", &db.url());
    let ran = deployment.run(&["--due", "--orchestrated", "--wake", "2026-11-28T09:00:00Z", "p"]).expect(0);
    ran.says("partly committed");
    let ran = deployment.run(&["--due", "--wake", "2026-11-28T09:01:00Z", "p"]).expect(3);
    ran.says("partly committed");
    // What is no outcome of a run is an error all the same.
    deployment.run(&["--due", "--orchestrated", "q"]).expect(2).says("HK0906");
    let mut url = url::Url::parse(&deployment.catalog.url()).unwrap();
    url.set_path("nowhere");
    let args = ["run", "--due", "--orchestrated", "--catalog", url.as_str(), "--store", &deployment.store(), "p"];
    let ran: crate::support::Ran = deployment.command(&args).output().unwrap().into();
    assert!(ran.code != 0, "{ran:?}");
}

#[test]
fn sigterm_hands_a_run_over_and_the_next_task_goes_on_at_once() {
    // Without a key the plan asks for no row, and the lock holds up the copy.
    let db = Db::new("create table t (id int); insert into t select generate_series(1, 20)");
    let deployment = Deployment::new(&minutely("tables = [\"t\"]\n", "")).with("DATABASE_URL", &db.url());
    let lock = db.connect();
    lock.sql("begin; lock table t in access exclusive mode");
    let (catalog, store) = (deployment.catalog.url(), deployment.store());
    let place = ["run", "--due", "--orchestrated", "--catalog", &catalog, "--store", &store];
    let args = [&place[..], &["--wake", "2026-11-28T09:00:00Z", "p"]].concat();
    let mut child = deployment.command(&args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and query like 'COPY%' \
                 and wait_event_type = 'Lock'";
    wait_for("a copy", Duration::from_secs(30), || (db.connection.value(waits) != "0").then_some(()));
    let asked = Instant::now();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130), "whoever started it must know that it is not done");
    lock.sql("commit");
    let again: crate::support::Ran = deployment.command(&args).output().unwrap().into();
    again.expect(0);
    assert!(asked.elapsed() < Duration::from_secs(30), "the lease was not given back: {:?}", asked.elapsed());
    assert_eq!(deployment.rows("select count(*) n from p_t"), json!([{ "n": 20 }]));
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let project = Project::new("");
    for args in
        [&["run", "--due", "--full"][..], &["run", "--wake", "2026-11-28T09:00:00Z"], &["run", "--orchestrated"]]
    {
        project.hakiri(args).expect(2);
    }
}
