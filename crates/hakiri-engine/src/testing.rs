//! For tests: an engine on a catalog in memory and a store in a temporary folder, and a source that gives what it is
//! told to. Runs go the whole way, from `begin` to `commit`.

#![allow(clippy::disallowed_methods)] // makes the folder for temporary files

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{LargeStringArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hakiri_core::Result;
use hakiri_core::catalog::RunReport;
use hakiri_core::cursor::CursorKind;
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::manifest::{FileRef, Part};
use hakiri_core::ops::{BeginRequest, Manual};
use hakiri_core::plan::PlannedStep;
use hakiri_core::schema::{RUN_COLUMN, Schema};
use hakiri_core::secret::Secrets;
use hakiri_core::source::{
    Cancel, Checkpoint, Connector, ConnectorInfo, Connectors, Message, Rows, SourceContext, SourceStep, SourceTable,
    TableRequest,
};
use hakiri_core::spec::{Mode, PipelineSpec, Project, SourceSpec};
use hakiri_core::time::{Clock, Instant, Tick};
use hakiri_core::transform::{Transform, Transforms};
use hakiri_core::view::TableView;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::engine::{SecretSource, Silent};
use crate::orchestrate::drive;
use crate::read::views;
use crate::store::Store;
use crate::typing::cast_batch;
use crate::{Engine, Settings};

/// The pipeline that [`Bench`] runs.
pub(crate) const PIPELINE: &str = "shop";
/// A day in milliseconds.
pub(crate) const DAY: i64 = 86_400_000;

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A source of one table, `orders`: key `id`, integer cursor `v`, an array `items` that becomes a child table. Each read
/// gives the next records it was told. Where the table has `types`, it does not know its cursor's kind.
#[derive(Debug, Default)]
pub(crate) struct Scripted(Mutex<VecDeque<Vec<Value>>>, AtomicBool);

#[async_trait]
impl Connector for Scripted {
    async fn discover(&self, _: &SourceContext) -> Result<Vec<SourceTable>> {
        Ok(vec![SourceTable {
            name: "orders".to_owned(),
            primary_key: vec!["id".to_owned()],
            incremental: Some("v".to_owned()),
            cursor_kind: (!self.1.load(Ordering::SeqCst)).then_some(CursorKind::Integer),
            ..SourceTable::default()
        }])
    }

    async fn probe(&self, _: &SourceContext) -> Result<String> {
        Ok(String::new())
    }

    async fn plan(&self, tables: &[TableRequest], _: Tick, _: &SourceContext) -> Result<Vec<SourceStep>> {
        let step = |t: &TableRequest| SourceStep {
            name: t.name.clone(),
            tables: vec![t.name.clone()],
            ..SourceStep::default()
        };
        Ok(tables.iter().map(step).collect())
    }

    async fn read<'a>(
        &'a self,
        _: &'a PlannedStep,
        _: Option<&'a Checkpoint>,
        ctx: &'a SourceContext,
    ) -> Result<BoxStream<'a, Result<Message>>> {
        let records = self.0.lock().unwrap().pop_front().unwrap_or_default();
        let batches: Vec<_> = records
            .chunks(ctx.batch_rows)
            .map(|chunk| Ok(Message::Rows { stream: 0, rows: json_rows(chunk) }))
            .collect();
        Ok(futures::stream::iter(batches).boxed())
    }
}

fn json_rows(records: &[Value]) -> Rows {
    let schema = Arc::new(ArrowSchema::new(vec![Field::new("json", DataType::LargeUtf8, false)]));
    let texts = LargeStringArray::from_iter_values(records.iter().map(Value::to_string));
    Rows::Json(RecordBatch::try_new(schema, vec![Arc::new(texts)]).unwrap())
}

#[derive(Debug)]
struct Only(Arc<Scripted>);

impl Connectors for Only {
    fn list(&self) -> Vec<ConnectorInfo> {
        Vec::new()
    }

    fn open(&self, _: &SourceSpec) -> Result<Arc<dyn Connector>> {
        Ok(self.0.clone())
    }
}

#[derive(Debug)]
struct Without;

impl Transforms for Without {
    fn check(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn compile(&self, _: &str, _: &Schema) -> Result<Box<dyn Transform>> {
        Err(hakiri_core::Error::new(hakiri_core::codes::Code::TransformInvalid, "these tests have no transforms"))
    }
}

#[async_trait]
impl SecretSource for Without {
    async fn secrets(&self, _: &[String]) -> Result<Secrets> {
        Ok(Secrets::default())
    }
}

/// An engine and what it runs on.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    clock: Arc<ManualClock>,
    source: Arc<Scripted>,
    _dir: tempfile::TempDir,
}

impl Bench {
    /// With the settings of the table `orders`; its lag is so large that nothing is ever left out, unless they say so.
    pub(crate) fn new(orders: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock(AtomicI64::new(1_700_000_000_000)));
        let source = Arc::new(Scripted::default());
        source.1.store(orders.get("types").is_some(), Ordering::SeqCst);
        let mut settings = json!({ "lag": 1_000_000 });
        settings.as_object_mut().unwrap().extend(orders.as_object().unwrap().clone());
        let spec: PipelineSpec = serde_json::from_value(
            json!({ "id": PIPELINE, "source": { "connector": "scripted" }, "table": { "orders": settings } }),
        )
        .unwrap();
        let project = Project {
            name: "test".parse().unwrap(),
            version: None,
            env: None,
            context: Default::default(),
            catalog: Default::default(),
            notify: None,
            deploy: Default::default(),
            pipelines: vec![spec],
            moved: Vec::new(),
        };
        let temp_dir = dir.path().join("tmp");
        std::fs::create_dir(&temp_dir).unwrap();
        let engine = Engine {
            project: Arc::new(project),
            catalog: Arc::new(hakiri_catalog::memory(clock.clone())),
            store: Arc::new(Store::local(&dir.path().join("store"), "test").unwrap()),
            connectors: Arc::new(Only(source.clone())),
            transforms: Arc::new(Without),
            secrets: Arc::new(Without),
            buckets: None,
            clock: clock.clone(),
            events: Arc::new(Silent),
            cancel: Cancel::default(),
            drain: Cancel::default(),
            kept: Arc::default(),
            settings: Settings {
                project_dir: dir.path().to_owned(),
                temp_dir,
                memory: 64 << 20,
                steps_at_once: usize::MAX,
                batch_rows: 2,
                lease_ttl_ms: 60_000,
                deadline_ms: 3_600_000,
                worker: "test".to_owned(),
                sole_worker: true,
                version: "0".to_owned(),
            },
        };
        Self { engine, clock, source, _dir: dir }
    }

    pub(crate) fn pipeline() -> PipelineId {
        PIPELINE.parse().unwrap()
    }

    /// A stored table by the source's name.
    pub(crate) fn table(name: &str) -> TableName {
        format!("{PIPELINE}_{name}").parse().unwrap()
    }

    /// What `hakiri run` asks for now.
    pub(crate) fn request(&self, full: bool) -> BeginRequest {
        BeginRequest {
            pipeline: Self::pipeline(),
            wake: self.clock.now(),
            manual: Some(Manual { tick: None, full }),
            deadline: None,
        }
    }

    /// Other settings of the table `orders`, all of them, and renames; the pipeline's id may be another.
    pub(crate) fn change(&mut self, id: &str, orders: Value, moved: Value) {
        let mut project = (*self.engine.project).clone();
        project.pipelines = serde_json::from_value(
            json!([{ "id": id, "source": { "connector": "scripted" }, "table": { "orders": orders } }]),
        )
        .unwrap();
        project.moved = serde_json::from_value(moved).unwrap();
        self.engine.project = Arc::new(project);
    }

    /// All files of the store vanish.
    pub(crate) async fn lose_store(&self) {
        for file in self.engine.store.list("").await.unwrap() {
            self.engine.store.delete(&file.path).await.unwrap();
        }
    }

    /// A second passes, and a run reads these records.
    pub(crate) async fn run(&self, records: &[Value]) -> RunReport {
        self.run_full(records, false).await
    }

    pub(crate) async fn run_full(&self, records: &[Value], full: bool) -> RunReport {
        self.pass(1_000);
        self.source.0.lock().unwrap().push_back(records.to_vec());
        let request = BeginRequest {
            pipeline: Self::pipeline(),
            wake: self.clock.now(),
            manual: Some(Manual { tick: None, full }),
            deadline: None,
        };
        let mut reports = drive(&self.engine, &request).await.unwrap();
        assert_eq!(reports.len(), 1);
        let report = reports.remove(0);
        assert!(report.tables.iter().all(|t| t.failure.is_none()), "{report:?}");
        report
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub(crate) async fn views(&self) -> Vec<TableView> {
        let head = self.engine.head(&Self::pipeline()).await.unwrap();
        views(&self.engine.store, &head.pipeline, head.seq, &head.tables).await.unwrap()
    }

    pub(crate) async fn view(&self, name: &str) -> TableView {
        self.views().await.into_iter().find(|v| v.table == Self::table(name)).unwrap()
    }

    /// The paths of all files of runs and snapshots.
    pub(crate) async fn files(&self) -> Vec<String> {
        let files = self.engine.store.list("tables").await.unwrap().into_iter().map(|f| f.path);
        files.filter(|p| p.contains("/runs/") || p.contains("/snapshots/")).collect()
    }

    /// The current rows of a table by the plainest reading of the rules (S10, S13), in the order of their keys: what the
    /// query engine and the views show, before tombstones are hidden.
    pub(crate) async fn current(&self, name: &str) -> Vec<Shown> {
        let views = self.views().await;
        let mut rows: Vec<Shown> =
            current(&self.engine.store, &views, &Self::table(name)).await.into_values().map(|(_, row)| row).collect();
        rows.sort();
        rows
    }
}

/// A row: columns and their values as text; null as none.
pub(crate) type Shown = BTreeMap<String, Option<String>>;
type Key = Vec<Option<String>>;

fn key(row: &Shown, columns: &[String]) -> Key {
    columns.iter().map(|c| row.get(c).cloned().flatten()).collect()
}

async fn current(store: &Store, views: &[TableView], table: &TableName) -> BTreeMap<Key, (u64, Shown)> {
    let Some(view) = views.iter().find(|v| v.table == *table) else { return BTreeMap::new() };
    let merge = &view.merge;
    assert_eq!(merge.mode, Mode::Merge);
    let covered = view.layers.iter().filter(|l| l.snapshot).map(|l| l.seq).max().unwrap_or(0);
    let parents = match &merge.parent {
        Some(link) => Some((link, Box::pin(current(store, views, &link.table)).await)),
        None => None,
    };
    let mut best: BTreeMap<Key, (Option<i64>, u64, Shown)> = BTreeMap::new();
    for layer in &view.layers {
        for part in &layer.parts {
            for row in part_rows(store, part, Some(&view.schema.schema)).await {
                if let Some((link, parents)) = &parents {
                    match parents.get(&key(&row, &link.columns)) {
                        Some((since, _)) if layer.seq == (*since).max(covered) => {}
                        _ => continue,
                    }
                }
                let cursor = merge.cursor.as_ref().and_then(|c| row[c].as_ref()).map(|v| v.parse::<i64>().unwrap());
                let key = key(&row, &merge.primary_key);
                if best.get(&key).is_none_or(|(c, seq, _)| (cursor, layer.seq) >= (*c, *seq)) {
                    best.insert(key, (cursor, layer.seq, row));
                }
            }
        }
    }
    best.into_iter().map(|(key, (_, seq, row))| (key, (seq, row))).collect()
}

/// The rows of a part as stored, or in another schema; without `_hakiri_run`.
pub(crate) async fn part_rows(store: &Store, part: &Part, schema: Option<&Schema>) -> Vec<Shown> {
    let bytes = store.get_verified(&FileRef { path: part.path.clone(), sha256: part.sha256.clone() }).await.unwrap();
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
        let mut batch = batch.unwrap();
        if let Some(schema) = schema {
            batch = cast_batch(&batch, schema).unwrap();
        }
        let options = FormatOptions::default();
        let fields = batch.schema();
        let columns: Vec<(&String, ArrayFormatter<'_>, _)> = fields
            .fields()
            .iter()
            .zip(batch.columns())
            .filter(|(f, _)| f.name() != RUN_COLUMN)
            .map(|(f, c)| (f.name(), ArrayFormatter::try_new(c, &options).unwrap(), c.logical_nulls()))
            .collect();
        for i in 0..batch.num_rows() {
            let value = |f: &ArrayFormatter<'_>, nulls: &Option<arrow::buffer::NullBuffer>| {
                nulls.as_ref().is_none_or(|n| n.is_valid(i)).then(|| f.value(i).to_string())
            };
            rows.push(columns.iter().map(|(name, f, nulls)| ((*name).clone(), value(f, nulls))).collect());
        }
    }
    rows
}

/// The columns of a part, ours included.
pub(crate) async fn part_columns(store: &Store, path: &str) -> Vec<String> {
    let bytes = store.get(path).await.unwrap().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    reader.schema().fields().iter().map(|f| f.name().clone()).collect()
}
