//! Backends that lose all of their processes in the middle of commits (C4, C5, C7, C8).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hakiri_catalog::conformance::fixture::{commit_a, head_of, plan, run_of};
use hakiri_catalog::{Catalog, CatalogError, CatalogResult, http, postgres};
use hakiri_core::catalog::{Key, Kind, PageRequest, Record, RunStatus};
use hakiri_core::id::PipelineId;
use hakiri_sim::postgres::{Options, Server};
use hakiri_sim::workerd;

/// What the workers met.
#[derive(Default)]
struct Met {
    /// How many runs were committed.
    committed: AtomicU64,
    unknown: AtomicU64,
    /// Of those, how many had happened.
    happened: AtomicU64,
    away: AtomicU64,
}

/// The number of a run that has been committed.
async fn committed(catalog: &dyn Catalog, pipeline: &PipelineId, n: i64) -> CatalogResult<Option<u64>> {
    match catalog.get(&Key::run(pipeline, &run_of(pipeline, n))).await? {
        Some(Record::Run(record)) if record.report.status == RunStatus::Succeeded => Ok(record.report.seq),
        _ => Ok(None),
    }
}

async fn attempt(catalog: &dyn Catalog, pipeline: &PipelineId, n: i64) -> CatalogResult<u64> {
    let lease = catalog.acquire(pipeline, &run_of(pipeline, n), 600_000).await?;
    let head = match catalog.get(&Key::head(pipeline)).await? {
        Some(Record::Head(head)) => head,
        other => panic!("{other:?}"),
    };
    let plan = catalog.put_plan(&plan(&head, n, 1), lease.epoch).await?;
    let done = catalog.commit(&commit_a(&plan, lease.epoch, 1)).await?;
    Ok(done.run.unwrap().report.seq.unwrap())
}

/// One run until it is acknowledged or found to be committed: after an unknown outcome by reading, and only then again.
async fn whole(catalog: &dyn Catalog, pipeline: &PipelineId, n: i64, met: &Met) -> u64 {
    let mut unknown = false;
    loop {
        let outcome = match committed(catalog, pipeline, n).await {
            Ok(Some(seq)) => {
                if unknown {
                    met.happened.fetch_add(1, Ordering::SeqCst);
                }
                return seq;
            }
            Ok(None) => attempt(catalog, pipeline, n).await,
            Err(e) => Err(e),
        };
        match outcome {
            Ok(seq) => return seq,
            Err(CatalogError::OutcomeUnknown(_)) => {
                met.unknown.fetch_add(1, Ordering::SeqCst);
                unknown = true;
            }
            // One that waiting does not help would be a wrong address or right.
            Err(CatalogError::Unavailable { retry_after: 1.., .. }) => {
                met.away.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(e) => panic!("{e:?}"),
        }
    }
}

/// Four workers commit runs until the kills are done; then everything that was acknowledged must be there. Answers with
/// the figures.
pub async fn under_commits<F>(
    kills: u64,
    open: impl Fn() -> F + Clone + Send + 'static,
    mut kill: impl AsyncFnMut(),
) -> String
where
    F: Future<Output = Arc<dyn Catalog>> + Send,
{
    let (met, stop) = (Arc::new(Met::default()), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .map(|name| {
            let (open, met, stop) = (open.clone(), met.clone(), stop.clone());
            tokio::spawn(async move {
                let pipeline: PipelineId = name.parse().unwrap();
                let catalog = open().await;
                let mut acknowledged = BTreeMap::new();
                while !stop.load(Ordering::SeqCst) {
                    let n = i64::try_from(acknowledged.len()).unwrap();
                    let seq = whole(&*catalog, &pipeline, n, &met).await;
                    assert_eq!(acknowledged.insert(n, seq), None);
                    met.committed.fetch_add(1, Ordering::SeqCst);
                }
                (pipeline, acknowledged)
            })
        })
        .collect();
    for n in 0..kills {
        // They have come somewhere since the last one.
        let wanted = met.committed.load(Ordering::SeqCst) + 4;
        let begun = Instant::now();
        while met.committed.load(Ordering::SeqCst) < wanted {
            assert!(begun.elapsed() < Duration::from_secs(120), "the workers do not get on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // At another moment of the work each time.
        tokio::time::sleep(Duration::from_millis(n * 37 % 200)).await;
        kill().await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::SeqCst);

    let mut total = 0;
    let catalog = open().await;
    for worker in workers {
        let (pipeline, acknowledged) = worker.await.unwrap();
        let head = head_of(&*catalog, &pipeline).await;
        // Every acknowledged run is there under its number, every number was given once, and there are no others.
        assert_eq!(head.seq, u64::try_from(acknowledged.len()).unwrap());
        let mut page = PageRequest {
            kind: Kind::Run,
            prefix: vec![pipeline.to_string()],
            after: None,
            limit: 1000,
            newest_first: false,
        };
        let mut stored = BTreeMap::new();
        loop {
            let found = catalog.list(&page).await.unwrap();
            page.after = found.entries.last().map(|(key, _)| key.clone());
            for (_, record) in found.entries {
                let Record::Run(record) = record else { panic!() };
                assert_eq!(record.report.status, RunStatus::Succeeded);
                assert_eq!(stored.insert(record.report.seq.unwrap(), record.report.run), None);
            }
            if !found.more {
                break;
            }
        }
        let told: BTreeMap<_, _> = acknowledged.iter().map(|(n, seq)| (*seq, run_of(&pipeline, *n))).collect();
        assert_eq!(stored, told);
        assert_eq!(stored.keys().copied().collect::<Vec<_>>(), (1..=head.seq).collect::<Vec<_>>());
        total += acknowledged.len();
    }
    let count = |n: &AtomicU64| n.load(Ordering::SeqCst);
    assert!(
        u64::try_from(total).unwrap() > 2 * kills && count(&met.unknown) > 0,
        "the server was never killed in the middle of anything"
    );
    format!(
        "{kills} kills, {total} commits, {} unknown outcomes of which {} had happened, {} times away",
        count(&met.unknown),
        count(&met.happened),
        count(&met.away)
    )
}

/// Whoever opens it while it is away tries again, as any caller does.
async fn patiently<C: Catalog + 'static, F: Future<Output = CatalogResult<C>>>(
    open: impl Fn() -> F,
) -> Arc<dyn Catalog> {
    loop {
        match open().await {
            Ok(catalog) => return Arc::new(catalog),
            Err(CatalogError::Unavailable { retry_after: 1.., .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(e) => panic!("{e:?}"),
        }
    }
}

fn kills() -> u64 {
    if std::env::var_os("HAKIRI_LONG").is_some() { 100 } else { 12 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_the_server_under_commits() {
    let mut server = Some(Server::start(&Options { fsync: true, ..Options::default() }));
    let url = server.as_ref().unwrap().url();
    let open = move || {
        let url = url.clone();
        async move { patiently(|| postgres::open(&url, "shop", "x")).await }
    };
    open().await;
    let figures = under_commits(kills(), open, async || {
        let mut killed = server.take().unwrap();
        let restarted = tokio::task::spawn_blocking(move || {
            killed.kill();
            killed.restart();
            killed
        });
        server = Some(restarted.await.unwrap());
    })
    .await;
    eprintln!("{figures}");
}

/// What watches over the runtime starts it again; the object is where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_the_worker_runtime_under_commits() {
    let server = Arc::new(workerd::Server::start());
    let url = format!("{}/t/killed", server.url());
    let open = move || {
        let url = url.clone();
        async move { patiently(|| http::open(&url, None, "x")).await }
    };
    open().await;
    let figures = under_commits(kills(), open, async || {
        let server = server.clone();
        tokio::task::spawn_blocking(move || server.kill()).await.unwrap();
    })
    .await;
    eprintln!("{figures}");
}
