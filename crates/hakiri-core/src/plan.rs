//! The plan of a run: an immutable list of steps, made once by `begin`, kept by the catalog, obeyed by every worker.
//!
//! A plan embeds everything a worker needs besides secrets, so that a redeploy in the middle of a run cannot mix two
//! manifests (E7), and a table's window is the same for every attempt (P1).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cursor::{Cursor, CursorKind};
use crate::id::{PipelineId, ProjectName, RunId, TableName};
use crate::manifest::{FileRef, Merge};
use crate::schema::{Schema, SchemaVersion};
use crate::spec::{SchemaPolicy, SourceSpec};
use crate::time::Tick;
use crate::window::Window;

/// The version of the plan's format that this binary writes, and the highest it carries out.
pub const FORMAT: u32 = 1;

/// The immutable plan of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// See [`FORMAT`].
    pub format: u32,
    /// The version of the binary that made it, for reports.
    pub made_by: String,
    /// The project.
    pub project: ProjectName,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The run.
    pub run: RunId,
    /// The tick it stands for.
    pub tick: Tick,
    /// The generation of the pipeline when it was made.
    pub generation: u64,
    /// The pipeline's last commit when it was made; the commit expects the head to be there still (C4).
    pub base_seq: u64,
    /// Whether the run reads everything anew (`--full`).
    pub full: bool,
    /// Whether the run is one of the schedule's, so that later ticks are due from it on.
    pub scheduled: bool,
    /// The source, secrets as `${NAME}`.
    pub source: SourceSpec,
    /// The names of the secrets the source may use.
    pub secrets: Vec<String>,
    /// How many steps may run at once.
    pub concurrency: u32,
    /// The steps.
    pub steps: Vec<PlannedStep>,
}

/// One step: the unit of claim and retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Its place in the plan.
    pub index: u32,
    /// What people see.
    pub name: String,
    /// What the connector needs to read it: its own, opaque to everything else. No secrets.
    pub source: Value,
    /// The tables the step writes. The connector yields rows for those with [`Origin::Source`]; the rest come out of
    /// them.
    pub tables: Vec<PlannedTable>,
}

/// One table of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTable {
    /// The stored name.
    pub table: TableName,
    /// The source's name.
    pub source_table: String,
    /// Where its rows come from.
    pub origin: Origin,
    /// Mode, key, cursor column and parent.
    pub merge: Merge,
    /// The kind of the cursor, where there is one.
    pub cursor_kind: Option<CursorKind>,
    /// What is read.
    pub window: Window,
    /// The committed cursor when the plan was made.
    pub cursor_before: Option<Cursor>,
    /// The last manifest of the table when the plan was made, if the run adds to it.
    pub previous: Option<FileRef>,
    /// The committed schema when the plan was made.
    pub schema: Option<SchemaVersion>,
    /// Types that the source or the manifest declares; they win over what is inferred (S12).
    #[serde(default)]
    pub declared: Schema,
    /// What may happen to the schema.
    pub policy: SchemaPolicy,
    /// What to do with rows that cannot be used.
    pub on_bad_row: crate::spec::OnBadRow,
    /// The SQL that each row passes.
    pub transform: Option<String>,
}

/// Where a table's rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// The connector yields them, as the `index`-th stream of the step.
    Source {
        /// The index by which [`crate::source::Message::Rows`] names it.
        index: u32,
    },
    /// They are the objects in an array of a parent's records (S13).
    ChildOf {
        /// The place of the parent in the step's tables.
        parent: u32,
        /// The field that holds the array, as a path with dots.
        field: String,
    },
}
