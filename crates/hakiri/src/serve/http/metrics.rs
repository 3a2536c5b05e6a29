//! Metrics, as text that Prometheus reads (OpenMetrics).
//!
//! Two kinds. What *happened* in this process is counted as it happens: [`Metrics`] is one of the [`Events`] of its engine,
//! so that a run started by whatever trigger counts. How things *stand* is read from the status when someone scrapes, so
//! that it is true after a restart and for what another server did.
//!
//! Labels are pipelines, and words that this file lists. Tables, runs and codes are no labels: they have no bound.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};

use hakiri_core::Error;
use hakiri_core::catalog::{RunReport, RunStatus};
use hakiri_core::id::PipelineId;
use hakiri_core::time::Instant;
use hakiri_engine::engine::Events;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::process;
use crate::status::Status;

/// What `/metrics` is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPipeline {
    pipeline: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    pipeline: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    pipeline: String,
    state: &'static str,
}

type Counters<L> = Family<L, Counter<u64, AtomicU64>>;
type Gauges<L> = Family<L, Gauge<f64, AtomicU64>>;

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    runs: Counters<OfStatus>,
    ticks: Counters<OfPipeline>,
    rows: Counters<OfPipeline>,
    bytes: Counters<OfPipeline>,
    failed_tables: Counters<OfPipeline>,
    step_attempts: Counters<OfPipeline>,
    step_failures: Counters<OfPipeline>,
    step_deaths: Counters<OfPipeline>,
    lease_waits: Counters<OfPipeline>,
    state: Gauges<OfState>,
    last_success: Gauges<OfPipeline>,
    last_tick: Gauges<OfPipeline>,
    lateness: Gauges<OfPipeline>,
    failures_in_a_row: Gauges<OfPipeline>,
    catalog_up: Gauge<i64, AtomicI64>,
    resident: Gauge<i64, AtomicI64>,
    descriptors: Gauge<i64, AtomicI64>,
    /// One scrape at a time: gauges are set anew for each.
    registry: Mutex<Registry>,
}

impl Metrics {
    /// Of a process that started then.
    pub fn new(started: Instant) -> Self {
        let metrics = Self {
            runs: Family::default(),
            ticks: Family::default(),
            rows: Family::default(),
            bytes: Family::default(),
            failed_tables: Family::default(),
            step_attempts: Family::default(),
            step_failures: Family::default(),
            step_deaths: Family::default(),
            lease_waits: Family::default(),
            state: Family::default(),
            last_success: Family::default(),
            last_tick: Family::default(),
            lateness: Family::default(),
            failures_in_a_row: Family::default(),
            catalog_up: Gauge::default(),
            resident: Gauge::default(),
            descriptors: Gauge::default(),
            registry: Mutex::default(),
        };
        {
            let mut registry = metrics.registry.lock().unwrap_or_else(PoisonError::into_inner);
            metrics.register(&mut registry, started);
        }
        metrics
    }

    fn register(&self, registry: &mut Registry, started: Instant) {
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        start.set(seconds(started.millis()));
        {
            let r = registry.sub_registry_with_prefix("hakiri");
            r.register("build", "The binary", build);
            r.register("ticks_committed", "Ticks whose run ended here with a commit", self.ticks.clone());
            r.register("runs", "Runs that ended here, by how", self.runs.clone());
            r.register("rows_written", "Rows that runs ended here have written", self.rows.clone());
            r.register_with_unit(
                "written",
                "Bytes of Parquet that runs ended here have written",
                Unit::Bytes,
                self.bytes.clone(),
            );
            r.register("tables_failed", "Tables that failed in runs ended here", self.failed_tables.clone());
            r.register("step_attempts", "Attempts at steps that began here", self.step_attempts.clone());
            r.register("step_failures", "Attempts at steps that ended here with an error", self.step_failures.clone());
            r.register("step_deaths", "Steps taken over here from a worker that went silent", self.step_deaths.clone());
            r.register("lease_waits", "Times that another run held the lease", self.lease_waits.clone());
            r.register("pipeline_state", "1 for the state that a pipeline is in", self.state.clone());
            r.register_with_unit(
                "pipeline_last_success_timestamp",
                "When the last run that fully succeeded ended, of the recent ones",
                Unit::Seconds,
                self.last_success.clone(),
            );
            r.register_with_unit(
                "pipeline_last_tick_timestamp",
                "The last tick that was committed",
                Unit::Seconds,
                self.last_tick.clone(),
            );
            r.register_with_unit(
                "pipeline_overdue",
                "Time since the oldest tick that is due and not committed; 0 when none is",
                Unit::Seconds,
                self.lateness.clone(),
            );
            r.register(
                "pipeline_failures_in_a_row",
                "The newest runs in a row that did not fully succeed, at most 20",
                self.failures_in_a_row.clone(),
            );
            r.register("catalog_up", "Whether the catalog answered this scrape", self.catalog_up.clone());
        }
        let r = registry.sub_registry_with_prefix("process");
        r.register_with_unit("start_time", "When the process started, since the epoch", Unit::Seconds, start);
        r.register_with_unit("resident_memory", "Memory that is resident", Unit::Bytes, self.resident.clone());
        r.register("open_fds", "File descriptors that are open", self.descriptors.clone());
    }

    /// The text for a scrape, with how things stand.
    ///
    /// # Errors
    /// Never for a text in memory.
    pub fn scrape(&self, status: &Status) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.clear();
        self.last_success.clear();
        self.last_tick.clear();
        self.lateness.clear();
        self.failures_in_a_row.clear();
        self.catalog_up.set(i64::from(status.catalog.error.is_none()));
        // Without an answer of the catalog there is nothing true to say of a pipeline.
        let known = status.catalog.error.is_none().then_some(&status.pipelines);
        for pipeline in known.into_iter().flatten() {
            let label = OfPipeline { pipeline: pipeline.id.to_string() };
            let state = OfState { pipeline: pipeline.id.to_string(), state: pipeline.state.word() };
            self.state.get_or_create(&state).set(1.0);
            if let Some(at) = pipeline.last_success {
                self.last_success.get_or_create(&label).set(seconds(at.millis()));
            }
            if let Some(at) = pipeline.last_tick {
                self.last_tick.get_or_create(&label).set(seconds(at.millis()));
            }
            self.lateness.get_or_create(&label).set(seconds(pipeline.overdue_ms));
            self.failures_in_a_row.get_or_create(&label).set(pipeline.failures_in_a_row as f64);
        }
        let gauge = |gauge: &Gauge<i64, AtomicI64>, value: Option<u64>| {
            gauge.set(value.and_then(|v| i64::try_from(v).ok()).unwrap_or(0));
        };
        gauge(&self.resident, process::resident_bytes());
        gauge(&self.descriptors, process::open_descriptors());
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Events for Metrics {
    fn step_started(&self, pipeline: &PipelineId, _step: u32, _name: &str) {
        self.step_attempts.get_or_create(&label(pipeline)).inc();
    }

    fn run_ended(&self, report: &RunReport) {
        let label = label(&report.pipeline);
        let status = OfStatus { pipeline: report.pipeline.to_string(), status: word(report.status) };
        self.runs.get_or_create(&status).inc();
        if report.seq.is_some() {
            self.ticks.get_or_create(&label).inc();
        }
        self.rows.get_or_create(&label).inc_by(report.tables.iter().map(|t| t.rows).sum());
        self.bytes.get_or_create(&label).inc_by(report.tables.iter().map(|t| t.bytes).sum());
        let failed = report.tables.iter().filter(|t| t.failure.is_some()).count();
        self.failed_tables.get_or_create(&label).inc_by(failed as u64);
    }

    fn held(&self, pipeline: &PipelineId, _seconds: u64) {
        self.lease_waits.get_or_create(&label(pipeline)).inc();
    }

    fn step_failed(&self, pipeline: &PipelineId, _name: &str, _error: &Error, _again_in: Option<u64>) {
        self.step_failures.get_or_create(&label(pipeline)).inc();
    }

    fn step_died(&self, pipeline: &PipelineId, _name: &str, _deaths: u32) {
        self.step_deaths.get_or_create(&label(pipeline)).inc();
    }
}

fn label(pipeline: &PipelineId) -> OfPipeline {
    OfPipeline { pipeline: pipeline.to_string() }
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

fn word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Succeeded => "succeeded",
        RunStatus::Partial => "partial",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
    }
}
