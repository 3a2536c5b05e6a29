//! The manifest of a run or a snapshot (S5): the JSON in the store that names the parts of one table.
//!
//! It is canonical JSON ([`crate::canonical`]) and holds nothing that differs between two places that got the same
//! answers: no wall-clock time, host, replica, epoch or attempt. Those live in the catalog.

use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;
use crate::hash::Hash;
use crate::id::{PipelineId, ProjectName, RunId, TableName};
use crate::schema::SchemaVersion;
use crate::spec::Mode;
use crate::time::Tick;
use crate::window::Window;

/// The version of the manifest's format that this binary writes, and the highest it reads.
pub const FORMAT: u32 = 1;

/// A file of the store and the hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileRef {
    /// Relative to the project's root in the store.
    pub path: String,
    /// SHA-256 of the bytes.
    pub sha256: Hash,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Relative to the project's root in the store.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: Hash,
    /// The fingerprint of the schema the part was written with (the table's may be wider by now).
    pub schema: Hash,
}

/// Cursor before and after.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CursorRange {
    /// Before the run.
    pub before: Option<Cursor>,
    /// After it.
    pub after: Option<Cursor>,
}

/// How the rows of a table's runs make up its current rows. Fixed in the manifest, so that a reader needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// What a run does to the rows before it.
    pub mode: Mode,
    /// The columns whose values name a row; empty for a keyless table.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// The column whose highest value is the current version of a row, if any.
    #[serde(default)]
    pub cursor: Option<String>,
    /// For a child table (S13): the parent, whose current version decides which children are current.
    #[serde(default)]
    pub parent: Option<ParentLink>,
}

/// How a child table hangs on its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentLink {
    /// The stored name of the parent.
    pub table: TableName,
    /// The child's columns that hold the parent's primary key, in the order of the parent's key.
    pub columns: Vec<String>,
}

/// What a manifest describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Subject {
    /// A run's rows.
    Run {
        /// The run.
        run: RunId,
        /// Its tick.
        tick: Tick,
        /// What was read.
        window: Window,
        /// The cursor before and after.
        cursor: CursorRange,
    },
    /// A table's current rows up to a commit (S10).
    Snapshot {
        /// The last commit whose rows are in it.
        covers: u64,
    },
}

/// The manifest of a run or snapshot of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableManifest {
    /// See [`FORMAT`].
    pub format: u32,
    /// The project.
    pub project: ProjectName,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The table.
    pub table: TableName,
    /// A run's rows, or a snapshot's.
    #[serde(flatten)]
    pub subject: Subject,
    /// The commit's number: one dense counter per pipeline.
    pub seq: u64,
    /// Raised by rewind, reset and `--full`.
    pub generation: u64,
    /// How runs merge.
    pub merge: Merge,
    /// The table's schema at this commit.
    pub schema: SchemaVersion,
    /// Rows in all parts.
    pub rows: u64,
    /// The parts, in the order of their rows.
    pub parts: Vec<Part>,
    /// The table's manifest before this one that is still part of its current rows; none where this one starts anew
    /// (the first run, a full load that replaces, a new generation, a snapshot).
    pub previous: Option<FileRef>,
}
