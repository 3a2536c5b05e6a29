//! SQL over the store and inside pipelines (D2).
//!
//! - [`Database`]: the tables of a store as an SQL database that can only be read, each at one commit (S4), showing its
//!   current rows; [`write_results`] prints what it answers.
//! - [`SqlTransforms`]: the port for transforms, row by row, without a runtime.
//!
//! Contract: nothing is written but spilled data; no file or URL is read but the parts that the views name; no result
//! depends on the number of processors. DataFusion and not DuckDB, because it is Rust, links statically, and its logical
//! plan is where the rules for current rows (and later for policies) can stand, instead of in rewritten SQL text.

mod damage;
mod database;
mod errors;
mod output;
mod statement;
mod table;
mod text;
mod transform;

pub use database::{Database, Options, QueryResult, ResultStream};
pub use output::{OutputFormat, write_results};
pub use transform::SqlTransforms;
