//! Naming snapshots (S10).

use std::collections::BTreeSet;

use hakiri_core::catalog::{CatalogError, CatalogResult, Committed, Key, Record, SnapshotCommit};
use hakiri_core::id::PipelineId;

use super::{Decision, unnamed, unnamed_snapshot};
use crate::rules::View;

/// Names snapshots: without the lease, and without a commit's number, since they change no row.
///
/// `Conflict` unless every table's snapshot and the generation are those they were made on; naming the same ones again
/// is harmless. They cover one commit, none that is not there yet, and no fewer than the ones before. The files of the
/// snapshots before stop being named, and so do those of the runs that are covered for the first time.
pub(super) fn decide(
    view: &View,
    pipeline: &PipelineId,
    generation: u64,
    tables: &[SnapshotCommit],
) -> CatalogResult<Decision<Committed>> {
    let mut head = view.head(pipeline);
    let seq = head.seq;
    if let Some(unknown) = tables.iter().find(|t| !head.tables.contains_key(&t.table)) {
        return Err(CatalogError::NotFound(format!("table {} of {pipeline}", unknown.table)));
    }
    if head.generation != generation {
        return Err(CatalogError::Conflict(format!(
            "{pipeline} is in generation {}, not {generation}",
            head.generation
        )));
    }
    let there = |t: &SnapshotCommit| {
        let old = head.tables.get(&t.table).and_then(|old| old.snapshot.as_ref());
        old == Some(&t.snapshot)
    };
    if tables.iter().all(there) {
        return Ok(Decision::nothing(Committed { head, run: None }));
    }
    let mut records = Vec::new();
    let (mut seen, mut covered) = (BTreeSet::new(), BTreeSet::new());
    for SnapshotCommit { table, previous, snapshot } in tables {
        let Some(old) = head.tables.get_mut(table) else {
            continue;
        };
        covered.insert(snapshot.covers);
        if !seen.insert(table) || covered.len() > 1 {
            return Err(CatalogError::Conflict(format!(
                "snapshots of {pipeline} name {table} twice, or cover several commits"
            )));
        }
        if old.snapshot != *previous {
            return Err(CatalogError::Conflict(format!("table {table} has another snapshot")));
        }
        let before = previous.as_ref().map_or(0, |p| p.covers);
        if snapshot.covers > seq || before > snapshot.covers {
            return Err(CatalogError::Conflict(format!(
                "a snapshot of {table} cannot cover commit {} (the last one is {seq})",
                snapshot.covers
            )));
        }
        old.snapshot = Some(snapshot.clone());
        if let Some(left) = previous.as_ref().filter(|p| p.manifest != snapshot.manifest) {
            records.push(unnamed_snapshot(pipeline, seq, table, left.covers, &left.manifest, view.now));
        }
        if let Some(newest) = old.manifest.as_ref().filter(|_| snapshot.covers > before) {
            // From the newest run on, though the snapshot may not cover it: what is named anyway loses nothing by it.
            let name = format!("{table}.runs.{:010}", snapshot.covers);
            records.push(unnamed(pipeline, seq, &name, newest, before, view.now));
        }
    }
    records.push((Key::head(pipeline), Record::Head(head.clone())));
    Ok(Decision::put(Committed { head, run: None }, records))
}
