//! Values of one column, from the bytes of a binary copy into an Arrow array.
//!
//! Contract: appending takes one value and adds exactly one, null where it reports a fault, so that a row with a fault
//! can be left out afterwards. A value is never changed to make it fit: a NaN in a decimal, a timestamp beyond the range
//! of its type or an array of two dimensions is a fault that names its column.
//!
//! Infinite days and instants become the largest and smallest value of their type (`i64::MAX` and `-i64::MAX`
//! microseconds, `i32::MAX` and `-i32::MAX` days), which DuckDB reads as infinite and which sort where infinity does. No
//! finite value is stored as one of them. The alternative, null, would make "never ends" and "not known" the same.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, LargeBinaryBuilder, LargeListArray, LargeStringBuilder,
    NullBufferBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder, UInt32Builder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, i256};
use arrow::error::ArrowError;
use hakiri_core::schema::to_arrow;

use super::render::{self, Numeric, Sign};
use super::types::Wire;

/// Days from 1970 to 2000, where the server's calendar begins.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Why a value cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes are not what a value of the type looks like.
    Malformed,
    /// The value is what the column's type allows and ours does not: what it is, and what to do.
    Value(&'static str, Remedy),
}

/// What to do about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Read the column as text.
    CastText,
    /// Correct the data.
    Correct,
}

const NAN: Fault = Fault::Value("a value is NaN or infinite, which no decimal is", Remedy::CastText);
const DIGITS: Fault = Fault::Value("a value has more digits than the column's type declares", Remedy::CastText);
const BEYOND: Fault = Fault::Value("a time stamp is later than the year 294246", Remedy::CastText);
const DIMENSIONS: Fault = Fault::Value("an array has more than one dimension", Remedy::CastText);
const UTF8: Fault = Fault::Value("a text is not valid UTF-8", Remedy::Correct);

/// The array under construction.
#[derive(Debug)]
enum Builder {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt32(UInt32Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, u8),
    Decimal256(Decimal256Builder, u8, u8),
    Text(LargeStringBuilder),
    Binary(LargeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List(Box<List>),
}

#[derive(Debug)]
struct List {
    item: Column,
    field: FieldRef,
    offsets: Vec<i64>,
    nulls: NullBufferBuilder,
}

/// One column of a batch under construction.
#[derive(Debug)]
pub(super) struct Column {
    wire: Wire,
    builder: Builder,
    /// How many values it holds.
    rows: usize,
    /// Where values that become text are written first.
    text: String,
}

impl Column {
    pub(super) fn new(wire: &Wire) -> Self {
        let ty = to_arrow(&wire.ty());
        let builder = match wire {
            Wire::Bool => Builder::Bool(BooleanBuilder::new()),
            Wire::Int2 => Builder::Int16(Int16Builder::new()),
            Wire::Int4 => Builder::Int32(Int32Builder::new()),
            Wire::Int8 => Builder::Int64(Int64Builder::new()),
            Wire::Oid => Builder::UInt32(UInt32Builder::new()),
            Wire::Float4 => Builder::Float32(Float32Builder::new()),
            Wire::Float8 => Builder::Float64(Float64Builder::new()),
            Wire::Decimal { precision, scale } if *precision <= 38 => {
                Builder::Decimal128(Decimal128Builder::new().with_data_type(ty), *precision, *scale)
            }
            Wire::Decimal { precision, scale } => {
                Builder::Decimal256(Decimal256Builder::new().with_data_type(ty), *precision, *scale)
            }
            Wire::Bytea => Builder::Binary(LargeBinaryBuilder::new()),
            Wire::Date => Builder::Date(Date32Builder::new()),
            Wire::Time => Builder::Time(Time64MicrosecondBuilder::new()),
            Wire::Timestamp | Wire::Timestamptz => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(ty))
            }
            Wire::List(item) => {
                let field = match ty {
                    DataType::LargeList(field) => field,
                    other => Arc::new(arrow::datatypes::Field::new("item", other, true)),
                };
                Builder::List(Box::new(List {
                    item: Self::new(item),
                    field,
                    offsets: vec![0],
                    nulls: NullBufferBuilder::new(0),
                }))
            }
            Wire::Numeric
            | Wire::Text
            | Wire::Interval
            | Wire::Uuid
            | Wire::Json
            | Wire::Jsonb
            | Wire::Inet
            | Wire::Cidr
            | Wire::Macaddr => Builder::Text(LargeStringBuilder::new()),
        };
        Self { wire: wire.clone(), builder, rows: 0, text: String::new() }
    }

    /// Adds a value, `None` for null. With a fault a null is added.
    pub(super) fn append(&mut self, value: Option<&[u8]>) -> Result<(), Fault> {
        self.rows += 1;
        let Some(bytes) = value else {
            self.append_null();
            return Ok(());
        };
        let appended = self.append_value(bytes);
        if appended.is_err() {
            self.append_null();
        }
        appended
    }

    fn append_null(&mut self) {
        match &mut self.builder {
            Builder::Bool(b) => b.append_null(),
            Builder::Int16(b) => b.append_null(),
            Builder::Int32(b) => b.append_null(),
            Builder::Int64(b) => b.append_null(),
            Builder::UInt32(b) => b.append_null(),
            Builder::Float32(b) => b.append_null(),
            Builder::Float64(b) => b.append_null(),
            Builder::Decimal128(b, ..) => b.append_null(),
            Builder::Decimal256(b, ..) => b.append_null(),
            Builder::Text(b) => b.append_null(),
            Builder::Binary(b) => b.append_null(),
            Builder::Date(b) => b.append_null(),
            Builder::Time(b) => b.append_null(),
            Builder::Timestamp(b) => b.append_null(),
            Builder::List(list) => {
                // After a fault in the middle the items before it are there: the null covers them.
                list.offsets.push(i64::try_from(list.item.rows).unwrap_or(i64::MAX));
                list.nulls.append_null();
            }
        }
    }

    /// Adds a value, or nothing at all and a fault (items of a list excepted).
    fn append_value(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.builder {
            Builder::Bool(b) => match bytes {
                [0] => b.append_value(false),
                [1] => b.append_value(true),
                _ => return Err(Fault::Malformed),
            },
            Builder::Int16(b) => b.append_value(i16::from_be_bytes(fixed(bytes)?)),
            Builder::Int32(b) => b.append_value(i32::from_be_bytes(fixed(bytes)?)),
            Builder::Int64(b) => b.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Builder::UInt32(b) => b.append_value(u32::from_be_bytes(fixed(bytes)?)),
            Builder::Float32(b) => b.append_value(f32::from_be_bytes(fixed(bytes)?)),
            Builder::Float64(b) => b.append_value(f64::from_be_bytes(fixed(bytes)?)),
            Builder::Decimal128(b, precision, scale) => b.append_value(decimal(bytes, *precision, *scale)?),
            Builder::Decimal256(b, precision, scale) => b.append_value(decimal(bytes, *precision, *scale)?),
            Builder::Text(b) => {
                self.text.clear();
                let out = &mut self.text;
                let text = match self.wire {
                    Wire::Numeric => {
                        Numeric::parse(bytes)?.print(out);
                        out.as_str()
                    }
                    Wire::Interval => {
                        render::interval(bytes, out)?;
                        out.as_str()
                    }
                    Wire::Uuid => {
                        render::uuid(bytes, out)?;
                        out.as_str()
                    }
                    Wire::Inet | Wire::Cidr => {
                        render::address(bytes, self.wire == Wire::Cidr, out)?;
                        out.as_str()
                    }
                    Wire::Macaddr => {
                        render::macaddr(bytes, out)?;
                        out.as_str()
                    }
                    // Version 1, the only one there is.
                    Wire::Jsonb => match bytes.split_first() {
                        Some((1, text)) => utf8(text)?,
                        _ => return Err(Fault::Malformed),
                    },
                    _ => utf8(bytes)?,
                };
                b.append_value(text);
            }
            Builder::Binary(b) => b.append_value(bytes),
            Builder::Date(b) => b.append_value(match i32::from_be_bytes(fixed(bytes)?) {
                i32::MAX => i32::MAX,
                i32::MIN => -i32::MAX,
                days => days.checked_add(EPOCH_DAYS).filter(|d| d.abs() < i32::MAX).ok_or(BEYOND)?,
            }),
            Builder::Time(b) => match i64::from_be_bytes(fixed(bytes)?) {
                micros @ 0..=86_400_000_000 => b.append_value(micros),
                _ => return Err(Fault::Malformed),
            },
            Builder::Timestamp(b) => b.append_value(match i64::from_be_bytes(fixed(bytes)?) {
                i64::MAX => i64::MAX,
                i64::MIN => -i64::MAX,
                micros => micros.checked_add(EPOCH_MICROS).filter(|m| *m < i64::MAX).ok_or(BEYOND)?,
            }),
            Builder::List(list) => list.append(bytes)?,
        }
        Ok(())
    }

    /// The array of everything that was added; the column is empty again.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        self.rows = 0;
        Ok(match &mut self.builder {
            Builder::Bool(b) => Arc::new(b.finish()),
            Builder::Int16(b) => Arc::new(b.finish()),
            Builder::Int32(b) => Arc::new(b.finish()),
            Builder::Int64(b) => Arc::new(b.finish()),
            Builder::UInt32(b) => Arc::new(b.finish()),
            Builder::Float32(b) => Arc::new(b.finish()),
            Builder::Float64(b) => Arc::new(b.finish()),
            Builder::Decimal128(b, ..) => Arc::new(b.finish()),
            Builder::Decimal256(b, ..) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Binary(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::List(list) => {
                let offsets = std::mem::replace(&mut list.offsets, vec![0]);
                let nulls = list.nulls.finish();
                let items = list.item.finish()?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let array = LargeListArray::try_new(list.field.clone(), offsets, items, nulls)?;
                Arc::new(array) as Arc<dyn Array>
            }
        })
    }
}

impl List {
    /// A one-dimensional array. Where it begins to count is not kept: a list has no such thing.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        let dimensions = take_i32(&mut rest)?;
        let (_has_nulls, _item_type) = (take_i32(&mut rest)?, take_i32(&mut rest)?);
        match dimensions {
            0 => {}
            1 => {
                let (length, _lower_bound) = (take_i32(&mut rest)?, take_i32(&mut rest)?);
                for _ in 0..length {
                    let value = match take_i32(&mut rest)? {
                        -1 => None,
                        size => {
                            let size = usize::try_from(size).map_err(|_| Fault::Malformed)?;
                            let (value, after) = rest.split_at_checked(size).ok_or(Fault::Malformed)?;
                            rest = after;
                            Some(value)
                        }
                    };
                    self.item.append(value)?;
                }
            }
            2..=6 => return Err(DIMENSIONS),
            _ => return Err(Fault::Malformed),
        }
        if !rest.is_empty() {
            return Err(Fault::Malformed);
        }
        self.offsets.push(i64::try_from(self.item.rows).unwrap_or(i64::MAX));
        self.nulls.append_non_null();
        Ok(())
    }
}

fn take_i32(rest: &mut &[u8]) -> Result<i32, Fault> {
    let (head, after) = rest.split_first_chunk::<4>().ok_or(Fault::Malformed)?;
    *rest = after;
    Ok(i32::from_be_bytes(*head))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Malformed)
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| UTF8)
}

/// Whole numbers that decimals are made of.
trait Digits: Copy + PartialEq {
    const ZERO: Self;
    const TEN: Self;
    fn of(n: u16) -> Self;
    fn times(self, other: Self) -> Option<Self>;
    fn plus(self, other: Self) -> Option<Self>;
    fn negated(self) -> Self;
    fn has_at_most(self, digits: u8) -> bool;
}

impl Digits for i128 {
    const ZERO: Self = 0;
    const TEN: Self = 10;
    fn of(n: u16) -> Self {
        Self::from(n)
    }
    fn times(self, other: Self) -> Option<Self> {
        self.checked_mul(other)
    }
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
    fn negated(self) -> Self {
        -self
    }
    fn has_at_most(self, digits: u8) -> bool {
        Self::TEN.checked_pow(u32::from(digits)).is_none_or(|limit| self < limit)
    }
}

impl Digits for i256 {
    const ZERO: Self = i256::ZERO;
    const TEN: Self = i256::from_i128(10);
    fn of(n: u16) -> Self {
        Self::from_i128(i128::from(n))
    }
    fn times(self, other: Self) -> Option<Self> {
        self.checked_mul(other)
    }
    fn plus(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }
    fn negated(self) -> Self {
        self.wrapping_neg()
    }
    fn has_at_most(self, digits: u8) -> bool {
        Self::TEN.checked_pow(u32::from(digits)).is_none_or(|limit| self < limit)
    }
}

/// A numeric as a whole number of its smallest places, exactly or not at all.
fn decimal<D: Digits>(bytes: &[u8], precision: u8, scale: u8) -> Result<D, Fault> {
    let numeric = Numeric::parse(bytes)?;
    if !matches!(numeric.sign, Sign::Plus | Sign::Minus) {
        return Err(NAN);
    }
    let mut sum = D::ZERO;
    // Which power of ten, counted from the smallest place, a group of four digits stands on.
    let mut power = 4 * numeric.weight + i32::from(scale);
    for group in numeric.groups() {
        // Of a group across the smallest place only its upper digits count, and the others must be zero.
        let below = u32::try_from(-power).unwrap_or(0).min(4);
        let unit = 10_u16.pow(below);
        if group % unit != 0 {
            return Err(DIGITS);
        }
        let shift = D::of(10_u16.pow(4 - below));
        sum = sum.times(shift).and_then(|s| s.plus(D::of(group / unit))).ok_or(DIGITS)?;
        power -= 4;
    }
    // The server leaves out groups of zeros at the end.
    for _ in 0..(power + 4).max(0) {
        if sum == D::ZERO {
            break;
        }
        sum = sum.times(D::TEN).ok_or(DIGITS)?;
    }
    if !sum.has_at_most(precision) {
        return Err(DIGITS);
    }
    Ok(if numeric.sign == Sign::Minus { sum.negated() } else { sum })
}

#[cfg(test)]
mod tests;
