//! Being asked to end: Ctrl-C and SIGTERM are the same thing.

use hakiri_core::codes::Code;
use hakiri_core::source::Cancel;
use hakiri_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::printer::Printer;

/// The signals that ask a process to end.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    ///
    /// # Errors
    /// `HK0005` when the system does not give them.
    pub fn new() -> Result<Self> {
        let io = |e: std::io::Error| Error::new(Code::Io, format!("no signals: {e}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(io)?,
            terminate: signal(SignalKind::terminate()).map_err(io)?,
        })
    }

    /// Until the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl Signals {
    /// Whether one comes within so many milliseconds, or came since the last call: one that comes while something else is
    /// done is not lost.
    pub async fn within(&mut self, millis: u64) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(millis), self.next()).await.is_ok()
    }
}

/// Until the process is asked to end; then nothing new is started. Being asked once more ends it at once.
pub async fn asked_to_end(mut signals: Signals, printer: &Printer, drain: &Cancel) {
    signals.next().await;
    printer.note("ending: finishing what was started; once more ends at once");
    drain.cancel();
    tokio::spawn(async move {
        signals.next().await;
        end_at_once();
    });
}

/// Ends the process now: the user asked twice, and nothing half-done is visible (P4).
pub fn end_at_once() -> ! {
    #[expect(clippy::disallowed_methods, reason = "the one place that ends the process without unwinding")]
    std::process::exit(130)
}
