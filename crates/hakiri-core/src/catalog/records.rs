//! What the catalog remembers of pipelines, tables and runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;
use crate::error::Failure;
use crate::id::{PipelineId, RunId, TableName};
use crate::manifest::{FileRef, Merge};
use crate::schema::{Schema, SchemaVersion};
use crate::time::{Instant, Tick};

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
    /// Since when no new run starts by schedule (`pause`), by the catalog's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Instant>,
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
            paused: None,
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
    /// A person ended it before it could commit (`cancel`).
    Cancelled,
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
