//! Rows in memory, and their order.

use arrow::array::RecordBatch;
use arrow::compute::{interleave_record_batch, take_record_batch};
use hakiri_core::Result;

use super::keys::{Keys, Ranks};
use crate::write::normal::arrow_error;
use crate::write::size::row_bytes;

/// At most so many rows in a sorted batch.
pub(super) const CHUNK_ROWS: usize = 8_192;

/// A batch with what is needed to order and to cut its rows.
#[derive(Debug)]
pub(super) struct Ranked {
    pub(super) batch: RecordBatch,
    pub(super) ranks: Ranks,
    /// Logical bytes of each row.
    pub(super) sizes: Vec<u64>,
}

impl Ranked {
    pub(super) fn new(batch: RecordBatch, keys: &Keys) -> Result<Self> {
        let ranks = keys.ranks(&batch)?;
        let sizes = row_bytes(&batch);
        Ok(Self { batch, ranks, sizes })
    }

    /// Bytes in memory, with the two numbers that ordering takes for each row and as much again while it sorts.
    pub(super) fn size(&self) -> usize {
        self.batch.get_array_memory_size() + self.ranks.size() + self.sizes.len() * 32
    }
}

/// A batch that does not hold on to buffers much larger than its rows: a slice would keep all of what it was cut from,
/// and would be counted with it.
pub(super) fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let logical: u64 = row_bytes(&batch).iter().sum();
    if batch.get_array_memory_size() as u64 <= 2 * logical + 64 * 1024 {
        return Ok(batch);
    }
    let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
    take_record_batch(&batch, &arrow::array::UInt32Array::from_iter_values(0..rows)).map_err(arrow_error)
}

/// Places of rows: batch and row.
pub(super) type Places = Vec<(usize, usize)>;

/// The order of all rows. With `dedupe` only the last of each key: the highest cursor, of those the last to arrive.
pub(super) fn ordered(held: &[Ranked], dedupe: bool) -> Places {
    let mut places: Places = Vec::with_capacity(held.iter().map(|r| r.batch.num_rows()).sum());
    for (at, ranked) in held.iter().enumerate() {
        places.extend((0..ranked.batch.num_rows()).map(|row| (at, row)));
    }
    // Stable: the order of arrival decides between equals.
    places.sort_by(|&(a, i), &(b, j)| held[a].ranks.compare(i, &held[b].ranks, j));
    if dedupe {
        let mut kept: usize = 0;
        for at in 0..places.len() {
            let (a, i) = places[at];
            if kept > 0 {
                let (b, j) = places[kept - 1];
                if held[a].ranks.same_key(i, &held[b].ranks, j) {
                    places[kept - 1] = (a, i);
                    continue;
                }
            }
            places[kept] = (a, i);
            kept += 1;
        }
        places.truncate(kept);
    }
    places
}

/// The rows of a buffer in order, batch by batch.
#[derive(Debug)]
pub(super) struct Chunks {
    held: Vec<Ranked>,
    places: Places,
    at: usize,
    target: u64,
}

impl Chunks {
    pub(super) fn new(held: Vec<Ranked>, dedupe: bool, target: u64) -> Self {
        let places = ordered(&held, dedupe);
        Self { held, places, at: 0, target }
    }
}

impl Iterator for Chunks {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = &self.places[self.at..];
        let mut bytes: u64 = 0;
        let mut rows = 0;
        for &(batch, row) in left.iter().take(CHUNK_ROWS) {
            bytes = bytes.saturating_add(self.held[batch].sizes[row]);
            if rows > 0 && bytes > self.target {
                break;
            }
            rows += 1;
        }
        if rows == 0 {
            return None;
        }
        let batches: Vec<&RecordBatch> = self.held.iter().map(|r| &r.batch).collect();
        let chunk = interleave_record_batch(&batches, &left[..rows]).map_err(arrow_error);
        self.at += rows;
        Some(chunk)
    }
}
