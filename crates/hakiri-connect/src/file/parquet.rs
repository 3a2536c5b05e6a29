//! Parquet: typed columns as they are, one row group after the other.
//!
//! Memory is bounded by a row group's pages, which the file's writer decided; Parquet cannot be read in smaller bites.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hakiri_core::codes::Code;
use hakiri_core::source::Rows;
use hakiri_core::{Error, Result};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::out::Out;
use super::place::io_error;

/// Reads a file.
///
/// # Errors
/// `HK0605` for what is not Parquet or is damaged.
pub(super) fn read(path: &str, size: u64, file: &File, out: &mut Out<'_>) -> Result<()> {
    // The decoder is not written for hostile bytes and may panic on them; that must fail the table, not the process.
    match catch_unwind(AssertUnwindSafe(|| groups(path, size, file, out))) {
        Ok(result) => result,
        Err(_) => Err(malformed(path, "the decoder gave up on it")),
    }
}

fn groups(path: &str, size: u64, file: &File, out: &mut Out<'_>) -> Result<()> {
    let wrong = |e: &dyn std::fmt::Display| malformed(path, &e.to_string());
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(|e| wrong(&e))?;
    let before = out.bytes.get();
    for group in 0..metadata.metadata().num_row_groups() {
        let handle = file.try_clone().map_err(|e| io_error(&e, path))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(handle, metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(out.batch_rows)
            .build()
            .map_err(|e| wrong(&e))?;
        for batch in reader {
            out.rows(Rows::Typed(batch.map_err(|e| wrong(&e))?))?;
        }
        let read = u64::try_from(metadata.metadata().row_group(group).compressed_size()).unwrap_or(0);
        out.bytes.set((out.bytes.get() + read).min(before + size));
    }
    out.bytes.set(before + size);
    Ok(())
}

fn malformed(path: &str, what: &str) -> Error {
    // The decoder's texts speak of structure, not of values; one line of them is enough.
    let line: String = what.lines().next().unwrap_or_default().chars().take(160).collect();
    Error::new(Code::FileMalformed, format!("the file is not readable as Parquet: {line}"))
        .at(path)
        .with_hint("copy the file again, or check `format`")
}
