//! The spool: rows of a stream, held until the schema of their step is known (S12).
//!
//! Contract: rows come out exactly as they went in, batch for batch, as often as asked. Up to a budget they are held as
//! they are; beyond it everything moves to a temporary file, and what follows goes there at once. Why all of it and not
//! only the rest: the budget is for the step that comes after as well.

mod temp;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use hakiri_core::Result;
use hakiri_core::source::Rows;

pub(crate) use temp::{TempBatches, TempReader};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Typed,
    Text,
    Json,
}

/// Rows of one stream. See the module.
#[derive(Debug)]
pub struct Spool {
    budget: usize,
    temp_dir: PathBuf,
    held: Vec<Rows>,
    held_bytes: usize,
    file: Option<TempBatches>,
    /// Streams that have ended, and what they hold.
    streams: Vec<(Kind, Range<u64>)>,
    /// What the stream under way holds.
    current: Option<(Kind, SchemaRef)>,
}

impl Spool {
    /// An empty spool that holds up to `budget` bytes in memory; `temp_dir` must exist when it overflows. The temporary
    /// file is unnamed and gone with the spool and its readers.
    pub fn new(budget: usize, temp_dir: PathBuf) -> Self {
        Self { budget, temp_dir, held: Vec::new(), held_bytes: 0, file: None, streams: Vec::new(), current: None }
    }

    /// Adds rows. Batches without rows are dropped.
    ///
    /// # Errors
    /// `HK0304` when the disk is full, `HK0005`.
    pub fn push(&mut self, rows: Rows) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let bytes = parts(&rows).1.get_array_memory_size();
            if self.held_bytes.saturating_add(bytes) <= self.budget {
                self.held_bytes += bytes;
                self.held.push(rows);
                return Ok(());
            }
            self.file = Some(TempBatches::create(&self.temp_dir)?);
            for held in std::mem::take(&mut self.held) {
                self.append(&held)?;
            }
            self.held_bytes = 0;
        }
        self.append(&rows)
    }

    fn append(&mut self, rows: &Rows) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let (kind, batch) = parts(rows);
        let same = |(k, schema): &(Kind, SchemaRef)| *k == kind && schema == batch.schema_ref();
        if !self.current.as_ref().is_some_and(same) {
            if let Some((kind, _)) = self.current.take() {
                self.streams.push((kind, file.end_stream()));
            }
            self.current = Some((kind, batch.schema()));
        }
        file.append(batch)
    }

    /// Everything that was pushed, in order; any number of times.
    ///
    /// # Errors
    /// `HK0005`, here and from the iterator.
    pub fn replay(&self) -> Result<Replay<'_>> {
        let mut streams = self.streams.clone();
        if let (Some((kind, _)), Some(file)) = (&self.current, &self.file) {
            streams.push((*kind, file.open_range()));
        }
        Ok(Replay { spool: self, held: 0, streams: streams.into_iter(), reader: None })
    }

    /// Whether rows went to a temporary file.
    pub fn has_spilled(&self) -> bool {
        self.file.is_some()
    }
}

fn parts(rows: &Rows) -> (Kind, &RecordBatch) {
    match rows {
        Rows::Typed(batch) => (Kind::Typed, batch),
        Rows::Text(batch) => (Kind::Text, batch),
        Rows::Json(batch) => (Kind::Json, batch),
    }
}

/// The rows of a spool; see [`Spool::replay`].
pub struct Replay<'a> {
    spool: &'a Spool,
    held: usize,
    streams: std::vec::IntoIter<(Kind, Range<u64>)>,
    reader: Option<(Kind, TempReader)>,
}

impl Iterator for Replay<'_> {
    type Item = Result<Rows>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(rows) = self.spool.held.get(self.held) {
            self.held += 1;
            return Some(Ok(rows.clone()));
        }
        loop {
            if let Some((kind, reader)) = &mut self.reader {
                let rows = match kind {
                    Kind::Typed => Rows::Typed,
                    Kind::Text => Rows::Text,
                    Kind::Json => Rows::Json,
                };
                match reader.next() {
                    Some(batch) => return Some(batch.map(rows)),
                    None => self.reader = None,
                }
            }
            let (kind, place) = self.streams.next()?;
            match self.spool.file.as_ref()?.read(place) {
                Ok(reader) => self.reader = Some((kind, reader)),
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("spool", self.spool).finish_non_exhaustive()
    }
}
