//! External sort: a step's rows in primary-key order, in bounded memory (S8).
//!
//! Contract: rows come out by primary key ascending, then cursor ascending (none first), then in the order of their
//! arrival; so the result is a function of the sequence of rows, whatever the budget and the batches were (S9). With
//! `dedupe` (merge mode) only one row of each key is left: the highest cursor, of those the last to arrive. That is the
//! row every reader would pick (S10), and a manifest may promise one row per key.
//!
//! Keys compare as arrow's row format has them: text by its UTF-8 bytes, decimals and timestamps by value. Floats have a
//! total order in which -0.0 is before 0.0 and is another key; NaNs sort by their bits. Nobody should key by floats.
//!
//! Why not DataFusion's sort: it is not stable, does not deduplicate, and would tie bytes in the store to a query
//! engine's upgrades.
//!
//! Memory: half of the budget buffers rows; a merge holds one batch of each of at most [`FAN_IN`] runs, each near a 64th
//! of the budget, or one row where rows are larger.

mod ascending;
mod buffer;
mod keys;
mod merge;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use hakiri_core::Result;
use hakiri_core::schema::Schema;

pub(crate) use self::ascending::Ascending;
use crate::spool::TempBatches;
use buffer::{Chunks, Ranked, compact};
use keys::Keys;
use merge::Merge;

/// How many runs are merged at once.
const FAN_IN: usize = 16;
/// The bounds of a batch's bytes in runs, which a small share of the budget is kept within.
const CHUNK_BYTES: (u64, u64) = (64 << 10, 4 << 20);

/// Sorts rows; see the module.
#[derive(Debug)]
pub struct Sorter {
    schema: Schema,
    key: Vec<String>,
    cursor: Option<String>,
    /// Made by the first rows: a table without any may not have its key's columns yet.
    keys: Option<Arc<Keys>>,
    dedupe: bool,
    buffer_limit: usize,
    target: u64,
    temp_dir: PathBuf,
    held: Vec<Ranked>,
    held_bytes: usize,
    runs: Vec<TempBatches>,
}

impl Sorter {
    /// A sorter of batches of `schema` by the columns `key`, then `cursor`. `budget` is in bytes; `temp_dir` must exist
    /// when the rows exceed half of it.
    ///
    /// # Errors
    /// None yet; columns are looked up when rows come.
    pub fn new(
        schema: &Schema,
        key: &[String],
        cursor: Option<&str>,
        dedupe: bool,
        budget: usize,
        temp_dir: PathBuf,
    ) -> Result<Self> {
        Ok(Self {
            schema: schema.clone(),
            key: key.to_vec(),
            cursor: cursor.map(str::to_owned),
            keys: None,
            dedupe,
            buffer_limit: budget / 2,
            target: (budget as u64 / 64).clamp(CHUNK_BYTES.0, CHUNK_BYTES.1),
            temp_dir,
            held: Vec::new(),
            held_bytes: 0,
            runs: Vec::new(),
        })
    }

    /// Adds rows. All batches have the Arrow types of the schema and the same columns in the same order.
    ///
    /// # Errors
    /// `HK0407` when a key column holds nulls, `HK0704` when a column of the order is missing, `HK0703` when it cannot
    /// be ordered, `HK0304` when the disk is full, `HK0005`.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let ranked = Ranked::new(compact(batch)?, &*self.keys()?)?;
        self.held_bytes = self.held_bytes.saturating_add(ranked.size());
        self.held.push(ranked);
        if self.held_bytes > self.buffer_limit { self.spill() } else { Ok(()) }
    }

    fn keys(&mut self) -> Result<Arc<Keys>> {
        if let Some(keys) = &self.keys {
            return Ok(keys.clone());
        }
        let keys = Arc::new(Keys::new(&self.schema, &self.key, self.cursor.as_deref())?);
        self.keys = Some(keys.clone());
        Ok(keys)
    }

    fn spill(&mut self) -> Result<()> {
        self.held_bytes = 0;
        let chunks = Chunks::new(std::mem::take(&mut self.held), self.dedupe, self.target);
        self.runs.push(run(&self.temp_dir, chunks)?);
        Ok(())
    }

    /// The rows in order.
    ///
    /// # Errors
    /// As [`Self::push`], here and from the iterator.
    pub fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() {
            return Ok(Sorted(Source::Memory(Chunks::new(self.held, self.dedupe, self.target))));
        }
        if !self.held.is_empty() {
            self.spill()?;
        }
        let keys = self.keys()?;
        let mut runs = self.runs;
        // Neighbours only, so that runs stay in the order of arrival.
        while runs.len() > FAN_IN {
            let mut merged = Vec::with_capacity(runs.len().div_ceil(FAN_IN));
            let mut rest = runs.into_iter();
            loop {
                let group: Vec<TempBatches> = rest.by_ref().take(FAN_IN).collect();
                match group.len() {
                    0 => break,
                    1 => merged.extend(group),
                    _ => merged.push(run(&self.temp_dir, merge(&keys, &group, self.dedupe, self.target)?)?),
                }
            }
            runs = merged;
        }
        // The readers keep the files.
        Ok(Sorted(Source::Runs(merge(&keys, &runs, self.dedupe, self.target)?)))
    }

    /// Whether rows went to temporary files.
    pub fn has_spilled(&self) -> bool {
        !self.runs.is_empty()
    }
}

/// Writes sorted batches to a file of their own.
fn run(temp_dir: &std::path::Path, batches: impl Iterator<Item = Result<RecordBatch>>) -> Result<TempBatches> {
    let mut file = TempBatches::create(temp_dir)?;
    for batch in batches {
        file.append(&batch?)?;
    }
    Ok(file)
}

fn merge(keys: &Arc<Keys>, runs: &[TempBatches], dedupe: bool, target: u64) -> Result<Merge> {
    let readers = runs.iter().map(|run| run.read(run.open_range())).collect::<Result<_>>()?;
    Merge::new(keys.clone(), readers, dedupe, target)
}

/// Sorted rows, batch by batch. How they are cut says nothing.
#[derive(Debug)]
pub struct Sorted(Source);

#[derive(Debug)]
enum Source {
    Memory(Chunks),
    Runs(Merge),
}

impl Iterator for Sorted {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Memory(chunks) => chunks.next(),
            Source::Runs(merge) => merge.next(),
        }
    }
}
