//! `hakiri runs`: past and unfinished runs, newest first; with `--follow` then each that is new or changed.

use std::collections::BTreeMap;

use hakiri_core::Result;
use hakiri_core::catalog::{RunReport, RunStatus};
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::time::Instant;
use indicatif::HumanCount;

use super::open_to_read;
use crate::cli::{GlobalArgs, RunsArgs};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::signals::Signals;
use crate::status::gather;
use crate::world::World;

/// How often the catalog is asked while following, in milliseconds.
const PACE_MS: u64 = 1_000;
/// Runs of a pipeline that are looked at each time: more than can be new or change within that time.
const WATCHED: usize = 50;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &RunsArgs) -> Result<Exit> {
    let world = match open_to_read(global, printer).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let mut reports: Vec<RunReport> = Vec::new();
    for pipeline in known_pipelines(&world, &args.pipelines).await? {
        reports.extend(gather::runs(&*world.engine.catalog, &pipeline, None, args.limit).await?.0);
    }
    if args.follow {
        drop(world);
        return follow(global, printer, args, reports).await;
    }
    if printer.json {
        printer.document(&serde_json::json!({ "runs": reports }));
        return Ok(Exit::Done);
    }
    if reports.is_empty() {
        printer.note("no run yet; `hakiri run` makes one");
    }
    reports.iter().for_each(|report| print(printer, report));
    Ok(Exit::Done)
}

/// Prints runs as they come and change, oldest first, until the user ends it.
async fn follow(global: &GlobalArgs, printer: &Printer, args: &RunsArgs, mut news: Vec<RunReport>) -> Result<Exit> {
    let mut signals = Signals::new()?;
    let mut seen: BTreeMap<RunId, RunStatus> = BTreeMap::new();
    // Before the first run there is no catalog to keep open.
    let mut world: Option<World> = None;
    let since = news.iter().map(|report| report.started).min().unwrap_or(Instant::from_millis(0));
    loop {
        news.sort_by_key(|report| report.started);
        for report in news.drain(..) {
            if seen.insert(report.run.clone(), report.status) == Some(report.status) {
                continue;
            }
            if printer.json {
                printer.data(&serde_json::to_string(&report).unwrap_or_default());
            } else {
                print(printer, &report);
            }
        }
        if signals.within(PACE_MS).await {
            return Ok(Exit::Interrupted);
        }
        let opened = match world.take() {
            Some(opened) => opened,
            None => match open_to_read(global, printer).await? {
                Ok(opened) => opened,
                Err(exit) => return Ok(exit),
            },
        };
        for pipeline in known_pipelines(&opened, &args.pipelines).await? {
            news.extend(gather::runs(&*opened.engine.catalog, &pipeline, None, WATCHED).await?.0);
        }
        // What lay beyond the limit at first is older than all that was printed: no news.
        news.retain(|report| report.started >= since || seen.contains_key(&report.run));
        if opened.engine.catalog.info().await?.adapter != "memory" {
            world = Some(opened);
        }
    }
}

fn print(printer: &Printer, report: &RunReport) {
    let rows: u64 = report.tables.iter().map(|t| t.rows).sum();
    let status = match report.status {
        RunStatus::Running => "unfinished",
        RunStatus::Succeeded => "committed",
        RunStatus::Partial => "partly committed",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
    };
    let seq = report.seq.map_or_else(|| "-".to_owned(), |s| s.to_string());
    printer.data(&format!(
        "{}  {}  {:>4}  {status}, {} rows  {}",
        report.tick,
        report.pipeline,
        seq,
        HumanCount(rows),
        report.run
    ));
    for table in &report.tables {
        if let Some(failure) = &table.failure {
            printer.data(&format!("    {}: {} {}", table.table, failure.code, failure.message));
        }
    }
}

/// Those named, or all of the manifest and those it no longer has.
pub(super) async fn known_pipelines(world: &World, names: &[String]) -> Result<Vec<PipelineId>> {
    let past: Vec<PipelineId> = world.heads().await?.into_iter().map(|head| head.pipeline).collect();
    if !names.is_empty() {
        let mut all = Vec::new();
        for name in names {
            match past.iter().find(|p| p.as_str() == name) {
                Some(known) => all.push(known.clone()),
                None => all.extend(world.pipelines(std::slice::from_ref(name))?),
            }
        }
        return Ok(all);
    }
    let mut all = world.pipelines(&[])?;
    let left: Vec<PipelineId> = past.into_iter().filter(|p| !all.contains(p)).collect();
    all.extend(left);
    Ok(all)
}
