//! A decorator that records calls and results, for tests that compare traces (E6).

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hakiri_core::catalog::{
    Catalog, CatalogResult, Claim, Commit, Committed, ExportPage, Info, Key, Lease, Page, PageRequest, Record,
    StepReport,
};
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::plan::Plan;
use hakiri_core::step::StepRecord;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// Its arguments, as Rust shows them.
    pub arguments: String,
    /// Its result, as Rust shows it.
    pub result: String,
}

/// A catalog that remembers what it was asked and what it answered, in the order of the answers. Clones share the list.
#[derive(Debug, Clone)]
pub struct Recording {
    inner: Arc<dyn Catalog>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Recording {
    /// Records the calls to a catalog.
    pub fn new(inner: Arc<dyn Catalog>) -> Self {
        Self { inner, calls: Arc::default() }
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note<T: std::fmt::Debug>(
        &self,
        method: &'static str,
        arguments: String,
        result: CatalogResult<T>,
    ) -> CatalogResult<T> {
        let call = Call { method, arguments, result: format!("{result:?}") };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        result
    }
}

#[async_trait]
impl Catalog for Recording {
    async fn acquire(&self, pipeline: &PipelineId, run: &RunId, ttl_ms: i64) -> CatalogResult<Lease> {
        let result = self.inner.acquire(pipeline, run, ttl_ms).await;
        self.note("acquire", format!("{pipeline} {run} {ttl_ms}"), result)
    }

    async fn renew(&self, pipeline: &PipelineId, run: &RunId, epoch: u64, ttl_ms: i64) -> CatalogResult<Lease> {
        let result = self.inner.renew(pipeline, run, epoch, ttl_ms).await;
        self.note("renew", format!("{pipeline} {run} {epoch} {ttl_ms}"), result)
    }

    async fn put_plan(&self, plan: &Plan, epoch: u64) -> CatalogResult<Plan> {
        let result = self.inner.put_plan(plan, epoch).await;
        self.note("put_plan", format!("{plan:?} {epoch}"), result)
    }

    async fn claim_step(
        &self,
        pipeline: &PipelineId,
        run: &RunId,
        epoch: u64,
        step: u32,
        worker: &str,
        ttl_ms: i64,
    ) -> CatalogResult<Claim> {
        let result = self.inner.claim_step(pipeline, run, epoch, step, worker, ttl_ms).await;
        self.note("claim_step", format!("{pipeline} {run} {epoch} {step} {worker} {ttl_ms}"), result)
    }

    async fn report_step(&self, report: &StepReport) -> CatalogResult<StepRecord> {
        let result = self.inner.report_step(report).await;
        self.note("report_step", format!("{report:?}"), result)
    }

    async fn commit(&self, commit: &Commit) -> CatalogResult<Committed> {
        let result = self.inner.commit(commit).await;
        self.note("commit", format!("{commit:?}"), result)
    }

    async fn get(&self, key: &Key) -> CatalogResult<Option<Record>> {
        let result = self.inner.get(key).await;
        self.note("get", format!("{key:?}"), result)
    }

    async fn list(&self, page: &PageRequest) -> CatalogResult<Page> {
        let result = self.inner.list(page).await;
        self.note("list", format!("{page:?}"), result)
    }

    async fn append(&self, record: &Record, key: Option<&Key>) -> CatalogResult<()> {
        let result = self.inner.append(record, key).await;
        self.note("append", format!("{record:?} {key:?}"), result)
    }

    async fn export(&self, after: Option<&Key>) -> CatalogResult<ExportPage> {
        let result = self.inner.export(after).await;
        self.note("export", format!("{after:?}"), result)
    }

    async fn import(&self, page: &ExportPage) -> CatalogResult<()> {
        let result = self.inner.import(page).await;
        self.note("import", format!("{page:?}"), result)
    }

    async fn info(&self) -> CatalogResult<Info> {
        let result = self.inner.info().await;
        self.note("info", String::new(), result)
    }
}
