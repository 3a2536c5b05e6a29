//! Connections to PostgreSQL, for the connector and for the catalog.
//!
//! Both need the same four things, and each is easy to get wrong alone: a URL that is read strictly and never printed
//! with its password, names resolved without the C library (the binary is static, ADR 0007), TLS whose strength is what
//! the URL says, and the server's errors turned into ours without quoting a value of a row (P8). They stand here once,
//! in a leaf above the core that knows no catalog and no connector.
//!
//! Not here: pooling, retries and `statement_timeout`. The catalog keeps a few connections for short statements, the
//! connector one for hours; a policy for both would fit neither.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`address`] | the URL, parsed |
//! | `connect` | name, socket, TLS, version: a client or the reason why not |
//! | [`Logins`] | users and passwords that are made or fetched for each connection |
//! | `tls` | what each `sslmode` demands of a certificate |
//! | `roots` | the certificate authorities; the only module that reads files |
//! | `resolve` | names to addresses |
//! | [`mod@error`] | the server's errors as ours |
#![cfg_attr(test, allow(clippy::disallowed_methods))] // test code opts out, see CONTRIBUTING.md

pub mod address;
mod connect;
pub mod error;
mod login;
mod resolve;
mod roots;
mod tls;

pub use address::{Address, SslMode};
pub use connect::{Held, OLDEST, connect, hold};
pub use error::error;
pub use login::{Login, Logins};
