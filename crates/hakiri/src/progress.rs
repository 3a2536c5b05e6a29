//! Progress on a terminal, and only there: one line per step with its rows and bytes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::source::Progress;
use hakiri_engine::engine::Events;
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::printer::Printer;

/// Draws bars on a terminal; elsewhere only notes are printed.
#[derive(Debug)]
pub struct Bars {
    printer: Printer,
    multi: MultiProgress,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: BTreeMap<u32, ProgressBar>,
    rows: u64,
}

impl Bars {
    /// For a printer.
    pub fn new(printer: &Printer) -> Self {
        let target = if printer.terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { printer: printer.clone(), multi: MultiProgress::with_draw_target(target), state: Mutex::default() }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        // A poisoned lock only means that a drawing thread panicked: the numbers are still good.
        f(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Events for Bars {
    fn step_started(&self, pipeline: &PipelineId, step: u32, name: &str) {
        let style = ProgressStyle::with_template("  {spinner} {prefix} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar =
            self.multi.add(ProgressBar::new_spinner().with_style(style).with_prefix(format!("{pipeline} › {name}")));
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        self.with(|s| s.steps.insert(step, bar));
    }

    fn rows(&self, _table: &TableName, rows: u64) {
        self.with(|s| {
            s.rows += rows;
            let text = format!("{} rows", HumanCount(s.rows));
            s.steps.values().for_each(|bar| bar.set_message(text.clone()));
        });
    }

    fn progress(&self, step: u32, progress: Progress) {
        self.with(|s| {
            let text = format!(
                "{} rows, {} requests or files, {}",
                HumanCount(s.rows),
                progress.requests,
                HumanBytes(progress.bytes)
            );
            if let Some(bar) = s.steps.get(&step) {
                bar.set_message(text);
            }
        });
    }

    fn note(&self, text: &str) {
        self.multi.suspend(|| self.printer.note(&format!("  note: {text}")));
    }

    fn step_ended(&self, step: u32) {
        self.with(|s| {
            if let Some(bar) = s.steps.remove(&step) {
                bar.finish_and_clear();
            }
            s.rows = 0;
        });
    }
}
