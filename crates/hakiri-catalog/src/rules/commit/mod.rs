//! `commit`: conditional, atomic changes of a pipeline's head (C4).

pub(crate) mod control;
pub(crate) mod run;
pub(crate) mod snapshot;
pub(crate) mod state;

use hakiri_core::catalog::{CatalogError, CatalogResult, Commit, Committed, Head, Key, Kind, Record, Unnamed};
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::manifest::FileRef;
use hakiri_core::schema::SchemaVersion;
use hakiri_core::time::Instant;

use super::{Ask, Decision, View};

pub(crate) fn ask(commit: &Commit) -> Ask {
    match commit {
        Commit::Run { pipeline, run, tables, .. } => run::ask(pipeline, run, tables),
        Commit::State { pipeline, tables, .. } => state::ask(pipeline, tables),
        Commit::Control { pipeline, control } => control::ask(pipeline, control),
        Commit::Snapshot { pipeline, .. } | Commit::Forget { pipeline, .. } => Ask::keys([Key::head(pipeline)]),
    }
}

/// What else to see, once the head is known.
pub(crate) fn ask_more(commit: &Commit, view: &View) -> Vec<Key> {
    match commit {
        Commit::State { pipeline, .. } => state::ask_more(pipeline, view),
        _ => Vec::new(),
    }
}

pub(crate) fn decide(view: &View, commit: &Commit) -> CatalogResult<Decision<Committed>> {
    match commit {
        Commit::Run { .. } => run::decide(view, commit),
        Commit::Snapshot { pipeline, generation, tables } => snapshot::decide(view, pipeline, *generation, tables),
        Commit::State { pipeline, expected_seq, tables, unnamed, reason } => {
            state::decide(view, pipeline, *expected_seq, tables, unnamed, reason)
        }
        Commit::Control { pipeline, control } => control::decide(view, pipeline, control),
        Commit::Forget { pipeline, keys } => forget(view, pipeline, keys),
    }
}

/// Forgets entries of files that `gc` deleted. Only [`Kind::Unnamed`] can be forgotten: plans, step records and runs
/// stay, since no method's cost grows with them (C10) and a commit is idempotent by them for ever (C5).
fn forget(view: &View, pipeline: &PipelineId, keys: &[Key]) -> CatalogResult<Decision<Committed>> {
    let ours = |key: &&Key| key.kind == Kind::Unnamed && key.parts.first().is_some_and(|p| p == pipeline.as_str());
    if let Some(key) = keys.iter().find(|key| !ours(key)) {
        return Err(CatalogError::Conflict(format!(
            "{:?} {} is no file that {pipeline} left behind",
            key.kind,
            key.parts.join("/")
        )));
    }
    let answer = Committed { head: view.head(pipeline), run: None };
    Ok(Decision { answer, put: Vec::new(), delete: keys.to_vec() })
}

/// The keys that [`schema_history`] needs to see.
fn schema_keys(pipeline: &PipelineId, table: &TableName, version: &SchemaVersion) -> Vec<Key> {
    let before = (version.version > 1).then(|| Key::schema(pipeline, table, version.version - 1));
    before.into_iter().chain([Key::schema(pipeline, table, version.version)]).collect()
}

/// The record to write so that a table's history holds a version (C2): none if it is there already. A version that is
/// there with other content, or that would leave a gap, is a `Conflict`.
///
/// `before` is the version of the table's head, which is where the history of a renamed table starts.
fn schema_history(
    view: &View,
    pipeline: &PipelineId,
    table: &TableName,
    version: &SchemaVersion,
    before: Option<u64>,
) -> CatalogResult<Option<(Key, Record)>> {
    let key = Key::schema(pipeline, table, version.version);
    match view.record(&key) {
        Some(Record::Schema(there)) if there == version => return Ok(None),
        Some(_) => {
            return Err(CatalogError::Conflict(format!(
                "version {} of the schema of {table} exists with other columns",
                version.version
            )));
        }
        None => {}
    }
    let follows = match version.version {
        0 => false,
        1 => before.is_none_or(|b| b == 1),
        n => before == Some(n) || before == Some(n - 1) || view.record(&Key::schema(pipeline, table, n - 1)).is_some(),
    };
    if follows {
        Ok(Some((key, Record::Schema(version.clone()))))
    } else {
        Err(CatalogError::Conflict(format!(
            "version {} of the schema of {table} does not follow the one before it",
            version.version
        )))
    }
}

/// The chain of manifests from one back to, but without, that of the commit `above`.
fn unnamed(
    pipeline: &PipelineId,
    seq: u64,
    name: &str,
    manifest: &FileRef,
    above: u64,
    since: Instant,
) -> (Key, Record) {
    (Key::unnamed(pipeline, seq, name), Record::Unnamed(Unnamed { manifest: manifest.clone(), above, since }))
}

/// Files of a snapshot that another one took the place of, or that a table started anew without.
fn unnamed_snapshot(
    pipeline: &PipelineId,
    seq: u64,
    table: &TableName,
    covers: u64,
    manifest: &FileRef,
    since: Instant,
) -> (Key, Record) {
    unnamed(pipeline, seq, &format!("{table}.snapshot.{covers:010}"), manifest, 0, since)
}

fn seq_conflict(head: &Head, expected: u64) -> CatalogError {
    CatalogError::Conflict(format!("the pipeline {} is at commit {}, not {expected}", head.pipeline, head.seq))
}
