//! `hakiri worker`: operations over HTTP, for an orchestrator elsewhere.

use std::sync::Arc;

use hakiri_core::Result;
use hakiri_core::secret::Secret;
use hakiri_core::source::Cancel;

use super::load;
use crate::cli::{GlobalArgs, WorkerArgs};
use crate::environment;
use crate::exit::Exit;
use crate::logging;
use crate::logging::events::{Fan, Recorder};
use crate::printer::Printer;
use crate::project;
use crate::serve::http::metrics::Metrics;
use crate::worker::{self, Options};
use crate::world::{Access, World};

/// Runs the command.
pub async fn run(global: &GlobalArgs, printer: &Printer, args: &WorkerArgs) -> Result<Exit> {
    let mut loaded = match load(global, printer)? {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    loaded.placed(&args.place);
    let metrics = Arc::new(Metrics::new(environment::clock().now()));
    let events = Arc::new(Fan(vec![Arc::new(Recorder), metrics.clone()]));
    let mut world = World::open(global, &loaded, Access::Write, events, Cancel::default()).await?;
    logging::to_files(&world.state_dir, &world.engine.project, &*world.engine.secrets).await;
    let settings = &mut world.engine.settings;
    // It holds no pipeline's lock, whatever the catalog: who else may be at work only a lease can say.
    (settings.sole_worker, settings.worker) = (false, environment::worker_name()?);
    settings.lease_ttl_ms = i64::try_from(args.lease.as_millis()).unwrap_or(i64::MAX);
    let build = project::build(loaded.project.env.as_deref(), &project::texts(&loaded.dir)?);
    let token = environment::variable("HAKIRI_TOKEN").map(Secret::new);
    worker::work(printer, world, Options { listen: args.listen, token, metrics, build, grace: args.grace }).await?;
    Ok(Exit::Done)
}
