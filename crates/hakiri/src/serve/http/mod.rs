//! The status page, health and metrics over HTTP.
//!
//! It only looks. Nothing that a request can say changes a pipeline, so that the worst a page can be made to do is to read
//! the catalog: at most once a second, however many people watch ([`HttpState::status`]), in bounded pages.
//!
//! Who may look: on a loopback address anyone who can reach it, provided that the request names that address ([`guard`]);
//! elsewhere only with a token, and without one the server does not start ([`listen::bind`]). `/healthz` and `/readyz` say
//! one word and need no token, since those who probe have none.
//!
//! Why not TLS here: certificates would have to be renewed, and whoever has them has a proxy that does it. Behind one the
//! server listens on loopback, with a token.
//!
//! The process it runs in is behind [`Host`], so that the scheduler, a container's worker and a test serve the same page.

pub mod auth;
pub mod guard;
pub mod listen;
pub mod metrics;
mod page;
mod process;
mod routes;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use hakiri_core::error::Failure;
use hakiri_core::id::PipelineId;
use hakiri_core::secret::Secret;
use hakiri_core::time::Instant;
use hakiri_engine::Engine;
use tokio::sync::Mutex;

use self::metrics::Metrics;
use crate::status::{Problem, State, Status, gather};

/// How long a status is shown to everyone before it is gathered anew, in milliseconds.
const FRESH_MS: i64 = 1_000;

/// An error of an operation, which no run has in its report: a run that could not even be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The pipeline; none where it concerns the whole process, such as a manifest that cannot be taken up.
    pub pipeline: Option<PipelineId>,
    /// The error.
    pub failure: Failure,
}

/// The process that the server runs in.
pub trait Host: Send + Sync + fmt::Debug {
    /// The engine with the manifest that is in force.
    fn engine(&self) -> Arc<Engine>;

    /// Whether the process is about to end: it is then not ready, and a balancer sends nothing more.
    fn stopping(&self) -> bool;

    /// What went wrong outside of any run.
    fn troubles(&self) -> Vec<Trouble> {
        Vec::new()
    }
}

/// What the routes share.
#[derive(Debug)]
pub struct HttpState {
    host: Arc<dyn Host>,
    metrics: Arc<Metrics>,
    token: Option<Secret>,
    /// The port and whether the address is loopback: what a `Host` header must name.
    listening: Listening,
    latest: Mutex<Option<Arc<Status>>>,
}

/// Where the server listens, as far as the routes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// The port.
    pub port: u16,
    /// Whether only this machine can reach it.
    pub loopback: bool,
}

impl HttpState {
    /// For a process, with the token that requests must bring.
    pub fn new(host: Arc<dyn Host>, metrics: Arc<Metrics>, token: Option<Secret>, listening: Listening) -> Self {
        Self { host, metrics, token, listening, latest: Mutex::default() }
    }

    fn now(&self) -> Instant {
        self.host.engine().clock.now()
    }

    /// The status of the project, at most a second old. Who comes while it is gathered waits for that one.
    async fn status(&self) -> Arc<Status> {
        let mut latest = self.latest.lock().await;
        let now = self.now();
        if let Some(status) = latest.as_ref().filter(|s| (0..FRESH_MS).contains(&(now.millis() - s.at.millis()))) {
            return Arc::clone(status);
        }
        let engine = self.host.engine();
        let mut status = gather::gather(&engine.project, &*engine.catalog, now, &[]).await;
        self.add_troubles(&mut status);
        let status = Arc::new(status);
        *latest = Some(Arc::clone(&status));
        status
    }

    /// A run that could not be planned leaves nothing in the catalog; the process knows of it.
    fn add_troubles(&self, status: &mut Status) {
        for Trouble { pipeline, failure } in self.host.troubles() {
            let Some(found) = status.pipelines.iter_mut().find(|p| Some(&p.id) == pipeline.as_ref()) else { continue };
            if matches!(found.state, State::Idle | State::NeverRan | State::Late) {
                found.state = State::Failed;
                found.why = Some("a run could not be started".to_owned());
            }
            found.problems.insert(0, Problem::of(&failure, None));
        }
    }

    /// What is wrong with the whole process, not with one pipeline.
    fn process_troubles(&self) -> Vec<Problem> {
        let of_process = |t: Trouble| t.pipeline.is_none().then(|| Problem::of(&t.failure, None));
        self.host.troubles().into_iter().filter_map(of_process).collect()
    }
}

/// All routes, guarded.
pub fn router(state: Arc<HttpState>) -> Router {
    guarded(page_routes(Arc::clone(&state)), state)
}

/// The routes of the page, health and metrics. Not guarded: for merging with others.
pub fn page_routes(state: Arc<HttpState>) -> Router {
    routes::routes(state)
}

/// Puts the guard round routes: who may call them, how long and how large. For routes of others on the same listener.
pub fn guarded(routes: Router, state: Arc<HttpState>) -> Router {
    routes.layer(axum::middleware::from_fn_with_state(state, guard::guard))
}
