//! Reads what a status needs from the catalog: per pipeline its head, one page of runs and, while a run is under way, a
//! page of its steps. Nothing grows with the number of past runs or of parts (C10).

use std::time::Duration;

use hakiri_core::catalog::{Catalog, Head, Key, Kind, PageRequest, Record, RunReport, RunStatus};
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::schedule::parse_duration;
use hakiri_core::spec::{PipelineSpec, Project};
use hakiri_core::step::{StepRecord, StepStatus};
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};

use super::decide::{self, Facts};
use super::{
    CatalogStatus, FORMAT, PipelineStatus, Problem, RECENT_RUNS, RunSummary, State, Status, TableStatus, Unfinished,
};

/// How long a catalog may take to answer a whole status before it counts as out of reach.
const PATIENCE: Duration = Duration::from_secs(20);
/// Steps of an unfinished run that are read; of a plan with more, the first.
const MAX_STEPS: usize = 1_000;
/// Pipelines without a place in the manifest that are shown at most.
const MAX_FORGOTTEN: usize = 200;

/// The status of a project, or of some of its pipelines (none named: all, with those that only the catalog knows).
///
/// It does not fail: where the catalog does not answer, that is what the status says.
pub async fn gather(project: &Project, catalog: &dyn Catalog, now: Instant, only: &[PipelineId]) -> Status {
    let answered = tokio::time::timeout(PATIENCE, read(project, catalog, now, only));
    let (catalog, pipelines) = match answered.await {
        Ok(Ok((adapter, pipelines))) => (CatalogStatus { adapter: Some(adapter), error: None }, pipelines),
        Ok(Err(e)) => unreachable(project, &e, only),
        Err(_) => unreachable(
            project,
            &Error::new(Code::CatalogUnavailable, format!("no answer within {} s", PATIENCE.as_secs())),
            only,
        ),
    };
    Status {
        format: FORMAT,
        project: project.name.to_string(),
        version: project.version.clone(),
        env: project.env.clone(),
        hakiri: env!("CARGO_PKG_VERSION"),
        at: now,
        catalog,
        pipelines,
    }
}

/// What is known without a catalog.
fn unreachable(project: &Project, error: &Error, only: &[PipelineId]) -> (CatalogStatus, Vec<PipelineStatus>) {
    let wanted = |p: &&PipelineSpec| only.is_empty() || only.contains(&p.id);
    let pipelines = project.pipelines.iter().filter(wanted).map(|p| PipelineStatus {
        connector: Some(p.source.connector.clone()),
        schedule: p.schedule.clone(),
        ..PipelineStatus::unknown(p.id.clone())
    });
    let problem = Problem::of(&error.to_failure(), None);
    (CatalogStatus { adapter: None, error: Some(problem) }, pipelines.collect())
}

impl PipelineStatus {
    fn unknown(id: PipelineId) -> Self {
        Self {
            id,
            connector: None,
            schedule: None,
            state: State::Unknown,
            why: None,
            paused: false,
            last_tick: None,
            next_ticks: Vec::new(),
            overdue_ms: 0,
            seq: 0,
            last_run: None,
            last_success: None,
            failures_in_a_row: 0,
            unfinished: None,
            tables: Vec::new(),
            problems: Vec::new(),
            recent: Vec::new(),
        }
    }
}

async fn read(
    project: &Project,
    catalog: &dyn Catalog,
    now: Instant,
    only: &[PipelineId],
) -> Result<(&'static str, Vec<PipelineStatus>)> {
    let adapter = catalog.info().await?.adapter;
    let mut pipelines = Vec::new();
    let mut wanted: Vec<PipelineId> = only.to_vec();
    if only.is_empty() {
        wanted.extend(project.pipelines.iter().map(|p| p.id.clone()));
        let forgotten: Vec<PipelineId> =
            heads(catalog).await?.into_iter().map(|h| h.pipeline).filter(|id| !wanted.contains(id)).collect();
        wanted.extend(forgotten);
    }
    // The manifest was found right when it was loaded.
    let late_after = project.notify.as_ref().and_then(|n| parse_duration(n.late_after.as_deref()?).ok());
    for id in wanted {
        let spec = project.pipelines.iter().find(|p| p.id == id);
        pipelines.push(pipeline(catalog, id, spec, now, late_after).await?);
    }
    Ok((adapter, pipelines))
}

/// The heads of pipelines, one page.
async fn heads(catalog: &dyn Catalog) -> Result<Vec<Head>> {
    let page = PageRequest {
        kind: Kind::Head,
        prefix: Vec::new(),
        after: None,
        limit: MAX_FORGOTTEN.min(1_000),
        newest_first: false,
    };
    let entries = catalog.list(&page).await?.entries;
    Ok(entries
        .into_iter()
        .filter_map(|(_, record)| if let Record::Head(h) = record { Some(h) } else { None })
        .collect())
}

/// A page of a pipeline's runs, newest first; and whether there are more.
///
/// # Errors
/// Any catalog error.
pub async fn runs(
    catalog: &dyn Catalog,
    pipeline: &PipelineId,
    before: Option<&RunId>,
    limit: usize,
) -> Result<(Vec<RunReport>, bool)> {
    let page = PageRequest {
        kind: Kind::Run,
        prefix: vec![pipeline.to_string()],
        after: before.map(|run| Key::run(pipeline, run)),
        limit: limit.clamp(1, 1_000),
        newest_first: true,
    };
    let listed = catalog.list(&page).await?;
    let reports = listed.entries.into_iter().filter_map(|(_, record)| match record {
        Record::Run(record) => Some(record.report),
        _ => None,
    });
    Ok((reports.collect(), listed.more))
}

/// The records of a run's steps, at most `limit`.
///
/// # Errors
/// Any catalog error.
pub async fn steps(catalog: &dyn Catalog, pipeline: &PipelineId, run: &RunId, limit: usize) -> Result<Vec<StepRecord>> {
    let mut records = Vec::new();
    let mut page = PageRequest {
        kind: Kind::Step,
        prefix: vec![pipeline.to_string(), run.to_string()],
        after: None,
        limit: limit.clamp(1, 1_000),
        newest_first: false,
    };
    loop {
        let listed = catalog.list(&page).await?;
        page.after = listed.entries.last().map(|(key, _)| key.clone());
        records.extend(listed.entries.into_iter().filter_map(|(_, record)| match record {
            Record::Step(step) => Some(step),
            _ => None,
        }));
        if !listed.more || records.len() >= limit {
            records.truncate(limit);
            return Ok(records);
        }
    }
}

async fn pipeline(
    catalog: &dyn Catalog,
    id: PipelineId,
    spec: Option<&PipelineSpec>,
    now: Instant,
    late_after: Option<i64>,
) -> Result<PipelineStatus> {
    let head = match catalog.get(&Key::head(&id)).await? {
        Some(Record::Head(head)) => head,
        _ => Head::new(id.clone()),
    };
    let (reports, _) = runs(catalog, &id, None, RECENT_RUNS).await?;
    let open = match &head.unfinished {
        Some(run) => steps(catalog, &id, run, MAX_STEPS).await?,
        None => Vec::new(),
    };
    Ok(assemble(&head, spec, &reports, &open, now, late_after))
}

/// A pipeline's status out of what the catalog said. Pure.
pub(super) fn assemble(
    head: &Head,
    spec: Option<&PipelineSpec>,
    reports: &[RunReport],
    open: &[StepRecord],
    now: Instant,
    late_after: Option<i64>,
) -> PipelineStatus {
    let schedule = spec.and_then(|s| s.schedule().ok().flatten());
    let recent: Vec<RunSummary> = reports.iter().map(|r| RunSummary::of(r, now)).collect();
    // Ids sort by tick, and a run by hand may stand for an old one: the last run is the one that began last.
    let ended = || reports.iter().filter(|r| r.status != RunStatus::Running);
    let last = ended().max_by_key(|r| r.started);
    // One that was cancelled says nothing of whether the next will work.
    let judged = ended().filter(|r| r.status != RunStatus::Cancelled).max_by_key(|r| r.started);
    let waits_until = decide::waits_until(open);
    let first = reports.iter().find(|r| r.status == RunStatus::Running).map(|r| r.tick);
    let overdue = decide::overdue(schedule.as_ref(), head.last_tick, first, now, late_after);
    let paused = head.paused.is_some();
    let last_error = open.iter().rev().find_map(|s| s.last_error.as_ref()).map(|f| f.message.clone());
    let (state, why) = decide::state(&Facts {
        now,
        paused,
        overdue,
        last: judged.or(last).map(|r| r.status),
        unfinished: head.unfinished.is_some(),
        lease_until: decide::lease_until(head),
        waits_until,
        last_error: last_error.as_deref(),
    });
    PipelineStatus {
        id: head.pipeline.clone(),
        connector: spec.map(|s| s.source.connector.clone()),
        schedule: schedule.as_ref().map(ToString::to_string),
        state,
        why: why.or_else(|| spec.is_none().then(|| "the manifest no longer has it".to_owned())),
        paused,
        last_tick: head.last_tick,
        next_ticks: if paused { Vec::new() } else { decide::next_ticks(schedule.as_ref(), now) },
        overdue_ms: overdue.millis,
        seq: head.seq,
        last_run: last.map(|r| RunSummary::of(r, now)),
        last_success: recent.iter().filter(|r| r.status == RunStatus::Succeeded).filter_map(|r| r.ended).max(),
        failures_in_a_row: decide::failures_in_a_row(&recent),
        unfinished: head.unfinished.as_ref().map(|run| unfinished(head, run, reports, open, waits_until)),
        tables: tables(head, last),
        problems: problems(judged, open),
        recent,
    }
}

fn unfinished(
    head: &Head,
    run: &RunId,
    reports: &[RunReport],
    open: &[StepRecord],
    waits_until: Option<Instant>,
) -> Unfinished {
    let lease = head.lease.as_ref().filter(|lease| &lease.run == run);
    Unfinished {
        run: run.clone(),
        started: reports.iter().find(|r| &r.run == run).map(|r| r.started),
        epoch: lease.map(|l| l.epoch),
        lease_until: lease.map(|l| l.expires),
        steps: open.len(),
        steps_ended: open.iter().filter(|s| s.status.is_final()).count(),
        waits_until,
    }
}

fn tables(head: &Head, last: Option<&RunReport>) -> Vec<TableStatus> {
    let rows = |name| last.and_then(|r| r.tables.iter().find(|t| &t.table == name)).map(|t| t.rows);
    head.tables
        .iter()
        .map(|(name, table)| TableStatus {
            table: name.clone(),
            source_table: table.source_table.clone(),
            cursor: table.cursor.as_ref().map(ToString::to_string),
            schema_version: table.schema.as_ref().map(|s| s.version),
            columns: table.schema.as_ref().map_or(0, |s| s.schema.fields.len()),
            rows_of_last_run: rows(name),
            seq: table.manifest_seq,
        })
        .collect()
}

/// The errors of an unfinished run's steps, which are the news, then those of the last run that ended.
fn problems(last: Option<&RunReport>, open: &[StepRecord]) -> Vec<Problem> {
    let steps = open.iter().filter_map(|step| {
        let failure = match &step.status {
            StepStatus::Failed { failure } => failure,
            _ => step.last_error.as_ref()?,
        };
        Some(Problem::of(failure, Some(format!("step {}", step.step))))
    });
    let tables = last
        .into_iter()
        .flat_map(|r| &r.tables)
        .filter_map(|table| table.failure.as_ref().map(|failure| Problem::of(failure, Some(table.table.to_string()))));
    steps.chain(tables).collect()
}
