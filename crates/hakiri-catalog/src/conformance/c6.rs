//! C6: plans are first-wins; a step has one live worker, and its first result stays.

use hakiri_core::catalog::{CatalogError, Claim, Key, Kind, Record, RunStatus};
use hakiri_core::codes::Code;
use hakiri_core::step::{StepRecord, StepStatus};
use hakiri_core::time::Instant;
use serde_json::json;

use super::Setup;
use super::fixture::*;

fn conflict<T: std::fmt::Debug>(result: Result<T, CatalogError>) {
    assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
}

fn yours(claim: Claim) -> (StepRecord, bool) {
    match claim {
        Claim::Yours { record, died } => (record, died),
        other => panic!("{other:?}"),
    }
}

pub async fn the_first_plan_wins(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (first, lease) = start(&*bench.catalog, 1, 2).await;
    let mut second = first.clone();
    second.steps.truncate(1);
    second.made_by = "other".to_owned();
    assert_eq!((bench.reopen)().put_plan(&second, lease.epoch).await.unwrap(), first);
    assert_eq!(bench.catalog.get(&Key::plan(&pipeline(), &run(1))).await.unwrap(), Some(Record::Plan(first)));
    assert_eq!(list(&*bench.catalog, Kind::Step, &["crm", run(1).as_str()]).await.len(), 2);
}

pub async fn racing_plans_have_one_winner(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let lease = bench.catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap();
    let base = plan(&head(&*bench.catalog).await, 1, 1);
    let tasks: Vec<_> = (0..6)
        .map(|i| {
            let (catalog, epoch) = ((bench.reopen)(), lease.epoch);
            let plan = hakiri_core::plan::Plan { made_by: format!("worker {i}"), ..base.clone() };
            tokio::spawn(async move { catalog.put_plan(&plan, epoch).await.unwrap() })
        })
        .collect();
    let mut stored = Vec::new();
    for task in tasks {
        stored.push(task.await.unwrap());
    }
    assert!(stored.iter().all(|p| p == &stored[0]));
}

pub async fn a_plan_brings_pending_steps_and_a_running_record(setup: &dyn Setup) {
    let bench = setup.bench().await;
    start(&*bench.catalog, 1, 3).await;
    let steps = list(&*bench.catalog, Kind::Step, &["crm", run(1).as_str()]).await;
    let expected: Vec<_> =
        (0..3).map(|i| (Key::step(&pipeline(), &run(1), i), Record::Step(StepRecord::new(i)))).collect();
    assert_eq!(steps, expected);
    let record = run_record(&*bench.catalog, 1).await.unwrap();
    assert_eq!((record.report.status, record.report.tick, record.report.ended), (RunStatus::Running, tick(1), None));
    assert_eq!(head(&*bench.catalog).await.unfinished, Some(run(1)));
}

pub async fn another_run_must_wait_for_the_unfinished_one(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, first) = start(&*bench.catalog, 1, 1).await;
    bench.catalog.renew(&pipeline(), &run(1), first.epoch, 0).await.unwrap();
    let lease = bench.catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap();
    conflict(bench.catalog.put_plan(&plan(&head(&*bench.catalog).await, 2, 1), lease.epoch).await);
    assert_eq!(head(&*bench.catalog).await.unfinished, Some(run(1)));
}

pub async fn a_claim_is_one_workers(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 2).await;
    let (record, died) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap());
    let StepStatus::Claimed { worker, until } = record.status.clone() else { panic!("{record:?}") };
    assert_eq!((worker.as_str(), died), ("a", false));
    assert_eq!(claim(&*(bench.reopen)(), 1, lease.epoch, 0, "b").await.unwrap(), Claim::Later { until });
    assert_eq!(step_record(&*bench.catalog, 1, 0).await, record);
    yours(claim(&*bench.catalog, 1, lease.epoch, 1, "b").await.unwrap());
}

pub async fn racing_claims_have_one_winner(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 5).await;
    for step in 0..5 {
        let tasks: Vec<_> = (0..6)
            .map(|i| {
                let (catalog, epoch) = ((bench.reopen)(), lease.epoch);
                tokio::spawn(async move { claim(&*catalog, 1, epoch, step, &format!("w{i}")).await.unwrap() })
            })
            .collect();
        let mut winners = 0;
        for task in tasks {
            winners += u32::from(matches!(task.await.unwrap(), Claim::Yours { .. }));
        }
        assert_eq!(winners, 1);
    }
}

pub async fn a_worker_gets_its_own_claim_again(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    yours(claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap());
    let (record, died) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap());
    assert_eq!((died, record.attempts, record.deaths), (false, 0, 0));
}

pub async fn an_expired_claim_is_taken_over_and_counted(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    let (mut record, _) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap());
    record.progress = Some(json!({ "page": 7 }));
    bench.catalog.report_step(&says(1, lease.epoch, "a", record)).await.unwrap();
    bench.time.pass(60_001).await;
    let (record, died) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "b").await.unwrap());
    assert_eq!((died, record.attempts, record.deaths, &record.progress), (true, 1, 1, &Some(json!({ "page": 7 }))));
    bench.time.pass(60_001).await;
    // Also for a worker of the same name: it is another process by now.
    let (record, died) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "b").await.unwrap());
    assert_eq!((died, record.attempts, record.deaths), (true, 2, 2));
}

pub async fn cuts_begin_anew_when_an_attempt_says_so_and_not_by_a_heartbeat(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    let attempt = async |cuts: u32| {
        let (record, _) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap());
        let before = record.cuts;
        let beat = StepRecord { cuts: 0, ..record.clone() };
        bench.catalog.report_step(&says(1, lease.epoch, "a", beat)).await.unwrap();
        assert_eq!(step_record(&*bench.catalog, 1, 0).await.cuts, before);
        let ended = StepRecord { status: StepStatus::Pending { not_before: None }, cuts, ..record };
        bench.catalog.report_step(&says(1, lease.epoch, "a", ended)).await.unwrap().cuts
    };
    assert_eq!([attempt(1).await, attempt(2).await, attempt(0).await, attempt(1).await], [1, 2, 0, 1]);
}

pub async fn a_late_worker_cannot_report_over_the_next_one(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    bench.time.pass(60_001).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "b").await.unwrap();
    let before = step_record(&*bench.catalog, 1, 0).await;
    for said in [working(0, "a", 0), working(0, "b", 0), StepRecord::new(0), done(0, "late")] {
        conflict(bench.catalog.report_step(&says(1, lease.epoch, "a", said)).await);
    }
    assert_eq!(step_record(&*bench.catalog, 1, 0).await, before);
}

pub async fn an_expired_claim_can_still_report(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    bench.time.pass(3_600_000).await;
    assert_eq!(bench.catalog.report_step(&says(1, lease.epoch, "a", done(0, "x"))).await.unwrap(), done(0, "x"));
}

pub async fn back_off_is_kept(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    let (record, _) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap());
    let until = bench.catalog.info().await.unwrap().now.plus_millis(30_000);
    let waiting = StepRecord { status: StepStatus::Pending { not_before: Some(until) }, attempts: 1, ..record };
    assert_eq!(bench.catalog.report_step(&says(1, lease.epoch, "a", waiting.clone())).await.unwrap(), waiting);
    for worker in ["a", "b"] {
        assert_eq!(claim(&*bench.catalog, 1, lease.epoch, 0, worker).await.unwrap(), Claim::Later { until });
    }
    bench.time.pass(30_001).await;
    let (record, died) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "b").await.unwrap());
    assert_eq!((died, record.attempts, record.deaths), (false, 1, 0));
}

pub async fn a_given_up_claim_is_free(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    bench.catalog.report_step(&says(1, lease.epoch, "a", StepRecord::new(0))).await.unwrap();
    let (record, died) = yours(claim(&*bench.catalog, 1, lease.epoch, 0, "b").await.unwrap());
    assert_eq!((died, record.attempts), (false, 0));
}

pub async fn the_first_result_wins(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    bench.catalog.report_step(&says(1, lease.epoch, "a", done(0, "first"))).await.unwrap();
    for (worker, said) in
        [("a", done(0, "second")), ("b", done(0, "third")), ("a", StepRecord::new(0)), ("a", working(0, "a", 0))]
    {
        assert_eq!(bench.catalog.report_step(&says(1, lease.epoch, worker, said)).await.unwrap(), done(0, "first"));
    }
    assert_eq!(step_record(&*bench.catalog, 1, 0).await, done(0, "first"));
}

pub async fn a_finished_step_is_never_claimed(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    bench.catalog.report_step(&says(1, lease.epoch, "a", done(0, "x"))).await.unwrap();
    bench.time.pass(3_600_000).await;
    for worker in ["a", "b"] {
        assert_eq!(claim(&*bench.catalog, 1, lease.epoch, 0, worker).await.unwrap(), Claim::Final(done(0, "x")));
    }
}

pub async fn a_failed_step_is_finished(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    let failure = hakiri_core::Error::new(Code::Internal, "kaputt: ß").to_failure();
    let failed = StepRecord { status: StepStatus::Failed { failure }, ..StepRecord::new(0) };
    bench.catalog.report_step(&says(1, lease.epoch, "a", failed.clone())).await.unwrap();
    assert_eq!(bench.catalog.report_step(&says(1, lease.epoch, "a", done(0, "x"))).await.unwrap(), failed);
    assert_eq!(claim(&*bench.catalog, 1, lease.epoch, 0, "b").await.unwrap(), Claim::Final(failed));
}

pub async fn nobody_reports_without_a_claim(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    conflict(bench.catalog.report_step(&says(1, lease.epoch, "a", done(0, "x"))).await);
    assert_eq!(step_record(&*bench.catalog, 1, 0).await, StepRecord::new(0));
}

pub async fn a_heartbeat_goes_by_the_catalogs_clock(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    let now = bench.catalog.info().await.unwrap().now.millis();
    // Clients whose clocks are a day behind, and a year ahead.
    for until in [now - 86_400_000, now + 365 * 86_400_000] {
        bench.time.pass(40_000).await;
        let record = bench.catalog.report_step(&says(1, lease.epoch, "a", working(0, "a", until))).await.unwrap();
        let StepStatus::Claimed { until, .. } = record.status else { panic!("{record:?}") };
        let left = until.millis() - bench.catalog.info().await.unwrap().now.millis();
        assert!((58_000..=60_000).contains(&left), "{left}");
    }
    bench.time.pass(60_001).await;
    assert!(yours(claim(&*bench.catalog, 1, lease.epoch, 0, "b").await.unwrap()).1);
}

pub async fn counters_never_go_back(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    bench.time.pass(60_001).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    let record = bench.catalog.report_step(&says(1, lease.epoch, "a", done(0, "x"))).await.unwrap();
    assert_eq!((record.attempts, record.deaths), (1, 1));
}

pub async fn an_unknown_step_does_not_exist(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (_, lease) = start(&*bench.catalog, 1, 1).await;
    assert!(matches!(claim(&*bench.catalog, 1, lease.epoch, 1, "a").await, Err(CatalogError::NotFound(_))));
    let said = says(1, lease.epoch, "a", done(1, "x"));
    assert!(matches!(bench.catalog.report_step(&said).await, Err(CatalogError::NotFound(_))));
    assert_eq!(bench.catalog.get(&Key::step(&pipeline(), &run(1), 1)).await.unwrap(), None);
}

pub async fn a_step_of_an_ended_run_cannot_be_claimed(setup: &dyn Setup) {
    let bench = setup.bench().await;
    let (plan, lease) = start(&*bench.catalog, 1, 2).await;
    claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap();
    bench.catalog.report_step(&says(1, lease.epoch, "a", done(0, "x"))).await.unwrap();
    claim(&*bench.catalog, 1, lease.epoch, 1, "a").await.unwrap();
    bench.catalog.commit(&commit_of(&plan, lease.epoch, Vec::new())).await.unwrap();
    // What is finished says so (E1); what is not stays as it is.
    assert_eq!(claim(&*bench.catalog, 1, lease.epoch, 0, "a").await.unwrap(), Claim::Final(done(0, "x")));
    conflict(claim(&*bench.catalog, 1, lease.epoch, 1, "a").await);
    conflict(
        bench
            .catalog
            .report_step(&says(
                1,
                lease.epoch,
                "a",
                StepRecord {
                    status: StepStatus::Pending { not_before: Some(Instant::from_millis(0)) },
                    ..StepRecord::new(1)
                },
            ))
            .await,
    );
}
