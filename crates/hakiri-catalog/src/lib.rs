//! The catalog: one set of rules over a small record port, and its adapters.
//!
//! The port that the engine sees ([`Catalog`], twelve methods) is implemented once, by [`RecordCatalog`]:
//!
//! ```text
//! Catalog (12 methods)        what the engine calls
//!   RecordCatalog               reads the records a method needs, asks a rule, writes what it decided, or starts over
//!     rules::*                    pure: typed records in, changed records and an answer out
//!     Records (4 methods)         what a backend implements: versioned texts with optimistic concurrency
//!       memory, sqlite, postgres, http, dynamodb, …
//! ```
//!
//! Why not one implementation of the twelve methods per backend: leases, fencing, first-wins and idempotence would be
//! written six times, in three languages of queries, and would differ in the corner that matters. This way an adapter
//! is a few dozen lines without a decision in them, and the rules are tested without a backend.
//!
//! Price: a method is a read and a write instead of one statement, and writers of one pipeline conflict and retry.
//! A pipeline has one run at a time and its workers report a few times a minute, so this is far from any limit.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`records`] | the storage port, and what an adapter must give |
//! | [`key`] | how a record's key is stored as one ordered text |
//! | [`memory`] | the reference adapter: a map in memory |
//! | [`sqlite`] | one local file, shared by several processes |
//! | [`postgres`] | a PostgreSQL database, shared by several machines |
//! | [`http`] | a Durable Object at Cloudflare, asked over HTTP |
//! | [`dynamodb`] | a table of DynamoDB at AWS |
//! | `conformance`, `recording` | for tests, behind the feature `conformance` |
#![cfg_attr(test, allow(clippy::disallowed_methods))] // test code opts out, see CONTRIBUTING.md

mod catalog;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod dynamodb;
pub mod http;
pub mod key;
pub mod memory;
pub mod postgres;
#[cfg(feature = "conformance")]
pub mod recording;
pub mod records;
mod rules;
pub mod sqlite;
mod stored;

use std::sync::Arc;

use hakiri_core::time::Clock;

pub use catalog::RecordCatalog;
#[doc(no_inline)]
pub use hakiri_core::catalog::{Catalog, CatalogError, CatalogResult};

/// An empty catalog in memory. Clones share what they hold; it is gone with the last of them.
pub fn memory(clock: Arc<dyn Clock>) -> RecordCatalog<memory::Memory> {
    RecordCatalog::new(memory::Memory::new(clock, "memory"))
}
