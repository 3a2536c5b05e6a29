//! What goes wrong, and that nothing is lost: a clear error with a code, and the store as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, Response, hold, manifest, paged};
use crate::support::server::wait_for;
use crate::support::{Project, gzip, verified_files};

const FILES: &str = r#"
[[pipeline]]
id = "f"
tables = ["t"]
source = { connector = "file", config = { path = "data/*" } }
[pipeline.table.t]
primary_key = ["id"]
"#;

/// A project with two committed rows of a file source.
fn committed() -> Project {
    let project = Project::new(FILES);
    project.write("data/a.csv", "id,v\n1,a\n2,b\n");
    project.run();
    project
}

/// That the committed rows are there and everything named has its hash.
#[track_caller]
fn nothing_lost(project: &Project, table: &str, rows: i64) {
    assert_eq!(project.number(&format!("select count(*) from {table}")), rows);
    assert!(!verified_files(project).is_empty());
}

#[test]
fn a_truncated_gzip_fails_the_table_and_keeps_the_rest() {
    let project = committed();
    let whole = gzip("id,v\n".chars().chain((0..5000).flat_map(|_| "7,x\n".chars())).collect::<String>().as_bytes());
    project.write("data/b.csv.gz", &whole[..whole.len() / 2]);
    project.hakiri(&["run"]).expect(1).says("HK0603").says("b.csv.gz");
    nothing_lost(&project, "f_t", 2);
    // The same run, with the file whole again.
    project.write("data/b.csv.gz", gzip(b"id,v\n7,x\n"));
    project.run();
    nothing_lost(&project, "f_t", 3);
}

#[test]
fn invalid_utf8_is_named_by_file_and_line() {
    let project = committed();
    project.write("data/b.csv", b"id,v\n3,caf\xe9\n");
    project.hakiri(&["run"]).expect(1).says("HK0604").says("b.csv");
    nothing_lost(&project, "f_t", 2);
}

#[test]
fn a_json_array_cut_in_the_middle_commits_nothing() {
    let project = committed();
    project.write("data/b.json", b"[{\"id\": 3, \"v\": \"c\"}, {\"id\": 4, \"v");
    project.hakiri(&["run"]).expect(1).says("HK0605").says("b.json");
    nothing_lost(&project, "f_t", 2);
}

/// A committed pipeline over an API that can be made to misbehave.
fn api_that_turns(bad: impl Fn(u32) -> Option<Response> + Send + Sync + 'static) -> (Project, Api, Arc<AtomicBool>) {
    let turned = Arc::new(AtomicBool::new(false));
    let (flag, records) = (turned.clone(), (0..900).map(|i| json!({"id": i, "v": format!("v{i}")})).collect());
    let good = paged(records, 100);
    let api = Api::start(move |request| {
        let page = request.query.get("page").and_then(|p| p.parse().ok()).unwrap_or(1);
        match bad(page).filter(|_| flag.load(Ordering::SeqCst)) {
            Some(response) => response,
            None => good(request),
        }
    });
    let project = Project::new(&manifest(&api.url, ""));
    project.run();
    turned.store(true, Ordering::SeqCst);
    (project, api, turned)
}

#[test]
fn html_instead_of_json_is_said_so() {
    let (project, _api, _) = api_that_turns(|_| Some(Response::text(200, "text/html", "<html>sign in</html>")));
    project.hakiri(&["run"]).expect(1).says("HK0504").says("text/html");
    nothing_lost(&project, "api_items", 900);
}

#[test]
fn a_500_on_page_seven_commits_nothing_and_a_later_run_goes_on() {
    let (project, api, turned) =
        api_that_turns(|page| (page == 7).then(|| Response::text(400, "application/json", "{\"message\":\"no\"}")));
    project.hakiri(&["run"]).expect(1).says("HK0501");
    nothing_lost(&project, "api_items", 900);
    turned.store(false, Ordering::SeqCst);
    project.run();
    nothing_lost(&project, "api_items", 900);
    drop(api);
}

#[test]
fn a_500_that_passes_is_waited_out() {
    let left = std::sync::atomic::AtomicUsize::new(2);
    let (project, api, _) = api_that_turns(move |page| {
        (page == 7 && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok())
            .then(|| Response::text(500, "text/plain", "oops"))
    });
    project.run();
    nothing_lost(&project, "api_items", 900);
    drop(api);
}

#[test]
fn a_body_that_ends_early_is_not_taken_for_the_end() {
    let left = std::sync::atomic::AtomicUsize::new(1);
    let (project, _api, _) = api_that_turns(move |page| {
        (page == 3 && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok())
            .then(|| Response { cut_after: Some(10), ..Response::json(&json!({"data": [{"id": 1}]})) })
    });
    project.run();
    nothing_lost(&project, "api_items", 900);
}

#[test]
fn a_record_without_its_key_is_refused_with_the_column() {
    let project = committed();
    project.write("data/b.jsonl", "{\"id\": 3, \"v\": \"c\"}\n{\"v\": \"d\"}\n");
    project.hakiri(&["run"]).expect(1).says("HK0407").says("`id`");
    nothing_lost(&project, "f_t", 2);
}

#[test]
fn a_column_that_changes_type_at_row_100_001_widens_and_keeps_every_value() {
    let project = Project::new(FILES);
    let mut text = String::from("id,v\n");
    (0..100_000).for_each(|i| text.push_str(&format!("{i},{i}\n")));
    text.push_str("100000,not a number\n");
    project.write("data/a.csv", &text);
    project.run();
    assert_eq!(
        project.rows("select v from f_t where id in (7, 100000) order by id"),
        [json!({"v": "7"}), json!({"v": "not a number"})]
    );
    assert_eq!(project.number("select count(*) from f_t"), 100_001);
}

#[test]
fn a_column_that_changes_type_is_refused_where_the_schema_is_frozen() {
    let project = Project::new(&format!("{FILES}schema = \"freeze\"\n"));
    project.write("data/a.csv", "id,v\n1,1\n");
    project.run();
    project.write("data/b.csv", "id,v\n2,x\n");
    project.hakiri(&["run"]).expect(1).says("HK0701").says("`v`");
    nothing_lost(&project, "f_t", 1);
}

#[test]
fn a_full_disk_fails_the_table_and_keeps_the_rest() {
    // A file size limit of the process is what a full disk looks like to it, without needing one: writing beyond it
    // fails in the middle of a file.
    let project = committed();
    let mut text = String::from("id,v\n");
    (0..60_000u64).for_each(|i| text.push_str(&format!("{i},{}\n", i.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
    project.write("data/b.csv", &text);
    let mut command = std::process::Command::new("bash");
    command.current_dir(project.path()).env("TMPDIR", project.path().join("tmp"));
    command.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" run", crate::support::binary().to_str().unwrap()]);
    let ran = crate::support::Ran::from(command.output().unwrap()).expect(1);
    ran.says("HK0304");
    nothing_lost(&project, "f_t", 2);
    project.run();
    nothing_lost(&project, "f_t", 60_000);
}

#[test]
fn a_locked_catalog_says_so() {
    let project = committed();
    let holder = rusqlite::Connection::open(project.path().join(".hakiri/catalog.sqlite")).unwrap();
    holder.execute_batch("begin exclusive").unwrap();
    project.hakiri(&["run"]).expect(1).says("HK0204");
    holder.execute_batch("rollback").unwrap();
    project.run();
    nothing_lost(&project, "f_t", 2);
}

#[test]
fn a_newer_catalog_is_refused() {
    let project = committed();
    let connection = rusqlite::Connection::open(project.path().join(".hakiri/catalog.sqlite")).unwrap();
    connection.execute_batch("pragma user_version = 999").unwrap();
    project.hakiri(&["run"]).expect(2).says("HK0207");
}

#[test]
fn a_catalog_that_is_none_is_refused() {
    let project = committed();
    for name in ["catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let _ = std::fs::remove_file(project.path().join(".hakiri").join(name));
    }
    project.write(
        ".hakiri/catalog.sqlite",
        "this is not a database, and it is long enough to be read as a header of one ".repeat(20),
    );
    project.hakiri(&["run"]).expect(1).says("HK0206");
}

#[test]
fn two_runs_of_one_pipeline_at_once_are_one_run_and_one_refusal() {
    let held = Arc::new(AtomicBool::new(true));
    let flag = held.clone();
    let api = Api::start(move |request| {
        hold(&flag);
        paged((0..50).map(|i| json!({"id": i})).collect(), 5)(request)
    });
    let project = Project::new(&manifest(&api.url, ""));
    let mut first = project
        .command(&["run"])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the first to be at it", Duration::from_secs(60), || (api.count() > 0).then_some(()));
    project.hakiri(&["run"]).expect(1).says("HK0208");
    held.store(false, Ordering::SeqCst);
    assert!(first.wait().unwrap().success());
    nothing_lost(&project, "api_items", 50);
    let runs: Value = project.hakiri(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_pipeline_that_cannot_go_on_does_not_stop_the_others() {
    let project = Project::new(&format!("{}{}", FILES, FILES.replace("id = \"f\"", "id = \"g\"")));
    project.write("data/a.csv", "id,v\n1,a\n");
    // Where the first pipeline's results of steps go, something else lies already.
    project.hakiri(&["run", "g"]).expect(0);
    project.write("data/b.csv", "id,v\n2,b\n");
    let tick = "2026-10-01T00:00:00Z";
    let run = project.hakiri(&["run", "f", "--tick", tick, "--json"]).expect(0).json()["runs"][0]["run"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(!run.is_empty());
    std::fs::create_dir_all(project.store().join("steps")).unwrap();
    std::fs::remove_dir_all(project.store().join("steps")).unwrap();
    std::fs::write(project.store().join("steps"), "not a folder").unwrap();
    project.write("data/c.csv", "id,v\n3,c\n");
    let ran = project.hakiri(&["run"]).expect(1);
    assert!(!ran.stderr.contains("HK0003"), "nobody interrupted anything:\n{}", ran.stderr);
    std::fs::remove_file(project.store().join("steps")).unwrap();
    project.run();
    nothing_lost(&project, "f_t", 3);
    nothing_lost(&project, "g_t", 3);
}

#[test]
fn one_failed_table_does_not_stop_the_others() {
    let api = Api::start(|request| match request.path.as_str() {
        "/bad" => Response::text(400, "application/json", "{}"),
        _ => paged(vec![json!({"id": 1})], 5)(request),
    });
    let more = "[pipeline.source.config.resources.bad]\npath = \"/bad\"\nrecords = \"data\"\nprimary_key = [\"id\"]\n";
    let project = Project::new(&manifest(&api.url, more));
    let ran = project.hakiri(&["run", "--json"]).expect(3);
    assert_eq!(ran.json()["runs"][0]["status"], "partial");
    nothing_lost(&project, "api_items", 1);
}
