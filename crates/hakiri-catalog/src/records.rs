//! The storage port: what a backend implements to become a catalog.
//!
//! A backend keeps texts under keys, each with a version, and writes a small batch only if the versions are still the
//! ones it was decided on. It decides nothing, knows no record and no rule.
//!
//! What an adapter must give, besides the letter of the methods:
//!
//! - `write` is atomic and durable when it answers [`Written::Done`] (C4, C7), and one order of all writes exists that
//!   every later `read` agrees with (C1). `read` sees one moment, `scan` may see a later one per page.
//! - A key that was deleted and created again has a version it never had before.
//! - An outcome that is not known is [`CatalogError::OutcomeUnknown`], never one of the others (C8).
//! - `now` is the backend's own clock where it has one (C3): the clients' clocks decide nothing.
//! - Keys (see [`crate::key`]) are ordered by their UTF-8 bytes. Texts are JSON, up to a few MiB: a backend with a limit
//!   splits them or stores them by reference.

use std::fmt;

use async_trait::async_trait;
use hakiri_core::catalog::{CatalogResult, Info};
use hakiri_core::time::Instant;

#[cfg(doc)]
use hakiri_core::catalog::CatalogError;

/// The version of a record: opaque, never used twice for one key.
pub type Version = i64;

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its version.
    pub version: Version,
    /// Its text.
    pub text: String,
}

/// What `read` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The backend's clock.
    pub now: Instant,
    /// One per key that was asked for, in the same order.
    pub entries: Vec<Option<Entry>>,
}

/// A conditional write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The versions that keys must have; none: the key must not exist.
    pub expect: Vec<(String, Option<Version>)>,
    /// Keys and their new texts.
    pub put: Vec<(String, String)>,
    /// Keys to delete; those that do not exist are fine.
    pub delete: Vec<String>,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// All of it was written and is durable.
    Done,
    /// A version is not the expected one; nothing was written.
    Conflict,
}

/// A range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The first key that may be part of it.
    pub from: String,
    /// The first key behind it.
    pub to: String,
    /// From the end.
    pub reverse: bool,
    /// At most this many entries.
    pub limit: usize,
    /// No further entry once the texts so far have this many bytes, so that a page fits in memory.
    pub bytes: usize,
}

impl Scan {
    /// The range of keys with a prefix (a result of [`crate::key::prefix`], or nothing for all keys), behind a key, or
    /// before it when `reverse`.
    pub fn new(prefix: &str, after: Option<&str>, limit: usize, reverse: bool) -> Self {
        // A prefix ends with U+0001, which no key of another prefix does in its place.
        let end = prefix.strip_suffix('\u{1}').map_or_else(|| "\u{10ffff}".to_owned(), |p| format!("{p}\u{2}"));
        let (mut from, mut to) = (prefix.to_owned(), end);
        match after {
            Some(after) if reverse => to = to.min(after.to_owned()),
            Some(after) => from = from.max(format!("{after}\u{0}")),
            None => {}
        }
        Self { from, to, reverse, limit, bytes: 4 << 20 }
    }
}

/// A page of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Keys and texts in the order asked for.
    pub entries: Vec<(String, String)>,
    /// Whether there is more in the range.
    pub more: bool,
}

/// The port.
#[async_trait]
pub trait Records: Send + Sync + fmt::Debug {
    /// Reads records, all at one moment.
    async fn read(&self, keys: &[String]) -> CatalogResult<Moment>;

    /// Writes a batch if all versions are the expected ones.
    async fn write(&self, batch: &Batch) -> CatalogResult<Written>;

    /// Reads a page of a range. An empty page is the end of it.
    async fn scan(&self, scan: &Scan) -> CatalogResult<Scanned>;

    /// What it is; creates or migrates what is stored where opening it did not.
    async fn info(&self) -> CatalogResult<Info>;

    /// How many keys one batch may touch. A commit of *n* tables touches at most 2 + 3 *n* keys and is never split
    /// (C4); plans of many steps and imports are.
    fn max_batch(&self) -> usize {
        usize::MAX
    }
}
