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
    project.hakiri(&["state", "rewind", "api.nope", "1"]).expect(1).says("HK0203").says("items");
    project.hakiri(&["state", "reset", "api.items"]).expect(2).says("--yes");
    project.hakiri(&["state", "reset", "api.items", "--yes"]).expect(0);
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
    project.hakiri(&["drop", "api.items", "--yes"]).expect(0);
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
    assert_eq!(plan["left_behind"], json!(["api"]));
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
    assert_eq!(project.number("select count(*) from api_items"), 9);
}
