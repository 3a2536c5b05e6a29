//! The three operations of the execution contract (`05`): [`begin`](Engine::begin), [`step`](Engine::step) and
//! [`commit`](Engine::commit). Any of them may be repeated, run twice at once or be killed anywhere (E1); every one
//! carries its epoch (E2).
//!
//! [`Engine::begin`]: crate::Engine::begin
//! [`Engine::step`]: crate::Engine::step
//! [`Engine::commit`]: crate::Engine::commit

mod begin;
mod commit;
mod planning;
mod step;

use hakiri_core::catalog::{Catalog, Key, Record, RunRecord};
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::plan::{FORMAT, Plan};
use hakiri_core::step::StepRecord;
use hakiri_core::{Error, Result};

pub use planning::Preview;

/// The plan of a run.
///
/// # Errors
/// `HK0203` when there is none, `HK0905` when a newer binary made it.
pub(crate) async fn load_plan(catalog: &dyn Catalog, pipeline: &PipelineId, run: &RunId) -> Result<Plan> {
    match catalog.get(&Key::plan(pipeline, run)).await? {
        Some(Record::Plan(plan)) if plan.format <= FORMAT => Ok(plan),
        Some(Record::Plan(plan)) => Err(Error::new(
            Code::PlanVersion,
            format!("the plan of {run} was made by Hakiri {} (format {})", plan.made_by, plan.format),
        )),
        _ => Err(Error::new(Code::CatalogNotFound, format!("the run {run} of `{pipeline}` has no plan"))),
    }
}

pub(crate) async fn load_step(catalog: &dyn Catalog, plan: &Plan, step: u32) -> Result<StepRecord> {
    match catalog.get(&Key::step(&plan.pipeline, &plan.run, step)).await? {
        Some(Record::Step(record)) => Ok(record),
        _ => Ok(StepRecord::new(step)),
    }
}

pub(crate) async fn load_run(catalog: &dyn Catalog, pipeline: &PipelineId, run: &RunId) -> Result<Option<RunRecord>> {
    match catalog.get(&Key::run(pipeline, run)).await? {
        Some(Record::Run(record)) => Ok(Some(record)),
        _ => Ok(None),
    }
}

/// One line for each call with its answer, whatever orchestrator made it, so that their traces can be compared (E6).
fn trace(
    op: &str,
    pipeline: &PipelineId,
    run: Option<&RunId>,
    step: Option<u32>,
    answer: &Result<impl std::fmt::Display>,
) {
    let next = match answer {
        Ok(next) => next.to_string(),
        Err(e) => format!("error {}", e.code()),
    };
    let run = run.map(RunId::as_str);
    tracing::debug!(op, %pipeline, run, step_index = step, next, "operation");
}
