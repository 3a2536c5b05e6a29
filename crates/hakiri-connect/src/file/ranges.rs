//! An object as a reader, for threads that block: ranges of it, one fetched while the other is read.
//!
//! Ranges instead of one long answer, because a slow reader would run into the time-out of the request, and because each
//! range is tried again by itself when a connection breaks.

use std::future::Future;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hakiri_core::buckets::{Buckets, Object};
use hakiri_core::codes::Code;
use hakiri_core::source::Cancel;
use hakiri_core::{Error, Result};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// The size of a range: 8 MiB. Two of them are in memory at most.
const RANGE: u64 = 8 << 20;
/// How soon a raised flag ends a wait.
const GLANCE: Duration = Duration::from_millis(100);

/// Waits for something of the runtime on a thread for blocking work.
///
/// # Errors
/// `HK0003`, and those of the future.
pub(super) fn wait<T: Send + 'static>(
    future: impl Future<Output = Result<T>> + Send + 'static,
    cancel: &Cancel,
) -> Result<T> {
    finish(Handle::current().spawn(future), cancel)
}

fn finish<T>(mut task: JoinHandle<Result<T>>, cancel: &Cancel) -> Result<T> {
    Handle::current().block_on(async {
        loop {
            if let Ok(done) = tokio::time::timeout(GLANCE, &mut task).await {
                return done.unwrap_or_else(|_| {
                    Err(Error::new(Code::Internal, "the task that reads the bucket ended unexpectedly"))
                });
            }
            if let Err(e) = cancel.check() {
                task.abort();
                return Err(e);
            }
        }
    })
}

/// See the module.
pub(super) struct Ranges {
    buckets: Arc<dyn Buckets>,
    bucket: String,
    object: Object,
    cancel: Cancel,
    /// Where the next range to ask for begins.
    at: u64,
    current: Bytes,
    next: Option<JoinHandle<Result<Bytes>>>,
}

impl Ranges {
    pub(super) fn new(buckets: Arc<dyn Buckets>, bucket: String, object: Object, cancel: Cancel) -> Self {
        Self { buckets, bucket, object, cancel, at: 0, current: Bytes::new(), next: None }
    }

    /// Fetches the first range; of an empty object, whether it is there.
    ///
    /// # Errors
    /// `HK0406` and others of the port.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.ask();
        self.advance()
    }

    fn ask(&mut self) {
        let range: Range<u64> = self.at..(self.at + RANGE).min(self.object.size);
        self.at = range.end;
        let (buckets, bucket, object) = (self.buckets.clone(), self.bucket.clone(), self.object.clone());
        self.next = Some(Handle::current().spawn(async move { buckets.read(&bucket, &object, range).await }));
    }

    /// Takes what was asked for, and asks for what follows it.
    fn advance(&mut self) -> Result<()> {
        let Some(task) = self.next.take() else { return Ok(()) };
        self.current = finish(task, &self.cancel)?;
        if self.at < self.object.size {
            self.ask();
        }
        Ok(())
    }
}

impl Read for Ranges {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && self.next.is_some() {
            self.advance().map_err(io::Error::other)?;
        }
        let n = buf.len().min(self.current.len());
        self.current.copy_to_slice(&mut buf[..n]);
        Ok(n)
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        if let Some(task) = &self.next {
            task.abort();
        }
    }
}
