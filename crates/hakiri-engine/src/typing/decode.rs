//! Rows into batches of exactly a schema.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, LargeStringArray, RecordBatch, RecordBatchOptions, StringArray,
    StringViewArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::schema::{Schema, to_arrow_schema};
use hakiri_core::source::Rows;

use super::build::{Column, Faults, Members};
use super::build_json::not_a_record;
use super::cast::cast_batch;

/// A batch of the rows that could be used, and what was wrong with the others.
#[derive(Debug)]
pub struct Decoded {
    /// The usable rows, in their order.
    pub batch: RecordBatch,
    /// Which of the given rows they are: one bit per given row, never null.
    pub kept: BooleanArray,
    /// The other rows, in their order: the index among the given rows, and what is wrong. The error has no row number
    /// in it, since the number would depend on how rows are cut into batches (S9).
    pub rejected: Vec<(usize, Error)>,
}

/// Turns rows into a batch of exactly [`to_arrow_schema`] of `schema`: its columns in its order, null where a row has
/// no such value. Columns that the schema does not have are left out; whether that is allowed was decided before.
///
/// # Errors
/// Of the first row with one: `HK0705` for a value that is not of its column's type, `HK0708` for a record that is not
/// an object. `HK0703` for a typed column that cannot be stored, `HK0001` for rows that are not what their kind
/// promises.
pub fn decode(rows: &Rows, schema: &Schema) -> Result<RecordBatch> {
    let decoded = decode_lenient(rows, schema)?;
    match decoded.rejected.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(decoded.batch),
    }
}

/// As [`decode`], but a row with an error is left out and reported (`on_bad_row = "skip"`).
///
/// # Errors
/// Only what concerns all rows: `HK0703` and `HK0001` as for [`decode`].
pub fn decode_lenient(rows: &Rows, schema: &Schema) -> Result<Decoded> {
    match rows {
        Rows::Typed(batch) => typed(batch, schema),
        Rows::Text(batch) => text(batch, schema),
        Rows::Json(batch) => json(batch, schema),
    }
}

fn json(batch: &RecordBatch, schema: &Schema) -> Result<Decoded> {
    let records = json_column(batch)?;
    let mut members = Members::new(&schema.fields, "", records.len());
    let mut faults = Faults::default();
    let mut rejected = Vec::new();
    for row in 0..records.len() {
        let appended = records.get(row).is_some_and(|record| members.append_object(record, &mut faults).is_ok());
        if !appended {
            faults.raise(not_a_record);
            members.columns.iter_mut().for_each(Column::append_null);
        }
        if let Some(error) = faults.take() {
            rejected.push((row, error));
        }
    }
    finish(members.columns, schema, records.len(), rejected)
}

fn text(batch: &RecordBatch, schema: &Schema) -> Result<Decoded> {
    let rows = batch.num_rows();
    let mut columns = Vec::with_capacity(schema.fields.len());
    let mut first: Vec<Option<Error>> = vec![None; rows];
    let mut faults = Faults::default();
    for field in &schema.fields {
        let mut column = Column::new(field.name.clone(), &field.ty, rows);
        let values = batch.column_by_name(&field.name).map(Strings::of).transpose()?;
        for (row, slot) in first.iter_mut().enumerate() {
            match values.as_ref().and_then(|v| v.get(row)) {
                Some(text) => column.append_cell(text, &mut faults),
                None => column.append_null(),
            }
            if let Some(error) = faults.take() {
                slot.get_or_insert(error);
            }
        }
        columns.push(column);
    }
    let rejected = first.into_iter().enumerate().filter_map(|(row, error)| Some((row, error?))).collect();
    finish(columns, schema, rows, rejected)
}

fn typed(batch: &RecordBatch, schema: &Schema) -> Result<Decoded> {
    let rows = batch.num_rows();
    let error = match cast_batch(batch, schema) {
        Ok(cast) => {
            return Ok(Decoded { batch: cast, kept: mask(rows, &[]), rejected: Vec::new() });
        }
        Err(error) if error.code() != Code::SchemaValue => return Err(error),
        Err(error) => error,
    };
    // Kernels say that a value does not fit, not which: this batch is looked at row by row.
    let rejected: Vec<_> =
        (0..rows).filter_map(|row| Some((row, cast_batch(&batch.slice(row, 1), schema).err()?))).collect();
    if rejected.is_empty() {
        return Err(error);
    }
    let kept = mask(rows, &rejected);
    let usable = filter_record_batch(batch, &kept).map_err(|e| broken(&e))?;
    Ok(Decoded { batch: cast_batch(&usable, schema)?, kept, rejected })
}

fn finish(columns: Vec<Column<'_>>, schema: &Schema, rows: usize, rejected: Vec<(usize, Error)>) -> Result<Decoded> {
    let arrays = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>>>()?;
    let batch = assemble(Arc::new(to_arrow_schema(schema)), arrays, rows)?;
    let kept = mask(rows, &rejected);
    if rejected.is_empty() {
        return Ok(Decoded { batch, kept, rejected });
    }
    let batch = filter_record_batch(&batch, &kept).map_err(|e| broken(&e))?;
    Ok(Decoded { batch, kept, rejected })
}

fn mask(rows: usize, rejected: &[(usize, Error)]) -> BooleanArray {
    let mut kept = vec![true; rows];
    for (row, _) in rejected {
        if let Some(slot) = kept.get_mut(*row) {
            *slot = false;
        }
    }
    BooleanArray::from(kept)
}

/// A batch, also of no columns.
pub(super) fn assemble(schema: SchemaRef, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    RecordBatch::try_new_with_options(schema, arrays, &RecordBatchOptions::new().with_row_count(Some(rows)))
        .map_err(|e| broken(&e))
}

pub(super) fn broken(error: &arrow::error::ArrowError) -> Error {
    Error::new(Code::Internal, format!("a batch cannot be built: {error}"))
}

/// A column of text, whichever way Arrow keeps it.
#[derive(Debug)]
pub(super) enum Strings<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Strings<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Utf8 => Ok(Self::Small(array.as_string())),
            DataType::LargeUtf8 => Ok(Self::Large(array.as_string())),
            DataType::Utf8View => Ok(Self::View(array.as_string_view())),
            other => Err(Error::new(Code::Internal, format!("rows of text hold a column of {other}"))),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Small(a) => a.len(),
            Self::Large(a) => a.len(),
            Self::View(a) => a.len(),
        }
    }

    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Small(a) => a.is_valid(row).then(|| a.value(row)),
            Self::Large(a) => a.is_valid(row).then(|| a.value(row)),
            Self::View(a) => a.is_valid(row).then(|| a.value(row)),
        }
    }
}

/// The one column of rows of JSON.
pub(super) fn json_column(batch: &RecordBatch) -> Result<Strings<'_>> {
    match batch.columns() {
        [column] => Strings::of(column),
        columns => {
            Err(Error::new(Code::Internal, format!("rows of JSON have {} columns instead of one", columns.len())))
        }
    }
}
