//! Merging sorted runs: each is ordered, and all rows of a run arrived before those of the next, so that between equals
//! the run decides.

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use hakiri_core::Result;

use super::buffer::{CHUNK_ROWS, Places, Ranked};
use super::keys::Keys;
use crate::spool::TempReader;
use crate::write::normal::arrow_error;

/// A run and where it stands.
struct Source {
    reader: TempReader,
    /// Its batch under way: an index of [`Merge::loaded`].
    batch: usize,
    row: usize,
}

/// The rows of several runs in order, batch by batch.
pub(super) struct Merge {
    keys: std::sync::Arc<Keys>,
    sources: Vec<Source>,
    /// The sources that have rows, by their next row, highest first. A handful: insertion is quicker than a heap.
    order: Vec<usize>,
    /// Batches that sources, `pending` or `picked` still name.
    loaded: Vec<Ranked>,
    dedupe: bool,
    /// The row that is emitted unless the next one has the same key.
    pending: Option<(usize, usize)>,
    picked: Places,
    picked_bytes: u64,
    target: u64,
    failed: bool,
}

impl Merge {
    /// Merges runs, in the order of their arrival.
    pub(super) fn new(keys: std::sync::Arc<Keys>, readers: Vec<TempReader>, dedupe: bool, target: u64) -> Result<Self> {
        let mut merge = Self {
            keys,
            sources: Vec::with_capacity(readers.len()),
            order: Vec::with_capacity(readers.len()),
            loaded: Vec::new(),
            dedupe,
            pending: None,
            picked: Vec::new(),
            picked_bytes: 0,
            target,
            failed: false,
        };
        for reader in readers {
            merge.sources.push(Source { reader, batch: 0, row: 0 });
            let at = merge.sources.len() - 1;
            if merge.load(at)? {
                merge.enlist(at);
            }
        }
        Ok(merge)
    }

    /// Loads a source's next batch; false at its end.
    fn load(&mut self, at: usize) -> Result<bool> {
        let Some(batch) = self.sources[at].reader.next() else { return Ok(false) };
        self.loaded.push(Ranked::new(batch?, &self.keys)?);
        (self.sources[at].batch, self.sources[at].row) = (self.loaded.len() - 1, 0);
        Ok(true)
    }

    fn enlist(&mut self, at: usize) {
        let place = self.order.partition_point(|&other| {
            let (a, b) = (&self.sources[other], &self.sources[at]);
            let ranks = self.loaded[a.batch].ranks.compare(a.row, &self.loaded[b.batch].ranks, b.row);
            ranks.then(other.cmp(&at)).is_gt()
        });
        self.order.insert(place, at);
    }

    fn advance(&mut self, at: usize) -> Result<()> {
        self.sources[at].row += 1;
        let source = &self.sources[at];
        if source.row < self.loaded[source.batch].batch.num_rows() || self.load(at)? {
            self.enlist(at);
        }
        Ok(())
    }

    fn pick(&mut self, place: (usize, usize)) {
        self.picked_bytes = self.picked_bytes.saturating_add(self.loaded[place.0].sizes[place.1]);
        self.picked.push(place);
    }

    fn emit(&mut self) -> Result<RecordBatch> {
        let batches: Vec<&RecordBatch> = self.loaded.iter().map(|r| &r.batch).collect();
        let chunk = interleave_record_batch(&batches, &self.picked).map_err(arrow_error)?;
        self.picked.clear();
        self.picked_bytes = 0;
        self.release();
        Ok(chunk)
    }

    /// Lets go of batches that nobody names any more.
    fn release(&mut self) {
        let mut needed = vec![false; self.loaded.len()];
        for &at in &self.order {
            needed[self.sources[at].batch] = true;
        }
        for (batch, _) in self.pending.iter().chain(&self.picked) {
            needed[*batch] = true;
        }
        let mut moved = vec![0; self.loaded.len()];
        let mut kept = Vec::new();
        for (at, ranked) in std::mem::take(&mut self.loaded).into_iter().enumerate() {
            if needed[at] {
                moved[at] = kept.len();
                kept.push(ranked);
            }
        }
        self.loaded = kept;
        for &at in &self.order {
            self.sources[at].batch = moved[self.sources[at].batch];
        }
        for (batch, _) in self.pending.iter_mut().chain(&mut self.picked) {
            *batch = moved[*batch];
        }
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let full = self.picked.len() >= CHUNK_ROWS || self.picked_bytes >= self.target;
            // Runs of short batches would pile up here before there are rows enough.
            let crowded = self.loaded.len() > 2 * self.sources.len() + 2;
            if full || (crowded && !self.picked.is_empty()) {
                return self.emit().map(Some);
            }
            if crowded {
                self.release();
            }
            let Some(at) = self.order.pop() else {
                if let Some(last) = self.pending.take() {
                    self.pick(last);
                }
                return if self.picked.is_empty() { Ok(None) } else { self.emit().map(Some) };
            };
            let here = (self.sources[at].batch, self.sources[at].row);
            match self.pending.take() {
                Some(before) if !self.loaded[before.0].ranks.same_key(before.1, &self.loaded[here.0].ranks, here.1) => {
                    self.pick(before)
                }
                _ => {}
            }
            if self.dedupe {
                self.pending = Some(here);
            } else {
                self.pick(here);
            }
            self.advance(at)?;
        }
    }
}

impl Iterator for Merge {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

impl std::fmt::Debug for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge").field("runs", &self.sources.len()).finish_non_exhaustive()
    }
}
