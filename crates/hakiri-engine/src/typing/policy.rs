//! What a table's schema becomes when records of some schema arrive (S12).

use std::collections::HashMap;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::schema::{Field, RESERVED_PREFIX, Schema, SchemaVersion, Type, join};
use hakiri_core::spec::SchemaPolicy;

use super::MAX_COLUMNS;
use super::infer::no_join;

/// The schema that a table has after records of the schema `seen`.
///
/// - First run: what was seen.
/// - `evolve`: the committed columns in their order, widened where needed, then the new ones.
/// - `freeze`: the committed schema, or an error that names every new column and every type that would be wider.
/// - `discard`: the committed schema, new columns left out, or an error that names every type that would be wider.
///
/// A committed column that was not seen stays. A declared type takes the place of the one seen; declared columns that
/// were not seen are not added (that is [`Inference::finish`](super::Inference::finish)'s to decide, before a
/// transform).
///
/// # Errors
/// `HK0701` for a change that the policy refuses, `HK0702` for types without a join, `HK0706` for a name that cannot be
/// used (empty, reserved, the same as another but for the case), `HK0707` for more than [`MAX_COLUMNS`] columns.
pub fn plan_schema(
    committed: Option<&SchemaVersion>,
    seen: &Schema,
    declared: &Schema,
    policy: SchemaPolicy,
) -> Result<Schema> {
    for field in &seen.fields {
        if field.name.to_ascii_lowercase().starts_with(RESERVED_PREFIX) {
            return Err(Error::new(
                Code::SchemaName,
                format!("column `{}`: names that start with `{RESERVED_PREFIX}` are Hakiri's own", field.name),
            ));
        }
    }
    let schema = match committed {
        None => Schema::new(seen.fields.iter().map(|f| Field::new(&f.name, effective(f, declared).clone())).collect()),
        Some(version) => against(&version.schema, seen, declared, policy)?,
    };
    if schema.fields.len() > MAX_COLUMNS {
        return Err(Error::new(
            Code::SchemaWide,
            format!("the table would have {} columns, {MAX_COLUMNS} are allowed", schema.fields.len()),
        ));
    }
    check_names(&schema.fields, "")?;
    Ok(schema)
}

fn effective<'a>(field: &'a Field, declared: &'a Schema) -> &'a Type {
    declared.field(&field.name).map_or(&field.ty, |d| &d.ty)
}

fn against(committed: &Schema, seen: &Schema, declared: &Schema, policy: SchemaPolicy) -> Result<Schema> {
    let mut fields = committed.fields.clone();
    let places: HashMap<&str, usize> = committed.fields.iter().enumerate().map(|(i, f)| (f.name.as_str(), i)).collect();
    let mut differences = Vec::new();
    for field in &seen.fields {
        let now = effective(field, declared);
        let Some(before) = places.get(field.name.as_str()).and_then(|place| fields.get_mut(*place)) else {
            match policy {
                SchemaPolicy::Evolve => fields.push(Field::new(&field.name, now.clone())),
                SchemaPolicy::Freeze => differences.push(format!("column `{}` ({now}) is new", field.name)),
                SchemaPolicy::Discard => {}
            }
            continue;
        };
        let joined = join(&before.ty, now);
        match policy {
            SchemaPolicy::Evolve => before.ty = joined.ok_or_else(|| no_join(&field.name, &before.ty, now))?,
            SchemaPolicy::Freeze | SchemaPolicy::Discard if joined.as_ref() != Some(&before.ty) => {
                differences.push(format!(
                    "column `{}` is {}, the records need {}",
                    field.name,
                    before.ty,
                    joined.as_ref().unwrap_or(now)
                ));
            }
            _ => {}
        }
    }
    if differences.is_empty() {
        return Ok(Schema::new(fields));
    }
    let error = Error::new(Code::SchemaFrozen, differences.join("; "));
    Err(match policy {
        SchemaPolicy::Discard => {
            error.with_hint("set schema = \"evolve\" to accept wider types, or correct the source")
        }
        _ => error,
    })
}

/// DuckDB and others ignore the case of names, in structs too, so names that differ only by it cannot be told apart.
fn check_names(fields: &[Field], within: &str) -> Result<()> {
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(fields.len());
    for field in fields {
        let path = if within.is_empty() { field.name.clone() } else { format!("{within}.{}", field.name) };
        if field.name.is_empty() {
            let place = if within.is_empty() { String::new() } else { format!(" in `{within}`") };
            return Err(Error::new(Code::SchemaName, format!("a column{place} has an empty name")));
        }
        if let Some(other) = seen.insert(field.name.to_ascii_lowercase(), &field.name) {
            let what = if *other == *field.name {
                "there are two of that name".to_owned()
            } else {
                format!("`{other}` differs only by case")
            };
            return Err(Error::new(Code::SchemaName, format!("column `{path}`: {what}")));
        }
        check_type(&field.ty, &path)?;
    }
    Ok(())
}

fn check_type(ty: &Type, path: &str) -> Result<()> {
    match ty {
        Type::Struct { fields } => check_names(fields, path),
        Type::List { item } => check_type(item, path),
        _ => Ok(()),
    }
}
