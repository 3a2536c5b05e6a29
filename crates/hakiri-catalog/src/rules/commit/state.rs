//! Setting state by hand: `state rewind`, `state reset`, `drop`, `moved`.

use std::collections::BTreeMap;

use hakiri_core::catalog::{Audit, CatalogError, CatalogResult, Committed, Key, Kind, Record, TableHead, TableReport};
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId, TableName};
use hakiri_core::manifest::FileRef;
use hakiri_core::plan::Plan;
use serde_json::json;

use super::{Decision, run::abandoned, schema_history, schema_keys, seq_conflict, unnamed};
use crate::rules::append::{audit_prefix, next_audit};
use crate::rules::{Ask, View};

pub(super) fn ask(pipeline: &PipelineId, tables: &BTreeMap<TableName, Option<TableHead>>) -> Ask {
    let mut keys = vec![Key::head(pipeline)];
    for (table, head) in tables {
        let version = head.as_ref().and_then(|h| h.schema.as_ref());
        keys.extend(version.into_iter().flat_map(|version| schema_keys(pipeline, table, version)));
    }
    Ask { keys, last: vec![(Kind::Audit, audit_prefix(Some(pipeline)))] }
}

/// The run that the change abandons.
pub(super) fn ask_more(pipeline: &PipelineId, view: &View) -> Vec<Key> {
    view.head(pipeline)
        .unfinished
        .map(|run| vec![Key::run(pipeline, &run), Key::plan(pipeline, &run)])
        .unwrap_or_default()
}

/// Sets tables' heads.
///
/// `Held` while a lease is live, `Conflict` when the head is not the one the caller saw. Raises seq, generation and
/// epoch: the unfinished run, if there is one, ends as failed, and no worker of it can report or commit any more. Adds
/// an audit entry. A pipeline without tables goes on from the newest commit of those it is given: the commits of their
/// old pipeline order their rows. A history of schemas starts at the version a table comes with, since a renamed table keeps its own.
pub(super) fn decide(
    view: &View,
    pipeline: &PipelineId,
    expected_seq: u64,
    tables: &BTreeMap<TableName, Option<TableHead>>,
    left: &[FileRef],
    reason: &str,
) -> CatalogResult<Decision<Committed>> {
    let mut head = view.head(pipeline);
    if let Some(lease) = &head.lease
        && lease.expires > view.now
    {
        return Err(CatalogError::Held { run: lease.run.clone(), until: lease.expires });
    }
    if head.seq != expected_seq {
        return Err(seq_conflict(&head, expected_seq));
    }
    if head.tables.is_empty() {
        let named = tables.values().flatten();
        let newest = named.map(|t| t.manifest_seq.max(t.snapshot.as_ref().map_or(0, |s| s.covers))).max();
        head.seq = head.seq.max(newest.unwrap_or(0));
    }
    head.seq += 1;
    head.generation += 1;
    head.epoch += 1;
    head.lease = None;
    let mut records = Vec::new();
    for (table, new) in tables {
        let Some(new) = new else {
            head.tables.remove(table);
            continue;
        };
        if new.manifest_seq > head.seq {
            return Err(CatalogError::Conflict(format!("table {table} cannot be ahead of commit {}", head.seq)));
        }
        if let Some(version) = &new.schema {
            records.extend(schema_history(view, pipeline, table, version, Some(version.version))?);
        }
        head.tables.insert(table.clone(), new.clone());
    }
    for (i, manifest) in left.iter().enumerate() {
        records.push(unnamed(
            pipeline,
            head.seq,
            &format!("{i:06}.{}", manifest.sha256.short()),
            manifest,
            0,
            view.now,
        ));
    }
    let run = head.unfinished.take();
    if let Some(run) = &run
        && let Some(record) = view.run(pipeline, run)
    {
        let mut record = abandoned(record.clone(), head.epoch, view.now);
        record.report.tables = view
            .plan(pipeline, run)
            .map(|plan| given_up(plan, Code::CatalogFenced, &format!("the run was abandoned: {reason}")))
            .unwrap_or_default();
        records.push((Key::run(pipeline, run), Record::Run(record)));
    }
    let audit = Audit {
        action: "state".to_owned(),
        pipeline: Some(pipeline.clone()),
        at: Some(view.now),
        detail: json!({
            "reason": reason,
            "seq": head.seq,
            "generation": head.generation,
            "tables": tables.keys().collect::<Vec<_>>(),
            "abandoned": run.as_ref().map(RunId::as_str),
        }),
    };
    records.push((next_audit(view, Some(pipeline)), Record::Audit(audit)));
    records.push((Key::head(pipeline), Record::Head(head.clone())));
    Ok(Decision::put(Committed { head, run: None }, records))
}

/// The tables of an abandoned run, for its report.
pub(super) fn given_up(plan: &Plan, code: Code, why: &str) -> Vec<TableReport> {
    let failure = hakiri_core::Error::new(code, why).to_failure();
    let mut tables: Vec<TableReport> = Vec::new();
    for table in plan.steps.iter().flat_map(|s| &s.tables) {
        if tables.iter().all(|t| t.table != table.table) {
            tables.push(TableReport {
                table: table.table.clone(),
                read: 0,
                rows: 0,
                rejected: 0,
                samples: Vec::new(),
                parts: 0,
                bytes: 0,
                schema_changed: None,
                cursor: table.cursor_before.clone(),
                failure: Some(failure.clone()),
            });
        }
    }
    tables
}
