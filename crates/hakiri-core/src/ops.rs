//! The execution contract (`05`): three operations, and what an orchestrator does with their answers.
//!
//! An orchestrator (in process, a Cloudflare Workflow, AWS Step Functions) loops `begin` → `step`s → `commit` →
//! `begin` … until `nothing`, and obeys `next`. It holds no logic, counts nothing and decides nothing. The types here
//! are the wire format of `POST /v1/{begin,step,commit}` as well; payloads are references and small records only.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::RunReport;
use crate::error::Failure;
use crate::id::{PipelineId, RunId};
use crate::time::Instant;

/// The version of the contract.
pub const VERSION: u32 = 1;

/// Asks what is due for a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginRequest {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// When the trigger fired. It only wakes: what is due is computed from the manifest and the catalog.
    pub wake: Instant,
    /// A run asked for by a person, besides the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<Manual>,
    /// When the worker must have answered, if the platform ends it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Instant>,
}

/// A run asked for by a person (`hakiri run`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manual {
    /// The tick to run; the wake time when absent.
    pub tick: Option<Instant>,
    /// Read everything anew, in a new generation.
    pub full: bool,
}

/// What to do after `begin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum AfterBegin {
    /// Call `step` for each of these, at most `concurrency` at once; then `commit`.
    Steps {
        /// The run.
        run: RunId,
        /// The epoch of its lease.
        epoch: u64,
        /// The steps that are not finished.
        steps: Vec<u32>,
        /// How many at once.
        concurrency: u32,
    },
    /// All steps are finished: call `commit`.
    Commit {
        /// The run.
        run: RunId,
        /// The epoch of its lease.
        epoch: u64,
    },
    /// A live run holds the lease: call `begin` again after this long.
    Wait {
        /// Seconds.
        seconds: u64,
    },
    /// Nothing is due.
    Nothing {
        /// The next tick of the pipeline's schedule, for triggers that do not know schedules: waking earlier is of no use.
        /// None for a pipeline that is run by hand. A paused one has ticks too, at which its resumption is noticed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Instant>,
    },
}

/// Names a step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRequest {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The run.
    pub run: RunId,
    /// The epoch that `begin` gave.
    pub epoch: u64,
    /// The step.
    pub step: u32,
    /// When the worker must have answered, if the platform ends it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Instant>,
}

/// What to do after `step`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum AfterStep {
    /// The step is finished.
    Done,
    /// Call it again after this long.
    Wait {
        /// Seconds.
        seconds: u64,
    },
    /// Call it again now: it stopped short of its deadline and has more to do.
    Again,
    /// The step failed for good. The run goes on with the others (E3).
    Fail {
        /// Why.
        #[serde(flatten)]
        failure: Failure,
    },
}

/// Names a run to commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRequest {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The run.
    pub run: RunId,
    /// The epoch that `begin` gave.
    pub epoch: u64,
    /// When the worker must have answered, if the platform ends it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Instant>,
}

/// What to do after `commit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum AfterCommit {
    /// More may be due: call `begin`.
    Begin {
        /// What the run did.
        report: RunReport,
    },
    /// Nothing more is due.
    Nothing {
        /// What the run did.
        report: RunReport,
    },
    /// The commit of many steps is still under way: call it again after this long.
    Wait {
        /// Seconds.
        seconds: u64,
    },
}

/// `next` with what counts of it, for logs: traces of all orchestrators are compared by it (E6).
impl fmt::Display for AfterBegin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps { steps, .. } => write!(f, "steps {steps:?}"),
            Self::Commit { .. } => f.write_str("commit"),
            Self::Wait { seconds } => write!(f, "wait {seconds}"),
            Self::Nothing { .. } => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for AfterStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Wait { seconds } => write!(f, "wait {seconds}"),
            Self::Again => f.write_str("again"),
            Self::Fail { failure } => write!(f, "fail {}", failure.code),
        }
    }
}

impl fmt::Display for AfterCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin { .. } => f.write_str("begin"),
            Self::Nothing { .. } => f.write_str("nothing"),
            Self::Wait { seconds } => write!(f, "wait {seconds}"),
        }
    }
}
