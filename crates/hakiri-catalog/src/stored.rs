//! The text of a record, and back.

use hakiri_core::catalog::{CatalogError, CatalogResult, Key, Kind, Record};
use serde::Deserialize;
use serde_json::Value;

/// A record as the rules see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    /// The record.
    pub(crate) record: Record,
    /// For a claimed step: how long a claim lasts, so that a heartbeat extends it by the catalog's clock, not by the
    /// worker's. Not part of an export: no claim outlives a move.
    pub(crate) claim_ms: Option<i64>,
}

impl From<Record> for Stored {
    fn from(record: Record) -> Self {
        Self { record, claim_ms: None }
    }
}

#[derive(Deserialize)]
struct Extra {
    #[serde(default)]
    claim_ms: Option<i64>,
}

/// The kind of a record.
pub(crate) fn kind(record: &Record) -> Kind {
    match record {
        Record::Head(_) => Kind::Head,
        Record::Plan(_) => Kind::Plan,
        Record::Step(_) => Kind::Step,
        Record::Run(_) => Kind::Run,
        Record::Schema(_) => Kind::Schema,
        Record::Unnamed(_) => Kind::Unnamed,
        Record::Audit(_) => Kind::Audit,
        Record::Setting(_) => Kind::Setting,
    }
}

/// A record's text.
pub(crate) fn encode(stored: &Stored) -> CatalogResult<String> {
    let unwritable = |e: serde_json::Error| CatalogError::Conflict(format!("a record cannot be written as JSON: {e}"));
    match stored.claim_ms {
        None => serde_json::to_string(&stored.record).map_err(unwritable),
        Some(claim_ms) => {
            let mut value = serde_json::to_value(&stored.record).map_err(unwritable)?;
            if let Value::Object(map) = &mut value {
                map.insert("claim_ms".to_owned(), claim_ms.into());
            }
            Ok(value.to_string())
        }
    }
}

/// The record of a text.
pub(crate) fn decode(key: &Key, text: &str) -> CatalogResult<Stored> {
    // The parser's own message may quote what is stored, so only its place is told (P8).
    let unreadable = |e: serde_json::Error| {
        let name = key.parts.join("/");
        CatalogError::Corrupt(format!(
            "the record {:?} {name} cannot be read (line {}, column {})",
            key.kind,
            e.line(),
            e.column()
        ))
    };
    let record: Record = serde_json::from_str(text).map_err(unreadable)?;
    if kind(&record) != key.kind {
        return Err(CatalogError::Corrupt(format!(
            "the record {:?} {} is of another kind",
            key.kind,
            key.parts.join("/")
        )));
    }
    let claim_ms = match record {
        Record::Step(_) => serde_json::from_str::<Extra>(text).map_err(unreadable)?.claim_ms,
        _ => None,
    };
    Ok(Stored { record, claim_ms })
}
