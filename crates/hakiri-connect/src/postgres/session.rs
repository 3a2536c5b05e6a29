//! One connection, and the one transaction that everything on it happens in.
//!
//! Contract: a session sees one snapshot from its first query to its end, changes nothing, and leaves nothing behind:
//! settings are local to the transaction, so that a pooler in between can give the connection to somebody else. They
//! make the text of values the same on every server, keep names in `search_path` from taking the place of the system's,
//! and lift time-outs that are meant for queries of people.

use std::future::Future;
use std::time::Duration;

use futures::FutureExt as _;
use hakiri_core::Result;
use hakiri_core::source::{Cancel, SourceContext};
use hakiri_postgres::{Address, Held};
use tokio_postgres::{CopyOutStream, SimpleQueryMessage};

/// What the server's administrator sees in `pg_stat_activity`.
const APPLICATION: &str = "hakiri";
/// How long an interruption goes unnoticed while the server is silent.
const GLANCE: Duration = Duration::from_millis(100);

/// A transaction under way.
pub(super) struct Session {
    /// Goes with the session, so that nobody reads the rest of a copy that was given up.
    client: Held,
    cancel: Cancel,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// Connects and takes the snapshot.
    ///
    /// # Errors
    /// Those of the connection; `HK0003`.
    pub(super) async fn open(url: &str, row_security: bool, ctx: &SourceContext) -> Result<Self> {
        let address = Address::parse(&ctx.secrets.resolve_text(url)?)?;
        let client = unless_cancelled(&ctx.cancel, hakiri_postgres::hold(&address, APPLICATION)).await??;
        let session = Self { client, cancel: ctx.cancel.clone() };
        let row_security = if row_security { "on" } else { "off" };
        // Of the time-outs some servers have fewer than others. A server without an encoding would refuse bytes that
        // are not UTF-8 in the middle of a copy, without a word of the column: it hands them over, and we look.
        let begin = format!(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             SET LOCAL search_path = pg_catalog; SET LOCAL standard_conforming_strings = on; \
             SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC'; SET LOCAL intervalstyle = 'iso_8601'; \
             SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 3; \
             SET LOCAL row_security = {row_security}; \
             SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name IN \
             ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'); \
             SELECT set_config('client_encoding', 'SQL_ASCII', true) \
             WHERE current_setting('server_encoding') = 'SQL_ASCII'"
        );
        session.rows(&begin).await?;
        Ok(session)
    }

    /// The rows of a query, as text.
    ///
    /// # Errors
    /// Those of the server; `HK0003`.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = unless_cancelled(&self.cancel, self.client.simple_query(sql)).await?;
        let messages = messages.map_err(|e| hakiri_postgres::error(&e))?;
        let text = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|at| row.try_get(at).ok().flatten().map(str::to_owned)).collect()
        };
        Ok(messages
            .iter()
            .filter_map(|m| match m {
                SimpleQueryMessage::Row(row) => Some(text(row)),
                _ => None,
            })
            .collect())
    }

    /// What a future of queries gives; if it fails, the transaction goes on as if they had not been.
    ///
    /// # Errors
    /// Those of the future.
    pub(super) async fn attempt<T>(&self, queries: impl Future<Output = Result<T>>) -> Result<T> {
        self.rows("SAVEPOINT attempt").await?;
        let result = queries.await;
        let end = if result.is_ok() { "RELEASE SAVEPOINT attempt" } else { "ROLLBACK TO SAVEPOINT attempt" };
        // Without a connection the first error says more.
        let ended = self.rows(end).await;
        result.and_then(|value| ended.map(|_| value))
    }

    /// Begins a binary copy of a query's rows.
    ///
    /// # Errors
    /// Those of the server; `HK0003`.
    pub(super) async fn copy(&self, select: &str) -> Result<CopyOutStream> {
        let sql = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
        let copy = unless_cancelled(&self.cancel, self.client.copy_out(sql.as_str())).await?;
        copy.map_err(|e| hakiri_postgres::error(&e))
    }

    /// Ends the transaction; what the server had still to complain of comes now.
    ///
    /// # Errors
    /// Those of the server; `HK0003`.
    pub(super) async fn end(&self) -> Result<()> {
        let ended = unless_cancelled(&self.cancel, self.client.batch_execute("COMMIT")).await?;
        ended.map_err(|e| hakiri_postgres::error(&e))
    }
}

/// What a future gives, unless the work is interrupted first.
///
/// # Errors
/// `HK0003`.
pub(super) async fn unless_cancelled<F: Future>(cancel: &Cancel, future: F) -> Result<F::Output> {
    let mut future = std::pin::pin!(future);
    // A row of a copy is mostly there already: no timer for it.
    if let Some(output) = future.as_mut().now_or_never() {
        return Ok(output);
    }
    loop {
        cancel.check()?;
        tokio::select! {
            output = &mut future => return Ok(output),
            () = tokio::time::sleep(GLANCE) => {}
        }
    }
}
