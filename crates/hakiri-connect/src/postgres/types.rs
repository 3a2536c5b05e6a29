//! Which type of PostgreSQL becomes which type of ours, and how its values travel.
//!
//! Contract: a value is stored as what it is, or its column is refused by name with a cast to use; nothing is rounded,
//! cut or shifted. `docs/connectors/postgres.md` has the same table in words.
//!
//! Every column is selected with an explicit cast to the type whose binary format the decoder expects. For a column of
//! that type the cast is free; its use is that a column altered between plan and read can never be decoded as what it
//! was: a binary copy says nothing about types, and eight bytes of an integer would pass for a timestamp. Types whose
//! binary form is a private affair of the server (`bit`, `tsvector`, times with a zone) are cast to text by it.

use hakiri_core::cursor::TimeUnit;
use hakiri_core::schema::{Field, Schema, Type};
use serde::{Deserialize, Serialize};

/// The binary format of a value as the server sends it, and with it the type it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    /// A numeric whose declared digits fit a decimal.
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// A numeric of any digits, as the server would print it.
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    /// `inet`, which leaves out a netmask of all bits.
    Inet,
    Cidr,
    Macaddr,
    List(Box<Wire>),
}

/// A column as a step selects it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Selected {
    pub(super) name: String,
    /// The type it is cast to, as SQL.
    pub(super) cast: String,
    pub(super) wire: Wire,
}

/// A type as the catalog describes it, domains already followed to what they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PgType {
    /// Its name without schema: `numeric`, `mood`.
    pub(super) name: String,
    /// Whether it is one that comes with the server (`pg_catalog`): other schemas may have their own `money`.
    pub(super) system: bool,
    pub(super) kind: PgKind,
    /// Precision, length and the like; -1 without.
    pub(super) modifier: i32,
}

/// What decides how a type is treated, besides its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PgKind {
    Base,
    Enum,
    Array(Box<PgType>),
    /// Ranges, composites and the like.
    Other,
}

/// Money has two digits after the point in most locales, and 64 bits of them.
const MONEY: Wire = Wire::Decimal { precision: 21, scale: 2 };

impl PgType {
    /// How columns of the type are read, or `None` for those that are refused: what they are cast to, and the format.
    pub(super) fn reading(&self) -> Option<(String, Wire)> {
        let of = |name: &str, wire: Wire| Some((format!("pg_catalog.{name}"), wire));
        match &self.kind {
            PgKind::Enum => of("text", Wire::Text),
            PgKind::Array(item) if !matches!(item.kind, PgKind::Array(_)) => {
                let (cast, wire) = PgType { modifier: self.modifier, ..(**item).clone() }.reading()?;
                Some((format!("{cast}[]"), Wire::List(Box::new(wire))))
            }
            PgKind::Base if !self.system => match self.name.as_str() {
                "citext" => of("text", Wire::Text),
                _ => None,
            },
            PgKind::Base => match self.name.as_str() {
                "bool" => of("bool", Wire::Bool),
                "int2" => of("int2", Wire::Int2),
                "int4" => of("int4", Wire::Int4),
                "int8" => of("int8", Wire::Int8),
                "oid" => of("oid", Wire::Oid),
                "float4" => of("float4", Wire::Float4),
                "float8" => of("float8", Wire::Float8),
                "numeric" => of("numeric", numeric(self.modifier)),
                "money" => of("numeric", MONEY),
                // Without a length: the cast must neither cut nor pad.
                "bpchar" => of("bpchar", Wire::Text),
                "text" | "varchar" | "name" | "char" | "timetz" | "bit" | "varbit" | "xml" | "tsvector" | "tsquery" => {
                    of("text", Wire::Text)
                }
                "bytea" => of("bytea", Wire::Bytea),
                "date" => of("date", Wire::Date),
                "time" => of("time", Wire::Time),
                "timestamp" => of("timestamp", Wire::Timestamp),
                "timestamptz" => of("timestamptz", Wire::Timestamptz),
                "interval" => of("interval", Wire::Interval),
                "uuid" => of("uuid", Wire::Uuid),
                "json" => of("json", Wire::Json),
                "jsonb" => of("jsonb", Wire::Jsonb),
                "inet" => of("inet", Wire::Inet),
                "cidr" => of("cidr", Wire::Cidr),
                "macaddr" => of("macaddr", Wire::Macaddr),
                "macaddr8" => of("macaddr8", Wire::Macaddr),
                _ => None,
            },
            PgKind::Array(_) | PgKind::Other => None,
        }
    }

    /// Whether the server's order of the type is the order of what it is stored as, so that ranges of keys can follow
    /// one another in the order in which the table is written (S8). Text depends on its collation and is asked apart.
    pub(super) fn keeps_order(&self) -> bool {
        self.system
            && matches!(
                (self.name.as_str(), self.reading()),
                (
                    "int2" | "int4" | "int8" | "oid" | "uuid" | "date" | "time" | "timestamp" | "timestamptz" | "bytea",
                    _
                ) | ("numeric", Some((_, Wire::Decimal { .. })))
            )
            && self.kind == PgKind::Base
    }

    /// Whether its order is that of bytes when its collation is: `char(n)` ignores blanks at the end and is not.
    pub(super) fn is_plain_text(&self) -> bool {
        self.system && self.kind == PgKind::Base && matches!(self.name.as_str(), "text" | "varchar")
    }
}

/// A `numeric(p,s)` as a decimal of as many digits. The server allows a scale below zero or above the precision, which
/// files do not: zeros are added where the digits have none.
fn numeric(modifier: i32) -> Wire {
    if modifier < 4 {
        return Wire::Numeric;
    }
    let packed = modifier - 4;
    let precision = (packed >> 16) & 0xffff;
    // Eleven bits with a sign.
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    let (precision, scale) = match scale {
        ..0 => (precision - scale, 0),
        _ => (precision.max(scale), scale),
    };
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=76), Ok(scale)) => Wire::Decimal { precision, scale },
        _ => Wire::Numeric,
    }
}

impl Wire {
    /// The type that values become.
    pub(super) fn ty(&self) -> Type {
        let unit = TimeUnit::Microsecond;
        match self {
            Self::Bool => Type::Bool,
            Self::Int2 => Type::Int16,
            Self::Int4 => Type::Int32,
            Self::Int8 => Type::Int64,
            Self::Oid => Type::Uint32,
            Self::Float4 => Type::Float32,
            Self::Float8 => Type::Float64,
            Self::Decimal { precision, scale } => {
                Type::Decimal { precision: *precision, scale: i8::try_from(*scale).unwrap_or(i8::MAX) }
            }
            Self::Numeric | Self::Text | Self::Interval | Self::Uuid => Type::Text,
            Self::Inet | Self::Cidr | Self::Macaddr => Type::Text,
            Self::Bytea => Type::Binary,
            Self::Date => Type::Date,
            Self::Time => Type::Time { unit },
            Self::Timestamp => Type::Timestamp { unit, utc: false },
            Self::Timestamptz => Type::Timestamp { unit, utc: true },
            Self::Json | Self::Jsonb => Type::Json,
            Self::List(item) => Type::List { item: Box::new(item.ty()) },
        }
    }
}

/// The schema of what a step selects.
pub(super) fn schema_of(columns: &[Selected]) -> Schema {
    Schema::new(columns.iter().map(|c| Field::new(&c.name, c.wire.ty())).collect())
}

/// A type that the manifest's `casts` may name. Only these: the text is never sent, so that it cannot be anything but a
/// type.
pub(super) fn parse_cast(text: &str) -> Option<(String, Wire)> {
    let lower = text.trim().to_ascii_lowercase();
    if let Some(item) = lower.strip_suffix("[]") {
        let (cast, wire) = parse_cast(item)?;
        return match wire {
            Wire::List(_) => None,
            wire => Some((format!("{cast}[]"), Wire::List(Box::new(wire)))),
        };
    }
    let (name, arguments) = match lower.split_once('(') {
        Some((name, rest)) => (name.trim_end(), Some(rest.strip_suffix(')')?)),
        None => (lower.as_str(), None),
    };
    let name = match name {
        "boolean" => "bool",
        "smallint" => "int2",
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "double precision" => "float8",
        "decimal" => "numeric",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "time without time zone" => "time",
        name @ ("bool" | "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" | "text" | "bytea" | "date"
        | "time" | "timestamp" | "timestamptz" | "interval" | "uuid" | "json" | "jsonb" | "inet" | "cidr"
        | "macaddr") => name,
        _ => return None,
    };
    let plain = |modifier| PgType { name: name.to_owned(), system: true, kind: PgKind::Base, modifier };
    let Some(arguments) = arguments else { return plain(-1).reading() };
    if name != "numeric" {
        return None;
    }
    let mut numbers = arguments.split(',').map(|n| n.trim().parse::<u16>().ok());
    let (precision, scale) = (numbers.next()??, numbers.next().unwrap_or(Some(0))?);
    if numbers.next().is_some() || !(1..=76).contains(&precision) || scale > precision {
        return None;
    }
    let (_, wire) = plain(((i32::from(precision) << 16) | i32::from(scale)) + 4).reading()?;
    Some((format!("pg_catalog.numeric({precision},{scale})"), wire))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(name: &str, modifier: i32) -> PgType {
        PgType { name: name.to_owned(), system: true, kind: PgKind::Base, modifier }
    }

    fn typmod(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn a_numeric_is_a_decimal_of_its_digits_or_text() {
        let wire = |p, s| numeric(typmod(p, s));
        assert_eq!(wire(18, 4), Wire::Decimal { precision: 18, scale: 4 });
        assert_eq!(wire(76, 76), Wire::Decimal { precision: 76, scale: 76 });
        assert_eq!(wire(77, 0), Wire::Numeric);
        assert_eq!(wire(3, 5), Wire::Decimal { precision: 5, scale: 5 }, "0.00001 to 0.00999");
        assert_eq!(wire(5, -2), Wire::Decimal { precision: 7, scale: 0 }, "hundreds");
        assert_eq!(wire(75, -2), Wire::Numeric);
        assert_eq!(numeric(-1), Wire::Numeric);
    }

    #[test]
    fn arrays_hold_what_their_items_are_with_the_modifier_of_the_column() {
        let array = PgType {
            name: "_numeric".into(),
            system: true,
            kind: PgKind::Array(Box::new(base("numeric", -1))),
            modifier: typmod(10, 2),
        };
        let (cast, wire) = array.reading().unwrap();
        assert_eq!(cast, "pg_catalog.numeric[]");
        assert_eq!(wire, Wire::List(Box::new(Wire::Decimal { precision: 10, scale: 2 })));
        assert!(!array.keeps_order());
    }

    #[test]
    fn a_type_of_another_schema_is_not_taken_for_the_servers_own() {
        let own = PgType { system: false, ..base("int4", -1) };
        assert_eq!(own.reading(), None);
        assert!(!own.keeps_order());
        assert!(PgType { system: false, ..base("citext", -1) }.reading().is_some());
        for refused in ["point", "int4range", "pg_lsn", "path"] {
            assert_eq!(base(refused, -1).reading(), None, "{refused}");
        }
    }

    #[test]
    fn casts_are_names_of_types_and_nothing_else() {
        let cast = |text: &str| parse_cast(text).map(|(cast, wire)| (cast, wire.ty().to_string()));
        let some = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(cast("text"), some("pg_catalog.text", "text"));
        assert_eq!(cast(" Numeric( 20 , 4 ) "), some("pg_catalog.numeric(20,4)", "decimal(20,4)"));
        assert_eq!(cast("numeric(9)"), some("pg_catalog.numeric(9,0)", "decimal(9,0)"));
        assert_eq!(cast("timestamp with time zone"), some("pg_catalog.timestamptz", "timestamp(us, utc)"));
        assert_eq!(cast("text[]"), some("pg_catalog.text[]", "list<text>"));
        for bad in ["text); drop table x; --", "text[][]", "numeric(80,2)", "numeric(2,4)", "varchar(3)", "", "hstore"]
        {
            assert_eq!(cast(bad), None, "{bad}");
        }
    }
}
