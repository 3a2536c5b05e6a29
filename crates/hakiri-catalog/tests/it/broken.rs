//! The suite must notice each defect by a case of the clause that it is against.

use std::sync::Arc;

use async_trait::async_trait;
use hakiri_catalog::conformance::broken::{Broken, Defect};
use hakiri_catalog::conformance::{Bench, CASES, Setup};
use hakiri_catalog::recording::Recording;

use crate::InMemory;

struct Breaking(Option<Defect>);

#[async_trait]
impl Setup for Breaking {
    async fn bench(&self) -> Bench {
        let bench = InMemory { max_batch: usize::MAX }.bench().await;
        let Some(defect) = self.0 else { return bench };
        let reopen = bench.reopen;
        Bench {
            catalog: Arc::new(Broken::new(bench.catalog, defect)),
            reopen: Box::new(move || Arc::new(Broken::new(reopen(), defect))),
            ..bench
        }
    }
}

/// The names of the cases of a clause that fail, or do not end.
async fn failing(defect: Option<Defect>, id: &str) -> Vec<&'static str> {
    let mut failing = Vec::new();
    for case in CASES.iter().filter(|c| c.id == id || c.id.strip_prefix(id).is_some_and(|rest| rest.starts_with('_'))) {
        // The races of C1 would go round for ever on a stale head; they are not needed to notice it.
        if case.name.contains("swap_a_hundred") && defect.is_some() {
            continue;
        }
        let run = tokio::spawn(async move { (case.run)(&Breaking(defect)).await });
        let abort = run.abort_handle();
        match tokio::time::timeout(std::time::Duration::from_secs(10), run).await {
            Ok(Ok(())) => {}
            _ => failing.push(case.name),
        }
        abort.abort();
    }
    failing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_defect_is_noticed_by_its_clause() {
    for (defect, id) in Defect::ALL {
        let noticed = failing(Some(defect), id).await;
        assert!(!noticed.is_empty(), "no case of {id} fails for {defect:?}");
        assert!(failing(None, id).await.is_empty());
    }
}

#[test]
fn there_are_enough_cases_and_every_clause_has_some() {
    assert!(CASES.len() >= 60, "{}", CASES.len());
    for id in ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c9", "c10"] {
        assert!(CASES.iter().filter(|c| c.id == id).count() >= 3, "{id}");
    }
}

#[tokio::test]
async fn a_recording_keeps_calls_and_answers() {
    let bench = InMemory { max_batch: usize::MAX }.bench().await;
    let recording = Recording::new(bench.catalog);
    hakiri_catalog::conformance::fixture::whole(&recording, 1, 1).await.unwrap();
    let calls = recording.calls();
    assert_eq!(calls.iter().map(|c| c.method).collect::<Vec<_>>(), ["acquire", "get", "put_plan", "commit"]);
    assert!(calls[3].result.starts_with("Ok(Committed"), "{}", calls[3].result);
}
