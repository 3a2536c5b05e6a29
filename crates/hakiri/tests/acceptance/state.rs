//! `state`, `drop`, `moved`, `--full`, `gc`.

use serde_json::json;

use crate::support::api::{Api, Response, manifest};
use crate::support::{Project, verified_files};

fn api() -> Api {
    Api::start(|request| {
        let since = request.query.get("since").cloned().unwrap_or_default();
        let all = (1..=9).map(|i| json!({"id": i, "at": format!("2026-0{i}-01T00:00:00Z")}));
        let page = request.query.get("page").map_or(1, |p| p.parse::<usize>().unwrap());
        let data: Vec<_> =
            if page == 1 { all.filter(|r| r["at"].as_str().unwrap() >= since.as_str()).collect() } else { vec![] };
        Response::json(&json!({ "data": data }))
    })
}

const MORE: &str = "incremental = { param = \"since\", field = \"at\" }\n";

fn read(project: &Project) -> i64 {
    let ran = project.hakiri(&["run", "--json", "--tick", "2026-10-02T00:00:00Z"]).expect(0).json();
    ran["runs"][0]["tables"][0]["rows"].as_i64().unwrap()
}

#[test]
fn rewind_reads_again_from_there_and_reset_reads_everything() {
    let api = api();
    let project = Project::new(&manifest(&api.url, MORE));
    project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
    let state = project.hakiri(&["state", "show"]).expect(0).stdout;
    assert_eq!(state, "api.items: 2026-10-01T00:00:00Z\n");

    project.hakiri(&["state", "rewind", "api.items", "2026-06-15T00:00:00Z"]).expect(0);
    assert_eq!(read(&project), 3, "July, August and September");
    assert_eq!(project.number("select count(*) from api_items"), 9);

    project.hakiri(&["state", "rewind", "api.items", "yesterday"]).expect(2).says("HK0907");
    project.hakiri(&["state", "rewind", "api.items", "2026-10-03T00:00:00Z"]).expect(2).says("HK0907");
    let said = project.hakiri(&["state", "rewind", "api.items", "2026-06-15T00:00:00.123456789Z", "--json"]).expect(0);
    assert_eq!(said.json()["state"][0]["cursor"]["nanos"], "1781481600123456789");
    project.hakiri(&["state", "rewind", "api.nope", "1"]).expect(1).says("HK0203").says("items");
    project.hakiri(&["state", "reset", "api.items"]).expect(2).says("--yes");
    let said = project.hakiri(&["state", "reset", "api.items", "--yes", "--json"]).expect(0).json();
    assert_eq!((&said["state"][0]["reads_anew"], &said["state"][0]["cursor"]), (&json!(true), &json!(null)));
    assert_eq!(project.number("select count(*) from api_items"), 9, "until the next run the data stays");
    assert_eq!(read(&project), 9);
    assert_eq!(project.number("select count(*) from api_items"), 9);
    verified_files(&project);
}

#[test]
fn full_starts_a_new_generation() {
    let api = api();
    let project = Project::new(&manifest(&api.url, MORE));
    project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
    let ran = project.hakiri(&["run", "--full", "--json", "--tick", "2026-10-02T00:00:00Z"]).expect(0).json();
    assert_eq!(ran["runs"][0]["tables"][0]["rows"], 9);
    let state = project.hakiri(&["state", "show", "--json"]).expect(0).json();
    assert_eq!(state["state"][0]["generation"], 1);
    let repeated = project.hakiri(&["run", "--full", "--json", "--tick", "2026-10-02T00:00:00Z"]).expect(0).json();
    assert_eq!(repeated["runs"], json!([]), "the run of a tick is made once");
    project.hakiri(&["gc", "--grace", "0s"]).expect(0).says("deleted");
    assert_eq!(project.number("select count(*) from api_items"), 9);
    verified_files(&project);
}

#[test]
fn drop_says_what_is_lost_and_gc_frees_it() {
    let api = api();
    let project = Project::new(&manifest(&api.url, MORE));
    project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
    project.hakiri(&["drop", "api.items"]).expect(2).says("9 stored rows").says("--yes");
    project.hakiri(&["drop", "api.items", "--yes"]).expect(0).says("7 days");
    project.hakiri(&["query", "select * from api_items"]).expect(2).says("HK0802");
    assert!(!project.store().join("views/api_items.sql").exists());
    project.hakiri(&["gc", "--grace", "0s"]).expect(0);
    assert_eq!(project.files(), Vec::<String>::new());
}

#[test]
fn moved_pipelines_and_tables_keep_cursor_and_rows() {
    let api = api();
    let project = Project::new(&manifest(&api.url, MORE));
    project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
    let renamed = manifest(&api.url, MORE).replace("id = \"api\"", "id = \"shop\"");
    project
        .manifest(&format!("moved = [{{ from = \"api\", to = \"shop\" }}]\n{renamed}").replacen("moved", "moved", 1));
    // `moved` is a top-level key: it has to stand above the first table.
    project.write(
        "hakiri.toml",
        format!("moved = [{{ from = \"api\", to = \"shop\" }}]\n[project]\nname = \"test\"\n{renamed}"),
    );
    let plan = project.hakiri(&["plan", "--json"]).expect(0).json();
    assert_eq!((&plan["left_behind"], &plan["moves"]), (&json!([]), &json!([{"from": "api", "to": "shop"}])));
    let shown = project.hakiri(&["plan"]).expect(0).stdout;
    assert!(shown.contains("moves api to shop") && shown.contains("from 2026-09-30T23:55:00Z"), "{shown}");
    assert_eq!(read(&project), 0, "the cursor came along");
    assert_eq!(project.number("select count(*) from shop_items"), 9);
    project.hakiri(&["query", "select * from api_items"]).expect(2);
    project.hakiri(&["gc", "--grace", "0s"]).expect(0);
    assert_eq!(project.number("select count(*) from shop_items"), 9);
}

#[test]
fn a_pipeline_that_left_the_manifest_is_listed_and_kept() {
    let api = api();
    let project = Project::new(&manifest(&api.url, MORE));
    project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
    project.manifest("");
    let plan = project.hakiri(&["plan"]).expect(0).stdout;
    assert!(plan.contains("api: no longer in the manifest"), "{plan}");
    for args in [vec!["runs", "--json"], vec!["runs", "api", "--json"]] {
        assert_eq!(project.hakiri(&args).expect(0).json()["runs"][0]["pipeline"], "api");
    }
    assert_eq!(project.number("select count(*) from api_items"), 9);
}

/// One file of a pipeline `f`, with the columns that the test gives it.
fn files(table: &str) -> Project {
    Project::new(&format!(
        "[[pipeline]]\nid = \"f\"\ntables = [\"t\"]\nsource = {{ connector = \"file\", config = {{ path = \"data/*.csv\" }} }}\n[pipeline.table.t]\n{table}"
    ))
}

#[test]
fn other_columns_follow_a_full_run_a_reset_and_a_drop() {
    let project = files("primary_key = [\"id\"]\n");
    project.write("data/a.csv", "id,a\n1,2\n");
    project.run();
    for (column, args) in [
        ("b", vec!["run", "--full"]),
        ("c", vec!["state", "reset", "f.t", "--yes"]),
        ("d", vec!["drop", "f.t", "--yes"]),
    ] {
        project.write("data/a.csv", format!("id,{column}\n1,two\n"));
        project.hakiri(&args).expect(0);
        project.run();
        let row = &project.rows("select * from f_t")[0];
        assert_eq!(row[column], "two", "{row}");
        verified_files(&project);
    }
}

fn lose(project: &Project) {
    std::fs::remove_dir_all(project.path().join(".hakiri/context")).unwrap();
}

#[test]
fn a_lost_store_can_be_filled_again_by_every_way_there_is() {
    let project = files("primary_key = [\"id\"]\n");
    project.write("data/a.csv", "id,a\n1,2\n");
    project.run();
    lose(&project);
    project.hakiri(&["run"]).expect(1).says("HK0305").says("--full");
    project.hakiri(&["run", "--full"]).expect(0);
    assert_eq!(project.number("select count(*) from f_t"), 1);
    verified_files(&project);
    lose(&project);
    project.hakiri(&["state", "reset", "f.t", "--yes"]).expect(0);
    project.run();
    assert_eq!(project.number("select count(*) from f_t"), 1);
    verified_files(&project);
    lose(&project);
    project.hakiri(&["drop", "f", "--yes"]).expect(0).says("size unknown");
    project.run();
    assert_eq!(project.number("select count(*) from f_t"), 1);
    verified_files(&project);
    project.hakiri(&["gc", "--grace", "0s"]).expect(0);
}

#[test]
fn a_tick_to_come_is_refused() {
    let project = files("primary_key = [\"id\"]\n");
    project.write("data/a.csv", "id,a\n1,2\n");
    project.hakiri(&["run", "--tick", "2999-01-01T00:00:00Z"]).expect(2).says("is in the future");
    project.run();
}

#[test]
fn another_key_needs_a_full_run() {
    let project = files("primary_key = [\"id\"]\n");
    project.write("data/a.csv", "id,a\n1,2\n");
    project.run();
    let manifest = std::fs::read_to_string(project.path().join("hakiri.toml")).unwrap();
    project.write("hakiri.toml", manifest.replace("\"id\"]", "\"a\"]"));
    project.write("data/b.csv", "id,a\n1,3\n");
    project.hakiri(&["run"]).expect(2).says("HK0909").says("(id), now (a)").says("--full");
    project.hakiri(&["run", "--full"]).expect(0);
    assert_eq!(project.number("select count(*) from f_t"), 2);
}

#[test]
fn a_killed_run_holds_up_nothing_that_is_set_by_hand() {
    let api = Api::start(|_| {
        std::thread::sleep(std::time::Duration::from_secs(20));
        Response::json(&json!({ "data": [] }))
    });
    let quick = crate::support::api::Api::start(crate::support::api::paged(vec![json!({"id": 1})], 10));
    let project = Project::new(&manifest(&quick.url, ""));
    project.run();
    project.manifest(&manifest(&api.url, ""));
    let mut child = project.command(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    while api.count() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    project.hakiri(&["drop", "api", "--yes"]).expect(0);
}

#[test]
fn a_rewind_of_an_appending_table_is_asked_for_twice() {
    let api = api();
    let project = Project::new(&manifest(&api.url, MORE).replace("primary_key = [\"id\"]\n", ""));
    project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
    let shown = project.hakiri(&["state", "show"]).expect(0).stdout;
    let at = shown.trim().rsplit(' ').next().unwrap();
    let args = ["state", "rewind", "api.items", at];
    project.hakiri(&args).expect(2).says("there twice").says("--yes");
    project.hakiri(&[&args[..], &["--yes"]].concat()).expect(0).says("there twice");
}

#[test]
fn a_child_goes_with_a_warning_and_is_reset_by_its_parent() {
    let api = Api::start(crate::support::api::paged(vec![json!({"id": 1, "tags": [{"t": 1}]})], 10));
    let project = Project::new(&manifest(&api.url, "children = [\"tags\"]\n"));
    project.run();
    project.hakiri(&["state", "reset", "api.items_tags", "--yes"]).expect(2).says("HK0907").says("reset its parent");
    let said = project.hakiri(&["state", "reset", "api.items", "--yes", "--json"]).expect(0).json();
    assert_eq!(said["state"].as_array().unwrap().len(), 2, "{said}");
    project.run();
    project.hakiri(&["drop", "api.items_tags", "--yes"]).expect(0).says("child table of `api_items`");
    project.hakiri(&["drop", "api.items", "--yes"]).expect(0);
}

#[test]
fn an_orphan_that_is_lost_does_not_hold_up_the_others() {
    let two = "[[pipeline]]\nid = \"f\"\nsource = { connector = \"file\", config = { path = \"data/*.csv\" } }\ntables = [\"t\"]\n";
    let project = Project::new(two);
    project.write("data/a.csv", "id\n1\n");
    project.run();
    project.manifest(&two.replace("[\"t\"]", "[\"u\"]"));
    lose(&project);
    project.hakiri(&["run", "--full"]).expect(0).says("f_t");
    project.write("data/b.csv", "id\n2\n");
    project.run();
    project.write("data/c.csv", "id\n3\n");
    project.run();
    project.hakiri(&["drop", "f.t", "--yes"]).expect(0).says("size unknown");
    assert_eq!(project.number("select count(*) from f_u"), 3);
    verified_files(&project);
}

#[test]
fn a_table_of_another_pipeline_is_refused() {
    let api = api();
    let project = Project::new(&manifest(&api.url, MORE));
    project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
    // The manifest names no tables, so that only the plan can tell.
    let other = manifest(&api.url, MORE).replace("id = \"api\"", "id = \"other\"\nprefix = \"api_\"");
    project.manifest(&other);
    project.hakiri(&["run", "--tick", "2026-10-02T00:00:00Z"]).expect(2).says("HK0107").says("`api`");
    assert_eq!(project.number("select count(*) from api_items"), 9);
}
