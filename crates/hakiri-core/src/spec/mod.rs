//! The manifest: what a person writes in `hakiri.toml` (`02`).
//!
//! These types are the only schema there is (D5): `hakiri schema --manifest` prints them as JSON Schema, and the same
//! JSON Schema drives the diagnostics of [`parse`], so that what is documented, what is accepted and what is reported
//! cannot drift apart.

mod types;

pub use self::types::*;
