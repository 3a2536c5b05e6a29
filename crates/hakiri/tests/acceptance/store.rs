//! The same project on a bucket of a real S3 server (`./x test` starts it).

use serde_json::json;

use crate::support::Project;

fn bucket() -> (String, String, String) {
    let endpoint = std::env::var("HAKIRI_TEST_S3").expect("HAKIRI_TEST_S3 is not set: run the tests with ./x test");
    let bucket =
        std::env::var("HAKIRI_TEST_S3_BUCKET").expect("HAKIRI_TEST_S3_BUCKET is not set: run the tests with ./x test");
    (
        endpoint,
        bucket,
        format!(
            "acceptance-{}-{:?}",
            std::process::id(),
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
        ),
    )
}

const PIPELINE: &str = "[[pipeline]]\nid = \"f\"\ntables = [\"t\"]\nsource = { connector = \"file\", config = { path = \"data/*.csv\" } }\n[pipeline.table.t]\nprimary_key = [\"id\"]\n";

#[test]
fn s3_a_bucket_holds_the_same_files_as_a_folder_and_is_queried_without_a_catalog() {
    let (endpoint, bucket, prefix) = bucket();
    let context =
        format!("[context]\npath = \"s3://{bucket}/{prefix}\"\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\n");
    let remote = Project::new(&format!("{context}{PIPELINE}"));
    let local = Project::new(PIPELINE);
    for project in [&remote, &local] {
        project.write("data/a.csv", "id,v\n1,a\n2,b\n");
        project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
        project.write("data/b.csv", "id,v\n2,B\n3,c\n");
        project.hakiri(&["run", "--tick", "2026-10-02T00:00:00Z"]).expect(0);
    }
    let rows = [json!({"id": 1, "v": "a"}), json!({"id": 2, "v": "B"}), json!({"id": 3, "v": "c"})];
    assert_eq!(remote.rows("select id, v from f_t order by id"), rows);
    let heads = |p: &Project| p.hakiri(&["state", "show", "--json"]).expect(0).json();
    assert_eq!(heads(&remote), heads(&local));
    // The names of files carry their hashes: equal lists are equal bytes.
    let url = format!("s3://{bucket}/{prefix}/test");
    let ran = remote
        .hakiri(&[
            "query",
            "--store",
            &url,
            "--endpoint",
            &endpoint,
            "--region",
            "us-east-1",
            "--format",
            "json",
            "select id, v from f_t order by id",
        ])
        .expect(0);
    assert_eq!(ran.json(), json!(rows));
    let remote_tables = remote.hakiri(&["tables", "--json"]).expect(0).json();
    assert_eq!(remote_tables, local.hakiri(&["tables", "--json"]).expect(0).json());
}

#[test]
fn s3_a_store_of_another_catalog_is_refused() {
    let (endpoint, bucket, prefix) = bucket();
    let manifest = format!(
        "[context]\npath = \"s3://{bucket}/{prefix}\"\nendpoint = \"{endpoint}\"\nregion = \"us-east-1\"\n{PIPELINE}"
    );
    for (code, project) in [(0, Project::new(&manifest)), (2, Project::new(&manifest))] {
        project.write("data/a.csv", "id\n1\n");
        let ran = project.hakiri(&["run"]).expect(code);
        if code == 2 {
            ran.says("HK0302");
        }
    }
}
