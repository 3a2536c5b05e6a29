//! What is going on in a project: one view model for `hakiri status`, `--json`, the status page and the metrics.
//!
//! Three layers, so that all of them say the same: [`gather`] reads the catalog in bounded pages (C10), [`decide`] judges
//! what was read and is pure, and whoever shows it only chooses words and colours. The page has no queries of its own:
//! what cannot be had from here cannot be had from `status --json` either.
//!
//! Nothing here is stored. A status is made anew whenever someone looks, from the catalog alone and never from what this
//! process happens to remember; so it is the same seen from a laptop, from another machine or after a restart.

pub mod decide;
pub mod gather;
pub mod run_view;
pub mod text;

use hakiri_core::catalog::{RunReport, RunStatus};
use hakiri_core::codes::{Code, Info};
use hakiri_core::error::Failure;
use hakiri_core::id::{PipelineId, RunId, TableName};
use hakiri_core::time::{Instant, Tick};
use serde::Serialize;

/// The version of the JSON that `status --json` prints and `/status.json` answers.
pub const FORMAT: u32 = 1;
/// Past runs of a pipeline that a status holds.
pub const RECENT_RUNS: usize = 20;

/// A project at one instant.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// See [`FORMAT`].
    pub format: u32,
    /// The project's name.
    pub project: String,
    /// Its version, as the manifest says.
    pub version: Option<String>,
    /// The environment, if one was chosen.
    pub env: Option<String>,
    /// The binary's version.
    pub hakiri: &'static str,
    /// When this was gathered.
    pub at: Instant,
    /// Where state lives, and whether it answered.
    pub catalog: CatalogStatus,
    /// The pipelines of the manifest in its order, then those that only the catalog knows.
    pub pipelines: Vec<PipelineStatus>,
}

/// The catalog, as far as a status needs it.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogStatus {
    /// `sqlite`, `memory` …; none when it did not answer.
    pub adapter: Option<&'static str>,
    /// Why it did not answer; then the pipelines' states are unknown.
    pub error: Option<Problem>,
}

/// What a pipeline is doing, or what is wrong with it: one word for a badge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its last run succeeded and nothing is overdue.
    Idle,
    /// A run is under way.
    Running,
    /// A run is under way and backs off, or was interrupted and is to be taken up.
    Waiting,
    /// Its last run committed nothing.
    Failed,
    /// Its last run committed some of its tables.
    Partial,
    /// A tick was due for longer than it should be, and nobody has run it.
    Late,
    /// Someone paused it.
    Paused,
    /// It has no run yet.
    NeverRan,
    /// The catalog did not answer.
    Unknown,
}

impl State {
    /// All states, in the order of a legend.
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::Running,
        Self::Waiting,
        Self::Failed,
        Self::Partial,
        Self::Late,
        Self::Paused,
        Self::NeverRan,
        Self::Unknown,
    ];

    /// The state in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Idle => "ok",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Partial => "partly failed",
            Self::Late => "late",
            Self::Paused => "paused",
            Self::NeverRan => "never ran",
            Self::Unknown => "unknown",
        }
    }

    /// The state as JSON and metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Late => "late",
            Self::Paused => "paused",
            Self::NeverRan => "never_ran",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a person should look.
    pub const fn needs_attention(self) -> bool {
        matches!(self, Self::Failed | Self::Partial | Self::Late | Self::Unknown)
    }
}

/// One pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineStatus {
    /// Its id.
    pub id: PipelineId,
    /// Its connector; none for one that the manifest no longer has.
    pub connector: Option<String>,
    /// Its schedule as written; none when it is run by hand.
    pub schedule: Option<String>,
    /// What it is doing.
    pub state: State,
    /// One line of why, where the word alone does not say it.
    pub why: Option<String>,
    /// Whether someone paused it; a run may still be under way.
    pub paused: bool,
    /// The last tick that was committed.
    pub last_tick: Option<Tick>,
    /// The next ticks, soonest first; none while it is paused or without a schedule.
    pub next_ticks: Vec<Tick>,
    /// Milliseconds since the oldest tick that is due and not committed; 0 when none is.
    pub overdue_ms: i64,
    /// The last commit.
    pub seq: u64,
    /// The last run that ended.
    pub last_run: Option<RunSummary>,
    /// The end of the last run that succeeded, among the recent ones.
    pub last_success: Option<Instant>,
    /// How many of the newest runs in a row did not fully succeed, among the recent ones.
    pub failures_in_a_row: usize,
    /// The run that has begun and not ended.
    pub unfinished: Option<Unfinished>,
    /// Its tables, by stored name.
    pub tables: Vec<TableStatus>,
    /// What went wrong last: of the last run, and of the steps of an unfinished one.
    pub problems: Vec<Problem>,
    /// The newest runs, newest first, at most [`RECENT_RUNS`].
    pub recent: Vec<RunSummary>,
}

/// A run in one line.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// Its pipeline.
    pub pipeline: PipelineId,
    /// Its id.
    pub run: RunId,
    /// Its tick.
    pub tick: Tick,
    /// How it ended.
    pub status: RunStatus,
    /// The commit's number, where it committed.
    pub seq: Option<u64>,
    /// When it began.
    pub started: Instant,
    /// When it ended.
    pub ended: Option<Instant>,
    /// How long it took, or has taken so far, in milliseconds.
    pub took_ms: i64,
    /// Rows written.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Tables of the run.
    pub tables: usize,
    /// Those that failed.
    pub failed_tables: usize,
    /// The code of the first table that failed.
    pub code: Option<String>,
}

impl RunSummary {
    /// Of a report, seen at an instant.
    pub fn of(report: &RunReport, now: Instant) -> Self {
        let failures = report.tables.iter().filter_map(|t| t.failure.as_ref());
        Self {
            pipeline: report.pipeline.clone(),
            run: report.run.clone(),
            tick: report.tick,
            status: report.status,
            seq: report.seq,
            started: report.started,
            ended: report.ended,
            took_ms: (report.ended.unwrap_or(now).millis() - report.started.millis()).max(0),
            rows: report.tables.iter().map(|t| t.rows).sum(),
            bytes: report.tables.iter().map(|t| t.bytes).sum(),
            tables: report.tables.len(),
            failed_tables: failures.clone().count(),
            code: failures.map(|f| f.code.clone()).next(),
        }
    }
}

/// A run that has begun and not ended.
#[derive(Debug, Clone, Serialize)]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// When it began, if its record says so.
    pub started: Option<Instant>,
    /// The epoch of its lease; none when nobody holds it.
    pub epoch: Option<u64>,
    /// When another may take it over.
    pub lease_until: Option<Instant>,
    /// Steps in its plan.
    pub steps: usize,
    /// Those that ended.
    pub steps_ended: usize,
    /// Until when all of what is left backs off.
    pub waits_until: Option<Instant>,
}

/// One table of a pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct TableStatus {
    /// The stored name.
    pub table: TableName,
    /// The source's name.
    pub source_table: String,
    /// The cursor, as `state show` prints it.
    pub cursor: Option<String>,
    /// The version of its schema.
    pub schema_version: Option<u64>,
    /// Columns in it.
    pub columns: usize,
    /// Rows that the last run wrote.
    pub rows_of_last_run: Option<u64>,
    /// The commit that wrote it last.
    pub seq: u64,
}

/// An error as people need it: what happened, what to do, and where more is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The stable code.
    pub code: String,
    /// The code's title.
    pub title: Option<&'static str>,
    /// The table or step it happened to.
    pub subject: Option<String>,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Where.
    pub place: Option<String>,
    /// The page about the code, in the repository.
    pub docs: String,
}

impl Problem {
    /// Of a failure.
    pub fn of(failure: &Failure, subject: Option<String>) -> Self {
        Self {
            code: failure.code.clone(),
            title: code_info(&failure.code).map(|info| info.title),
            subject,
            message: failure.message.clone(),
            hint: failure.hint.clone(),
            place: failure.place.clone(),
            docs: format!("docs/errors/{}.md", failure.code),
        }
    }
}

/// What the register knows of a code; nothing for one of another version.
pub fn code_info(id: &str) -> Option<Info> {
    Code::ALL.iter().map(|code| code.info()).find(|info| info.id == id)
}

impl Status {
    /// The pipelines a person should look at.
    pub fn needing_attention(&self) -> impl Iterator<Item = &PipelineStatus> {
        self.pipelines.iter().filter(|p| p.state.needs_attention())
    }
}
