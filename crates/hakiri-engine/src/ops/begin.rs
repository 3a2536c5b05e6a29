//! `begin`: what is due, the lease, the plan.

use std::collections::{BTreeMap, BTreeSet};

use hakiri_core::catalog::{CatalogError, Head, Kind, Lease, PageRequest, Record, RunStatus};
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::ops::{AfterBegin, BeginRequest, Manual};
use hakiri_core::plan::Plan;
use hakiri_core::retry::stop_at;
use hakiri_core::spec::PipelineSpec;
use hakiri_core::time::{Instant, Tick};
use hakiri_core::{Error, Result};
use tracing::Instrument as _;

use super::{load_plan, load_run};
use crate::Engine;

/// How far a tick or cursor may be ahead of our clock: clocks differ a little.
pub(super) const CLOCK_SLACK_MS: i64 = 1_000;

/// A run that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) run: RunId,
    pub(super) tick: Tick,
    pub(super) generation: u64,
    pub(super) full: bool,
    pub(super) scheduled: bool,
}

impl Engine {
    /// Finds what is due for a pipeline: adopts its unfinished run, or plans the oldest due tick.
    ///
    /// # Errors
    /// Any catalog, store or source error; the lease is released then. `HK0002` for a tick in the future: what changes
    /// between now and then would belong to no run's window. `HK0913` when the plan is not made before the deadline.
    pub async fn begin(&self, request: &BeginRequest) -> Result<AfterBegin> {
        let span = tracing::info_span!("begin", pipeline = %request.pipeline);
        let answer = self.begin_inside(request).instrument(span).await;
        super::trace("begin", &request.pipeline, None, None, &answer);
        if let Ok(AfterBegin::Wait { seconds }) = &answer {
            self.events.held(&request.pipeline, *seconds);
        }
        answer
    }

    async fn begin_inside(&self, request: &BeginRequest) -> Result<AfterBegin> {
        let spec = self.pipeline(&request.pipeline)?;
        self.refuse_future(request)?;
        match self.apply_moves_into(&request.pipeline).await {
            Ok(_) => {}
            // A run under the old name is under way: its rows come along once it has ended.
            Err(e) if e.code() == Code::CatalogHeld => return Ok(AfterBegin::Wait { seconds: 5 }),
            Err(e) => return Err(e),
        }
        let head = self.head(&request.pipeline).await?;
        let unfinished = match &head.unfinished {
            Some(run) => Some(load_plan(&*self.catalog, &request.pipeline, run).await?),
            None => None,
        };
        // What is read anew needs none of the files before it: a damaged store must not stand in the way of its repair.
        let asked = request.manual.as_ref().is_some_and(|m| m.full);
        let full = unfinished.as_ref().map_or(asked, |plan| plan.full);
        match self.publish_despite(&head, &|_, table| full || table.anew).await {
            Err(e) if asked && matches!(e.code(), Code::StoreMissing | Code::StoreDamaged) => {
                // What the unfinished run would add to is gone.
                self.set_state(&head, BTreeMap::new(), Vec::new(), "given up for a full run".to_owned()).await?;
                return Ok(AfterBegin::Wait { seconds: 0 });
            }
            published => published?,
        }

        if let Some(plan) = unfinished {
            if let Some(seconds) = self.live_elsewhere(&head) {
                return Ok(AfterBegin::Wait { seconds });
            }
            return self.resume(&plan).await;
        }
        self.release_dead(&head).await?;
        if head.paused.is_some() {
            return match &request.manual {
                None => nothing(spec, request),
                Some(_) => {
                    Err(Error::new(Code::PipelinePaused, format!("the pipeline `{}` is paused", request.pipeline))
                        .with_hint(format!("run `hakiri resume {}`", request.pipeline)))
                }
            };
        }
        // A lease belongs to a run, so that a second server would get the one of the same run, and plan it once more.
        if let Some(seconds) = self.live_elsewhere(&head) {
            return Ok(AfterBegin::Wait { seconds });
        }
        let Some(due) = self.due(spec, &head, request).await? else { return nothing(spec, request) };
        // A secret without a value is said before anything is started, not by each table in turn.
        match self.refuse_missing(spec).await {
            Err(e) if self.renewed(&e).await => self.refuse_missing(spec).await?,
            other => other?,
        }
        let lease = match self.catalog.acquire(&request.pipeline, &due.run, self.settings.lease_ttl_ms).await {
            Ok(lease) => lease,
            Err(CatalogError::Held { until, .. }) => {
                return Ok(AfterBegin::Wait { seconds: self.seconds_until(until) });
            }
            // The run ended between our look and now: look again.
            Err(CatalogError::Conflict(_)) => return Ok(AfterBegin::Wait { seconds: 1 }),
            Err(e) => return Err(e.into()),
        };
        let planned = async {
            // Read again under the lease: another run may have ended since, or somebody paused the pipeline. A pause from
            // here on meets a run that is being planned, which goes on.
            let head = self.head(&request.pipeline).await?;
            if head.paused.is_some() {
                return Ok(None);
            }
            let plan = match self.plan(spec, &head, &due).await {
                Err(e) if self.renewed(&e).await => self.plan(spec, &head, &due).await?,
                plan => plan?,
            };
            Ok(Some(self.catalog.put_plan(&plan, lease.epoch).await?))
        };
        // A plan can take longer than a lease lasts: finding where the chunks of a huge table begin, say.
        let beat = async {
            loop {
                let pause = u64::try_from(self.settings.lease_ttl_ms / 3).unwrap_or(0).max(100);
                tokio::time::sleep(self.clock.sleep_for(pause)).await;
                // An error here shows again when the plan is stored.
                let _ = self.catalog.renew(&request.pipeline, &due.run, lease.epoch, self.settings.lease_ttl_ms).await;
            }
        };
        let stop = request.deadline.map(|deadline| stop_at(self.clock.now(), deadline));
        let planned = tokio::select! {
            planned = planned => planned,
            never = beat => never,
            () = self.until(stop) => Err(Error::new(Code::PlanCut, "stopped before the end of the worker's time")),
        };
        if let Ok(Some(plan)) = planned {
            return self.resume(&plan).await;
        }
        // Best effort: an unreleased lease only costs its time to live.
        let _ = self.catalog.renew(&request.pipeline, &due.run, lease.epoch, 0).await;
        planned.map(|_| AfterBegin::Wait { seconds: 1 })
    }

    /// Ends at an instant, or never.
    async fn until(&self, stop: Option<Instant>) {
        while stop.is_none_or(|stop| self.clock.now() < stop) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Goes on with a planned run.
    async fn resume(&self, plan: &Plan) -> Result<AfterBegin> {
        let lease = match self.catalog.acquire(&plan.pipeline, &plan.run, self.settings.lease_ttl_ms).await {
            Ok(lease) => lease,
            Err(CatalogError::Held { until, .. }) => {
                return Ok(AfterBegin::Wait { seconds: self.seconds_until(until) });
            }
            Err(e) => return Err(e.into()),
        };
        let open = self.open_steps(plan).await?;
        let (run, epoch) = (plan.run.clone(), lease.epoch);
        self.events.run_taken_up(&plan.pipeline, &run, open.len());
        Ok(if open.is_empty() {
            AfterBegin::Commit { run, epoch }
        } else {
            AfterBegin::Steps { run, epoch, steps: open, concurrency: plan.concurrency }
        })
    }

    /// Whether all secrets of a source have a value.
    async fn refuse_missing(&self, spec: &PipelineSpec) -> Result<()> {
        self.secrets.secrets(&spec.secrets).await?.resolve(&spec.source.config).map(drop)
    }

    /// The steps of a plan that have not ended.
    async fn open_steps(&self, plan: &Plan) -> Result<Vec<u32>> {
        let mut ended = BTreeSet::new();
        let prefix = vec![plan.pipeline.to_string(), plan.run.to_string()];
        let mut page = PageRequest { kind: Kind::Step, prefix, after: None, limit: 1_000, newest_first: false };
        loop {
            let listed = self.catalog.list(&page).await?;
            ended.extend(listed.entries.iter().filter_map(|(_, record)| match record {
                Record::Step(step) if step.status.is_final() => Some(step.step),
                _ => None,
            }));
            page.after = listed.entries.last().map(|(key, _)| key.clone());
            if !listed.more {
                return Ok(plan.steps.iter().map(|s| s.index).filter(|index| !ended.contains(index)).collect());
            }
        }
    }

    /// A run by hand cannot stand for an instant that is still to come.
    fn refuse_future(&self, request: &BeginRequest) -> Result<()> {
        let Some(Manual { tick, .. }) = &request.manual else { return Ok(()) };
        let (tick, now) = (tick.unwrap_or(request.wake), self.clock.now());
        if tick <= now.plus_millis(CLOCK_SLACK_MS) {
            return Ok(());
        }
        Err(Error::new(Code::Arguments, format!("the tick {tick} is in the future (it is {now})"))
            .with_hint("use the present or a past instant; check the clock if this is one"))
    }

    /// Releases the lease of a run whose process is gone. Only a sole worker knows that: it holds the lock that the
    /// run's process would hold. The run itself is not lost by it, if it has a plan.
    ///
    /// # Errors
    /// Any catalog error.
    pub(crate) async fn release_dead(&self, head: &Head) -> Result<()> {
        let live = |lease: &&Lease| self.settings.sole_worker && lease.expires > self.clock.now();
        let Some(lease) = head.lease.as_ref().filter(live) else { return Ok(()) };
        let lease = self.catalog.acquire(&head.pipeline, &lease.run, 0).await?;
        self.catalog.renew(&head.pipeline, &lease.run, lease.epoch, 0).await?;
        Ok(())
    }

    /// How long to wait for a live run that is not ours to take over.
    fn live_elsewhere(&self, head: &Head) -> Option<u64> {
        let lease = head.lease.as_ref()?;
        (!self.settings.sole_worker && lease.expires > self.clock.now()).then(|| self.seconds_until(lease.expires))
    }

    fn seconds_until(&self, until: Instant) -> u64 {
        u64::try_from((until.millis() - self.clock.now().millis()) / 1000).unwrap_or(0).clamp(1, 60)
    }

    /// The oldest tick that is due, unless its run has ended already.
    async fn due(&self, spec: &PipelineSpec, head: &Head, request: &BeginRequest) -> Result<Option<Due>> {
        let run_of = |tick, generation| RunId::new(&self.project.name, &spec.id, tick, generation);
        match &request.manual {
            Some(Manual { tick, full }) => {
                let tick = tick.unwrap_or(request.wake);
                // A run that ended is not made again, whether it raised the generation or not.
                if self.has_ended(&spec.id, &run_of(tick, head.generation)).await? {
                    return Ok(None);
                }
                let generation = head.generation + u64::from(*full);
                Ok(Some(Due { run: run_of(tick, generation), tick, generation, full: *full, scheduled: false }))
            }
            None => {
                let Some(schedule) = spec.schedule()? else { return Ok(None) };
                let generation = head.generation;
                for tick in schedule.due(head.last_tick, request.wake, spec.catch_up) {
                    // A run by hand may have stood for this very tick.
                    if !self.has_ended(&spec.id, &run_of(tick, generation)).await? {
                        return Ok(Some(Due {
                            run: run_of(tick, generation),
                            tick,
                            generation,
                            full: false,
                            scheduled: true,
                        }));
                    }
                }
                Ok(None)
            }
        }
    }

    async fn has_ended(&self, pipeline: &PipelineId, run: &RunId) -> Result<bool> {
        Ok(load_run(&*self.catalog, pipeline, run).await?.is_some_and(|r| r.report.status != RunStatus::Running))
    }
}

/// Nothing is due; when that changes by itself.
fn nothing(spec: &PipelineSpec, request: &BeginRequest) -> Result<AfterBegin> {
    Ok(AfterBegin::Nothing { due: spec.schedule()?.and_then(|s| s.next_after(request.wake)) })
}
