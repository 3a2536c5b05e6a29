//! `commit`: one atomic commit of what succeeded, and what becomes visible with it.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _, stream};
use hakiri_core::canonical::to_canonical_json;
use hakiri_core::catalog::{
    Commit, Kind, PageRequest, Record, RunReport, RunStatus, TableCommit, TableHead, TableReport, next_schema_version,
};
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::error::Failure;
use hakiri_core::hash::Hash;
use hakiri_core::id::{RunId, TableName};
use hakiri_core::manifest::{CursorRange, FORMAT, FileRef, Part, Subject, TableManifest};
use hakiri_core::ops::{AfterCommit, CommitRequest};
use hakiri_core::plan::{Plan, PlannedStep, PlannedTable};
use hakiri_core::retry::stop_at;
use hakiri_core::schema::{Schema, SchemaVersion, join_schemas};
use hakiri_core::step::{StepResult, StepStatus, TableResult};
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result, layout};
use tracing::Instrument as _;

use super::{load_plan, load_run, load_step};
use crate::Engine;

/// An opaque cursor above this many bytes lies in the store, so that the head stays small (C10).
const MAX_INLINE_CURSOR: usize = 4 * 1024;
/// How many results of steps are read at once: a run may have thousands, and each takes two round trips.
const AT_ONCE: usize = 16;

/// What the steps of a run gave for one table.
#[derive(Debug, Default)]
struct Gathered {
    results: Vec<TableResult>,
    failure: Option<Failure>,
}

impl Engine {
    /// Commits a run whose steps have all ended: the tables that succeeded, or none (E3). Repeating it is harmless (C5).
    ///
    /// # Errors
    /// Any catalog or store error; `HK0201` while a step is still open.
    pub async fn commit(&self, request: &CommitRequest) -> Result<AfterCommit> {
        let span = tracing::info_span!("commit", pipeline = %request.pipeline, run = %request.run);
        let stop = request.deadline.map(|deadline| stop_at(self.clock.now(), deadline));
        let answer = tokio::select! {
            answer = self.commit_inside(request).instrument(span) => answer,
            () = self.time_is_up(request, stop) => Ok(AfterCommit::Wait { seconds: 1 }),
        };
        super::trace("commit", &request.pipeline, Some(&request.run), None, &answer);
        answer
    }

    /// Keeps the run's lease until it is time to stop. What a commit was stopped in is done again by the next call, or was
    /// done already, which that one sees (C5).
    async fn time_is_up(&self, request: &CommitRequest, stop: Option<Instant>) {
        let ttl = self.settings.lease_ttl_ms;
        let mut beat = self.clock.now().plus_millis(ttl / 3);
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let now = self.clock.now();
            let over = stop.is_some_and(|stop| now >= stop);
            if over || now >= beat {
                beat = now.plus_millis(ttl / 3);
                // Whoever lost the lease meanwhile hears so from the commit itself.
                let _ = self.catalog.renew(&request.pipeline, &request.run, request.epoch, ttl + 1_000).await;
            }
            if over {
                return;
            }
        }
    }

    async fn commit_inside(&self, request: &CommitRequest) -> Result<AfterCommit> {
        if let Some(record) = load_run(&*self.catalog, &request.pipeline, &request.run).await?
            && record.report.status != RunStatus::Running
        {
            let full = load_plan(&*self.catalog, &request.pipeline, &request.run).await.is_ok_and(|plan| plan.full);
            self.publish_despite(&self.head(&request.pipeline).await?, &|_, table| full || table.anew).await?;
            self.forget_steps(&request.run).await?;
            return Ok(AfterCommit::Begin { report: record.report });
        }
        let plan = load_plan(&*self.catalog, &request.pipeline, &request.run).await?;
        self.catalog.renew(&plan.pipeline, &plan.run, request.epoch, self.settings.lease_ttl_ms).await?;
        let gathered = self.gather(&plan).await?;
        let seq = plan.base_seq + 1;
        let mut tables = Vec::new();
        let mut reports = Vec::new();
        for table in distinct_tables(&plan) {
            let empty = Gathered::default();
            let of_table = gathered.get(&table.table).unwrap_or(&empty);
            let outcome = match &of_table.failure {
                Some(failure) => Err(failure.clone()),
                None => self.table_commit(&plan, table, of_table, seq).await?,
            };
            match outcome {
                Ok((commit, report)) => {
                    tables.extend(commit);
                    reports.push(report);
                }
                Err(failure) => reports.push(failed(&table.table, failure)),
            }
        }
        let failures = reports.iter().filter(|r| r.failure.is_some()).count();
        let status = match (failures, reports.len()) {
            (0, _) => RunStatus::Succeeded,
            (n, all) if n == all => RunStatus::Failed,
            _ => RunStatus::Partial,
        };
        let started =
            load_run(&*self.catalog, &plan.pipeline, &plan.run).await?.map_or(plan.tick, |r| r.report.started);
        let report = RunReport {
            pipeline: plan.pipeline.clone(),
            run: plan.run.clone(),
            tick: plan.tick,
            seq: None,
            status,
            started,
            ended: None,
            tables: reports,
        };
        let committed = self
            .catalog
            .commit(&Commit::Run {
                pipeline: plan.pipeline.clone(),
                run: plan.run.clone(),
                epoch: request.epoch,
                expected_seq: plan.base_seq,
                tables,
                report,
                scheduled: plan.scheduled,
                new_generation: plan.full,
            })
            .await?;
        if let Some(record) = &committed.run {
            self.events.run_ended(&record.report);
        }
        // A full run repairs what it reaches; what it does not reach must not hide that, nor what is no longer read.
        let planned: Vec<&TableName> = distinct_tables(&plan).into_iter().map(|t| &t.table).collect();
        let lost = |name: &TableName, table: &TableHead| plan.full || table.anew || !planned.contains(&name);
        self.publish_despite(&committed.head, &lost).await?;
        self.forget_steps(&plan.run).await?;
        let record =
            committed.run.ok_or_else(|| Error::new(Code::Internal, "the catalog committed a run without a record"))?;
        Ok(AfterCommit::Begin { report: record.report })
    }

    /// The results of steps are dead once their run is committed. What a crash leaves here is `gc`'s.
    async fn forget_steps(&self, run: &RunId) -> Result<()> {
        for file in self.store.list(&format!("{}/{run}", layout::STEPS)).await? {
            self.store.delete(&file.path).await?;
        }
        Ok(())
    }

    /// The results of all steps, by table and in the order of the steps.
    async fn gather(&self, plan: &Plan) -> Result<BTreeMap<TableName, Gathered>> {
        let mut tables: BTreeMap<TableName, Gathered> = BTreeMap::new();
        let waiting: Vec<_> = plan.steps.iter().map(|step| self.ended(plan, step).boxed()).collect();
        let mut ended = stream::iter(waiting).buffered(AT_ONCE);
        for step in &plan.steps {
            let Some(outcome) = ended.next().await else { break };
            match outcome? {
                Ok(result) => {
                    for table in result.tables {
                        tables.entry(table.table.clone()).or_default().results.push(table);
                    }
                }
                Err(failure) => {
                    for table in &step.tables {
                        tables.entry(table.table.clone()).or_default().failure.get_or_insert_with(|| failure.clone());
                    }
                }
            }
        }
        Ok(tables)
    }

    /// What a step came to. `Err` inside is the step's failure, outside the operation's.
    async fn ended(&self, plan: &Plan, step: &PlannedStep) -> Result<Result<StepResult, Failure>> {
        match load_step(&*self.catalog, plan, step.index).await?.status {
            StepStatus::Done { result } => match self.store.get_verified(&result).await {
                Ok(bytes) => serde_json::from_slice(&bytes)
                    .map(Ok)
                    .map_err(|e| Error::new(Code::StoreDamaged, format!("{}: {e}", result.path))),
                // The step cannot be done again (C6): the next run reads its tables again.
                Err(e) if matches!(e.code(), Code::StoreMissing | Code::StoreDamaged) => Ok(Err(e.to_failure())),
                Err(e) => Err(e),
            },
            StepStatus::Failed { failure } => Ok(Err(failure)),
            StepStatus::Pending { .. } | StepStatus::Claimed { .. } => {
                Err(Error::new(Code::CatalogConflict, format!("step {} of {} has not ended", step.index, plan.run)))
            }
        }
    }

    /// The manifest and the new head of one table. `Err` inside is a failure of the table, outside one of the operation.
    async fn table_commit(
        &self,
        plan: &Plan,
        table: &PlannedTable,
        gathered: &Gathered,
        seq: u64,
    ) -> Result<Result<(Option<TableCommit>, TableReport), Failure>> {
        let schema = match joined_schema(table, &gathered.results) {
            Ok(schema) => schema,
            Err(e) => return Ok(Err(e.to_failure())),
        };
        let parts: Vec<Part> = gathered.results.iter().flat_map(|r| r.parts.iter().cloned()).collect();
        let rows = parts.iter().map(|p| p.rows).sum();
        let after = gathered.results.iter().rev().find_map(|r| r.cursor_after.clone());
        let after = self.stored_cursor(plan, table, after.or_else(|| table.cursor_before.clone())).await?;
        let version = next_schema_version(self.latest_schema(plan, table).await?.as_ref(), schema)?;
        let changed = table.schema.as_ref().is_none_or(|s| s.version != version.version).then_some(version.version);

        // A run that adds nothing moves the cursor and leaves no manifest: an idle pipeline writes no files.
        let adds_nothing = parts.is_empty() && changed.is_none() && table.previous.is_some();
        let manifest = if adds_nothing {
            table.previous.clone()
        } else {
            let manifest = TableManifest {
                format: FORMAT,
                project: plan.project.clone(),
                pipeline: plan.pipeline.clone(),
                table: table.table.clone(),
                subject: Subject::Run {
                    run: plan.run.clone(),
                    tick: plan.tick,
                    window: table.window.clone(),
                    cursor: CursorRange { before: table.cursor_before.clone(), after: after.clone() },
                },
                seq,
                generation: plan.generation,
                merge: table.merge.clone(),
                schema: version.clone(),
                rows,
                parts: parts.clone(),
                previous: table.previous.clone(),
            };
            Some(self.put_manifest(&layout::run(&table.table, &plan.run), &manifest).await?)
        };
        let old = self.head(&plan.pipeline).await?.tables.remove(&table.table);
        let unnamed = match (&table.previous, &old) {
            (None, Some(TableHead { manifest: Some(left), .. })) if Some(left) != manifest.as_ref() => {
                Some(left.clone())
            }
            _ => None,
        };
        let head = TableHead {
            source_table: table.source_table.clone(),
            cursor: after.clone(),
            manifest,
            manifest_seq: seq,
            snapshot: old.filter(|_| table.previous.is_some()).and_then(|t| t.snapshot),
            schema: Some(version),
            merge: table.merge.clone(),
            anew: false,
        };
        let report = TableReport {
            table: table.table.clone(),
            read: gathered.results.iter().map(|r| r.read).sum(),
            rows,
            rejected: gathered.results.iter().map(|r| r.rejected).sum(),
            samples: gathered.results.iter().flat_map(|r| r.samples.iter().cloned()).take(5).collect(),
            parts: parts.len() as u64,
            bytes: parts.iter().map(|p| p.bytes).sum(),
            schema_changed: changed,
            cursor: after,
            failure: None,
        };
        Ok(Ok((Some(TableCommit { table: table.table.clone(), head, unnamed }), report)))
    }

    /// The last version of a table's schema there ever was: the history goes on over resets, drops and `--full` (C2).
    async fn latest_schema(&self, plan: &Plan, table: &PlannedTable) -> Result<Option<SchemaVersion>> {
        let prefix = vec![plan.pipeline.to_string(), table.table.to_string()];
        let page = PageRequest { kind: Kind::Schema, prefix, after: None, limit: 1, newest_first: true };
        Ok(self.catalog.list(&page).await?.entries.into_iter().find_map(|(_, record)| match record {
            Record::Schema(version) => Some(version),
            _ => None,
        }))
    }

    pub(crate) async fn put_manifest(&self, folder: &str, manifest: &TableManifest) -> Result<FileRef> {
        let bytes = to_canonical_json(manifest)?;
        self.store.put_new(&layout::manifest(folder, &Hash::of(&bytes)), bytes.into()).await
    }

    /// Moves a large opaque cursor into the store.
    async fn stored_cursor(&self, plan: &Plan, table: &PlannedTable, cursor: Option<Cursor>) -> Result<Option<Cursor>> {
        match cursor {
            Some(Cursor::Opaque { value }) if value.len() > MAX_INLINE_CURSOR => {
                let path = layout::cursor(&table.table, &plan.run, &Hash::of(value.as_bytes()));
                let file = self.store.put_new(&path, value.into_bytes().into()).await?;
                Ok(Some(Cursor::Stored { path: file.path, sha256: file.sha256 }))
            }
            other => Ok(other),
        }
    }
}

/// Each table of a plan once, in the plan's order: several steps may write one table.
fn distinct_tables(plan: &Plan) -> Vec<&PlannedTable> {
    let mut seen: Vec<&PlannedTable> = Vec::new();
    for table in plan.steps.iter().flat_map(|s| &s.tables) {
        if !seen.iter().any(|t| t.table == table.table) {
            seen.push(table);
        }
    }
    seen
}

/// The join of the plan's schema and the steps', in step order (S12).
fn joined_schema(table: &PlannedTable, results: &[TableResult]) -> Result<Schema> {
    let start = table.schema.as_ref().map(|s| s.schema.clone()).unwrap_or_default();
    results.iter().try_fold(start, |schema, result| {
        join_schemas(&schema, &result.schema).map_err(|(column, a, b)| {
            Error::new(Code::SchemaType, format!("column `{column}` is {a} in one step and {b} in another"))
        })
    })
}

fn failed(table: &TableName, failure: Failure) -> TableReport {
    TableReport {
        table: table.clone(),
        read: 0,
        rows: 0,
        rejected: 0,
        samples: Vec::new(),
        parts: 0,
        bytes: 0,
        schema_changed: None,
        cursor: None,
        failure: Some(failure),
    }
}
