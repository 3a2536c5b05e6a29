//! The port to sources. A connector discovers tables, plans steps and yields Arrow record batches (D1).
//!
//! A connector never decides types, windows, order or files: it yields what the source gave, typed where the source is
//! typed and as text where it is not, and the engine does the rest in one place for all of them. So the bytes of a
//! table cannot depend on which connector, or which version of one, read it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::buckets::Buckets;
use crate::codes::Code;
use crate::cursor::{Cursor, CursorKind};
use crate::error::{Error, Result};
use crate::plan::PlannedStep;
use crate::schema::Schema;
use crate::secret::Secrets;
use crate::spec::{SourceSpec, TableSpec};
use crate::time::{Clock, Tick};
use crate::window::Window;

/// A table that a source offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceTable {
    /// The source's name for it.
    pub name: String,
    /// Its primary key, if the source or its description knows one.
    pub primary_key: Vec<String>,
    /// Its cursor column, if the source or its description knows one.
    pub incremental: Option<String>,
    /// The kind of cursor where it is not that of a column (files, tokens).
    pub cursor_kind: Option<CursorKind>,
    /// Declared columns, as far as they are declared.
    pub declared: Schema,
    /// Arrays of objects in the records that become tables of their own: field path and the child's name.
    pub children: Vec<(String, String)>,
    /// Whether the source has this one table and no name of its own for it (a file pattern), so that it goes by whatever
    /// name the manifest gives it.
    pub any_name: bool,
    /// The resource tree it belongs to: tables with the same group are read in one step, parents before children.
    pub group: String,
}

/// What the engine asks a connector to plan: one table with its window.
#[derive(Debug, Clone)]
pub struct TableRequest {
    /// The source's name.
    pub name: String,
    /// What to read.
    pub window: Window,
    /// The committed cursor. A connector with an opaque cursor reads on from here.
    pub cursor: Option<Cursor>,
    /// The table's settings in the manifest.
    pub spec: TableSpec,
    /// Columns that make up the key.
    pub primary_key: Vec<String>,
    /// The cursor column.
    pub incremental: Option<String>,
}

/// A step as a connector plans it. The engine adds the rest of [`PlannedStep`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceStep {
    /// What people see.
    pub name: String,
    /// The source's names of the tables it yields, by stream index.
    pub tables: Vec<String>,
    /// What the connector needs to read it. No secrets.
    pub source: Value,
    /// Upper bounds that the connector found while planning (the highest sequence, say), by table.
    pub upper: BTreeMap<String, Cursor>,
    /// Whether the rows of this step take the place of all rows before it, although the window asked for less: a file
    /// source sets it when a file of a table without a key changed, since rows that have no key cannot be replaced one
    /// by one. [`Window::Everything`] means it anyway.
    pub replaces: bool,
}

/// Rows, and how much is known of their types.
#[derive(Debug, Clone)]
pub enum Rows {
    /// The source declares types (Parquet, databases): columns as they are.
    Typed(RecordBatch),
    /// The source has names but no types (CSV): every column is `Utf8` or `LargeUtf8`; null is a missing value.
    Text(RecordBatch),
    /// The source has records of JSON: one `LargeUtf8` column named `json` that is never null, one object in each row.
    Json(RecordBatch),
}

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Typed(b) | Self::Text(b) | Self::Json(b) => b.num_rows(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a connector says while it reads a step.
#[derive(Debug, Clone)]
pub enum Message {
    /// Rows of one of the step's streams.
    Rows {
        /// The stream's index in [`SourceStep::tables`].
        stream: u32,
        /// The rows.
        rows: Rows,
    },
    /// A record that could not be read; the engine counts it, keeps the first few, and fails where the manifest says so.
    Rejected {
        /// The stream.
        stream: u32,
        /// Where and why: a file and line, a page and index; never a value.
        reason: String,
        /// The error to fail with when bad rows are refused.
        error: Error,
    },
    /// A stream's new opaque cursor. The last one counts, and only if the whole step succeeds.
    Cursor {
        /// The stream.
        stream: u32,
        /// The cursor after everything yielded so far.
        after: Cursor,
    },
    /// Something people should hear of that is neither a row nor an error: a file that is gone, say. For the report.
    Note {
        /// The stream.
        stream: u32,
        /// One line, names and counts only, never a value.
        text: String,
    },
    /// Requests, bytes and the like, for progress bars and reports.
    Progress(Progress),
    /// Where a later attempt may go on, with everything yielded so far taken as read (E4).
    Checkpoint(Checkpoint),
}

/// How far a step has been read. A connector whose steps are read at once, or are small, has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where to go on: the connector's own, and no secrets in it.
    pub place: Value,
    /// What must not be met again: in a message what was met since the checkpoint before, in one to go on from all of it.
    pub seen: Vec<String>,
}

/// Counters of a step so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Requests made, or files opened.
    pub requests: u64,
    /// Bytes read from the source.
    pub bytes: u64,
    /// Bytes expected in all, where known; zero otherwise.
    pub bytes_total: u64,
}

/// A flag that many can see and one can raise. A child is raised with its parent, not the other way round.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    raised: Arc<AtomicBool>,
    parent: Option<Arc<Cancel>>,
}

impl Cancel {
    /// A flag below this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { raised: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Raises it.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }

    /// Whether it, or one above it, is raised.
    pub fn is_cancelled(&self) -> bool {
        self.raised.load(Ordering::SeqCst) || self.parent.as_ref().is_some_and(|p| p.is_cancelled())
    }

    /// An error if it is raised; for loops.
    ///
    /// # Errors
    /// `HK0003`.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::new(Code::Interrupted, "interrupted")) } else { Ok(()) }
    }
}

/// What a connector may use of the world.
#[derive(Debug, Clone)]
pub struct SourceContext {
    /// The project's folder, which relative paths are relative to.
    pub project_dir: PathBuf,
    /// Where temporary files may go.
    pub temp_dir: PathBuf,
    /// The pipeline's secrets.
    pub secrets: Secrets,
    /// Buckets that may be read; none where nothing can sign for one.
    pub buckets: Option<Arc<dyn Buckets>>,
    /// The time, for back-off and token expiry; never for data.
    pub clock: Arc<dyn Clock>,
    /// Raised on Ctrl-C: stop at the next convenient place with `HK0003`.
    pub cancel: Cancel,
    /// About how many rows a batch should hold. No effect on bytes (S9).
    pub batch_rows: usize,
}

/// A connector for one configured source.
#[async_trait]
pub trait Connector: Send + Sync + fmt::Debug {
    /// The tables the source offers. For sources whose description names them this touches nothing.
    ///
    /// # Errors
    /// Any source error.
    async fn discover(&self, ctx: &SourceContext) -> Result<Vec<SourceTable>>;

    /// Whether the source can be reached and accepts the credentials (`check --connect`): one line for people.
    ///
    /// # Errors
    /// Any source error.
    async fn probe(&self, ctx: &SourceContext) -> Result<String>;

    /// Cuts the reading of some tables into steps.
    ///
    /// # Errors
    /// Any source error.
    async fn plan(&self, tables: &[TableRequest], tick: Tick, ctx: &SourceContext) -> Result<Vec<SourceStep>>;

    /// Reads one step, from its start or from where an earlier attempt was. The stream ends after the last row; an error
    /// ends it too.
    ///
    /// # Errors
    /// Any source error; `HK0406` when the place to go on from is no longer what it was, so that the step starts again.
    async fn read<'a>(
        &'a self,
        step: &'a PlannedStep,
        from: Option<&'a Checkpoint>,
        ctx: &'a SourceContext,
    ) -> Result<BoxStream<'a, Result<Message>>>;
}

/// What the binary knows of a connector without configuring it.
#[derive(Debug, Clone)]
pub struct ConnectorInfo {
    /// Its name in the manifest.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// The JSON Schema of its `config`.
    pub config_schema: Value,
}

/// All connectors of the binary.
pub trait Connectors: Send + Sync + fmt::Debug {
    /// What there is.
    fn list(&self) -> Vec<ConnectorInfo>;

    /// Configures one. Secrets in the config are still `${NAME}`: they are resolved when they are sent.
    ///
    /// # Errors
    /// `HK0401` and `HK0403`.
    fn open(&self, source: &SourceSpec) -> Result<Arc<dyn Connector>>;
}
