//! The connector through its port, on files in temporary folders.

#![allow(clippy::disallowed_methods)] // tests write the files they read

mod bucket;
mod changes;
mod formats;
mod hostile;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::util::display::array_value_to_string;
use futures::StreamExt;
use hakiri_core::buckets::Buckets;
use hakiri_core::codes::Code;
use hakiri_core::cursor::{Cursor, CursorKind};
use hakiri_core::manifest::Merge;
use hakiri_core::plan::{Origin, PlannedStep, PlannedTable};
use hakiri_core::secret::Secrets;
use hakiri_core::source::{Cancel, Connector, Message, Progress, Rows, SourceContext, SourceStep, TableRequest};
use hakiri_core::spec::{Mode, OnBadRow, SchemaPolicy, TableSpec};
use hakiri_core::time::{Clock, Instant};
use hakiri_core::window::Window;
use hakiri_core::{Error, Result};
use serde_json::{Value, json};

use super::FileConnector;

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Instant {
        Instant::from_millis(0)
    }
}

/// What a step gave.
#[derive(Debug, Default)]
struct Given {
    /// One line per row: `column=value|…`, with `∅` for null.
    rows: Vec<String>,
    batches: usize,
    rejected: Vec<(Code, String)>,
    notes: Vec<String>,
    cursor: Option<Cursor>,
    progress: Progress,
    replaces: bool,
    step: String,
}

/// A project's folder.
struct World {
    dir: tempfile::TempDir,
    batch_rows: usize,
    key: Vec<String>,
    spec: TableSpec,
    cancel: Cancel,
    /// The folder as a bucket, where that is what the connector reads.
    buckets: Option<Arc<dyn Buckets>>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            dir,
            batch_rows: 8192,
            key: Vec::new(),
            spec: TableSpec::default(),
            cancel: Cancel::default(),
            buckets: None,
        }
    }

    /// The same files as objects of a bucket.
    fn in_bucket() -> Self {
        let world = Self::new();
        let buckets: Arc<dyn Buckets> = Arc::new(bucket::Folder::new(world.dir.path()));
        Self { buckets: Some(buckets), ..world }
    }

    /// What holds for files wherever they are.
    fn everywhere() -> [Self; 2] {
        [Self::new(), Self::in_bucket()]
    }

    /// The path that a manifest, a plan and an error have for a file or pattern.
    fn name(&self, path: &str) -> String {
        if self.buckets.is_some() { format!("s3://bucket/{path}") } else { path.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn context(&self) -> SourceContext {
        SourceContext {
            project_dir: self.dir.path().to_owned(),
            temp_dir: self.dir.path().to_owned(),
            secrets: Secrets::default(),
            buckets: self.buckets.clone(),
            clock: Arc::new(Stopped),
            cancel: self.cancel.clone(),
            batch_rows: self.batch_rows,
        }
    }

    fn request(&self, window: Window) -> TableRequest {
        let cursor = match &window {
            Window::After { position } => position.clone(),
            _ => None,
        };
        TableRequest {
            name: "t".into(),
            window,
            cursor,
            spec: self.spec.clone(),
            primary_key: self.key.clone(),
            incremental: None,
        }
    }

    async fn plan(&self, config: Value, window: Window) -> Result<(FileConnector, SourceStep)> {
        let connector = FileConnector::new(crate::registry::parse_config("file", &config)?)?;
        let mut steps = connector.plan(&[self.request(window)], Instant::from_millis(0), &self.context()).await?;
        assert_eq!(steps.len(), 1);
        Ok((connector, steps.remove(0)))
    }

    async fn read(&self, connector: &FileConnector, step: SourceStep, window: Window) -> (Given, Option<Error>) {
        let mut given = Given { replaces: step.replaces, step: step.name.clone(), ..Given::default() };
        let step = planned(step, window);
        let context = self.context();
        let mut stream = connector.read(&step, None, &context).await.unwrap();
        while let Some(message) = stream.next().await {
            match message {
                Err(e) => {
                    assert!(stream.next().await.is_none(), "an error ends the stream");
                    return (given, Some(e));
                }
                Ok(Message::Rows { stream: 0, rows }) => {
                    given.batches += 1;
                    given.rows.extend(lines(&rows));
                }
                Ok(Message::Rejected { stream: 0, reason, error }) => given.rejected.push((error.code(), reason)),
                Ok(Message::Note { stream: 0, text }) => given.notes.push(text),
                Ok(Message::Cursor { stream: 0, after }) => given.cursor = Some(after),
                Ok(Message::Progress(progress)) => given.progress = progress,
                Ok(other) => panic!("{other:?}"),
            }
        }
        (given, None)
    }

    /// Plans and reads from a cursor on.
    async fn after(&self, config: Value, position: Option<Cursor>) -> Result<Given> {
        let window = Window::After { position };
        let (connector, step) = self.plan(config, window.clone()).await?;
        match self.read(&connector, step, window).await {
            (given, None) => Ok(given),
            (_, Some(e)) => Err(e),
        }
    }

    /// Plans and reads everything.
    async fn run(&self, config: Value) -> Result<Given> {
        self.after(config, None).await
    }

    /// The rows of one file with some content.
    async fn rows(&self, name: &str, content: impl AsRef<[u8]>) -> Result<Given> {
        self.put(name, content);
        self.run(json!({ "path": self.name(name) })).await
    }
}

fn planned(step: SourceStep, window: Window) -> PlannedStep {
    let cursor_before = match &window {
        Window::After { position } => position.clone(),
        _ => None,
    };
    let table = PlannedTable {
        table: "p_t".try_into().unwrap(),
        source_table: "t".into(),
        origin: Origin::Source { index: 0 },
        merge: Merge { mode: Mode::Append, primary_key: Vec::new(), cursor: None, parent: None },
        cursor_kind: Some(CursorKind::Opaque),
        window,
        cursor_before,
        previous: None,
        schema: None,
        declared: hakiri_core::schema::Schema::default(),
        policy: SchemaPolicy::Evolve,
        on_bad_row: OnBadRow::Fail,
        transform: None,
    };
    // Through its text, as a plan that lies in the catalog.
    let source = serde_json::from_str(&step.source.to_string()).unwrap();
    PlannedStep { index: 0, name: step.name, source, tables: vec![table] }
}

fn lines(rows: &Rows) -> Vec<String> {
    let (Rows::Typed(batch) | Rows::Text(batch) | Rows::Json(batch)) = rows;
    if let Rows::Json(batch) = rows {
        assert_eq!(batch.num_columns(), 1);
        let column = batch.column(0).as_string::<i64>();
        assert_eq!(column.null_count(), 0);
        return column.iter().flatten().map(str::to_owned).collect();
    }
    (0..batch.num_rows()).map(|row| line(batch, row)).collect()
}

fn line(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let cells = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let value = if column.is_null(row) { "∅".to_owned() } else { array_value_to_string(column, row).unwrap() };
        format!("{}={value}", field.name())
    });
    cells.collect::<Vec<_>>().join("|")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).unwrap()
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}
