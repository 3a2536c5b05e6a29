//! `postgres` in a schema of its own in the server of `HAKIRI_TEST_PG`, with a clock that a test can move.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use hakiri_catalog::conformance::{Bench, ManualClock, Setup, Time};
use hakiri_catalog::{Catalog, RecordCatalog, postgres};
use hakiri_core::time::Clock as _;
use hakiri_postgres::{Address, connect};
use hakiri_sim::postgres::{Pooler, shared};
use tokio_postgres::Client;

/// A name that no other test, process or earlier run has.
pub fn project() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    format!("t{}-{now}-{count}", std::process::id())
}

/// The schema of a project, in quotes.
pub fn schema(project: &str) -> String {
    format!("\"{}\"", postgres::schema_of(project).unwrap())
}

/// A connection of the test's own.
pub async fn client(url: &str) -> Client {
    connect(&Address::parse(url).unwrap(), "hakiri test").await.unwrap()
}

/// For the suite's synchronous doors. The test's runtime has several threads.
pub fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

/// The setup. Through a pooler, its two connections are shared by all clients of a bench.
pub struct InDatabase {
    pub pooled: bool,
}

#[async_trait]
impl Setup for InDatabase {
    async fn bench(&self) -> Bench {
        let server = shared();
        let pooler = self.pooled.then(|| Pooler::start(&server, 2));
        let url = pooler.as_ref().map_or_else(|| server.clone(), |pooler| pooler.url(&server));
        let project = project();
        let open = async |url: &str, project: &str| {
            let catalog = postgres::open(url, project, "catalog-1").await.unwrap();
            RecordCatalog::new(catalog.records().clone().with_test_clock())
        };
        let catalog = open(&url, &project).await;
        let time = client(&server).await;
        let schema = schema(&project);
        time.batch_execute(&format!("CREATE TABLE {schema}.test_clock AS SELECT false AS still, 0::int8 AS millis"))
            .await
            .unwrap();
        Bench {
            catalog: Arc::new(catalog),
            reopen: Box::new(move || -> Arc<dyn Catalog> { Arc::new(now(open(&url, &project))) }),
            time: Arc::new(TestClock { client: time, schema }),
            keep: Box::new(pooler),
        }
    }
}

/// The server's clock and some more: it goes on by itself, and further when it is told to.
struct TestClock {
    client: Client,
    schema: String,
}

#[async_trait]
impl Time for TestClock {
    async fn pass(&self, millis: i64) {
        let sql = format!("UPDATE {}.test_clock SET millis = millis + {millis}", self.schema);
        self.client.batch_execute(&sql).await.unwrap();
    }

    async fn stand_still(&self) {
        let start = ManualClock::default().now().millis();
        let sql = format!("UPDATE {}.test_clock SET still = true, millis = {start}", self.schema);
        self.client.batch_execute(&sql).await.unwrap();
    }
}
