//! `claim_step` and `report_step` (C6).

use hakiri_core::catalog::{CatalogError, CatalogResult, Claim, Head, Key, Record, StepReport};
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::step::{StepRecord, StepStatus};

use super::{Ask, Decision, View, fence};
use crate::stored::Stored;

pub(crate) fn ask(pipeline: &PipelineId, run: &RunId, step: u32) -> Ask {
    Ask::keys([Key::head(pipeline), Key::step(pipeline, run, step)])
}

/// Claims a step until now + `ttl_ms`.
///
/// A claim that has expired is taken over, also by a worker of the same name: it is another process then. That counts as
/// a death and as an attempt. A worker's own live claim is its own again.
pub(crate) fn claim(
    view: &View,
    pipeline: &PipelineId,
    run: &RunId,
    epoch: u64,
    step: u32,
    worker: &str,
    ttl_ms: i64,
) -> CatalogResult<Decision<Claim>> {
    let key = Key::step(pipeline, run, step);
    let head = view.head(pipeline);
    fence(&head, run, epoch)?;
    let (stored, _) = known(view, &key, run, step)?;
    if stored.status.is_final() {
        return Ok(Decision::nothing(Claim::Final(stored.clone())));
    }
    unfinished(&head, run)?;
    let mut record = stored.clone();
    let died = match &stored.status {
        StepStatus::Pending { not_before: Some(until) } if *until > view.now => {
            return Ok(Decision::nothing(Claim::Later { until: *until }));
        }
        StepStatus::Claimed { until, worker: other } if *until > view.now => {
            if other != worker {
                return Ok(Decision::nothing(Claim::Later { until: *until }));
            }
            false
        }
        StepStatus::Claimed { .. } => true,
        _ => false,
    };
    if died {
        record.deaths += 1;
        record.attempts += 1;
    }
    let ttl_ms = ttl_ms.max(0);
    record.status = StepStatus::Claimed { worker: worker.to_owned(), until: view.now.plus_millis(ttl_ms) };
    Ok(claimed(key, record.clone(), ttl_ms, Claim::Yours { record, died }))
}

/// Records what a worker did.
///
/// The claim must still be its own; expired is not lost. A final result stays what it is, whoever reports what. A
/// heartbeat extends the claim by the time it was claimed for, from now on: the worker's own idea of `until` is not
/// used, since its clock may be off. Counters never go back, but for the cuts of a step that got on, at the end of an attempt.
pub(crate) fn report(view: &View, report: &StepReport) -> CatalogResult<Decision<StepRecord>> {
    let StepReport { pipeline, run, epoch, worker, record } = report;
    let key = Key::step(pipeline, run, record.step);
    let head = view.head(pipeline);
    fence(&head, run, *epoch)?;
    let (stored, claim_ms) = known(view, &key, run, record.step)?;
    if stored.status.is_final() {
        return Ok(Decision::nothing(stored.clone()));
    }
    unfinished(&head, run)?;
    let lost = || CatalogError::Conflict(format!("the claim of step {} of {run} is not this worker's", record.step));
    match &stored.status {
        StepStatus::Claimed { worker: claimed_by, .. } if claimed_by == worker => {}
        _ => return Err(lost()),
    }
    let mut record = record.clone();
    record.attempts = record.attempts.max(stored.attempts);
    record.deaths = record.deaths.max(stored.deaths);
    if matches!(record.status, StepStatus::Claimed { .. }) {
        record.cuts = record.cuts.max(stored.cuts);
    }
    match &mut record.status {
        StepStatus::Claimed { worker: claimed_by, until } => {
            if claimed_by != worker {
                return Err(lost());
            }
            // A claim that came by an import has no length; it is kept as it is, and claiming again sets one.
            let ttl_ms = claim_ms.unwrap_or(0);
            let stored_until = match &stored.status {
                StepStatus::Claimed { until, .. } => *until,
                _ => view.now,
            };
            *until = view.now.plus_millis(ttl_ms).max(stored_until);
            Ok(claimed(key, record.clone(), ttl_ms, record))
        }
        _ => Ok(Decision::put(record.clone(), [(key, Record::Step(record))])),
    }
}

fn known<'a>(view: &'a View, key: &Key, run: &RunId, step: u32) -> CatalogResult<(&'a StepRecord, Option<i64>)> {
    view.step(key).ok_or_else(|| CatalogError::NotFound(format!("step {step} of {run}")))
}

fn unfinished(head: &Head, run: &RunId) -> CatalogResult<()> {
    if head.unfinished.as_ref() == Some(run) {
        Ok(())
    } else {
        Err(CatalogError::Conflict(format!("run {run} is not under way")))
    }
}

fn claimed<T>(key: Key, record: StepRecord, ttl_ms: i64, answer: T) -> Decision<T> {
    let stored = Stored { record: Record::Step(record), claim_ms: Some(ttl_ms) };
    Decision { answer, put: vec![(key, stored)], delete: Vec::new() }
}
