//! `hakiri serve`: pipelines by their schedules, and the status page.

use std::sync::Arc;

use hakiri_core::Result;
use hakiri_core::source::Cancel;
use hakiri_engine::engine::Silent;

use super::load;
use crate::cli::{GlobalArgs, ServeArgs};
use crate::exit::Exit;
use crate::printer::Printer;
use crate::serve::{self, Options};
use crate::world::{Access, World};

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &ServeArgs) -> Result<Exit> {
    let loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let mut world = World::open(global, &loaded, Access::Write, Arc::new(Silent), Cancel::default()).await?;
    let settings = &mut world.engine.settings;
    settings.memory /= args.workers;
    settings.lease_ttl_ms = i64::try_from(args.lease.as_millis()).unwrap_or(i64::MAX);
    for line in world.engine.apply_moves().await? {
        printer.note(&line);
    }
    let options = Options { slots: args.workers, grace: args.grace };
    serve::serve(global, printer, world, &loaded.dir, &options).await?;
    Ok(Exit::Done)
}
