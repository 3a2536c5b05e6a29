//! Several processes on one catalog, a file or a database: nothing lost, nothing doubled, also when some are killed (C1, C4, C5, C7).
//!
//! The children are this test binary again, told by an environment variable what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hakiri_catalog::conformance::fixture::{commit_a, head, list, pipeline, plan, run};
use hakiri_catalog::{Catalog, CatalogError, postgres, sqlite};
use hakiri_core::catalog::{Claim, Kind, Record, RunStatus};
use hakiri_core::time::{Clock, Instant};
use hakiri_sim::postgres::shared;

use crate::database::project;

const FOLDER: &str = "HAKIRI_CATALOG_TEST_FOLDER";
/// The project in the database; a file in the folder where there is none.
const PROJECT: &str = "HAKIRI_CATALOG_TEST_PROJECT";
const WORKER: &str = "HAKIRI_CATALOG_TEST_WORKER";
const RUNS: &str = "HAKIRI_CATALOG_TEST_RUNS";

#[derive(Debug)]
struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Instant {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Instant::from_millis(i64::try_from(since.as_millis()).unwrap())
    }
}

/// The catalog under test.
async fn open(folder: &Path, project: Option<&str>, new_id: &str) -> Box<dyn Catalog> {
    match project {
        Some(project) => Box::new(postgres::open(&shared(), project, new_id).await.unwrap()),
        None => Box::new(sqlite::open(&folder.join("c.sqlite"), Arc::new(RealClock), new_id).unwrap()),
    }
}

/// A child's whole life: some runs from lease to commit, each written to its own file after it was acknowledged.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let number = |name: &str| std::env::var(name).unwrap().parse::<i64>().unwrap();
    let (worker, runs) = (number(WORKER), number(RUNS));
    let project = std::env::var(PROJECT).ok();
    let catalog = open(&folder, project.as_deref(), &format!("made by {worker}")).await;
    let mut acknowledged = std::fs::File::create(folder.join(format!("acknowledged-{worker}"))).unwrap();
    for n in worker * 1000..worker * 1000 + runs {
        let seq = whole_run(&*catalog, n).await;
        writeln!(acknowledged, "{n} {seq}").unwrap();
        acknowledged.sync_all().unwrap();
    }
}

/// Gets the lease somehow, in spite of others and of runs that the dead left unfinished, and commits.
async fn whole_run(catalog: &dyn Catalog, n: i64) -> u64 {
    loop {
        // A run that a killed process left behind comes first.
        let now = head(catalog).await;
        if let Some(left) = &now.unfinished
            && now.lease.as_ref().is_none_or(|l| l.expires < RealClock.now())
            && let Ok(lease) = catalog.acquire(&pipeline(), left, 300).await
            && let Ok(Some(Record::Plan(plan))) = catalog.get(&hakiri_core::catalog::Key::plan(&pipeline(), left)).await
        {
            let _ = catalog.commit(&commit_a(&plan, lease.epoch, 1)).await;
            continue;
        }
        match catalog.acquire(&pipeline(), &run(n), 300).await {
            Ok(lease) => {
                let plan = plan(&head(catalog).await, n, 1);
                let worked = async {
                    catalog.put_plan(&plan, lease.epoch).await?;
                    let claim = catalog.claim_step(&pipeline(), &run(n), lease.epoch, 0, &n.to_string(), 300).await?;
                    assert!(matches!(claim, Claim::Yours { .. }), "{claim:?}");
                    catalog.commit(&commit_a(&plan, lease.epoch, 1)).await
                };
                match worked.await {
                    Ok(committed) => return committed.run.unwrap().report.seq.unwrap(),
                    Err(CatalogError::Conflict(_) | CatalogError::Fenced { .. }) => {
                        let _ = catalog.renew(&pipeline(), &run(n), lease.epoch, 0).await;
                    }
                    Err(e) => panic!("{e:?}"),
                }
            }
            // Somebody else finished it for this one, which was slow.
            Err(CatalogError::Conflict(_)) => {
                if let Ok(Some(Record::Run(record))) =
                    catalog.get(&hakiri_core::catalog::Key::run(&pipeline(), &run(n))).await
                    && record.report.status == RunStatus::Succeeded
                {
                    return record.report.seq.unwrap();
                }
            }
            Err(CatalogError::Held { .. }) => {}
            Err(e) => panic!("{e:?}"),
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn spawn(folder: &Path, project: Option<&str>, worker: i64, runs: i64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .envs(project.map(|project| (PROJECT, project)))
        .args(["--exact", "processes::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(WORKER, worker.to_string())
        .env(RUNS, runs.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What children said they had been told.
fn acknowledged(folder: &Path, workers: i64) -> BTreeMap<i64, u64> {
    let mut all = BTreeMap::new();
    for worker in 0..workers {
        let text = std::fs::read_to_string(folder.join(format!("acknowledged-{worker}"))).unwrap_or_default();
        // A killed child may have left half a line.
        for line in text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')) {
            let (n, seq) = line.split_once(' ').unwrap();
            all.insert(n.parse().unwrap(), seq.parse().unwrap());
        }
    }
    all
}

/// Every number was given once, and every acknowledged run is there under its number.
async fn check(folder: &Path, project: Option<&str>, acknowledged: &BTreeMap<i64, u64>) -> u64 {
    let catalog = open(folder, project, "late").await;
    let head = head(&*catalog).await;
    let mut seqs = BTreeMap::new();
    for (_, record) in list(&*catalog, Kind::Run, &["crm"]).await {
        let Record::Run(record) = record else { panic!() };
        if record.report.status == RunStatus::Succeeded {
            let before = seqs.insert(record.report.seq.unwrap(), record.report.run);
            assert_eq!(before, None, "a number was given twice");
        }
    }
    assert_eq!(seqs.keys().copied().collect::<BTreeSet<_>>(), (1..=head.seq).collect());
    for (n, seq) in acknowledged {
        assert_eq!(seqs.get(seq), Some(&run(*n)), "run {n} was acknowledged as {seq}");
    }
    assert!(catalog.info().await.unwrap().id.starts_with("made by"));
    head.seq
}

async fn side_by_side(project: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    // All of them find no catalog: one creates it.
    let children: Vec<_> = (0..6).map(|worker| spawn(folder.path(), project, worker, 8)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let told = acknowledged(folder.path(), 6);
    assert_eq!(told.len(), 48);
    assert_eq!(check(folder.path(), project, &told).await, 48);
}

async fn killed(project: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let mut children: Vec<_> =
        (0..5).map(|worker| spawn(folder.path(), project, worker, if worker == 4 { 15 } else { 500 })).collect();
    for (i, child) in children.iter_mut().take(4).enumerate() {
        std::thread::sleep(Duration::from_millis(if i == 0 { 700 } else { 250 }));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // The one that lives goes on past what the dead left unfinished.
    assert!(children[4].wait().unwrap().success());
    let told = acknowledged(folder.path(), 5);
    assert!(told.keys().filter(|n| **n >= 4000).count() == 15);
    assert!(told.keys().any(|n| *n < 4000), "the others were killed before they did anything");
    check(folder.path(), project, &told).await;
}

#[tokio::test]
async fn six_processes_commit_side_by_side() {
    side_by_side(None).await;
}

#[tokio::test]
async fn six_processes_commit_side_by_side_in_postgres() {
    side_by_side(Some(&project())).await;
}

#[tokio::test]
async fn killed_processes_lose_nothing_that_was_acknowledged() {
    killed(None).await;
}

#[tokio::test]
async fn killed_processes_lose_nothing_that_was_acknowledged_in_postgres() {
    killed(Some(&project())).await;
}
