//! The rules of the catalog as pure functions: what a method reads, and what it decides on what it read.
//!
//! A rule gets a [`View`] of the records it asked for, all of one moment, and returns a [`Decision`]. It is asked again
//! with a newer view when another writer was faster, so it must depend on nothing else. Everything a rule asked for is
//! expected to be unchanged when its decision is written; a record it puts without having asked for it must not exist.

pub(crate) mod append;
pub(crate) mod commit;
pub(crate) mod lease;
pub(crate) mod plan;
pub(crate) mod step;

use std::collections::BTreeMap;

use hakiri_core::catalog::{CatalogError, CatalogResult, Head, Key, Kind, Record, RunRecord, RunStatus};
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::plan::Plan;
use hakiri_core::step::StepRecord;
use hakiri_core::time::Instant;

use crate::stored::Stored;

/// What a rule wants to see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    /// These records.
    pub(crate) keys: Vec<Key>,
    /// The last keys of these listings, to number the next one.
    pub(crate) last: Vec<(Kind, Vec<String>)>,
}

impl Ask {
    pub(crate) fn keys(keys: impl Into<Vec<Key>>) -> Self {
        Self { keys: keys.into(), last: Vec::new() }
    }
}

/// What a rule sees.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The backend's clock.
    pub(crate) now: Instant,
    /// The records asked for that exist.
    pub(crate) records: BTreeMap<Key, Stored>,
    /// The last keys asked for that exist.
    pub(crate) last: BTreeMap<(Kind, Vec<String>), Key>,
}

/// What a rule decides.
#[derive(Debug, Clone)]
pub(crate) struct Decision<T> {
    /// What the method answers once the rest is written.
    pub(crate) answer: T,
    /// Records to write.
    pub(crate) put: Vec<(Key, Stored)>,
    /// Records to delete.
    pub(crate) delete: Vec<Key>,
}

impl<T> Decision<T> {
    /// Answers without changing anything.
    pub(crate) fn nothing(answer: T) -> Self {
        Self { answer, put: Vec::new(), delete: Vec::new() }
    }

    /// Answers once these records are written.
    pub(crate) fn put(answer: T, records: impl IntoIterator<Item = (Key, Record)>) -> Self {
        Self {
            answer,
            put: records.into_iter().map(|(key, record)| (key, record.into())).collect(),
            delete: Vec::new(),
        }
    }
}

impl View {
    /// The head of a pipeline; a new one before its first write.
    pub(crate) fn head(&self, pipeline: &PipelineId) -> Head {
        match self.record(&Key::head(pipeline)) {
            Some(Record::Head(head)) => head.clone(),
            _ => Head::new(pipeline.clone()),
        }
    }

    pub(crate) fn record(&self, key: &Key) -> Option<&Record> {
        self.records.get(key).map(|s| &s.record)
    }

    pub(crate) fn run(&self, pipeline: &PipelineId, run: &RunId) -> Option<&RunRecord> {
        match self.record(&Key::run(pipeline, run)) {
            Some(Record::Run(record)) => Some(record),
            _ => None,
        }
    }

    /// The record of a run that has ended.
    pub(crate) fn ended(&self, pipeline: &PipelineId, run: &RunId) -> Option<&RunRecord> {
        self.run(pipeline, run).filter(|r| r.report.status != RunStatus::Running)
    }

    pub(crate) fn plan(&self, pipeline: &PipelineId, run: &RunId) -> Option<&Plan> {
        match self.record(&Key::plan(pipeline, run)) {
            Some(Record::Plan(plan)) => Some(plan),
            _ => None,
        }
    }

    pub(crate) fn step(&self, key: &Key) -> Option<(&StepRecord, Option<i64>)> {
        match self.records.get(key) {
            Some(Stored { record: Record::Step(step), claim_ms }) => Some((step, *claim_ms)),
            _ => None,
        }
    }

    /// The next number of a listing whose keys end in one.
    pub(crate) fn next_number(&self, kind: Kind, prefix: &[String]) -> u64 {
        let last = self.last.get(&(kind, prefix.to_vec()));
        last.and_then(|key| key.parts.last()?.parse::<u64>().ok()).unwrap_or(0) + 1
    }
}

/// Safety is the epoch alone (C3): whoever does not have the newest one is out.
pub(crate) fn fence(head: &Head, run: &RunId, epoch: u64) -> CatalogResult<()> {
    let fenced = CatalogError::Fenced { epoch, newest: head.epoch };
    if epoch != head.epoch {
        return Err(fenced);
    }
    match &head.lease {
        // An epoch belongs to one run: with the newest one in hand, this is a mistake of the caller's.
        Some(lease) if &lease.run != run => Err(fenced),
        _ => Ok(()),
    }
}
