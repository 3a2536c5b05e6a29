//! What can be the matter with a catalog's file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hakiri_catalog::conformance::ManualClock;
use hakiri_catalog::conformance::fixture::{dump, pipeline, run, whole};
use hakiri_catalog::sqlite::{self, Options, Sqlite};
use hakiri_catalog::{Catalog, CatalogError, CatalogResult, RecordCatalog};
use rusqlite::Connection;

fn open(path: &Path, id: &str) -> CatalogResult<RecordCatalog<Sqlite>> {
    let options = Options { busy_timeout: Duration::from_millis(200), ..Options::default() };
    sqlite::open_with(path, Arc::new(ManualClock::default()), id, options)
}

#[tokio::test]
async fn the_id_is_given_once_at_creation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/c.sqlite");
    assert_eq!(open(&path, "one").unwrap().info().await.unwrap().id, "one");
    let info = open(&path, "two").unwrap().info().await.unwrap();
    assert_eq!((info.id.as_str(), info.adapter, info.version), ("one", "sqlite", 1));
}

#[test]
fn what_is_not_a_catalog_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "not a database at all, but long enough to be looked at as one").unwrap();
    assert!(matches!(open(&text, "x"), Err(CatalogError::Corrupt(_))), "{:?}", open(&text, "x"));
    let foreign = folder.path().join("foreign");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(open(&foreign, "x"), Err(CatalogError::Corrupt(_))));
    // And nothing was done to them.
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("not a database"));
    assert_eq!(
        Connection::open(&foreign)
            .unwrap()
            .query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get::<_, i64>(0))
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn a_damaged_file_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sqlite");
    let catalog = open(&path, "x").unwrap();
    for n in 0..20 {
        whole(&catalog, n, 1).await.unwrap();
    }
    drop(catalog);
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 8192);
    bytes[4096..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let result = match open(&path, "x") {
        Ok(catalog) => catalog.export(None).await.map(drop),
        Err(e) => Err(e),
    };
    assert!(matches!(result, Err(CatalogError::Corrupt(_))), "{result:?}");
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sqlite");
    drop(open(&path, "x").unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(open(&path, "x").err(), Some(CatalogError::Newer { found: 2, known: 1 }));
}

#[tokio::test]
async fn a_lock_held_for_too_long_is_unavailable_and_readers_do_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sqlite");
    let catalog = open(&path, "x").unwrap();
    whole(&catalog, 1, 1).await.unwrap();
    let before = dump(&catalog).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = catalog.acquire(&pipeline(), &run(2), 60_000).await;
    assert!(matches!(locked, Err(CatalogError::Unavailable { retry_after: 1.., .. })), "{locked:?}");
    // Reading goes on, also for whoever opens the file now.
    assert_eq!(dump(&catalog).await, before);
    assert_eq!(dump(&open(&path, "x").unwrap()).await, before);
    assert_eq!(dump(&sqlite::open_reader(&path, Arc::new(ManualClock::default())).unwrap()).await, before);
    other.execute_batch("ROLLBACK").unwrap();
    catalog.acquire(&pipeline(), &run(2), 60_000).await.unwrap();
}

#[tokio::test]
async fn a_reader_creates_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sqlite");
    let reader = || sqlite::open_reader(&path, Arc::new(ManualClock::default()));
    assert!(matches!(reader(), Err(CatalogError::NotFound(_))));
    assert!(!path.exists());
    let catalog = open(&path, "x").unwrap();
    let refused = reader().unwrap().acquire(&pipeline(), &run(1), 60_000).await;
    assert!(matches!(refused, Err(CatalogError::Unavailable { .. })), "{refused:?}");
    whole(&catalog, 1, 1).await.unwrap();
    assert_eq!(dump(&reader().unwrap()).await, dump(&catalog).await);
}

#[test]
fn while_a_catalog_is_made_everybody_sees_none_or_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..200 {
        let path = folder.path().join(format!("{round}.sqlite"));
        let clock = || Arc::new(ManualClock::default());
        let made = |id| sqlite::open_with(&path, clock(), id, Options { durable: false, ..Options::default() });
        let looked = || match sqlite::open_reader(&path, clock()) {
            Ok(_) => true,
            Err(CatalogError::NotFound(_)) => false,
            Err(other) => panic!("round {round}: {other}"),
        };
        std::thread::scope(|threads| {
            let makers = ["a", "b"].map(|name| threads.spawn(move || drop(made(name).unwrap())));
            while makers.iter().any(|maker| !maker.is_finished()) {
                looked();
            }
            assert!(looked(), "round {round}");
        });
    }
}

#[tokio::test]
async fn it_is_written_durably() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.sqlite");
    let catalog = sqlite::open(&path, Arc::new(ManualClock::default()), "x").unwrap();
    whole(&catalog, 1, 1).await.unwrap();
    let mode: String = Connection::open(&path).unwrap().query_row("PRAGMA journal_mode", [], |r| r.get(0)).unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(catalog.records().synchronous(), Ok(2));
}
