//! Requests to AWS, for those that need more of it than a bucket: the catalog in DynamoDB, secrets, tokens for databases.
//!
//! A leaf above the core. It holds what each of them would need alone and what is easy to get wrong: where credentials
//! come from, how a request is signed, and what is known of one that got no clear answer. `object_store` signs requests
//! and fetches credentials, since the store's own client needs both; the AWS SDK would be dozens of crates for a few
//! operations. See ADR 0025.
//!
//! Nothing is sent twice here. Whether a request may be is known to whoever knows what it does.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`place`] | region and address of a service, as the environment says |
//! | [`credentials`] | what requests are signed with, and where it comes from |
//! | [`service`] | one signed request in the JSON protocol, and what became of it |
//! | [`secrets`] | `GetSecretValue` |
//! | [`rds`] | tokens that databases take instead of a password |
#![cfg_attr(test, allow(clippy::disallowed_methods))] // test code opts out, see CONTRIBUTING.md

pub mod credentials;
pub mod place;
pub mod rds;
pub mod secrets;
pub mod service;

/// The environment: the value of a variable that is set and not empty. The process's own is read by the binary alone.
pub type Variable<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

pub use credentials::Credentials;
pub use place::Place;
pub use service::{Answer, Failure, Patience, Problem, Protocol, Service};
