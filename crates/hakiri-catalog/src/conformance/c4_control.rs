//! C4 for what people do beside the runs: pause, resume, cancel.

use hakiri_core::catalog::{CatalogError, Commit, Control, Kind, Record, RunStatus};

use super::Setup;
use super::fixture::*;

fn control(control: Control) -> Commit {
    Commit::Control { pipeline: pipeline(), control }
}

fn cancel(n: i64) -> Commit {
    control(Control::Cancel { run: run(n) })
}

pub async fn a_pause_needs_no_lease_and_leaves_the_run_alone(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    let before = head(&*bench.catalog).await;
    let after = bench.catalog.commit(&control(Control::Pause)).await.unwrap().head;
    assert!(after.paused.is_some());
    assert_eq!(hakiri_core::catalog::Head { paused: None, ..after }, before);
    bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
    assert!(head(&*bench.catalog).await.paused.is_some(), "a commit does not resume");
}

pub async fn a_repeated_pause_keeps_its_time(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let first = bench.catalog.commit(&control(Control::Pause)).await.unwrap().head;
    bench.time.pass(10).await;
    assert_eq!(bench.catalog.commit(&control(Control::Pause)).await.unwrap().head, first);
}

pub async fn resuming_clears_the_pause(setup: &dyn Setup) {
    let bench = setup.bench().await;
    bench.catalog.commit(&control(Control::Pause)).await.unwrap();
    assert_eq!(bench.catalog.commit(&control(Control::Resume)).await.unwrap().head.paused, None);
    assert_eq!(bench.catalog.commit(&control(Control::Resume)).await.unwrap().head.paused, None);
    assert_eq!(head(&*bench.catalog).await.paused, None);
}

pub async fn a_cancelled_run_is_fenced_and_commits_nothing(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let (_, lease) = start(&*bench.catalog, 2, 1).await;
    claim(&*bench.catalog, 2, lease.epoch, 0, "w").await.unwrap();
    let committed = bench.catalog.commit(&cancel(2)).await.unwrap();
    assert_eq!(committed.run.as_ref().unwrap().report.status, RunStatus::Cancelled);
    assert_eq!((committed.head.seq, committed.head.unfinished.clone(), committed.head.lease.clone()), (1, None, None));
    for late in [
        bench.catalog.renew(&pipeline(), &run(2), lease.epoch, 60_000).await.map(drop),
        bench.catalog.report_step(&says(2, lease.epoch, "w", done(0, "late"))).await.map(drop),
    ] {
        assert!(matches!(late, Err(CatalogError::Fenced { .. })), "{late:?}");
    }
    // Another run starts at once, on the same tables.
    whole(&*bench.catalog, 3, 1).await.unwrap();
    assert_eq!(head(&*bench.catalog).await.seq, 2);
}

pub async fn a_cancelled_run_ends_for_ever(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    bench.catalog.commit(&cancel(1)).await.unwrap();
    // C5: its record is the answer to its own commit as well.
    let late = bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap();
    assert_eq!(late.run.unwrap().report.status, RunStatus::Cancelled);
    let again = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await;
    assert!(matches!(again, Err(CatalogError::Conflict(_))), "{again:?}");
    assert!(head(&*bench.catalog).await.tables.is_empty());
}

pub async fn cancelling_again_answers_with_the_first(setup: &dyn Setup) {
    let bench = setup.bench().await;
    start(&*bench.catalog, 1, 1).await;
    let first = bench.catalog.commit(&cancel(1)).await.unwrap();
    whole(&*bench.catalog, 2, 1).await.unwrap();
    let before = dump(&*bench.catalog).await;
    assert_eq!(bench.catalog.commit(&cancel(1)).await.unwrap().run, first.run);
    assert_eq!(dump(&*bench.catalog).await, before);
}

pub async fn only_the_unfinished_run_can_be_cancelled(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    start(&*bench.catalog, 2, 1).await;
    let before = dump(&*bench.catalog).await;
    for n in [1, 3] {
        let refused = bench.catalog.commit(&cancel(n)).await;
        assert!(matches!(refused, Err(CatalogError::Conflict(_))), "{refused:?}");
    }
    assert_eq!(dump(&*bench.catalog).await, before);
}

pub async fn the_tick_of_a_cancelled_scheduled_run_is_done(setup: &dyn Setup) {
    let bench = setup.bench().await;
    start(&*bench.catalog, 7, 1).await;
    bench.catalog.commit(&cancel(7)).await.unwrap();
    assert_eq!(head(&*bench.catalog).await.last_tick, Some(tick(7)));
}

pub async fn racing_cancel_and_commit_have_one_winner(setup: &dyn Setup) {
    let bench = setup.bench().await;
    for n in 1..20 {
        let (plan, lease) = start(&*bench.catalog, n, 1).await;
        let other = (bench.reopen)();
        let commit = commit_a(&plan, lease.epoch, 1);
        let stop = cancel(n);
        let (committed, cancelled) = tokio::join!(bench.catalog.commit(&commit), other.commit(&stop));
        let status = run_record(&*bench.catalog, n).await.unwrap().report.status;
        match status {
            RunStatus::Succeeded => assert!(cancelled.is_err() && committed.is_ok()),
            // The commit lost: it was fenced, or came after and was told how the run had ended.
            RunStatus::Cancelled => assert!(
                cancelled.is_ok()
                    && committed.as_ref().map_or(true, |c| c.run.as_ref().unwrap().report.status == status)
            ),
            other => panic!("{other:?}"),
        }
    }
}

pub async fn controls_are_audited(setup: &dyn Setup) {
    let bench = setup.bench().await;
    start(&*bench.catalog, 1, 1).await;
    for commit in [control(Control::Pause), control(Control::Resume), cancel(1)] {
        bench.catalog.commit(&commit).await.unwrap();
    }
    let actions: Vec<String> = list(&*bench.catalog, Kind::Audit, &["crm"])
        .await
        .into_iter()
        .map(|(_, record)| match record {
            Record::Audit(audit) => audit.action,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(actions, ["pause", "resume", "cancel"]);
}
