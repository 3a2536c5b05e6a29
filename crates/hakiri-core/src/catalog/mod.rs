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

mod commit;
mod key;
mod records;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::commit::{Commit, Committed, Control, SnapshotCommit, TableCommit};
pub use self::key::{Audit, Key, Kind, Record, Unnamed};
pub use self::records::{
    Head, Lease, RunRecord, RunReport, RunStatus, SnapshotHead, TableHead, TableReport, next_schema_version,
};
use crate::codes::Code;
use crate::error::Error;
use crate::id::{PipelineId, RunId};
use crate::plan::Plan;
use crate::step::StepRecord;
use crate::time::Instant;

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
        let error = Error::new(code, e.to_string());
        match e {
            // What the message says is not a matter of time.
            CatalogError::Unavailable { retry_after: 0, .. } => {
                error.with_hint("change what the message names: waiting alone does not help")
            }
            _ => error,
        }
    }
}

/// The result of a catalog method.
pub type CatalogResult<T> = std::result::Result<T, CatalogError>;

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
