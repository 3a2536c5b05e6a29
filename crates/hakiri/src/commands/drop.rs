//! `hakiri drop`: lets go of a pipeline's tables, or of one.

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
    let views = views(&world.engine.store, &pipeline, head.seq, &head.tables).await?;
    let (mut rows, mut bytes) = (0, 0);
    for part in views.iter().filter(|v| tables.contains(&v.table)).flat_map(|v| &v.layers).flat_map(|l| &l.parts) {
        rows += part.rows;
        bytes += part.bytes;
    }
    let names: Vec<&str> = tables.iter().map(|t| t.as_str()).collect();
    let lost = format!("{} with {} stored rows ({})", names.join(", "), HumanCount(rows), HumanBytes(bytes));
    if !args.yes && !confirmed(printer, &format!("drop {lost}?")) {
        return Err(
            Error::new(Code::Arguments, format!("not confirmed; this would drop {lost}")).with_hint("add --yes")
        );
    }
    let _lock = PipelineLock::take(&world.state_dir, &pipeline)?;
    world.engine.drop_tables(&pipeline, &tables).await?;
    printer.note(&format!("dropped {lost}; the files go with the next `hakiri gc`"));
    if printer.json {
        printer.document(&serde_json::json!({ "dropped": names, "rows": rows, "bytes": bytes }));
    }
    Ok(Exit::Done)
}
