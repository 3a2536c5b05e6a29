//! `step`: claims a step, reads it, writes its parts, records its result.

use hakiri_core::catalog::{Claim, StepReport};
use hakiri_core::codes::Code;
use hakiri_core::error::Kind;
use hakiri_core::ops::{AfterStep, StepRequest};
use hakiri_core::plan::{Plan, PlannedStep};
use hakiri_core::retry::{after_cut, after_death, after_failure, stop_at};
use hakiri_core::source::Cancel;
use hakiri_core::step::{StepRecord, StepResult, StepStatus};
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result, layout};
use tracing::Instrument as _;

use super::{load_plan, load_run};
use crate::Engine;
use crate::intake::{Saved, cut_short, read_step};

/// The longest pause between two heartbeats, in milliseconds.
const MAX_BEAT_MS: i64 = 5_000;

impl Engine {
    /// Carries out one step of a run, or says why not now.
    ///
    /// # Errors
    /// Any catalog or store error; `HK0202` when a newer run took over; `HK0003` when interrupted. An error of the
    /// source or of the data is no error of the operation: it is recorded and answered with `wait` or `fail`.
    pub async fn step(&self, request: &StepRequest) -> Result<AfterStep> {
        let answer = self.step_inside(request).await;
        super::trace("step", &request.pipeline, Some(&request.run), Some(request.step), &answer);
        answer
    }

    async fn step_inside(&self, request: &StepRequest) -> Result<AfterStep> {
        let plan = load_plan(&*self.catalog, &request.pipeline, &request.run).await?;
        let step = plan.steps.get(request.step as usize).ok_or_else(|| {
            Error::new(Code::CatalogNotFound, format!("the plan of {} has no step {}", request.run, request.step))
        })?;
        let ttl = self.settings.lease_ttl_ms;
        self.catalog.renew(&plan.pipeline, &plan.run, request.epoch, ttl).await?;
        let claim = self
            .catalog
            .claim_step(&plan.pipeline, &plan.run, request.epoch, step.index, &self.settings.worker, ttl)
            .await?;
        let record = match claim {
            Claim::Final(record) => return Ok(answer(record)),
            Claim::Later { until } => return Ok(AfterStep::Wait { seconds: self.wait_until(until) }),
            Claim::Yours { record, died } => {
                if died {
                    self.events.step_died(&plan.pipeline, &step.name, record.deaths);
                }
                record
            }
        };
        if let Some(error) = after_death(&record) {
            let failed = StepRecord { status: StepStatus::Failed { failure: error.to_failure() }, ..record };
            return Ok(answer(self.report(&plan, request.epoch, failed).await?));
        }

        let span = tracing::info_span!("step", pipeline = %plan.pipeline, run = %plan.run, step = %step.name);
        let time = request.deadline.map(|deadline| Time::until(self.clock.now(), deadline));
        self.attempt(&plan, step, request.epoch, record, time).instrument(span).await
    }

    /// One attempt at a claimed step, which ends in time.
    async fn attempt(
        &self,
        plan: &Plan,
        step: &PlannedStep,
        epoch: u64,
        record: StepRecord,
        time: Option<Time>,
    ) -> Result<AfterStep> {
        self.events.step_started(&plan.pipeline, step.index, &step.name);
        let saved = Saved::of(record.progress.as_ref(), time.is_some());
        let mut outcome = self.read(plan, step, epoch, &record, time, &saved).await;
        if let Err(e) = &outcome
            && self.renewed(e).await
        {
            outcome = self.read(plan, step, epoch, &record, time, &saved).await;
        }
        self.events.step_ended(step.index);
        self.finish(plan, step, epoch, record, &saved, outcome).await
    }

    /// Reads a step while its claim is kept.
    async fn read(
        &self,
        plan: &Plan,
        step: &PlannedStep,
        epoch: u64,
        record: &StepRecord,
        time: Option<Time>,
        saved: &Saved,
    ) -> Result<StepResult> {
        let cancel = Cancel::default();
        let work = read_step(self, plan, step, cancel.clone(), saved);
        let guard = self.keep_alive(plan, epoch, record, &cancel, time, saved);
        tokio::pin!(work, guard);
        tokio::select! {
            result = &mut work => result,
            error = &mut guard => Err(error),
        }
    }

    /// Records what came of an attempt.
    async fn finish(
        &self,
        plan: &Plan,
        step: &PlannedStep,
        epoch: u64,
        record: StepRecord,
        saved: &Saved,
        outcome: Result<StepResult>,
    ) -> Result<AfterStep> {
        let got_on = saved.has_grown();
        let record = StepRecord { progress: saved.progress()?, ..record };
        match outcome {
            Ok(result) => {
                let bytes = hakiri_core::canonical::to_canonical_json(&result)?;
                let path = layout::step_result(&plan.run, step.index, &hakiri_core::hash::Hash::of(&bytes));
                let result = self.store.put_new(&path, bytes.into()).await?;
                let done = StepRecord { status: StepStatus::Done { result }, progress: None, ..record };
                Ok(answer(self.report(plan, epoch, done).await?))
            }
            // The catalog's own errors say nothing about the step.
            Err(e) if e.code() == Code::CatalogFenced => Err(e),
            Err(e) if e.code() == Code::StepCut => self.cut(plan, step, epoch, record, got_on, &e).await,
            Err(e) => {
                let deadline = self.deadline(plan).await?;
                let (record, wait) = after_failure(record, &e, self.clock.now(), deadline);
                let stored = self.report(plan, epoch, record).await?;
                if e.kind() == Kind::Interrupted {
                    return Err(e);
                }
                self.events.step_failed(&plan.pipeline, &step.name, &e, wait);
                match wait {
                    Some(seconds) if !stored.status.is_final() => {
                        // While it waits there may be no process of ours: the run stays its own until after it (E5).
                        let waits = i64::try_from(seconds).unwrap_or(i64::MAX / 2_000).saturating_mul(1_000);
                        let ttl = self.settings.lease_ttl_ms.saturating_add(waits);
                        self.catalog.renew(&plan.pipeline, &plan.run, epoch, ttl).await?;
                        self.events.note(&format!("{}: {e}; trying again in {seconds} s", step.name));
                        Ok(AfterStep::Wait { seconds })
                    }
                    _ => Ok(answer(stored)),
                }
            }
        }
    }

    /// Gives back the claim of a step that was stopped short of its worker's deadline.
    async fn cut(
        &self,
        plan: &Plan,
        step: &PlannedStep,
        epoch: u64,
        record: StepRecord,
        got_on: bool,
        stopped: &Error,
    ) -> Result<AfterStep> {
        let (record, error) = after_cut(record, got_on, self.clock.now(), self.deadline(plan).await?);
        let stored = self.report(plan, epoch, record).await?;
        if let Some(error) = error {
            self.events.step_failed(&plan.pipeline, &step.name, &error, None);
        } else {
            self.events.step_failed(&plan.pipeline, &step.name, stopped, Some(0));
            // Between this worker and the next there may be no process of ours: the run stays its own (E5).
            self.catalog.renew(&plan.pipeline, &plan.run, epoch, self.settings.lease_ttl_ms).await?;
        }
        Ok(answer(stored))
    }

    /// When a run has to be done.
    async fn deadline(&self, plan: &Plan) -> Result<Instant> {
        let run = load_run(&*self.catalog, &plan.pipeline, &plan.run).await?;
        Ok(run.map_or(plan.tick, |r| r.report.started).plus_millis(self.settings.deadline_ms))
    }

    async fn report(&self, plan: &Plan, epoch: u64, record: StepRecord) -> Result<StepRecord> {
        let (pipeline, run, worker) = (plan.pipeline.clone(), plan.run.clone(), self.settings.worker.clone());
        Ok(self.catalog.report_step(&StepReport { pipeline, run, epoch, worker, record }).await?)
    }

    /// Renews lease and claim while the work goes on, and ends with an error when it must stop: interrupted by the user,
    /// at the end of the worker's time, or fenced by a newer run (E2, E4, E5).
    async fn keep_alive(
        &self,
        plan: &Plan,
        epoch: u64,
        record: &StepRecord,
        cancel: &Cancel,
        time: Option<Time>,
        saved: &Saved,
    ) -> Error {
        let ttl = self.settings.lease_ttl_ms;
        // Often enough to hear of a `cancel` soon, and never so rarely that two lost beats cost the lease.
        let pace = (ttl / 3).min(MAX_BEAT_MS);
        let mut beat = self.clock.now().plus_millis(pace);
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            if self.cancel.is_cancelled() {
                cancel.cancel();
                return Error::new(Code::Interrupted, "interrupted");
            }
            if let Some(time) = &time {
                let now = self.clock.now();
                if now >= time.stop {
                    saved.stop();
                }
                if now >= time.end {
                    cancel.cancel();
                    return cut_short();
                }
            }
            if self.clock.now() < beat {
                continue;
            }
            beat = self.clock.now().plus_millis(pace);
            let claimed = StepRecord {
                status: StepStatus::Claimed {
                    worker: self.settings.worker.clone(),
                    until: self.clock.now().plus_millis(ttl),
                },
                // Also of an attempt that dies what it has saved is not read again.
                progress: saved.progress().ok().flatten(),
                ..record.clone()
            };
            let beaten = async {
                self.catalog.renew(&plan.pipeline, &plan.run, epoch, ttl).await?;
                self.report(plan, epoch, claimed).await
            };
            match beaten.await {
                // The claim went to another worker of the run while this one was away: what it still does is for nothing.
                Err(e) if e.code() == Code::CatalogConflict => {
                    cancel.cancel();
                    return Error::new(Code::CatalogFenced, format!("another worker has step {} by now", record.step));
                }
                Err(e) if e.kind() != Kind::Transient => {
                    cancel.cancel();
                    return e;
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn wait_until(&self, until: Instant) -> u64 {
        u64::try_from((until.millis() - self.clock.now().millis() + 999) / 1000).unwrap_or(0).clamp(1, 60)
    }
}

/// How long a worker has.
#[derive(Debug, Clone, Copy)]
struct Time {
    /// From when on it saves what it has read, and ends.
    stop: Instant,
    /// When it ends without that, to be able to say so.
    end: Instant,
}

impl Time {
    fn until(now: Instant, deadline: Instant) -> Self {
        let stop = stop_at(now, deadline);
        Self { stop, end: stop.plus_millis((deadline.millis() - stop.millis()) / 2) }
    }
}

/// The answer that a record stands for.
fn answer(record: StepRecord) -> AfterStep {
    match record.status {
        StepStatus::Done { .. } => AfterStep::Done,
        StepStatus::Failed { failure } => AfterStep::Fail { failure },
        StepStatus::Pending { .. } | StepStatus::Claimed { .. } => AfterStep::Again,
    }
}
