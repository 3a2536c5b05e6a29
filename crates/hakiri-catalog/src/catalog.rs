//! The port, implemented once over [`Records`].

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use hakiri_core::catalog::{
    Catalog, CatalogError, CatalogResult, Claim, Commit, Committed, ExportPage, Info, Key, Kind, Lease, Page,
    PageRequest, Record, StepReport,
};
use hakiri_core::id::{PipelineId, RunId};
use hakiri_core::plan::Plan;
use hakiri_core::step::StepRecord;

use crate::key;
use crate::records::{Batch, Records, Scan, Scanned, Version, Written};
use crate::rules::{self, Ask, Decision, View};
use crate::stored;

/// How often a decision is taken anew when other writers are faster, before the caller hears of it.
const ATTEMPTS: u32 = 100;

/// The most entries of a page, whatever is asked for (C10).
const PAGE: usize = 1000;

/// A catalog over some records.
#[derive(Debug, Clone)]
pub struct RecordCatalog<R> {
    records: R,
}

impl<R: Records> RecordCatalog<R> {
    /// A catalog over these records.
    pub fn new(records: R) -> Self {
        Self { records }
    }

    /// The records.
    pub fn records(&self) -> &R {
        &self.records
    }

    /// Reads what a rule asks for, lets it decide, and writes that if nothing changed in between; else once more.
    async fn transact<T, M, F>(&self, ask: &Ask, more: M, decide: F) -> CatalogResult<T>
    where
        M: Fn(&View) -> Vec<Key> + Send + Sync,
        F: Fn(&View) -> CatalogResult<Decision<T>> + Send + Sync,
        T: Send,
    {
        for attempt in 0..ATTEMPTS {
            // At once at first; later with growing pauses, so that many writers do not starve one.
            if attempt > 2 {
                tokio::time::sleep(Duration::from_millis(u64::from(attempt.min(25)))).await;
            }
            let mut seen = Seen::default();
            for (kind, prefix) in &ask.last {
                let scan = Scan::new(&key::prefix(*kind, prefix), None, 1, true);
                if let Some((text, _)) = self.records.scan(&scan).await?.entries.first() {
                    seen.last.insert((*kind, prefix.clone()), known_key(text)?);
                }
            }
            let mut view = self.see(&mut seen, &ask.keys).await?;
            let further = more(&view);
            if !further.is_empty() {
                view = self.see(&mut seen, &further).await?;
            }
            let decision = decide(&view)?;
            if decision.put.is_empty() && decision.delete.is_empty() {
                return Ok(decision.answer);
            }
            if self.records.write(&batch(&seen, &decision)?).await? == Written::Done {
                return Ok(decision.answer);
            }
        }
        Err(CatalogError::Conflict("too many writers at once".to_owned()))
    }

    /// Reads records into a view of all that was seen so far. Two reads of one decision may be of two moments; the
    /// write that expects both to be unchanged makes them one.
    async fn see(&self, seen: &mut Seen, keys: &[Key]) -> CatalogResult<View> {
        let texts: Vec<String> = keys.iter().map(key::encode).collect();
        let moment = self.records.read(&texts).await?;
        if moment.entries.len() != keys.len() {
            return Err(CatalogError::Corrupt("the catalog answered with the wrong number of records".to_owned()));
        }
        for ((key, text), entry) in keys.iter().zip(texts).zip(moment.entries) {
            seen.versions.insert(text, entry.as_ref().map(|e| e.version));
            if let Some(entry) = entry {
                seen.records.insert(key.clone(), stored::decode(key, &entry.text)?);
            }
        }
        Ok(View { now: moment.now, records: seen.records.clone(), last: seen.last.clone() })
    }

    async fn simple<T, F>(&self, ask: &Ask, decide: F) -> CatalogResult<T>
    where
        F: Fn(&View) -> CatalogResult<Decision<T>> + Send + Sync,
        T: Send,
    {
        self.transact(ask, |_| Vec::new(), decide).await
    }

    /// Creates records in as many batches as the backend needs.
    async fn create(&self, records: &[(Key, Record)]) -> CatalogResult<()> {
        for chunk in records.chunks(self.records.max_batch().clamp(1, PAGE)) {
            let ask = Ask::keys(chunk.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
            self.simple(&ask, |view| rules::append::create(view, chunk.iter().cloned())).await?;
        }
        Ok(())
    }

    async fn page(&self, scan: &Scan) -> CatalogResult<Page> {
        let Scanned { entries, more } = self.records.scan(scan).await?;
        let entries = entries
            .into_iter()
            .map(|(text, record)| {
                let key = known_key(&text)?;
                let record = stored::decode(&key, &record)?.record;
                Ok((key, record))
            })
            .collect::<CatalogResult<_>>()?;
        Ok(Page { entries, more })
    }
}

/// What one decision was taken on.
#[derive(Debug, Default)]
struct Seen {
    versions: BTreeMap<String, Option<Version>>,
    records: BTreeMap<Key, stored::Stored>,
    last: BTreeMap<(Kind, Vec<String>), Key>,
}

/// The write of a decision: everything seen is expected to be unchanged, and what was not seen must not exist.
fn batch<T>(seen: &Seen, decision: &Decision<T>) -> CatalogResult<Batch> {
    let mut batch = Batch { expect: seen.versions.iter().map(|(k, v)| (k.clone(), *v)).collect(), ..Batch::default() };
    for (key, record) in &decision.put {
        let text = key::encode(key);
        if !seen.versions.contains_key(&text) {
            batch.expect.push((text.clone(), None));
        }
        batch.put.push((text, stored::encode(record)?));
    }
    batch.delete = decision.delete.iter().map(key::encode).collect();
    Ok(batch)
}

fn known_key(text: &str) -> CatalogResult<Key> {
    key::decode(text).ok_or_else(|| CatalogError::Corrupt("the catalog holds a record under an unknown key".to_owned()))
}

#[async_trait]
impl<R: Records> Catalog for RecordCatalog<R> {
    async fn acquire(&self, pipeline: &PipelineId, run: &RunId, ttl_ms: i64) -> CatalogResult<Lease> {
        self.simple(&rules::lease::ask(pipeline, run), |view| rules::lease::acquire(view, pipeline, run, ttl_ms)).await
    }

    async fn renew(&self, pipeline: &PipelineId, run: &RunId, epoch: u64, ttl_ms: i64) -> CatalogResult<Lease> {
        let ask = Ask::keys([Key::head(pipeline)]);
        self.simple(&ask, |view| rules::lease::renew(view, pipeline, run, epoch, ttl_ms)).await
    }

    async fn put_plan(&self, plan: &Plan, epoch: u64) -> CatalogResult<Plan> {
        let ask = rules::plan::ask(plan);
        let mut steps = rules::plan::steps(plan);
        if steps.len() + ask.keys.len() > self.records.max_batch() {
            // Step records first: once the plan is there, all of its steps are. Those of a plan that then loses lie
            // idle, since nothing can be claimed of a run without a plan.
            self.simple(&ask, |view| rules::plan::put(view, plan, epoch, &[]).map(|d| Decision::nothing(d.answer)))
                .await?;
            for chunk in steps.chunks(self.records.max_batch().max(1)) {
                let keys = Ask::keys(chunk.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
                let missing = |view: &View| {
                    chunk.iter().filter(|(key, _)| view.record(key).is_none()).cloned().collect::<Vec<_>>()
                };
                self.simple(&keys, |view| Ok(Decision::put((), missing(view)))).await?;
            }
            steps.clear();
        }
        self.simple(&ask, |view| rules::plan::put(view, plan, epoch, &steps)).await
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
        let ask = rules::step::ask(pipeline, run, step);
        self.simple(&ask, |view| rules::step::claim(view, pipeline, run, epoch, step, worker, ttl_ms)).await
    }

    async fn report_step(&self, report: &StepReport) -> CatalogResult<StepRecord> {
        let ask = rules::step::ask(&report.pipeline, &report.run, report.record.step);
        self.simple(&ask, |view| rules::step::report(view, report)).await
    }

    async fn commit(&self, commit: &Commit) -> CatalogResult<Committed> {
        if let Commit::Forget { pipeline, keys } = commit {
            // Deleting is idempotent, so that many keys may go in several batches.
            let mut done = None;
            for chunk in keys.chunks(self.records.max_batch().saturating_sub(1).clamp(1, PAGE)) {
                let part = Commit::Forget { pipeline: pipeline.clone(), keys: chunk.to_vec() };
                done = Some(self.simple(&rules::commit::ask(&part), |view| rules::commit::decide(view, &part)).await?);
            }
            if let Some(done) = done {
                return Ok(done);
            }
        }
        let more = |view: &View| rules::commit::ask_more(commit, view);
        self.transact(&rules::commit::ask(commit), more, |view| rules::commit::decide(view, commit)).await
    }

    async fn get(&self, key: &Key) -> CatalogResult<Option<Record>> {
        let mut view = self.see(&mut Seen::default(), std::slice::from_ref(key)).await?;
        Ok(view.records.remove(key).map(|s| s.record))
    }

    async fn list(&self, page: &PageRequest) -> CatalogResult<Page> {
        let after = page.after.as_ref().map(key::encode);
        let prefix = key::prefix(page.kind, &page.prefix);
        self.page(&Scan::new(&prefix, after.as_deref(), page.limit.clamp(1, PAGE), page.newest_first)).await
    }

    async fn append(&self, record: &Record, key: Option<&Key>) -> CatalogResult<()> {
        let ask = rules::append::ask(record, key)?;
        self.simple(&ask, |view| rules::append::append(view, record, key)).await
    }

    async fn export(&self, after: Option<&Key>) -> CatalogResult<ExportPage> {
        let after = after.map(key::encode);
        let Page { entries, more } = self.page(&Scan::new("", after.as_deref(), PAGE, false)).await?;
        let next = if more { entries.last().map(|(key, _)| key.clone()) } else { None };
        Ok(ExportPage { entries, next })
    }

    async fn import(&self, page: &ExportPage) -> CatalogResult<()> {
        self.create(&page.entries).await
    }

    async fn info(&self) -> CatalogResult<Info> {
        self.records.info().await
    }
}
