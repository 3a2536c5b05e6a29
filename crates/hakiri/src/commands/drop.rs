//! `hakiri drop`: lets go of a pipeline's tables, or of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use hakiri_core::codes::Code;
use hakiri_core::source::Cancel;
use hakiri_core::{Error, Result};
use hakiri_engine::engine::Silent;
use hakiri_engine::read::views;
use indicatif::{HumanBytes, HumanCount};

use super::{confirmed, open_to_write};
use crate::cli::{DropArgs, GlobalArgs};
use crate::exit::Exit;
use crate::lock::PipelineLock;
use crate::printer::Printer;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &DropArgs) -> Result<Exit> {
    let world = match open_to_write(global, printer, Arc::new(Silent), Cancel::default()).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    let (pipeline, table) = world.find_table(&args.what).await?;
    let head = world.engine.head(&pipeline).await?;
    let tables: Vec<_> = table.map_or_else(|| head.tables.keys().cloned().collect(), |t| vec![t]);
    let child = head
        .tables
        .iter()
        .find(|(name, t)| !tables.contains(name) && t.merge.parent.as_ref().is_some_and(|p| tables.contains(&p.table)));
    if let Some((name, _)) = child {
        return Err(Error::new(Code::Arguments, format!("`{name}` is a child table of what is dropped"))
            .with_hint("drop it too, or the whole pipeline"));
    }
    let dropped = head.tables.iter().filter(|(name, _)| tables.contains(name));
    let dropped: BTreeMap<_, _> = dropped.map(|(name, t)| (name.clone(), t.clone())).collect();
    // Files that are missing are a reason to drop a table, not an obstacle.
    let size = match views(&world.engine.store, &pipeline, head.seq, &dropped).await {
        Ok(views) => {
            let parts = views.iter().flat_map(|v| &v.layers).flat_map(|l| &l.parts);
            Some(parts.fold((0, 0), |(rows, bytes), part| (rows + part.rows, bytes + part.bytes)))
        }
        Err(e) if matches!(e.code(), Code::StoreMissing | Code::StoreDamaged) => None,
        Err(e) => return Err(e),
    };
    let names: Vec<&str> = tables.iter().map(|t| t.as_str()).collect();
    let lost = match size {
        Some((rows, bytes)) => {
            format!("{} with {} stored rows ({})", names.join(", "), HumanCount(rows), HumanBytes(bytes))
        }
        None => format!("{} (size unknown: its manifests cannot be read)", names.join(", ")),
    };
    for (name, table) in &dropped {
        if let Some(parent) = table.merge.parent.as_ref().map(|p| &p.table).filter(|p| !tables.contains(p)) {
            printer.note(&format!(
                "warning: `{name}` is a child table of `{parent}`: later runs bring back only the rows of records they \
                 read; `hakiri state reset` of `{parent}` brings back all"
            ));
        }
    }
    if !args.yes && !confirmed(printer, &format!("drop {lost}?")) {
        return Err(
            Error::new(Code::Arguments, format!("not confirmed; this would drop {lost}")).with_hint("add --yes")
        );
    }
    let _lock = PipelineLock::take(&world.state_dir, &pipeline)?;
    world.engine.drop_tables(&pipeline, &tables).await?;
    printer.note(&format!("dropped {lost}; `hakiri gc` deletes the files after a grace of 7 days (or of `--grace`)"));
    if printer.json {
        printer
            .document(&serde_json::json!({ "dropped": names, "rows": size.map(|s| s.0), "bytes": size.map(|s| s.1) }));
    }
    Ok(Exit::Done)
}
