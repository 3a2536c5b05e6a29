//! The `file` source on a bucket of a real S3 server (`./x test` starts it).

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::bucket::Folder;
use crate::support::{Project, Ran, files_below, gzip, sha256, verified_files};

fn manifest(path: &str, table: &str) -> String {
    format!(
        "[[pipeline]]\nid = \"f\"\ntables = [\"t\"]\nsource = {{ connector = \"file\", config = {{ path = \"{path}\" }} }}\n[pipeline.table.t]\n{table}\n"
    )
}

/// A command that finds the bucket as it is found on a server: by the environment. What tests have in `HAKIRI_*` would be
/// taken for secrets, and the bucket's name be hidden.
fn command(project: &Project, endpoint: &str, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env_remove("HAKIRI_TEST_S3").env_remove("HAKIRI_TEST_S3_BUCKET").env("AWS_ENDPOINT_URL", endpoint);
    command
}

fn hakiri(project: &Project, endpoint: &str, args: &[&str]) -> Ran {
    command(project, endpoint, args).output().unwrap().into()
}

/// A Parquet file with these rows.
fn parquet(values: &str) -> Vec<u8> {
    let sql = format!("select * from (values {values}) as t(id, v)");
    let project = Project::new("");
    let output = project.command(&["query", "--format", "parquet", &sql]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Names and hashes of all parts, which do not depend on where the files were.
fn parts(project: &Project) -> Vec<(String, String)> {
    let files = files_below(&project.store(), &project.store()).into_iter().filter(|f| f.contains("/part-"));
    files.map(|f| (f.clone(), sha256(&std::fs::read(project.store().join(f)).unwrap()))).collect()
}

#[test]
fn s3_files_in_a_bucket_give_the_bytes_of_those_on_a_disk() {
    let folder = Folder::new();
    let remote = Project::new(&manifest(&folder.url("in/*"), "primary_key = [\"id\"]"));
    let local = Project::new(&manifest("in/*", "primary_key = [\"id\"]"));
    let put = |path: &str, bytes: &[u8]| {
        folder.put(path, bytes);
        local.write(path, bytes);
    };
    let run = |tick: &str| -> Value {
        let args = ["run", "--json", "--tick", tick];
        let there = hakiri(&remote, &folder.endpoint, &args).expect(0);
        let here = local.hakiri(&args).expect(0);
        assert_eq!(parts(&remote), parts(&local));
        let table = |ran: &Ran| ran.json()["runs"][0]["tables"][0].clone();
        assert_eq!(table(&there)["read"], table(&here)["read"]);
        verified_files(&remote);
        table(&there)["read"].clone()
    };
    put("in/a.csv", b"id,v\n1,a\n2,b\n");
    put("in/b b+c%20\u{e9}.csv.gz", &gzip(b"id,v\n3,c\n"));
    put("in/c.parquet", &parquet("(4, 'd'), (5, 'e')"));
    put("in/d.jsonl", b"{\"id\": 6, \"v\": \"f\"}\n");
    put("in/.hidden.csv", b"id,v\n7,no\n");
    put("in/deeper/g.csv", b"id,v\n8,no\n");
    assert_eq!(run("2026-10-01T00:00:00Z"), 6);
    assert_eq!(run("2026-10-02T00:00:00Z"), 0);

    put("in/a.csv", b"id,v\n1,A\n2,b\n");
    put("in/e.csv", b"id,v\n9,i\n");
    put("in/c.parquet", &parquet("(4, 'D'), (5, 'e')"));
    folder.delete("in/d.jsonl");
    std::fs::remove_file(local.path().join("in/d.jsonl")).unwrap();
    assert_eq!(run("2026-10-03T00:00:00Z"), 5);
    assert_eq!(
        remote.rows("select id, v from f_t order by id"),
        [(1, "A"), (2, "b"), (3, "c"), (4, "D"), (5, "e"), (6, "f"), (9, "i")].map(|(id, v)| json!({"id": id, "v": v}))
    );

    // An emptied inbox is fine; every file is reported once.
    for path in ["in/a.csv", "in/b b+c%20\u{e9}.csv.gz", "in/c.parquet", "in/e.csv"] {
        folder.delete(path);
    }
    let ran = hakiri(&remote, &folder.endpoint, &["run"]).expect(0);
    ran.says(&folder.url("in/e.csv"));
    assert_eq!(remote.number("select count(*) from f_t"), 7);
}

#[test]
fn s3_tables_of_one_source_lie_in_a_bucket_and_on_the_disk() {
    let folder = Folder::new();
    let config = format!(
        "[[pipeline]]\nid = \"f\"\nsource = {{ connector = \"file\", config = {{ tables = {{ here = {{ path = \"in/*.csv\" }}, there = {{ path = \"{}\", format = \"csv\" }} }} }} }}\n",
        folder.url("**/*.txt")
    );
    let project = Project::new(&config);
    project.write("in/a.csv", "id\n1\n");
    folder.put("a.txt", "id\n2\n");
    folder.put("x/y/b.txt", "id\n3\n");
    folder.put("x/c.csv", "id\n4\n");
    // What consoles make for a folder is no file, although its key may match.
    for path in ["x/", "x/folder.txt/"] {
        folder.mark(path);
    }
    // Empty, and a file nonetheless.
    folder.put("x/empty.txt", "");
    hakiri(&project, &folder.endpoint, &["run"]).expect(0);
    assert_eq!(project.number("select sum(id) from f_there"), 5);
    assert_eq!(project.number("select sum(id) from f_here"), 1);
    let checked = hakiri(&project, &folder.endpoint, &["check", "--connect"]).expect(0);
    checked.says("2 tables, 4 files");
    let planned = hakiri(&project, &folder.endpoint, &["plan"]).expect(0);
    assert!(planned.stdout.contains("f"), "{}", planned.stdout);
}

#[test]
fn s3_a_listing_of_several_pages_is_whole() {
    // A page has at most 1,000 keys.
    let folder = Folder::new();
    let project = Project::new(&manifest(&folder.url("in/2*.csv"), "primary_key = [\"id\"]"));
    folder.put_all((0..1_150).map(|i| (format!("in/2{i:04}.csv"), format!("id\n{i}\n"))));
    folder.put("in/3.csv", "id\n9999\n");
    hakiri(&project, &folder.endpoint, &["run"]).expect(0);
    assert_eq!(project.rows("select count(*) as n, max(id) as m from f_t"), [json!({"n": 1_150, "m": 1_149})]);
    folder.put("in/20000.csv", "id\n5000\n");
    let ran = hakiri(&project, &folder.endpoint, &["run", "--json"]).expect(0).json();
    assert_eq!(ran["runs"][0]["tables"][0]["read"], 1);
}

#[test]
fn s3_a_file_that_changes_between_plan_and_read_is_never_mixed() {
    for (name, before, after) in
        [("a.csv", b"id\n1\n".to_vec(), b"id\n2\n".to_vec()), ("a.parquet", parquet("(1, 'x')"), parquet("(2, 'x')"))]
    {
        let folder = Folder::new();
        let project = Project::new(&manifest(&folder.url(name), "mode = \"replace\""));
        folder.put(name, before);
        let gate = folder.gate();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let run = command(&project, &gate.endpoint, &["run"])
            // The waits between six attempts are a minute.
            .env("HAKIRI_CLOCK", format!("{now},{now},60"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        gate.wait();
        folder.put(name, after);
        gate.open();
        let ran = Ran::from(run.wait_with_output().unwrap());
        assert_ne!(ran.code, 0);
        ran.says("HK0406").says(&folder.url(name));
        hakiri(&project, &folder.endpoint, &["run"]).expect(0);
        assert_eq!(project.rows("select id from f_t"), [json!({"id": 2})]);
    }
}

#[test]
fn s3_errors_say_what_to_do_and_nothing_that_was_signed() {
    let folder = Folder::new();
    folder.put("in/a.csv", "id\n1\n");
    let project = Project::new("");
    let said = |path: &str, change: &dyn Fn(&mut Command)| {
        project.manifest(&manifest(path, ""));
        ["run", "check"].map(|name| {
            let args: &[&str] = if name == "check" { &["check", "--connect"] } else { &["run"] };
            let mut command = command(&project, &folder.endpoint, args);
            change(&mut command);
            let ran = Ran::from(command.output().unwrap());
            assert_ne!(ran.code, 0, "{path} {args:?}");
            ran
        })
    };
    let good = folder.url("in/*.csv");
    for ran in said(&good, &|c| {
        c.env("AWS_SECRET_ACCESS_KEY", "wrong-secret");
    }) {
        ran.says("HK0404").says(&good).says("AWS_SECRET_ACCESS_KEY");
        assert!(!ran.stderr.contains("wrong-secret"), "{}", ran.stderr);
    }
    for ran in said(&good, &|c| {
        c.env_remove("AWS_ACCESS_KEY_ID");
    }) {
        ran.says("HK0404").says("set AWS_ACCESS_KEY_ID");
    }
    for ran in said("s3://no-such-bucket-here/in/*.csv", &|_| ()) {
        ran.says("HK0601").says("s3://no-such-bucket-here/in/*.csv").says("the bucket's name");
    }
    for ran in said(&folder.url("IN/*.csv"), &|_| ()) {
        ran.says("HK0601").says("upper and lower case");
    }
    for ran in said(&folder.url("in"), &|_| ()) {
        ran.says("HK0601").says("it is a folder");
    }
    project.manifest(&manifest("s3://bucket", ""));
    project.hakiri(&["check"]).expect(2).says("HK0403").says("s3://bucket/inbox/*.csv");

    project.manifest(&manifest(&good, ""));
    let ran = hakiri(&project, "http://127.0.0.1:1", &["check", "--connect"]).expect(1);
    ran.says("HK0607").says(&good).says("no connection to the bucket").says("AWS_ENDPOINT_URL");

    // The project's own store.
    let project = Project::new("");
    let store = format!("[context]\npath = \"{}\"\nendpoint = \"{}\"\n", folder.url("store"), folder.endpoint);
    for (path, fine) in [("**/*.parquet", false), ("store/test/**/*", false), ("in/*.csv", true)] {
        project.manifest(&format!("{store}{}", manifest(&folder.url(path), "")));
        let ran = hakiri(&project, &folder.endpoint, &["run"]);
        if fine {
            ran.expect(0);
        } else {
            assert_ne!(ran.code, 0);
            ran.says("HK0403").says("own store");
        }
    }
}
