//! Naming a snapshot (S10).

use hakiri_core::catalog::{CatalogError, CatalogResult, Committed, Key, Record, SnapshotHead};
use hakiri_core::id::{PipelineId, TableName};

use super::{Decision, unnamed_snapshot};
use crate::rules::{Ask, View};

pub(super) fn ask(pipeline: &PipelineId, _table: &TableName, _snapshot: &SnapshotHead) -> Ask {
    Ask::keys([Key::head(pipeline)])
}

/// Names a snapshot: without the lease, and without a commit's number, since it changes no row.
///
/// `Conflict` unless the table's snapshot and the generation are those it was made on; naming the same one again is
/// harmless. It covers no commit that is not there yet, and no fewer than the one before it. The files of the one
/// before it stop being named.
pub(super) fn decide(
    view: &View,
    pipeline: &PipelineId,
    table: &TableName,
    generation: u64,
    previous: Option<&SnapshotHead>,
    snapshot: &SnapshotHead,
) -> CatalogResult<Decision<Committed>> {
    let mut head = view.head(pipeline);
    let seq = head.seq;
    let Some(old) = head.tables.get_mut(table) else {
        return Err(CatalogError::NotFound(format!("table {table} of {pipeline}")));
    };
    if head.generation != generation {
        return Err(CatalogError::Conflict(format!(
            "{pipeline} is in generation {}, not {generation}",
            head.generation
        )));
    }
    if old.snapshot.as_ref() == Some(snapshot) {
        return Ok(Decision::nothing(Committed { head, run: None }));
    }
    if old.snapshot.as_ref() != previous {
        return Err(CatalogError::Conflict(format!("table {table} has another snapshot")));
    }
    if snapshot.covers > seq || previous.is_some_and(|p| p.covers > snapshot.covers) {
        return Err(CatalogError::Conflict(format!(
            "a snapshot of {table} cannot cover commit {} (the last one is {seq})",
            snapshot.covers
        )));
    }
    old.snapshot = Some(snapshot.clone());
    let left = previous.filter(|p| p.manifest != snapshot.manifest);
    let mut records: Vec<_> = left
        .map(|p| unnamed_snapshot(pipeline, seq, table, p.covers, &p.manifest, view.now))
        .into_iter()
        .collect();
    records.push((Key::head(pipeline), Record::Head(head.clone())));
    Ok(Decision::put(Committed { head, run: None }, records))
}
