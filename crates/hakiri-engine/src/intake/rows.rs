//! What happens to a batch of rows on its way from the spool to the sorter.

use arrow::array::{Array as _, BooleanArray, RecordBatch};
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::plan::PlannedTable;
use hakiri_core::schema::Schema;
use hakiri_core::source::Rows;
use hakiri_core::spec::{Mode, OnBadRow};
use hakiri_core::{Error, Result};

use super::Intake;
use crate::typing::{decode, decode_lenient, highest, window_mask};

/// Text and JSON become typed. Also says which of the given rows are in the batch: those that do not fit a declared type
/// are rejected one by one where the manifest allows it.
pub(super) fn decode_rows(intake: &mut Intake<'_>, rows: &Rows, seen: &Schema) -> Result<(RecordBatch, BooleanArray)> {
    if intake.table.on_bad_row == OnBadRow::Fail {
        return Ok((decode(rows, seen)?, all(rows.len())));
    }
    let decoded = decode_lenient(rows, seen)?;
    intake.read -= decoded.rejected.len() as u64;
    for (_, error) in decoded.rejected {
        intake.reject(error.message().to_owned(), error)?;
    }
    Ok((decoded.batch, decoded.kept))
}

/// Leaves out rows beyond the window; they belong to another tick. Rows with a null cursor are read every time (merge)
/// or refused (append). `kept` says which of the given rows are in the batch, before and after.
pub(super) fn within_window(
    intake: &mut Intake<'_>,
    batch: RecordBatch,
    kept: BooleanArray,
    last: &mut Option<Cursor>,
) -> Result<(RecordBatch, BooleanArray)> {
    let table = intake.table;
    let Some(column) = table.merge.cursor.as_deref().filter(|c| batch.schema_ref().index_of(c).is_ok()) else {
        return Ok((batch, kept));
    };
    let nulls = batch.column_by_name(column).map_or(0, |c| c.null_count());
    // A column without a value has no type yet, and no order: none of its rows has a cursor.
    let inside = match nulls == batch.num_rows() {
        true => BooleanArray::new_null(nulls),
        false => window_mask(&batch, column, &table.window)?,
    };
    let append = table.merge.mode == Mode::Append;
    if append && inside.null_count() > 0 {
        let missing = inside.null_count() as u64;
        let text = format!("a record has no value in the cursor column `{column}`");
        for _ in 0..missing {
            intake.reject(text.clone(), Error::new(Code::CursorNull, text.clone()))?;
        }
        intake.read -= missing;
    }
    let inside: BooleanArray = inside.iter().map(|inside| Some(inside.unwrap_or(!append))).collect();
    let batch = keep(&batch, &inside)?;
    if nulls < inside.len()
        && let Some(position) = highest(&batch, column)?
        && last.as_ref().is_none_or(|l| position.compare(l).is_some_and(std::cmp::Ordering::is_gt))
    {
        *last = Some(position);
    }
    Ok((batch, narrowed(&kept, &inside)))
}

/// Rejects rows without a primary key.
pub(super) fn with_keys(intake: &mut Intake<'_>, batch: RecordBatch) -> Result<RecordBatch> {
    let mut batch = batch;
    for column in &intake.table.merge.primary_key {
        let Some(values) = batch.column_by_name(column).filter(|c| c.null_count() > 0) else { continue };
        let missing = values.null_count() as u64;
        let text = format!("a record has no value in the key column `{column}`");
        for _ in 0..missing {
            intake.reject(text.clone(), Error::new(Code::RecordWithoutKey, text.clone()))?;
        }
        intake.read -= missing;
        let present = arrow::compute::is_not_null(values).map_err(internal)?;
        batch = keep(&batch, &present)?;
    }
    Ok(batch)
}

/// That the key and the cursor are columns, said once and early.
pub(super) fn check_columns(table: &PlannedTable, seen: &Schema, schema: &Schema, read: u64) -> Result<()> {
    if read == 0 {
        return Ok(());
    }
    for column in &table.merge.primary_key {
        if schema.field(column).is_none() {
            return Err(no_column(schema, column, "primary key"));
        }
    }
    match &table.merge.cursor {
        Some(column) if seen.field(column).is_none() && table.schema.is_none() => {
            Err(no_column(seen, column, "cursor"))
        }
        Some(column) if schema.field(column).is_none() => Err(no_column(schema, column, "cursor")
            .with_hint("keep the cursor column in `transform`: it tells which version of a row is current")),
        _ => Ok(()),
    }
}

fn no_column(schema: &Schema, column: &str, what: &str) -> Error {
    let known: Vec<&str> = schema.fields.iter().map(|f| f.name.as_str()).collect();
    Error::new(Code::SchemaKey, format!("the {what} `{column}` is not a column of the records"))
        .with_hint(format!("the columns are: {}", known.join(", ")))
}

/// A mask that keeps everything.
fn all(rows: usize) -> BooleanArray {
    BooleanArray::from(vec![true; rows])
}

/// A mask over given rows, narrowed by a mask over those it keeps.
pub(super) fn narrowed(kept: &BooleanArray, inside: &BooleanArray) -> BooleanArray {
    let mut inside = inside.iter();
    kept.iter().map(|k| Some(k == Some(true) && inside.next().flatten() == Some(true))).collect()
}

/// The rows of a batch that a mask keeps.
pub(super) fn keep(batch: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch> {
    if mask.true_count() == batch.num_rows() {
        return Ok(batch.clone());
    }
    arrow::compute::filter_record_batch(batch, mask).map_err(internal)
}

pub(super) fn internal(e: arrow::error::ArrowError) -> Error {
    Error::new(Code::Internal, format!("arrow: {e}"))
}
