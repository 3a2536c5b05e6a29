//! The run: from what is due to one atomic commit, and the store with the bytes in it.
//!
//! A run's data takes one way through this crate, and the modules are its stations:
//!
//! ```text
//! ops::begin   what is due, the lease, the plan                          (catalog)
//! ops::step    claim, then intake:
//!   intake       rows from a connector → spool + inference → one schema
//!   typing         text and JSON → typed batches, windows, children
//!   sort           primary-key order, one row per key                    (temporary files)
//!   write          writer policy v1: parts with frozen bytes             (store)
//! ops::commit  manifests, one catalog commit, derived files              (store, catalog, store)
//! ```
//!
//! [`orchestrate`] drives the three operations in process; it only obeys `next`. [`compact`] puts snapshots in the place of
//! runs, [`gc`] deletes what nothing names any more.

pub mod compact;
pub mod engine;
pub mod gc;
pub mod intake;
pub mod moved;
pub mod ops;
pub mod orchestrate;
pub mod publish;
pub mod read;
pub mod sort;
pub mod spool;
pub mod state;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
pub mod typing;
pub mod write;

pub use engine::{Engine, Events, Settings};
