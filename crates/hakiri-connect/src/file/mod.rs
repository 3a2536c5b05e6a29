//! The `file` connector: CSV, TSV, JSON lines, JSON documents and Parquet, also compressed, from this machine or a bucket.
//!
//! Contract: a table is a path or a pattern. The plan lists its files in the order of their paths' bytes, identifies them
//! and fixes what is read (P1); a step reads exactly those bytes or fails with `HK0406`. Its cursor is the list of
//! files that were read, by size and hash (`02`, "Files"). Where files are is known to `place` and below it alone. Rows stay as the file has them, text where the file knows no
//! types (S12); a batch never holds more than about 8 MiB besides one row, whatever the files are (P7).
//!
//! One step per table, always, also when there is nothing to read: what vanished must reach the cursor as well.
//!
//! Files are read on a thread for blocking work that hands messages over through a short queue. The alternative,
//! asynchronous files, is the same thread behind a copy of every block.

mod bucket;
mod config;
mod csv;
mod disk;
mod input;
mod json;
mod jsonl;
mod options;
mod out;
mod parquet;
mod place;
mod ranges;
mod seen;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use hakiri_core::codes::Code;
use hakiri_core::cursor::{Cursor, CursorKind};
use hakiri_core::hash::Hash;
use hakiri_core::plan::{Origin, PlannedStep};
use hakiri_core::source::{
    Cancel, Checkpoint, Connector, Message, SourceContext, SourceStep, SourceTable, TableRequest,
};
use hakiri_core::spec::{Mode, OnMissing};
use hakiri_core::time::Tick;
use hakiri_core::window::Window;
use hakiri_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use self::config::{Compression, Encoding, FileConfig, FileTable, Format};
use self::options::{TableOptions, Tables};
use self::out::{Out, Stop};
use self::place::Place;
use self::seen::{Seen, Work};

/// Messages that may wait between the reading thread and the engine.
const QUEUE: usize = 2;
/// Vanished files that are named in a report; of the rest only the number.
const NAMED: usize = 20;

/// A configured `file` source.
#[derive(Debug)]
pub struct FileConnector {
    tables: Tables,
    /// One path without a `table`: the table goes by whatever name the manifest has for it.
    any_name: bool,
}

/// What a step needs to know: [`PlannedStep::source`].
#[derive(Debug, Serialize, Deserialize)]
struct StepSource {
    table: String,
    /// Whether the table's cursor is the list of files; false when the manifest names a column instead.
    track: bool,
    #[serde(flatten)]
    work: Work,
}

impl FileConnector {
    /// Checks a config; touches no file.
    ///
    /// # Errors
    /// `HK0403` with the key.
    pub fn new(config: FileConfig) -> Result<Self> {
        Ok(Self { tables: Tables::new(&config)?, any_name: config.path.is_some() && config.table.is_none() })
    }
}

#[async_trait]
impl Connector for FileConnector {
    async fn discover(&self, _ctx: &SourceContext) -> Result<Vec<SourceTable>> {
        Ok(self
            .tables
            .iter()
            .map(|(name, _)| SourceTable {
                name: name.to_owned(),
                cursor_kind: Some(CursorKind::Opaque),
                group: name.to_owned(),
                any_name: self.any_name,
                ..SourceTable::default()
            })
            .collect())
    }

    async fn probe(&self, ctx: &SourceContext) -> Result<String> {
        let tables: Vec<(TableOptions, Arc<dyn Place>)> = self
            .tables
            .iter()
            .map(|(_, options)| Ok((options.clone(), place::of(&options.path, ctx)?)))
            .collect::<Result<_>>()?;
        let cancel = ctx.cancel.clone();
        blocking(move || {
            let (mut files, mut bytes) = (0_u64, 0_u64);
            for (options, place) in &tables {
                let found = place.list(&cancel)?;
                if found.is_empty() {
                    return Err(place.nothing(&cancel));
                }
                for file in &found {
                    options.kind(&file.path)?;
                    files += 1;
                    bytes += file.size;
                }
                place.probe(&found, &cancel)?;
            }
            Ok(format!("{}, {}, {bytes} bytes", count(tables.len() as u64, "table"), count(files, "file")))
        })
        .await
    }

    async fn plan(&self, tables: &[TableRequest], _tick: Tick, ctx: &SourceContext) -> Result<Vec<SourceStep>> {
        let mut steps = Vec::with_capacity(tables.len());
        for request in tables {
            let options = self.tables.get(&request.name)?.clone();
            let (place, cancel) = (place::of(&options.path, ctx)?, ctx.cancel.clone());
            let position = match &request.window {
                // The engine fetches a cursor that lies in the store for the request, not for the window.
                Window::After { position } => {
                    request.cursor.as_ref().or(position.as_ref()).map(Seen::from_cursor).transpose()?
                }
                _ => None,
            };
            let keyed = !request.primary_key.is_empty() && request.spec.mode != Some(Mode::Append);
            let on_missing = request.spec.on_missing;
            if keyed && on_missing == OnMissing::Delete && matches!(request.window, Window::After { .. }) {
                // Rows that vanish one by one need tombstones, and a file does not say which rows it had.
                return Err(Error::new(
                    Code::ManifestValue,
                    "`on_missing = \"delete\"` is not supported for a table with a primary key",
                )
                .at(format!("table `{}`", request.name))
                .with_hint("use on_missing = \"keep\", mode = \"replace\", or leave out `primary_key`"));
            }
            let (work, replaces, all) =
                blocking(move || plan_table(&*place, &options, position.as_ref(), keyed, on_missing, &cancel)).await?;
            let source = StepSource {
                table: request.name.clone(),
                track: matches!(request.window, Window::After { .. } | Window::Everything),
                work,
            };
            steps.push(SourceStep {
                name: step_name(&request.name, source.work.files.len(), all),
                tables: vec![request.name.clone()],
                source: serde_json::to_value(&source)
                    .map_err(|e| Error::new(Code::Internal, format!("cannot write the step: {e}")))?,
                replaces,
                ..SourceStep::default()
            });
        }
        Ok(steps)
    }

    async fn read<'a>(
        &'a self,
        step: &'a PlannedStep,
        _from: Option<&'a Checkpoint>,
        ctx: &'a SourceContext,
    ) -> Result<BoxStream<'a, Result<Message>>> {
        let source: StepSource = serde_json::from_value(step.source.clone()).map_err(|e| {
            Error::new(Code::Internal, format!("the plan's step is not one of the file connector: {e}"))
        })?;
        let options = self.tables.get(&source.table)?.clone();
        let cursor = match (source.track, source.work.fresh) {
            (false, _) => None,
            (true, true) => Some(Seen::default().after(&source.work).to_cursor()?),
            (true, false) => Some(before(step)?.after(&source.work).to_cursor()?),
        };
        let job = Job {
            place: place::of(&options.path, ctx)?,
            options,
            work: source.work,
            cursor,
            cancel: ctx.cancel.clone(),
            batch_rows: ctx.batch_rows,
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let handle = tokio::task::spawn_blocking(move || {
            job.run(&mut |message| {
                sender
                    .blocking_send(message)
                    .map_err(|_| Error::new(Code::Interrupted, "nobody reads the step any more"))
            })
        });
        Ok(stream::unfold((receiver, Some(handle)), next_message).boxed())
    }
}

/// The reading thread as the stream sees it: its messages, and its end.
type Reading = (mpsc::Receiver<Message>, Option<JoinHandle<Result<()>>>);

/// The next message of the reading thread; after the last one its error, if it had one.
async fn next_message((mut receiver, handle): Reading) -> Option<(Result<Message>, Reading)> {
    if let Some(message) = receiver.recv().await {
        return Some((Ok(message), (receiver, handle)));
    }
    match handle?.await {
        Ok(Ok(())) => None,
        Ok(Err(e)) => Some((Err(e), (receiver, None))),
        Err(_) => Some((Err(stopped()), (receiver, None))),
    }
}

/// The cursor document that a step goes on from.
fn before(step: &PlannedStep) -> Result<Seen> {
    let table = step.tables.iter().find(|t| t.origin == Origin::Source { index: 0 });
    match table.and_then(|t| t.cursor_before.as_ref()) {
        Some(cursor) => Seen::from_cursor(cursor),
        None => Err(Error::new(Code::Internal, "the plan's step lacks the cursor it goes on from")),
    }
}

fn stopped() -> Error {
    Error::new(Code::Internal, "the thread that reads files ended unexpectedly")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(stopped()))
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn step_name(table: &str, read: usize, all: usize) -> String {
    if read == all {
        format!("{table}: {}", count(all as u64, "file"))
    } else {
        format!("{table}: {read} of {}", count(all as u64, "file"))
    }
}

/// Lists and identifies the files of a table and decides what is read; also gives how many files there are.
fn plan_table(
    place: &dyn Place,
    options: &TableOptions,
    known: Option<&Seen>,
    keyed: bool,
    on_missing: OnMissing,
    cancel: &Cancel,
) -> Result<(Work, bool, usize)> {
    let listed = place.list(cancel)?;
    if listed.is_empty() {
        // An emptied inbox is fine; a disk that is not mounted must not delete rows.
        let emptied =
            place::is_pattern(&options.path) && known.is_some_and(|k| !k.0.is_empty()) && on_missing == OnMissing::Keep;
        if !emptied {
            return Err(place.nothing(cancel));
        }
    }
    let mut found = Vec::with_capacity(listed.len());
    for file in &listed {
        options.kind(&file.path)?;
        found.push(place.identify(file, cancel)?);
    }
    let all = found.len();
    let (work, replaces) = seen::decide(known, found, keyed, on_missing)?;
    Ok((work, replaces, all))
}

/// Everything the reading thread needs.
struct Job {
    place: Arc<dyn Place>,
    options: TableOptions,
    work: Work,
    cursor: Option<Cursor>,
    cancel: Cancel,
    batch_rows: usize,
}

impl Job {
    fn run(&self, emit: &mut dyn FnMut(Message) -> Result<()>) -> Result<()> {
        let total = self.work.files.iter().map(|f| f.size).sum();
        let mut out = Out::new(emit, &self.cancel, self.batch_rows, total);
        for path in self.work.gone.iter().take(NAMED) {
            out.note(format!("`{path}` is gone"))?;
        }
        if let Some(more) = self.work.gone.len().checked_sub(NAMED).filter(|n| *n > 0) {
            out.note(format!("{} more are gone", count(more as u64, "file")))?;
        }
        for file in &self.work.files {
            out.check()?;
            self.file(file, &mut out)?;
        }
        out.progress()?;
        match &self.cursor {
            Some(after) => out.message(Message::Cursor { stream: 0, after: after.clone() }),
            None => Ok(()),
        }
    }

    /// Reads one file, and makes sure that it was the one the plan saw.
    fn file(&self, planned: &seen::WorkFile, out: &mut Out<'_>) -> Result<()> {
        let path = planned.path.as_str();
        let read = match self.parse(planned, out) {
            Ok(read) => read,
            Err(e) if e.kind() == Kind::Interrupted || e.code() == Code::SourceChanged => return Err(e),
            // A file that is being written while it is read is malformed only for now.
            Err(e) => match self.place.is_planned(planned, None, out.cancel()) {
                Ok(true) => return Err(e),
                Err(other) if other.code() != Code::SourceChanged => return Err(e),
                _ => return Err(changed(path)),
            },
        };
        if self.place.is_planned(planned, read, out.cancel())? { out.progress() } else { Err(changed(path)) }
    }

    /// Reads one file; gives the size and hash of what was read, where it was read from start to end.
    fn parse(&self, planned: &seen::WorkFile, out: &mut Out<'_>) -> Result<Option<(u64, Hash)>> {
        let (path, options) = (planned.path.as_str(), &self.options);
        let kind = options.kind(path)?;
        if kind.format == Format::Parquet {
            let file = self.place.open_whole(planned, out.cancel())?;
            out.file_opened();
            parquet::read(path, planned.size, &file, out)?;
            return Ok(None);
        }
        let file = self.place.open(planned, out.cancel())?;
        out.file_opened();
        let explain = |stop: Stop| match stop {
            Stop::Error(e) => e.at(path),
            Stop::Io(e) => input::explain(&e, kind.compression, path),
        };
        let counter = out.bytes.clone();
        let mut input = input::open(file, kind.compression, options.encoding, counter).map_err(explain)?;
        match kind.format {
            Format::Csv | Format::Tsv => csv::read(path, options, kind.format, &mut input, out),
            Format::Jsonl => jsonl::read(path, options.max_value_bytes, &mut input, out),
            Format::Json | Format::Parquet => json::read(path, options, &mut input, out),
        }
        .map_err(explain)?;
        input::finish(input).map(Some).map_err(|e| explain(Stop::Io(e)))
    }
}

fn changed(path: &str) -> Error {
    Error::new(Code::SourceChanged, "the file changed since the plan was made").at(path)
}
