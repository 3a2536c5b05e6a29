//! What a run tells whoever watches, as log lines. The same for `run` and `serve`, since it is the engine that tells.

use std::sync::Arc;

use hakiri_core::Error;
use hakiri_core::catalog::{RunReport, RunStatus};
use hakiri_core::id::{PipelineId, RunId, TableName};
use hakiri_core::source::Progress;
use hakiri_engine::engine::Events;

/// Writes log lines.
#[derive(Debug)]
pub struct Recorder;

impl Events for Recorder {
    fn run_taken_up(&self, pipeline: &PipelineId, run: &RunId, open: usize) {
        tracing::info!(%pipeline, %run, open_steps = open, "run started");
    }

    fn step_started(&self, pipeline: &PipelineId, _step: u32, name: &str) {
        tracing::info!(%pipeline, step = name, "step started");
    }

    fn step_ended(&self, _step: u32) {
        tracing::info!("step ended");
    }

    fn note(&self, text: &str) {
        tracing::info!("{text}");
    }

    fn held(&self, pipeline: &PipelineId, seconds: u64) {
        tracing::debug!(%pipeline, seconds, "another run holds the lease");
    }

    fn step_failed(&self, pipeline: &PipelineId, name: &str, error: &Error, again_in: Option<u64>) {
        match again_in {
            Some(seconds) => {
                tracing::warn!(%pipeline, step = name, code = %error.code(), again_in = seconds, "{error}");
            }
            None => tracing::error!(%pipeline, step = name, code = %error.code(), "{error}"),
        }
    }

    fn step_died(&self, pipeline: &PipelineId, name: &str, deaths: u32) {
        tracing::warn!(%pipeline, step = name, deaths, "the worker of the step went silent; another took it over");
    }

    fn run_ended(&self, report: &RunReport) {
        let (pipeline, run) = (&report.pipeline, &report.run);
        for table in &report.tables {
            if let Some(failure) = &table.failure {
                tracing::error!(%pipeline, %run, table = %table.table, code = %failure.code, "{}", failure.message);
            }
        }
        let rows: u64 = report.tables.iter().map(|t| t.rows).sum();
        let tables = report.tables.len();
        let took_ms = report.ended.map_or(0, |end| end.millis() - report.started.millis());
        let seq = report.seq.unwrap_or(0);
        match report.status {
            RunStatus::Succeeded => tracing::info!(%pipeline, %run, seq, rows, tables, took_ms, "run committed"),
            RunStatus::Partial => tracing::warn!(%pipeline, %run, seq, rows, tables, took_ms, "run partly committed"),
            _ => tracing::error!(%pipeline, %run, tables, took_ms, "run failed"),
        }
    }
}

/// An operation failed before there was a run that could say so.
pub fn failed(pipeline: &PipelineId, error: &Error) {
    tracing::error!(%pipeline, code = %error.code(), "{error}");
}

/// Tells several.
#[derive(Debug)]
pub struct Fan(pub Vec<Arc<dyn Events>>);

impl Events for Fan {
    fn step_started(&self, pipeline: &PipelineId, step: u32, name: &str) {
        self.0.iter().for_each(|e| e.step_started(pipeline, step, name));
    }

    fn rows(&self, table: &TableName, rows: u64) {
        self.0.iter().for_each(|e| e.rows(table, rows));
    }

    fn progress(&self, step: u32, progress: Progress) {
        self.0.iter().for_each(|e| e.progress(step, progress));
    }

    fn note(&self, text: &str) {
        self.0.iter().for_each(|e| e.note(text));
    }

    fn step_ended(&self, step: u32) {
        self.0.iter().for_each(|e| e.step_ended(step));
    }

    fn run_taken_up(&self, pipeline: &PipelineId, run: &RunId, open: usize) {
        self.0.iter().for_each(|e| e.run_taken_up(pipeline, run, open));
    }

    fn run_ended(&self, report: &RunReport) {
        self.0.iter().for_each(|e| e.run_ended(report));
    }

    fn held(&self, pipeline: &PipelineId, seconds: u64) {
        self.0.iter().for_each(|e| e.held(pipeline, seconds));
    }

    fn step_failed(&self, pipeline: &PipelineId, name: &str, error: &Error, again_in: Option<u64>) {
        self.0.iter().for_each(|e| e.step_failed(pipeline, name, error, again_in));
    }

    fn step_died(&self, pipeline: &PipelineId, name: &str, deaths: u32) {
        self.0.iter().for_each(|e| e.step_died(pipeline, name, deaths));
    }
}
