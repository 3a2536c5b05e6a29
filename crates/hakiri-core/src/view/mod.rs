//! What a reader needs to know of a table at one commit: which parts there are, in which order they were committed, and
//! how they merge. The engine resolves it from a head and its manifests; the query engine, the DuckDB views, compaction
//! and `gc` all start from it.

pub mod duckdb;
mod duckdb_cast;

use crate::id::{PipelineId, TableName};
use crate::manifest::{FileRef, Merge, Part};
use crate::schema::SchemaVersion;

/// A table at one commit of its pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableView {
    /// The stored name.
    pub table: TableName,
    /// The pipeline that writes it.
    pub pipeline: PipelineId,
    /// The pipeline's commit that is seen.
    pub seq: u64,
    /// The current schema: what a query sees.
    pub schema: SchemaVersion,
    /// How layers make up the current rows.
    pub merge: Merge,
    /// The snapshot, if one counts, and the runs after it: oldest first.
    pub layers: Vec<Layer>,
}

/// The parts of one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The manifest they come from.
    pub manifest: FileRef,
    /// Its commit. Of two rows with one key and one cursor, the one of the higher commit is current. A snapshot's rows
    /// rank below those of every later run; its own number is the last commit it covers.
    pub seq: u64,
    /// Whether it is a snapshot: no `_hakiri_run` column, one row per key.
    pub snapshot: bool,
    /// The table's schema at that commit.
    pub schema: SchemaVersion,
    /// Its parts, in row order. In merge mode with a primary key, one manifest holds at most one row per key.
    pub parts: Vec<Part>,
}
