//! Commits: conditional, atomic changes of a pipeline's head.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Head, Key, RunRecord, RunReport, SnapshotHead, TableHead};
use crate::id::{PipelineId, RunId, TableName};
use crate::manifest::FileRef;

#[cfg(doc)]
use super::Kind;

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
    /// Acts on a pipeline from outside of its runs: `pause`, `resume`, `cancel`. Needs no lease, and is audited.
    Control {
        /// The pipeline.
        pipeline: PipelineId,
        /// What to do.
        control: Control,
    },
    /// Forgets files that `gc` deleted.
    Forget {
        /// The pipeline.
        pipeline: PipelineId,
        /// The keys, from [`Kind::Unnamed`] listings.
        keys: Vec<Key>,
    },
}

/// What a person may do to a pipeline while others work on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum Control {
    /// No new run starts until [`Control::Resume`]; the one under way goes on. Repeating it changes nothing.
    Pause,
    /// Runs start again. Repeating it changes nothing.
    Resume,
    /// Ends the unfinished run without committing anything of it. Raises the epoch, so that its workers are fenced;
    /// cursors stay, and a scheduled run's tick is done. `Conflict` unless it is the unfinished one; for a run that was
    /// cancelled before, its record is the answer.
    Cancel {
        /// The run.
        run: RunId,
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
