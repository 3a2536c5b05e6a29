//! The adapters against the suite, the suite against broken adapters, and processes against one catalog.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // test code

mod broken;
mod database;
mod dynamodb;
mod files;
mod http;
mod kill;
mod ports;
mod postgres;
mod processes;
mod records;

use std::sync::Arc;

use async_trait::async_trait;
use hakiri_catalog::conformance::{Bench, ManualClock, Setup};
use hakiri_catalog::memory::Memory;
use hakiri_catalog::sqlite::{self, Options};
use hakiri_catalog::{Catalog, RecordCatalog};

/// `memory`, with batches of a backend's size.
pub struct InMemory {
    pub max_batch: usize,
}

#[async_trait]
impl Setup for InMemory {
    async fn bench(&self) -> Bench {
        let clock = Arc::new(ManualClock::default());
        let catalog = RecordCatalog::new(Memory::new(clock.clone(), "memory").with_max_batch(self.max_batch));
        let again = catalog.clone();
        Bench {
            catalog: Arc::new(catalog),
            reopen: Box::new(move || Arc::new(again.clone())),
            time: clock,
            keep: Box::new(()),
        }
    }
}

/// `sqlite` in a temporary folder; each client is a connection of its own.
pub struct InFile {
    pub durable: bool,
}

#[async_trait]
impl Setup for InFile {
    async fn bench(&self) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let (path, time) = (folder.path().join(".hakiri/catalog.sqlite"), clock.clone());
        let options = Options { durable: self.durable, ..Options::default() };
        let open = move || -> Arc<dyn Catalog> {
            Arc::new(sqlite::open_with(&path, clock.clone(), "catalog-1", options).unwrap())
        };
        Bench { catalog: open(), reopen: Box::new(open), time, keep: Box::new(folder) }
    }
}

hakiri_catalog::catalog_conformance!(in_memory, crate::InMemory { max_batch: usize::MAX });
hakiri_catalog::catalog_conformance!(in_small_batches, crate::InMemory { max_batch: 100 });
hakiri_catalog::catalog_conformance!(sqlite_file, crate::InFile { durable: false });
hakiri_catalog::catalog_conformance!(postgres_database, crate::database::InDatabase { pooled: false });
hakiri_catalog::catalog_conformance!(postgres_through_a_pooler, crate::database::InDatabase { pooled: true });
hakiri_catalog::catalog_conformance!(durable_object, crate::http::InObject);
hakiri_catalog::catalog_conformance!(dynamodb_table, crate::dynamodb::InTable);
