//! The in-process orchestrator: one of three. It loops `begin` → `step`s → `commit` → `begin` … until `nothing`, obeys
//! `next`, and holds no logic of its own (`05`).

use std::time::Duration;

use hakiri_core::catalog::{Key, Kind, PageRequest, Record, RunReport, RunStatus};
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::ops::{AfterBegin, AfterCommit, AfterStep, BeginRequest, CommitRequest, StepRequest};
use hakiri_core::step::StepStatus;
use hakiri_core::{Error, Result};
use tokio::task::{JoinError, JoinSet};

use crate::Engine;

/// Drives a pipeline until nothing is due. Returns the reports of the runs it committed, in order.
///
/// Once [`Engine::drain`] is raised no further run and no further step is started: a run with steps left is handed over
/// by giving back its lease, so that another process goes on with it at once.
///
/// # Errors
/// What `begin`, `step` or `commit` fail with as operations: a catalog or store out of reach, an interruption. `HK0910`
/// when the run was cancelled meanwhile. A failed *table* is not such an error; it is in the report.
pub async fn drive(engine: &Engine, request: &BeginRequest) -> Result<Vec<RunReport>> {
    Ok(go(engine, request, true).await?.reports)
}

/// As [`drive`], for one of several servers: where another one's run holds the lease it does not wait but says for how
/// long it would, so that the caller can do something else meanwhile.
///
/// # Errors
/// As [`drive`].
pub async fn drive_unless_held(engine: &Engine, request: &BeginRequest) -> Result<Driven> {
    go(engine, request, false).await
}

/// What driving a pipeline came to.
#[derive(Debug, Clone, Default)]
pub struct Driven {
    /// The runs that were committed, in order.
    pub reports: Vec<RunReport>,
    /// Another run holds the lease: look again after so many seconds.
    pub held: Option<u64>,
}

async fn go(engine: &Engine, request: &BeginRequest, patient: bool) -> Result<Driven> {
    // What goes wrong here stops this pipeline's steps, not those of others in the process.
    let engine = &Engine { cancel: engine.cancel.child(), ..engine.clone() };
    let mut reports = Vec::new();
    while !engine.drain.is_cancelled() {
        let (run, epoch) = match engine.begin(request).await? {
            AfterBegin::Nothing { .. } => return Ok(Driven { reports, held: None }),
            AfterBegin::Wait { seconds } if !patient => return Ok(Driven { reports, held: Some(seconds) }),
            AfterBegin::Wait { seconds } => {
                wait(engine, seconds).await?;
                continue;
            }
            AfterBegin::Commit { run, epoch } => (run, epoch),
            AfterBegin::Steps { run, epoch, steps, concurrency } => {
                match all_steps(engine, request, &run, epoch, steps, concurrency).await {
                    Ok(true) => (run, epoch),
                    Ok(false) => {
                        give_back(engine, &request.pipeline, &run, epoch).await;
                        return Ok(Driven { reports, held: None });
                    }
                    Err(e) => {
                        give_back(engine, &request.pipeline, &run, epoch).await;
                        return Err(of_cancelled(engine, &request.pipeline, &run, e).await);
                    }
                }
            }
        };
        let commit = CommitRequest { pipeline: request.pipeline.clone(), run: run.clone(), epoch, deadline: None };
        loop {
            match engine.commit(&commit).await {
                Ok(AfterCommit::Begin { report }) => reports.push(report),
                Ok(AfterCommit::Nothing { report }) => {
                    reports.push(report);
                    return Ok(Driven { reports, held: None });
                }
                Ok(AfterCommit::Wait { seconds }) => {
                    wait(engine, seconds).await?;
                    continue;
                }
                Err(e) => return Err(of_cancelled(engine, &request.pipeline, &run, e).await),
            }
            break;
        }
    }
    Ok(Driven { reports, held: None })
}

/// All steps to their end; false when some were not started. Each is a task of its own: encoding is work for a core, and
/// a step that computes must not keep the heartbeat of another from its turn.
async fn all_steps(
    engine: &Engine,
    request: &BeginRequest,
    run: &RunId,
    epoch: u64,
    steps: Vec<u32>,
    concurrency: u32,
) -> Result<bool> {
    let mut waiting = steps.into_iter();
    let mut start = |running: &mut JoinSet<Result<bool>>| {
        if let Some(step) = waiting.next() {
            let (engine, pipeline, run) = (engine.clone(), request.pipeline.clone(), run.clone());
            running.spawn(async move { one_step(&engine, &pipeline, &run, epoch, step).await });
        }
    };
    let mut running = JoinSet::new();
    (0..concurrency.max(1)).for_each(|_| start(&mut running));
    let (mut first_error, mut all) = (None, true);
    while let Some(joined) = running.join_next().await {
        match joined.unwrap_or_else(|e| Err(ended_early(e))) {
            Ok(ended) => all &= ended,
            Err(e) => {
                // The others stop at their next convenient place and give back their claims.
                first_error.get_or_insert(e);
                engine.cancel.cancel();
            }
        }
        if first_error.is_none() {
            start(&mut running);
        }
    }
    first_error.map_or(Ok(all), Err)
}

/// A step's task that ended without a result panicked, or the process is ending.
fn ended_early(error: JoinError) -> Error {
    match error.is_panic() {
        true => Error::new(Code::Internal, "a step ended by a defect of hakiri itself"),
        false => Error::new(Code::Interrupted, "interrupted"),
    }
}

/// One step to its end; false when it was left to another process. That it failed for good is in the catalog; the run
/// goes on with the others (E3).
async fn one_step(engine: &Engine, pipeline: &PipelineId, run: &RunId, epoch: u64, step: u32) -> Result<bool> {
    let request = StepRequest { pipeline: pipeline.clone(), run: run.clone(), epoch, step, deadline: None };
    while !engine.drain.is_cancelled() {
        match engine.step(&request).await? {
            AfterStep::Done | AfterStep::Fail { .. } => return Ok(true),
            AfterStep::Again => {}
            AfterStep::Wait { seconds } => wait(engine, seconds).await?,
        }
    }
    Ok(false)
}

/// Gives back the lease of a run, so that others go on with it at once; unless another worker is at one of its steps:
/// the lease is its as well, and without it the next run's epoch would fence it. Best effort: a lease that is not given
/// back only costs its time to live.
async fn give_back(engine: &Engine, pipeline: &PipelineId, run: &RunId, epoch: u64) {
    let _ = hand_over(engine, pipeline, run, epoch).await;
}

/// As [`give_back`], for an orchestrator that goes on with the run in another process of its own.
///
/// # Errors
/// Any catalog error; `HK0202` when another run took over already.
pub async fn hand_over(engine: &Engine, pipeline: &PipelineId, run: &RunId, epoch: u64) -> Result<()> {
    let now = engine.catalog.info().await?.now;
    let prefix = vec![pipeline.to_string(), run.to_string()];
    let mut page = PageRequest { kind: Kind::Step, prefix, after: None, limit: 1_000, newest_first: false };
    loop {
        let listed = engine.catalog.list(&page).await?;
        let shared = listed.entries.iter().any(|(_, record)| match record {
            Record::Step(step) => matches!(
                &step.status,
                StepStatus::Claimed { worker, until } if *worker != engine.settings.worker && *until > now
            ),
            _ => false,
        });
        if shared {
            return Ok(());
        }
        page.after = listed.entries.last().map(|(key, _)| key.clone());
        if !listed.more {
            break;
        }
    }
    engine.catalog.renew(pipeline, run, epoch, 0).await?;
    Ok(())
}

/// A worker of a cancelled run hears that its epoch is stale; that it was cancelled says more.
async fn of_cancelled(engine: &Engine, pipeline: &PipelineId, run: &RunId, error: Error) -> Error {
    if error.code() != Code::CatalogFenced {
        return error;
    }
    match engine.catalog.get(&Key::run(pipeline, run)).await {
        Ok(Some(Record::Run(record))) if record.report.status == RunStatus::Cancelled => {
            Error::new(Code::RunCancelled, format!("{run} was cancelled"))
        }
        _ => error,
    }
}

/// Waits as told, by the engine's clock, but not past an interruption or the end of the process.
async fn wait(engine: &Engine, seconds: u64) -> Result<()> {
    let mut left = engine.clock.sleep_for(seconds.saturating_mul(1000));
    let slice = Duration::from_millis(100);
    while !left.is_zero() && !engine.drain.is_cancelled() {
        if engine.cancel.is_cancelled() {
            return Err(Error::new(Code::Interrupted, "interrupted while waiting"));
        }
        tokio::time::sleep(slice.min(left)).await;
        left = left.saturating_sub(slice);
    }
    Ok(())
}
