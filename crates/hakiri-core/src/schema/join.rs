//! The join of two types: the narrowest type that holds the values of both (S12).
//!
//! It is commutative, associative and idempotent, so that a schema does not depend on the order of records, batches,
//! parts or steps. Property tests hold that. Commutative *up to the order of fields*: the fields of the first come
//! first, then those only the second has, so the fields of a result stand in the order of their first appearance (S6).
//! Associativity and idempotence hold exactly.
//!
//! | Types | Join |
//! |---|---|
//! | `null` and any | the other |
//! | integers | the narrowest signed or unsigned integer that holds both; `uint64` with a signed one: `decimal(20,0)` |
//! | decimals | the larger number of integer digits, the larger scale; above 76 digits in all: `text` |
//! | integer and decimal | the integer counts as 19 integer digits (`uint64`: 20), whatever its width |
//! | `float32`, `float64` | `float64` |
//! | `int8`, `int16`, `int32`, `uint8`, `uint16` and a float | `float64`, which holds each of them exactly |
//! | `uint32`, `int64`, `uint64`, decimals and a float | `text`: they never pass through a float |
//! | `date` and a timestamp | the timestamp |
//! | timestamps, times, durations among themselves | the finer unit; a timestamp in UTC and one without a zone: `text` |
//! | all other pairs of scalars (`bool` and a number, …) | `text` |
//! | structs | by field name; lists: the join of their items |
//! | a struct, a list or `json`, with anything else that JSON can hold | `json` |
//! | `binary` and a fixed binary, fixed ones of two lengths | `binary` |
//! | `binary`, or anything that contains it, with anything else | none: neither text nor JSON holds bytes |
//!
//! Three rules look coarser than needed and are what associativity asks for. An integer of any width counts as 19
//! digits beside a decimal, because `int8 ∨ uint8` is `int16` and must not say more about digits than the two apart.
//! `uint32` beside a float is text, because `uint32 ∨ int8` is `int64`, which is text beside a float. An integer beside
//! `float32` is `float64`, because `int16 ∨ uint16` is `int32`.
//!
//! A value is widened without loss: a scalar to text by its canonical text; anything to JSON as its JSON, so that the
//! text `1` becomes the JSON string `"1"` and the number `1` stays a number. Only the range of a timestamp can fall
//! short when its unit becomes finer; the cast reports it (`HK0705`).

use super::{Field, Schema, Type};
use crate::cursor::TimeUnit;

/// The most digits that a decimal has.
const MAX_PRECISION: i16 = 76;

/// The join of two types, or `None` when nothing holds both (binary data with anything but itself).
pub fn join(a: &Type, b: &Type) -> Option<Type> {
    match (a, b) {
        (Type::Null, other) | (other, Type::Null) => Some(other.clone()),
        (Type::Struct { fields: a }, Type::Struct { fields: b }) => {
            join_fields(a, b).ok().map(|fields| Type::Struct { fields })
        }
        (Type::List { item: a }, Type::List { item: b }) => Some(Type::List { item: Box::new(join(a, b)?) }),
        (a, b) if a == b => Some(a.clone()),
        (Type::Binary | Type::FixedBinary { .. }, Type::Binary | Type::FixedBinary { .. }) => Some(Type::Binary),
        (a, b) if holds_bytes(a) || holds_bytes(b) => None,
        (a, b) if is_document(a) || is_document(b) => Some(Type::Json),
        (a, b) => Some(join_scalars(a, b)),
    }
}

/// The join of two schemas: the columns of `a` in their order, then those only `b` has.
///
/// # Errors
/// The name of the first column whose types have no join, with both types.
pub fn join_schemas(a: &Schema, b: &Schema) -> Result<Schema, (String, Type, Type)> {
    join_fields(&a.fields, &b.fields).map(Schema::new)
}

fn join_fields(a: &[Field], b: &[Field]) -> Result<Vec<Field>, (String, Type, Type)> {
    // Tables may have thousands of columns: a map instead of a search in each step.
    let places: std::collections::HashMap<&str, usize> =
        a.iter().enumerate().map(|(i, f)| (f.name.as_str(), i)).collect();
    let mut fields = a.to_vec();
    for field in b {
        match places.get(field.name.as_str()) {
            Some(&place) => match join(&a[place].ty, &field.ty) {
                Some(ty) => fields[place].ty = ty,
                None => return Err((field.name.clone(), a[place].ty.clone(), field.ty.clone())),
            },
            None => fields.push(field.clone()),
        }
    }
    Ok(fields)
}

fn is_document(ty: &Type) -> bool {
    matches!(ty, Type::Struct { .. } | Type::List { .. } | Type::Json)
}

fn holds_bytes(ty: &Type) -> bool {
    match ty {
        Type::Binary | Type::FixedBinary { .. } => true,
        Type::List { item } => holds_bytes(item),
        Type::Struct { fields } => fields.iter().any(|f| holds_bytes(&f.ty)),
        _ => false,
    }
}

/// What the join needs to know of a number.
#[derive(Clone, Copy)]
enum Number {
    Signed(u8),
    Unsigned(u8),
    /// Digits before and after the point.
    Decimal(i16, i16),
    Single,
    Double,
}

fn number(ty: &Type) -> Option<Number> {
    Some(match ty {
        Type::Int8 => Number::Signed(8),
        Type::Int16 => Number::Signed(16),
        Type::Int32 => Number::Signed(32),
        Type::Int64 => Number::Signed(64),
        Type::Uint8 => Number::Unsigned(8),
        Type::Uint16 => Number::Unsigned(16),
        Type::Uint32 => Number::Unsigned(32),
        Type::Uint64 => Number::Unsigned(64),
        Type::Float32 => Number::Single,
        Type::Float64 => Number::Double,
        Type::Decimal { precision, scale } => {
            Number::Decimal(i16::from(*precision) - i16::from(*scale), i16::from(*scale))
        }
        _ => return None,
    })
}

fn join_scalars(a: &Type, b: &Type) -> Type {
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return join_numbers(a, b);
    }
    match (a, b) {
        (Type::Date, t @ Type::Timestamp { .. }) | (t @ Type::Timestamp { .. }, Type::Date) => t.clone(),
        (Type::Timestamp { unit: a, utc: x }, Type::Timestamp { unit: b, utc: y }) if x == y => {
            Type::Timestamp { unit: finer(*a, *b), utc: *x }
        }
        (Type::Time { unit: a }, Type::Time { unit: b }) => Type::Time { unit: finer(*a, *b) },
        (Type::Duration { unit: a }, Type::Duration { unit: b }) => Type::Duration { unit: finer(*a, *b) },
        _ => Type::Text,
    }
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    a.max(b)
}

fn join_numbers(a: Number, b: Number) -> Type {
    use Number::{Decimal, Double, Signed, Single, Unsigned};
    match (a, b) {
        (Signed(a), Signed(b)) => signed(a.max(b)),
        (Unsigned(a), Unsigned(b)) => unsigned(a.max(b)),
        (Unsigned(64), Signed(_)) | (Signed(_), Unsigned(64)) => Type::Decimal { precision: 20, scale: 0 },
        (Unsigned(u), Signed(s)) | (Signed(s), Unsigned(u)) => signed(s.max(2 * u)),
        (Single, Single) => Type::Float32,
        (Single | Double, Single | Double) => Type::Float64,
        (Single | Double, Signed(8..=32) | Unsigned(8..=16)) | (Signed(8..=32) | Unsigned(8..=16), Single | Double) => {
            Type::Float64
        }
        (Single | Double, _) | (_, Single | Double) => Type::Text,
        (a @ Decimal(..), b) | (a, b @ Decimal(..)) => {
            let ((a_whole, a_scale), (b_whole, b_scale)) = (digits(a), digits(b));
            let (whole, scale) = (a_whole.max(b_whole), a_scale.max(b_scale));
            match (u8::try_from(whole + scale), i8::try_from(scale)) {
                (Ok(precision), Ok(scale)) if i16::from(precision) <= MAX_PRECISION => {
                    Type::Decimal { precision, scale }
                }
                _ => Type::Text,
            }
        }
    }
}

/// Digits before and after the point that a number beside a decimal needs.
fn digits(number: Number) -> (i16, i16) {
    match number {
        Number::Decimal(whole, scale) => (whole, scale),
        Number::Unsigned(64) => (20, 0),
        _ => (19, 0),
    }
}

fn signed(bits: u8) -> Type {
    match bits {
        8 => Type::Int8,
        16 => Type::Int16,
        32 => Type::Int32,
        _ => Type::Int64,
    }
}

fn unsigned(bits: u8) -> Type {
    match bits {
        8 => Type::Uint8,
        16 => Type::Uint16,
        32 => Type::Uint32,
        _ => Type::Uint64,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit() -> impl Strategy<Value = TimeUnit> {
        prop::sample::select(vec![TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond])
    }

    /// Any type, few field names and lengths so that they meet.
    fn any_type() -> impl Strategy<Value = Type> {
        let scalar = prop::sample::select(vec![
            Type::Null,
            Type::Bool,
            Type::Int8,
            Type::Int16,
            Type::Int32,
            Type::Int64,
            Type::Uint8,
            Type::Uint16,
            Type::Uint32,
            Type::Uint64,
            Type::Float32,
            Type::Float64,
            Type::Text,
            Type::Json,
            Type::Binary,
            Type::Date,
        ]);
        let leaf = prop_oneof![
            6 => scalar,
            3 => (1..=76u8, -3..=40i8).prop_map(|(p, scale)| Type::Decimal { precision: p.max(scale.unsigned_abs()), scale }),
            1 => (1..3u32).prop_map(|length| Type::FixedBinary { length }),
            1 => unit().prop_map(|unit| Type::Time { unit }),
            1 => unit().prop_map(|unit| Type::Duration { unit }),
            2 => (unit(), any::<bool>()).prop_map(|(unit, utc)| Type::Timestamp { unit, utc }),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|item| Type::List { item: Box::new(item) }),
                prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), inner, 0..3).prop_map(|m| {
                    Type::Struct { fields: m.into_iter().rev().map(|(n, t)| Field::new(n, t)).collect() }
                }),
            ]
        })
    }

    /// The type with the fields of every struct sorted.
    fn sorted(ty: Type) -> Type {
        match ty {
            Type::List { item } => Type::List { item: Box::new(sorted(*item)) },
            Type::Struct { fields } => {
                let mut fields: Vec<Field> = fields.into_iter().map(|f| Field::new(f.name, sorted(f.ty))).collect();
                fields.sort_by(|a, b| a.name.cmp(&b.name));
                Type::Struct { fields }
            }
            other => other,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn it_is_idempotent(a in any_type()) {
            prop_assert_eq!(join(&a, &a), Some(a));
        }

        #[test]
        fn it_is_commutative_up_to_the_order_of_fields(a in any_type(), b in any_type()) {
            prop_assert_eq!(join(&a, &b).map(sorted), join(&b, &a).map(sorted));
        }

        #[test]
        fn it_is_associative_exactly(a in any_type(), b in any_type(), c in any_type()) {
            let left = join(&a, &b).and_then(|ab| join(&ab, &c));
            let right = join(&b, &c).and_then(|bc| join(&a, &bc));
            prop_assert_eq!(left, right);
        }

        #[test]
        fn the_result_holds_both(a in any_type(), b in any_type()) {
            if let Some(both) = join(&a, &b) {
                prop_assert_eq!(join(&both, &a), Some(both.clone()));
                prop_assert_eq!(join(&both, &b), Some(both));
            }
        }
    }

    /// The strategy meets three scalars of all kinds too rarely to rely on it alone.
    #[test]
    fn all_triples_of_scalars_are_associative_and_commutative() {
        let unit = [TimeUnit::Second, TimeUnit::Nanosecond];
        let mut all = vec![
            Type::Null,
            Type::Bool,
            Type::Int8,
            Type::Int16,
            Type::Int32,
            Type::Int64,
            Type::Uint8,
            Type::Uint16,
            Type::Uint32,
            Type::Uint64,
            Type::Float32,
            Type::Float64,
            Type::Text,
            Type::Json,
            Type::Binary,
            Type::FixedBinary { length: 1 },
            Type::FixedBinary { length: 2 },
            Type::Date,
        ];
        all.extend(
            [(1, 0), (1, 1), (5, 2), (20, 0), (38, 38), (76, 0), (76, 76), (3, -2)]
                .map(|(precision, scale)| Type::Decimal { precision, scale }),
        );
        for unit in unit {
            all.extend([
                Type::Time { unit },
                Type::Duration { unit },
                Type::Timestamp { unit, utc: true },
                Type::Timestamp { unit, utc: false },
            ]);
        }
        let join = |a: &Option<Type>, b: &Option<Type>| super::join(a.as_ref()?, b.as_ref()?);
        let all: Vec<_> = all.into_iter().map(Some).collect();
        for a in &all {
            for b in &all {
                let ab = join(a, b);
                assert_eq!(ab, join(b, a), "{a:?} {b:?}");
                for c in &all {
                    assert_eq!(join(&ab, c), join(a, &join(b, c)), "{a:?} {b:?} {c:?}");
                }
            }
        }
    }

    #[test]
    fn the_table_of_the_module_holds() {
        for (a, b, expected) in [
            ("null", "struct<a: int8>", "struct<a: int8>"),
            ("bool", "int64", "text"),
            ("int8", "int32", "int32"),
            ("uint8", "int8", "int16"),
            ("uint8", "int64", "int64"),
            ("uint32", "int8", "int64"),
            ("uint16", "uint64", "uint64"),
            ("uint64", "int8", "decimal(20,0)"),
            ("int64", "decimal(5,2)", "decimal(21,2)"),
            ("int8", "decimal(38,2)", "decimal(38,2)"),
            ("decimal(5,2)", "decimal(6,4)", "decimal(7,4)"),
            ("decimal(76,0)", "decimal(76,1)", "text"),
            ("decimal(38,0)", "decimal(38,38)", "decimal(76,38)"),
            ("float32", "float64", "float64"),
            ("int32", "float32", "float64"),
            ("uint32", "float64", "text"),
            ("int64", "float64", "text"),
            ("decimal(5,2)", "float64", "text"),
            ("date", "timestamp(ms, utc)", "timestamp(ms, utc)"),
            ("timestamp(s)", "timestamp(us)", "timestamp(us)"),
            ("timestamp(s)", "timestamp(s, utc)", "text"),
            ("date", "time(s)", "text"),
            ("text", "json", "json"),
            ("text", "list<text>", "json"),
            ("struct<a: int8>", "list<int8>", "json"),
            ("list<int8>", "list<text>", "list<text>"),
            ("struct<a: int8, b: text>", "struct<c: bool, a: int16>", "struct<a: int16, b: text, c: bool>"),
            ("binary(4)", "binary(8)", "binary"),
            ("binary", "text", "none"),
            ("list<binary>", "text", "none"),
            ("struct<a: binary>", "struct<a: text>", "none"),
        ] {
            let joined = join(&Type::parse(a).unwrap(), &Type::parse(b).unwrap());
            assert_eq!(joined.map_or("none".to_owned(), |t| t.to_string()), expected, "{a} and {b}");
        }
    }

    #[test]
    fn schemas_join_by_name_and_say_which_column_does_not_fit() {
        let schema =
            |fields: &[(&str, Type)]| Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone())).collect());
        let a = schema(&[("id", Type::Int32), ("raw", Type::Binary)]);
        let b = schema(&[("note", Type::Text), ("id", Type::Int64)]);
        assert_eq!(
            join_schemas(&a, &b).unwrap(),
            schema(&[("id", Type::Int64), ("raw", Type::Binary), ("note", Type::Text)])
        );
        let c = schema(&[("raw", Type::Text)]);
        assert_eq!(join_schemas(&a, &c), Err(("raw".to_owned(), Type::Binary, Type::Text)));
    }
}
