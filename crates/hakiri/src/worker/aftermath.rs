//! What follows an operation, whoever asked for it: trouble of its pipeline is remembered, and the webhook hears.

use std::sync::Arc;

use hakiri_core::Error;
use hakiri_core::codes::Code;
use hakiri_core::error::Kind;
use hakiri_core::id::PipelineId;

use crate::logging;
use crate::notify::Notifier;
use crate::serve::live::{Live, Trouble};

/// The operations that have an outcome to tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `begin`.
    Begin,
    /// `step`.
    Step,
    /// `commit`.
    Commit,
}

/// See the module.
#[derive(Debug)]
pub struct Aftermath {
    live: Arc<Live>,
    /// One at a time tells the webhook, so that each sees what the one before was rid of.
    telling: tokio::sync::Mutex<()>,
}

impl Aftermath {
    /// Of a process that starts now.
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, telling: tokio::sync::Mutex::default() }
    }

    /// What an outcome tells of its pipeline: a run that cannot be planned is in no report, and the webhook hears of it.
    /// Whether there may be something to [`tell`](Self::tell).
    pub fn heed(&self, op: Op, pipeline: &PipelineId, error: Option<&Error>) -> bool {
        match error {
            None if op == Op::Begin => self.live.note(pipeline, |p| p.trouble = None),
            None => {}
            // Another worker has the run, or this one is ending: nothing is wrong.
            Some(e) if e.code() == Code::CatalogFenced || e.kind() == Kind::Interrupted => {}
            Some(e) => {
                logging::events::failed(pipeline, e);
                let now = self.live.engine().clock.now();
                self.live.note(pipeline, |p| {
                    let (since, times) = p.trouble.as_ref().map_or((now, 0), |t| (t.since, t.times));
                    p.trouble = Some(Trouble { failure: e.to_failure(), since, times: times + 1 });
                });
            }
        }
        error.is_some() || op == Op::Commit
    }

    /// Tells the webhook what there is to tell of a pipeline.
    pub async fn tell(&self, pipeline: &PipelineId) {
        let _turn = self.telling.lock().await;
        Notifier::of_process(self.live.clone(), std::slice::from_ref(pipeline)).await;
    }
}
