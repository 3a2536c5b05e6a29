//! Opening a file: is it ours, which version, or is it to be created.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hakiri_core::catalog::{CatalogError, CatalogResult};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::Options;
use super::error::failed;
use super::filesystem;

/// The format version this binary writes, and the highest it reads. Kept in `user_version`.
pub(super) const VERSION: u32 = 1;

/// Marks a file as a catalog, in SQLite's `application_id`: "HKRI".
const APPLICATION: i64 = 0x484b_5249;

/// Version 1. `text` is the record as JSON; `revision` counts writes and gives records their versions.
const CREATE: &str = "
    CREATE TABLE catalog (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, revision INTEGER NOT NULL) STRICT;
    CREATE TABLE records (key TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, text TEXT NOT NULL) STRICT;
    PRAGMA application_id = 1212895817;
    PRAGMA user_version = 1;
";

/// What a file is.
enum State {
    /// Nothing in it yet.
    Empty,
    /// A catalog of this version.
    Current,
}

/// A connection that may write, and the catalog's identity.
pub(super) fn writable(path: &Path, new_id: &str, options: Options) -> CatalogResult<(Connection, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(path, flags, options)?;
    if matches!(look(&mut connection)?, State::Empty) {
        patiently(options, || create(&mut connection, new_id))?;
    }
    let id = identity(&connection)?;
    Ok((connection, id))
}

/// A connection that may only read, and the catalog's identity.
///
/// SQLite coordinates readers of a write-ahead log through a file beside it, which a folder that cannot be written to may
/// not have. Without a log there is nothing to coordinate: then the file is read as it is.
pub(super) fn reader(path: &Path, options: Options) -> CatalogResult<(Connection, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match read_only(path, path, flags, options) {
        Err(CatalogError::Unavailable { retry_after: 0, .. }) if !filesystem::has_log(path) => {
            read_only(path, &immutable(path), flags | OpenFlags::SQLITE_OPEN_URI, options)
        }
        other => other,
    }
}

fn read_only(path: &Path, name: &Path, flags: OpenFlags, options: Options) -> CatalogResult<(Connection, String)> {
    let mut connection = connect(name, flags, options)?;
    match look(&mut connection)? {
        State::Empty => Err(CatalogError::NotFound(format!("a catalog in {}", path.display()))),
        State::Current => {
            let id = identity(&connection)?;
            Ok((connection, id))
        }
    }
}

/// The name that tells SQLite that nobody writes to the file.
fn immutable(path: &Path) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    PathBuf::from(uri)
}

fn connect(path: &Path, flags: OpenFlags, options: Options) -> CatalogResult<Connection> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(options.busy_timeout)?;
        // These are of the connection, not of the file. `fullfsync` matters on macOS only, where a plain one lies.
        connection.pragma_update(None, "synchronous", if options.durable { "FULL" } else { "OFF" })?;
        connection.pragma_update(None, "fullfsync", options.durable)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        Ok(connection)
    };
    open().map_err(|e| failed(&e))
}

fn look(connection: &mut Connection) -> CatalogResult<State> {
    state(&connection.transaction().map_err(|e| failed(&e))?)
}

/// What the file is at one moment: another process may be making a catalog of it.
fn state(moment: &Transaction<'_>) -> CatalogResult<State> {
    let number =
        |pragma: &str| moment.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(|e| failed(&e));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        moment.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(|e| failed(&e))?;
    match (application, version) {
        (APPLICATION, v) if v == i64::from(VERSION) => Ok(State::Current),
        (APPLICATION, v) if v > i64::from(VERSION) => {
            Err(CatalogError::Newer { found: u64::try_from(v).unwrap_or(0), known: u64::from(VERSION) })
        }
        (0, 0) if tables == 0 => Ok(State::Empty),
        _ => Err(CatalogError::Corrupt("the file is an SQLite database, but not a catalog".to_owned())),
    }
}

fn create(connection: &mut Connection, new_id: &str) -> CatalogResult<()> {
    let failed = |e: rusqlite::Error| failed(&e);
    // The journal's mode is of the file and stays.
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(CatalogError::Unavailable {
            reason: "the catalog's file system has no shared memory; keep it on a local disk".to_owned(),
            retry_after: 0,
        });
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Another process may have been faster.
    if matches!(state(&transaction)?, State::Empty) {
        transaction.execute_batch(CREATE).map_err(failed)?;
        transaction.execute("INSERT INTO catalog (one, id, revision) VALUES (1, ?1, 0)", [new_id]).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Changing the journal's mode does not wait for a lock as everything else does.
fn patiently(options: Options, mut work: impl FnMut() -> CatalogResult<()>) -> CatalogResult<()> {
    let step = Duration::from_millis(20);
    let mut left = options.busy_timeout;
    loop {
        match work() {
            Err(CatalogError::Unavailable { retry_after, .. }) if retry_after > 0 && !left.is_zero() => {
                std::thread::sleep(step);
                left = left.saturating_sub(step);
            }
            other => return other,
        }
    }
}

fn identity(connection: &Connection) -> CatalogResult<String> {
    connection.query_row("SELECT id FROM catalog", [], |row| row.get(0)).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nobody_writes_is_read_without_files_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?#%é.sqlite");
        drop(writable(&path, "me", Options::default()).unwrap());
        assert!(!filesystem::has_log(&path), "the last connection takes the log with it");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let (connection, id) = read_only(&path, &immutable(&path), flags, Options::default()).unwrap();
        assert_eq!(id, "me");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(connection);
    }
}
