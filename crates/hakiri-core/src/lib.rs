//! Hakiri's pure core: what a project, a plan, a step, a commit and a cursor *are*, and every decision that
//! can be taken without touching the world.
//!
//! Contract: nothing here reads a clock, a file, the network, the environment or a random number, and nothing
//! here is asynchronous except the signatures of the [ports](catalog) that other crates implement. That is what
//! makes "same manifest, same bytes" (P1) a property that table tests can hold, and it is why this crate is the
//! only one that all others may depend on.
//!
//! | Module | What it decides |
//! |---|---|
//! | [`spec`] | the manifest (`hakiri.toml`): its types, its diagnostics, its merging |
//! | [`schedule`], [`window`] | which ticks are due, and what range of a cursor a run reads |
//! | [`plan`], [`step`], [`ops`] | a run as immutable data, and the `begin`/`step`/`commit` contract |
//! | [`schema`] | column types, how they map to Arrow, how two of them join |
//! | [`manifest`], [`canonical`], [`hash`], [`layout`] | what a commit names, in which bytes, under which path |
//! | [`view`] | what a reader needs to know of a table at one commit |
//! | [`catalog`], [`source`], [`buckets`], [`transform`], [`time`] | the ports |
//! | [`error`], [`codes`] | what can go wrong, and what a user should do |

pub mod buckets;
pub mod canonical;
pub mod catalog;
pub mod codes;
pub mod cursor;
pub mod error;
pub mod hash;
pub mod id;
pub mod layout;
pub mod manifest;
pub mod ops;
pub mod plan;
pub mod retry;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod source;
pub mod spec;
pub mod step;
pub mod time;
pub mod transform;
pub mod url;
pub mod view;
pub mod window;

pub use error::{Error, Kind, Result};
