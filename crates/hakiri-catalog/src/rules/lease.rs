//! `acquire` and `renew` (C3).

use hakiri_core::catalog::{CatalogError, CatalogResult, Head, Key, Lease, Record};
use hakiri_core::id::{PipelineId, RunId};

use super::{Ask, Decision, View, fence};

pub(crate) fn ask(pipeline: &PipelineId, run: &RunId) -> Ask {
    Ask::keys([Key::head(pipeline), Key::run(pipeline, run)])
}

/// Takes the lease for a run.
///
/// The run that has it keeps its epoch, expired or not. Any other run gets a higher one as soon as the lease has expired
/// or was released. So does the same run after a release: it cannot be known who had the epoch in between. A run that
/// has ended gets no lease again: `Conflict`, and the caller computes anew what is due.
pub(crate) fn acquire(view: &View, pipeline: &PipelineId, run: &RunId, ttl_ms: i64) -> CatalogResult<Decision<Lease>> {
    let mut head = view.head(pipeline);
    if view.ended(pipeline, run).is_some() {
        return Err(CatalogError::Conflict(format!("run {run} has ended already")));
    }
    let until = view.now.plus_millis(ttl_ms.max(0));
    let lease = match &head.lease {
        Some(lease) if &lease.run == run => Lease { expires: lease.expires.max(until), ..lease.clone() },
        Some(lease) if lease.expires > view.now => {
            return Err(CatalogError::Held { run: lease.run.clone(), until: lease.expires });
        }
        _ => {
            head.epoch += 1;
            Lease { run: run.clone(), epoch: head.epoch, expires: until }
        }
    };
    Ok(with_lease(head, Some(&lease), lease.clone()))
}

/// Renews a lease to at least now + `ttl_ms`; a renewal never shortens one, since another worker of the run may have
/// announced a longer wait (E5). Zero or less releases it.
///
/// Renewing a lease that was released takes it up again while the run is unfinished. For a run that has ended, or that
/// released its lease before it had a plan, nothing changes and the answer is a lease that expires now: a late worker
/// of it finds out by its next `claim_step` or `commit`, which are idempotent (E1).
pub(crate) fn renew(
    view: &View,
    pipeline: &PipelineId,
    run: &RunId,
    epoch: u64,
    ttl_ms: i64,
) -> CatalogResult<Decision<Lease>> {
    let head = view.head(pipeline);
    fence(&head, run, epoch)?;
    let over = Lease { run: run.clone(), epoch, expires: view.now };
    let until = view.now.plus_millis(ttl_ms);
    match &head.lease {
        Some(_) if ttl_ms <= 0 => Ok(with_lease(head, None, over)),
        Some(lease) => {
            let lease = Lease { expires: lease.expires.max(until), ..lease.clone() };
            Ok(with_lease(head, Some(&lease), lease.clone()))
        }
        None if ttl_ms > 0 && head.unfinished.as_ref() == Some(run) => {
            let lease = Lease { expires: until, ..over };
            Ok(with_lease(head, Some(&lease), lease.clone()))
        }
        None => Ok(Decision::nothing(over)),
    }
}

fn with_lease(mut head: Head, lease: Option<&Lease>, answer: Lease) -> Decision<Lease> {
    head.lease = lease.cloned();
    Decision::put(answer, [(Key::head(&head.pipeline), Record::Head(head))])
}
