//! `[notify]`: telling a webhook of failures, recoveries, new schemas and late runs.
//!
//! At least once: an event is derived from the catalog ([`events`]), sent until it is taken, and then remembered in the
//! catalog as delivered, so that neither a restart nor another server sends it again. Two servers that notice the same
//! thing in the same second may both send it; its id is the same. What is older than [`LOOK_BACK`] runs of a pipeline, or
//! was refused [`MAX_ATTEMPTS`] times, is given up, with an error in the log (P7).

pub mod events;
mod sign;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hakiri_connect::http::post::Poster;
use hakiri_core::catalog::{CatalogError, Key, Kind, PageRequest, Record, RunReport, RunStatus};
use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::schedule::parse_duration;
use hakiri_core::secret::Secrets;
use hakiri_core::spec::{NOTIFY_SECRET_DEFAULT, NotifyEvent, NotifySpec, Project};
use hakiri_core::time::{Clock, Instant};
use hakiri_core::{Error, Result};
use hakiri_engine::Engine;
use hakiri_engine::engine::SecretSource;
use serde_json::json;
use tokio::sync::mpsc;

use self::events::{Event, Subject, kind_name};
use crate::serve::live::Live;
use crate::status::decide::overdue;

/// How many of a pipeline's runs are looked at.
const LOOK_BACK: usize = 50;
/// Attempts of a delivery before it is given up.
const MAX_ATTEMPTS: u32 = 10;
/// Attempts of a process that ends by itself.
const HASTY_ATTEMPTS: u32 = 3;
/// The first pause between attempts, in milliseconds; it doubles.
const FIRST_PAUSE_MS: i64 = 2_000;
/// The longest pause between attempts, in milliseconds.
const MAX_PAUSE_MS: i64 = 600_000;
/// How often all pipelines are looked at.
const PACE: Duration = Duration::from_secs(5);
/// How long one delivery may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often an error that may pass must come before people hear of it.
const PATIENCE: u32 = 3;

/// Where deliveries that failed stand.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    times: u32,
    next: Instant,
}

/// Sends the events of one process's pipelines.
#[derive(Debug)]
pub struct Notifier {
    live: Arc<Live>,
    sender: Sender,
    attempts: BTreeMap<String, Attempt>,
    /// Pipelines that could not be planned, of which people were told, and for which tick.
    troubled: BTreeMap<PipelineId, Instant>,
    /// Events of those, which no catalog can give again, until they are delivered or given up.
    pending: Vec<(PipelineId, Event)>,
}

impl Notifier {
    /// For a serving process.
    pub fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            sender: Sender::default(),
            attempts: BTreeMap::new(),
            troubled: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    /// For a process that ends by itself, such as `hakiri run`: looks, and tries what was not taken a few times more. What
    /// is still left then is sent by whoever looks next.
    pub async fn at_once(engine: Engine, pipelines: &[PipelineId]) {
        Self::of_process(Arc::new(Live::new(engine)), pipelines).await;
    }

    /// As [`at_once`](Self::at_once), for a process that knows of runs which could not be planned.
    pub async fn of_process(live: Arc<Live>, pipelines: &[PipelineId]) {
        let mut notifier = Self::new(live);
        for _ in 0..HASTY_ATTEMPTS {
            notifier.look(pipelines).await;
            let clock = &notifier.live.engine().clock;
            let Some(next) = notifier.attempts.values().map(|a| a.next).min() else { return };
            let pause = u64::try_from(next.millis() - clock.now().millis()).unwrap_or(0);
            tokio::time::sleep(clock.sleep_for(pause)).await;
        }
    }

    /// Goes on until nobody has anything to tell any more.
    pub async fn run(mut self, mut heard: mpsc::UnboundedReceiver<PipelineId>) {
        let mut pace = tokio::time::interval(PACE);
        loop {
            let pipelines = tokio::select! {
                pipeline = heard.recv() => match pipeline {
                    Some(pipeline) => vec![pipeline],
                    None => return,
                },
                _ = pace.tick() => self.live.engine().project.pipelines.iter().map(|p| p.id.clone()).collect(),
            };
            self.look(&pipelines).await;
        }
    }

    /// Looks at some pipelines once, and sends what there is to tell.
    pub async fn look(&mut self, pipelines: &[PipelineId]) {
        let engine = self.live.engine();
        let Some(notify) = engine.project.notify.clone() else { return };
        for pipeline in pipelines {
            if let Err(e) = self.pipeline(&engine, &notify, pipeline).await {
                tracing::warn!(%pipeline, code = %e.code(), "cannot see what there is to tell: {e}");
            }
        }
    }

    async fn pipeline(&mut self, engine: &Engine, notify: &NotifySpec, pipeline: &PipelineId) -> Result<()> {
        let subject = Subject { project: &engine.project, pipeline };
        let now = engine.clock.now();
        let since = since(engine).await?;
        let mut events = Vec::new();
        let (reports, whole) = reports(engine, pipeline).await?;
        events.extend(subject.of_runs(&reports, whole));
        let head = engine.head(pipeline).await?;
        let schedule = engine.pipeline(pipeline)?.schedule()?;
        let allowed = notify.late_after.as_deref().map(parse_duration).transpose()?;
        let first = reports.iter().find(|r| r.status == RunStatus::Running).map(|r| r.tick);
        let overdue = overdue(schedule.as_ref(), head.last_tick, first, now, allowed);
        events.extend(subject.of_lateness(&head, overdue, now));
        self.heed_trouble(subject, overdue.since, now);
        events.extend(self.end_of_trouble(engine, subject, &reports).await?);
        events.extend(self.pending.iter().filter(|(of, _)| of == pipeline).map(|(_, event)| event.clone()));
        for event in events.into_iter().filter(|event| wants(notify, event.kind)) {
            // What happened before anybody was to be told is not told now.
            let at = event.body["timestamp"].as_str().and_then(|t| t.parse::<Instant>().ok());
            if at.is_some_and(|at| at >= since) {
                self.event(engine, notify, &event, now).await?;
            }
        }
        Ok(())
    }

    /// Runs that cannot even be planned are in no report. `due` is the tick that waits for its plan; a pipeline that never
    /// ran has none yet, and then this process alone knows of it.
    fn heed_trouble(&mut self, subject: Subject<'_>, due: Option<Instant>, now: Instant) {
        let pipeline = subject.pipeline;
        match (self.live.pipeline(pipeline).trouble, self.troubled.get(pipeline)) {
            (Some(trouble), None) => {
                let passing = trouble.failure.kind == hakiri_core::error::Kind::Transient;
                if !passing || trouble.times >= PATIENCE {
                    let tick = due.unwrap_or(trouble.since);
                    self.pending.push((pipeline.clone(), subject.of_trouble(&trouble.failure, tick, trouble.since)));
                    self.troubled.insert(pipeline.clone(), tick);
                }
            }
            (None, Some(tick)) => {
                self.pending.push((pipeline.clone(), subject.of_end_of_trouble(*tick, now)));
                self.troubled.remove(pipeline);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Whether the last run is that of a tick of which another process said that it could not be planned.
    async fn end_of_trouble(
        &self,
        engine: &Engine,
        subject: Subject<'_>,
        reports: &[RunReport],
    ) -> Result<Option<Event>> {
        let Some(last) = reports.iter().rev().find(|r| r.status != RunStatus::Running) else { return Ok(None) };
        let told = Key::setting(&format!("notified/{}", subject.id_of_trouble(last.tick)));
        let at = last.ended.unwrap_or(last.started);
        Ok(engine.catalog.get(&told).await?.map(|_| subject.of_end_of_trouble(last.tick, at)))
    }

    /// Sends an event unless it was delivered, or is to be tried again only later.
    async fn event(&mut self, engine: &Engine, notify: &NotifySpec, event: &Event, now: Instant) -> Result<()> {
        if self.attempts.get(&event.id).is_some_and(|a| now < a.next) {
            return Ok(());
        }
        let key = Key::setting(&format!("notified/{}", event.id));
        if engine.catalog.get(&key).await?.is_some() {
            self.done(event);
            return Ok(());
        }
        let secrets = engine.secrets.secrets(&engine.project.notify_secrets()).await?;
        let times = self.attempts.get(&event.id).map_or(0, |a| a.times) + 1;
        match self.sender.send(notify, event, &secrets, now).await {
            Ok(()) => tracing::info!(event = %event.id, kind = kind_name(event.kind), "told the webhook"),
            Err(e) if times < MAX_ATTEMPTS => {
                self.attempts.insert(event.id.clone(), Attempt { times, next: now.plus_millis(pause_after(times)) });
                tracing::warn!(event = %event.id, code = %e.code(), times, "the webhook was not reached: {e}");
                return Ok(());
            }
            Err(e) => tracing::error!(event = %event.id, code = %e.code(), "gave up telling the webhook: {e}"),
        }
        self.done(event);
        let mark = Record::Setting(json!({ "kind": kind_name(event.kind), "at": now, "attempts": times }));
        match engine.catalog.append(&mark, Some(&key)).await {
            // Another server was faster.
            Ok(()) | Err(CatalogError::Conflict(_)) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn done(&mut self, event: &Event) {
        self.attempts.remove(&event.id);
        self.pending.retain(|(_, e)| e.id != event.id);
    }
}

/// Tells of what no catalog knows, such as the platform's own alarms. Tried a few times; whoever reported it may report it
/// again, with the same id.
///
/// # Errors
/// Why it was not taken the last time.
pub async fn tell(project: &Project, secrets: &dyn SecretSource, clock: &dyn Clock, event: &Event) -> Result<()> {
    let Some(notify) = project.notify.as_ref().filter(|n| wants(n, event.kind)) else { return Ok(()) };
    let secrets = secrets.secrets(&project.notify_secrets()).await?;
    let (mut sender, mut times) = (Sender::default(), 1);
    loop {
        match sender.send(notify, event, &secrets, clock.now()).await {
            Ok(()) => {
                tracing::info!(event = %event.id, kind = kind_name(event.kind), "told the webhook");
                return Ok(());
            }
            Err(e) if times < HASTY_ATTEMPTS => {
                tracing::warn!(event = %event.id, code = %e.code(), times, "the webhook was not reached: {e}");
                tokio::time::sleep(clock.sleep_for(pause_after(times).unsigned_abs())).await;
                times += 1;
            }
            Err(e) => return Err(e),
        }
    }
}

/// Whether the webhook is told of such.
pub fn wants(notify: &NotifySpec, kind: NotifyEvent) -> bool {
    notify.events.as_ref().is_none_or(|kinds| kinds.contains(&kind))
}

/// The pause after so many attempts, in milliseconds.
fn pause_after(times: u32) -> i64 {
    (FIRST_PAUSE_MS << (times - 1).min(20)).min(MAX_PAUSE_MS)
}

/// Sends events; keeps its client.
#[derive(Debug, Default)]
struct Sender {
    poster: Option<(bool, Poster)>,
}

impl Sender {
    async fn send(&mut self, notify: &NotifySpec, event: &Event, secrets: &Secrets, now: Instant) -> Result<()> {
        let url = secrets.resolve_text(&notify.webhook)?;
        let key = match &notify.secret {
            Some(key) => Some(secrets.resolve_text(key)?),
            None => secrets.resolve_text(NOTIFY_SECRET_DEFAULT).ok(),
        };
        let poster = match self.poster.take() {
            Some((private, poster)) if private == notify.allow_private => poster,
            _ => Poster::new(notify.allow_private, TIMEOUT)?,
        };
        let body = event.body.to_string();
        let headers = sign::headers(key.as_deref(), &event.id, now.millis().div_euclid(1000), &body);
        let sent = poster.post(&url, &headers, body, secrets).await;
        self.poster = Some((notify.allow_private, poster));
        match sent.map_err(|e| secrets.redact_error(&e))? {
            200..300 => Ok(()),
            status => Err(Error::new(Code::HttpStatus, format!("the webhook answered with status {status}"))),
        }
    }
}

/// From now on people are told, if there is anybody to tell: what a process does before its first run, so that a failure
/// of that one is not taken for one of before.
///
/// # Errors
/// Any catalog error.
pub async fn start(engine: &Engine) -> Result<()> {
    match &engine.project.notify {
        Some(_) => since(engine).await.map(drop),
        None => Ok(()),
    }
}

/// Since when people are told: the first time that the project had `[notify]`.
async fn since(engine: &Engine) -> Result<Instant> {
    let key = Key::setting("notify/since");
    let read = |record: Option<Record>| match record {
        Some(Record::Setting(value)) => value.as_str().and_then(|t| t.parse::<Instant>().ok()),
        _ => None,
    };
    if let Some(since) = read(engine.catalog.get(&key).await?) {
        return Ok(since);
    }
    let now = engine.clock.now();
    match engine.catalog.append(&Record::Setting(json!(now)), Some(&key)).await {
        Ok(()) => Ok(now),
        Err(CatalogError::Conflict(_)) => Ok(read(engine.catalog.get(&key).await?).unwrap_or(now)),
        Err(e) => Err(e.into()),
    }
}

/// A pipeline's last runs, oldest first, and whether these are all.
async fn reports(engine: &Engine, pipeline: &PipelineId) -> Result<(Vec<RunReport>, bool)> {
    let prefix = vec![pipeline.to_string()];
    let page = PageRequest { kind: Kind::Run, prefix, after: None, limit: LOOK_BACK, newest_first: true };
    let listed = engine.catalog.list(&page).await?;
    let mut reports: Vec<RunReport> = listed
        .entries
        .into_iter()
        .filter_map(|(_, record)| match record {
            Record::Run(record) => Some(record.report),
            _ => None,
        })
        .collect();
    reports.reverse();
    Ok((reports, !listed.more))
}
