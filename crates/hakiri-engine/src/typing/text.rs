//! The canonical text of typed values: one text for one value, whichever type it was stored as before its column was
//! widened.

use std::fmt::Display;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int64Type, TimeUnit as ArrowUnit,
    UInt64Type,
};
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::schema::{Type, from_arrow};

use super::json;
use super::number::write_canonical;
use super::temporal::{NANOS, write_date, write_time, write_timestamp};

/// Appends the text of the value in a row that is not null; `None` where it has none.
type Writer = Box<dyn Fn(usize, &mut String) -> Option<()>>;

/// The canonical text of the values of an array of scalars, null for null:
///
/// - booleans: `true`, `false`;
/// - numbers of any type, by value: `1.5`, `1000`, `-0.05`; above 76 digits `1e300`; `NaN`, `Infinity`, `-Infinity`;
/// - days `2026-01-31`, times `12:00:00.500`, timestamps `2026-01-31T12:00:00Z` (RFC 3339; no zone where there is none;
///   no, three, six or nine digits of fraction);
/// - durations in seconds, `PT1.5S`;
/// - text and JSON as they are.
///
/// # Errors
/// `HK0703` for arrays that are not of scalars or hold bytes, `HK0705` for a timestamp beyond the calendar.
pub fn canonical_text(array: &dyn Array) -> Result<LargeStringArray> {
    let write = scalar(array)?;
    collect(array, &write)
}

/// The values as compact JSON text, null for null: numbers and booleans as such, other scalars as strings of their
/// [`canonical_text`].
pub(super) fn json_text(array: &ArrayRef, ty: &Type) -> Result<LargeStringArray> {
    let write = document(array, ty)?;
    collect(array, &write)
}

fn collect(array: &dyn Array, write: &Writer) -> Result<LargeStringArray> {
    let nulls = array.logical_nulls();
    let mut out = LargeStringBuilder::with_capacity(array.len(), 0);
    let mut text = String::new();
    for row in 0..array.len() {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            out.append_null();
            continue;
        }
        text.clear();
        write(row, &mut text).ok_or_else(|| Error::new(Code::SchemaValue, "a value has no canonical text"))?;
        out.append_value(&text);
    }
    Ok(out.finish())
}

fn unsupported(ty: &DataType) -> Error {
    Error::new(Code::SchemaUnsupported, format!("values of {ty} cannot become text"))
}

fn convert(array: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
        .map_err(|_| Error::new(Code::SchemaValue, format!("a value of {} is out of range", array.data_type())))
}

fn put(out: &mut String, value: &impl Display) -> Option<()> {
    out.push_str(&value.to_string());
    Some(())
}

fn scalar(array: &dyn Array) -> Result<Writer> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, _| None),
        DataType::Boolean => {
            let a = array.as_boolean().clone();
            Box::new(move |row, out| put(out, &a.value(row)))
        }
        DataType::UInt64 => {
            let a = array.as_primitive::<UInt64Type>().clone();
            Box::new(move |row, out| put(out, &a.value(row)))
        }
        ty if ty.is_integer() => {
            let a = convert(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
            Box::new(move |row, out| put(out, &a.value(row)))
        }
        DataType::Float16 | DataType::Float32 => {
            let a = convert(array, &DataType::Float32)?.as_primitive::<Float32Type>().clone();
            Box::new(move |row, out| {
                float(a.value(row).is_finite(), f64::from(a.value(row)), &format!("{:e}", a.value(row)), out)
            })
        }
        DataType::Float64 => {
            let a = array.as_primitive::<Float64Type>().clone();
            Box::new(move |row, out| float(a.value(row).is_finite(), a.value(row), &format!("{:e}", a.value(row)), out))
        }
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            let (a, s) = (convert(array, &DataType::Decimal128(*p, *s))?.as_primitive::<Decimal128Type>().clone(), *s);
            Box::new(move |row, out| decimal(&a.value(row), s, out))
        }
        DataType::Decimal256(_, s) => {
            let (a, s) = (array.as_primitive::<Decimal256Type>().clone(), *s);
            Box::new(move |row, out| decimal(&a.value(row), s, out))
        }
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            let a = convert(array, &DataType::LargeUtf8)?.as_string::<i64>().clone();
            Box::new(move |row, out| put(out, &a.value(row)))
        }
        DataType::Date32 | DataType::Date64 => {
            let a = convert(array, &DataType::Date32)?.as_primitive::<Date32Type>().clone();
            Box::new(move |row, out| write_date(a.value(row), out))
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let nanos = convert(array, &DataType::Time64(ArrowUnit::Nanosecond))?;
            let a = convert(&nanos, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
            Box::new(move |row, out| write_time(i128::from(a.value(row)), out))
        }
        DataType::Timestamp(unit, zone) => {
            let (a, step, utc) =
                (convert(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), step(*unit), zone.is_some());
            Box::new(move |row, out| write_timestamp(i128::from(a.value(row)) * step, utc, out))
        }
        DataType::Duration(unit) => {
            let (a, step) = (convert(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), step(*unit));
            Box::new(move |row, out| {
                out.push_str("PT");
                decimal(&(i128::from(a.value(row)) * step), 9, out)?;
                out.push('S');
                Some(())
            })
        }
        DataType::Dictionary(_, value) => scalar(&convert(array, value)?)?,
        DataType::RunEndEncoded(_, value) => scalar(&convert(array, value.data_type())?)?,
        other => return Err(unsupported(other)),
    })
}

/// Nanoseconds in a unit.
pub(super) fn step(unit: ArrowUnit) -> i128 {
    match unit {
        ArrowUnit::Second => NANOS,
        ArrowUnit::Millisecond => 1_000_000,
        ArrowUnit::Microsecond => 1_000,
        ArrowUnit::Nanosecond => 1,
    }
}

fn decimal(unscaled: &impl Display, scale: i8, out: &mut String) -> Option<()> {
    write_canonical(&format!("{unscaled}e{}", -i16::from(scale)), out);
    Some(())
}

fn float(finite: bool, value: f64, shortest: &str, out: &mut String) -> Option<()> {
    match () {
        () if finite => write_canonical(shortest, out),
        () if value.is_nan() => out.push_str("NaN"),
        () => out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" }),
    }
    Some(())
}

fn document(array: &ArrayRef, ty: &Type) -> Result<Writer> {
    Ok(match (array.data_type(), ty) {
        (DataType::Dictionary(_, value), _) => document(&convert(array, value)?, ty)?,
        (DataType::RunEndEncoded(_, value), _) => document(&convert(array, value.data_type())?, ty)?,
        (_, Type::Json) => {
            let write = scalar(array)?;
            Box::new(move |row, out| {
                let mut text = String::new();
                write(row, &mut text)?;
                json::compact(json::valid(&text)?, out).ok()
            })
        }
        (DataType::Struct(fields), _) => {
            let a = array.as_struct().clone();
            let mut parts = Vec::with_capacity(fields.len());
            for (field, column) in fields.iter().zip(a.columns()) {
                let mut name = String::new();
                json::write_string(field.name(), &mut name);
                parts.push((name, column.logical_nulls(), document(column, &from_arrow(field)?)?));
            }
            Box::new(move |row, out| {
                out.push('{');
                for (i, (name, nulls, write)) in parts.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(name);
                    out.push(':');
                    if nulls.as_ref().is_some_and(|n| n.is_null(row)) { out.push_str("null") } else { write(row, out)? }
                }
                out.push('}');
                Some(())
            })
        }
        (_, Type::List { item }) => {
            let a = super::cast::large_list(array)?;
            let (nulls, write) = (a.values().logical_nulls(), document(a.values(), item)?);
            Box::new(move |row, out| {
                out.push('[');
                let (start, end) = (*a.value_offsets().get(row)?, *a.value_offsets().get(row + 1)?);
                for i in start..end {
                    if i > start {
                        out.push(',');
                    }
                    let i = usize::try_from(i).ok()?;
                    if nulls.as_ref().is_some_and(|n| n.is_null(i)) { out.push_str("null") } else { write(i, out)? }
                }
                out.push(']');
                Some(())
            })
        }
        (data_type, _) => {
            let bare = data_type.is_numeric() || *data_type == DataType::Boolean;
            let write = scalar(array)?;
            Box::new(move |row, out| {
                let mut text = String::new();
                write(row, &mut text)?;
                // JSON has no word for a float that is no number, so those are strings.
                if bare && !text.ends_with(['N', 'y']) {
                    out.push_str(&text)
                } else {
                    json::write_string(&text, out)
                }
                Some(())
            })
        }
    })
}

/// Any kind of text as the one kind that is stored.
pub(super) fn plain_text(array: &ArrayRef) -> Result<ArrayRef> {
    cast(array, &DataType::LargeUtf8).map(|a| Arc::clone(&a)).map_err(|_| unsupported(array.data_type()))
}
