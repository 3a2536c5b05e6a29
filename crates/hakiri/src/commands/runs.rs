//! `hakiri runs`: past and unfinished runs, newest first.

use hakiri_core::Result;
use hakiri_core::catalog::{Kind, PageRequest, Record, RunReport, RunStatus};
use hakiri_core::id::PipelineId;
use indicatif::HumanCount;

use super::open_to_read;
use crate::cli::{GlobalArgs, RunsArgs};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::world::World;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &RunsArgs) -> Result<Exit> {
    let world = match open_to_read(global, printer).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let mut reports: Vec<RunReport> = Vec::new();
    for pipeline in pipelines(&world, &args.pipelines).await? {
        let prefix = vec![pipeline.to_string()];
        let page =
            PageRequest { kind: Kind::Run, prefix, after: None, limit: args.limit.clamp(1, 1000), newest_first: true };
        let listed = world.engine.catalog.list(&page).await?;
        reports.extend(listed.entries.into_iter().filter_map(|(_, r)| match r {
            Record::Run(record) => Some(record.report),
            _ => None,
        }));
    }
    if printer.json {
        printer.document(&serde_json::json!({ "runs": reports }));
        return Ok(Exit::Done);
    }
    if reports.is_empty() {
        printer.note("no run yet; `hakiri run` makes one");
    }
    for report in &reports {
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
    Ok(Exit::Done)
}

/// Those named, or all of the manifest and those it no longer has.
async fn pipelines(world: &World, names: &[String]) -> Result<Vec<PipelineId>> {
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
