//! Plans, heads and commits to test with.

use std::collections::BTreeMap;

use hakiri_core::catalog::{
    Catalog, CatalogResult, Claim, Commit, Committed, Head, Key, Kind, Lease, PageRequest, Record, RunRecord,
    RunReport, RunStatus, StepReport, TableCommit, TableHead,
};
use hakiri_core::cursor::Cursor;
use hakiri_core::hash::Hash;
use hakiri_core::id::{PipelineId, RunId, TableName};
use hakiri_core::manifest::{FileRef, Merge};
use hakiri_core::plan::{Plan, PlannedStep};
use hakiri_core::schema::{Field, Schema, SchemaVersion, Type};
use hakiri_core::spec::{Mode, SourceSpec};
use hakiri_core::step::{StepRecord, StepStatus};
use hakiri_core::time::Instant;
use serde_json::json;

pub fn pipeline() -> PipelineId {
    "crm".parse().unwrap()
}

pub fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

/// The run of the `n`-th tick.
pub fn run(n: i64) -> RunId {
    run_of(&pipeline(), n)
}

pub fn run_of(pipeline: &PipelineId, n: i64) -> RunId {
    RunId::new(&"shop".parse().unwrap(), pipeline, tick(n), 0)
}

pub fn tick(n: i64) -> Instant {
    Instant::from_millis(1_700_000_000_000 + n * 60_000)
}

pub fn file(name: &str) -> FileRef {
    FileRef { path: format!("tables/{name}"), sha256: Hash::of(name.as_bytes()) }
}

/// Version `n` of a schema: `n` columns.
pub fn schema(n: u64) -> SchemaVersion {
    schema_as(n, n, Type::Text)
}

pub fn schema_as(version: u64, columns: u64, ty: Type) -> SchemaVersion {
    let schema = Schema::new((0..columns).map(|i| Field::new(format!("c{i}"), ty.clone())).collect());
    SchemaVersion { version, fingerprint: schema.fingerprint().unwrap(), schema }
}

pub fn table_head(name: &str, seq: u64, version: u64) -> TableHead {
    TableHead {
        source_table: name.to_owned(),
        cursor: Some(Cursor::Integer { value: i64::try_from(seq).unwrap() }),
        manifest: Some(file(&format!("{name}/{seq}"))),
        manifest_seq: seq,
        snapshot: None,
        schema: Some(schema(version)),
        merge: Merge { mode: Mode::Merge, primary_key: vec!["c0".to_owned()], cursor: None, parent: None },
        anew: false,
    }
}

pub fn table_commit(name: &str, seq: u64, version: u64) -> TableCommit {
    TableCommit { table: table(name), head: table_head(name, seq, version), unnamed: None }
}

/// A plan on a head.
pub fn plan(head: &Head, n: i64, steps: u32) -> Plan {
    Plan {
        format: 1,
        made_by: "0.0.0".to_owned(),
        project: "shop".parse().unwrap(),
        pipeline: head.pipeline.clone(),
        run: run_of(&head.pipeline, n),
        tick: tick(n),
        generation: head.generation,
        base_seq: head.seq,
        full: false,
        scheduled: true,
        source: SourceSpec { connector: "file".to_owned(), config: json!({ "path": "données/*.csv" }) },
        secrets: Vec::new(),
        concurrency: 4,
        steps: (0..steps)
            .map(|index| PlannedStep {
                index,
                name: format!("step {index}"),
                source: json!({ "n": index }),
                tables: Vec::new(),
            })
            .collect(),
    }
}

pub async fn head(catalog: &dyn Catalog) -> Head {
    head_of(catalog, &pipeline()).await
}

pub async fn head_of(catalog: &dyn Catalog, pipeline: &PipelineId) -> Head {
    match catalog.get(&Key::head(pipeline)).await.unwrap() {
        Some(Record::Head(head)) => head,
        None => Head::new(pipeline.clone()),
        other => panic!("{other:?}"),
    }
}

pub async fn run_record(catalog: &dyn Catalog, n: i64) -> Option<RunRecord> {
    match catalog.get(&Key::run(&pipeline(), &run(n))).await.unwrap() {
        Some(Record::Run(record)) => Some(record),
        None => None,
        other => panic!("{other:?}"),
    }
}

pub async fn step_record(catalog: &dyn Catalog, n: i64, step: u32) -> StepRecord {
    match catalog.get(&Key::step(&pipeline(), &run(n), step)).await.unwrap() {
        Some(Record::Step(record)) => record,
        other => panic!("{other:?}"),
    }
}

/// Takes the lease for the `n`-th run and plans it.
pub async fn start(catalog: &dyn Catalog, n: i64, steps: u32) -> (Plan, Lease) {
    let lease = catalog.acquire(&pipeline(), &run(n), 60_000).await.unwrap();
    let plan = plan(&head(catalog).await, n, steps);
    let stored = catalog.put_plan(&plan, lease.epoch).await.unwrap();
    assert_eq!(stored, plan);
    (plan, lease)
}

/// The commit of a planned run.
pub fn commit_of(plan: &Plan, epoch: u64, tables: Vec<TableCommit>) -> Commit {
    let status = if tables.is_empty() { RunStatus::Failed } else { RunStatus::Succeeded };
    Commit::Run {
        pipeline: plan.pipeline.clone(),
        run: plan.run.clone(),
        epoch,
        expected_seq: plan.base_seq,
        tables,
        report: RunReport {
            pipeline: plan.pipeline.clone(),
            run: plan.run.clone(),
            tick: plan.tick,
            seq: None,
            status,
            started: Instant::from_millis(0),
            ended: None,
            tables: Vec::new(),
        },
        scheduled: plan.scheduled,
        new_generation: plan.full,
    }
}

/// The commit of a planned run with table `crm_a` at some schema version.
pub fn commit_a(plan: &Plan, epoch: u64, version: u64) -> Commit {
    commit_of(plan, epoch, vec![table_commit("crm_a", plan.base_seq + 1, version)])
}

/// A whole run that commits `crm_a` at some schema version.
pub async fn whole(catalog: &dyn Catalog, n: i64, version: u64) -> CatalogResult<Committed> {
    let (plan, lease) = start(catalog, n, 1).await;
    catalog.commit(&commit_a(&plan, lease.epoch, version)).await
}

pub fn state(head: &Head, tables: BTreeMap<TableName, Option<TableHead>>) -> Commit {
    Commit::State {
        pipeline: head.pipeline.clone(),
        expected_seq: head.seq,
        tables,
        unnamed: Vec::new(),
        reason: "by hand".to_owned(),
    }
}

pub async fn claim(catalog: &dyn Catalog, n: i64, epoch: u64, step: u32, worker: &str) -> CatalogResult<Claim> {
    catalog.claim_step(&pipeline(), &run(n), epoch, step, worker, 60_000).await
}

/// What a worker says of a step it claimed.
pub fn says(n: i64, epoch: u64, worker: &str, record: StepRecord) -> StepReport {
    StepReport { pipeline: pipeline(), run: run(n), epoch, worker: worker.to_owned(), record }
}

pub fn done(step: u32, name: &str) -> StepRecord {
    StepRecord { status: StepStatus::Done { result: file(name) }, ..StepRecord::new(step) }
}

pub fn working(step: u32, worker: &str, until: i64) -> StepRecord {
    StepRecord {
        status: StepStatus::Claimed { worker: worker.to_owned(), until: Instant::from_millis(until) },
        ..StepRecord::new(step)
    }
}

pub async fn list(catalog: &dyn Catalog, kind: Kind, prefix: &[&str]) -> Vec<(Key, Record)> {
    let mut entries: Vec<(Key, Record)> = Vec::new();
    loop {
        let after = entries.last().map(|(key, _)| key.clone());
        let prefix = prefix.iter().map(|p| (*p).to_owned()).collect();
        let page = catalog.list(&PageRequest { kind, prefix, after, limit: 1000, newest_first: false }).await.unwrap();
        entries.extend(page.entries);
        if !page.more {
            return entries;
        }
    }
}

/// Everything in a catalog.
pub async fn dump(catalog: &dyn Catalog) -> Vec<(Key, Record)> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.export(after.as_ref()).await.unwrap();
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return entries;
        }
    }
}
