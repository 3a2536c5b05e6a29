//! `hakiri serve`: pipelines by their schedules, and the status page.

use std::sync::Arc;

use hakiri_core::Result;
use hakiri_core::secret::Secret;
use hakiri_core::source::Cancel;
use hakiri_engine::read::Kept;

use super::load;
use crate::cli::{GlobalArgs, ServeArgs};
use crate::environment;
use crate::exit::Exit;
use crate::logging;
use crate::logging::events::{Fan, Recorder};
use crate::printer::Printer;
use crate::serve::http::metrics::Metrics;
use crate::serve::{self, Options};
use crate::world::{Access, World};

/// Manifests that the process keeps in memory, of about a KiB each: a fortnight of a table that commits every minute.
const KEPT_MANIFESTS: usize = 20_000;

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &ServeArgs) -> Result<Exit> {
    let loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let metrics = Arc::new(Metrics::new(environment::clock().now()));
    let events = Arc::new(Fan(vec![Arc::new(Recorder), metrics.clone()]));
    let mut world = World::open(global, &loaded, Access::Write, events, Cancel::default()).await?;
    logging::to_files(&world.state_dir, &world.engine.project, &*world.engine.secrets).await;
    world.engine.kept = Arc::new(Kept::at_most(KEPT_MANIFESTS));
    let settings = &mut world.engine.settings;
    settings.memory /= args.workers;
    settings.lease_ttl_ms = i64::try_from(args.lease.as_millis()).unwrap_or(i64::MAX);
    for line in world.engine.apply_moves().await? {
        printer.note(&line);
    }
    let token = environment::variable("HAKIRI_TOKEN").map(Secret::new);
    let options = Options { listen: args.listen, token, metrics, slots: args.workers, grace: args.grace };
    serve::serve(global, printer, world, &loaded.dir, options).await?;
    Ok(Exit::Done)
}
