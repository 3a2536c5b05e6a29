//! `hakiri serve`: one process that runs a project's pipelines by their schedules, alone (Topology 2) or as one of
//! several (Topology 2.5).
//!
//! ```text
//! scheduler   wakes pipelines; begin, step, commit decide           wake: when to wake next, pure
//! reload      takes up a changed manifest
//! http        status page, health, metrics                          live: what only this process knows
//! notify      the webhook                                           (crate::notify)
//! ```
//!
//! Servers do not know of each other. They meet in the catalog, where a lease with an epoch says whose run counts (C3),
//! so that adding one, losing one or pausing one needs no configuration.

pub mod http;
pub mod live;
mod reload;
mod scheduler;
pub mod wake;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::secret::Secret;
use hakiri_core::{Error, Result};
use tokio::sync::{Notify, mpsc};

use self::http::HttpState;
use self::http::listen;
use self::http::metrics::Metrics;
use self::live::Live;
use self::scheduler::Scheduler;
use crate::cli::GlobalArgs;
use crate::commands::count;
use crate::notify::Notifier;
use crate::printer::Printer;
use crate::signals::{Signals, asked_to_end};
use crate::world::World;

/// What a serving process is told on its command line.
#[derive(Debug)]
pub struct Options {
    /// Where the page listens.
    pub listen: SocketAddr,
    /// What requests must bring, if others can reach the address.
    pub token: Option<Secret>,
    /// What is counted for `/metrics`; the engine's events go there as well.
    pub metrics: Arc<Metrics>,
    /// How many pipelines it works on at once.
    pub slots: usize,
    /// How long what was started may go on after the process was asked to end.
    pub grace: Duration,
}

/// How long an interrupted step may take to give back its claim, beyond the grace.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Serves until the process is asked to end.
///
/// # Errors
/// `HK1110` to `HK1112` when it cannot listen; `HK0005` when the system gives no signals.
pub async fn serve(args: &GlobalArgs, printer: &Printer, world: World, dir: &Path, options: Options) -> Result<()> {
    let signals = Signals::new()?;
    let (listener, listening) = listen::bind(options.listen, options.token.as_ref()).await?;
    let live = Arc::new(Live::new(world.engine));
    let state = HttpState::new(live.clone(), options.metrics, options.token, listening);
    let address = SocketAddr::new(options.listen.ip(), listening.port);
    // The page goes last: while the process ends it says so, and that it is not ready.
    let last = Arc::new(Notify::new());
    let gone = last.clone();
    let router = http::router(Arc::new(state));
    let page = tokio::spawn(async move { listen::serve(listener, router, gone.notified()).await });
    let pipelines = live.engine().project.pipelines.len();
    printer.note(&format!(
        "serving on http://{address}/, {} at once of {}",
        options.slots,
        count(pipelines as u64, "pipeline")
    ));
    let reloaded = Arc::new(Notify::new());
    let (committed, heard) = mpsc::unbounded_channel::<PipelineId>();
    let notifier = tokio::spawn(Notifier::new(live.clone()).run(heard));
    let watch = tokio::spawn(reload::watch(args.clone(), dir.into(), live.clone(), reloaded.clone()));
    let scheduler = Scheduler::new(live.clone(), &world.state_dir, options.slots);
    let mut work = tokio::spawn(scheduler.run(reloaded, committed));
    tokio::select! {
        () = asked_to_end(signals, printer, &live.drain) => {}
        // It ends only when asked to; else whoever started the process should start it again.
        _ = &mut work => return Err(Error::new(Code::Internal, "the scheduler ended by itself")),
    }

    // What runs is finished, or after the grace interrupted: its steps give back their claims and the run its lease, so
    // that another server, or this one after its restart, goes on at once.
    let mut ended = tokio::time::timeout(options.grace, &mut work).await.is_ok();
    if !ended {
        printer.note("handing over what is not finished");
        live.engine().cancel.cancel();
        ended = tokio::time::timeout(LAST_MOMENT, &mut work).await.is_ok();
    }
    watch.abort();
    last.notify_one();
    let _ = tokio::time::timeout(LAST_MOMENT, page).await;
    // The sender went with the scheduler, so that the notifier ends after what it has heard; not for long, though.
    if ended {
        let _ = tokio::time::timeout(LAST_MOMENT, notifier).await;
    }
    Ok(())
}
