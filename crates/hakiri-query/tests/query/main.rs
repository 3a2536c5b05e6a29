//! The query engine over real Parquet files, and the DuckDB views over the same ones.
#![allow(missing_docs)] // a test binary has no documentation
#![allow(clippy::disallowed_methods)] // tests write the files they read and look where Python is

mod current;
mod duckdb;
mod evolution;
mod output;
mod sql;
mod support;
