//! From DataFusion's errors to ours: a code, a place and a next step, and no value of any record (P8).

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::TokenizerError;
use hakiri_core::Error;
use hakiri_core::codes::Code;
use parquet::errors::ParquetError;

/// An error of reading SQL.
pub(crate) fn of_parser(error: &ParserError) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return Error::new(Code::QuerySyntax, "the statement is nested too deeply");
        }
    };
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return Error::new(Code::QuerySyntax, lower_first(text));
    };
    match place.split_once(", Column: ") {
        Some((line, column)) => {
            Error::new(Code::QuerySyntax, lower_first(message)).at(format!("line {line}, column {column}"))
        }
        None => Error::new(Code::QuerySyntax, lower_first(message)),
    }
}

/// An error of cutting SQL into words.
pub(crate) fn of_tokenizer(error: &TokenizerError) -> Error {
    Error::new(Code::QuerySyntax, lower_first(&error.message))
        .at(format!("line {}, column {}", error.location.line, error.location.column))
}

/// An error of planning: what the statement says does not fit what there is.
pub(crate) fn of_planning(error: &DataFusionError) -> Error {
    match root(error) {
        DataFusionError::SQL(error, _) => of_parser(error),
        DataFusionError::SchemaError(error, _) => of_schema(error),
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) | DataFusionError::Execution(text) => {
            of_plan_text(text)
        }
        DataFusionError::Collection(errors) if !errors.is_empty() => {
            errors.first().map_or_else(|| of_running(error), of_planning)
        }
        _ => of_running(error),
    }
}

/// An error of carrying a plan out.
pub(crate) fn of_running(error: &DataFusionError) -> Error {
    match root(error) {
        DataFusionError::ResourcesExhausted(text) if text.contains("disk") => {
            Error::new(Code::QueryFailed, "the query needs more temporary disk space than it may use")
                .with_hint("free space in the folder for temporary files, or ask for less")
        }
        DataFusionError::ResourcesExhausted(_) => {
            Error::new(Code::QueryFailed, "the query needs more memory than it may use")
                .with_hint("raise --memory, or ask for less: fewer columns, a filter, a smaller group by")
        }
        DataFusionError::ObjectStore(error) => of_store(error),
        DataFusionError::ParquetError(error) => of_parquet(error),
        DataFusionError::External(inner) if inner.is::<object_store::Error>() || inner.is::<ParquetError>() => {
            of_reader(inner.as_ref())
        }
        DataFusionError::ArrowError(error, _) if is_of_reader(error) => match error.as_ref() {
            ArrowError::ExternalError(inner) => of_reader(inner.as_ref()),
            other => of_parquet_text(&other.to_string()),
        },
        DataFusionError::IoError(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Error::new(Code::StoreFull, "the folder for temporary files is full")
        }
        DataFusionError::IoError(error) => Error::new(Code::Io, format!("a temporary file: {}", error.kind())),
        other => Error::new(Code::QueryFailed, reason(other)).with_hint(
            "use try_cast for values that may not convert, nullif for divisors that may be zero; filter the rows",
        ),
    }
}

/// Whether an Arrow error is one of reading a part, and not of computing with its values.
fn is_of_reader(error: &ArrowError) -> bool {
    match error {
        ArrowError::ParquetError(_) | ArrowError::IoError(..) | ArrowError::IpcError(_) => true,
        ArrowError::ExternalError(inner) => inner.is::<object_store::Error>() || inner.is::<ParquetError>(),
        _ => false,
    }
}

fn of_parquet(error: &ParquetError) -> Error {
    match error {
        // The reader wraps what the store says.
        ParquetError::External(inner) => of_reader(inner.as_ref()),
        other => of_parquet_text(&other.to_string()),
    }
}

fn of_reader(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(error) = error.downcast_ref::<object_store::Error>() {
        return of_store(error);
    }
    match error.downcast_ref::<ParquetError>() {
        Some(error) => of_parquet(error),
        None => Error::new(Code::StoreUnavailable, "a part could not be read from the store"),
    }
}

fn of_store(error: &object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { path, .. } => Error::new(Code::StoreMissing, format!("{path} is not there")),
        object_store::Error::PermissionDenied { path, .. } | object_store::Error::Unauthenticated { path, .. } => {
            Error::new(Code::StoreDenied, format!("{path} may not be read"))
        }
        _ => Error::new(Code::StoreUnavailable, "a part could not be read from the store"),
    }
}

/// DataFusion's reader keeps only the text of what the store said.
fn of_parquet_text(text: &str) -> Error {
    if let Some((path, _)) = text.split_once("Object at location ").and_then(|(_, rest)| rest.split_once(" not found"))
    {
        return Error::new(Code::StoreMissing, format!("{path} is not there"));
    }
    if text.contains("Generic ") || text.contains("Object Store error") {
        return Error::new(Code::StoreUnavailable, "a part could not be read from the store");
    }
    Error::new(Code::StoreDamaged, "a part cannot be read as Parquet")
}

/// What went wrong with a value, without the value.
pub(crate) fn reason(error: &DataFusionError) -> String {
    match root(error) {
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => "a value is divided by zero".to_owned(),
            ArrowError::CastError(text) if text.starts_with("a stored value of") => text.clone(),
            ArrowError::CastError(text) | ArrowError::ParseError(text) => match target(text) {
                Some(ty) => format!("a value cannot be converted to {ty}"),
                None => "a value cannot be converted".to_owned(),
            },
            ArrowError::ArithmeticOverflow(_) => "a result is out of range".to_owned(),
            ArrowError::ComputeError(text) if text.to_lowercase().contains("overflow") => {
                "a result is out of range".to_owned()
            }
            ArrowError::ComputeError(text) | ArrowError::InvalidArgumentError(text) => without_values(text),
            _ => "a value cannot be computed".to_owned(),
        },
        DataFusionError::Internal(text) => {
            format!("the query engine failed: {}", without_values(text.lines().next().unwrap_or_default()))
        }
        other => without_values(other.strip_backtrace().lines().next().unwrap_or_default()),
    }
}

/// The error inside contexts, shared errors and other wrappers.
fn root(error: &DataFusionError) -> &DataFusionError {
    let error = error.find_root();
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => root(inner),
            None => error,
        },
        // A memory limit that was hit inside a stream comes as an Arrow error.
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            arrow::error::ArrowError::ExternalError(inner) => {
                inner.downcast_ref::<DataFusionError>().map_or(error, root)
            }
            _ => error,
        },
        other => other,
    }
}

fn of_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let known: Vec<&str> =
                valid_fields.iter().map(|c| c.name.as_str()).filter(|n| !n.starts_with("_hakiri_")).collect();
            Error::new(Code::QueryTable, format!("there is no column `{}`", field.flat_name().replace('"', "")))
                .with_hint(if known.is_empty() {
                    "name a table with `from`: without one, a statement has no columns".to_owned()
                } else {
                    did_you_mean(&field.name, &known)
                })
        }
        SchemaError::AmbiguousReference { field } => {
            Error::new(Code::QueryTable, format!("the column `{}` is in several tables", field.name))
                .with_hint("write `table.column`")
        }
        SchemaError::DuplicateUnqualifiedField { name } | SchemaError::DuplicateQualifiedField { name, .. } => {
            Error::new(Code::QuerySyntax, format!("two columns are called `{name}`"))
                .with_hint("give one of them another name with `as`")
        }
    }
}

fn of_plan_text(text: &str) -> Error {
    let text = text.lines().next().unwrap_or_default().split("\n\nbacktrace").next().unwrap_or_default();
    if let Some(name) = text.strip_prefix("table '").and_then(|t| t.split_once("' not found")).map(|(name, _)| name) {
        return Error::new(Code::QueryTable, format!("there is no table `{name}`"));
    }
    let lower = text.to_lowercase();
    if lower.starts_with("invalid function") || lower.contains("table function") {
        return Error::new(Code::QueryTable, lower_first(text).replace("\n", " ")).with_hint("use another function");
    }
    if lower.contains("not found in struct") {
        return Error::new(Code::QueryTable, lower_first(text))
            .with_hint("use one of the struct's fields: `hakiri schema TABLE` lists them");
    }
    if ["ddl not supported", "dml not supported", "statement not supported"].iter().any(|t| lower.contains(t)) {
        return Error::new(Code::QueryForbidden, "only queries are allowed");
    }
    Error::new(Code::QuerySyntax, lower_first(text)).with_hint("correct the statement")
}

/// A hint from the nearest name, or the list of what there is.
pub(crate) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let lower = name.to_lowercase();
    let allowed = (lower.chars().count() / 3).max(1);
    let nearest = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&k.to_lowercase(), &lower), *k))
        .filter(|(distance, k)| *distance <= allowed && *distance < k.chars().count())
        .min();
    match nearest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "there is none to choose from: run a pipeline first".to_owned(),
        None => {
            let more = if known.len() > 30 { format!(", and {} more", known.len() - 30) } else { String::new() };
            format!("use one of: {}{more}", known.iter().take(30).copied().collect::<Vec<_>>().join(", "))
        }
    }
}

/// The type at the end of Arrow's messages about a cast.
fn target(text: &str) -> Option<&str> {
    let ty = text.rsplit_once(" to value of ").or_else(|| text.rsplit_once(" to type "))?.1.trim_end_matches(" type");
    ty.chars().all(|c| c.is_ascii_alphanumeric() || "(), \"+:".contains(c)).then_some(ty)
}

/// Everything quoted, and every number, is taken out of a message of unknown origin: it may be a value.
fn without_values(text: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(end) if c == end => {
                out.push('…');
                quote = None;
            }
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c.is_ascii_digit() => {
                if !out.ends_with('#') {
                    out.push('#');
                }
            }
            None => out.push(c),
        }
    }
    lower_first(out.trim())
}

fn lower_first(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // `SELECT …` stays.
        (Some(first), second) if second.is_none_or(|c| !c.is_uppercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_reach_messages() {
        for (error, expected) in [
            (
                ArrowError::CastError("Cannot cast string 'secret 4711' to value of Int64 type".into()),
                "a value cannot be converted to Int64",
            ),
            (
                ArrowError::ParseError("Error parsing timestamp from 'secret': error parsing date".into()),
                "a value cannot be converted",
            ),
            (ArrowError::ComputeError("bad 'secret' and 4711".into()), "bad … and #"),
            (ArrowError::ArithmeticOverflow("Overflow happened on: 4711 * 4711".into()), "a result is out of range"),
        ] {
            let error = DataFusionError::ArrowError(Box::new(error), None).context("while reading secret");
            assert_eq!(reason(&error), expected);
        }
        let external = DataFusionError::ArrowError(
            Box::new(ArrowError::ExternalError(Box::new(DataFusionError::ResourcesExhausted("x".into())))),
            None,
        );
        let error = of_running(&external);
        assert!(error.code() == Code::QueryFailed && error.hint().contains("--memory"), "{error:?}");
    }
}
