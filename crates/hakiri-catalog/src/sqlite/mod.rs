//! One local file, shared by the threads of a process and by several processes.
//!
//! Write-ahead log, so that readers never wait for a writer; `synchronous = FULL`, so that an acknowledged write
//! survives a loss of power (C7); `BEGIN IMMEDIATE`, so that a batch is checked and written under SQLite's one write
//! lock. A process has one connection, used on Tokio's blocking threads.
//!
//! Refused: network file systems, whose locks lie.

mod error;
mod filesystem;
mod open;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hakiri_core::catalog::{CatalogError, CatalogResult, Info};
use hakiri_core::time::Clock;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::RecordCatalog;
use crate::records::{Batch, Entry, Moment, Records, Scan, Scanned, Version, Written};
use error::{at_commit, failed};

/// How a file is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long to wait for a lock that another process holds.
    pub busy_timeout: Duration,
    /// Whether an acknowledged write survives a loss of power. False is for tests that make many catalogs.
    pub durable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(10), durable: true }
    }
}

/// Opens the catalog in a file, or creates it with its folder. `new_id` becomes the identity of a catalog that is
/// created here, and is not used otherwise; it must be unique in the world. Blocks for a few file operations.
///
/// # Errors
/// `Corrupt` when the file is damaged or is not a catalog, `Newer` when a newer version wrote it, `Unavailable` when it
/// is locked for too long, cannot be opened, or lies on a network file system.
pub fn open(path: &Path, clock: Arc<dyn Clock>, new_id: &str) -> CatalogResult<RecordCatalog<Sqlite>> {
    open_with(path, clock, new_id, Options::default())
}

/// As [`open`], with options.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    path: &Path,
    clock: Arc<dyn Clock>,
    new_id: &str,
    options: Options,
) -> CatalogResult<RecordCatalog<Sqlite>> {
    filesystem::prepare(path)?;
    let (connection, id) = open::writable(path, new_id, options)?;
    Ok(RecordCatalog::new(Sqlite::new(connection, id, clock)))
}

/// Opens the catalog in a file for reading only: nothing is created, and every write is refused. Blocks for a few file
/// operations, but waits for no writer.
///
/// # Errors
/// As [`open`]; `NotFound` when there is no such file.
pub fn open_reader(path: &Path, clock: Arc<dyn Clock>) -> CatalogResult<RecordCatalog<Sqlite>> {
    filesystem::require(path)?;
    let (connection, id) = open::reader(path, Options::default())?;
    Ok(RecordCatalog::new(Sqlite::new(connection, id, clock)))
}

/// Records in an SQLite file. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Sqlite {
    connection: Arc<Mutex<Connection>>,
    clock: Arc<dyn Clock>,
    id: String,
}

impl Sqlite {
    fn new(connection: Connection, id: String, clock: Arc<dyn Clock>) -> Self {
        Self { connection: Arc::new(Mutex::new(connection)), clock, id }
    }

    /// SQLite's `synchronous` of this connection: 2 is `FULL`.
    ///
    /// # Errors
    /// As reading.
    pub fn synchronous(&self) -> CatalogResult<i64> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(|e| failed(&e))
    }

    /// Uses the connection on a blocking thread. `lost` is what to say when that thread ends without an answer.
    async fn blocking<T, F>(&self, lost: fn(String) -> CatalogError, work: F) -> CatalogResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> CatalogResult<T> + Send + 'static,
    {
        let connection = Arc::clone(&self.connection);
        // A transaction that a panic interrupted was rolled back when it was dropped, so the connection is sound.
        let task =
            tokio::task::spawn_blocking(move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner)));
        task.await.unwrap_or_else(|_| Err(lost("the thread that used the catalog's file ended".to_owned())))
    }
}

fn unavailable(reason: String) -> CatalogError {
    CatalogError::Unavailable { reason, retry_after: 1 }
}

#[async_trait]
impl Records for Sqlite {
    async fn read(&self, keys: &[String]) -> CatalogResult<Moment> {
        let keys = keys.to_vec();
        let clock = Arc::clone(&self.clock);
        self.blocking(unavailable, move |connection| {
            let entries = read(connection, &keys).map_err(|e| failed(&e))?;
            Ok(Moment { now: clock.now(), entries })
        })
        .await
    }

    async fn write(&self, batch: &Batch) -> CatalogResult<Written> {
        let batch = batch.clone();
        self.blocking(CatalogError::OutcomeUnknown, move |connection| write(connection, &batch)).await
    }

    async fn scan(&self, scan: &Scan) -> CatalogResult<Scanned> {
        let scan = scan.clone();
        self.blocking(unavailable, move |connection| scanned(connection, &scan).map_err(|e| failed(&e))).await
    }

    async fn info(&self) -> CatalogResult<Info> {
        Ok(Info { adapter: "sqlite", version: u64::from(open::VERSION), id: self.id.clone(), now: self.clock.now() })
    }
}

fn read(connection: &mut Connection, keys: &[String]) -> rusqlite::Result<Vec<Option<Entry>>> {
    // One transaction: all keys of one moment.
    let transaction = connection.transaction()?;
    let mut statement = transaction.prepare_cached("SELECT version, text FROM records WHERE key = ?1")?;
    let one = |key: &String| {
        statement.query_row([key], |row| Ok(Entry { version: row.get(0)?, text: row.get(1)? })).optional()
    };
    keys.iter().map(one).collect()
}

fn write(connection: &mut Connection, batch: &Batch) -> CatalogResult<Written> {
    let failed = |e: rusqlite::Error| failed(&e);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    {
        let mut statement = transaction.prepare_cached("SELECT version FROM records WHERE key = ?1").map_err(failed)?;
        for (key, expected) in &batch.expect {
            let found: Option<Version> = statement.query_row([key], |row| row.get(0)).optional().map_err(failed)?;
            if found != *expected {
                return Ok(Written::Conflict);
            }
        }
        // One counter for all records: a version never comes again, also not after a deletion.
        let revision: Version = transaction
            .query_row("UPDATE catalog SET revision = revision + 1 RETURNING revision", [], |row| row.get(0))
            .map_err(failed)?;
        let mut statement = transaction
            .prepare_cached("INSERT INTO records (key, version, text) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET version = ?2, text = ?3")
            .map_err(failed)?;
        for (key, text) in &batch.put {
            statement.execute(params![key, revision, text]).map_err(failed)?;
        }
        let mut statement = transaction.prepare_cached("DELETE FROM records WHERE key = ?1").map_err(failed)?;
        for key in &batch.delete {
            statement.execute([key]).map_err(failed)?;
        }
    }
    transaction.commit().map_err(|e| at_commit(&e))?;
    Ok(Written::Done)
}

fn scanned(connection: &mut Connection, scan: &Scan) -> rusqlite::Result<Scanned> {
    let mut statement = connection.prepare_cached(if scan.reverse {
        "SELECT key, text FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key DESC"
    } else {
        "SELECT key, text FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key"
    })?;
    let mut rows = statement.query(params![scan.from, scan.to])?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while entries.len() < scan.limit && bytes < scan.bytes {
        let Some(row) = rows.next()? else {
            return Ok(Scanned { entries, more: false });
        };
        let (key, text): (String, String) = (row.get(0)?, row.get(1)?);
        bytes += text.len();
        entries.push((key, text));
    }
    Ok(Scanned { more: rows.next()?.is_some(), entries })
}
