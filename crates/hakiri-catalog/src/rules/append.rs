//! `append` and `import`: records written as they are.

use hakiri_core::catalog::{Audit, CatalogError, CatalogResult, Key, Kind, Record};
use hakiri_core::id::PipelineId;

use super::{Ask, Decision, View};
use crate::stored;

/// The listing that an audit entry belongs to: its pipeline's, or the project's under an empty name.
pub(crate) fn audit_prefix(pipeline: Option<&PipelineId>) -> Vec<String> {
    vec![pipeline.map_or_else(String::new, ToString::to_string)]
}

/// The key of the next audit entry. Entries are numbered without gaps; two writers cannot get the same number, since a
/// key that was not read must not exist.
pub(crate) fn next_audit(view: &View, pipeline: Option<&PipelineId>) -> Key {
    let mut parts = audit_prefix(pipeline);
    parts.push(format!("{:010}", view.next_number(Kind::Audit, &parts)));
    Key { kind: Kind::Audit, parts }
}

/// What appending needs to see.
///
/// # Errors
/// `Conflict` for records that have methods of their own, and for a setting without a key.
pub(crate) fn ask(record: &Record, key: Option<&Key>) -> CatalogResult<Ask> {
    match (record, key) {
        (Record::Audit(audit), None) => {
            Ok(Ask { keys: Vec::new(), last: vec![(Kind::Audit, audit_prefix(audit.pipeline.as_ref()))] })
        }
        (Record::Audit(_) | Record::Setting(_), Some(key)) if key.kind == stored::kind(record) => {
            Ok(Ask::keys([key.clone()]))
        }
        _ => Err(CatalogError::Conflict(
            "only audit entries and settings can be appended, under a key of their kind".to_owned(),
        )),
    }
}

/// Adds an audit entry, or creates a record under a key: the same one again is harmless, another one a `Conflict`.
pub(crate) fn append(view: &View, record: &Record, key: Option<&Key>) -> CatalogResult<Decision<()>> {
    let Some(key) = key else {
        let Record::Audit(audit) = record else {
            return Ok(Decision::nothing(()));
        };
        let audit = Audit { at: Some(view.now), ..audit.clone() };
        return Ok(Decision::put((), [(next_audit(view, audit.pipeline.as_ref()), Record::Audit(audit))]));
    };
    let record = match record {
        // The catalog's time, and that of the first of several equal entries.
        Record::Audit(audit) => {
            let at = match view.record(key) {
                Some(Record::Audit(there)) => there.at,
                _ => Some(view.now),
            };
            Record::Audit(Audit { at, ..audit.clone() })
        }
        other => other.clone(),
    };
    create(view, [(key.clone(), record)])
}

/// Writes records that are not there yet; `Conflict` when one is there with other content.
pub(crate) fn create(view: &View, records: impl IntoIterator<Item = (Key, Record)>) -> CatalogResult<Decision<()>> {
    let mut missing = Vec::new();
    for (key, record) in records {
        if stored::kind(&record) != key.kind {
            return Err(CatalogError::Conflict(format!(
                "the record of {:?} {} is of another kind",
                key.kind,
                key.parts.join("/")
            )));
        }
        match view.record(&key) {
            None => missing.push((key, record)),
            // Compared as it would come back from the store.
            Some(there)
                if *there == record || *there == stored::decode(&key, &stored::encode(&record.into())?)?.record => {}
            Some(_) => {
                return Err(CatalogError::Conflict(format!(
                    "{:?} {} exists with other content",
                    key.kind,
                    key.parts.join("/")
                )));
            }
        }
    }
    Ok(Decision::put((), missing))
}
