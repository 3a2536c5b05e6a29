//! `put_plan` (C6): first wins, and from then on the run is the pipeline's unfinished one.

use hakiri_core::catalog::{CatalogError, CatalogResult, Key, Record, RunRecord, RunReport, RunStatus};
use hakiri_core::plan::Plan;
use hakiri_core::step::StepRecord;

use super::{Ask, Decision, View, fence};

pub(crate) fn ask(plan: &Plan) -> Ask {
    let (pipeline, run) = (&plan.pipeline, &plan.run);
    Ask::keys([Key::head(pipeline), Key::plan(pipeline, run), Key::run(pipeline, run)])
}

/// Keys and pending records of a plan's steps.
pub(crate) fn steps(plan: &Plan) -> Vec<(Key, Record)> {
    plan.steps
        .iter()
        .map(|s| (Key::step(&plan.pipeline, &plan.run, s.index), Record::Step(StepRecord::new(s.index))))
        .collect()
}

/// Stores a plan, or answers with the one that is there.
///
/// `Conflict` when the plan was made for another state of the head: it could never be committed.
pub(crate) fn put(view: &View, plan: &Plan, epoch: u64, steps: &[(Key, Record)]) -> CatalogResult<Decision<Plan>> {
    let (pipeline, run) = (&plan.pipeline, &plan.run);
    let mut head = view.head(pipeline);
    fence(&head, run, epoch)?;
    if view.ended(pipeline, run).is_some() {
        return Err(CatalogError::Conflict(format!("run {run} has ended already")));
    }
    if let Some(stored) = view.plan(pipeline, run) {
        return Ok(Decision::nothing(stored.clone()));
    }
    if head.lease.is_none() {
        return Err(CatalogError::Conflict(format!("run {run} has released its lease")));
    }
    if let Some(unfinished) = &head.unfinished {
        return Err(CatalogError::Conflict(format!("run {unfinished} must be finished before {run} starts")));
    }
    let generation = head.generation + u64::from(plan.full);
    if plan.base_seq != head.seq || plan.generation != generation {
        return Err(CatalogError::Conflict(format!(
            "run {run} was planned on commit {} of generation {}, the pipeline is at commit {} of generation {generation}",
            plan.base_seq, plan.generation, head.seq
        )));
    }
    head.unfinished = Some(run.clone());
    let report = RunReport {
        pipeline: pipeline.clone(),
        run: run.clone(),
        tick: plan.tick,
        seq: None,
        status: RunStatus::Running,
        started: view.now,
        ended: None,
        tables: Vec::new(),
    };
    let mut records = vec![
        (Key::head(pipeline), Record::Head(head)),
        (Key::plan(pipeline, run), Record::Plan(plan.clone())),
        (Key::run(pipeline, run), Record::Run(RunRecord { report, epoch })),
    ];
    records.extend_from_slice(steps);
    Ok(Decision::put(plan.clone(), records))
}
