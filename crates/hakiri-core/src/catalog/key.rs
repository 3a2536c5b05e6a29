//! What is kept under which key.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Head, RunRecord};
use crate::id::{PipelineId, RunId, TableName};
use crate::manifest::FileRef;
use crate::plan::Plan;
use crate::schema::SchemaVersion;
use crate::step::StepRecord;
use crate::time::Instant;

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
