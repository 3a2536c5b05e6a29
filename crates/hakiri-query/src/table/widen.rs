//! Values of an older, narrower schema as those of the current one (S12).
//!
//! Only the widenings of [`hakiri_core::schema::join`] occur; a value that would not fit is an error, never null and
//! never rounded. Text of widened values is canonical: see [`crate::text`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, PrimitiveArray, StructArray, make_array, new_null_array};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, TimeUnit};
use arrow::error::ArrowError;

use crate::text::{Style, convert, is_json, large_list, texts};

/// An array of one field as one of another.
///
/// # Errors
/// A cast error when a value does not fit, naming types only.
pub(crate) fn widen(array: &ArrayRef, from: &Field, to: &Field) -> Result<ArrayRef, ArrowError> {
    let target = to.data_type();
    // Also what a column without a type so far is stored as: nulls fit anywhere.
    if array.logical_null_count() == array.len() {
        return Ok(new_null_array(target, array.len()));
    }
    if array.data_type() == target && is_json(from) == is_json(to) {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), target) {
        (DataType::Dictionary(_, value), _) => widen(&convert(array, value)?, from, to),
        _ if is_json(to) && !is_json(from) => Ok(Arc::new(texts(array, from, Style::Canonical, true)?)),
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::LargeUtf8) => convert(array, target),
        (_, DataType::LargeUtf8) => Ok(Arc::new(texts(array, from, Style::Canonical, false)?)),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let source = array.as_struct();
            let mut columns = Vec::with_capacity(fields.len());
            for field in fields {
                let found = source.fields().iter().zip(source.columns()).find(|(f, _)| f.name() == field.name());
                columns.push(match found {
                    Some((before, column)) => widen(column, before, field)?,
                    None => new_null_array(field.data_type(), source.len()),
                });
            }
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                source.nulls().cloned(),
                source.len(),
            )?))
        }
        (_, DataType::LargeList(item)) => {
            let Some(list) = large_list(array)? else { return Err(misfit(array.data_type(), target)) };
            let DataType::LargeList(before) = list.data_type() else { return Err(misfit(array.data_type(), target)) };
            let values = widen(list.values(), before, item)?;
            Ok(Arc::new(LargeListArray::try_new(
                Arc::clone(item),
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            )?))
        }
        (DataType::Date32 | DataType::Date64, DataType::Timestamp(unit, _)) => {
            let days = convert(array, &DataType::Date32)?;
            let day = 86_400
                * match unit {
                    TimeUnit::Second => 1,
                    TimeUnit::Millisecond => 1_000,
                    TimeUnit::Microsecond => 1_000_000,
                    TimeUnit::Nanosecond => 1_000_000_000_i64,
                };
            let midnight =
                |days: i32| i64::from(days).checked_mul(day).ok_or_else(|| misfit(&DataType::Date32, target));
            let counts: PrimitiveArray<Int64Type> = days.as_primitive::<Date32Type>().try_unary(midnight)?;
            Ok(make_array(counts.into_data().into_builder().data_type(target.clone()).build()?))
        }
        // Only a column without a type so far is stored as Boolean and becomes something else than text or JSON.
        (DataType::Boolean, _) => Err(misfit(&DataType::Boolean, target)),
        // Arrow's message may quote the value, so it is not passed on (P8).
        _ => convert(array, target).map_err(|_| misfit(array.data_type(), target)),
    }
}

fn misfit(from: &DataType, to: &DataType) -> ArrowError {
    ArrowError::CastError(format!("a stored value of {from} does not fit {to}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Date32Array, Int32Array, Int64Array, LargeStringArray};
    use hakiri_core::cursor::TimeUnit as Unit;
    use hakiri_core::schema::{Field as Column, Schema, Type, to_arrow_schema};

    use super::*;

    fn field(ty: Type) -> Field {
        to_arrow_schema(&Schema::new(vec![Column::new("x", ty)])).field(0).clone()
    }

    fn shown(array: ArrayRef, from: Type, to: Type) -> Vec<String> {
        let (from, to) = (field(from), field(to));
        let wide = widen(&array, &from, &to).unwrap();
        assert_eq!(wide.data_type(), to.data_type());
        texts(&wide, &to, Style::Stored, false).unwrap().iter().map(|t| t.unwrap_or("null").to_owned()).collect()
    }

    #[test]
    fn each_widening_keeps_the_value() {
        let decimal = |precision, scale| Type::Decimal { precision, scale };
        let utc = |unit| Type::Timestamp { unit, utc: true };
        let ints = || Arc::new(Int64Array::from(vec![Some(7), None, Some(-1)])) as ArrayRef;
        assert_eq!(shown(ints(), Type::Int64, decimal(21, 2)), ["7.00", "null", "-1.00"]);
        assert_eq!(shown(ints(), Type::Int64, decimal(60, 2)), ["7.00", "null", "-1.00"]);
        assert_eq!(shown(ints(), Type::Int64, Type::Text), ["7", "null", "-1"]);
        assert_eq!(shown(ints(), Type::Int64, Type::Json), ["7", "null", "-1"]);
        let days = || Arc::new(Date32Array::from(vec![Some(19_723), None])) as ArrayRef;
        for unit in [Unit::Second, Unit::Millisecond, Unit::Microsecond, Unit::Nanosecond] {
            assert_eq!(shown(days(), Type::Date, utc(unit)), ["2024-01-01T00:00:00Z", "null"]);
        }
        assert_eq!(shown(days(), Type::Date, Type::Text), ["2024-01-01", "null"]);
        assert_eq!(shown(days(), Type::Date, Type::Json), ["\"2024-01-01\"", "null"]);
        let times = convert(
            &convert(&days(), &DataType::Timestamp(TimeUnit::Second, None)).unwrap(),
            &DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
        )
        .unwrap();
        assert_eq!(shown(Arc::clone(&times), utc(Unit::Second), Type::Text), ["2024-01-01T00:00:00Z", "null"]);
        assert_eq!(shown(times, utc(Unit::Second), utc(Unit::Nanosecond)), ["2024-01-01T00:00:00Z", "null"]);
        let text = || Arc::new(LargeStringArray::from(vec![Some("1"), Some("a\"")])) as ArrayRef;
        assert_eq!(shown(text(), Type::Text, Type::Json), ["\"1\"", "\"a\\\"\""]);
        assert_eq!(shown(text(), Type::Json, Type::Text), ["1", "a\""]);
        assert_eq!(shown(Arc::new(BooleanArray::from(vec![true])), Type::Bool, Type::Text), ["true"]);
        assert_eq!(shown(Arc::new(BooleanArray::from(vec![None::<bool>])), Type::Null, Type::Int64), ["null"]);
    }

    #[test]
    fn structs_widen_by_name_and_lists_by_item() {
        let before = Type::Struct { fields: vec![Column::new("b", Type::Int32), Column::new("a", Type::Int32)] };
        let after = Type::Struct {
            fields: vec![Column::new("a", Type::Text), Column::new("c", Type::Bool), Column::new("b", Type::Int64)],
        };
        let DataType::Struct(fields) = field(before.clone()).data_type().clone() else { panic!() };
        let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1])), Arc::new(Int32Array::from(vec![2]))];
        let array: ArrayRef = Arc::new(StructArray::new(fields, columns, None));
        assert_eq!(shown(Arc::clone(&array), before.clone(), after.clone()), [r#"{"a":"2","c":null,"b":1}"#]);
        assert_eq!(shown(Arc::clone(&array), before.clone(), Type::Json), [r#"{"b":1,"a":2}"#]);
        let (list, wide) = (Type::List { item: Box::new(before) }, Type::List { item: Box::new(after) });
        let DataType::LargeList(item) = field(list.clone()).data_type().clone() else { panic!() };
        let lists = LargeListArray::new(item, arrow::buffer::OffsetBuffer::from_lengths([1]), array, None);
        assert_eq!(shown(Arc::new(lists), list, wide), [r#"[{"a":"2","c":null,"b":1}]"#]);
    }

    #[test]
    fn what_does_not_fit_is_an_error_without_the_value() {
        let far: ArrayRef = Arc::new(Date32Array::from(vec![1_000_000]));
        let error = widen(&far, &field(Type::Date), &field(Type::Timestamp { unit: Unit::Nanosecond, utc: true }))
            .unwrap_err()
            .to_string();
        assert!(!error.contains("1000000") && error.contains("Date32"), "{error}");
        let set: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        assert!(widen(&set, &field(Type::Null), &field(Type::Int64)).is_err());
    }
}
