//! `hakiri run`: runs pipelines now.

use std::sync::Arc;

use hakiri_core::Result;
use hakiri_core::catalog::{RunReport, RunStatus};
use hakiri_core::id::PipelineId;
use hakiri_core::ops::{BeginRequest, Manual};
use hakiri_core::source::Cancel;
use hakiri_core::time::Instant;
use hakiri_engine::engine::Events;
use hakiri_engine::orchestrate::drive;
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{count, load};
use crate::cli::{GlobalArgs, RunArgs};
use crate::exit::Exit;
use crate::lock::PipelineLock;
use crate::logging;
use crate::logging::events::{Fan, Recorder};
use crate::notify::{self, Notifier};
use crate::printer::Printer;
use crate::progress::Bars;
use crate::signals::{Signals, end_at_once};
use crate::world::{Access, World};

/// What `run --json` prints.
#[derive(Debug, Serialize)]
struct Output {
    runs: Vec<RunReport>,
    errors: Vec<PipelineError>,
}

#[derive(Debug, Serialize)]
struct PipelineError {
    pipeline: PipelineId,
    #[serde(flatten)]
    failure: hakiri_core::error::Failure,
}

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &RunArgs) -> Result<Exit> {
    let cancel = Cancel::default();
    stop_on_signal(cancel.clone(), printer.clone());
    let events: Arc<dyn Events> = Arc::new(Fan(vec![Arc::new(Bars::new(printer)), Arc::new(Recorder)]));
    let mut loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    loaded.placed(&args.place);
    let mut world = World::open(global, &loaded, Access::Write, events, cancel).await?;
    logging::to_files(&world.state_dir, &world.engine.project, &*world.engine.secrets).await;
    world.engine.settings.batch_rows = args.batch_rows.max(1);
    let pipelines = world.pipelines(&args.pipelines)?;
    if pipelines.is_empty() {
        printer.note("the manifest has no pipeline yet; add a [[pipeline]] to hakiri.toml");
        return Ok(Exit::Done);
    }
    notify::start(&world.engine).await?;
    // Of renames that another process still works on, `begin` waits for the end where it must.
    if !args.due {
        for line in world.engine.apply_moves().await? {
            printer.note(&line);
        }
    }
    let asked = args.tick.as_deref().or(args.wake.as_deref());
    let tick = asked.map(str::parse::<Instant>).transpose()?.unwrap_or_else(|| world.now());
    let manual = (!args.due).then_some(Manual { tick: Some(tick), full: args.full });
    let exit_of = |status| if args.orchestrated { Exit::Done } else { Exit::of_run(status) };
    let mut exits = Vec::new();
    let mut output = Output { runs: Vec::new(), errors: Vec::new() };
    let tried = pipelines.clone();
    for pipeline in pipelines {
        match run_one(&world, &pipeline, tick, manual.clone()).await {
            Ok(reports) => {
                exits.extend(reports.iter().map(|r| exit_of(r.status)));
                if reports.is_empty() && args.due {
                    printer.note(&format!("{pipeline}: nothing is due"));
                } else if reports.is_empty() {
                    printer.note(&format!("{pipeline}: the run of {tick} is committed already"));
                }
                reports.iter().for_each(|report| summarise(printer, report));
                output.runs.extend(reports);
            }
            Err(e) => {
                logging::events::failed(&pipeline, &e);
                let interrupted = Exit::of(&e) == Exit::Interrupted;
                printer.failure(&printer.render(&e.to_failure()));
                exits.push(Exit::of(&e));
                output.errors.push(PipelineError { pipeline, failure: e.to_failure() });
                if interrupted {
                    break;
                }
            }
        }
    }
    if !world.engine.cancel.is_cancelled() {
        Notifier::at_once(world.engine.clone(), &tried).await;
    }
    if printer.json {
        printer.document(&output);
    }
    Ok(Exit::of_all(&exits))
}

/// Runs one pipeline to the end of what is due: its unfinished run, then the one asked for, or what the schedule says.
///
/// # Errors
/// `HK0208` while another process runs it; whatever the operations fail with.
pub async fn run_one(
    world: &World,
    pipeline: &PipelineId,
    wake: Instant,
    manual: Option<Manual>,
) -> Result<Vec<RunReport>> {
    // Where processes of other machines work too, the lease alone decides.
    let sole = world.engine.settings.sole_worker;
    let _lock = sole.then(|| PipelineLock::take(&world.state_dir, pipeline)).transpose()?;
    drive(&world.engine, &BeginRequest { pipeline: pipeline.clone(), wake, manual, deadline: None }).await
}

/// The run's report for people.
pub fn summarise(printer: &Printer, report: &RunReport) {
    let verdict = match report.status {
        RunStatus::Succeeded => printer.paint("committed", "32"),
        RunStatus::Partial => printer.paint("partly committed", "33"),
        RunStatus::Cancelled => printer.paint("cancelled", "33"),
        RunStatus::Failed | RunStatus::Running => printer.paint("failed", "31"),
    };
    let took = report.ended.map_or(0, |end| end.millis() - report.started.millis());
    let seq = report.seq.map(|s| format!(" as commit {s}")).unwrap_or_default();
    let headline =
        format!("{}: {verdict}{seq} in {}.{:03} s ({})", report.pipeline, took / 1000, took % 1000, report.run);
    match report.status {
        RunStatus::Succeeded => printer.note(&headline),
        // What failed is said also where only errors are wanted, and of which pipeline.
        _ => printer.failure(&headline),
    }
    for table in &report.tables {
        let name = &table.table;
        if let Some(failure) = &table.failure {
            printer.failure(&format!("  {name}\n{}", indent(&printer.render(failure))));
            continue;
        }
        let mut line = format!(
            "  {name}: {} read, {} written, {} in {}",
            HumanCount(table.read),
            count(table.rows, "row"),
            HumanBytes(table.bytes),
            count(table.parts, "part")
        );
        if table.rejected > 0 {
            line.push_str(&format!(", {} skipped", HumanCount(table.rejected)));
        }
        if let Some(version) = table.schema_changed.filter(|v| *v > 1) {
            line.push_str(&format!(", schema version {version}"));
        }
        printer.note(&line);
        for sample in &table.samples {
            printer.note(&format!("    skipped: {sample}"));
        }
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// The first Ctrl-C (or SIGTERM) stops cleanly: finished steps are kept, the next `run` goes on. The second ends at once.
fn stop_on_signal(cancel: Cancel, printer: Printer) {
    // Before the task has its first turn: a signal may come at any time.
    let Ok(mut signals) = Signals::new() else { return };
    tokio::spawn(async move {
        signals.next().await;
        printer.note("stopping; press Ctrl-C again to stop at once");
        cancel.cancel();
        signals.next().await;
        end_at_once();
    });
}
