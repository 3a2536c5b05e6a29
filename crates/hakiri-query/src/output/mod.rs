//! Results for people and programs.
//!
//! | Format | Null | Numbers | Times | Bytes | Structs and lists |
//! |---|---|---|---|---|---|
//! | table | `NULL` | all digits, to the right | RFC 3339 | hexadecimal | JSON |
//! | csv | empty (empty text is `""`) | all digits | RFC 3339 | hexadecimal | JSON |
//! | json, ndjson | `null` | JSON numbers with all their digits, also above 2^53 | RFC 3339 | hexadecimal | JSON |
//! | parquet | null | as they are | as they are | as they are | as they are |
//!
//! Decimals keep the digits of their scale (`1.50`). A reader of JSON that keeps numbers as floats loses digits beyond 15:
//! use one that does not, or csv. Floats that are no numbers are the strings `"NaN"`, `"Infinity"`, `"-Infinity"`.
//! Columns of JSON are embedded as JSON. Durations are seconds as ISO 8601 (`PT1.5S`). Rows are written as they come; the
//! table format looks at the first thousand to find its widths.

mod csv;
mod json;
mod table;

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::StreamExt as _;
use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::database::QueryResult;
use crate::text::{self, Style, Writer};

/// A form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people: aligned columns, long cells cut to 60 characters.
    Table,
    /// RFC 4180 with a header, but lines end in LF alone, as tools on Unix expect.
    Csv,
    /// One array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// A Parquet file, compressed with zstd.
    Parquet,
}

/// Writes a result and returns how many rows it had. Nothing else is printed; flushing is the caller's.
///
/// # Errors
/// Those of the query's stream; `HK0005` when `out` cannot be written to.
pub async fn write_results(mut result: QueryResult, format: OutputFormat, out: &mut (dyn Write + Send)) -> Result<u64> {
    let mut sink: Box<dyn Sink + Send + '_> = match format {
        OutputFormat::Table => Box::new(table::Table::new(out)),
        OutputFormat::Csv => Box::new(csv::Csv::new(out)),
        OutputFormat::Json => Box::new(json::Json::new(out, false)),
        OutputFormat::Ndjson => Box::new(json::Json::new(out, true)),
        OutputFormat::Parquet => Box::new(Parquet::new(out, &unique(&result.schema))?),
    };
    sink.start(&result.schema)?;
    let mut rows = 0;
    while let Some(batch) = result.stream.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        sink.batch(&batch)?;
    }
    sink.finish()?;
    Ok(rows)
}

/// One format at work.
trait Sink {
    fn start(&mut self, schema: &Schema) -> Result<()>;
    fn batch(&mut self, batch: &RecordBatch) -> Result<()>;
    fn finish(&mut self) -> Result<()>;
}

/// The texts of a column.
struct Cells {
    nulls: Option<NullBuffer>,
    write: Writer,
}

impl Cells {
    /// The text of a row, or `None` for null.
    fn append(&self, row: usize, out: &mut String) -> Result<Option<()>> {
        if self.nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            return Ok(None);
        }
        (self.write)(row, out).map(Some).ok_or_else(|| {
            Error::new(Code::QueryFailed, "a value is beyond the calendar")
                .with_hint("filter the row, or cast the column to bigint")
        })
    }
}

/// The columns of a batch as texts; JSON for all of them if `json`.
fn cells(batch: &RecordBatch, json: bool) -> Result<Vec<Cells>> {
    let make = |(field, array): (&Arc<Field>, _)| {
        let write =
            if json { text::document(array, field, Style::Stored) } else { text::cell(array, field, Style::Stored) };
        let write = write.map_err(|_| {
            Error::new(Code::QueryFailed, format!("the column `{}` has no text", field.name()))
                .with_hint("leave it out, or cast it")
        })?;
        Ok(Cells { nulls: array.logical_nulls(), write })
    };
    batch.schema_ref().fields().iter().zip(batch.columns()).map(make).collect()
}

/// The schema with names that differ: two tables of a join may each have an `id`; the second becomes `id_2`.
fn unique(schema: &Schema) -> SchemaRef {
    let mut taken = HashSet::new();
    let fields = schema.fields().iter().map(|field| {
        let name = (1..)
            .map(|n| if n == 1 { field.name().clone() } else { format!("{}_{n}", field.name()) })
            .find(|name| taken.insert(name.clone()));
        Field::clone(field).with_name(name.unwrap_or_default())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn write(out: &mut (dyn Write + Send), text: &str) -> Result<()> {
    out.write_all(text.as_bytes()).map_err(|e| io(&e))
}

fn io(error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("the result cannot be written: {}", error.kind()))
}

struct Parquet<'a> {
    schema: SchemaRef,
    writer: Option<ArrowWriter<&'a mut (dyn Write + Send)>>,
}

impl<'a> Parquet<'a> {
    fn new(out: &'a mut (dyn Write + Send), schema: &SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(128 * 1024))
            .build();
        let writer = ArrowWriter::try_new(out, Arc::clone(schema), Some(properties)).map_err(|e| parquet(&e))?;
        Ok(Self { schema: Arc::clone(schema), writer: Some(writer) })
    }
}

impl Sink for Parquet<'_> {
    fn start(&mut self, _: &Schema) -> Result<()> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let renamed = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec());
        let batch = renamed.map_err(|e| {
            Error::new(Code::Internal, format!("a batch does not fit its schema: {}", crate::errors::reason(&e.into())))
        })?;
        writer.write(&batch).map_err(|e| parquet(&e))
    }

    fn finish(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(writer) => writer.close().map(|_| ()).map_err(|e| parquet(&e)),
            None => Ok(()),
        }
    }
}

fn parquet(error: &parquet::errors::ParquetError) -> Error {
    match error {
        parquet::errors::ParquetError::NYI(_) => {
            Error::new(Code::QueryFailed, "a column has a type that Parquet lacks").with_hint("cast it")
        }
        _ => Error::new(Code::Io, "the result cannot be written as Parquet"),
    }
}
