//! DuckDB's SQL for types and for the widenings of [`crate::schema::join`]: what `hakiri-query` does to older parts, as
//! far as DuckDB can.
//!
//! Where it cannot: decimals of more than 38 digits are `DOUBLE`, nanoseconds of instants are cut to microseconds,
//! durations are counts of their unit (DuckDB reads them so), floats beyond 10^16 that became text keep DuckDB's
//! exponent (`1e+20`), and times inside structs and lists that became JSON have DuckDB's form.

use crate::cursor::TimeUnit;
use crate::schema::{Field, Type};

/// The name of DuckDB's type.
pub(super) fn type_sql(ty: &Type) -> String {
    match ty {
        Type::Null | Type::Bool => "BOOLEAN".to_owned(),
        Type::Int8 => "TINYINT".to_owned(),
        Type::Int16 => "SMALLINT".to_owned(),
        Type::Int32 => "INTEGER".to_owned(),
        Type::Int64 | Type::Duration { .. } => "BIGINT".to_owned(),
        Type::Uint8 => "UTINYINT".to_owned(),
        Type::Uint16 => "USMALLINT".to_owned(),
        Type::Uint32 => "UINTEGER".to_owned(),
        Type::Uint64 => "UBIGINT".to_owned(),
        Type::Float32 => "FLOAT".to_owned(),
        Type::Decimal { precision, scale } if *precision <= 38 && *scale >= 0 => {
            format!("DECIMAL({precision},{scale})")
        }
        Type::Float64 | Type::Decimal { .. } => "DOUBLE".to_owned(),
        Type::Text | Type::Json => "VARCHAR".to_owned(),
        Type::Binary | Type::FixedBinary { .. } => "BLOB".to_owned(),
        Type::Date => "DATE".to_owned(),
        Type::Time { .. } => "TIME".to_owned(),
        Type::Timestamp { utc: true, .. } => "TIMESTAMPTZ".to_owned(),
        Type::Timestamp { unit: TimeUnit::Nanosecond, utc: false } => "TIMESTAMP_NS".to_owned(),
        Type::Timestamp { utc: false, .. } => "TIMESTAMP".to_owned(),
        Type::List { item } => format!("{}[]", type_sql(item)),
        Type::Struct { fields } if fields.is_empty() => "BOOLEAN".to_owned(),
        Type::Struct { fields } => {
            let fields: Vec<String> =
                fields.iter().map(|f| format!("{} {}", identifier(&f.name), type_sql(&f.ty))).collect();
            format!("STRUCT({})", fields.join(", "))
        }
    }
}

/// A quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted text.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An expression for a stored value of one type as one of another. `depth` names the variables of nested lambdas.
pub(super) fn cast(value: &str, from: &Type, to: &Type, depth: usize) -> String {
    match (from, to) {
        (Type::Null, to) => format!("CAST(NULL AS {})", type_sql(to)),
        (from, to) if from == to && !has_seconds(from) => value.to_owned(),
        (Type::Struct { fields: from }, Type::Struct { fields: to }) => {
            let fields: Vec<String> = to
                .iter()
                .map(|field| format!("{} := {}", identifier(&field.name), inner(value, from, field, depth)))
                .collect();
            format!("CASE WHEN {value} IS NULL THEN NULL ELSE struct_pack({}) END", fields.join(", "))
        }
        (Type::List { item: from }, Type::List { item: to }) => {
            let item = format!("e{depth}");
            format!("list_transform({value}, lambda {item}: {})", cast(&item, from, to, depth + 1))
        }
        (Type::Json, Type::Json | Type::Text) => value.to_owned(),
        (from, Type::Json) => json(value, from),
        (from, Type::Text) => text(value, from),
        (Type::Date, Type::Timestamp { utc: true, .. }) => format!("to_timestamp(epoch({value}))"),
        (Type::Duration { unit: from }, Type::Duration { unit: to }) => {
            format!("{value} * {}", to.per_second() / from.per_second().max(1))
        }
        (from, to) => {
            let read = read(value, from);
            if type_sql(from) == type_sql(to) { read } else { format!("CAST({read} AS {})", type_sql(to)) }
        }
    }
}

fn inner(value: &str, from: &[Field], to: &Field, depth: usize) -> String {
    match from.iter().find(|f| f.name == to.name) {
        Some(field) => cast(&format!("{value}.{}", identifier(&field.name)), &field.ty, &to.ty, depth),
        None => cast(value, &Type::Null, &to.ty, depth),
    }
}

/// Parquet has no seconds, so files hold plain integers for them.
fn has_seconds(ty: &Type) -> bool {
    match ty {
        Type::Timestamp { unit, .. } | Type::Time { unit } => *unit == TimeUnit::Second,
        Type::List { item } => has_seconds(item),
        Type::Struct { fields } => fields.iter().any(|f| has_seconds(&f.ty)),
        _ => false,
    }
}

/// A scalar as DuckDB would show it had Parquet all its types.
fn read(value: &str, ty: &Type) -> String {
    match ty {
        Type::Timestamp { unit: TimeUnit::Second, utc: true } => format!("to_timestamp({value})"),
        Type::Timestamp { unit: TimeUnit::Second, utc: false } => format!("make_timestamp({value} * 1000000)"),
        Type::Time { unit: TimeUnit::Second } => {
            format!("CAST(make_timestamp(CAST({value} AS BIGINT) * 1000000) AS TIME)")
        }
        _ => value.to_owned(),
    }
}

/// The canonical text of a scalar.
fn text(value: &str, from: &Type) -> String {
    let plain = format!("CAST({} AS VARCHAR)", read(value, from));
    match from {
        Type::Text => value.to_owned(),
        Type::Decimal { scale, .. } if *scale > 0 => format!("rtrim(rtrim({plain}, '0'), '.')"),
        Type::Float32 | Type::Float64 => format!(
            "CASE WHEN isnan({value}) THEN 'NaN' WHEN isinf({value}) THEN CASE WHEN {value} > 0 THEN 'Infinity' ELSE '-Infinity' END WHEN {value} = 0 THEN '0' ELSE regexp_replace({plain}, '\\.0$', '') END"
        ),
        Type::Timestamp { utc, .. } => {
            let zone = if *utc { "Z" } else { "" };
            let time = format!("make_timestamp(epoch_us({}))", read(value, from));
            clock(&time, "%Y-%m-%dT%H:%M:%S", zone)
        }
        Type::Time { .. } => clock(&format!("(DATE '1970-01-01' + {})", read(value, from)), "%H:%M:%S", ""),
        Type::Duration { unit } => {
            let digits = unit.per_second().to_string().len() - 1;
            let seconds =
                format!("CAST(CAST({value} AS DECIMAL(28,0)) / {} AS DECIMAL(38,{digits}))", unit.per_second());
            match digits {
                0 => format!("'PT' || {plain} || 'S'"),
                _ => format!("'PT' || rtrim(rtrim(CAST({seconds} AS VARCHAR), '0'), '.') || 'S'"),
            }
        }
        _ => plain,
    }
}

/// No, three or six digits of fraction.
fn clock(time: &str, format: &str, zone: &str) -> String {
    format!(
        "CASE WHEN epoch_us({time}) % 1000000 = 0 THEN strftime({time}, '{format}{zone}') WHEN epoch_us({time}) % 1000 = 0 THEN strftime({time}, '{format}.%g{zone}') ELSE strftime({time}, '{format}.%f{zone}') END"
    )
}

/// JSON text of a value that is not JSON.
fn json(value: &str, from: &Type) -> String {
    let json = match from {
        Type::Date | Type::Time { .. } | Type::Timestamp { .. } | Type::Duration { .. } => {
            format!("to_json({})", text(value, from))
        }
        Type::Decimal { scale, .. } if *scale > 0 => return text(value, from),
        Type::Float32 | Type::Float64 => {
            return format!(
                "CASE WHEN isfinite({value}) THEN {} ELSE '\"' || {} || '\"' END",
                text(value, from),
                text(value, from)
            );
        }
        _ => format!("to_json({value})"),
    };
    format!("CASE WHEN {value} IS NULL THEN NULL ELSE CAST({json} AS VARCHAR) END")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_quoted() {
        let ty = Type::Struct {
            fields: vec![Field::new("a\"b", Type::List { item: Box::new(Type::Decimal { precision: 10, scale: 2 }) })],
        };
        assert_eq!(type_sql(&ty), r#"STRUCT("a""b" DECIMAL(10,2)[])"#);
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn casts_nest_and_leave_equal_types_alone() {
        let list = |ty| Type::List { item: Box::new(ty) };
        let point = |x| Type::Struct { fields: vec![Field::new("x", x)] };
        assert_eq!(cast("c", &list(Type::Int64), &list(Type::Int64), 0), "c");
        assert_eq!(cast("c", &Type::Null, &Type::Date, 0), "CAST(NULL AS DATE)");
        assert_eq!(
            cast("c", &list(point(Type::Int32)), &list(point(Type::Int64)), 0),
            r#"list_transform(c, lambda e0: CASE WHEN e0 IS NULL THEN NULL ELSE struct_pack("x" := CAST(e0."x" AS BIGINT)) END)"#
        );
        let seconds = Type::Timestamp { unit: TimeUnit::Second, utc: true };
        assert_eq!(cast("c", &seconds, &seconds, 0), "to_timestamp(c)");
    }
}
