//! The in-process trigger: wakes pipelines, and obeys what `begin` says.
//!
//! One loop owns all pipelines. It wakes those whose time has come, at most so many at once, sleeps until the next is
//! due, and looks from time to time for runs whose worker died elsewhere. It never decides what is due, counts no ticks
//! and keeps no state that a restart would miss: all of that is in the catalog (P2), so that several servers with the
//! same loop need not know of each other (D4).
//!
//! Why not a timer per pipeline: a reload, a bound on what runs at once, and an orderly end would each have to reach all
//! of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hakiri_core::catalog::{Kind, PageRequest, Record};
use hakiri_core::codes::Code;
use hakiri_core::error::Kind as ErrorKind;
use hakiri_core::id::PipelineId;
use hakiri_core::ops::BeginRequest;
use hakiri_core::schedule::Schedule;
use hakiri_core::spec::Project;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use hakiri_engine::Engine;
use hakiri_engine::orchestrate::{Driven, drive_unless_held};
use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinError, JoinSet};

use super::live::{Live, Trouble};
use super::wake::{self, Outcome};
use crate::lock::PipelineLock;
use crate::logging;

/// The longest sleep, so that a clock that is set does not leave anything asleep for long.
const MAX_SLEEP_MS: i64 = 30_000;
/// How far the clock of a server may be from its catalog's, in milliseconds.
const MAX_SKEW_MS: i64 = 30_000;
/// How long another process of this machine may have a pipeline's lock before it is looked at again, in seconds.
const LOCKED_SECONDS: u64 = 1;

/// One pipeline as the loop sees it.
#[derive(Debug)]
struct Job {
    schedule: Option<Schedule>,
    wakes: Option<Instant>,
    running: bool,
    failures: u32,
    /// It was to be woken while it ran.
    again: bool,
}

/// What came of waking a pipeline.
struct Ended {
    woke: Instant,
    result: Result<Driven>,
}

/// The loop.
#[derive(Debug)]
pub struct Scheduler {
    live: Arc<Live>,
    state_dir: PathBuf,
    slots: usize,
    jobs: BTreeMap<PipelineId, Job>,
    /// Which pipeline a task is of.
    tasks: HashMap<Id, PipelineId>,
    /// Those whose time has come and who wait for a slot, oldest first: nobody is passed over.
    queue: VecDeque<PipelineId>,
    swept: Instant,
    clock_wrong: bool,
}

impl Scheduler {
    /// For the pipelines of the manifest in force, `slots` at once.
    pub fn new(live: Arc<Live>, state_dir: &Path, slots: usize) -> Self {
        let swept = Instant::from_millis(0);
        let mut scheduler = Self {
            live,
            state_dir: state_dir.to_owned(),
            slots: slots.max(1),
            jobs: BTreeMap::new(),
            tasks: HashMap::new(),
            queue: VecDeque::new(),
            swept,
            clock_wrong: false,
        };
        scheduler.adopt();
        scheduler
    }

    /// Goes on until the process is to end, then waits for what was started. `reloaded` is told of a new manifest;
    /// `committed` hears of every pipeline that was worked on.
    pub async fn run(mut self, reloaded: Arc<Notify>, committed: mpsc::UnboundedSender<PipelineId>) {
        let mut running: JoinSet<Ended> = JoinSet::new();
        let engine = self.live.engine();
        while !engine.drain.is_cancelled() {
            self.sweep(&engine).await;
            self.start(&mut running);
            let pause = self.pause(engine.clock.now());
            tokio::select! {
                Some(ended) = running.join_next_with_id() => self.ended(ended, &committed),
                () = tokio::time::sleep(engine.clock.sleep_for(pause)) => {}
                () = until_raised(&engine) => {}
                () = reloaded.notified() => self.adopt(),
            }
        }
        while let Some(ended) = running.join_next_with_id().await {
            self.ended(ended, &committed);
        }
    }

    /// Takes up the pipelines of the manifest in force. All are woken at once: what is due is asked, not remembered.
    fn adopt(&mut self) {
        let engine = self.live.engine();
        let project: &Project = &engine.project;
        let now = engine.clock.now();
        let known = |id: &PipelineId| project.pipelines.iter().any(|p| &p.id == id);
        // One that runs is kept until it ends, so that it is not started a second time when it comes back.
        self.jobs.retain(|id, job| known(id) || job.running);
        self.queue.retain(known);
        self.live.keep_only(known);
        for spec in &project.pipelines {
            // The manifest was found right when it was loaded: a schedule that cannot be read is not there.
            let schedule = spec.schedule().ok().flatten();
            let job = self.jobs.entry(spec.id.clone()).or_insert(Job {
                schedule: None,
                wakes: None,
                running: false,
                failures: 0,
                again: false,
            });
            job.schedule = schedule;
            job.wakes = Some(now);
            job.again = job.running;
        }
    }

    /// Starts what is due, as far as there are slots.
    fn start(&mut self, running: &mut JoinSet<Ended>) {
        if self.clock_wrong {
            return;
        }
        let engine = self.live.engine();
        let now = engine.clock.now();
        for (id, job) in &mut self.jobs {
            if !job.running && job.wakes.is_some_and(|w| w <= now) && !self.queue.contains(id) {
                self.queue.push_back(id.clone());
            }
        }
        while running.len() < self.slots {
            let Some(id) = self.queue.pop_front() else { return };
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            (job.running, job.wakes) = (true, None);
            self.live.note(&id, |p| (p.working, p.wakes) = (Some(now), None));
            let (engine, state_dir) = (engine.clone(), self.state_dir.clone());
            let pipeline = id.clone();
            let task = running.spawn(async move {
                // Taken anew: it may have waited for its slot.
                let woke = engine.clock.now();
                let result = work(&engine, &state_dir, &pipeline, woke).await;
                Ended { woke, result }
            });
            self.tasks.insert(task.id(), id);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>, committed: &mpsc::UnboundedSender<PipelineId>) {
        let engine = self.live.engine();
        let now = engine.clock.now();
        let task = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(pipeline) = self.tasks.remove(&task) else { return };
        // A panic is a defect, and told as one; the others go on.
        let Ended { woke, result } = ended.map(|(_, ended)| ended).unwrap_or_else(|_| Ended {
            woke: now,
            result: Err(Error::new(Code::Internal, "its task ended by a panic").with_kind(ErrorKind::Transient)),
        });
        let outcome = self.heed(&engine, &pipeline, now, result);
        let _ = committed.send(pipeline.clone());
        let Some(job) = self.jobs.get_mut(&pipeline) else { return };
        job.running = false;
        job.failures = if let Outcome::Failed { times, .. } = outcome { times } else { 0 };
        job.wakes = wake::next(job.schedule.as_ref(), woke, now, outcome);
        if std::mem::take(&mut job.again) {
            job.wakes = Some(now);
        }
        let wakes = job.wakes;
        if self.live.engine().project.pipelines.iter().any(|p| p.id == pipeline) {
            self.live.note(&pipeline, |p| (p.working, p.wakes) = (None, wakes));
        } else {
            self.jobs.remove(&pipeline);
        }
    }

    /// Reads a result: into what the page shows, and into an outcome.
    fn heed(&self, engine: &Engine, pipeline: &PipelineId, now: Instant, result: Result<Driven>) -> Outcome {
        match result {
            Ok(Driven { held, .. }) => {
                self.live.note(pipeline, |p| p.trouble = None);
                match held {
                    Some(seconds) => Outcome::Held { seconds },
                    None => Outcome::Done,
                }
            }
            // Another process of this machine is at it; nothing is wrong.
            Err(e) if e.code() == Code::CatalogHeld => Outcome::Held { seconds: LOCKED_SECONDS },
            // Another server took the run over, or it was cancelled: look again at once.
            Err(e) if matches!(e.code(), Code::CatalogFenced | Code::RunCancelled) => Outcome::Held { seconds: 0 },
            Err(e) if e.code() == Code::Interrupted && engine.cancel.is_cancelled() => Outcome::Done,
            Err(e) => {
                let times = self.jobs.get(pipeline).map_or(0, |job| job.failures) + 1;
                logging::events::failed(pipeline, &e);
                self.live.note(pipeline, |p| {
                    let since = p.trouble.as_ref().map_or(now, |t| t.since);
                    p.trouble = Some(Trouble { failure: e.to_failure(), since, times });
                });
                Outcome::Failed { kind: e.kind(), times }
            }
        }
    }

    /// Looks for unfinished runs that nobody works on, a few times in the life of a lease: a worker on another server
    /// may have died, long before the next tick.
    async fn sweep(&mut self, engine: &Engine) {
        let now = engine.clock.now();
        let pace = (engine.settings.lease_ttl_ms / 3).clamp(500, 20_000);
        if now < self.swept.plus_millis(pace) {
            return;
        }
        self.swept = now;
        match unfinished(engine).await {
            Ok((skew, found)) => {
                self.heed_clock(engine, skew);
                for (pipeline, expires) in found {
                    // One that failed here backs off or waits for its tick.
                    let idle = |job: &&mut Job| !job.running && job.failures == 0;
                    let Some(job) = self.jobs.get_mut(&pipeline).filter(idle) else { continue };
                    job.wakes = wake::earlier(job.wakes, Some(expires.unwrap_or(now)));
                }
            }
            Err(e) => tracing::warn!(code = %e.code(), "cannot look for unfinished runs: {e}"),
        }
    }

    /// Ticks and windows go by this machine's clock. Where servers share a catalog, one whose clock is ahead would read
    /// windows before their rows are written, so it starts nothing until the clocks agree.
    fn heed_clock(&mut self, engine: &Engine, skew: i64) {
        let wrong = !engine.settings.sole_worker && skew.abs() > MAX_SKEW_MS;
        if wrong && !self.clock_wrong {
            let error = Error::new(Code::CatalogClock, format!("this machine's clock differs by {} ms", -skew));
            tracing::error!(code = %error.code(), "{error}; nothing is started until it is right");
        }
        self.clock_wrong = wrong;
        self.live.note_clock(wrong.then(|| {
            Error::new(Code::CatalogClock, format!("this machine's clock differs by {} s", -skew / 1000)).to_failure()
        }));
    }

    /// How long to sleep, in milliseconds of our clock.
    fn pause(&self, now: Instant) -> u64 {
        let pace = (self.live.engine().settings.lease_ttl_ms / 3).clamp(500, MAX_SLEEP_MS);
        let next = self.jobs.values().filter(|job| !job.running).filter_map(|job| job.wakes).min();
        // Those that are due and wait for a slot are woken by whoever ends.
        let millis =
            next.filter(|_| self.queue.is_empty()).map_or(pace, |n| (n.millis() - now.millis()).clamp(0, pace));
        u64::try_from(millis).unwrap_or(0)
    }
}

/// Wakes one pipeline: as far as another run lets it, to the end of what is due.
async fn work(engine: &Engine, state_dir: &Path, pipeline: &PipelineId, woke: Instant) -> Result<Driven> {
    // Where processes of other machines work too, the lease alone decides (ADR 0011).
    let _lock = engine.settings.sole_worker.then(|| PipelineLock::take(state_dir, pipeline)).transpose()?;
    drive_unless_held(engine, &BeginRequest { pipeline: pipeline.clone(), wake: woke, manual: None, deadline: None })
        .await
}

/// The catalog's clock minus ours; and pipelines with an unfinished run, and when its lease expires by our clock; none
/// where it was given back.
async fn unfinished(engine: &Engine) -> Result<(i64, Vec<(PipelineId, Option<Instant>)>)> {
    let skew = engine.catalog.info().await?.now.millis() - engine.clock.now().millis();
    let mut found = Vec::new();
    let mut page = PageRequest { kind: Kind::Head, prefix: Vec::new(), after: None, limit: 500, newest_first: false };
    loop {
        let listed = engine.catalog.list(&page).await.map_err(Error::from)?;
        found.extend(listed.entries.iter().filter_map(|(_, record)| match record {
            Record::Head(head) if head.unfinished.is_some() => {
                Some((head.pipeline.clone(), head.lease.as_ref().map(|l| wake::at_expiry(l.expires, skew))))
            }
            _ => None,
        }));
        page.after = listed.entries.last().map(|(key, _)| key.clone());
        if !listed.more {
            return Ok((skew, found));
        }
    }
}

/// Until the process is to end.
async fn until_raised(engine: &Engine) {
    while !engine.drain.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
