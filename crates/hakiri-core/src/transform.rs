//! The port for SQL transforms inside a pipeline. `hakiri-query` implements it; the engine calls it.

use std::fmt;

use arrow_array::{BooleanArray, RecordBatch};

use crate::error::Result;
use crate::schema::Schema;

/// Compiles transforms.
pub trait Transforms: Send + Sync + fmt::Debug {
    /// Checks that a transform is a row-by-row `SELECT` over `input` (projections, filters, immutable functions), as
    /// far as that can be told without knowing the columns. Used by `check` and `plan`.
    ///
    /// # Errors
    /// `HK0801` for a syntax error, `HK0805` for anything that is not row by row.
    fn check(&self, sql: &str) -> Result<()>;

    /// Compiles a transform for rows of a schema.
    ///
    /// # Errors
    /// As [`check`](Self::check), and `HK0802` for columns that do not exist.
    fn compile(&self, sql: &str, input: &Schema) -> Result<Box<dyn Transform>>;
}

/// A compiled transform. A pure function of each row: how rows are cut into batches cannot be seen in the output.
pub trait Transform: Send + Sync + fmt::Debug {
    /// The columns that come out.
    fn output(&self) -> &Schema;

    /// Applies it.
    ///
    /// # Errors
    /// `HK0806` when a value cannot be computed.
    fn apply(&self, input: &RecordBatch) -> Result<Transformed>;
}

/// What became of a batch.
#[derive(Debug, Clone)]
pub struct Transformed {
    /// The rows that came out, in the order of those that went in.
    pub batch: RecordBatch,
    /// For each row that went in, whether it came out. No nulls.
    pub kept: BooleanArray,
}
