//! Typed arrays into the types of a schema: rows of typed sources, and parts that were written with a narrower schema.
//!
//! A value either keeps its meaning or is an error: nothing is rounded, cut or wrapped, except that a float may be
//! declared as a narrower float. Arrow's kernels do the work where they are exact; a cast to a narrower type is checked
//! by casting back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, LargeListArray, PrimitiveArray, RecordBatch, StructArray, make_array, new_null_array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::schema::{Schema, Type, from_arrow, join, to_arrow, to_arrow_schema};

use super::build::{Column, Faults, misfit};
use super::decode::{Strings, assemble, broken};
use super::temporal::{DAY_NANOS, in_unit};
use super::text::{canonical_text, json_text, plain_text};

/// A batch as one of exactly [`to_arrow_schema`] of `schema`: columns by name, null where the batch has none.
///
/// # Errors
/// `HK0705` for a value that the new type cannot hold, `HK0703` for a type that cannot be stored or converted.
pub fn cast_batch(batch: &RecordBatch, schema: &Schema) -> Result<RecordBatch> {
    let target = Arc::new(to_arrow_schema(schema));
    if batch.schema_ref() == &target {
        return Ok(batch.clone());
    }
    let mut arrays = Vec::with_capacity(schema.fields.len());
    for field in &schema.fields {
        arrays.push(match batch.schema_ref().column_with_name(&field.name) {
            Some((place, from)) => cast_column(batch.column(place), &from_arrow(from)?, &field.ty, &field.name)?,
            None => new_null_array(&to_arrow(&field.ty), batch.num_rows()),
        });
    }
    assemble(target, arrays, batch.num_rows())
}

/// An array of one type as one of another, stored as [`to_arrow`] says. `path` names the column in errors.
///
/// # Errors
/// As [`cast_batch`].
pub fn cast_column(array: &ArrayRef, from: &Type, to: &Type, path: &str) -> Result<ArrayRef> {
    let target = to_arrow(to);
    // Also what a column without a type so far is stored as: nulls fit anywhere.
    if array.logical_null_count() == array.len() {
        return Ok(new_null_array(&target, array.len()));
    }
    if *array.data_type() == target && from == to {
        return Ok(Arc::clone(array));
    }
    match array.data_type() {
        DataType::Dictionary(_, value) => return cast_column(&kernel(array, value, to, path)?, from, to, path),
        DataType::RunEndEncoded(_, value) => {
            return cast_column(&kernel(array, value.data_type(), to, path)?, from, to, path);
        }
        _ => {}
    }
    match (from, to) {
        (_, Type::Null) => Err(misfit(path, to)),
        (Type::Text, Type::Text) | (Type::Json, Type::Json | Type::Text) => plain_text(array),
        (Type::Text | Type::Json, to) if *to != Type::Json => from_text(array, from, to, path),
        (Type::Binary | Type::FixedBinary { .. }, Type::Text) => kernel(array, &target, to, path),
        (Type::Struct { .. } | Type::List { .. }, Type::Text) | (_, Type::Json) => {
            Ok(Arc::new(json_text(array, from).map_err(|e| e.at(path))?))
        }
        (_, Type::Text) => Ok(Arc::new(canonical_text(array).map_err(|e| e.at(path))?)),
        (Type::Struct { .. }, Type::Struct { fields }) => {
            let (DataType::Struct(target), source) = (&target, array.as_struct()) else {
                return Err(misfit(path, to));
            };
            let mut columns = Vec::with_capacity(fields.len());
            for field in fields {
                let found = source.fields().iter().zip(source.columns()).find(|(f, _)| *f.name() == field.name);
                columns.push(match found {
                    Some((f, column)) => {
                        cast_column(column, &from_arrow(f)?, &field.ty, &format!("{path}.{}", field.name))?
                    }
                    None => new_null_array(&to_arrow(&field.ty), source.len()),
                });
            }
            let cast = StructArray::try_new_with_length(target.clone(), columns, source.nulls().cloned(), source.len());
            Ok(Arc::new(cast.map_err(|e| broken(&e))?))
        }
        (Type::List { item: before }, Type::List { item }) => {
            let (DataType::LargeList(field), source) = (&target, large_list(array)?) else {
                return Err(misfit(path, to));
            };
            let values = cast_column(source.values(), before, item, &format!("{path}[]"))?;
            let cast =
                LargeListArray::try_new(field.clone(), source.offsets().clone(), values, source.nulls().cloned());
            Ok(Arc::new(cast.map_err(|e| broken(&e))?))
        }
        (Type::Date, Type::Timestamp { unit, .. }) => {
            let days = kernel(array, &DataType::Date32, to, path)?;
            let midnight = |day: Option<i32>| match day {
                Some(day) => in_unit(i128::from(day) * DAY_NANOS, *unit).map(Some).ok_or_else(|| misfit(path, to)),
                None => Ok(None),
            };
            let counts = days
                .as_primitive::<Date32Type>()
                .iter()
                .map(midnight)
                .collect::<Result<PrimitiveArray<Int64Type>>>()?;
            let data = counts.into_data().into_builder().data_type(target).build().map_err(|e| broken(&e))?;
            Ok(make_array(data))
        }
        _ => exact(array, from, to, &target, path),
    }
}

fn kernel(array: &ArrayRef, target: &DataType, to: &Type, path: &str) -> Result<ArrayRef> {
    // Arrow's message may quote the value, so it is not passed on (P8).
    cast_with_options(array, target, &CastOptions { safe: false, ..CastOptions::default() })
        .map_err(|_| misfit(path, to))
}

/// A kernel's cast; to a narrower type only if casting back gives the same.
fn exact(array: &ArrayRef, from: &Type, to: &Type, target: &DataType, path: &str) -> Result<ArrayRef> {
    let cast = kernel(array, target, to, path)?;
    let floats = matches!(from, Type::Float32 | Type::Float64) && matches!(to, Type::Float32 | Type::Float64);
    if floats || join(from, to).as_ref() == Some(to) {
        return Ok(cast);
    }
    let back = kernel(&cast, array.data_type(), to, path)?;
    let same = not_distinct(&back, array).map_err(|e| broken(&e))?;
    if same.false_count() == 0 { Ok(cast) } else { Err(misfit(path, to)) }
}

/// Text or JSON that is declared to be something else.
fn from_text(array: &ArrayRef, from: &Type, to: &Type, path: &str) -> Result<ArrayRef> {
    let values = Strings::of(array)?;
    let mut column = Column::new(path.to_owned(), to, values.len());
    let mut faults = Faults::default();
    for row in 0..values.len() {
        match values.get(row) {
            None => column.append_null(),
            Some(text) if *from == Type::Text => column.append_text(text, &mut faults),
            Some(text) => match super::json::valid(text) {
                Some(raw) => column.append_json(raw, &mut faults),
                None => column.append_fault(&mut faults),
            },
        }
        if let Some(error) = faults.take() {
            return Err(error);
        }
    }
    column.finish()
}

/// Any kind of list, a map included, with 64-bit offsets.
pub(super) fn large_list(array: &ArrayRef) -> Result<LargeListArray> {
    let unsupported =
        || Error::new(Code::SchemaUnsupported, format!("values of {} cannot be stored", array.data_type()));
    match array.data_type() {
        DataType::LargeList(_) => Ok(array.as_list::<i64>().clone()),
        DataType::Map(field, _) => {
            let map = array.as_map();
            let offsets = OffsetBuffer::new(ScalarBuffer::from(
                map.value_offsets().iter().map(|o| i64::from(*o)).collect::<Vec<_>>(),
            ));
            LargeListArray::try_new(field.clone(), offsets, Arc::new(map.entries().clone()), map.nulls().cloned())
                .map_err(|_| unsupported())
        }
        DataType::List(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => {
            let cast = arrow::compute::cast(array, &DataType::LargeList(field.clone())).map_err(|_| unsupported())?;
            Ok(cast.as_list::<i64>().clone())
        }
        _ => Err(unsupported()),
    }
}
