//! Where things lie in the store (`03`). Every path is relative to `<root>/<project>/` and uses `/`.

use crate::hash::Hash;
use crate::id::{PipelineId, RunId, TableName};

/// The create-only marker at the root of a project's store.
pub const MARKER: &str = "_hakiri.json";
/// The folder with all tables.
pub const TABLES: &str = "tables";
/// The folder with the results of steps; what lies here is dead once the run is committed.
pub const STEPS: &str = "steps";

/// The folder of a table.
pub fn table(table: &TableName) -> String {
    format!("{TABLES}/{table}")
}

/// The folder of a run's files of a table.
pub fn run(table: &TableName, run: &RunId) -> String {
    format!("{TABLES}/{table}/runs/{run}")
}

/// The folder of a snapshot that covers a table up to a commit.
pub fn snapshot(table: &TableName, covers: u64, content: &Hash) -> String {
    format!("{TABLES}/{table}/snapshots/{covers:010}-{}", content.short())
}

/// A part in a folder. Steps number their parts apart, so that two steps of one run never share a name.
pub fn part(folder: &str, step: u32, part: u32, hash: &Hash) -> String {
    format!("{folder}/part-{step:05}-{part:05}-{}.parquet", hash.short())
}

/// A run's or snapshot's manifest in a folder.
pub fn manifest(folder: &str, hash: &Hash) -> String {
    format!("{folder}/manifest-{}.json", hash.short())
}

/// The result of a step.
pub fn step_result(run: &RunId, step: u32, hash: &Hash) -> String {
    format!("{STEPS}/{run}/step-{step:05}-{}.json", hash.short())
}

/// What attempts of a step that were cut short have read, file by file.
pub fn step_read(run: &RunId, step: u32, file: usize, hash: &Hash) -> String {
    format!("{STEPS}/{run}/step-{step:05}-read-{file:05}-{}.zst", hash.short())
}

/// A large opaque cursor.
pub fn cursor(table: &TableName, run: &RunId, hash: &Hash) -> String {
    format!("{TABLES}/{table}/runs/{run}/cursor-{}.json", hash.short())
}

/// The derived head of a pipeline.
pub fn head(pipeline: &PipelineId) -> String {
    format!("heads/{pipeline}.json")
}

/// The derived DuckDB view of a table.
pub fn view(table: &TableName) -> String {
    format!("views/{table}.sql")
}

/// The derived current schema of a table.
pub fn schema(table: &TableName) -> String {
    format!("{TABLES}/{table}/schema.json")
}

/// The derived history of a table's schemas, one version a line.
pub fn schema_history(table: &TableName) -> String {
    format!("{TABLES}/{table}/schema-history.jsonl")
}
