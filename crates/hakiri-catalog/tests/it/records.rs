//! `RecordCatalog` over records that misbehave: conflicts, unknown outcomes (C8), damaged texts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use hakiri_catalog::conformance::ManualClock;
use hakiri_catalog::conformance::fixture::{pipeline, run};
use hakiri_catalog::key;
use hakiri_catalog::memory::Memory;
use hakiri_catalog::records::{Batch, Moment, Records, Scan, Scanned, Written};
use hakiri_catalog::{Catalog, CatalogError, CatalogResult, RecordCatalog};
use hakiri_core::catalog::{Info, Key};

/// Answers the first writes with something else.
#[derive(Debug, Clone)]
struct Faulty {
    inner: Memory,
    /// What the first `times` writes answer.
    answer: CatalogResult<Written>,
    times: u32,
    /// Whether they are written all the same.
    applied: bool,
    writes: Arc<AtomicU32>,
}

#[async_trait]
impl Records for Faulty {
    async fn read(&self, keys: &[String]) -> CatalogResult<Moment> {
        self.inner.read(keys).await
    }
    async fn write(&self, batch: &Batch) -> CatalogResult<Written> {
        if self.writes.fetch_add(1, Ordering::SeqCst) >= self.times {
            return self.inner.write(batch).await;
        }
        if self.applied {
            self.inner.write(batch).await?;
        }
        self.answer.clone()
    }
    async fn scan(&self, scan: &Scan) -> CatalogResult<Scanned> {
        self.inner.scan(scan).await
    }
    async fn info(&self) -> CatalogResult<Info> {
        self.inner.info().await
    }
}

fn faulty(answer: CatalogResult<Written>, times: u32, applied: bool) -> (RecordCatalog<Faulty>, Arc<AtomicU32>) {
    let writes = Arc::new(AtomicU32::new(0));
    let inner = Memory::new(Arc::new(ManualClock::default()), "m");
    (RecordCatalog::new(Faulty { inner, answer, times, applied, writes: writes.clone() }), writes)
}

#[tokio::test]
async fn a_conflict_is_decided_anew_a_bounded_number_of_times() {
    let (catalog, writes) = faulty(Ok(Written::Conflict), 5, false);
    assert_eq!(catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap().epoch, 1);
    assert_eq!(writes.load(Ordering::SeqCst), 6);
    let (catalog, writes) = faulty(Ok(Written::Conflict), u32::MAX, false);
    assert!(matches!(catalog.acquire(&pipeline(), &run(1), 60_000).await, Err(CatalogError::Conflict(_))));
    assert_eq!(writes.load(Ordering::SeqCst), 100);
}

#[tokio::test]
async fn an_unknown_outcome_is_never_retried() {
    for applied in [false, true] {
        let (catalog, writes) = faulty(Err(CatalogError::OutcomeUnknown("x".to_owned())), 1, applied);
        let first = catalog.acquire(&pipeline(), &run(1), 60_000).await;
        assert!(matches!(first, Err(CatalogError::OutcomeUnknown(_))), "{first:?}");
        assert_eq!(writes.load(Ordering::SeqCst), 1);
        // The caller asks again, and gets what is the case either way.
        assert_eq!(catalog.acquire(&pipeline(), &run(1), 60_000).await.unwrap().epoch, 1);
    }
}

#[tokio::test]
async fn out_of_reach_is_told_at_once() {
    let away = CatalogError::Unavailable { reason: "away".to_owned(), retry_after: 3 };
    let (catalog, writes) = faulty(Err(away.clone()), u32::MAX, false);
    assert_eq!(catalog.acquire(&pipeline(), &run(1), 60_000).await, Err(away));
    assert_eq!(writes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn damaged_records_are_corrupt_and_not_quoted() {
    for text in ["", "{", "{\"kind\":\"head\",\"record\":{\"secret-value\":1}}", "{\"kind\":\"setting\",\"record\":1}"]
    {
        let memory = Memory::new(Arc::new(ManualClock::default()), "m");
        let put = vec![(key::encode(&Key::head(&pipeline())), text.to_owned())];
        memory.write(&Batch { put, ..Batch::default() }).await.unwrap();
        let catalog = RecordCatalog::new(memory);
        for result in [
            catalog.get(&Key::head(&pipeline())).await.map(drop),
            catalog.export(None).await.map(drop),
            catalog.acquire(&pipeline(), &run(1), 1).await.map(drop),
        ] {
            let Err(CatalogError::Corrupt(message)) = result else { panic!("{result:?}") };
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
