//! `hakiri compact`: snapshots of keyed tables in the place of their runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use hakiri_core::Result;
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::source::Cancel;
use hakiri_engine::compact::CompactReport;
use hakiri_engine::engine::Silent;
use indicatif::HumanBytes;

use super::{count, open_to_write};
use crate::cli::{CompactArgs, GlobalArgs};
use crate::exit::Exit;
use crate::lock::PipelineLock;
use crate::printer::Printer;
use crate::world::World;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &CompactArgs) -> Result<Exit> {
    let world = match open_to_write(global, printer, Arc::new(Silent), Cancel::default()).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let mut reports = Vec::new();
    let mut done: BTreeSet<TableName> = BTreeSet::new();
    for (pipeline, tables) in chosen(&world, &args.what).await? {
        // The commit needs no lease; the lock keeps `gc` away from files that no commit names yet.
        let _lock = PipelineLock::take(&world.state_dir, &pipeline)?;
        for table in tables {
            if done.contains(&table) {
                continue;
            }
            let Some(report) = world.engine.compact(&pipeline, &table).await? else { continue };
            done.extend(report.tables.iter().map(|t| t.table.clone()));
            print(printer, &report);
            reports.push(report);
        }
    }
    if reports.is_empty() {
        printer.note("nothing to compact");
    }
    if printer.json {
        printer.document(&serde_json::json!({ "compacted": reports }));
    }
    Ok(Exit::Done)
}

/// The tables that the arguments mean, by pipeline; all without arguments.
async fn chosen(world: &World, what: &[String]) -> Result<Vec<(PipelineId, Vec<TableName>)>> {
    if what.is_empty() {
        let heads = world.heads().await?.into_iter();
        return Ok(heads.map(|head| (head.pipeline, head.tables.into_keys().collect())).collect());
    }
    let mut chosen = Vec::new();
    for text in what {
        let (pipeline, table) = world.find_table(text).await?;
        let tables = match table {
            Some(table) => vec![table],
            None => world.engine.head(&pipeline).await?.tables.into_keys().collect(),
        };
        chosen.push((pipeline, tables));
    }
    Ok(chosen)
}

fn print(printer: &Printer, report: &CompactReport) {
    for table in &report.tables {
        let (before, after) = (table.before, table.after);
        printer.note(&format!(
            "{}: {} in {} ({}) are now {} in {} ({})",
            table.table,
            count(before.rows, "row"),
            count(before.parts, "file"),
            HumanBytes(before.bytes),
            count(after.rows, "row"),
            count(after.parts, "file"),
            HumanBytes(after.bytes),
        ));
    }
}
