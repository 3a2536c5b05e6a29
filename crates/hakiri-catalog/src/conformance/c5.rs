//! C5: a commit is idempotent by the run's own record, for ever.

use hakiri_core::catalog::{Commit, SnapshotCommit, SnapshotHead};

use super::Setup;
use super::fixture::*;

pub async fn a_repeated_commit_answers_with_the_first(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    let first = bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
    let all = dump(&*bench.catalog).await;
    bench.time.pass(1_000).await;
    assert_eq!((bench.reopen)().commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap(), first);
    // Also when it says something else: the record decides.
    let other = commit_of(&plan, lease.epoch, vec![table_commit("crm_b", 1, 1)]);
    assert_eq!(bench.catalog.commit(&other).await.unwrap(), first);
    assert_eq!(dump(&*bench.catalog).await, all);
}

pub async fn a_commit_is_remembered_after_later_runs(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    let first = bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
    for n in 2..=4 {
        whole(&*bench.catalog, n, 1).await.unwrap();
        bench.time.pass(86_400_000).await;
    }
    let (_, live) = start(&*bench.catalog, 5, 1).await;
    let now = head(&*bench.catalog).await;
    // The epoch is long stale, and another run is under way.
    let again = bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
    assert_eq!((again.run, &again.head), (first.run, &now));
    assert_eq!(head(&*bench.catalog).await.lease, Some(live));
}

pub async fn a_repeated_commit_of_a_failed_run_is_remembered(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    let first = bench.catalog.commit(&commit_of(&plan, lease.epoch, Vec::new())).await.unwrap();
    assert_eq!(bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap(), first);
    assert_eq!(head(&*bench.catalog).await.seq, 0);
}

pub async fn racing_commits_of_one_run_make_one_number(setup: &dyn Setup) {
    let bench = setup.bench().await;
    for n in 1..=5 {
        let (plan, lease) = start(&*bench.catalog, n, 1).await;
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (catalog, commit) = ((bench.reopen)(), commit_a(&plan, lease.epoch, 1));
                tokio::spawn(async move { catalog.commit(&commit).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().run.unwrap().report.seq, Some(n.unsigned_abs()));
        }
        assert_eq!(head(&*bench.catalog).await.seq, n.unsigned_abs());
    }
}

pub async fn a_repeated_snapshot_is_harmless(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let snapshot = SnapshotHead { covers: 1, manifest: file("s") };
    let commit = Commit::Snapshot {
        pipeline: pipeline(),
        generation: 0,
        tables: vec![SnapshotCommit { table: table("crm_a"), previous: None, snapshot }],
    };
    let first = bench.catalog.commit(&commit).await.unwrap();
    assert_eq!(bench.catalog.commit(&commit).await.unwrap(), first);
}
