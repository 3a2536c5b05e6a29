//! `hakiri worker`: carries out the operations that an orchestrator elsewhere asks for over HTTP (`05`), as a container
//! of a cloud does. It schedules nothing.
//!
//! ```text
//! routes       POST /v1/{begin,step,commit} and what errors are on the wire, beside health and metrics
//! operations   one task per operation, shared by everybody who asks for the same
//! aftermath    what follows an operation, here and on Lambda
//! ```
//!
//! An answer comes within seconds, however long the work: a step that is not finished by then is answered with `again`,
//! and the next request for it joins the work under way. So a connection that is lost costs nothing, no request is open
//! longer than some proxy allows, and whoever asks twice does not make it happen twice.

pub mod aftermath;
mod operations;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hakiri_core::Result;
use hakiri_core::secret::Secret;
use tokio::sync::Notify;

use self::operations::Operations;
use crate::notify;
use crate::printer::Printer;
use crate::serve::http::metrics::Metrics;
use crate::serve::http::{HttpState, guarded, listen, page_routes};
use crate::serve::live::Live;
use crate::signals::{Signals, asked_to_end};
use crate::world::World;

/// What a worker is told on its command line.
#[derive(Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What requests must bring, if others can reach the address.
    pub token: Option<Secret>,
    /// What is counted for `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Which manifest it works by.
    pub build: String,
    /// How long what was started may go on after the process was asked to end.
    pub grace: Duration,
}

/// How long interrupted operations may take to give back their claims, beyond the grace.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Answers until the process is asked to end.
///
/// # Errors
/// `HK1110` to `HK1112` when it cannot listen; `HK0005` when the system gives no signals.
pub async fn work(printer: &Printer, world: World, options: Options) -> Result<()> {
    let signals = Signals::new()?;
    let (listener, listening) = listen::bind(options.listen, options.token.as_ref()).await?;
    notify::start(&world.engine).await?;
    let live = Arc::new(Live::new(world.engine));
    let operations = Arc::new(Operations::new(live.clone()));
    let state = Arc::new(HttpState::new(live.clone(), options.metrics, options.token, listening));
    let router =
        guarded(page_routes(Arc::clone(&state)).merge(routes::routes(Arc::clone(&operations), &options.build)), state);
    let last = Arc::new(Notify::new());
    let gone = last.clone();
    let server = tokio::spawn(async move { listen::serve(listener, router, gone.notified()).await });
    printer.note(&format!("working on http://{}/", SocketAddr::new(options.listen.ip(), listening.port)));

    asked_to_end(signals, printer, &live.drain).await;
    // What runs is finished, or after the grace interrupted: its steps give back their claims.
    if tokio::time::timeout(options.grace, operations.idle()).await.is_err() {
        printer.note("handing over what is not finished");
        live.engine().cancel.cancel();
        let _ = tokio::time::timeout(LAST_MOMENT, operations.idle()).await;
    }
    last.notify_one();
    let _ = tokio::time::timeout(LAST_MOMENT, server).await;
    Ok(())
}
