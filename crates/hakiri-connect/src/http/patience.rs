//! Waiting: how much of it a step does by itself, and how it ends early when the user wants to stop.
//!
//! A hiccup that is sat out in place saves the pages read so far. A long wait in place would hold a worker (and on some
//! targets its bill) for nothing, so beyond these bounds the engine is told to wait instead.

use std::time::Duration;

use hakiri_core::error::Result;
use hakiri_core::source::SourceContext;

/// How often a wait looks whether the user wants to stop.
const GLANCE: Duration = Duration::from_millis(50);

/// How hiccups are sat out in place.
#[derive(Debug, Clone)]
pub struct Patience {
    /// The waits before each repetition of a request that failed in a way that may pass, in milliseconds.
    pub hiccups: Vec<u64>,
    /// The waits at a rate limit without a hint, in milliseconds.
    pub no_hint: Vec<u64>,
    /// How long a step may wait at rate limits in all, in milliseconds; beyond that the engine waits.
    pub rate_limit: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { hiccups: vec![200, 1_000], no_hint: vec![1_000, 2_000, 4_000], rate_limit: 30_000 }
    }
}

/// What a step has used up.
#[derive(Debug, Default)]
pub struct Spent {
    /// Waited at rate limits, in milliseconds.
    pub waited: u64,
    /// Requests sent, repetitions and redirects among them.
    pub requests: u64,
    /// Bytes of bodies.
    pub bytes: u64,
}

/// Waits, and stops waiting when the user wants to stop.
///
/// # Errors
/// `HK0003`.
pub async fn pause(ctx: &SourceContext, time: Duration) -> Result<()> {
    let mut left = time;
    while !left.is_zero() {
        ctx.cancel.check()?;
        let nap = left.min(GLANCE);
        tokio::time::sleep(nap).await;
        left -= nap;
    }
    ctx.cancel.check()
}

/// Does some work, and gives it up when the user wants to stop.
///
/// # Errors
/// `HK0003`, or the work's own.
pub async fn until_cancelled<T>(ctx: &SourceContext, work: impl Future<Output = Result<T>>) -> Result<T> {
    ctx.cancel.check()?;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(GLANCE) => ctx.cancel.check()?,
        }
    }
}
