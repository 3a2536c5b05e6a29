//! Operations under way. Each is a task of its own, so that it goes on when the connection that asked for it is lost, and
//! is shared: who asks for what is under way already waits for that one (E1).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::ops::{AfterBegin, AfterCommit, AfterStep, BeginRequest, CommitRequest, StepRequest};
use hakiri_core::{Error, Result};
use hakiri_engine::Engine;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

use super::aftermath::{Aftermath, Op};
use crate::serve::live::Live;

/// How long a request waits for its operation, below what the guard allows a request.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an operation came to, once it has.
type Outcome = Option<Result<Value>>;

/// The operations of a process.
#[derive(Debug)]
pub struct Operations {
    live: Arc<Live>,
    /// Those under way, for whoever asks for the same.
    running: Mutex<BTreeMap<String, watch::Receiver<Outcome>>>,
    aftermath: Aftermath,
    /// How many tasks there are: an operation that has ended may still have to be told of.
    tasks: watch::Sender<usize>,
}

impl Operations {
    /// Of a process that starts now.
    pub fn new(live: Arc<Live>) -> Self {
        let aftermath = Aftermath::new(live.clone());
        Self { live, running: Mutex::default(), aftermath, tasks: watch::Sender::new(0) }
    }

    /// `begin`; `wait` while it is still at it.
    ///
    /// # Errors
    /// Those of [`Engine::begin`]; `HK0003` once the process is to end.
    pub async fn begin(self: &Arc<Self>, request: BeginRequest) -> Result<AfterBegin> {
        let key = match &request.manual {
            None => format!("begin {}", request.wake),
            Some(manual) => format!("begin {} {manual:?}", request.wake),
        };
        let pipeline = request.pipeline.clone();
        let work = move |engine: Engine| async move { engine.begin(&request).await };
        Ok(self.once(Op::Begin, &key, &pipeline, work).await?.unwrap_or(AfterBegin::Wait { seconds: 1 }))
    }

    /// `step`; `again` while it is still at it.
    ///
    /// # Errors
    /// Those of [`Engine::step`]; `HK0003` once the process is to end.
    pub async fn step(self: &Arc<Self>, request: StepRequest) -> Result<AfterStep> {
        let key = format!("step {} {} {}", request.run, request.epoch, request.step);
        let pipeline = request.pipeline.clone();
        let work = move |engine: Engine| async move { engine.step(&request).await };
        Ok(self.once(Op::Step, &key, &pipeline, work).await?.unwrap_or(AfterStep::Again))
    }

    /// `commit`; `wait` while it is still at it.
    ///
    /// # Errors
    /// Those of [`Engine::commit`]; `HK0003` once the process is to end.
    pub async fn commit(self: &Arc<Self>, request: CommitRequest) -> Result<AfterCommit> {
        let key = format!("commit {} {}", request.run, request.epoch);
        let pipeline = request.pipeline.clone();
        let work = move |engine: Engine| async move { engine.commit(&request).await };
        Ok(self.once(Op::Commit, &key, &pipeline, work).await?.unwrap_or(AfterCommit::Wait { seconds: 1 }))
    }

    /// Until nothing is under way, and all of it was told of.
    pub async fn idle(&self) {
        let _ = self.tasks.subscribe().wait_for(|tasks| *tasks == 0).await;
    }

    /// Starts an operation unless it is under way, and waits for its answer; none when that takes too long.
    async fn once<T, F>(
        self: &Arc<Self>,
        op: Op,
        what: &str,
        pipeline: &PipelineId,
        work: impl FnOnce(Engine) -> F,
    ) -> Result<Option<T>>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let key = format!("{pipeline} {what}");
        let mut outcome = {
            let mut running = self.running();
            match running.get(&key) {
                Some(outcome) => outcome.clone(),
                None if self.live.drain.is_cancelled() => {
                    return Err(Error::new(Code::Interrupted, "the process is ending"));
                }
                None => {
                    let (sender, receiver) = watch::channel(None);
                    running.insert(key.clone(), receiver.clone());
                    self.start(op, key, pipeline.clone(), sender, work((*self.live.engine()).clone()));
                    receiver
                }
            }
        };
        let ended = tokio::time::timeout(PATIENCE, outcome.wait_for(Option::is_some)).await;
        let value = match ended {
            Err(_) => return Ok(None),
            Ok(Ok(outcome)) => (*outcome).clone(),
            Ok(Err(_)) => None,
        };
        let defect = || Err(Error::new(Code::Internal, format!("{what} of `{pipeline}` ended without an answer")));
        let value = value.unwrap_or_else(defect)?;
        serde_json::from_value(value).map(Some).map_err(|e| Error::new(Code::Internal, format!("an answer: {e}")))
    }

    /// Runs an operation to its end, whoever waits for it.
    fn start<T: Serialize>(
        self: &Arc<Self>,
        op: Op,
        key: String,
        pipeline: PipelineId,
        sender: watch::Sender<Outcome>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) {
        let operations = Arc::clone(self);
        self.tasks.send_modify(|tasks| *tasks += 1);
        tokio::spawn(async move {
            let _task = AtEnd(|| operations.tasks.send_modify(|tasks| *tasks -= 1));
            // Also at a panic's end: what is asked for then is done anew.
            let under_way = AtEnd(|| drop(operations.running().remove(&key)));
            let outcome = work.await.and_then(|answer| {
                serde_json::to_value(answer).map_err(|e| Error::new(Code::Internal, format!("an answer: {e}")))
            });
            let telling = operations.aftermath.heed(op, &pipeline, outcome.as_ref().err());
            sender.send_replace(Some(outcome));
            drop(under_way);
            // Who waits has the answer, and who asks again is not kept by a slow webhook; the process does not end before.
            if telling {
                operations.aftermath.tell(&pipeline).await;
            }
        });
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, watch::Receiver<Outcome>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does something when it is dropped, however that comes about.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
