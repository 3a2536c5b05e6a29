//! Connections to real servers: TLS by `sslmode`, sign-in, and what each failure is told as.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // test code

mod errors;
mod logins;
mod tls;

use hakiri_core::error::Error;
use hakiri_postgres::{Address, connect};

/// Connects and asks something; says whether the connection is encrypted.
pub async fn encrypted(url: &str) -> Result<bool, Error> {
    let client = connect(&Address::parse(url).unwrap(), "test").await?;
    let row = client.query_typed("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
    Ok(row[0].get(0))
}
