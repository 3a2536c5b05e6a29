//! Builds one column of a known type from text and JSON values, exactly or not at all.
//!
//! Every append adds exactly one value. One that does not fit adds a null and a *fault* for the row, so that the
//! columns of a batch stay equally long and the caller decides about the row. Arrow's own JSON and CSV readers are not
//! used: they read decimals by rounding, timestamps leniently, and know no JSON of free shape.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray, LargeBinaryArray, LargeListArray,
    LargeStringArray, NullBufferBuilder, StructArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, i256};
use arrow::error::ArrowError;
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::schema::{Field, Type, to_arrow};

use super::json;
use super::number::Number;
use super::temporal::{Temporal, in_unit, parse_time};

/// The first thing wrong with the row at hand.
#[derive(Debug, Default)]
pub(super) struct Faults(Option<Error>);

impl Faults {
    pub(super) fn raise(&mut self, error: impl FnOnce() -> Error) {
        if self.0.is_none() {
            self.0 = Some(error());
        }
    }

    pub(super) fn take(&mut self) -> Option<Error> {
        self.0.take()
    }
}

/// One column in the making. `'a` is the life of the rows it is made from.
#[derive(Debug)]
pub(super) struct Column<'a> {
    /// The name, with the names of what it lies in.
    pub(super) path: String,
    pub(super) ty: Type,
    nulls: NullBufferBuilder,
    pub(super) values: Values<'a>,
}

#[derive(Debug)]
pub(super) enum Values<'a> {
    Bool(BooleanBufferBuilder),
    /// All integers, days, times, timestamps and durations; `uint64` by its bits.
    Int(Vec<i64>),
    Float(Vec<f64>),
    Decimal128(Vec<i128>),
    Decimal256(Vec<i256>),
    Bytes {
        offsets: Vec<i64>,
        data: Vec<u8>,
    },
    Fixed(Vec<u8>),
    List {
        offsets: Vec<i64>,
        item: Box<Column<'a>>,
    },
    Struct(Members<'a>),
}

/// The fields of a struct in the making.
#[derive(Debug)]
pub(super) struct Members<'a> {
    pub(super) columns: Vec<Column<'a>>,
    pub(super) names: Vec<String>,
    pub(super) places: HashMap<String, usize>,
    /// The values of the object at hand, so that of two members with one name the last counts.
    pub(super) slots: Vec<Option<&'a str>>,
}

impl<'a> Members<'a> {
    pub(super) fn new(fields: &[Field], within: &str, rows: usize) -> Self {
        let path = |name: &str| {
            if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") }
        };
        Self {
            columns: fields.iter().map(|f| Column::new(path(&f.name), &f.ty, rows)).collect(),
            names: fields.iter().map(|f| f.name.clone()).collect(),
            places: fields.iter().enumerate().map(|(i, f)| (f.name.clone(), i)).collect(),
            slots: vec![None; fields.len()],
        }
    }
}

impl<'a> Column<'a> {
    pub(super) fn new(path: String, ty: &Type, rows: usize) -> Self {
        let values = match ty {
            Type::Null | Type::Bool => Values::Bool(BooleanBufferBuilder::new(rows)),
            Type::Float32 | Type::Float64 => Values::Float(Vec::with_capacity(rows)),
            Type::Decimal { precision, .. } if *precision <= 38 => Values::Decimal128(Vec::with_capacity(rows)),
            Type::Decimal { .. } => Values::Decimal256(Vec::with_capacity(rows)),
            Type::Text | Type::Json | Type::Binary => Values::Bytes { offsets: vec![0], data: Vec::new() },
            Type::FixedBinary { .. } => Values::Fixed(Vec::new()),
            Type::List { item } => {
                Values::List { offsets: vec![0], item: Box::new(Column::new(format!("{path}[]"), item, rows)) }
            }
            Type::Struct { fields } => Values::Struct(Members::new(fields, &path, rows)),
            _ => Values::Int(Vec::with_capacity(rows)),
        };
        Self { path, ty: ty.clone(), nulls: NullBufferBuilder::new(rows), values }
    }

    pub(super) fn append_null(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.append(false),
            Values::Int(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Decimal128(values) => values.push(0),
            Values::Decimal256(values) => values.push(i256::ZERO),
            Values::Bytes { offsets, data } => offsets.push(data.len() as i64),
            Values::Fixed(data) => data.resize(data.len() + fixed_length(&self.ty), 0),
            Values::List { offsets, item } => offsets.push(item.len() as i64),
            Values::Struct(members) => members.columns.iter_mut().for_each(Column::append_null),
        }
        self.nulls.append_null();
    }

    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Marks the value just appended to the parts of this column as there.
    pub(super) fn append_valid(&mut self) {
        self.nulls.append_non_null();
    }

    /// Appends a null and a fault.
    pub(super) fn append_fault(&mut self, faults: &mut Faults) {
        faults.raise(|| misfit(&self.path, &self.ty));
        self.append_null();
    }

    /// Appends a value of text, read as the column's type. Not for lists and structs.
    pub(super) fn append_text(&mut self, text: &str, faults: &mut Faults) {
        if self.try_text(text).is_some() { self.append_valid() } else { self.append_fault(faults) }
    }

    /// Adds the value, not its validity, or does nothing.
    fn try_text(&mut self, text: &str) -> Option<()> {
        match (&mut self.values, &self.ty) {
            (Values::Bool(values), Type::Bool) => values.append(match text {
                "true" => true,
                "false" => false,
                _ => return None,
            }),
            (Values::Int(values), ty) => values.push(integer(text, ty)?),
            (Values::Float(values), ty) => values.push(float(text, ty)?),
            (Values::Decimal128(values), Type::Decimal { precision, scale }) => {
                let number = Number::parse(text).filter(|n| n.fits(*precision, *scale))?;
                values.push(number.to_i128(i64::from(*scale))?);
            }
            (Values::Decimal256(values), Type::Decimal { precision, scale }) => {
                let number = Number::parse(text).filter(|n| n.fits(*precision, *scale))?;
                values.push(number.to_i256(i64::from(*scale))?);
            }
            (Values::Bytes { offsets, data }, Type::Text | Type::Binary) => {
                data.extend_from_slice(text.as_bytes());
                offsets.push(data.len() as i64);
            }
            (Values::Bytes { offsets, data }, _) => {
                let mut out = String::new();
                json::write_string(text, &mut out);
                data.extend_from_slice(out.as_bytes());
                offsets.push(data.len() as i64);
            }
            (Values::Fixed(data), ty) if text.len() == fixed_length(ty) => data.extend_from_slice(text.as_bytes()),
            _ => return None,
        }
        Some(())
    }

    /// The finished array, of exactly the type that [`to_arrow`] gives.
    ///
    /// # Errors
    /// `HK0001`: the parts do not fit together.
    pub(super) fn finish(mut self) -> Result<ArrayRef> {
        let (len, nulls, data_type) = (self.len(), self.nulls.finish(), to_arrow(&self.ty));
        self.assemble(len, nulls, &data_type)
            .map_err(|e| Error::new(Code::Internal, format!("column `{}` cannot be built: {e}", self.path)))
    }

    fn assemble(
        &mut self,
        len: usize,
        nulls: Option<NullBuffer>,
        data_type: &DataType,
    ) -> Result<ArrayRef, ArrowError> {
        let primitive = |buffer: Buffer, nulls| {
            Ok(make_array(ArrayData::builder(data_type.clone()).len(len).nulls(nulls).add_buffer(buffer).build()?))
        };
        let broken = |e: Error| ArrowError::ComputeError(e.to_string());
        match &mut self.values {
            Values::Bool(values) => Ok(Arc::new(BooleanArray::new(values.finish(), nulls))),
            Values::Int(values) => {
                let values = std::mem::take(values);
                let buffer = match data_type.primitive_width() {
                    Some(1) => Buffer::from_vec(values.iter().map(|v| *v as i8).collect::<Vec<_>>()),
                    Some(2) => Buffer::from_vec(values.iter().map(|v| *v as i16).collect::<Vec<_>>()),
                    Some(4) => Buffer::from_vec(values.iter().map(|v| *v as i32).collect::<Vec<_>>()),
                    _ => Buffer::from_vec(values),
                };
                primitive(buffer, nulls)
            }
            Values::Float(values) if *data_type == DataType::Float32 => {
                primitive(Buffer::from_vec(values.iter().map(|v| *v as f32).collect::<Vec<_>>()), nulls)
            }
            Values::Float(values) => primitive(Buffer::from_vec(std::mem::take(values)), nulls),
            Values::Decimal128(values) => primitive(Buffer::from_vec(std::mem::take(values)), nulls),
            Values::Decimal256(values) => primitive(Buffer::from_vec(std::mem::take(values)), nulls),
            Values::Bytes { offsets, data } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::take(offsets)));
                let data = Buffer::from_vec(std::mem::take(data));
                if *data_type == DataType::LargeBinary {
                    return Ok(Arc::new(LargeBinaryArray::try_new(offsets, data, nulls)?));
                }
                Ok(Arc::new(LargeStringArray::try_new(offsets, data, nulls)?))
            }
            Values::Fixed(data) => {
                let length = i32::try_from(fixed_length(&self.ty)).unwrap_or(i32::MAX);
                Ok(Arc::new(FixedSizeBinaryArray::try_new(length, Buffer::from_vec(std::mem::take(data)), nulls)?))
            }
            Values::List { offsets, item } => {
                let DataType::LargeList(field) = data_type else {
                    return Err(ArrowError::ComputeError("not a list".to_owned()));
                };
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::take(offsets)));
                let item = std::mem::replace(item.as_mut(), Column::new(String::new(), &Type::Null, 0))
                    .finish()
                    .map_err(broken)?;
                Ok(Arc::new(LargeListArray::try_new(field.clone(), offsets, item, nulls)?))
            }
            Values::Struct(members) => {
                let DataType::Struct(fields) = data_type else {
                    return Err(ArrowError::ComputeError("not a struct".to_owned()));
                };
                let arrays = std::mem::take(&mut members.columns)
                    .into_iter()
                    .map(|c| c.finish().map_err(broken))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, len)?))
            }
        }
    }
}

/// The error of a value that is not of its column's type. The value itself is not in it (P8).
pub(super) fn misfit(path: &str, ty: &Type) -> Error {
    let expected = match ty {
        Type::Struct { .. } => "an object".to_owned(),
        Type::List { .. } => "an array".to_owned(),
        ty => format!("of type {ty}"),
    };
    Error::new(Code::SchemaValue, format!("column `{path}`: a value is not {expected}"))
}

fn fixed_length(ty: &Type) -> usize {
    match ty {
        Type::FixedBinary { length } => *length as usize,
        _ => 0,
    }
}

/// A value of any of the types kept as 64-bit integers. A whole number stands for the type's own count: of days, or of
/// units since midnight or the epoch.
fn integer(text: &str, ty: &Type) -> Option<i64> {
    let number = || Number::parse(text)?.to_i128(0);
    let within =
        |low: i128, high: i128| number().filter(|n| (low..=high).contains(n)).and_then(|n| i64::try_from(n).ok());
    match ty {
        Type::Int8 => within(i8::MIN.into(), i8::MAX.into()),
        Type::Int16 => within(i16::MIN.into(), i16::MAX.into()),
        Type::Int32 => within(i32::MIN.into(), i32::MAX.into()),
        Type::Int64 | Type::Duration { .. } => within(i64::MIN.into(), i64::MAX.into()),
        Type::Uint8 => within(0, u8::MAX.into()),
        Type::Uint16 => within(0, u16::MAX.into()),
        Type::Uint32 => within(0, u32::MAX.into()),
        // The bits, not the value: the column's buffer is made of them.
        Type::Uint64 => u64::try_from(number()?).ok().map(|v| v as i64),
        Type::Date => match Temporal::parse(text) {
            Some(Temporal::Date(days)) => Some(i64::from(days)),
            _ => None,
        },
        Type::Time { unit } => {
            let day = i128::from(unit.per_second()) * 86_400;
            match parse_time(text) {
                Some(nanos) => in_unit(nanos, *unit),
                None => within(0, day - 1),
            }
        }
        Type::Timestamp { unit, utc } => match Temporal::parse(text) {
            // The zone of a wall-clock column would be lost; a zone that is missing is the one that was declared.
            Some(Temporal::Timestamp { utc: true, .. }) if !utc => None,
            Some(temporal) => in_unit(temporal.nanos(), *unit),
            None => within(i64::MIN.into(), i64::MAX.into()),
        },
        _ => None,
    }
}

/// The nearest float of the column's own width, so that no value is rounded twice.
fn float(text: &str, ty: &Type) -> Option<f64> {
    match text {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(f64::INFINITY),
        "-Infinity" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    Number::parse(text)?;
    let value = if *ty == Type::Float32 { f64::from(text.parse::<f32>().ok()?) } else { text.parse::<f64>().ok()? };
    value.is_finite().then_some(value)
}
