//! The `file` source, end to end.

use serde_json::json;

use crate::support::{Project, gzip, verified_files};

const CSV: &str = r#"
[[pipeline]]
id = "f"
tables = ["t"]
source = { connector = "file", config = { path = "data/*" } }
[pipeline.table.t]
primary_key = ["id"]
"#;

#[test]
fn only_new_and_changed_files_are_read() {
    let project = Project::new(CSV);
    project.write("data/a.csv", "id,name\n1,one\n2,two\n");
    project.write("data/b.csv.gz", gzip(b"id,name\n3,three\n"));
    let first = project.run();
    assert_eq!(first["runs"][0]["tables"][0]["read"], 3);

    let idle = project.run();
    assert_eq!(idle["runs"][0]["tables"][0]["read"], 0);
    let files = project.files();

    project.write("data/c.jsonl", "{\"id\": 4, \"name\": \"four\"}\n");
    project.write("data/a.csv", "id,name\n1,ONE\n2,two\n");
    let third = project.run();
    assert_eq!(third["runs"][0]["tables"][0]["read"], 3, "c is new, a changed, b is neither");
    assert!(project.files().len() > files.len());
    assert_eq!(
        project.rows("select id, name from f_t order by id"),
        [
            json!({"id": 1, "name": "ONE"}),
            json!({"id": 2, "name": "two"}),
            json!({"id": 3, "name": "three"}),
            json!({"id": 4, "name": "four"})
        ]
    );
    verified_files(&project);
}

#[test]
fn an_idle_run_writes_no_table_file() {
    let project = Project::new(CSV);
    project.write("data/a.csv", "id\n1\n");
    project.run();
    let before = project.files();
    project.run();
    assert_eq!(project.files(), before);
}

#[test]
fn a_vanished_file_is_reported_and_keeps_its_rows() {
    let project = Project::new(CSV);
    project.write("data/a.csv", "id\n1\n");
    project.write("data/b.csv", "id\n2\n");
    project.run();
    std::fs::remove_file(project.path().join("data/b.csv")).unwrap();
    let ran = project.hakiri(&["run"]).expect(0);
    ran.says("data/b.csv");
    assert_eq!(project.number("select count(*) from f_t"), 2);
}

#[test]
fn a_changed_file_of_a_keyless_table_replaces_the_rows_it_gave() {
    let project = Project::new(&CSV.replace("primary_key = [\"id\"]", "mode = \"append\""));
    project.write("data/a.csv", "id\n1\n2\n");
    project.write("data/b.csv", "id\n3\n");
    project.run();
    project.write("data/a.csv", "id\n9\n");
    project.run();
    assert_eq!(project.rows("select id from f_t order by id"), [json!({"id": 3}), json!({"id": 9})]);
}

#[test]
fn every_format_and_compression_gives_the_same_rows() {
    let expected = [json!({"id": 1, "v": "a"}), json!({"id": 2, "v": null})];
    let cases: [(&str, Vec<u8>); 6] = [
        ("data/x.csv", b"id,v\n1,a\n2,\n".to_vec()),
        ("data/x.csv.gz", gzip(b"id,v\n1,a\n2,\n")),
        ("data/x.csv.zst", zstd::encode_all(&b"id,v\n1,a\n2,\n"[..], 3).unwrap()),
        ("data/x.tsv", b"id\tv\n1\ta\n2\t\n".to_vec()),
        ("data/x.jsonl", b"{\"id\":1,\"v\":\"a\"}\n{\"id\":2}\n".to_vec()),
        ("data/x.json", b"[{\"id\":1,\"v\":\"a\"},{\"id\":2,\"v\":null}]".to_vec()),
    ];
    for (path, bytes) in cases {
        let project = Project::new(CSV);
        project.write(path, bytes);
        project.run();
        assert_eq!(project.rows("select id, v from f_t order by id"), expected, "{path}");
    }
}

#[test]
fn malformed_rows_are_refused_or_counted_and_sampled() {
    let project = Project::new(CSV);
    project.write("data/a.csv", "id,name\n1,one\n2,two,extra\n3,three\n");
    project.hakiri(&["run"]).expect(1).says("HK0605").says("a.csv");
    project.hakiri(&["tables"]).expect(0).says("no table is committed yet");

    project.manifest(&format!("{CSV}on_bad_row = \"skip\"\n"));
    let ran = project.run();
    let table = &ran["runs"][0]["tables"][0];
    assert_eq!((&table["rejected"], &table["rows"]), (&json!(1), &json!(2)));
    assert!(table["samples"][0].as_str().unwrap().contains('3'), "the line is named: {table}");
}

#[test]
fn a_transform_projects_and_filters_and_is_checked_before_the_run() {
    let project =
        Project::new(&format!("{CSV}transform = \"select id, upper(name) as name from input where id > 1\"\n"));
    project.write("data/a.csv", "id,name,secret\n1,one,x\n2,two,y\n");
    project.run();
    assert_eq!(project.rows("select * exclude (_hakiri_run) from f_t"), [json!({"id": 2, "name": "TWO"})]);

    project.manifest(&format!("{CSV}transform = \"select count(*) from input\"\n"));
    project.hakiri(&["check"]).expect(2).says("HK0805");
    project.write("data/b.csv", "id,name,secret\n3,three,z\n");
    project.hakiri(&["run"]).expect(2).says("HK0805");
    let runs = project.hakiri(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "nothing was started");
}
