//! Acting on a pipeline from outside of its runs: `pause`, `resume`, `cancel`.

use hakiri_core::catalog::{
    Audit, CatalogError, CatalogResult, Committed, Control, Head, Key, Kind, Record, RunRecord, RunStatus,
};
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId};
use serde_json::json;

use super::{Decision, run::abandoned, state::given_up};
use crate::rules::append::{audit_prefix, next_audit};
use crate::rules::{Ask, View};

pub(super) fn ask(pipeline: &PipelineId, control: &Control) -> Ask {
    let mut keys = vec![Key::head(pipeline)];
    if let Control::Cancel { run } = control {
        keys.extend([Key::run(pipeline, run), Key::plan(pipeline, run)]);
    }
    Ask { keys, last: vec![(Kind::Audit, audit_prefix(Some(pipeline)))] }
}

/// Needs no lease, since it is meant to work beside a run that holds one. `Pause` and `Resume` touch nothing else of the
/// head, so that the run under way notices nothing. `Cancel` raises the epoch: from then on no worker of the run can
/// renew, report or commit (C3), which is all that stopping it safely takes.
pub(super) fn decide(view: &View, pipeline: &PipelineId, control: &Control) -> CatalogResult<Decision<Committed>> {
    let mut head = view.head(pipeline);
    let mut ended = None;
    let action = match control {
        Control::Pause if head.paused.is_some() => return Ok(Decision::nothing(Committed { head, run: None })),
        Control::Resume if head.paused.is_none() => return Ok(Decision::nothing(Committed { head, run: None })),
        Control::Pause => {
            head.paused = Some(view.now);
            "pause"
        }
        Control::Resume => {
            head.paused = None;
            "resume"
        }
        Control::Cancel { run } => {
            if let Some(record) = view.ended(pipeline, run).filter(|r| r.report.status == RunStatus::Cancelled) {
                return Ok(Decision::nothing(Committed { head, run: Some(record.clone()) }));
            }
            ended = Some(cancel(view, &mut head, run)?);
            "cancel"
        }
    };
    let audit = Audit {
        action: action.to_owned(),
        pipeline: Some(pipeline.clone()),
        at: Some(view.now),
        detail: json!({ "run": ended.as_ref().map(|r: &RunRecord| r.report.run.as_str()) }),
    };
    let mut records: Vec<(Key, Record)> = Vec::new();
    records.extend(ended.iter().map(|r| (Key::run(pipeline, &r.report.run), Record::Run(r.clone()))));
    records.push((next_audit(view, Some(pipeline)), Record::Audit(audit)));
    records.push((Key::head(pipeline), Record::Head(head.clone())));
    Ok(Decision::put(Committed { head, run: ended }, records))
}

fn cancel(view: &View, head: &mut Head, run: &RunId) -> CatalogResult<RunRecord> {
    let pipeline = head.pipeline.clone();
    let (Some(record), true) = (view.run(&pipeline, run), head.unfinished.as_ref() == Some(run)) else {
        return Err(CatalogError::Conflict(format!("run {run} is not under way")));
    };
    head.epoch += 1;
    head.lease = None;
    head.unfinished = None;
    head.last_run = Some(run.clone());
    let mut record = abandoned(record.clone(), head.epoch, view.now);
    record.report.status = RunStatus::Cancelled;
    if let Some(plan) = view.plan(&pipeline, run) {
        if plan.scheduled {
            head.last_tick = head.last_tick.max(Some(plan.tick));
        }
        record.report.tables = given_up(plan, Code::RunCancelled, "the run was cancelled");
    }
    Ok(record)
}
