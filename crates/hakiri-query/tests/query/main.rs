//! The query engine over real Parquet files, and the DuckDB views over the same ones.
#![allow(missing_docs)] // a test binary has no documentation
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests write the files they read, look where Python is, and fail by panicking"
)]

mod current;
mod duckdb;
mod evolution;
mod output;
mod sql;
mod support;
