//! The in-process orchestrator: one of three. It loops `begin` → `step`s → `commit` → `begin` … until `nothing`, obeys
//! `next`, and holds no logic of its own (`05`).

use std::time::Duration;

use futures::StreamExt as _;
use hakiri_core::catalog::RunReport;
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::ops::{AfterBegin, AfterCommit, AfterStep, BeginRequest, CommitRequest, StepRequest};
use hakiri_core::{Error, Result};

use crate::Engine;

/// Drives a pipeline until nothing is due. Returns the reports of the runs it committed, in order.
///
/// # Errors
/// What `begin`, `step` or `commit` fail with as operations: a catalog or store out of reach, an interruption. A failed
/// *table* is not such an error; it is in the report.
pub async fn drive(engine: &Engine, request: &BeginRequest) -> Result<Vec<RunReport>> {
    // What goes wrong here stops this pipeline's steps, not those of others in the process.
    let engine = &Engine { cancel: engine.cancel.child(), ..engine.clone() };
    let mut reports = Vec::new();
    loop {
        let (run, epoch) = match engine.begin(request).await? {
            AfterBegin::Nothing => return Ok(reports),
            AfterBegin::Wait { seconds } => {
                wait(engine, seconds).await?;
                continue;
            }
            AfterBegin::Commit { run, epoch } => (run, epoch),
            AfterBegin::Steps { run, epoch, steps, concurrency } => {
                let steps = steps.into_iter().map(|step| one_step(engine, &request.pipeline, &run, epoch, step));
                let mut running = futures::stream::iter(steps).buffer_unordered(concurrency.max(1) as usize);
                let mut first_error = None;
                while let Some(result) = running.next().await {
                    if let Err(e) = result {
                        // The others stop at their next convenient place and give back their claims.
                        first_error.get_or_insert(e);
                        engine.cancel.cancel();
                    }
                }
                drop(running);
                if let Some(e) = first_error {
                    let _ = engine.catalog.renew(&request.pipeline, &run, epoch, 0).await;
                    return Err(e);
                }
                (run, epoch)
            }
        };
        match engine.commit(&CommitRequest { pipeline: request.pipeline.clone(), run, epoch }).await? {
            AfterCommit::Begin { report } => reports.push(report),
            AfterCommit::Nothing { report } => {
                reports.push(report);
                return Ok(reports);
            }
        }
    }
}

/// One step to its end. That it failed for good is in the catalog; the run goes on with the others (E3).
async fn one_step(engine: &Engine, pipeline: &PipelineId, run: &RunId, epoch: u64, step: u32) -> Result<()> {
    let request = StepRequest { pipeline: pipeline.clone(), run: run.clone(), epoch, step, deadline: None };
    loop {
        match engine.step(&request).await? {
            AfterStep::Done | AfterStep::Fail { .. } => return Ok(()),
            AfterStep::Again => {}
            AfterStep::Wait { seconds } => wait(engine, seconds).await?,
        }
    }
}

/// Waits as told, but not past an interruption.
async fn wait(engine: &Engine, seconds: u64) -> Result<()> {
    let mut left = Duration::from_secs(seconds);
    let slice = Duration::from_millis(100);
    while !left.is_zero() {
        if engine.cancel.is_cancelled() {
            return Err(Error::new(Code::Interrupted, "interrupted while waiting"));
        }
        tokio::time::sleep(slice.min(left)).await;
        left = left.saturating_sub(slice);
    }
    Ok(())
}
