//! Sources: files, the declarative HTTP engine and the connectors described on it, PostgreSQL
//!
//! | Module | What it reads |
//! |---|---|
//! | [`file`] | CSV, TSV, JSON, JSON lines and Parquet of this machine |
//! | [`http`] | any JSON API, as a description |
//! | [`github`] | GitHub: a description on top of it |
//! | [`postgres`] | tables of a PostgreSQL database |
//! | [`registry`] | which connectors the binary has, and how a manifest's `source` becomes one |

pub mod file;
pub mod github;
pub mod http;
pub mod postgres;
pub mod registry;

pub use registry::Builtin;
