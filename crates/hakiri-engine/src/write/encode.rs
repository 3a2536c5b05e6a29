//! Rows to the bytes of parts: no store, no clock, no thread; the whole of S7 and S9 can be tested here.

use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, SchemaRef};
use hakiri_core::codes::Code;
use hakiri_core::id::RunId;
use hakiri_core::schema::{RUN_COLUMN, Schema};
use hakiri_core::{Error, Result};
use parquet::arrow::ArrowWriter;

use super::cut::{Cut, Cutter};
use super::normal::{arrow_error, normalise, stored_schema};
use super::policy::properties;
use super::size::row_bytes;

/// A finished part.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) rows: u64,
    pub(super) bytes: Vec<u8>,
}

/// Encodes rows into parts.
pub(super) struct Encoder {
    /// The table's own columns.
    columns: SchemaRef,
    /// And ours.
    file: SchemaRef,
    run: Option<String>,
    cutter: Cutter,
    /// Rows of the chunk under way.
    pending: Vec<RecordBatch>,
    open: Option<ArrowWriter<Vec<u8>>>,
    rows: u64,
}

impl Encoder {
    pub(super) fn new(schema: &Schema, run: Option<&RunId>) -> Result<Self> {
        let columns = stored_schema(schema)?;
        let file = match run {
            // Not nullable, unlike all others: it is ours, and always there.
            Some(_) => {
                let run = Arc::new(Field::new(RUN_COLUMN, DataType::LargeUtf8, false));
                Arc::new(ArrowSchema::new(columns.fields().iter().cloned().chain([run]).collect::<Fields>()))
            }
            None => columns.clone(),
        };
        Ok(Self {
            columns,
            file,
            run: run.map(ToString::to_string),
            cutter: Cutter::default(),
            pending: Vec::new(),
            open: None,
            rows: 0,
        })
    }

    /// Takes rows, in order; returns the parts that are complete by them.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<Vec<Encoded>> {
        let batch = normalise(batch, &self.columns)?;
        let mut done = Vec::new();
        let mut start = 0;
        for (row, bytes) in row_bytes(&batch).into_iter().enumerate() {
            let cut = self.cutter.place(bytes);
            if cut == Cut::Nothing {
                continue;
            }
            self.hold(&batch, start, row);
            start = row;
            self.end_chunk()?;
            if cut >= Cut::Group
                && let Some(open) = &mut self.open
            {
                open.flush().map_err(parquet_error)?;
            }
            if cut >= Cut::Part {
                done.extend(self.end_part()?);
            }
        }
        self.hold(&batch, start, batch.num_rows());
        Ok(done)
    }

    /// The last part, if rows are left.
    pub(super) fn finish(mut self) -> Result<Option<Encoded>> {
        self.end_chunk()?;
        self.end_part()
    }

    fn hold(&mut self, batch: &RecordBatch, start: usize, end: usize) {
        if end > start {
            self.pending.push(batch.slice(start, end - start));
        }
    }

    fn end_chunk(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // Two batches are always copied. One alone would be handed on as it is, with the offsets and the bitmaps of
        // whatever it is a slice of.
        let none = RecordBatch::new_empty(self.columns.clone());
        let chunk = concat_batches(&self.columns, self.pending.iter().chain([&none])).map_err(arrow_error)?;
        self.pending.clear();
        let chunk = self.with_run(&chunk)?;
        if self.open.is_none() {
            self.open =
                Some(ArrowWriter::try_new(Vec::new(), self.file.clone(), Some(properties()?)).map_err(parquet_error)?);
        }
        if let Some(open) = &mut self.open {
            open.write(&chunk).map_err(parquet_error)?;
            self.rows += chunk.num_rows() as u64;
        }
        Ok(())
    }

    fn with_run(&self, chunk: &RecordBatch) -> Result<RecordBatch> {
        let rows = chunk.num_rows();
        let mut columns = chunk.columns().to_vec();
        if let Some(run) = &self.run {
            columns.push(Arc::new(LargeStringArray::from_iter_values(std::iter::repeat_n(run, rows))) as ArrayRef);
        }
        RecordBatch::try_new_with_options(
            self.file.clone(),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .map_err(arrow_error)
    }

    fn end_part(&mut self) -> Result<Option<Encoded>> {
        let Some(open) = self.open.take() else { return Ok(None) };
        let bytes = open.into_inner().map_err(parquet_error)?;
        Ok(Some(Encoded { rows: std::mem::take(&mut self.rows), bytes }))
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("rows", &self.rows).finish_non_exhaustive()
    }
}

fn parquet_error(e: parquet::errors::ParquetError) -> Error {
    Error::new(Code::Internal, format!("parquet: {e}"))
}
