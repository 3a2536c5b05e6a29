//! One run in full: what its plan said, where each step stands, what came of each table.

use hakiri_core::Result;
use hakiri_core::catalog::{Catalog, Key, Record};
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::plan::Plan;
use hakiri_core::step::{StepRecord, StepStatus};
use hakiri_core::time::Instant;
use serde::Serialize;

use super::{Problem, RunSummary, gather};

/// Steps of a run that are shown at most; the first of the plan.
pub const MAX_STEPS: usize = 500;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// The run in one line.
    pub summary: RunSummary,
    /// The epoch that committed it, or that it was planned in.
    pub epoch: u64,
    /// Whether it is one of the schedule's.
    pub scheduled: Option<bool>,
    /// Whether it reads everything anew.
    pub full: Option<bool>,
    /// The version of the binary that planned it.
    pub planned_by: Option<String>,
    /// When its lease runs out, while it holds one.
    pub lease_until: Option<Instant>,
    /// Steps in its plan.
    pub step_count: usize,
    /// Its steps, at most [`MAX_STEPS`].
    pub steps: Vec<StepView>,
    /// What came of its tables.
    pub tables: Vec<TableView>,
}

/// Where a step stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Nobody works on it.
    Pending,
    /// It backs off.
    Waiting,
    /// A worker has it.
    Running,
    /// A worker had it and went silent.
    Expired,
    /// It ended well.
    Done,
    /// It failed for good.
    Failed,
}

impl StepState {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Expired => "worker silent",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Of a record, seen at an instant.
    pub fn of(status: &StepStatus, now: Instant) -> Self {
        match status {
            StepStatus::Pending { not_before: Some(until) } if *until > now => Self::Waiting,
            StepStatus::Pending { .. } => Self::Pending,
            StepStatus::Claimed { until, .. } if *until > now => Self::Running,
            StepStatus::Claimed { .. } => Self::Expired,
            StepStatus::Done { .. } => Self::Done,
            StepStatus::Failed { .. } => Self::Failed,
        }
    }
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct StepView {
    /// Its place in the plan.
    pub step: u32,
    /// Its name.
    pub name: String,
    /// The stored tables it writes.
    pub tables: Vec<String>,
    /// Where it stands.
    pub state: StepState,
    /// Who has it.
    pub worker: Option<String>,
    /// Until when it backs off, or its claim lasts.
    pub until: Option<Instant>,
    /// Attempts that failed in a way that may pass, deaths included.
    pub attempts: u32,
    /// Workers of it that died.
    pub deaths: u32,
    /// Its last error.
    pub problem: Option<Problem>,
}

/// What came of a table.
#[derive(Debug, Clone, Serialize)]
pub struct TableView {
    /// The stored name.
    pub table: String,
    /// Records read.
    pub read: u64,
    /// Rows written.
    pub rows: u64,
    /// Records skipped as the manifest allows.
    pub rejected: u64,
    /// The first few of them.
    pub samples: Vec<String>,
    /// Parts written.
    pub parts: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The schema's version after the run, where it changed.
    pub schema_changed: Option<u64>,
    /// The cursor after the run.
    pub cursor: Option<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
}

/// Reads a run; none where the catalog has no such run.
///
/// # Errors
/// Any catalog error.
pub async fn run_view(
    catalog: &dyn Catalog,
    pipeline: &PipelineId,
    run: &RunId,
    now: Instant,
) -> Result<Option<RunView>> {
    let Some(Record::Run(record)) = catalog.get(&Key::run(pipeline, run)).await? else { return Ok(None) };
    let plan = match catalog.get(&Key::plan(pipeline, run)).await {
        Ok(Some(Record::Plan(plan))) => Some(plan),
        Ok(_) => None,
        // A plan of a newer version still leaves what the run's own record says.
        Err(e) if matches!(hakiri_core::Error::from(e.clone()).code(), Code::CatalogNewer) => None,
        Err(e) => return Err(e.into()),
    };
    let records = gather::steps(catalog, pipeline, run, MAX_STEPS).await?;
    let lease_until = match catalog.get(&Key::head(pipeline)).await? {
        Some(Record::Head(head)) => head.lease.filter(|lease| &lease.run == run).map(|lease| lease.expires),
        _ => None,
    };
    let tables = record.report.tables.iter().map(|t| TableView {
        table: t.table.to_string(),
        read: t.read,
        rows: t.rows,
        rejected: t.rejected,
        samples: t.samples.clone(),
        parts: t.parts,
        bytes: t.bytes,
        schema_changed: t.schema_changed,
        cursor: t.cursor.as_ref().map(ToString::to_string),
        problem: t.failure.as_ref().map(|f| Problem::of(f, None)),
    });
    Ok(Some(RunView {
        summary: RunSummary::of(&record.report, now),
        epoch: record.epoch,
        scheduled: plan.as_ref().map(|p| p.scheduled),
        full: plan.as_ref().map(|p| p.full),
        planned_by: plan.as_ref().map(|p| p.made_by.clone()),
        lease_until,
        step_count: plan.as_ref().map_or(records.len(), |p| p.steps.len()),
        steps: step_views(plan.as_ref(), &records, now),
        tables: tables.collect(),
    }))
}

/// The steps of a plan with their records. Pure.
fn step_views(plan: Option<&Plan>, records: &[StepRecord], now: Instant) -> Vec<StepView> {
    records
        .iter()
        .map(|record| {
            let planned = plan.and_then(|p| p.steps.iter().find(|s| s.index == record.step));
            let (worker, until) = match &record.status {
                StepStatus::Claimed { worker, until } => (Some(worker.clone()), Some(*until)),
                StepStatus::Pending { not_before } => (None, *not_before),
                StepStatus::Done { .. } | StepStatus::Failed { .. } => (None, None),
            };
            let failure = match &record.status {
                StepStatus::Failed { failure } => Some(failure),
                _ => record.last_error.as_ref(),
            };
            StepView {
                step: record.step,
                name: planned.map_or_else(|| format!("step {}", record.step), |s| s.name.clone()),
                tables: planned.map(|s| s.tables.iter().map(|t| t.table.to_string()).collect()).unwrap_or_default(),
                state: StepState::of(&record.status, now),
                worker,
                until,
                attempts: record.attempts,
                deaths: record.deaths,
                problem: failure.map(|f| Problem::of(f, None)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_expired_is_a_silent_worker_and_a_back_off_ends() {
        let at = Instant::from_millis;
        let claimed = StepStatus::Claimed { worker: "w".to_owned(), until: at(10) };
        assert_eq!(
            [StepState::of(&claimed, at(9)), StepState::of(&claimed, at(10))],
            [StepState::Running, StepState::Expired]
        );
        let pending = StepStatus::Pending { not_before: Some(at(10)) };
        assert_eq!(
            [StepState::of(&pending, at(9)), StepState::of(&pending, at(10))],
            [StepState::Waiting, StepState::Pending]
        );
    }
}
