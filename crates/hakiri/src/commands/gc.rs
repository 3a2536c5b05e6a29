//! `hakiri gc`: deletes files that no commit names.

use std::sync::Arc;

use hakiri_core::Result;
use hakiri_core::schedule::parse_duration;
use hakiri_core::source::Cancel;
use hakiri_engine::engine::Silent;
use indicatif::HumanBytes;

use super::{count, open_to_write};
use crate::cli::{GcArgs, GlobalArgs};
use crate::exit::Exit;
use crate::lock::PipelineLock;
use crate::printer::Printer;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &GcArgs) -> Result<Exit> {
    let grace = parse_duration(&args.grace)?;
    let world = match open_to_write(global, printer, Arc::new(Silent), Cancel::default()).await? {
        Ok(world) => world,
        Err(exit) => return Ok(exit),
    };
    // No run may be writing files while they are judged.
    let locks = world
        .heads()
        .await?
        .iter()
        .map(|h| PipelineLock::take(&world.state_dir, &h.pipeline))
        .collect::<Result<Vec<_>>>()?;
    let done = world.engine.collect_garbage(grace, args.dry_run).await?;
    drop(locks);
    let bytes: u64 = done.iter().map(|f| f.size).sum();
    let verb = if args.dry_run { "would delete" } else { "deleted" };
    printer.note(&format!("{verb} {} ({})", count(done.len() as u64, "file"), HumanBytes(bytes)));
    if grace > 0 {
        printer
            .note(&format!("files that were written or let go of less than {} ago are kept; see --grace", args.grace));
    }
    if printer.json {
        let files: Vec<&str> = done.iter().map(|f| f.path.as_str()).collect();
        printer.document(&serde_json::json!({ "deleted": files, "bytes": bytes, "dry_run": args.dry_run }));
    }
    Ok(Exit::Done)
}
