//! C4 for the commits that no run makes: snapshots, state set by hand, and files forgotten.

use std::collections::BTreeMap;

use hakiri_core::catalog::{CatalogError, Commit, Kind, Record, RunStatus, SnapshotCommit, SnapshotHead, Unnamed};

use super::Setup;
use super::fixture::*;

fn conflict<T: std::fmt::Debug>(result: Result<T, CatalogError>) {
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
}

fn covering(covers: u64) -> SnapshotHead {
    SnapshotHead { covers, manifest: file(&format!("snapshots/{covers}")) }
}

fn of_table(name: &str, previous: Option<u64>, covers: u64) -> SnapshotCommit {
    SnapshotCommit { table: table(name), previous: previous.map(covering), snapshot: covering(covers) }
}

fn snapshots(generation: u64, tables: Vec<SnapshotCommit>) -> Commit {
    Commit::Snapshot { pipeline: pipeline(), generation, tables }
}

fn snapshot(generation: u64, previous: Option<u64>, covers: u64) -> Commit {
    snapshots(generation, vec![of_table("crm_a", previous, covers)])
}

pub async fn a_snapshot_needs_no_lease(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (plan, lease) = start(&*bench.catalog, 2, 1).await;
    let before = head(&*bench.catalog).await;
    let after = bench.catalog.commit(&snapshot(0, None, 1)).await.unwrap().head;
    assert_eq!(after.tables[&table("crm_a")].snapshot, Some(covering(1)));
    assert_eq!((after.seq, &after.lease, after.generation), (before.seq, &before.lease, before.generation));
    // The run goes on.
    bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
}

pub async fn a_snapshot_of_another_one_is_refused(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    conflict(bench.catalog.commit(&snapshot(0, Some(0), 1)).await);
    bench.catalog.commit(&snapshot(0, None, 1)).await.unwrap();
    whole_keeping_snapshot(&bench).await;
    conflict(bench.catalog.commit(&snapshot(0, None, 2)).await);
    conflict(bench.catalog.commit(&snapshot(0, Some(1), 0)).await);
    bench.catalog.commit(&snapshot(0, Some(1), 2)).await.unwrap();
    let unknown = snapshots(0, vec![of_table("crm_z", None, 1)]);
    assert!(matches!(bench.catalog.commit(&unknown).await, Err(CatalogError::NotFound(_))));
}

async fn whole_keeping_snapshot(bench: &super::Bench) {
    let (plan, lease) = start(&*bench.catalog, 50, 1).await;
    let mut change = table_commit("crm_a", plan.base_seq + 1, 1);
    change.head.snapshot = head(&*bench.catalog).await.tables[&table("crm_a")].snapshot.clone();
    bench.catalog.commit(&commit_of(&plan, lease.epoch, vec![change])).await.unwrap();
}

pub async fn a_snapshot_of_another_generation_is_refused(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let old = whole(&*bench.catalog, 1, 1).await.unwrap().head;
    bench.catalog.commit(&state(&old, BTreeMap::new())).await.unwrap();
    conflict(bench.catalog.commit(&snapshot(0, None, 1)).await);
    bench.catalog.commit(&snapshot(1, None, 1)).await.unwrap();
}

pub async fn a_snapshot_covers_nothing_to_come(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    conflict(bench.catalog.commit(&snapshot(0, None, 2)).await);
}

pub async fn a_replaced_snapshot_is_left_behind(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    bench.catalog.commit(&snapshot(0, None, 1)).await.unwrap();
    let runs = |seq: u64, above: u64| (file(&format!("crm_a/{seq}")), above);
    let mut expected = vec![runs(1, 0)];
    assert_eq!(left_behind(&bench).await, expected, "the runs it covers");
    whole_keeping_snapshot(&bench).await;
    assert_eq!(left_behind(&bench).await, expected);
    bench.catalog.commit(&snapshot(0, Some(1), 2)).await.unwrap();
    expected.extend([runs(2, 1), (covering(1).manifest, 0)]);
    assert_eq!(left_behind(&bench).await, expected, "and those that are covered for the first time");
    // A full load starts anew without a snapshot.
    let (plan, lease) = start(&*bench.catalog, 60, 1).await;
    let mut anew = table_commit("crm_a", plan.base_seq + 1, 1);
    anew.unnamed = Some(file("crm_a/2"));
    let commit = commit_of(&plan, lease.epoch, vec![anew]);
    let after = bench.catalog.commit(&commit).await.unwrap().head;
    assert_eq!(after.tables[&table("crm_a")].snapshot, None);
    expected.extend([runs(2, 2), (covering(2).manifest, 0)]);
    assert_eq!(left_behind(&bench).await, expected);
}

async fn left_behind(bench: &super::Bench) -> Vec<(hakiri_core::manifest::FileRef, u64)> {
    let left = list(&*bench.catalog, Kind::Unnamed, &["crm"]).await;
    let left = left.into_iter().map(|(_, r)| match r {
        Record::Unnamed(Unnamed { manifest, above, .. }) => (manifest, above),
        other => panic!("{other:?}"),
    });
    left.collect()
}

pub async fn a_run_keeps_a_snapshot_it_did_not_see(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (plan, lease) = start(&*bench.catalog, 2, 1).await;
    let blind = commit_of(&plan, lease.epoch, vec![table_commit("crm_a", 2, 1)]);
    bench.catalog.commit(&snapshot(0, None, 1)).await.unwrap();
    let after = bench.catalog.commit(&blind).await.unwrap().head;
    assert_eq!(after.tables[&table("crm_a")].snapshot, Some(covering(1)));
}

pub async fn snapshots_of_a_family_are_named_together(setup: &dyn Setup) {
    let bench = setup.bench().await;
    for (n, seq) in [(1, 1), (2, 2)] {
        let (plan, lease) = start(&*bench.catalog, n, 1).await;
        let tables = vec![table_commit("crm_a", seq, 1), table_commit("crm_b", seq, 1)];
        bench.catalog.commit(&commit_of(&plan, lease.epoch, tables)).await.unwrap();
    }
    let before = head(&*bench.catalog).await;
    let family = |a: u64, b: u64| vec![of_table("crm_a", None, a), of_table("crm_b", None, b)];
    conflict(bench.catalog.commit(&snapshots(0, family(1, 2))).await);
    conflict(bench.catalog.commit(&snapshots(0, vec![of_table("crm_a", None, 2), of_table("crm_a", None, 2)])).await);
    let half = vec![of_table("crm_a", None, 2), of_table("crm_b", Some(1), 2)];
    conflict(bench.catalog.commit(&snapshots(0, half)).await);
    assert_eq!(head(&*bench.catalog).await, before, "all or none");
    let after = bench.catalog.commit(&snapshots(0, family(2, 2))).await.unwrap();
    assert!(after.head.tables.values().all(|t| t.snapshot == Some(covering(2))));
    assert_eq!(bench.catalog.commit(&snapshots(0, family(2, 2))).await.unwrap(), after);
}

pub async fn state_waits_for_a_live_lease(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    let now = head(&*bench.catalog).await;
    let held = bench.catalog.commit(&state(&now, BTreeMap::new())).await;
    assert_eq!(held.err(), Some(CatalogError::Held { run: run(1), until: lease.expires }));
    bench.time.pass(60_001).await;
    bench.catalog.commit(&state(&now, BTreeMap::new())).await.unwrap();
}

pub async fn state_abandons_the_unfinished_run(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "w").await.unwrap();
    bench.time.pass(60_001).await;
    let now = head(&*bench.catalog).await;
    let after = bench.catalog.commit(&state(&now, BTreeMap::new())).await.unwrap().head;
    assert_eq!((after.unfinished, after.lease), (None, None));
    let record = run_record(&*bench.catalog, 1).await.unwrap();
    assert_eq!((record.report.status, record.report.seq), (RunStatus::Failed, None));
    assert!(record.report.ended.is_some());
    // Its workers are out.
    let late = bench.catalog.report_step(&says(1, lease.epoch, "w", done(0, "late"))).await;
    assert!(matches!(late, Err(CatalogError::Fenced { .. })), "{late:?}");
    assert!(matches!(
        bench.catalog.renew(&pipeline(), &run(1), lease.epoch, 60_000).await,
        Err(CatalogError::Fenced { .. })
    ));
    // It has ended: its commit changes nothing and is told so by its record (C5).
    let answer = bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
    assert_eq!(answer.run, Some(record));
    assert_eq!((answer.head.seq, answer.head.tables.len()), (1, 0));
}

pub async fn state_of_another_head_is_refused(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let old = head(&*bench.catalog).await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    conflict(bench.catalog.commit(&state(&old, BTreeMap::new())).await);
    assert_eq!(head(&*bench.catalog).await.generation, 0);
}

pub async fn state_raises_all_numbers_and_is_audited(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    let both = vec![table_commit("crm_a", 1, 1), table_commit("crm_b", 1, 1)];
    let old = bench.catalog.commit(&commit_of(&plan, lease.epoch, both)).await.unwrap().head;
    let mut rewound = old.tables[&table("crm_a")].clone();
    rewound.cursor = None;
    let mut commit = state(&old, BTreeMap::from([(table("crm_a"), Some(rewound.clone())), (table("crm_b"), None)]));
    let Commit::State { unnamed, .. } = &mut commit else { panic!() };
    *unnamed = vec![file("crm_b/1"), file("other")];
    let new = bench.catalog.commit(&commit).await.unwrap().head;
    assert_eq!((new.seq, new.generation, new.epoch), (old.seq + 1, old.generation + 1, old.epoch + 1));
    assert_eq!(new.tables, BTreeMap::from([(table("crm_a"), rewound)]));
    assert_eq!((new.last_run, new.last_tick), (old.last_run, old.last_tick));
    assert_eq!(list(&*bench.catalog, Kind::Unnamed, &["crm"]).await.len(), 2);
    let audits = list(&*bench.catalog, Kind::Audit, &["crm"]).await;
    let [(_, Record::Audit(audit))] = audits.as_slice() else { panic!("{audits:?}") };
    assert_eq!((audit.action.as_str(), audit.detail["reason"].as_str()), ("state", Some("by hand")));
    assert!(audit.at.is_some());
}

pub async fn state_of_an_empty_pipeline_goes_on_from_the_tables_it_is_given(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let empty = head(&*bench.catalog).await;
    let mut given = table_head("crm_a", 7, 1);
    given.snapshot = Some(covering(8));
    let first = state(&empty, BTreeMap::from([(table("crm_a"), Some(given.clone()))]));
    let after = bench.catalog.commit(&first).await.unwrap().head;
    assert_eq!((after.seq, &after.tables[&table("crm_a")]), (9, &given));
    // A pipeline that has tables counts for itself.
    let ahead = state(&after, BTreeMap::from([(table("crm_b"), Some(table_head("crm_b", 11, 1)))]));
    conflict(bench.catalog.commit(&ahead).await);
}

pub async fn only_files_left_behind_are_forgotten(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let old = whole(&*bench.catalog, 1, 1).await.unwrap().head;
    let mut commit = state(&old, BTreeMap::new());
    let Commit::State { unnamed, .. } = &mut commit else { panic!() };
    *unnamed = vec![file("x"), file("y"), file("z")];
    bench.catalog.commit(&commit).await.unwrap();
    let keys: Vec<_> = list(&*bench.catalog, Kind::Unnamed, &["crm"]).await.into_iter().map(|(key, _)| key).collect();
    let forget = |keys: &[hakiri_core::catalog::Key]| Commit::Forget { pipeline: pipeline(), keys: keys.to_vec() };
    let head_key = hakiri_core::catalog::Key::head(&pipeline());
    conflict(bench.catalog.commit(&forget(&[keys[0].clone(), head_key])).await);
    let foreign = Commit::Forget { pipeline: "other".parse().unwrap(), keys: keys.clone() };
    conflict(bench.catalog.commit(&foreign).await);
    assert_eq!(list(&*bench.catalog, Kind::Unnamed, &["crm"]).await.len(), 3);
    for _ in 0..2 {
        bench.catalog.commit(&forget(&keys[..2])).await.unwrap();
        assert_eq!(list(&*bench.catalog, Kind::Unnamed, &["crm"]).await.len(), 1);
    }
    bench.catalog.commit(&forget(&[])).await.unwrap();
}
