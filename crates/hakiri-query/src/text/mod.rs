//! Values as text: for output, and for columns that were widened to text or JSON.
//!
//! One place for both, so that a value reads the same whether it was stored before or after its column was widened
//! (S12). Arrow's own formatter is not enough: its timestamps, decimals and nested values have other forms.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, LargeStringArray, LargeStringBuilder, MapArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type, Int64Type, TimeUnit,
    UInt64Type,
};
use arrow::error::ArrowError;
use arrow::temporal_conversions::{as_date, as_datetime, as_time};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hakiri_core::schema::JSON_EXTENSION;

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// One text for one value, whatever its type: `1.5` for the decimal `1.50` and for the float `1.5`.
    Canonical,
    /// As the column has it: decimals with all digits of their scale, floats with a point or an exponent.
    Stored,
}

/// Appends the text of the value in a row that is not null; `None` where it has none.
pub(crate) type Writer = Box<dyn Fn(usize, &mut String) -> Option<()> + Send>;

/// Whether a field holds JSON text.
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().get("ARROW:extension:name").is_some_and(|name| name == JSON_EXTENSION)
}

/// The texts of an array, null for null: JSON for structs and lists (`whole`), and for everything if `json`.
pub(crate) fn texts(array: &ArrayRef, field: &Field, style: Style, json: bool) -> Result<LargeStringArray, ArrowError> {
    let write = if json { document(array, field, style)? } else { cell(array, field, style)? };
    let nulls = array.logical_nulls();
    let mut out = LargeStringBuilder::with_capacity(array.len(), 0);
    let mut text = String::new();
    for row in 0..array.len() {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            out.append_null();
            continue;
        }
        text.clear();
        write(row, &mut text).ok_or_else(|| ArrowError::CastError("a value has no text".to_owned()))?;
        out.append_value(&text);
    }
    Ok(out.finish())
}

/// Plain text for scalars, JSON for structs and lists.
pub(crate) fn cell(array: &ArrayRef, field: &Field, style: Style) -> Result<Writer, ArrowError> {
    if array.data_type().is_nested() { document(array, field, style) } else { scalar(array, style) }
}

/// JSON: numbers with all their digits, everything that JSON lacks as a string.
pub(crate) fn document(array: &ArrayRef, field: &Field, style: Style) -> Result<Writer, ArrowError> {
    Ok(match array.data_type() {
        DataType::Struct(fields) => {
            let mut parts = Vec::with_capacity(fields.len());
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                let mut name = String::new();
                write_json_string(field.name(), &mut name);
                parts.push((name, column.logical_nulls(), document(column, field, style)?));
            }
            Box::new(move |row, out| {
                out.push('{');
                for (i, (name, nulls, write)) in parts.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(name);
                    out.push(':');
                    if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                        out.push_str("null");
                    } else {
                        write(row, out)?;
                    }
                }
                out.push('}');
                Some(())
            })
        }
        ty if ty.is_nested() => {
            let Some(list) = large_list(array)? else { return quoted(display(array)?) };
            let DataType::LargeList(item) = list.data_type() else { return quoted(display(array)?) };
            let (nulls, write) = (list.values().logical_nulls(), document(list.values(), item, style)?);
            let offsets = list.offsets().clone();
            Box::new(move |row, out| {
                out.push('[');
                let (start, end) = (*offsets.get(row)?, *offsets.get(row + 1)?);
                for i in start..end {
                    if i > start {
                        out.push(',');
                    }
                    let i = usize::try_from(i).ok()?;
                    if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                        out.push_str("null");
                    } else {
                        write(i, out)?;
                    }
                }
                out.push(']');
                Some(())
            })
        }
        ty => {
            let (bare, json) = (ty.is_numeric() || *ty == DataType::Boolean, is_json(field));
            let write = scalar(array, style)?;
            Box::new(move |row, out| {
                let mut text = String::new();
                write(row, &mut text)?;
                // JSON has no word for a float that is no number, so those are strings. JSON text that is none (a
                // function may have cut it) is a string too, so that the whole stays valid.
                let raw = (bare && !text.ends_with(['N', 'y']))
                    || (json && serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok());
                if raw {
                    out.push_str(&text)
                } else {
                    write_json_string(&text, out)
                }
                Some(())
            })
        }
    })
}

/// Scalars as plain text: RFC 3339 for times, hexadecimal digits for bytes.
fn scalar(array: &ArrayRef, style: Style) -> Result<Writer, ArrowError> {
    Ok(match array.data_type() {
        DataType::Boolean => {
            let a = array.as_boolean().clone();
            Box::new(move |row, out| put(out, a.value(row)))
        }
        DataType::UInt64 => {
            let a = array.as_primitive::<UInt64Type>().clone();
            Box::new(move |row, out| put(out, a.value(row)))
        }
        ty if ty.is_integer() => {
            let a = convert(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
            Box::new(move |row, out| put(out, a.value(row)))
        }
        DataType::Float16 | DataType::Float32 => {
            let a = convert(array, &DataType::Float32)?.as_primitive::<Float32Type>().clone();
            Box::new(move |row, out| {
                let value = a.value(row);
                let shown = if style == Style::Stored { format!("{value:?}") } else { format!("{value:e}") };
                float(f64::from(value), &shown, style, out)
            })
        }
        DataType::Float64 => {
            let a = array.as_primitive::<Float64Type>().clone();
            Box::new(move |row, out| {
                let value = a.value(row);
                let shown = if style == Style::Stored { format!("{value:?}") } else { format!("{value:e}") };
                float(value, &shown, style, out)
            })
        }
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            let (a, s) = (convert(array, &DataType::Decimal128(*p, *s))?.as_primitive::<Decimal128Type>().clone(), *s);
            Box::new(move |row, out| {
                decimal(&a.value(row).to_string(), s, style, out);
                Some(())
            })
        }
        DataType::Decimal256(_, s) => {
            let (a, s) = (array.as_primitive::<Decimal256Type>().clone(), *s);
            Box::new(move |row, out| {
                decimal(&a.value(row).to_string(), s, style, out);
                Some(())
            })
        }
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            let a = convert(array, &DataType::LargeUtf8)?.as_string::<i64>().clone();
            Box::new(move |row, out| {
                out.push_str(a.value(row));
                Some(())
            })
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let a = convert(array, &DataType::LargeBinary)?.as_binary::<i64>().clone();
            Box::new(move |row, out| {
                for byte in a.value(row) {
                    out.push_str(&format!("{byte:02x}"));
                }
                Some(())
            })
        }
        DataType::Date32 | DataType::Date64 => {
            let a = convert(array, &DataType::Date32)?.as_primitive::<Date32Type>().clone();
            Box::new(move |row, out| put(out, as_date::<Date32Type>(i64::from(a.value(row)))?))
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let nanos = convert(array, &DataType::Time64(TimeUnit::Nanosecond))?;
            let a = convert(&nanos, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
            Box::new(move |row, out| {
                let time = as_time::<arrow::datatypes::Time64NanosecondType>(a.value(row))?;
                put(out, time.format("%H:%M:%S"))?;
                fraction(a.value(row).rem_euclid(1_000_000_000), out);
                Some(())
            })
        }
        DataType::Timestamp(unit, zone) => {
            let (a, unit, zone) =
                (convert(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), *unit, zone.is_some());
            Box::new(move |row, out| timestamp(a.value(row), unit, zone, out))
        }
        DataType::Duration(unit) => {
            let (a, scale) = (convert(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), digits(*unit));
            Box::new(move |row, out| {
                out.push_str("PT");
                decimal(&a.value(row).to_string(), scale, Style::Canonical, out);
                out.push('S');
                Some(())
            })
        }
        DataType::Dictionary(_, value) => scalar(&convert(array, value)?, style)?,
        DataType::RunEndEncoded(_, value) => scalar(&convert(array, value.data_type())?, style)?,
        _ => display(array)?,
    })
}

/// Arrow's own text, for types that only a query can make (intervals).
fn display(array: &ArrayRef) -> Result<Writer, ArrowError> {
    let array = Arc::clone(array);
    ArrayFormatter::try_new(&array, &FormatOptions::default())?;
    Ok(Box::new(move |row, out| put(out, ArrayFormatter::try_new(&array, &FormatOptions::default()).ok()?.value(row))))
}

fn quoted(write: Writer) -> Result<Writer, ArrowError> {
    Ok(Box::new(move |row, out| {
        let mut text = String::new();
        write(row, &mut text)?;
        write_json_string(&text, out);
        Some(())
    }))
}

fn put(out: &mut String, value: impl std::fmt::Display) -> Option<()> {
    use std::fmt::Write as _;
    write!(out, "{value}").ok()
}

/// Any kind of list, a map included, with 64-bit offsets.
pub(crate) fn large_list(array: &ArrayRef) -> Result<Option<LargeListArray>, ArrowError> {
    Ok(match array.data_type() {
        DataType::LargeList(_) => Some(array.as_list::<i64>().clone()),
        DataType::Map(field, _) => {
            let map: &MapArray = array.as_map();
            let offsets = OffsetBuffer::new(ScalarBuffer::from(
                map.value_offsets().iter().map(|o| i64::from(*o)).collect::<Vec<_>>(),
            ));
            Some(LargeListArray::try_new(
                Arc::clone(field),
                offsets,
                Arc::new(map.entries().clone()),
                map.nulls().cloned(),
            )?)
        }
        DataType::List(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => {
            Some(convert(array, &DataType::LargeList(Arc::clone(field)))?.as_list::<i64>().clone())
        }
        _ => None,
    })
}

/// Arrow's cast; a value that does not fit is an error, never null.
pub(crate) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// The digits after the point of a count of this unit.
fn digits(unit: TimeUnit) -> i8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// RFC 3339 with `T`, `Z` for an instant, and no, three, six or nine digits of fraction.
fn timestamp(value: i64, unit: TimeUnit, instant: bool, out: &mut String) -> Option<()> {
    use arrow::datatypes::{
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    };
    let time = match unit {
        TimeUnit::Second => as_datetime::<TimestampSecondType>(value),
        TimeUnit::Millisecond => as_datetime::<TimestampMillisecondType>(value),
        TimeUnit::Microsecond => as_datetime::<TimestampMicrosecondType>(value),
        TimeUnit::Nanosecond => as_datetime::<TimestampNanosecondType>(value),
    }?;
    put(out, time.format("%Y-%m-%dT%H:%M:%S"))?;
    let per_second = 10_i64.checked_pow(u32::try_from(digits(unit)).ok()?)?;
    fraction(value.rem_euclid(per_second) * (1_000_000_000 / per_second), out);
    if instant {
        out.push('Z');
    }
    Some(())
}

fn fraction(nanos: i64, out: &mut String) {
    match nanos {
        0 => {}
        n if n % 1_000_000 == 0 => out.push_str(&format!(".{:03}", n / 1_000_000)),
        n if n % 1_000 == 0 => out.push_str(&format!(".{:06}", n / 1_000)),
        n => out.push_str(&format!(".{n:09}")),
    }
}

fn float(value: f64, shown: &str, style: Style, out: &mut String) -> Option<()> {
    match () {
        () if value.is_nan() => out.push_str("NaN"),
        () if value.is_infinite() => out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" }),
        () if style == Style::Stored => out.push_str(shown),
        () => {
            let (mantissa, exponent) = shown.split_once('e')?;
            let point = mantissa.split_once('.').map_or(0, |(_, f)| f.len());
            canonical(&mantissa.replace('.', ""), exponent.parse::<i64>().ok()? - i64::try_from(point).ok()?, out);
        }
    }
    Some(())
}

fn decimal(unscaled: &str, scale: i8, style: Style, out: &mut String) {
    if style == Style::Canonical || scale < 0 {
        return canonical(unscaled, -i64::from(scale), out);
    }
    let (sign, digits) = unscaled.strip_prefix('-').map_or(("", unscaled), |d| ("-", d));
    out.push_str(sign);
    let scale = usize::from(scale.unsigned_abs());
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, rest) = padded.split_at(padded.len() - scale);
    out.push_str(whole);
    if scale > 0 {
        out.push('.');
        out.push_str(rest);
    }
}

/// `digits × 10^exponent`: plain digits (`-0.05`, `1000`) up to 76 of them, else `d.ddde±n`.
fn canonical(digits: &str, exponent: i64, out: &mut String) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |d| ("-", d));
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        out.push('0');
        return;
    }
    let exponent = exponent + (digits.len() - significant.len()) as i64;
    out.push_str(sign);
    // Where the point stands, counted from the first significant digit.
    let (len, point) = (significant.len() as i64, significant.len() as i64 + exponent);
    if point.max(0) + (len - point).max(0) > 76 {
        let (first, rest) = significant.split_at(1);
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        out.push_str(&format!("e{}", point - 1));
    } else if point <= 0 {
        out.push_str("0.");
        out.extend((0..-point).map(|_| '0'));
        out.push_str(significant);
    } else if point >= len {
        out.push_str(significant);
        out.extend((len..point).map(|_| '0'));
    } else {
        let (whole, rest) = significant.split_at(point as usize);
        out.push_str(whole);
        out.push('.');
        out.push_str(rest);
    }
}

/// Appends a text as a JSON string.
pub(crate) fn write_json_string(text: &str, out: &mut String) {
    // Writing a string cannot fail; without the text the value would only be empty, never wrong syntax.
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()));
}

#[cfg(test)]
mod tests;
