//! `hakiri query`: formats, merged tables, refusals, a store without a catalog.

use serde_json::json;

use crate::support::Project;
use crate::support::api::{Api, Response, manifest};

fn project() -> Project {
    let project = Project::new(
        "[[pipeline]]\nid = \"f\"\ntables = [\"t\"]\nsource = { connector = \"file\", config = { path = \"data/*\" } }\n[pipeline.table.t]\nprimary_key = [\"id\"]\n",
    );
    project.write("data/a.jsonl", "{\"id\":1,\"big\":9223372036854775807,\"d\":12345678901234567890.05,\"at\":\"2026-01-01T00:00:00Z\",\"s\":\"a,\\\"b\\\"\"}\n{\"id\":2,\"s\":\"\"}\n");
    project.run();
    project
}

#[test]
fn artifact_every_format_prints_exact_values() {
    let project = project();
    let sql = "select id, big, d, at, s from f_t order by id";
    let print = |format: &str| project.hakiri(&["query", "--format", format, sql]).expect(0).stdout;
    assert_eq!(
        print("csv"),
        "id,big,d,at,s\n1,9223372036854775807,12345678901234567890.05,2026-01-01T00:00:00Z,\"a,\"\"b\"\"\"\n2,,,,\"\"\n"
    );
    let line = "{\"id\":1,\"big\":9223372036854775807,\"d\":12345678901234567890.05,\"at\":\"2026-01-01T00:00:00Z\",\"s\":\"a,\\\"b\\\"\"}";
    assert_eq!(print("ndjson").lines().next().unwrap(), line);
    assert!(print("json").starts_with('['));
    assert!(print("table").contains("12345678901234567890.05"));
    let parquet = project.command(&["query", "--format", "parquet", sql]).output().unwrap().stdout;
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
}

#[test]
fn queries_only_read() {
    let project = project();
    for sql in [
        "drop table f_t",
        "create table x as select 1",
        "insert into f_t values (1)",
        "set a.b = 1",
        "select 1; select 2",
    ] {
        project.hakiri(&["query", sql]).expect(2).says("HK0803");
    }
    for sql in ["copy f_t to 'x.csv'", "create external table x stored as csv location '/etc/passwd'"] {
        project.hakiri(&["query", sql]).expect(2);
    }
    assert!(!project.path().join("x.csv").exists());
    project.hakiri(&["query", "selec 1"]).expect(2).says("HK08");
    project.hakiri(&["query", "select * from f_tt"]).expect(2).says("HK0802").says("f_t");
    project.hakiri(&["query", "select ib from f_t"]).expect(2).says("HK0802").says("id");
    project.hakiri(&["query", "select * from '/etc/passwd'"]).expect(2);
}

#[test]
fn a_store_is_queried_without_its_catalog() {
    let project = project();
    let store = project.store();
    let elsewhere = Project::new("");
    std::fs::remove_file(elsewhere.path().join("hakiri.toml")).unwrap();
    let ran = elsewhere
        .hakiri(&["query", "--store", store.to_str().unwrap(), "--format", "json", "select count(*) as n from f_t"])
        .expect(0);
    assert_eq!(ran.json(), json!([{"n": 2}]));
}

#[test]
fn an_incremental_api_is_merged_by_key_and_children_follow_their_parent() {
    let version = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(1));
    let now = version.clone();
    let api = Api::start(move |request| {
        let first = vec![
            json!({"id": 1, "at": "2026-01-01T00:00:00Z", "v": "old", "lines": [{"n": 1}, {"n": 2}]}),
            json!({"id": 2, "at": "2026-01-01T00:00:00Z", "v": "same", "lines": [{"n": 9}]}),
        ];
        let second = vec![json!({"id": 1, "at": "2026-02-01T00:00:00Z", "v": "new", "lines": [{"n": 3}]})];
        let all = if now.load(std::sync::atomic::Ordering::SeqCst) == 1 { first } else { second };
        let page = request.query.get("page").map_or(1, |p| p.parse().unwrap());
        Response::json(&json!({"data": if page == 1 { all } else { vec![] }}))
    });
    let project = Project::new(&manifest(
        &api.url,
        "incremental = { param = \"since\", field = \"at\" }\nchildren = [\"lines\"]\n",
    ));
    project.hakiri(&["run", "--tick", "2026-01-15T00:00:00Z"]).expect(0);
    version.store(2, std::sync::atomic::Ordering::SeqCst);
    project.hakiri(&["run", "--tick", "2026-02-15T00:00:00Z"]).expect(0);
    assert_eq!(
        project.rows("select id, v from api_items order by id"),
        [json!({"id": 1, "v": "new"}), json!({"id": 2, "v": "same"})]
    );
    assert_eq!(
        project.rows("select items_id, n from api_items_lines order by items_id, n"),
        [json!({"items_id": 1, "n": 3}), json!({"items_id": 2, "n": 9})]
    );
    let since = api.log.lock().unwrap().iter().filter_map(|r| r.query.get("since").cloned()).collect::<Vec<_>>();
    assert!(
        since.iter().any(|s| s.starts_with("2026-01-14T23:5")),
        "the lower bound is the last tick less the lag: {since:?}"
    );
}

#[test]
fn children_follow_the_version_of_their_parent_that_counts_also_behind_a_transform() {
    for transform in ["", "transform = \"select id, name from input where id < 9\"\n"] {
        let project = Project::new(&format!(
            "[[pipeline]]\nid = \"q\"\ntables = [\"o\"]\nsource = {{ connector = \"file\", config = {{ path = \"d.jsonl\" }} }}\n[pipeline.table.o]\nprimary_key = [\"id\"]\nchildren = [\"lines\"]\n{transform}"
        ));
        let first = r#"{"id":1,"name":"a","lines":[{"n":1},{"n":2},{"n":3}]}"#;
        let second = r#"{"id":1,"name":"b","lines":[{"n":7}]}"#;
        project.write("d.jsonl", format!("{first}\n{second}\n{}\n", r#"{"id":9,"name":"x","lines":[]}"#));
        project.run();
        assert_eq!(project.rows("select o_id, n from q_o_lines"), [json!({"o_id": 1, "n": 7})], "{transform}");
    }
}

#[test]
fn a_row_beyond_the_tick_belongs_to_the_next_run() {
    let api = Api::start(|request| {
        let all = vec![json!({"id": 1, "at": "2026-01-01T00:00:00Z"}), json!({"id": 2, "at": "2026-03-01T00:00:00Z"})];
        let page = request.query.get("page").map_or(1, |p| p.parse().unwrap());
        Response::json(&json!({"data": if page == 1 { all } else { vec![] }}))
    });
    let project = Project::new(&manifest(&api.url, "incremental = { param = \"since\", field = \"at\" }\n"));
    project.hakiri(&["run", "--tick", "2026-02-01T00:00:00Z"]).expect(0);
    assert_eq!(project.rows("select id from api_items"), [json!({"id": 1})]);
    project.hakiri(&["run", "--tick", "2026-04-01T00:00:00Z"]).expect(0);
    assert_eq!(project.number("select count(*) from api_items"), 2);
}

#[test]
fn a_store_may_be_named_from_where_one_stands() {
    let project = project();
    let count = |from: &std::path::Path, store: &str| {
        let mut command = project.command(&["query", "--store", store, "-f", "csv", "select count(*) as n from f_t"]);
        let ran: crate::support::Ran = command.current_dir(from).output().unwrap().into();
        assert_eq!(ran.expect(0).stdout, "n\n2\n", "{store}");
    };
    let (store, root) = (project.store(), project.store().parent().unwrap().to_owned());
    count(&store, ".");
    count(&store, "./");
    count(&store.join("tables"), "..");
    count(&root, "test");
    count(&root, "./test/");
    project.hakiri(&["query", "--store", "nowhere", "select 1"]).expect(2).says("HK0002");
    project.hakiri(&["query", "--store", "s3://bucket", "select 1"]).expect(2).says("s3://bucket/prefix/project");
    project.hakiri(&["query", "--store", root.to_str().unwrap(), "select 1"]).expect(2).says("HK0002");
}

#[test]
fn a_damaged_part_is_named() {
    let project = project();
    let part = project.files().into_iter().find(|f| f.ends_with(".parquet")).unwrap();
    let path = project.store().join(&part);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    project.hakiri(&["query", "select * from f_t"]).expect(1).says("HK0306").says(&part);
    std::fs::remove_file(&path).unwrap();
    project.hakiri(&["query", "select * from f_t"]).expect(1).says("HK0305").says(&part);
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let project = project();
    for args in [
        &["query", "-f", "csv", "select * from f_t"][..],
        &["query", "select * from f_t"],
        &["tables"],
        &["tables", "--json"],
        &["schema", "f_t"],
        &["completions", "bash"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = project.command(args);
        let child = command.stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let ran: crate::support::Ran = child.wait_with_output().unwrap().into();
        ran.expect(1).says("HK0005");
    }
}
