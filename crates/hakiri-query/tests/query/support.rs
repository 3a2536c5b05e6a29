//! A store in a temporary folder, made of rows written as JSON.

use std::fs;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringArray, RecordBatch};
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use arrow::json::ReaderBuilder;
use hakiri_core::Result;
use hakiri_core::hash::Hash;
use hakiri_core::manifest::{FileRef, Merge, ParentLink, Part};
use hakiri_core::schema::{Field, Schema, SchemaVersion, Type, to_arrow_schema};
use hakiri_core::spec::Mode;
use hakiri_core::view::{Layer, TableView};
use hakiri_query::{Database, Options, OutputFormat, write_results};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

pub fn columns(fields: &[(&str, Type)]) -> Schema {
    Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone())).collect())
}

pub fn version(schema: &Schema) -> SchemaVersion {
    SchemaVersion { version: 1, fingerprint: schema.fingerprint().unwrap(), schema: schema.clone() }
}

/// The folder of a project.
pub struct Store {
    pub dir: TempDir,
    pub tables: Vec<TableView>,
}

impl Store {
    pub fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), tables: Vec::new() }
    }

    /// A table without layers.
    pub fn table(&mut self, name: &str, mode: Mode, key: &[&str], schema: &Schema) -> &mut TableView {
        self.tables.push(TableView {
            table: name.parse().unwrap(),
            pipeline: "p".parse().unwrap(),
            seq: 9,
            schema: version(schema),
            merge: Merge {
                mode,
                primary_key: key.iter().map(|k| (*k).to_owned()).collect(),
                cursor: None,
                parent: None,
            },
            layers: Vec::new(),
        });
        self.tables.last_mut().unwrap()
    }

    pub fn child(&mut self, name: &str, parent: &str, link: &[&str], key: &[&str], schema: &Schema) {
        let table = self.table(name, Mode::Merge, key, schema);
        table.merge.parent = Some(ParentLink {
            table: parent.parse().unwrap(),
            columns: link.iter().map(|k| (*k).to_owned()).collect(),
        });
    }

    /// One run of a table, one part for each text of JSON lines.
    pub fn run(&mut self, table: &str, seq: u64, schema: &Schema, parts: &[&str]) {
        self.layer(
            table,
            seq,
            false,
            schema,
            &parts.iter().map(|p| (schema.clone(), (*p).to_owned())).collect::<Vec<_>>(),
        );
    }

    pub fn snapshot(&mut self, table: &str, covers: u64, schema: &Schema, part: &str) {
        self.layer(table, covers, true, schema, &[(schema.clone(), part.to_owned())]);
    }

    pub fn layer(&mut self, table: &str, seq: u64, snapshot: bool, schema: &Schema, parts: &[(Schema, String)]) {
        let folder = if snapshot {
            format!("tables/{table}/snapshots/{seq:010}")
        } else {
            format!("tables/{table}/runs/run-{seq:03}")
        };
        fs::create_dir_all(self.dir.path().join("root/shop").join(&folder)).unwrap();
        let mut listed = Vec::new();
        for (number, (schema, rows)) in parts.iter().enumerate() {
            let batch = batch(schema, rows, (!snapshot).then(|| format!("run-{seq:03}")));
            let mut bytes = Vec::new();
            let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            let path = format!("{folder}/part-{number:05}.parquet");
            fs::write(self.dir.path().join("root/shop").join(&path), &bytes).unwrap();
            let fingerprint = schema.fingerprint().unwrap();
            listed.push(Part {
                path,
                rows: batch.num_rows() as u64,
                bytes: bytes.len() as u64,
                sha256: Hash::of(&bytes),
                schema: fingerprint,
            });
        }
        let view = self.tables.iter_mut().find(|t| t.table.as_str() == table).unwrap();
        let manifest = FileRef { path: format!("{folder}/manifest.json"), sha256: Hash::of(b"") };
        view.layers.push(Layer { manifest, seq, snapshot, schema: version(schema), parts: listed });
    }

    pub fn database_with(&self, memory_limit: usize, target_partitions: usize) -> Database {
        let store = Arc::new(LocalFileSystem::new_with_prefix(self.dir.path()).unwrap());
        let options = Options { memory_limit, target_partitions, temp_dir: self.dir.path().to_owned() };
        Database::new(self.tables.clone(), store, Path::from("root/shop"), options).unwrap()
    }

    pub fn database(&self) -> Database {
        self.database_with(256 << 20, 2)
    }

    /// The result as CSV without its header, lines joined with spaces.
    pub async fn rows(&self, sql: &str) -> String {
        let csv = print(&self.database(), sql, OutputFormat::Csv).await.unwrap();
        csv.lines().skip(1).collect::<Vec<_>>().join(" ")
    }
}

pub async fn print(database: &Database, sql: &str, format: OutputFormat) -> Result<String> {
    let mut out = Vec::new();
    write_results(database.query(sql).await?, format, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

/// Rows of a schema from JSON lines, as the engine would store them.
pub fn batch(schema: &Schema, lines: &str, run: Option<String>) -> RecordBatch {
    let arrow = Arc::new(to_arrow_schema(schema));
    let mut reader =
        ReaderBuilder::new(Arc::clone(&arrow)).with_batch_size(1 << 20).build(Cursor::new(lines.as_bytes())).unwrap();
    let rows = reader.next().map_or_else(|| RecordBatch::new_empty(arrow), |b| b.unwrap());
    let Some(run) = run else { return rows };
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(ArrowField::new("_hakiri_run", DataType::LargeUtf8, true)));
    let mut arrays = rows.columns().to_vec();
    arrays.push(Arc::new(LargeStringArray::from(vec![run; rows.num_rows()])) as ArrayRef);
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).unwrap()
}
