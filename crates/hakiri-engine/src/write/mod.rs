//! Writer policy *v1* (S7): batches in, parts with frozen bytes out.
//!
//! Contract: the parts are a function of the sequence of rows, the schema and the run, of nothing else (S9): not of how
//! the rows came in batches, nor of memory, threads or time. `policy` holds every constant, `cut` decides where things
//! end, `size` measures rows, `normal` makes one form of many arrays, `encode` puts them together without I/O.
//!
//! Memory: at most one part as encoded so far (64 MiB, less by its compression), one row group under way and one chunk.
//! Why parts are not streamed to the store: a name holds the hash of the bytes (S2), which is known at their end.

mod cut;
mod encode;
pub(crate) mod normal;
mod policy;
pub(crate) mod size;
#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use hakiri_core::hash::Hash;
use hakiri_core::id::RunId;
use hakiri_core::manifest::Part;
use hakiri_core::schema::Schema;
use hakiri_core::{Result, layout};

use crate::store::Store;
use encode::{Encoded, Encoder};

/// Writes the rows of one step and table, or of a snapshot, as parts in one folder.
#[derive(Debug)]
pub struct PartWriter {
    store: Store,
    folder: String,
    step: u32,
    schema: Hash,
    encoder: Encoder,
    parts: Vec<Part>,
}

impl PartWriter {
    /// A writer of parts in `folder` (see [`layout::run`], [`layout::snapshot`]) that are named by `step`. With a run,
    /// the column `_hakiri_run` comes last. Touches nothing.
    ///
    /// # Errors
    /// `HK0703` for a decimal with a negative scale and more than 76 digits in all.
    pub fn new(store: &Store, folder: String, step: u32, schema: &Schema, run: Option<&RunId>) -> Result<Self> {
        let encoder = Encoder::new(schema, run)?;
        Ok(Self { store: store.clone(), folder, step, schema: schema.fingerprint()?, encoder, parts: Vec::new() })
    }

    /// Takes rows, in order, in any array types that stand for the schema's types (views, dictionaries, small offsets).
    /// Columns are found by name; those missing are null. Parts that are complete are in the store when this returns.
    ///
    /// # Errors
    /// `HK0705` for a value out of its type's range (a timestamp in seconds beyond the year 292 million); `HK0001` for a
    /// column of another type or of another table; any store error.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for part in self.encoder.push(batch)? {
            put(&self.store, &self.folder, self.step, &self.schema, &mut self.parts, part).await?;
        }
        Ok(())
    }

    /// Writes what is left. The parts, in the order of their rows; none if there were no rows.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn finish(self) -> Result<Vec<Part>> {
        let Self { store, folder, step, schema, encoder, mut parts } = self;
        if let Some(part) = encoder.finish()? {
            put(&store, &folder, step, &schema, &mut parts, part).await?;
        }
        Ok(parts)
    }
}

async fn put(
    store: &Store,
    folder: &str,
    step: u32,
    schema: &Hash,
    parts: &mut Vec<Part>,
    part: Encoded,
) -> Result<()> {
    let number = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let (sha256, bytes) = (Hash::of(&part.bytes), part.bytes.len() as u64);
    let file = store.put_hashed(&layout::part(folder, step, number, &sha256), part.bytes.into(), sha256).await?;
    parts.push(Part { path: file.path, rows: part.rows, bytes, sha256: file.sha256, schema: schema.clone() });
    Ok(())
}
