//! One process at a time works on a project's catalog on this machine (P3 on a laptop).
//!
//! The catalog's leases would be enough to be safe. This lock, which the operating system gives back whenever a process
//! ends in whatever way, is what lets the next `hakiri run` go on at once after a crash instead of waiting for a lease
//! to expire: whoever holds it knows that no other worker is alive.

#![allow(clippy::disallowed_methods)] // the one place that opens the lock file

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use hakiri_core::codes::Code;
use hakiri_core::id::PipelineId;
use hakiri_core::{Error, Result};

/// Held until dropped.
#[derive(Debug)]
pub struct PipelineLock {
    _file: File,
}

impl PipelineLock {
    /// Takes the lock of a pipeline.
    ///
    /// # Errors
    /// `HK0208` while another process holds it; `HK0005` when the file cannot be opened.
    pub fn take(state_dir: &Path, pipeline: &PipelineId) -> Result<Self> {
        let io = |e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", state_dir.display()));
        let folder = state_dir.join("locks");
        std::fs::create_dir_all(&folder).map_err(io)?;
        let path = folder.join(format!("{pipeline}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::new(Code::CatalogHeld, format!("another process is running `{pipeline}`")))
            }
            Err(TryLockError::Error(e)) => Err(io(e)),
        }
    }
}
