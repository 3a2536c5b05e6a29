//! P1: the same manifest, answers and tick give the same bytes, whatever the threads, batches and memory.

use std::collections::BTreeSet;

use crate::support::{Project, files_below, sha256};

const MANIFEST: &str = r#"
[[pipeline]]
id = "f"
source = { connector = "file", config = { tables = { j = { path = "data/j.jsonl" }, c = { path = "data/c.csv" }, p = { path = "data/p.csv" } } } }
[pipeline.table.j]
primary_key = ["id"]
children = ["items"]
[pipeline.table.c]
mode = "append"
[pipeline.table.p]
primary_key = ["a", "b"]
types = { f = "float64" }
"#;

/// Records of every shape, in an order that is not the key's, from a seed.
fn data(seed: u64) -> (String, String, String) {
    let mut state = seed;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let (mut j, mut c, mut p) = (String::new(), String::from("x,y,z,w\n"), String::from("a,b,f,t\n"));
    let rows = 500 + next(2_000);
    for i in 0..rows {
        let id = (i * 7_919) % rows;
        let items: Vec<String> = (0..next(4)).map(|k| format!("{{\"k\":{k},\"s\":\"ü{}\"}}", next(99))).collect();
        j.push_str(&format!(
            "{{\"id\":{id},\"big\":{},\"dec\":{}.{:03},\"at\":\"2026-0{}-1{}T0{}:00:00Z\",\"day\":\"2025-12-0{}\",\"ok\":{},\"nest\":{{\"a\":[{},null],\"b\":{{\"c\":\"{}\"}}}},\"mixed\":{},\"items\":[{}]}}\n",
            u64::MAX - next(1_000_000), next(1_000), next(1_000), 1 + next(9), next(10), next(10), 1 + next(9), next(2) == 0, next(50), next(9_999),
            if next(20) == 0 { "\"text\"".to_owned() } else { next(100).to_string() }, items.join(",")
        ));
        c.push_str(&format!(
            "{},{},\"{}\n\",{}\n",
            next(10),
            if next(9) == 0 { String::new() } else { next(1 << 30).to_string() },
            next(100),
            next(3) == 1
        ));
        p.push_str(&format!(
            "{},k{},{}.{},{}\n",
            next(60),
            next(60),
            next(1_000),
            next(10_000_000),
            "x".repeat(next(300) as usize)
        ));
    }
    (j, c, p)
}

fn hashes(project: &Project) -> BTreeSet<(String, String)> {
    // Everything but the marker, which names the catalog.
    files_below(&project.store(), &project.store())
        .into_iter()
        .filter(|f| f != "_hakiri.json" && !f.starts_with(".tmp/"))
        .map(|f| {
            let hash = sha256(&std::fs::read(project.store().join(&f)).unwrap());
            (f, hash)
        })
        .collect()
}

fn build(seed: u64, args: &[&str]) -> BTreeSet<(String, String)> {
    let project = Project::new(MANIFEST);
    let (j, c, p) = data(seed);
    project.write("data/j.jsonl", j);
    project.write("data/c.csv", c);
    project.write("data/p.csv", p);
    let mut all = vec!["run", "--tick", "2026-10-01T00:00:00Z"];
    all.extend(args);
    project.hakiri(&all).expect(0);
    hashes(&project)
}

#[test]
fn artifact_bytes_do_not_depend_on_threads_batches_or_memory() {
    let seeds = if std::env::var_os("HAKIRI_LONG").is_some() { 200 } else { 6 };
    for seed in 0..seeds {
        let expected = build(seed, &["--threads", "1"]);
        assert!(expected.iter().filter(|(f, _)| f.ends_with(".parquet")).count() >= 4, "{expected:?}");
        for args in [
            &["--threads", "2", "--batch-rows", "1"][..],
            &["--threads", "8", "--batch-rows", "97"],
            &["--threads", "2", "--memory", "64MiB", "--batch-rows", "100000"],
        ] {
            assert_eq!(build(seed, args), expected, "seed {seed}, {args:?}");
        }
    }
}

#[test]
fn artifact_bytes_are_frozen() {
    // If this fails, the bytes of the store changed: that is a new writer policy (S7), not a new number here.
    let all: String =
        build(1, &[]).into_iter().filter(|(f, _)| f.ends_with(".parquet")).map(|(f, h)| format!("{f} {h}\n")).collect();
    insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, { insta::assert_snapshot!("frozen_bytes", all) });
}

#[test]
fn artifact_spilling_to_disk_gives_the_same_bytes() {
    // More than a sixteenth of the smallest budget, so that spool and sorter really spill.
    let text: String = (0..400_000u64)
        .map(|i| format!("{},{}\n", (i * 7_919) % 400_000, i.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    let run = |memory: &str, threads: &str| {
        let project = Project::new(
            "[[pipeline]]\nid = \"f\"\ntables = [\"t\"]\nsource = { connector = \"file\", config = { path = \"t.csv\" } }\n[pipeline.table.t]\nprimary_key = [\"id\"]\n",
        );
        project.write("t.csv", format!("id,v\n{text}"));
        project.hakiri(&["run", "--tick", "2026-10-01T00:00:00Z", "--memory", memory, "--threads", threads]).expect(0);
        hashes(&project)
    };
    assert_eq!(run("64MiB", "8"), run("2GiB", "1"));
}

#[test]
fn artifact_a_run_that_was_killed_leaves_the_same_bytes() {
    let (j, c, p) = data(3);
    let make = || {
        let project = Project::new(MANIFEST);
        project.write("data/j.jsonl", &j);
        project.write("data/c.csv", &c);
        project.write("data/p.csv", &p);
        project
    };
    let args = ["run", "--tick", "2026-10-01T00:00:00Z"];
    let whole = make();
    let started = std::time::Instant::now();
    whole.hakiri(&args).expect(0);
    let whole_ms = u64::try_from(started.elapsed().as_millis()).unwrap();
    let killed = make();
    for part in 0..10 {
        let mut child = killed.command(&args).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(whole_ms * part / 10));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    killed.hakiri(&args).expect(0);
    killed.hakiri(&["gc", "--grace", "0s"]).expect(0);
    whole.hakiri(&["gc", "--grace", "0s"]).expect(0);
    assert_eq!(hashes(&killed), hashes(&whole));
}

#[test]
fn artifact_typed_sources_give_the_same_bytes_too() {
    // Every type that Parquet brings along, three thousand rows of it.
    let script = crate::interop::MAKE.replace(
        "pq.write_table(pa.table(cols), sys.argv[1])",
        "t = pa.concat_tables([pa.table(cols)] * 1000)\nt = t.set_column(0, 'id', pa.array([i * 7919 % 3000 for i in range(3000)], pa.int64()))\npq.write_table(t, sys.argv[1], row_group_size=700)",
    );
    let make = |args: &[&str]| {
        let project = Project::new(&crate::interop::manifest("in.parquet"));
        crate::support::python(&script, &[project.path().join("in.parquet").to_str().unwrap()]);
        let mut all = vec!["run", "--tick", "2026-10-01T00:00:00Z"];
        all.extend(args);
        project.hakiri(&all).expect(0);
        hashes(&project)
    };
    let expected = make(&["--threads", "1"]);
    assert_eq!(make(&["--threads", "8", "--batch-rows", "13"]), expected);
    assert_eq!(make(&["--threads", "2", "--batch-rows", "100000", "--memory", "64MiB"]), expected);
}

/// Rows that come in the order of their key are not sorted again; nothing of that can be seen.
#[test]
fn rows_in_order_give_the_bytes_of_the_same_rows_shuffled() {
    let make = |script: &str, args: &[&str]| {
        let project = Project::new(
            "[[pipeline]]\nid = \"f\"\nsource = { connector = \"file\", config = { path = \"data.parquet\", table = \"t\" } }\n[pipeline.table.t]\nprimary_key = [\"id\", \"part\"]\n",
        );
        let file = project.path().join("data.parquet");
        let code = format!(
            "import sys, random, pyarrow as pa, pyarrow.parquet as pq\n\
             rows = [(i // 3, 'abc'[i % 3], 'x' * (i % 300), i * 0.5) for i in range(20000)]\n\
             {script}\n\
             t = pa.table({{'id': [r[0] for r in rows], 'part': [r[1] for r in rows], 'text': [r[2] for r in rows], 'n': [r[3] for r in rows]}})\n\
             pq.write_table(t, sys.argv[1], row_group_size=777)"
        );
        crate::support::python(&code, &[file.to_str().unwrap()]);
        let mut all = vec!["run", "--tick", "2026-10-01T00:00:00Z"];
        all.extend(args);
        project.hakiri(&all).expect(0);
        hashes(&project).into_iter().filter(|(f, _)| f.ends_with(".parquet")).collect::<Vec<_>>()
    };
    let shuffled = make("random.Random(7).shuffle(rows)", &[]);
    assert!(!shuffled.is_empty());
    for args in [&[][..], &["--batch-rows", "13", "--memory", "64MiB"], &["--threads", "1", "--batch-rows", "100000"]] {
        assert_eq!(make("pass", args), shuffled, "{args:?}");
        assert_eq!(make("rows[0], rows[1] = rows[1], rows[0]", args), shuffled, "{args:?}");
    }
}
