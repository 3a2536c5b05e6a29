//! Step records: what the catalog remembers of a step, and what a step's result is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cursor::Cursor;
use crate::error::Failure;
use crate::id::{RunId, TableName};
use crate::manifest::{FileRef, Part};
use crate::schema::Schema;
use crate::time::Instant;

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum StepStatus {
    /// Nobody works on it.
    Pending {
        /// Not to be claimed before this instant (back-off).
        not_before: Option<Instant>,
    },
    /// A worker has it until `until`; after that the claim can be taken again (C6).
    Claimed {
        /// Which worker: any text unique to it.
        worker: String,
        /// When the claim expires.
        until: Instant,
    },
    /// Finished. Never claimed again; the first result wins.
    Done {
        /// The [`StepResult`] in the store.
        result: FileRef,
    },
    /// Failed for good.
    Failed {
        /// Why.
        failure: Failure,
    },
}

impl StepStatus {
    /// Whether the step will never be claimed again.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. })
    }
}

/// What the catalog remembers of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its place in the plan.
    pub step: u32,
    /// Where it stands.
    #[serde(flatten)]
    pub status: StepStatus,
    /// Attempts that failed in a way that may pass, deaths included.
    pub attempts: u32,
    /// Claims that expired: their workers died.
    pub deaths: u32,
    /// Attempts that the end of their worker's time cut short.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cuts: u32,
    /// What a later attempt goes on from: references to files in the store, since the catalog keeps no content (C10).
    #[serde(default)]
    pub progress: Option<Value>,
    /// The last error, for people.
    #[serde(default)]
    pub last_error: Option<Failure>,
}

impl StepRecord {
    /// The record of a step nobody has claimed yet.
    pub fn new(step: u32) -> Self {
        Self {
            step,
            status: StepStatus::Pending { not_before: None },
            attempts: 0,
            deaths: 0,
            cuts: 0,
            progress: None,
            last_error: None,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What a step produced: a file in the store, since the catalog keeps references, not content (C10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// Format version: 1.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: u32,
    /// One entry per table of the step, in the plan's order.
    pub tables: Vec<TableResult>,
}

/// What a step produced for one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableResult {
    /// The table.
    pub table: TableName,
    /// The schema of the parts: the join of the plan's and the records'.
    pub schema: Schema,
    /// The parts, in the order of their rows.
    pub parts: Vec<Part>,
    /// Rows in the parts.
    pub rows: u64,
    /// Records read from the source, before the window, the key and the transform left some out.
    pub read: u64,
    /// Records that could not be used and were skipped, as the manifest allows.
    pub rejected: u64,
    /// The first few of them: place and reason, never values.
    #[serde(default)]
    pub samples: Vec<String>,
    /// The cursor after the step.
    pub cursor_after: Option<Cursor>,
}
