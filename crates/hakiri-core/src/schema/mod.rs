//! Column types and table schemas, and how they map to Arrow.
//!
//! Hakiri keeps its own small type language instead of Arrow's, because a schema is persisted in manifests and in the
//! catalog and must outlive a change of library. Several Arrow types that hold the same values are one type here
//! (`Utf8`, `LargeUtf8` and `Utf8View` are all [`Type::Text`]), so that a table's bytes do not depend on which of them
//! a reader happened to yield (S7, S12).

mod arrow;
mod join;
mod parse;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::arrow::{JSON_EXTENSION, from_arrow, from_arrow_schema, to_arrow, to_arrow_schema};
pub use self::join::{join, join_schemas};
use crate::canonical::to_canonical_json;
use crate::cursor::TimeUnit;
use crate::error::Result;
use crate::hash::Hash;

/// The column every data file carries: the id of the run that wrote the row.
pub const RUN_COLUMN: &str = "_hakiri_run";
/// The column that marks a row as deleted, where a source reports deletes.
pub const DELETED_COLUMN: &str = "_hakiri_deleted";
/// The prefix no source column may have.
pub const RESERVED_PREFIX: &str = "_hakiri_";

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// Only nulls so far. Stored as a Boolean column of nulls' place-holder: see `to_arrow`.
    Null,
    /// True or false.
    Bool,
    /// Signed integer of 8 bits.
    Int8,
    /// Signed integer of 16 bits.
    Int16,
    /// Signed integer of 32 bits.
    Int32,
    /// Signed integer of 64 bits.
    Int64,
    /// Unsigned integer of 8 bits.
    Uint8,
    /// Unsigned integer of 16 bits.
    Uint16,
    /// Unsigned integer of 32 bits.
    Uint32,
    /// Unsigned integer of 64 bits.
    Uint64,
    /// IEEE 754 single precision.
    Float32,
    /// IEEE 754 double precision.
    Float64,
    /// Exact decimal: at most 76 digits in all, `scale` of them after the point.
    Decimal {
        /// Digits in all; up to 38 is stored in 128 bits, above in 256.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// UTF-8 text.
    Text,
    /// JSON of no fixed shape, as its text (with the Arrow JSON extension type).
    Json,
    /// Bytes.
    Binary,
    /// A fixed number of bytes.
    FixedBinary {
        /// How many.
        length: u32,
    },
    /// A day.
    Date,
    /// A time of day.
    Time {
        /// Resolution.
        unit: TimeUnit,
    },
    /// An instant (`utc`), or a wall-clock time without a zone.
    Timestamp {
        /// Resolution.
        unit: TimeUnit,
        /// Whether values are instants in UTC.
        utc: bool,
    },
    /// A length of time.
    Duration {
        /// Resolution.
        unit: TimeUnit,
    },
    /// A list of one type.
    List {
        /// The type of its items.
        item: Box<Type>,
    },
    /// Named fields, in the source's order.
    Struct {
        /// The fields.
        fields: Vec<Field>,
    },
}

/// A column or a field of a struct. Every field may be null: sources promise little, and a promise broken later would
/// be a change of type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Field {
    /// The name, as the source has it.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub ty: Type,
}

impl Field {
    /// A field.
    pub fn new(name: impl Into<String>, ty: Type) -> Self {
        Self { name: name.into(), ty }
    }
}

/// The columns of a table, without Hakiri's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Schema {
    /// The columns, in the order of their first appearance.
    pub fields: Vec<Field>,
}

impl Schema {
    /// A schema.
    pub fn new(fields: Vec<Field>) -> Self {
        Self { fields }
    }

    /// A column by name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The place of a column.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }

    /// The SHA-256 of the canonical JSON of the schema: equal schemas, equal fingerprints.
    ///
    /// # Errors
    /// Never in practice: a schema holds no floats.
    pub fn fingerprint(&self) -> Result<Hash> {
        Ok(Hash::of(&to_canonical_json(self)?))
    }
}

/// A schema with its place in the table's history (C2): dense, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaVersion {
    /// 1, 2, 3 …
    pub version: u64,
    /// See [`Schema::fingerprint`].
    pub fingerprint: Hash,
    /// The columns.
    pub schema: Schema,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn unit(u: TimeUnit) -> &'static str {
            match u {
                TimeUnit::Second => "s",
                TimeUnit::Millisecond => "ms",
                TimeUnit::Microsecond => "us",
                TimeUnit::Nanosecond => "ns",
            }
        }
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int8 => f.write_str("int8"),
            Self::Int16 => f.write_str("int16"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::Uint8 => f.write_str("uint8"),
            Self::Uint16 => f.write_str("uint16"),
            Self::Uint32 => f.write_str("uint32"),
            Self::Uint64 => f.write_str("uint64"),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Text => f.write_str("text"),
            Self::Json => f.write_str("json"),
            Self::Binary => f.write_str("binary"),
            Self::FixedBinary { length } => write!(f, "binary({length})"),
            Self::Date => f.write_str("date"),
            Self::Time { unit: u } => write!(f, "time({})", unit(*u)),
            Self::Timestamp { unit: u, utc: true } => write!(f, "timestamp({}, utc)", unit(*u)),
            Self::Timestamp { unit: u, utc: false } => write!(f, "timestamp({})", unit(*u)),
            Self::Duration { unit: u } => write!(f, "duration({})", unit(*u)),
            Self::List { item } => write!(f, "list<{item}>"),
            Self::Struct { fields } => {
                f.write_str("struct<")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{}: {}", field.name, field.ty)?;
                }
                f.write_str(">")
            }
        }
    }
}
