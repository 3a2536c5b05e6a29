//! The catalog port (`04`): where heads, plans, step records, runs and leases live.
//!
//! Contract, cited as C1–C10 in code, tests and errors:
//!
//! - **C1** linearizable per pipeline; **C2** schema history is dense and monotonic.
//! - **C3** leases are fenced: the holder is a *run*; the same run gets the same epoch again, another run a higher one
//!   and only after expiry. Expiry is liveness, judged by the backend's clock; safety is the epoch alone: an expired
//!   lease still renews and commits while its epoch is the newest.
//! - **C4** a commit is atomic and conditional: `Fenced` on a stale epoch, `Conflict` on another head.
//! - **C5** a commit is idempotent by the run's own record, for ever.
//! - **C6** a plan is first-wins; a step is claimed by one live worker; its result is first-wins; a finished step is
//!   never claimed again.
//! - **C7** durable after acknowledgement; **C8** an unknown outcome is its own error; **C9** export and import lose
//!   nothing; **C10** no method's cost grows with past runs or with parts.
//!
//! The port is narrow on purpose: its width decides how many adapters we can afford.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codes::Code;
use crate::cursor::Cursor;
use crate::error::{Error, Failure};
use crate::id::{PipelineId, RunId, TableName};
use crate::manifest::{FileRef, Merge};
use crate::plan::Plan;
use crate::schema::{Schema, SchemaVersion};
use crate::step::StepRecord;
use crate::time::{Instant, Tick};

/// What a catalog answers when it cannot do as asked. Each says what the caller must do.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CatalogError {
    /// The state is not the expected one: read again and decide anew.
    #[error("{0}")]
    Conflict(String),
    /// The epoch is not the newest: stop, nothing more of this worker counts.
    #[error("epoch {epoch} is stale, {newest} is the newest")]
    Fenced {
        /// The caller's.
        epoch: u64,
        /// The catalog's.
        newest: u64,
    },
    /// Another run holds the lease until then: wait.
    #[error("run {run} holds the lease until {until}")]
    Held {
        /// Which.
        run: RunId,
        /// Until when, by the catalog's clock.
        until: Instant,
    },
    /// No such record.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Out of reach: try again after this many seconds.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// Seconds to wait.
        retry_after: u64,
    },
    /// The write may or may not have happened: read again, never retry blindly.
    #[error("the outcome is not known: {0}")]
    OutcomeUnknown(String),
    /// What is stored cannot be read.
    #[error("{0}")]
    Corrupt(String),
    /// What is stored was written by a newer version.
    #[error("format {found} is newer than {known}")]
    Newer {
        /// The stored version.
        found: u64,
        /// The highest this binary knows.
        known: u64,
    },
}

impl From<CatalogError> for Error {
    fn from(e: CatalogError) -> Self {
        let code = match &e {
            CatalogError::Conflict(_) => Code::CatalogConflict,
            CatalogError::Fenced { .. } => Code::CatalogFenced,
            CatalogError::Held { .. } => Code::CatalogHeld,
            CatalogError::NotFound(_) => Code::CatalogNotFound,
            CatalogError::Unavailable { .. } => Code::CatalogUnavailable,
            CatalogError::OutcomeUnknown(_) => Code::CatalogUnknown,
            CatalogError::Corrupt(_) => Code::CatalogCorrupt,
            CatalogError::Newer { .. } => Code::CatalogNewer,
        };
        Error::new(code, e.to_string())
    }
}

/// The result of a catalog method.
pub type CatalogResult<T> = std::result::Result<T, CatalogError>;

/// A lease as its holder sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The run that holds it.
    pub run: RunId,
    /// Grows with every change of holder; every write of the run carries it.
    pub epoch: u64,
    /// When another run may take it, by the catalog's clock.
    pub expires: Instant,
}

/// The state of a pipeline: everything `begin` needs, in one bounded record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The number of its last commit; 0 before the first.
    pub seq: u64,
    /// Raised by rewind, reset and `--full`.
    pub generation: u64,
    /// The highest epoch given out.
    pub epoch: u64,
    /// The lease, if one was not released.
    pub lease: Option<Lease>,
    /// The run with a plan and without a commit: to be finished before another starts.
    pub unfinished: Option<RunId>,
    /// The tick of the last committed scheduled run, or of the newest run where none was scheduled.
    pub last_tick: Option<Tick>,
    /// The last committed run.
    pub last_run: Option<RunId>,
    /// Its tables, by stored name.
    pub tables: BTreeMap<TableName, TableHead>,
}

impl Head {
    /// The head of a pipeline that never ran.
    pub fn new(pipeline: PipelineId) -> Self {
        Self {
            pipeline,
            seq: 0,
            generation: 0,
            epoch: 0,
            lease: None,
            unfinished: None,
            last_tick: None,
            last_run: None,
            tables: BTreeMap::new(),
        }
    }
}

/// The committed state of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHead {
    /// The source's name.
    pub source_table: String,
    /// The cursor: what the next window starts from.
    pub cursor: Option<Cursor>,
    /// The newest manifest; older ones hang on it by their `previous`. None after a reset.
    pub manifest: Option<FileRef>,
    /// The commit that wrote it.
    pub manifest_seq: u64,
    /// The snapshot and the last commit it covers.
    pub snapshot: Option<SnapshotHead>,
    /// The current schema.
    pub schema: Option<SchemaVersion>,
    /// How runs merge.
    pub merge: Merge,
    /// Whether the table's next run must read everything and start anew (after `state reset`).
    #[serde(default)]
    pub anew: bool,
}

/// A committed snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// The last commit it covers.
    pub covers: u64,
    /// Its manifest.
    pub manifest: FileRef,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Not yet.
    Running,
    /// All tables were committed.
    Succeeded,
    /// Some were (E3).
    Partial,
    /// None was.
    Failed,
}

/// What a run did, for people and for `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The run.
    pub run: RunId,
    /// Its tick.
    pub tick: Tick,
    /// The commit's number; none where nothing was committed.
    pub seq: Option<u64>,
    /// How it ended.
    pub status: RunStatus,
    /// When `begin` first planned it.
    pub started: Instant,
    /// When it was committed.
    pub ended: Option<Instant>,
    /// Per table, in the plan's order.
    pub tables: Vec<TableReport>,
}

/// What a run did to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// The table.
    pub table: TableName,
    /// Records read.
    pub read: u64,
    /// Rows written.
    pub rows: u64,
    /// Records skipped as the manifest allows.
    pub rejected: u64,
    /// The first few of them.
    #[serde(default)]
    pub samples: Vec<String>,
    /// Parts written.
    pub parts: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The schema's version after the run, where it changed.
    pub schema_changed: Option<u64>,
    /// The cursor after the run.
    pub cursor: Option<Cursor>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// What the catalog remembers of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The report; while the run is under way, what is known so far.
    pub report: RunReport,
    /// The epoch that committed it.
    pub epoch: u64,
}

/// What a commit makes visible of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCommit {
    /// The table.
    pub table: TableName,
    /// Its new head. Its `manifest_seq` is the commit's.
    pub head: TableHead,
    /// Files that the old head named and the new one does not: the manifest at the end of the chain left behind.
    pub unnamed: Option<FileRef>,
}

/// A snapshot of one table that takes the place of another, or of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotCommit {
    /// The table.
    pub table: TableName,
    /// The snapshot before it.
    pub previous: Option<SnapshotHead>,
    /// The new one.
    pub snapshot: SnapshotHead,
}

/// A conditional, atomic change of a pipeline's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "commit", rename_all = "snake_case")]
pub enum Commit {
    /// Ends a run: with its tables, or with none when all failed. Needs the lease's epoch; releases the lease.
    Run {
        /// The pipeline.
        pipeline: PipelineId,
        /// The run.
        run: RunId,
        /// Its epoch.
        epoch: u64,
        /// The head's seq that the run was planned on.
        expected_seq: u64,
        /// The tables that succeeded.
        tables: Vec<TableCommit>,
        /// The report, without seq and end: the catalog fills those in.
        report: RunReport,
        /// Whether the run counts as one of the schedule, so that later ticks are due from it on.
        scheduled: bool,
        /// Whether the run starts a new generation (`--full`).
        new_generation: bool,
    },
    /// Names snapshots that cover one commit: of one table, or of a parent and its children, which count only together.
    /// Without the lease; `Conflict` unless generation and snapshots are the expected ones.
    Snapshot {
        /// The pipeline.
        pipeline: PipelineId,
        /// The generation they were made in.
        generation: u64,
        /// The tables, each once.
        tables: Vec<SnapshotCommit>,
    },
    /// Sets state by hand: `state rewind`, `state reset`, `drop`, `moved`. `Held` while a lease is live. Raises
    /// generation and epoch, so that an unfinished run is abandoned.
    State {
        /// The pipeline.
        pipeline: PipelineId,
        /// The head's seq the caller saw.
        expected_seq: u64,
        /// The tables' new heads; none drops the table.
        tables: BTreeMap<TableName, Option<TableHead>>,
        /// Files that are no longer named.
        unnamed: Vec<FileRef>,
        /// For the audit.
        reason: String,
    },
    /// Forgets files that `gc` deleted.
    Forget {
        /// The pipeline.
        pipeline: PipelineId,
        /// The keys, from [`Kind::Unnamed`] listings.
        keys: Vec<Key>,
    },
}

/// What a commit answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The head after it.
    pub head: Head,
    /// For a run: its record, the first commit's for ever (C5).
    pub run: Option<RunRecord>,
}

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Head`], one per pipeline.
    Head,
    /// [`Plan`], one per unfinished or past run.
    Plan,
    /// [`StepRecord`].
    Step,
    /// [`RunRecord`], newest last.
    Run,
    /// [`SchemaVersion`].
    Schema,
    /// [`Unnamed`].
    Unnamed,
    /// [`Audit`].
    Audit,
    /// Anything small a caller keeps, such as the store's marker.
    Setting,
}

/// Files that stopped being named, and since when (S11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unnamed {
    /// The newest manifest of the chain that was left behind.
    pub manifest: FileRef,
    /// The chain ends before the manifest of this commit: it and those before it had stopped being named earlier, by the
    /// snapshot that covered them. 0 for a whole chain.
    #[serde(default)]
    pub above: u64,
    /// When, by the catalog's clock.
    pub since: Instant,
}

/// An audit or lineage entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// What happened.
    pub action: String,
    /// The pipeline it concerns, if one.
    pub pipeline: Option<PipelineId>,
    /// When, by the catalog's clock; the catalog sets it.
    pub at: Option<Instant>,
    /// Details; no secrets, no values of records.
    pub detail: Value,
}

/// Names one record. Parts are ordered as text; numbers in them are zero-padded by the constructors.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// Pipeline, then whatever tells records of the kind apart.
    pub parts: Vec<String>,
}

impl Key {
    /// A pipeline's head.
    pub fn head(pipeline: &PipelineId) -> Self {
        Self { kind: Kind::Head, parts: vec![pipeline.to_string()] }
    }

    /// A run's plan.
    pub fn plan(pipeline: &PipelineId, run: &RunId) -> Self {
        Self { kind: Kind::Plan, parts: vec![pipeline.to_string(), run.to_string()] }
    }

    /// A step's record.
    pub fn step(pipeline: &PipelineId, run: &RunId, step: u32) -> Self {
        Self { kind: Kind::Step, parts: vec![pipeline.to_string(), run.to_string(), format!("{step:010}")] }
    }

    /// A run's record.
    pub fn run(pipeline: &PipelineId, run: &RunId) -> Self {
        Self { kind: Kind::Run, parts: vec![pipeline.to_string(), run.to_string()] }
    }

    /// A version of a table's schema.
    pub fn schema(pipeline: &PipelineId, table: &TableName, version: u64) -> Self {
        Self { kind: Kind::Schema, parts: vec![pipeline.to_string(), table.to_string(), format!("{version:010}")] }
    }

    /// Files that stopped being named at a commit.
    pub fn unnamed(pipeline: &PipelineId, seq: u64, table: &str) -> Self {
        Self { kind: Kind::Unnamed, parts: vec![pipeline.to_string(), format!("{seq:010}"), table.to_owned()] }
    }

    /// A setting.
    pub fn setting(name: &str) -> Self {
        Self { kind: Kind::Setting, parts: vec![name.to_owned()] }
    }
}

/// A record, typed by its key's kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "record", rename_all = "snake_case")]
pub enum Record {
    /// See [`Kind::Head`].
    Head(Head),
    /// See [`Kind::Plan`].
    Plan(Plan),
    /// See [`Kind::Step`].
    Step(StepRecord),
    /// See [`Kind::Run`].
    Run(RunRecord),
    /// See [`Kind::Schema`].
    Schema(SchemaVersion),
    /// See [`Kind::Unnamed`].
    Unnamed(Unnamed),
    /// See [`Kind::Audit`].
    Audit(Audit),
    /// See [`Kind::Setting`].
    Setting(Value),
}

/// Asks for a page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// What to list.
    pub kind: Kind,
    /// The first parts of the keys: a pipeline, or a pipeline and a run.
    pub prefix: Vec<String>,
    /// Start behind this key (or before it when `newest_first`).
    pub after: Option<Key>,
    /// At most this many; adapters may return fewer, never more than 1,000.
    pub limit: usize,
    /// From the end.
    pub newest_first: bool,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Keys and records in order.
    pub entries: Vec<(Key, Record)>,
    /// Whether there is more behind the last one.
    pub more: bool,
}

/// A page of an export: raw records with their keys, in key order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPage {
    /// Keys and records.
    pub entries: Vec<(Key, Record)>,
    /// Where the next page starts; none after the last.
    pub next: Option<Key>,
}

/// What a worker says about its step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The run.
    pub run: RunId,
    /// Its epoch.
    pub epoch: u64,
    /// The worker that claimed it.
    pub worker: String,
    /// The new record: its status is `Claimed` (progress, heartbeat), `Pending` (give up the claim), `Done`, `Failed`.
    pub record: StepRecord,
}

/// What a claim answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Yours until the time in the record's status. `died` says that an expired claim was taken over.
    Yours {
        /// The record.
        record: StepRecord,
        /// Whether another worker's claim had expired.
        died: bool,
    },
    /// Not now: another worker has it, or it backs off.
    Later {
        /// Not before.
        until: Instant,
    },
    /// It is finished.
    Final(StepRecord),
}

/// What an adapter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// `memory`, `sqlite` …
    pub adapter: &'static str,
    /// The format version of what is stored.
    pub version: u64,
    /// The catalog's identity, which the store's marker names.
    pub id: String,
    /// The backend's clock.
    pub now: Instant,
}

/// The port. Twelve methods; sugar belongs in an extension trait.
#[async_trait]
pub trait Catalog: Send + Sync + fmt::Debug {
    /// Takes the lease of a pipeline for a run, or confirms it (C3).
    async fn acquire(&self, pipeline: &PipelineId, run: &RunId, ttl_ms: i64) -> CatalogResult<Lease>;

    /// Renews a lease to now + `ttl_ms`; zero releases it. `Fenced` when the epoch is not the newest.
    async fn renew(&self, pipeline: &PipelineId, run: &RunId, epoch: u64, ttl_ms: i64) -> CatalogResult<Lease>;

    /// Stores a run's plan, with a pending record for each step and a run record, and marks the run as unfinished.
    /// First wins: the stored plan is returned (C6).
    async fn put_plan(&self, plan: &Plan, epoch: u64) -> CatalogResult<Plan>;

    /// Claims a step for a worker (C6).
    async fn claim_step(
        &self,
        pipeline: &PipelineId,
        run: &RunId,
        epoch: u64,
        step: u32,
        worker: &str,
        ttl_ms: i64,
    ) -> CatalogResult<Claim>;

    /// Records what a worker did. First final result wins: the stored record is returned (C6). `Conflict` when the
    /// claim is another worker's by now.
    async fn report_step(&self, report: &StepReport) -> CatalogResult<StepRecord>;

    /// Commits (C4, C5).
    async fn commit(&self, commit: &Commit) -> CatalogResult<Committed>;

    /// Reads one record.
    async fn get(&self, key: &Key) -> CatalogResult<Option<Record>>;

    /// Reads a page of records of one kind.
    async fn list(&self, page: &PageRequest) -> CatalogResult<Page>;

    /// Adds an audit entry, or creates a setting (`Conflict` when it exists with another value).
    async fn append(&self, record: &Record, key: Option<&Key>) -> CatalogResult<()>;

    /// Reads a page of everything (C9).
    async fn export(&self, after: Option<&Key>) -> CatalogResult<ExportPage>;

    /// Writes a page of another catalog's export. Repeating a page is harmless; `Conflict` when a record differs.
    async fn import(&self, page: &ExportPage) -> CatalogResult<()>;

    /// Version, identity and clock; creates or migrates what is stored.
    async fn info(&self) -> CatalogResult<Info>;
}

/// The next version of a table's schema given the current one: the same if nothing changed (C2).
///
/// # Errors
/// See [`Schema::fingerprint`].
pub fn next_schema_version(current: Option<&SchemaVersion>, schema: Schema) -> crate::Result<SchemaVersion> {
    let fingerprint = schema.fingerprint()?;
    Ok(match current {
        Some(current) if current.fingerprint == fingerprint => current.clone(),
        current => SchemaVersion { version: current.map_or(0, |c| c.version) + 1, fingerprint, schema },
    })
}
