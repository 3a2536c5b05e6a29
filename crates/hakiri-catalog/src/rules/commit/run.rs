//! Ending a run (C4, C5).

use std::collections::BTreeSet;

use hakiri_core::catalog::{
    CatalogError, CatalogResult, Commit, Committed, Head, Key, Record, RunRecord, RunReport, TableCommit,
};
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::time::Instant;

use super::{Decision, schema_history, schema_keys, seq_conflict, unnamed, unnamed_snapshot};
use crate::rules::{Ask, View, fence};

pub(super) fn ask(pipeline: &PipelineId, run: &RunId, tables: &[TableCommit]) -> Ask {
    let mut keys = vec![Key::head(pipeline), Key::run(pipeline, run)];
    for table in tables {
        keys.extend(table.head.schema.iter().flat_map(|version| schema_keys(pipeline, &table.table, version)));
    }
    Ask::keys(keys)
}

/// Ends a run.
///
/// A run that has ended is answered with its record, whatever the epoch and whatever else the commit says: the record
/// decides, for ever (C5). Otherwise the epoch must be the newest, the run the unfinished one and the head where the run
/// was planned on.
///
/// Tables that are not named stay as they are (E3). The head's seq is raised only when tables are committed; a run where
/// nothing succeeded ends without one, and its report's `seq` is none. In both cases the lease is released, the run is
/// no longer unfinished, and a scheduled run's tick is done.
pub(super) fn decide(view: &View, commit: &Commit) -> CatalogResult<Decision<Committed>> {
    let Commit::Run { pipeline, run, epoch, expected_seq, tables, report, scheduled, new_generation } = commit else {
        return Err(CatalogError::Conflict("not the commit of a run".to_owned()));
    };
    let mut head = view.head(pipeline);
    if let Some(record) = view.ended(pipeline, run) {
        return Ok(Decision::nothing(Committed { head, run: Some(record.clone()) }));
    }
    fence(&head, run, *epoch)?;
    let started = match view.run(pipeline, run) {
        Some(record) if head.unfinished.as_ref() == Some(run) => record.report.started,
        _ => return Err(CatalogError::Conflict(format!("run {run} has no plan"))),
    };
    if head.seq != *expected_seq {
        return Err(seq_conflict(&head, *expected_seq));
    }
    let seq = (!tables.is_empty()).then_some(head.seq + 1);
    let mut records = match seq {
        Some(seq) => commit_tables(view, &mut head, seq, tables)?,
        None => Vec::new(),
    };
    head.seq = seq.unwrap_or(head.seq);
    head.lease = None;
    head.unfinished = None;
    head.last_run = Some(run.clone());
    head.generation += u64::from(*new_generation);
    // A manual run's tick counts only until there is a scheduled one.
    if *scheduled {
        head.last_tick = head.last_tick.max(Some(report.tick));
    } else {
        head.last_tick = head.last_tick.or(Some(report.tick));
    }
    let report = RunReport {
        pipeline: pipeline.clone(),
        run: run.clone(),
        seq,
        started,
        ended: Some(view.now),
        ..report.clone()
    };
    let record = RunRecord { report, epoch: *epoch };
    records.push((Key::run(pipeline, run), Record::Run(record.clone())));
    records.push((Key::head(pipeline), Record::Head(head.clone())));
    Ok(Decision::put(Committed { head, run: Some(record) }, records))
}

/// Puts the tables into the head. Returns the records that go with it.
fn commit_tables(view: &View, head: &mut Head, seq: u64, tables: &[TableCommit]) -> CatalogResult<Vec<(Key, Record)>> {
    let pipeline = head.pipeline.clone();
    let mut records = Vec::new();
    let mut seen = BTreeSet::new();
    for TableCommit { table, head: new, unnamed: left } in tables {
        if !seen.insert(table) || new.manifest_seq > seq {
            return Err(CatalogError::Conflict(format!(
                "table {table} cannot be committed twice, nor ahead of commit {seq}"
            )));
        }
        let old = head.tables.get(table);
        if let Some(version) = &new.schema {
            let before = old.and_then(|t| t.schema.as_ref()).map(|s| s.version);
            if before.is_some_and(|b| b > version.version) {
                return Err(CatalogError::Conflict(format!(
                    "the schema of {table} is at version {} already",
                    before.unwrap_or(0)
                )));
            }
            records.extend(schema_history(view, &pipeline, table, version, before)?);
        }
        let snapshot = old.and_then(|t| t.snapshot.as_ref());
        let above = snapshot.map_or(0, |s| s.covers);
        records.extend(left.iter().map(|manifest| unnamed(&pipeline, seq, table.as_str(), manifest, above, view.now)));
        let mut new = new.clone();
        if left.is_none() && old.is_some_and(|t| t.manifest.is_some()) {
            // The run adds to the table. Snapshots are named without its lease, so that one may be there by now that the
            // run did not see; without this, a run could take the snapshot of a parent away and leave that of its child.
            new.snapshot = snapshot.cloned();
        } else if let Some(snapshot) = snapshot
            && new.snapshot.as_ref() != Some(snapshot)
        {
            records.push(unnamed_snapshot(&pipeline, seq, table, snapshot.covers, &snapshot.manifest, view.now));
        }
        head.tables.insert(table.clone(), new);
    }
    Ok(records)
}

/// The report of a run that was given up before it ended.
pub(super) fn abandoned(mut record: RunRecord, epoch: u64, now: Instant) -> RunRecord {
    record.report.status = hakiri_core::catalog::RunStatus::Failed;
    record.report.seq = None;
    record.report.ended = Some(now);
    record.epoch = epoch;
    record
}
