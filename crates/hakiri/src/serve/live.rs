//! What a serving process knows that no catalog holds: shared by the scheduler, which writes it, and the HTTP server and
//! the webhook, which read it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use hakiri_core::error::Failure;
use hakiri_core::id::PipelineId;
use hakiri_core::source::Cancel;
use hakiri_core::spec::Project;
use hakiri_core::time::Instant;
use hakiri_engine::Engine;

use super::http::{self, Host};

/// What a process knows of one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// Whether this process works on it now, and since when.
    pub working: Option<Instant>,
    /// When it is woken next.
    pub wakes: Option<Instant>,
    /// Why its last run could not even be planned, since when, and how many times in a row.
    pub trouble: Option<Trouble>,
}

/// An error of an operation: no run has it in its report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The last error.
    pub failure: Failure,
    /// When it came first.
    pub since: Instant,
    /// How many times in a row.
    pub times: u32,
}

/// The shared state of a serving process.
#[derive(Debug)]
pub struct Live {
    engine: RwLock<Arc<Engine>>,
    pipelines: RwLock<BTreeMap<PipelineId, Pipeline>>,
    manifest: RwLock<Option<Failure>>,
    clock: RwLock<Option<Failure>>,
    /// Raised when the process is to end: nothing new is started.
    pub drain: Cancel,
}

/// A lock's content, whatever a panicked holder left: all of it is display, none of it decides.
fn read<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn write<T, A>(lock: &RwLock<T>, change: impl FnOnce(&mut T) -> A) -> A {
    change(&mut lock.write().unwrap_or_else(PoisonError::into_inner))
}

impl Live {
    /// Of a process that starts now.
    pub fn new(engine: Engine) -> Self {
        let drain = engine.drain.clone();
        Self {
            engine: RwLock::new(Arc::new(engine)),
            pipelines: RwLock::default(),
            manifest: RwLock::default(),
            clock: RwLock::default(),
            drain,
        }
    }

    /// The engine with the manifest that is in force.
    pub fn engine(&self) -> Arc<Engine> {
        read(&self.engine)
    }

    /// Takes up another manifest. Runs under way go on with the one of their plan (E7).
    pub fn take_up(&self, project: Arc<Project>) {
        let engine = Engine { project, ..(*self.engine()).clone() };
        write(&self.engine, |e| *e = Arc::new(engine));
        write(&self.manifest, |m| *m = None);
    }

    /// Says that the manifest on disk cannot be taken up.
    pub fn refuse_manifest(&self, failure: Failure) {
        write(&self.manifest, |m| *m = Some(failure));
    }

    /// Says whether this machine's clock is wrong.
    pub fn note_clock(&self, failure: Option<Failure>) {
        write(&self.clock, |c| *c = failure);
    }

    /// What is known of a pipeline.
    pub fn pipeline(&self, id: &PipelineId) -> Pipeline {
        read(&self.pipelines).remove(id).unwrap_or_default()
    }

    /// Changes what is known of a pipeline.
    pub fn note(&self, id: &PipelineId, change: impl FnOnce(&mut Pipeline)) {
        write(&self.pipelines, |all| change(all.entry(id.clone()).or_default()));
    }

    /// Forgets pipelines that are gone.
    pub fn keep_only(&self, known: impl Fn(&PipelineId) -> bool) {
        write(&self.pipelines, |all| all.retain(|id, _| known(id)));
    }
}

impl Host for Live {
    fn engine(&self) -> Arc<Engine> {
        Live::engine(self)
    }

    fn stopping(&self) -> bool {
        self.drain.is_cancelled()
    }

    fn troubles(&self) -> Vec<http::Trouble> {
        let of_process = [read(&self.manifest), read(&self.clock)];
        let of_process = of_process.into_iter().flatten().map(|failure| http::Trouble { pipeline: None, failure });
        let of_pipelines = read(&self.pipelines).into_iter().filter_map(|(pipeline, known)| {
            Some(http::Trouble { pipeline: Some(pipeline), failure: known.trouble?.failure })
        });
        of_process.chain(of_pipelines).collect()
    }
}
