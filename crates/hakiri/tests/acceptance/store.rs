//! The same project on a bucket of a real S3 server (`./x test` starts it).

use serde_json::json;

use crate::support::bucket::objects;
use crate::support::{Project, files_below, python, sha256};

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
    // All files, by content, but the markers, which name their catalogs.
    let copy = tempfile::tempdir().unwrap();
    let mut there = Vec::new();
    for (path, bytes) in objects(&endpoint, &bucket, &prefix) {
        let target = copy.path().join(&path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, &bytes).unwrap();
        there.push((path, sha256(&bytes)));
    }
    let here: Vec<(String, String)> = files_below(&local.store(), &local.store())
        .into_iter()
        .filter(|f| !f.starts_with(".tmp/"))
        .map(|f| (f.clone(), sha256(&std::fs::read(local.store().join(&f)).unwrap())))
        .collect();
    let data =
        |files: Vec<(String, String)>| files.into_iter().filter(|(f, _)| f != "_hakiri.json").collect::<Vec<_>>();
    assert_eq!(data(there), data(here));
    // The view runs on the bucket's files as it is.
    let script = "import sys, os, duckdb\nos.chdir(sys.argv[1])\ncon = duckdb.connect()\ncon.execute(open('views/f_t.sql').read())\nprint(con.execute('select id, v from f_t order by id').fetchall())";
    assert_eq!(python(script, &[copy.path().to_str().unwrap()]).trim(), "[(1, 'a'), (2, 'B'), (3, 'c')]");
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

fn ran(project: &Project) {
    project.write("data/a.csv", "id,v\n1,a\n2,b\n");
    project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
}

#[test]
fn a_catalog_governs_one_store_and_a_project_may_be_moved() {
    let project = Project::new(PIPELINE);
    ran(&project);
    for (context, name) in [("[context]\npath = \"elsewhere\"\n", "test"), ("", "renamed")] {
        project.write("hakiri.toml", format!("[project]\nname = \"{name}\"\n{context}{PIPELINE}"));
        for command in ["run", "tables"] {
            let ran = project.hakiri(&[command]).expect(2);
            ran.says("HK0309").says(".hakiri/context/test").says(&format!("/{name}"));
        }
    }
    assert!(!project.path().join("elsewhere").exists() && !project.path().join(".hakiri/context/renamed").exists());

    project.manifest(PIPELINE);
    let moved = Project::new(PIPELINE);
    for folder in [".hakiri", "data"] {
        std::fs::rename(project.path().join(folder), moved.path().join(folder)).unwrap();
    }
    moved.run();
    assert_eq!(moved.number("select count(*) from f_t"), 2);
}

#[test]
fn an_environment_has_its_own_catalog_and_store() {
    let project = Project::new(&format!("{PIPELINE}\n[env.staging.schedule]\nf = \"every 1h\"\n"));
    ran(&project);
    assert_eq!(project.hakiri(&["tables", "--env", "staging", "--json"]).expect(0).json()["tables"], json!([]));
    project.hakiri(&["run", "--env", "staging"]).expect(0);
    assert!(project.path().join(".hakiri/catalog-staging.sqlite").exists());
    assert!(project.path().join(".hakiri/context-staging/test/heads/f.json").exists());
    let tables = project.hakiri(&["tables", "--env", "staging", "--json"]).expect(0).json();
    assert_eq!(tables["tables"][0]["seq"], 1);
}

#[test]
fn a_store_whose_catalog_is_gone_says_so_and_gets_no_new_one() {
    let project = Project::new(PIPELINE);
    ran(&project);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(project.path().join(format!(".hakiri/catalog.sqlite{suffix}")));
    }
    for args in [&["tables"][..], &["query", "select * from f_t"], &["schema", "f_t"], &["plan"], &["run"]] {
        project.hakiri(args).expect(2).says("HK0302").says("hakiri query --store");
        assert!(!project.path().join(".hakiri/catalog.sqlite").exists(), "{args:?}");
    }
    let store = project.store();
    project.hakiri(&["query", "--store", store.to_str().unwrap(), "select * from f_t"]).expect(0);
}

#[test]
fn a_catalog_that_is_just_being_made_is_none_yet() {
    let project = Project::new(PIPELINE);
    project.write("data/a.csv", "id\n1\n");
    // What a process that makes one leaves for a moment, and one that dies in it for good.
    let unmade = || project.write(".hakiri/catalog.sqlite", "");
    unmade();
    assert_eq!(project.hakiri(&["runs", "--json"]).expect(0).json()["runs"], json!([]));
    assert_eq!(project.hakiri(&["tables", "--json"]).expect(0).json()["tables"], json!([]));
    project.run();
    assert_eq!(project.number("select count(*) from f_t"), 1);
    // Of a store that there is it would be a catalog that is lost.
    unmade();
    for args in [&["runs"][..], &["run"]] {
        project.hakiri(args).expect(2).says("HK0302").says("hakiri query --store");
        assert_eq!(std::fs::metadata(project.path().join(".hakiri/catalog.sqlite")).unwrap().len(), 0, "{args:?}");
    }
}

/// As someone who may not write where the permissions say so: for root they count only without two capabilities.
fn bound_by_permissions(project: &Project, args: &[&str]) -> crate::support::Ran {
    let plain = project.command(args);
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search"]).arg(plain.get_program()).args(plain.get_args());
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let mut command = if root { command } else { project.command(args) };
    command.current_dir(project.path()).env("TMPDIR", project.path().join("tmp")).output().unwrap().into()
}

#[test]
fn a_project_that_can_only_be_read_is_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new(PIPELINE);
    ran(&project);
    let set = |path: &str, mode: u32| {
        std::fs::set_permissions(project.path().join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(".hakiri/catalog.sqlite", 0o444);
    set(".hakiri", 0o555);
    let read = [
        bound_by_permissions(&project, &["query", "-f", "csv", "select id from f_t order by id"]),
        bound_by_permissions(&project, &["tables"]),
        bound_by_permissions(&project, &["plan"]),
    ];
    let refused = bound_by_permissions(&project, &["run"]);
    set(".hakiri/catalog.sqlite", 0o000);
    let closed = bound_by_permissions(&project, &["tables"]);
    let checked = bound_by_permissions(&project, &["check"]);
    set(".hakiri", 0o755);
    let [query, tables, plan] = read.map(|ran| ran.expect(0).stdout);
    assert_eq!(query, "id\n1\n2\n");
    assert!(tables.contains("f_t") && plan.contains("f"), "{tables}{plan}");
    assert_ne!(refused.code, 0);
    closed.expect(1).says("HK0204").says("read and write");
    checked.expect(0);
}

#[test]
fn a_run_that_cannot_have_its_store_leaves_no_catalog() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new(&format!("[context]\npath = \"closed\"\n{PIPELINE}"));
    project.write("data/a.csv", "id\n1\n");
    let closed = project.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).unwrap();
    bound_by_permissions(&project, &["run"]).expect(1).says("HK0308");
    for suffix in ["", "-wal", "-shm"] {
        assert!(!project.path().join(format!(".hakiri/catalog.sqlite{suffix}")).exists(), "{suffix}");
    }
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    project.hakiri(&["run"]).expect(0);
}
