//! What the operations need of the world, in one place.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hakiri_core::buckets::Buckets;
use hakiri_core::catalog::{Catalog, Head, Key, Record, RunReport};
use hakiri_core::codes::Code;
use hakiri_core::error::Kind;
use hakiri_core::id::{PipelineId, RunId, TableName};
use hakiri_core::secret::Secrets;
use hakiri_core::source::{Cancel, Connectors, Progress, SourceContext};
use hakiri_core::spec::{PipelineSpec, Project};
use hakiri_core::time::Clock;
use hakiri_core::transform::Transforms;
use hakiri_core::{Error, Result};

use crate::read::Kept;
use crate::store::Store;

/// Where an engine gets the values of a pipeline's secrets.
#[async_trait]
pub trait SecretSource: Send + Sync + fmt::Debug {
    /// The values of some names. Names without a value are left out; using one of them is the error.
    ///
    /// # Errors
    /// `HK0113` and the like: the source of secrets itself cannot be used.
    async fn secrets(&self, names: &[String]) -> Result<Secrets>;

    /// Reads the values again where they may have changed while the process lives; whether any of them has. Asked when a
    /// source refuses a credential, before that is taken for the end: it may have been rotated.
    ///
    /// # Errors
    /// As [`secrets`](Self::secrets).
    async fn refresh(&self) -> Result<bool> {
        Ok(false)
    }
}

/// What a run tells whoever watches. All methods default to nothing; none may change what the run does.
pub trait Events: Send + Sync + fmt::Debug {
    /// A step was claimed.
    fn step_started(&self, _pipeline: &PipelineId, _step: u32, _name: &str) {}
    /// Rows arrived for a table.
    fn rows(&self, _table: &TableName, _rows: u64) {}
    /// The source's counters of a step.
    fn progress(&self, _step: u32, _progress: Progress) {}
    /// Something worth a line: a vanished file, a wait.
    fn note(&self, _text: &str) {}
    /// A step ended.
    fn step_ended(&self, _step: u32) {}
    /// A run was planned, or an unfinished one was taken up; so many of its steps are open.
    fn run_taken_up(&self, _pipeline: &PipelineId, _run: &RunId, _open: usize) {}
    /// A run ended, and the catalog has it.
    fn run_ended(&self, _report: &RunReport) {}
    /// Another run holds the pipeline's lease.
    fn held(&self, _pipeline: &PipelineId, _seconds: u64) {}
    /// An attempt at a step ended with an error. It is tried again after some seconds, or (none) failed for good.
    fn step_failed(&self, _pipeline: &PipelineId, _name: &str, _error: &Error, _again_in: Option<u64>) {}
    /// A step was taken over from a worker that went silent, for the so-many-th time.
    fn step_died(&self, _pipeline: &PipelineId, _name: &str, _deaths: u32) {}
}

/// Nobody watches.
#[derive(Debug)]
pub struct Silent;

impl Events for Silent {}

/// Settings of a process that carries out operations. None of them reaches a file (P1).
#[derive(Debug, Clone)]
pub struct Settings {
    /// The project's folder.
    pub project_dir: PathBuf,
    /// Where temporary files go.
    pub temp_dir: PathBuf,
    /// Bytes a step may hold in memory before it spills.
    pub memory: usize,
    /// How many steps this process does at once at most, where that is fewer than a plan allows: they share the memory.
    pub steps_at_once: usize,
    /// About how many rows a connector puts into a batch.
    pub batch_rows: usize,
    /// How long a lease or claim lasts without a heartbeat, in milliseconds.
    pub lease_ttl_ms: i64,
    /// How long a run may take with all its waits, in milliseconds.
    pub deadline_ms: i64,
    /// This worker's name. Claims of the same name are its own.
    pub worker: String,
    /// Whether the caller has made sure that no other process works on the project's pipelines, so that a live lease
    /// or claim can only be a dead process's. True for a laptop (an operating-system lock proves it), false wherever
    /// workers share a catalog over a network.
    pub sole_worker: bool,
    /// The binary's version, for plans.
    pub version: String,
}

/// One process's means to carry out operations on one project.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The manifest.
    pub project: Arc<Project>,
    /// The catalog.
    pub catalog: Arc<dyn Catalog>,
    /// The store.
    pub store: Arc<Store>,
    /// The connectors.
    pub connectors: Arc<dyn Connectors>,
    /// SQL transforms.
    pub transforms: Arc<dyn Transforms>,
    /// Secrets.
    pub secrets: Arc<dyn SecretSource>,
    /// Buckets that sources may read.
    pub buckets: Option<Arc<dyn Buckets>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub events: Arc<dyn Events>,
    /// Raised on Ctrl-C.
    pub cancel: Cancel,
    /// Raised when the process is to end in good order: what was started is finished, nothing else is started.
    pub drain: Cancel,
    /// Manifests read before, for a process that lives long.
    pub kept: Arc<Kept>,
    /// Settings.
    pub settings: Settings,
}

impl Engine {
    /// A pipeline of the manifest.
    ///
    /// # Errors
    /// `HK0906`.
    pub fn pipeline(&self, id: &PipelineId) -> Result<&PipelineSpec> {
        self.project
            .pipelines
            .iter()
            .find(|p| &p.id == id)
            .ok_or_else(|| Error::new(Code::NothingToDo, format!("the manifest has no pipeline `{id}`")))
    }

    /// The head of a pipeline; an empty one before its first run.
    ///
    /// # Errors
    /// Any catalog error.
    pub async fn head(&self, pipeline: &PipelineId) -> Result<Head> {
        match self.catalog.get(&Key::head(pipeline)).await? {
            Some(Record::Head(head)) => Ok(head),
            _ => Ok(Head::new(pipeline.clone())),
        }
    }

    /// Whether after this error the same is worth one more try at once: a credential was refused, or has no value, and there
    /// is another one by now. Asked before the error is recorded, since what is recorded as failed is not done again.
    pub(crate) async fn renewed(&self, error: &Error) -> bool {
        if error.kind() != Kind::AuthExpired && error.code() != Code::SecretMissing {
            return false;
        }
        match self.secrets.refresh().await {
            Ok(true) => {
                self.events.note("secrets were changed: trying again with them");
                true
            }
            Ok(false) => false,
            Err(e) => {
                self.events.note(&format!("secrets cannot be read again: {e}"));
                false
            }
        }
    }

    /// What a connector may use of the world, for a pipeline with these secrets.
    ///
    /// # Errors
    /// As [`SecretSource::secrets`].
    pub async fn source_context(&self, secrets: &[String], cancel: Cancel) -> Result<SourceContext> {
        Ok(SourceContext {
            project_dir: self.settings.project_dir.clone(),
            temp_dir: self.settings.temp_dir.clone(),
            secrets: self.secrets.secrets(secrets).await?,
            buckets: self.buckets.clone(),
            clock: self.clock.clone(),
            cancel,
            batch_rows: self.settings.batch_rows,
        })
    }
}
