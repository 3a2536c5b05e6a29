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

#[cfg(test)]
mod tests {
    use hakiri_core::catalog::{Lease, TableReport};

    use super::*;

    fn at(minutes: i64) -> Instant {
        Instant::from_millis(minutes * 60_000)
    }

    fn report(tick: i64, started: i64, status: RunStatus) -> RunReport {
        let (project, pipeline) = ("shop".parse().unwrap(), "p".parse().unwrap());
        let failure = (status == RunStatus::Failed)
            .then(|| Error::new(Code::HttpUnavailable, format!("at {started}")).to_failure());
        let table = TableReport {
            table: "p_t".parse().unwrap(),
            read: 5,
            rows: 3,
            rejected: 0,
            samples: Vec::new(),
            parts: 1,
            bytes: 100,
            schema_changed: None,
            cursor: None,
            failure,
        };
        RunReport {
            run: RunId::new(&project, &pipeline, at(tick), 0),
            pipeline,
            tick: at(tick),
            seq: None,
            status,
            started: at(started),
            ended: (status != RunStatus::Running).then(|| at(started + 1)),
            tables: vec![table],
        }
    }

    fn seen(reports: &[RunReport], head: impl FnOnce(&mut Head), open: &[StepRecord]) -> PipelineStatus {
        let mut of = Head::new("p".parse().unwrap());
        head(&mut of);
        assemble(&of, None, reports, open, at(100), None)
    }

    #[test]
    fn the_last_run_is_the_one_that_began_last_not_that_of_the_latest_tick() {
        // Newest tick first, as the catalog lists them; a run by hand for an old tick came last.
        let reports = [report(50, 51, RunStatus::Succeeded), report(10, 60, RunStatus::Failed)];
        let status = seen(&reports, |_| {}, &[]);
        assert_eq!((status.state, status.last_run.map(|r| r.tick)), (State::Failed, Some(at(10))));
        assert_eq!((status.problems[0].code.as_str(), status.problems[0].message.as_str()), ("HK0502", "at 60"));
        assert_eq!(status.last_success, Some(at(52)));
    }

    #[test]
    fn a_cancelled_run_neither_heals_nor_harms() {
        let cancelled = report(50, 51, RunStatus::Cancelled);
        let after = |earlier| seen(&[cancelled.clone(), report(40, 41, earlier)], |_| {}, &[]);
        let failed = after(RunStatus::Failed);
        assert_eq!((failed.state, failed.failures_in_a_row), (State::Failed, 1));
        assert_eq!(failed.last_run.map(|r| r.status), Some(RunStatus::Cancelled));
        assert_eq!(after(RunStatus::Succeeded).state, State::Idle);
    }

    #[test]
    fn an_unfinished_run_is_shown_with_its_lease_and_what_its_steps_met() {
        let running = report(50, 99, RunStatus::Running);
        let error = Error::new(Code::HttpRateLimited, "slow down").to_failure();
        let open = [
            StepRecord {
                status: StepStatus::Pending { not_before: Some(at(105)) },
                last_error: Some(error),
                ..StepRecord::new(0)
            },
            StepRecord {
                status: StepStatus::Failed {
                    failure: report(0, 0, RunStatus::Failed).tables[0].failure.clone().unwrap(),
                },
                ..StepRecord::new(1)
            },
        ];
        let run = running.run.clone();
        let status = seen(
            &[running],
            |head| {
                head.unfinished = Some(run.clone());
                head.lease = Some(Lease { run: run.clone(), epoch: 7, expires: at(101) });
            },
            &open,
        );
        assert_eq!(status.state, State::Waiting);
        assert_eq!(status.why.as_deref(), Some("tries again in 5 min after: slow down"));
        let unfinished = status.unfinished.unwrap();
        assert_eq!((unfinished.epoch, unfinished.steps, unfinished.steps_ended), (Some(7), 2, 1));
        let codes: Vec<&str> = status.problems.iter().map(|p| p.code.as_str()).collect();
        assert_eq!((codes, status.last_run.is_none()), (vec!["HK0503", "HK0502"], true));
    }

    #[test]
    fn a_pause_shows_no_next_tick_and_what_the_manifest_lost_is_said() {
        let status = seen(&[report(50, 51, RunStatus::Succeeded)], |head| head.paused = Some(at(1)), &[]);
        assert_eq!((status.state, status.paused, status.next_ticks.len()), (State::Paused, true, 0));
        assert_eq!(status.why.as_deref(), Some("the manifest no longer has it"));
        assert_eq!(seen(&[], |_| {}, &[]).state, State::NeverRan);
    }

    #[tokio::test]
    async fn a_catalog_that_does_not_answer_is_a_status_and_not_an_error() {
        #[derive(Debug)]
        struct Clock;
        impl hakiri_core::time::Clock for Clock {
            fn now(&self) -> Instant {
                at(1)
            }
        }
        let text = "[project]\nname = \"shop\"\n[[pipeline]]\nid = \"p\"\nsource = { connector = \"file\", config = { path = \"x.csv\" } }\n";
        let manifest = hakiri_core::spec::ManifestText { name: "hakiri.toml".to_owned(), text: text.to_owned() };
        let project = hakiri_core::spec::parse(
            &[manifest],
            None,
            &hakiri_core::source::Connectors::list(&hakiri_connect::Builtin),
        )
        .unwrap();
        let up = gather(&project, &hakiri_catalog::memory(std::sync::Arc::new(Clock)), at(1), &[]).await;
        assert_eq!((up.catalog.adapter, up.pipelines[0].state), (Some("memory"), State::NeverRan));
        let (down, pipelines) = unreachable(&project, &Error::new(Code::CatalogUnavailable, "locked"), &[]);
        assert_eq!((down.error.unwrap().code.as_str(), pipelines[0].state), ("HK0204", State::Unknown));
    }
}
