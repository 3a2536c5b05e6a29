//! The kill loop: SIGKILL at random instants, then a run to the end. Rows equal the oracle, every file that is named is
//! there with its hash, and after `gc` nothing else is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, manifest, paged};
use crate::support::{Project, files_below, verified_files};

/// A small generator with a fixed seed: the instants differ enough by themselves, the choice of them need not.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn rounds() -> u64 {
    if std::env::var_os("HAKIRI_LONG").is_some() { 1000 } else { 50 }
}

/// Kills `rounds` runs at random instants; between kills the source grows.
fn kill_loop(project: &Project, mut grow: impl FnMut(u64), seed: u64) -> u64 {
    let mut random = Lcg(seed);
    let mut killed = 0;
    // How long a whole run takes here and now: instants are drawn from a little more than that.
    let started = std::time::Instant::now();
    project.run();
    let whole = u64::try_from(started.elapsed().as_millis()).unwrap();
    while killed < rounds() {
        grow(killed);
        let mut child = project
            .command(&["run"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.below(whole + whole / 4 + 1)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(matches!(status.code(), None | Some(0)), "a run failed by itself: {status:?}");
        killed += u64::from(status.code().is_none());
        if status.code().is_some() {
            // It was quicker: draw again.
            continue;
        }
        if killed % 10 == 0 {
            verified_files(project);
        }
    }
    project.run();
    killed
}

#[track_caller]
fn no_strays_after_gc(project: &Project) {
    project.hakiri(&["gc", "--grace", "0s"]).expect(0);
    let named = verified_files(project);
    let derived = |f: &str| f.ends_with("/schema.json") || f.ends_with("/schema-history.jsonl");
    let left: Vec<String> =
        project.files().into_iter().filter(|f| !derived(f) && !named.contains(f) && !f.contains("/cursor-")).collect();
    assert_eq!(left, Vec::<String>::new(), "strays");
    assert_eq!(files_below(&project.store().join("steps"), &project.store()), Vec::<String>::new(), "results of steps");
    assert_eq!(files_below(&project.path().join(".hakiri/tmp"), project.path()).len(), 0, "temporary files");
}

#[test]
fn kill_loop_csv() {
    let project = Project::new(
        // The second has no key: a row that is read twice, or committed twice, is there twice.
        "[[pipeline]]\nid = \"f\"\ntables = [\"t\"]\nsource = { connector = \"file\", config = { path = \"data/*.csv\" } }\n[pipeline.table.t]\nprimary_key = [\"id\"]\n\
         [[pipeline]]\nid = \"a\"\ntables = [\"t\"]\nsource = { connector = \"file\", config = { path = \"data/*.csv\" } }\n[pipeline.table.t]\nmode = \"append\"\n",
    );
    let rows = |from: u64, to: u64| (from..to).map(|i| format!("{i},{},name {i}\n", i * 7 % 1000)).collect::<String>();
    project.write("data/0.csv", format!("id,n,name\n{}", rows(0, 5_000)));
    let mut last = 0;
    kill_loop(
        &project,
        |round| {
            last = round + 1;
            project.write(
                &format!("data/{last}.csv"),
                format!("id,n,name\n{}", rows(5_000 + round * 100, 5_100 + round * 100)),
            );
        },
        1,
    );
    let total = 5_000 + last * 100;
    assert_eq!(project.number("select count(*) from f_t"), total as i64);
    assert_eq!(project.number("select count(distinct id) from f_t"), total as i64);
    assert_eq!(project.number("select count(*) from a_t"), total as i64, "nothing lost, nothing doubled");
    assert_eq!(project.number("select count(distinct id) from a_t"), total as i64);
    assert_eq!(project.number("select sum(n) from f_t"), (0..total).map(|i| i as i64 * 7 % 1000).sum::<i64>());
    no_strays_after_gc(&project);
    assert_eq!(project.number("select count(*) from f_t"), total as i64, "gc deleted nothing that counts");
}

#[test]
fn kill_loop_http() {
    // Two resources: one read in full with children, and a log that only grows, appended by its time without any lag: a
    // row that one run loses no later run reads again, and one that is read twice is there twice.
    let items: Vec<Value> = (0..300).map(|i| json!({"id": i, "n": i * 3, "tags": [{"t": i % 5}]})).collect();
    let log: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (seen, pages) = (log.clone(), paged(items, 50));
    let api = Api::start(move |request| {
        if request.path != "/log" {
            return pages(request);
        }
        let since = request.query.get("since").cloned().unwrap_or_default();
        let newer: Vec<Value> =
            seen.lock().unwrap().iter().filter(|r| r["at"].as_str().unwrap() >= since.as_str()).cloned().collect();
        paged(newer, 20)(request)
    });
    let more = "children = [\"tags\"]\n[pipeline.source.config.resources.log]\npath = \"/log\"\nrecords = \"data\"\npaginate = { page = { param = \"page\" } }\nincremental = { param = \"since\", field = \"at\" }\n[pipeline.table.log]\nmode = \"append\"\nsettle = \"0s\"\n";
    let project = Project::new(&manifest(&api.url, more));
    let grow = |_| {
        let mut log = log.lock().unwrap();
        for _ in 0..7 {
            let at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            let n = log.len();
            log.push(json!({"n": n, "at": at}));
        }
    };
    grow(0);
    kill_loop(&project, grow, 2);
    let total = log.lock().unwrap().len() as i64;
    assert_eq!(project.number("select count(*) from api_items"), 300);
    assert_eq!(project.number("select sum(n) from api_items"), (0..300).map(|i| i * 3).sum::<i64>());
    assert_eq!(project.number("select count(*) from api_items_tags"), 300);
    assert_eq!(project.number("select count(*) from api_log"), total, "nothing lost, nothing doubled");
    assert_eq!(project.number("select count(distinct n) from api_log"), total);
    no_strays_after_gc(&project);
    assert_eq!(project.number("select count(*) from api_log"), total);
}
