//! C4: the commit of a run is atomic and conditional.

use hakiri_core::catalog::{CatalogError, Commit, Head, Kind, Record, RunStatus, Unnamed};

use super::Setup;
use super::fixture::*;

fn conflict<T: std::fmt::Debug>(result: Result<T, CatalogError>) {
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
}

pub async fn everything_changes_together(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    bench.time.pass(5_000).await;
    let tables = vec![table_commit("crm_a", 1, 1), table_commit("crm_b", 1, 1)];
    let committed = bench.catalog.commit(&commit_of(&plan, lease.epoch, tables.clone())).await.unwrap();
    let expected = Head {
        seq: 1,
        epoch: 1,
        last_tick: Some(tick(1)),
        last_run: Some(run(1)),
        tables: tables.into_iter().map(|t| (t.table, t.head)).collect(),
        ..Head::new(pipeline())
    };
    assert_eq!(committed.head, expected);
    assert_eq!(head(&*bench.catalog).await, expected);
    let record = committed.run.unwrap();
    assert_eq!(run_record(&*bench.catalog, 1).await.unwrap(), record);
    assert_eq!((record.epoch, record.report.seq, record.report.status), (1, Some(1), RunStatus::Succeeded));
    // By the catalog's clock: begun when it was planned, ended when it was committed.
    assert!((5_000..6_000).contains(&(record.report.ended.unwrap().millis() - record.report.started.millis())));
    for name in ["crm_a", "crm_b"] {
        assert_eq!(list(&*bench.catalog, Kind::Schema, &["crm", name]).await.len(), 1);
    }
}

pub async fn another_head_is_a_conflict(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (plan, lease) = start(&*bench.catalog, 2, 1).await;
    for wrong in [0, 2] {
        let mut commit = commit_a(&plan, lease.epoch, 1);
        let Commit::Run { expected_seq, tables, .. } = &mut commit else { panic!() };
        *expected_seq = wrong;
        tables[0].head.manifest_seq = 1;
        conflict(bench.catalog.commit(&commit).await);
    }
    assert_eq!(head(&*bench.catalog).await.seq, 1);
    bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
}

pub async fn a_refused_commit_changes_nothing(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (plan, lease) = start(&*bench.catalog, 2, 1).await;
    let before = dump(&*bench.catalog).await;
    let mut commit = commit_of(&plan, lease.epoch, vec![table_commit("crm_a", 2, 2), table_commit("crm_b", 2, 1)]);
    let Commit::Run { expected_seq, .. } = &mut commit else { panic!() };
    *expected_seq = 7;
    conflict(bench.catalog.commit(&commit).await);
    assert_eq!(dump(&*bench.catalog).await, before);
}

pub async fn tables_left_out_stay_as_they_are(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    let both = vec![table_commit("crm_a", 1, 1), table_commit("crm_b", 1, 1)];
    let before = bench.catalog.commit(&commit_of(&plan, lease.epoch, both)).await.unwrap().head;
    let (plan, lease) = start(&*bench.catalog, 2, 1).await;
    let after =
        bench.catalog.commit(&commit_of(&plan, lease.epoch, vec![table_commit("crm_b", 2, 2)])).await.unwrap().head;
    assert_eq!(after.tables[&table("crm_a")], before.tables[&table("crm_a")]);
    assert_eq!(after.tables[&table("crm_b")], table_head("crm_b", 2, 2));
}

pub async fn a_run_without_success_ends_without_a_number(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (plan, lease) = start(&*bench.catalog, 2, 1).await;
    let committed = bench.catalog.commit(&commit_of(&plan, lease.epoch, Vec::new())).await.unwrap();
    assert_eq!((committed.head.seq, &committed.head.lease, &committed.head.unfinished), (1, &None, &None));
    assert_eq!((committed.head.last_run, committed.head.last_tick), (Some(run(2)), Some(tick(2))));
    let report = committed.run.unwrap().report;
    assert_eq!((report.seq, report.status), (None, RunStatus::Failed));
    assert!(report.ended.is_some());
    // The next one gets the number.
    assert_eq!(whole(&*bench.catalog, 3, 1).await.unwrap().head.seq, 2);
}

pub async fn a_commit_releases_the_lease(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    assert_eq!(head(&*bench.catalog).await.unfinished, Some(run(1)));
    bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
    let after = head(&*bench.catalog).await;
    assert_eq!((after.lease, after.unfinished), (None, None));
    assert_eq!(bench.catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap().epoch, 2);
}

pub async fn a_run_without_a_plan_cannot_commit(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let lease = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    let plan = plan(&head(&*bench.catalog).await, 1, 1);
    conflict(bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await);
    assert_eq!(head(&*bench.catalog).await.seq, 0);
}

pub async fn the_tick_of_a_scheduled_run_counts(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let mut last = None;
    for (n, scheduled, expected) in [(1, false, 1), (5, true, 5), (9, false, 5), (6, true, 6)] {
        let (plan, lease) = start(&*bench.catalog, n, 1).await;
        let mut commit = commit_a(&plan, lease.epoch, 1);
        let Commit::Run { scheduled: s, .. } = &mut commit else { panic!() };
        *s = scheduled;
        last = bench.catalog.commit(&commit).await.unwrap().head.last_tick;
        assert_eq!(last, Some(tick(expected)), "run {n}");
    }
    assert_eq!(head(&*bench.catalog).await.last_tick, last);
}

pub async fn a_new_generation_is_counted(setup: &dyn Setup) {
    let bench = setup.bench().await;
    assert_eq!(whole(&*bench.catalog, 1, 1).await.unwrap().head.generation, 0);
    for (n, tables) in [(2, vec![table_commit("crm_a", 2, 1)]), (3, Vec::new())] {
        let lease = bench.catalog.acquire(&pipeline(), &run(n), 60_000).await.unwrap();
        let mut plan = plan(&head(&*bench.catalog).await, n, 1);
        plan.full = true;
        plan.generation += 1;
        bench.catalog.put_plan(&plan, lease.epoch).await.unwrap();
        let committed = bench.catalog.commit(&commit_of(&plan, lease.epoch, tables)).await.unwrap();
        assert_eq!(committed.head.generation, plan.generation);
    }
}

pub async fn files_left_behind_are_remembered(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (plan, lease) = start(&*bench.catalog, 2, 1).await;
    let mut change = table_commit("crm_a", 2, 1);
    change.unnamed = Some(file("crm_a/1"));
    let before = bench.catalog.info().await.unwrap().now;
    bench.catalog.commit(&commit_of(&plan, lease.epoch, vec![change])).await.unwrap();
    let left = list(&*bench.catalog, Kind::Unnamed, &["crm"]).await;
    assert_eq!(left.len(), 1);
    let Record::Unnamed(Unnamed { manifest, since, .. }) = &left[0].1 else { panic!("{left:?}") };
    assert_eq!(*manifest, file("crm_a/1"));
    assert!(*since >= before && *since <= bench.catalog.info().await.unwrap().now);
}

pub async fn a_table_cannot_be_committed_twice_in_one(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    conflict(
        bench
            .catalog
            .commit(&commit_of(&plan, lease.epoch, vec![table_commit("crm_a", 1, 1), table_commit("crm_a", 1, 1)]))
            .await,
    );
    conflict(bench.catalog.commit(&commit_of(&plan, lease.epoch, vec![table_commit("crm_a", 2, 1)])).await);
    assert_eq!(head(&*bench.catalog).await.seq, 0);
}

pub async fn a_plan_for_another_head_is_refused(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let old = plan(&head(&*bench.catalog).await, 2, 1);
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let lease = bench.catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap();
    conflict(bench.catalog.put_plan(&old, lease.epoch).await);
    assert_eq!(head(&*bench.catalog).await.unfinished, None);
}

pub async fn a_plan_for_another_generation_is_refused(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let lease = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    let mut other = plan(&head(&*bench.catalog).await, 1, 1);
    other.generation = 1;
    conflict(bench.catalog.put_plan(&other, lease.epoch).await);
}
