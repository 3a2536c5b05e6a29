//! What tests need of the world: servers that belong to one test and end with it.
//!
//! A crate of its own because tests of several crates need the same servers; a dev-dependency only, so that nothing of it
//! is ever shipped (a test of the repository sees to that). It is test code: it reads the environment, starts processes
//! and panics when something is not as it should be.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code, see CONTRIBUTING.md

pub mod aws;
pub mod door;
pub mod lambda;
pub mod postgres;
mod process;
pub mod workerd;

pub use process::free_port;
