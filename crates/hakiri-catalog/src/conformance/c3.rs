//! C3: leases are fenced.

use std::sync::Arc;

use hakiri_core::catalog::{Catalog, CatalogError, Lease, RunStatus};

use super::fixture::*;
use super::{Bench, Setup};

/// Run 1 planned with an epoch that run 2 has made stale.
async fn stale(setup: &dyn Setup) -> (Bench, hakiri_core::plan::Plan, Lease, Lease) {
    let bench = setup.bench().await;
    let (plan, first) = start(&*bench.catalog, 1, 2).await;
    bench.time.pass(60_001).await;
    let second = bench.catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap();
    (bench, plan, first, second)
}

fn fenced<T: std::fmt::Debug>(result: Result<T, CatalogError>, epoch: u64, newest: u64) {
    assert_eq!(result.err(), Some(CatalogError::Fenced { epoch, newest }));
}

async fn expires_in(catalog: &Arc<dyn Catalog>, lease: &Lease) -> i64 {
    lease.expires.millis() - catalog.info().await.unwrap().now.millis()
}

pub async fn the_same_run_keeps_its_epoch(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let first = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    bench.time.pass(1_000).await;
    let again = (bench.reopen)().acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    assert_eq!((first.epoch, again.epoch), (1, 1));
    assert!(again.expires > first.expires, "acquiring again extends");
    bench.time.pass(60_001).await;
    // Expired, but nobody came.
    assert_eq!(bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap().epoch, 1);
}

pub async fn another_run_waits_for_a_live_lease(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let lease = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    let held = bench.catalog.acquire(&pipeline(), &run(2), 60_000).await;
    assert_eq!(held, Err(CatalogError::Held { run: run(1), until: lease.expires }));
    assert_eq!(head(&*bench.catalog).await.epoch, 1);
}

pub async fn another_run_gets_a_higher_epoch_after_expiry(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let mut last = 0;
    for n in 1..=4 {
        let lease = bench.catalog.acquire(&pipeline(), &run(n), 60_000).await.unwrap();
        assert!(lease.epoch > last, "{} after {last}", lease.epoch);
        assert_eq!(head(&*bench.catalog).await.lease, Some(lease.clone()));
        last = lease.epoch;
        bench.time.pass(60_001).await;
    }
    assert_eq!(head(&*bench.catalog).await.epoch, last);
}

pub async fn an_expired_lease_still_renews(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let lease = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    bench.time.pass(3_600_000).await;
    let renewed = bench.catalog.renew(&pipeline(), &run(1), lease.epoch, 60_000).await.unwrap();
    assert_eq!(renewed.epoch, lease.epoch);
    assert!(matches!(bench.catalog.acquire(&pipeline(), &run(2), 60_000).await, Err(CatalogError::Held { .. })));
}

pub async fn an_expired_lease_still_commits(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    bench.time.pass(3_600_000).await;
    assert_eq!(bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap().head.seq, 1);
}

pub async fn a_stale_epoch_cannot_renew(setup: &dyn Setup) {
    let (bench, _, first, second) = stale(setup).await;
    for ttl in [60_000, 0] {
        fenced(bench.catalog.renew(&pipeline(), &run(1), first.epoch, ttl).await, first.epoch, second.epoch);
    }
    assert_eq!(head(&*bench.catalog).await.lease, Some(second));
}

pub async fn a_stale_epoch_cannot_plan(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let first = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    bench.time.pass(60_001).await;
    let second = bench.catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap();
    let plan = plan(&head(&*bench.catalog).await, 1, 1);
    fenced(bench.catalog.put_plan(&plan, first.epoch).await, first.epoch, second.epoch);
    // Nor may a run plan with another's epoch.
    fenced(bench.catalog.put_plan(&plan, second.epoch).await, second.epoch, second.epoch);
    assert_eq!(head(&*bench.catalog).await.unfinished, None);
}

pub async fn a_stale_epoch_cannot_claim(setup: &dyn Setup) {
    let (bench, _, first, second) = stale(setup).await;
    fenced(claim(&*bench.catalog, 1, first.epoch, 0, "w").await, first.epoch, second.epoch);
}

pub async fn a_stale_epoch_cannot_report(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, first) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, first.epoch, 0, "w").await.unwrap();
    bench.time.pass(60_001).await;
    let second = bench.catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap();
    let before = dump(&*bench.catalog).await;
    fenced(bench.catalog.report_step(&says(1, first.epoch, "w", done(0, "late"))).await, first.epoch, second.epoch);
    assert_eq!(dump(&*bench.catalog).await, before);
}

pub async fn a_stale_epoch_cannot_commit(setup: &dyn Setup) {
    let (bench, plan, first, second) = stale(setup).await;
    let before = dump(&*bench.catalog).await;
    fenced(bench.catalog.commit(&commit_a(&plan, first.epoch, 1)).await, first.epoch, second.epoch);
    assert_eq!(dump(&*bench.catalog).await, before);
}

pub async fn an_epoch_never_given_out_is_refused(setup: &dyn Setup) {
    let bench = setup.bench().await;
    fenced(bench.catalog.renew(&pipeline(), &run(1), 7, 60_000).await, 7, 0);
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    fenced(bench.catalog.commit(&commit_a(&plan, lease.epoch + 1, 1)).await, 2, 1);
}

pub async fn a_release_lets_another_run_in_at_once(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let first = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    bench.catalog.renew(&pipeline(), &run(1), first.epoch, 0).await.unwrap();
    assert_eq!(head(&*bench.catalog).await.lease, None);
    let second = bench.catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap();
    assert!(second.epoch > first.epoch);
}

pub async fn a_release_ends_the_epoch_for_everyone(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let first = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    bench.catalog.renew(&pipeline(), &run(1), first.epoch, 0).await.unwrap();
    // Releasing again is harmless, and nobody can plan on a lease that is gone.
    bench.catalog.renew(&pipeline(), &run(1), first.epoch, 0).await.unwrap();
    let planned = bench.catalog.put_plan(&plan(&head(&*bench.catalog).await, 1, 1), first.epoch).await;
    assert!(matches!(planned, Err(CatalogError::Conflict(_))), "{planned:?}");
    assert!(bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap().epoch > first.epoch);
}

pub async fn an_unfinished_run_takes_its_lease_up_again(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    bench.catalog.renew(&pipeline(), &run(1), lease.epoch, 0).await.unwrap();
    let again = bench.catalog.renew(&pipeline(), &run(1), lease.epoch, 60_000).await.unwrap();
    assert_eq!(again.epoch, lease.epoch);
    assert_eq!(head(&*bench.catalog).await.lease, Some(again));
}

pub async fn a_renewal_never_shortens(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let lease = bench.catalog.acquire(&pipeline(), &run(1), 600_000).await.unwrap();
    assert_eq!(bench.catalog.renew(&pipeline(), &run(1), lease.epoch, 1_000).await.unwrap().expires, lease.expires);
    assert_eq!(bench.catalog.acquire(&pipeline(), &run(1), 1_000).await.unwrap().expires, lease.expires);
}

pub async fn expiry_is_by_the_catalogs_clock(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let lease = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    assert!((58_000..=60_000).contains(&expires_in(&bench.catalog, &lease).await));
    bench.time.pass(30_000).await;
    let renewed = bench.catalog.renew(&pipeline(), &run(1), lease.epoch, 60_000).await.unwrap();
    assert!((58_000..=60_000).contains(&expires_in(&bench.catalog, &renewed).await));
}

pub async fn an_ended_run_gets_no_lease(setup: &dyn Setup) {
    let bench = setup.bench().await;
    whole(&*bench.catalog, 1, 1).await.unwrap();
    let again = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await;
    assert!(matches!(again, Err(CatalogError::Conflict(_))), "{again:?}");
    assert_eq!(head(&*bench.catalog).await.lease, None);
}

pub async fn renewing_for_an_ended_run_changes_nothing(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 1).await;
    let head_after = bench.catalog.commit(&commit_a(&plan, lease.epoch, 1)).await.unwrap().head;
    let over = bench.catalog.renew(&pipeline(), &run(1), lease.epoch, 60_000).await.unwrap();
    assert!(over.expires <= bench.catalog.info().await.unwrap().now);
    assert_eq!(head(&*bench.catalog).await, head_after);
    assert_eq!(run_record(&*bench.catalog, 1).await.unwrap().report.status, RunStatus::Succeeded);
}
