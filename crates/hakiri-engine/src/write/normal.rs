//! From any Arrow arrays to the one form that is stored.
//!
//! A [`Type`](hakiri_core::schema::Type) has one Arrow type (`schema::to_arrow`), and some are stored as another
//! one, so that readers other than ours see what is meant:
//!
//! | Arrow | stored as | because |
//! |---|---|---|
//! | timestamp and time in seconds | milliseconds | Parquet has no seconds: they would read as plain integers |
//! | decimal with a negative scale | decimal with more digits and scale 0 | Parquet has no negative scales |
//! | struct without fields | struct of one null field, [`EMPTY_FIELD`] | Parquet has no empty groups |
//!
//! Lists' offsets start at zero, and a NaN has one bit pattern (S9).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, Float32Array, Float64Array, LargeListArray, RecordBatch, RecordBatchOptions,
    StructArray, new_null_array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Float32Type, Float64Type, Schema as ArrowSchema, SchemaRef, TimeUnit};
use hakiri_core::codes::Code;
use hakiri_core::schema::{Schema, Type, from_arrow, to_arrow_schema};
use hakiri_core::{Error, Result};

/// The field of a struct that has none.
pub(crate) const EMPTY_FIELD: &str = "_hakiri_empty";

/// The Arrow schema of a table's own columns as files have it.
///
/// # Errors
/// `HK0703` for a decimal that no reader could hold.
pub(crate) fn stored_schema(schema: &Schema) -> Result<SchemaRef> {
    let schema = to_arrow_schema(schema);
    let fields = schema
        .fields()
        .iter()
        .map(|f| stored_field(f).map_err(|e| e.at(format!("column `{}`", f.name()))))
        .collect::<Result<Fields>>()?;
    Ok(Arc::new(ArrowSchema::new(fields)))
}

fn stored_field(field: &Field) -> Result<Arc<Field>> {
    let ty = match field.data_type() {
        DataType::Decimal128(precision, scale @ ..0) | DataType::Decimal256(precision, scale @ ..0) => {
            match precision.saturating_add(scale.unsigned_abs()) {
                digits @ ..=38 => DataType::Decimal128(digits, 0),
                digits @ ..=76 => DataType::Decimal256(digits, 0),
                digits => {
                    return Err(Error::new(
                        Code::SchemaUnsupported,
                        format!("a decimal of {digits} digits cannot be stored"),
                    ));
                }
            }
        }
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::LargeList(item) => DataType::LargeList(stored_field(item)?),
        DataType::Struct(fields) if fields.is_empty() => {
            DataType::Struct(Fields::from(vec![Field::new(EMPTY_FIELD, DataType::Boolean, true)]))
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| stored_field(f)).collect::<Result<_>>()?),
        other => other.clone(),
    };
    Ok(Arc::new(field.clone().with_data_type(ty)))
}

/// A batch with the columns of `target`, by name; those it lacks are null.
///
/// # Errors
/// `HK0705` for a value outside of its column's range; `HK0001` for a column that is not of its type or not of the table.
pub(crate) fn normalise(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    if let Some(extra) = batch.schema_ref().fields().iter().find(|f| target.field_with_name(f.name()).is_err()) {
        return Err(Error::new(Code::Internal, format!("the column `{}` is not one of the table", extra.name())));
    }
    let columns = target
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => stored(column, field).map_err(|e| e.at(format!("column `{}`", field.name()))),
            None => Ok(new_null_array(field.data_type(), rows)),
        })
        .collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new_with_options(target.clone(), columns, &RecordBatchOptions::new().with_row_count(Some(rows)))
        .map_err(arrow_error)
}

fn stored(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let array = match array.data_type() {
        DataType::Dictionary(_, value) => &cast(array, value)?,
        DataType::RunEndEncoded(_, values) => &cast(array, values.data_type())?,
        DataType::Null => &new_null_array(field.data_type(), array.len()),
        _ => array,
    };
    let nulls = array.nulls().filter(|n| n.null_count() > 0).cloned();
    match field.data_type() {
        DataType::Struct(fields) => {
            let from = array.as_struct_opt().ok_or_else(|| mismatch(array, field))?;
            let columns = fields
                .iter()
                .map(|f| match from.column_by_name(f.name()) {
                    Some(column) => stored(column, f),
                    None => Ok(new_null_array(f.data_type(), from.len())),
                })
                .collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(
                StructArray::try_new_with_length(fields.clone(), columns, nulls, from.len()).map_err(arrow_error)?,
            ))
        }
        DataType::LargeList(item) => {
            let (offsets, values) = list_parts(array).ok_or_else(|| mismatch(array, field))??;
            let (first, last) = (offsets[0], offsets[array.len()]);
            let (start, length) = (usize::try_from(first).unwrap_or(0), usize::try_from(last - first).unwrap_or(0));
            let values = stored(&values.slice(start, length), item)?;
            let offsets: Vec<i64> = offsets.iter().map(|o| o - first).collect();
            let list =
                LargeListArray::try_new(item.clone(), OffsetBuffer::new(ScalarBuffer::from(offsets)), values, nulls);
            Ok(Arc::new(list.map_err(arrow_error)?))
        }
        target => Ok(canonical_nan(if array.data_type() == target { array.clone() } else { same_type(array, field)? })),
    }
}

/// Offsets and values of anything that is a list, or nothing for what is not.
fn list_parts(array: &ArrayRef) -> Option<Result<(Vec<i64>, ArrayRef)>> {
    let widened = |offsets: &[i32]| offsets.iter().map(|&o| i64::from(o)).collect();
    Some(Ok(match array.data_type() {
        DataType::LargeList(_) => (array.as_list::<i64>().offsets().to_vec(), array.as_list::<i64>().values().clone()),
        DataType::List(_) => (widened(array.as_list::<i32>().offsets()), array.as_list::<i32>().values().clone()),
        DataType::Map(..) => (widened(array.as_map().offsets()), Arc::new(array.as_map().entries().clone())),
        DataType::ListView(item) | DataType::LargeListView(item) | DataType::FixedSizeList(item, _) => {
            let list = match cast(array, &DataType::LargeList(item.clone())) {
                Ok(list) => list,
                Err(e) => return Some(Err(e)),
            };
            (list.as_list::<i64>().offsets().to_vec(), list.as_list::<i64>().values().clone())
        }
        _ => return None,
    }))
}

/// Another array type of the same [`Type`]: views, small offsets, small decimals, and what is stored as another.
fn same_type(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let is = from_arrow(&Field::new(field.name(), array.data_type().clone(), true))?;
    let wanted = from_arrow(field)?;
    let same = match (&is, &wanted) {
        (Type::Timestamp { utc: a, .. }, Type::Timestamp { utc: b, .. }) => a == b,
        (Type::Time { .. }, Type::Time { .. }) | (Type::Text, Type::Json) => true,
        (Type::Decimal { scale: ..0, .. }, Type::Decimal { scale: 0, .. }) => true,
        (is, wanted) => is == wanted,
    };
    if same { cast(array, field.data_type()) } else { Err(mismatch(array, field)) }
}

/// A cast that fails instead of making nulls, without the value that arrow's message would quote.
fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
        .map_err(|_| Error::new(Code::SchemaValue, format!("a value is out of range for {to}")))
}

/// The quiet NaN without sign and payload: IEEE 754 has millions of them, and processors differ in which they make.
fn canonical_nan(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 if array.as_primitive::<Float32Type>().values().iter().any(|v| v.is_nan()) => {
            let array = array.as_primitive::<Float32Type>();
            Arc::new(array.unary::<_, Float32Type>(|v| if v.is_nan() { f32::from_bits(0x7fc0_0000) } else { v }))
                as Arc<Float32Array>
        }
        DataType::Float64 if array.as_primitive::<Float64Type>().values().iter().any(|v| v.is_nan()) => {
            let array = array.as_primitive::<Float64Type>();
            Arc::new(
                array.unary::<_, Float64Type>(|v| if v.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { v }),
            ) as Arc<Float64Array>
        }
        _ => array,
    }
}

fn mismatch(array: &ArrayRef, field: &Field) -> Error {
    Error::new(
        Code::Internal,
        format!("rows of the type {} were handed over as {}", array.data_type(), field.data_type()),
    )
}

pub(crate) fn arrow_error(e: arrow::error::ArrowError) -> Error {
    Error::new(Code::Internal, format!("arrow: {e}"))
}
