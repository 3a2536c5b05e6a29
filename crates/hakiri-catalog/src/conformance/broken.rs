//! Catalogs that are broken on purpose, each in one clause: the suite is worth as much as it notices them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hakiri_core::catalog::{
    Catalog, CatalogError, CatalogResult, Claim, Commit, Committed, ExportPage, Head, Info, Key, Kind, Lease, Page,
    PageRequest, Record, RunStatus, StepReport,
};
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::plan::Plan;
use hakiri_core::step::{StepRecord, StepStatus};

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// C1: a head is read from a cache.
    StaleReads,
    /// C2: a commit's schema versions are taken as the next ones, whatever their number.
    RenumberedSchemas,
    /// C3: whoever comes with a stale epoch is let through.
    StaleEpochAccepted,
    /// C3: the next holder is told the epoch of the one before.
    EpochNotRaised,
    /// C3: a live lease is given to whoever asks.
    LiveLeaseTaken,
    /// C4: the head is not compared.
    SeqIgnored,
    /// C4: only a part of the tables is committed.
    HalfApplied,
    /// C4: a refused commit leaves its schemas behind.
    LeftoversOfRefusal,
    /// C5: a repeated commit makes another number.
    SecondNumber,
    /// C6: two workers get one claim.
    SharedClaim,
    /// C6: the second result of a step wins.
    LastResultWins,
    /// C7: a report is acknowledged and lost.
    LostReport,
    /// C9: an import leaves out what is there already, also when it differs.
    SilentImport,
    /// C10: a listing is cut off without saying so.
    CutListing,
}

impl Defect {
    /// All of them with the clause (the cases' id, in lower case) that each is against.
    pub const ALL: [(Defect, &'static str); 14] = [
        (Defect::StaleReads, "c1"),
        (Defect::RenumberedSchemas, "c2"),
        (Defect::StaleEpochAccepted, "c3"),
        (Defect::EpochNotRaised, "c3"),
        (Defect::LiveLeaseTaken, "c3"),
        (Defect::SeqIgnored, "c4"),
        (Defect::HalfApplied, "c4"),
        (Defect::LeftoversOfRefusal, "c4"),
        (Defect::SecondNumber, "c5"),
        (Defect::SharedClaim, "c6"),
        (Defect::LastResultWins, "c6"),
        (Defect::LostReport, "c7"),
        (Defect::SilentImport, "c9"),
        (Defect::CutListing, "c10"),
    ];
}

/// A catalog with one defect.
#[derive(Debug)]
pub struct Broken {
    inner: Arc<dyn Catalog>,
    defect: Defect,
    cache: Mutex<BTreeMap<Key, Record>>,
}

impl Broken {
    /// Breaks a catalog.
    pub fn new(inner: Arc<dyn Catalog>, defect: Defect) -> Self {
        Self { inner, defect, cache: Mutex::default() }
    }

    async fn head(&self, pipeline: &PipelineId) -> Head {
        match self.inner.get(&Key::head(pipeline)).await {
            Ok(Some(Record::Head(head))) => head,
            _ => Head::new(pipeline.clone()),
        }
    }

    /// The run and epoch that the inner catalog will accept.
    async fn let_in(&self, pipeline: &PipelineId, run: &RunId, epoch: u64) -> (RunId, u64) {
        if !matches!(self.defect, Defect::StaleEpochAccepted | Defect::EpochNotRaised) {
            return (run.clone(), epoch);
        }
        let head = self.head(pipeline).await;
        (head.lease.map_or_else(|| run.clone(), |l| l.run), head.epoch)
    }

    async fn break_commit(&self, commit: &Commit) -> Commit {
        let mut commit = commit.clone();
        if let Commit::Run { pipeline, run, epoch, expected_seq, tables, .. } = &mut commit {
            match self.defect {
                Defect::StaleEpochAccepted | Defect::EpochNotRaised => {
                    let newest = self.head(pipeline).await.epoch;
                    if *epoch != newest
                        && let Ok(lease) = self.inner.acquire(pipeline, run, 60_000).await
                    {
                        *epoch = lease.epoch;
                    }
                }
                Defect::SeqIgnored => *expected_seq = self.head(pipeline).await.seq,
                Defect::HalfApplied => tables.truncate(1),
                Defect::RenumberedSchemas => {
                    for table in tables {
                        let prefix = vec![pipeline.to_string(), table.table.to_string()];
                        let page =
                            PageRequest { kind: Kind::Schema, prefix, after: None, limit: 1000, newest_first: false };
                        let known = self.inner.list(&page).await.map_or(0, |p| p.entries.len() as u64);
                        if let Some(schema) = &mut table.head.schema {
                            schema.version = known + 1;
                        }
                    }
                }
                _ => {}
            }
        }
        commit
    }
}

#[async_trait]
impl Catalog for Broken {
    async fn acquire(&self, pipeline: &PipelineId, run: &RunId, ttl_ms: i64) -> CatalogResult<Lease> {
        let before = self.head(pipeline).await.epoch;
        match self.inner.acquire(pipeline, run, ttl_ms).await {
            Ok(lease) if self.defect == Defect::EpochNotRaised => Ok(Lease { epoch: before.max(1), ..lease }),
            Err(CatalogError::Held { until, .. }) if self.defect == Defect::LiveLeaseTaken => {
                Ok(Lease { run: run.clone(), epoch: before + 1, expires: until })
            }
            other => other,
        }
    }

    async fn renew(&self, pipeline: &PipelineId, run: &RunId, epoch: u64, ttl_ms: i64) -> CatalogResult<Lease> {
        let (run, epoch) = self.let_in(pipeline, run, epoch).await;
        self.inner.renew(pipeline, &run, epoch, ttl_ms).await
    }

    async fn put_plan(&self, plan: &Plan, epoch: u64) -> CatalogResult<Plan> {
        let (_, epoch) = self.let_in(&plan.pipeline, &plan.run, epoch).await;
        self.inner.put_plan(plan, epoch).await
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
        let (_, epoch) = self.let_in(pipeline, run, epoch).await;
        match self.inner.claim_step(pipeline, run, epoch, step, worker, ttl_ms).await {
            Ok(Claim::Later { until }) if self.defect == Defect::SharedClaim => {
                let status = StepStatus::Claimed { worker: worker.to_owned(), until };
                Ok(Claim::Yours { record: StepRecord { status, ..StepRecord::new(step) }, died: false })
            }
            other => other,
        }
    }

    async fn report_step(&self, report: &StepReport) -> CatalogResult<StepRecord> {
        if self.defect == Defect::LostReport {
            return Ok(report.record.clone());
        }
        let (_, epoch) = self.let_in(&report.pipeline, &report.run, report.epoch).await;
        let stored = self.inner.report_step(&StepReport { epoch, ..report.clone() }).await?;
        Ok(if self.defect == Defect::LastResultWins && report.record.status.is_final() {
            report.record.clone()
        } else {
            stored
        })
    }

    async fn commit(&self, commit: &Commit) -> CatalogResult<Committed> {
        if let Commit::Run { pipeline, run, .. } = commit
            && self.defect == Defect::SecondNumber
            && let Some(Record::Run(record)) = self.inner.get(&Key::run(pipeline, run)).await?
            && record.report.status != RunStatus::Running
        {
            let head = self.head(pipeline).await;
            let again = Commit::State {
                pipeline: pipeline.clone(),
                expected_seq: head.seq,
                tables: BTreeMap::new(),
                unnamed: Vec::new(),
                reason: "again".to_owned(),
            };
            return Ok(Committed { run: Some(record), ..self.inner.commit(&again).await? });
        }
        let result = self.inner.commit(&self.break_commit(commit).await).await;
        if let (Err(_), Commit::Run { pipeline, tables, .. }, Defect::LeftoversOfRefusal) =
            (&result, commit, self.defect)
        {
            let schema = |t: &hakiri_core::catalog::TableCommit| {
                t.head.schema.clone().map(|s| (Key::schema(pipeline, &t.table, s.version), Record::Schema(s)))
            };
            let entries = tables.iter().filter_map(schema).collect();
            let _ = self.inner.import(&ExportPage { entries, next: None }).await;
        }
        result
    }

    async fn get(&self, key: &Key) -> CatalogResult<Option<Record>> {
        let record = self.inner.get(key).await?;
        match record {
            Some(record) if self.defect == Defect::StaleReads && key.kind == Kind::Head => {
                Ok(Some(self.cache.lock().unwrap().entry(key.clone()).or_insert(record).clone()))
            }
            other => Ok(other),
        }
    }

    async fn list(&self, page: &PageRequest) -> CatalogResult<Page> {
        let mut listed = self.inner.list(page).await?;
        if self.defect == Defect::CutListing {
            listed.entries.truncate(100);
            listed.more = false;
        }
        Ok(listed)
    }

    async fn append(&self, record: &Record, key: Option<&Key>) -> CatalogResult<()> {
        self.inner.append(record, key).await
    }

    async fn export(&self, after: Option<&Key>) -> CatalogResult<ExportPage> {
        self.inner.export(after).await
    }

    async fn import(&self, page: &ExportPage) -> CatalogResult<()> {
        match self.inner.import(page).await {
            Err(CatalogError::Conflict(_)) if self.defect == Defect::SilentImport => Ok(()),
            other => other,
        }
    }

    async fn info(&self) -> CatalogResult<Info> {
        self.inner.info().await
    }
}
