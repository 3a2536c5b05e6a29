//! The reference adapter: a map in memory, which the others are compared with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hakiri_core::catalog::{CatalogResult, Info};
use hakiri_core::time::Clock;

use crate::records::{Batch, Entry, Moment, Records, Scan, Scanned, Version, Written};

/// The format version of what is stored.
const VERSION: u64 = 1;

/// Records in memory. Clones share them.
#[derive(Debug, Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    id: String,
    max_batch: usize,
}

#[derive(Debug, Default)]
struct State {
    revision: Version,
    records: BTreeMap<String, Entry>,
}

impl Memory {
    /// An empty one. `id` is the catalog's identity.
    pub fn new(clock: Arc<dyn Clock>, id: &str) -> Self {
        Self { state: Arc::default(), clock, id: id.to_owned(), max_batch: usize::MAX }
    }

    /// Behaves as a backend whose batches may touch only so many keys.
    #[must_use]
    pub fn with_max_batch(mut self, max_batch: usize) -> Self {
        self.max_batch = max_batch;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under the lock with the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Records for Memory {
    async fn read(&self, keys: &[String]) -> CatalogResult<Moment> {
        let state = self.state();
        Ok(Moment { now: self.clock.now(), entries: keys.iter().map(|k| state.records.get(k).cloned()).collect() })
    }

    async fn write(&self, batch: &Batch) -> CatalogResult<Written> {
        let mut state = self.state();
        if batch.expect.iter().any(|(key, version)| state.records.get(key).map(|e| e.version) != *version) {
            return Ok(Written::Conflict);
        }
        state.revision += 1;
        let version = state.revision;
        for (key, text) in &batch.put {
            state.records.insert(key.clone(), Entry { version, text: text.clone() });
        }
        for key in &batch.delete {
            state.records.remove(key);
        }
        Ok(Written::Done)
    }

    async fn scan(&self, scan: &Scan) -> CatalogResult<Scanned> {
        if scan.from >= scan.to {
            return Ok(Scanned { entries: Vec::new(), more: false });
        }
        let state = self.state();
        let range = state.records.range(scan.from.clone()..scan.to.clone());
        let mut range: Box<dyn Iterator<Item = (&String, &Entry)>> =
            if scan.reverse { Box::new(range.rev()) } else { Box::new(range) };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < scan.limit && bytes < scan.bytes {
            let Some((key, entry)) = range.next() else {
                return Ok(Scanned { entries, more: false });
            };
            bytes += entry.text.len();
            entries.push((key.clone(), entry.text.clone()));
        }
        Ok(Scanned { more: range.next().is_some(), entries })
    }

    async fn info(&self) -> CatalogResult<Info> {
        Ok(Info { adapter: "memory", version: VERSION, id: self.id.clone(), now: self.clock.now() })
    }

    fn max_batch(&self) -> usize {
        self.max_batch
    }
}
