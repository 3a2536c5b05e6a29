//! What this crate signs, judged by AWS's own client, and what it makes of answers, against a double.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // test code

mod rds;
mod secrets;
