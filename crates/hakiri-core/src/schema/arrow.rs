//! The mapping between [`Type`] and Arrow, in both directions, in one place.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field as ArrowField, Fields, Schema as ArrowSchema, TimeUnit as ArrowUnit};

use super::{Field, Schema, Type};
use crate::codes::Code;
use crate::cursor::TimeUnit;
use crate::error::{Error, Result};

/// The name of the Arrow extension type for JSON text. Its metadata key is left out on purpose: a field with two
/// metadata entries would be written in hash order (P1).
pub const JSON_EXTENSION: &str = "arrow.json";
const EXTENSION_NAME: &str = "ARROW:extension:name";

/// The one Arrow type a [`Type`] is stored as. 64-bit offsets, so that no batch overflows them (S7). `Null` is stored as
/// Boolean: Parquet has no null type that all readers agree on, and a column of nulls widens to anything.
pub fn to_arrow(ty: &Type) -> DataType {
    match ty {
        Type::Null | Type::Bool => DataType::Boolean,
        Type::Int8 => DataType::Int8,
        Type::Int16 => DataType::Int16,
        Type::Int32 => DataType::Int32,
        Type::Int64 => DataType::Int64,
        Type::Uint8 => DataType::UInt8,
        Type::Uint16 => DataType::UInt16,
        Type::Uint32 => DataType::UInt32,
        Type::Uint64 => DataType::UInt64,
        Type::Float32 => DataType::Float32,
        Type::Float64 => DataType::Float64,
        Type::Decimal { precision, scale } if *precision <= 38 => DataType::Decimal128(*precision, *scale),
        Type::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale),
        Type::Text | Type::Json => DataType::LargeUtf8,
        Type::Binary => DataType::LargeBinary,
        Type::FixedBinary { length } => DataType::FixedSizeBinary(i32::try_from(*length).unwrap_or(i32::MAX)),
        Type::Date => DataType::Date32,
        Type::Time { unit: u @ (TimeUnit::Second | TimeUnit::Millisecond) } => DataType::Time32(unit(*u)),
        Type::Time { unit: u } => DataType::Time64(unit(*u)),
        Type::Timestamp { unit: u, utc } => DataType::Timestamp(unit(*u), utc.then(|| Arc::from("UTC"))),
        Type::Duration { unit: u } => DataType::Duration(unit(*u)),
        Type::List { item } => DataType::LargeList(Arc::new(field("item", item))),
        Type::Struct { fields } => DataType::Struct(fields.iter().map(|f| field(&f.name, &f.ty)).collect()),
    }
}

fn field(name: &str, ty: &Type) -> ArrowField {
    let field = ArrowField::new(name, to_arrow(ty), true);
    match ty {
        Type::Json => field.with_metadata(HashMap::from([(EXTENSION_NAME.to_owned(), JSON_EXTENSION.to_owned())])),
        _ => field,
    }
}

/// The Arrow schema of a table's own columns; all may be null.
pub fn to_arrow_schema(schema: &Schema) -> ArrowSchema {
    ArrowSchema::new(schema.fields.iter().map(|f| field(&f.name, &f.ty)).collect::<Fields>())
}

/// The [`Type`] of an Arrow field.
///
/// # Errors
/// `HK0703` for types that cannot be stored (unions, intervals …), naming the column.
pub fn from_arrow(field: &ArrowField) -> Result<Type> {
    if field.metadata().get(EXTENSION_NAME).is_some_and(|n| n == JSON_EXTENSION) {
        return Ok(Type::Json);
    }
    data_type(field.data_type(), field.name())
}

fn data_type(ty: &DataType, column: &str) -> Result<Type> {
    Ok(match ty {
        DataType::Null => Type::Null,
        DataType::Boolean => Type::Bool,
        DataType::Int8 => Type::Int8,
        DataType::Int16 => Type::Int16,
        DataType::Int32 => Type::Int32,
        DataType::Int64 => Type::Int64,
        DataType::UInt8 => Type::Uint8,
        DataType::UInt16 => Type::Uint16,
        DataType::UInt32 => Type::Uint32,
        DataType::UInt64 => Type::Uint64,
        DataType::Float16 | DataType::Float32 => Type::Float32,
        DataType::Float64 => Type::Float64,
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Type::Decimal { precision: *p, scale: *s },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Type::Binary,
        DataType::FixedSizeBinary(n) => Type::FixedBinary { length: u32::try_from(*n).unwrap_or(0) },
        DataType::Date32 | DataType::Date64 => Type::Date,
        DataType::Time32(u) | DataType::Time64(u) => Type::Time { unit: from_unit(*u) },
        DataType::Timestamp(u, zone) => Type::Timestamp { unit: from_unit(*u), utc: zone.is_some() },
        DataType::Duration(u) => Type::Duration { unit: from_unit(*u) },
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Type::List { item: Box::new(from_arrow(item)?) },
        DataType::Map(entries, _) => Type::List { item: Box::new(from_arrow(entries)?) },
        DataType::Struct(fields) => Type::Struct { fields: from_fields(fields)? },
        DataType::Dictionary(_, value) => data_type(value, column)?,
        DataType::RunEndEncoded(_, values) => from_arrow(values)?,
        other => {
            return Err(Error::new(
                Code::SchemaUnsupported,
                format!("column `{column}` has the type {other}, which cannot be stored"),
            )
            .with_hint("cast it at the source, or leave it out with `transform`"));
        }
    })
}

fn from_fields(fields: &Fields) -> Result<Vec<Field>> {
    fields.iter().map(|f| Ok(Field::new(f.name(), from_arrow(f)?))).collect()
}

/// The schema of an Arrow schema's columns.
///
/// # Errors
/// As [`from_arrow`].
pub fn from_arrow_schema(schema: &ArrowSchema) -> Result<Schema> {
    Ok(Schema::new(from_fields(schema.fields())?))
}

fn unit(unit: TimeUnit) -> ArrowUnit {
    match unit {
        TimeUnit::Second => ArrowUnit::Second,
        TimeUnit::Millisecond => ArrowUnit::Millisecond,
        TimeUnit::Microsecond => ArrowUnit::Microsecond,
        TimeUnit::Nanosecond => ArrowUnit::Nanosecond,
    }
}

fn from_unit(unit: ArrowUnit) -> TimeUnit {
    match unit {
        ArrowUnit::Second => TimeUnit::Second,
        ArrowUnit::Millisecond => TimeUnit::Millisecond,
        ArrowUnit::Microsecond => TimeUnit::Microsecond,
        ArrowUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}
