//! What a webhook hears of: derived from what the catalog remembers, so that every process comes to the same events with
//! the same ids, whoever made the runs and however often one asks.
//!
//! Why not an outbox that runs write to: a process can die between its commit and its entry. What is derived from the
//! commit itself cannot be lost, and which events were delivered is all that has to be kept.

use hakiri_core::catalog::{Head, RunReport, RunStatus};
use hakiri_core::error::Failure;
use hakiri_core::hash::Hash;
use hakiri_core::id::PipelineId;
use hakiri_core::spec::{NotifyEvent, Project};
use hakiri_core::time::Instant;
use serde_json::{Value, json};

use crate::status::decide::Overdue;

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The same for the same thing, for ever: receivers know a repetition by it.
    pub id: String,
    /// What kind.
    pub kind: NotifyEvent,
    /// What is sent.
    pub body: Value,
}

/// Whose events they are.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The project.
    pub project: &'a Project,
    /// The pipeline.
    pub pipeline: &'a PipelineId,
}

impl Subject<'_> {
    fn event(&self, kind: NotifyEvent, about: &str, at: Instant, data: Value) -> Event {
        event(self.project, Some(self.pipeline), kind, about, at, data)
    }

    /// Events of runs, which come oldest first. `whole` says that there is none before the first of them; else the first
    /// only tells how the second began. Runs that were cancelled by a person are no news.
    ///
    /// A run that fails after one that failed is none either: one hears of the first, and of the recovery.
    pub fn of_runs(&self, reports: &[RunReport], whole: bool) -> Vec<Event> {
        let mut events = Vec::new();
        let mut failing = if whole { Some(false) } else { None };
        for report in reports {
            let failed = match report.status {
                RunStatus::Succeeded => false,
                RunStatus::Partial | RunStatus::Failed => true,
                RunStatus::Running | RunStatus::Cancelled => continue,
            };
            let at = report.ended.unwrap_or(report.started);
            match (failing, failed) {
                (Some(false), true) => {
                    events.push(self.event(NotifyEvent::Failed, report.run.as_str(), at, run(report)))
                }
                (Some(true), false) => {
                    events.push(self.event(NotifyEvent::Recovered, report.run.as_str(), at, run(report)));
                }
                _ => {}
            }
            if failing.is_some() {
                for table in &report.tables {
                    let Some(version) = table.schema_changed.filter(|version| *version > 1) else { continue };
                    let about = format!("{}@{version}", table.table);
                    let data = json!({ "run": report.run, "table": table.table, "version": version });
                    events.push(self.event(NotifyEvent::SchemaChanged, &about, at, data));
                }
            }
            failing = Some(failed);
        }
        events
    }

    /// The event of a tick that has long been due and has no run that ended.
    pub fn of_lateness(&self, head: &Head, overdue: Overdue, now: Instant) -> Option<Event> {
        let tick = overdue.since.filter(|_| overdue.late && head.paused.is_none())?;
        let data = json!({ "tick": tick, "seconds": overdue.millis / 1000 });
        Some(self.event(NotifyEvent::Late, &tick.to_string(), now, data))
    }

    /// The event that no run can even be planned: for the tick that is due, which every process that tries knows, so that
    /// its id is the same in all of them.
    pub fn of_trouble(&self, failure: &Failure, tick: Instant, since: Instant) -> Event {
        let data = json!({ "planned": false, "error": failure });
        self.event(NotifyEvent::Failed, &unplanned(tick), since, data)
    }

    /// The event that the run of that tick could be planned after all.
    pub fn of_end_of_trouble(&self, tick: Instant, now: Instant) -> Event {
        self.event(NotifyEvent::Recovered, &unplanned(tick), now, json!({ "planned": true, "tick": tick }))
    }

    /// The id that the event of a tick without a plan has, or would have.
    pub fn id_of_trouble(&self, tick: Instant) -> String {
        self.event(NotifyEvent::Failed, &unplanned(tick), tick, Value::Null).id
    }
}

/// The event of a platform's alarm; `about` is the same whenever the same change of it is reported.
pub fn of_alarm(project: &Project, about: &str, at: Instant, data: Value) -> Event {
    event(project, None, NotifyEvent::Alarm, about, at, data)
}

fn event(
    project: &Project,
    pipeline: Option<&PipelineId>,
    kind: NotifyEvent,
    about: &str,
    at: Instant,
    data: Value,
) -> Event {
    let name = kind_name(kind);
    let env = project.env.as_deref().unwrap_or_default();
    let parts = [project.name.as_str(), env, pipeline.map_or("", PipelineId::as_str), name, about];
    let hash = Hash::of_parts(&parts.map(str::as_bytes));
    let id = format!("evt_{}", hash.as_str().get(..32).unwrap_or_default());
    let body = json!({
        "id": id,
        "type": name,
        "timestamp": at,
        "project": project.name,
        "env": project.env,
        "pipeline": pipeline,
        "data": data,
    });
    Event { id, kind, body }
}

fn unplanned(tick: Instant) -> String {
    format!("plan@{tick}")
}

/// As the manifest spells it.
pub fn kind_name(kind: NotifyEvent) -> &'static str {
    match kind {
        NotifyEvent::Failed => "failed",
        NotifyEvent::Recovered => "recovered",
        NotifyEvent::SchemaChanged => "schema_changed",
        NotifyEvent::Late => "late",
        NotifyEvent::Alarm => "alarm",
    }
}

/// A run for people who were not there: what failed and what to do, no values of records.
fn run(report: &RunReport) -> Value {
    let errors: Vec<Value> = report
        .tables
        .iter()
        .filter_map(|t| t.failure.as_ref().map(|f| json!({ "table": t.table, "error": f })))
        .collect();
    json!({
        "run": report.run,
        "tick": report.tick,
        "seq": report.seq,
        "status": report.status,
        "rows": report.tables.iter().map(|t| t.rows).sum::<u64>(),
        "errors": errors,
    })
}

#[cfg(test)]
mod tests {
    use hakiri_core::catalog::TableReport;
    use hakiri_core::id::RunId;
    use hakiri_core::spec::{ManifestText, parse};

    use super::*;

    fn project() -> Project {
        parse(&[ManifestText::new("hakiri.toml", "[project]\nname = \"shop\"\n")], None, &[]).unwrap()
    }

    fn report(n: i64, status: RunStatus, schema_changed: Option<u64>) -> RunReport {
        let (pipeline, tick): (PipelineId, _) = ("crm".parse().unwrap(), Instant::from_millis(n * 60_000));
        RunReport {
            run: RunId::new(&"shop".parse().unwrap(), &pipeline, tick, 0),
            pipeline,
            tick,
            seq: None,
            status,
            started: tick,
            ended: Some(tick.plus_millis(1)),
            tables: vec![TableReport {
                table: "crm_a".parse().unwrap(),
                read: 0,
                rows: 0,
                rejected: 0,
                samples: Vec::new(),
                parts: 0,
                bytes: 0,
                schema_changed,
                cursor: None,
                failure: None,
            }],
        }
    }

    fn kinds(statuses: &[RunStatus], whole: bool) -> Vec<&'static str> {
        let (project, pipeline) = (project(), "crm".parse().unwrap());
        let reports: Vec<_> = (0..).zip(statuses).map(|(n, s)| report(n, *s, None)).collect();
        let subject = Subject { project: &project, pipeline: &pipeline };
        subject.of_runs(&reports, whole).iter().map(|e| kind_name(e.kind)).collect()
    }

    #[test]
    fn one_hears_of_the_first_failure_and_of_the_recovery() {
        use RunStatus::{Cancelled, Failed, Partial, Running, Succeeded};
        assert_eq!(kinds(&[Succeeded, Failed, Failed, Partial, Succeeded, Succeeded], true), ["failed", "recovered"]);
        assert_eq!(kinds(&[Failed], true), ["failed"], "also of the very first run");
        assert_eq!(kinds(&[Succeeded, Running], true), [""; 0]);
        assert_eq!(kinds(&[Failed, Cancelled, Failed], true), ["failed"], "a cancelled run is no recovery");
    }

    #[test]
    fn the_first_of_a_cut_listing_is_only_context() {
        use RunStatus::{Failed, Succeeded};
        assert_eq!(kinds(&[Failed, Failed], false), [""; 0]);
        assert_eq!(kinds(&[Succeeded, Failed], false), ["failed"]);
    }

    #[test]
    fn new_versions_of_a_schema_are_told_but_not_the_first() {
        let (project, pipeline) = (project(), "crm".parse().unwrap());
        let subject = Subject { project: &project, pipeline: &pipeline };
        let reports = [report(1, RunStatus::Succeeded, Some(1)), report(2, RunStatus::Succeeded, Some(2))];
        let events = subject.of_runs(&reports, true);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].body["data"]["version"], 2);
    }

    #[test]
    fn the_same_thing_has_the_same_id_and_other_things_have_others() {
        let (project, pipeline) = (project(), "crm".parse().unwrap());
        let subject = Subject { project: &project, pipeline: &pipeline };
        let id = |n| subject.of_runs(&[report(n, RunStatus::Failed, None)], true)[0].id.clone();
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
