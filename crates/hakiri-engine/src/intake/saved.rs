//! What attempts of a step leave to later ones, where a worker's time is short (E4).
//!
//! Everything that the connector said up to a checkpoint is kept as files in the store, in order, and their references in
//! the step's record (C10). The next attempt is told all of it first, as the connector told it, and then the rest by the
//! connector: nothing in the result can tell the difference (P1). A file that is gone, or of another version, makes the
//! step start again, as does a source that changed at the checkpoint.
//!
//! A worker without a deadline saves nothing: it would cost as much as the reading, for an end that seldom comes. What is
//! saved is what the source gave, with columns that the transform leaves out; it is removed with the results of the steps when the run is
//! committed.

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::error::Kind;
use hakiri_core::id::RunId;
use hakiri_core::manifest::FileRef;
use hakiri_core::secret::Secrets;
use hakiri_core::source::{Checkpoint, Message, Rows};
use hakiri_core::{Error, Result, layout};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::Store;

/// The version of files and record.
const FORMAT: u32 = 1;
/// How hard files are compressed: the store is near, and time is short.
const LEVEL: i32 = 1;

/// What is saved of a step, and whether its attempt has to end.
#[derive(Debug)]
pub(crate) struct Saved {
    files: Mutex<Vec<FileRef>>,
    /// Whether this attempt added to them.
    grown: AtomicBool,
    /// Whether it had to start again.
    restarted: AtomicBool,
    /// Whether this attempt saves anything.
    keeps: bool,
    stop: AtomicBool,
}

/// What the step's record says.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    format: u32,
    files: Vec<FileRef>,
}

impl Saved {
    /// What a step's record names; nothing where another version wrote it.
    pub(crate) fn of(progress: Option<&Value>, keeps: bool) -> Self {
        let known = progress.and_then(|value| Progress::deserialize(value).ok()).filter(|p| p.format == FORMAT);
        let files = known.map_or_else(Vec::new, |progress| progress.files);
        Self {
            files: Mutex::new(files),
            grown: AtomicBool::default(),
            restarted: AtomicBool::default(),
            keeps,
            stop: AtomicBool::default(),
        }
    }

    /// For the step's record.
    ///
    /// # Errors
    /// `HK0001`.
    pub(crate) fn progress(&self) -> Result<Option<Value>> {
        let files = self.files();
        if files.is_empty() {
            return Ok(None);
        }
        serde_json::to_value(Progress { format: FORMAT, files }).map(Some).map_err(|e| internal(&e))
    }

    /// The files, in order.
    pub(super) fn files(&self) -> Vec<FileRef> {
        self.list().clone()
    }

    /// Whether anything is saved.
    pub(super) fn is_there(&self) -> bool {
        !self.list().is_empty()
    }

    /// Whether this attempt got further than the ones before: one that started again may have come less far, and a source
    /// that changes all the time would be started again for ever.
    pub(crate) fn has_grown(&self) -> bool {
        self.grown.load(Ordering::SeqCst) && !self.restarted.load(Ordering::SeqCst)
    }

    /// Starts again. The files stay until the run is committed, or for `gc`.
    pub(super) fn forget(&self) {
        self.list().clear();
        self.restarted.store(true, Ordering::SeqCst);
    }

    /// Asks the attempt to save what it has, and to end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Ends when it is asked to.
    pub(super) async fn stopped(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn add(&self, file: FileRef) {
        self.list().push(file);
        self.grown.store(true, Ordering::SeqCst);
    }

    fn list(&self) -> MutexGuard<'_, Vec<FileRef>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That an attempt ends because its worker's time does.
pub(crate) fn cut_short() -> Error {
    Error::new(Code::StepCut, "stopped before the end of the worker's time")
}

/// Whether an attempt that ended so is followed by another one, which may go on with what this one has read.
pub(super) fn may_go_on(e: &Error) -> bool {
    matches!(e.kind(), Kind::Transient | Kind::RateLimited { .. } | Kind::AuthExpired)
}

/// Whether an error says that what is saved is of no use.
pub(super) fn is_lost(e: &Error) -> bool {
    matches!(e.code(), Code::SourceChanged | Code::StoreMissing | Code::StoreDamaged)
}

/// What the connector said that is not saved yet.
#[derive(Debug)]
pub(super) struct Log<'a> {
    pub(super) saved: &'a Saved,
    run: &'a RunId,
    step: u32,
    /// From how many bytes on it is saved.
    limit: usize,
    keeps: bool,
    bytes: usize,
    said: Vec<Said>,
    /// The last checkpoint, and how much was said before it.
    marked: Option<(Checkpoint, usize)>,
}

/// A message that is kept.
#[derive(Debug, Clone)]
enum Said {
    Rows { stream: u32, rows: Rows },
    Rejected { stream: u32, reason: String },
    Cursor { stream: u32, after: Cursor },
}

impl<'a> Log<'a> {
    /// Of an attempt, which saves what it has whenever that is more than `limit` bytes.
    pub(super) fn new(run: &'a RunId, step: u32, saved: &'a Saved, limit: usize) -> Self {
        Self { saved, run, step, limit, keeps: saved.keeps, bytes: 0, said: Vec::new(), marked: None }
    }

    /// Keeps a message.
    ///
    /// # Errors
    /// Any store error.
    pub(super) async fn note(&mut self, store: &Store, message: &Message, secrets: &Secrets) -> Result<()> {
        if !self.keeps {
            return Ok(());
        }
        let said = match message {
            Message::Rows { stream, rows } => Said::Rows { stream: *stream, rows: rows.clone() },
            Message::Rejected { stream, reason, .. } => {
                Said::Rejected { stream: *stream, reason: secrets.redact(reason) }
            }
            Message::Cursor { stream, after } => Said::Cursor { stream: *stream, after: after.clone() },
            Message::Note { .. } | Message::Progress(_) | Message::Checkpoint(_) => return Ok(()),
        };
        self.bytes += said.bytes();
        self.said.push(said);
        let most = self.limit.saturating_mul(2);
        if self.bytes > most {
            self.save(store).await?;
        }
        if self.bytes > most {
            // Nothing marks a place to go on from, and memory is bounded (P7): what is saved so far has to do.
            (self.keeps, self.said, self.bytes) = (false, Vec::new(), 0);
        }
        Ok(())
    }

    /// Everything said so far can be gone on from.
    ///
    /// # Errors
    /// Any store error.
    pub(super) async fn mark(&mut self, store: &Store, checkpoint: Checkpoint) -> Result<()> {
        if !self.keeps {
            return Ok(());
        }
        let Checkpoint { place, seen: fresh } = checkpoint;
        let mut seen = self.marked.take().map(|(marked, _)| marked.seen).unwrap_or_default();
        seen.extend(fresh);
        self.marked = Some((Checkpoint { place, seen }, self.said.len()));
        if self.bytes >= self.limit { self.save(store).await } else { Ok(()) }
    }

    /// Saves what was said before the last checkpoint.
    ///
    /// # Errors
    /// Any store error.
    pub(super) async fn save(&mut self, store: &Store) -> Result<()> {
        let Some((checkpoint, count)) = self.marked.take() else { return Ok(()) };
        let after = self.said.split_off(count);
        let before = std::mem::replace(&mut self.said, after);
        self.bytes = self.said.iter().map(Said::bytes).sum();
        let bytes =
            tokio::task::spawn_blocking(move || encode(checkpoint, &before)).await.map_err(|e| internal(&e))??;
        let bytes = Bytes::from(bytes);
        let hash = hakiri_core::hash::Hash::of(&bytes);
        let path = layout::step_read(self.run, self.step, self.saved.files().len(), &hash);
        let file = store.put_hashed(&path, bytes, hash).await?;
        self.saved.add(file);
        Ok(())
    }
}

impl Said {
    fn bytes(&self) -> usize {
        match self {
            Self::Rows { rows, .. } => batch(rows).get_array_memory_size(),
            Self::Rejected { reason, .. } => reason.len(),
            Self::Cursor { .. } => 0,
        }
    }
}

/// The first line of a file: where to go on, and the messages in order, whose rows come after it one after the other, each
/// as a stream of Arrow IPC. All of it is compressed with Zstandard.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    checkpoint: Checkpoint,
    said: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Typed { stream: u32, bytes: usize },
    Text { stream: u32, bytes: usize },
    Json { stream: u32, bytes: usize },
    Rejected { stream: u32, reason: String },
    Cursor { stream: u32, after: Cursor },
}

fn batch(rows: &Rows) -> &RecordBatch {
    match rows {
        Rows::Typed(batch) | Rows::Text(batch) | Rows::Json(batch) => batch,
    }
}

fn encode(checkpoint: Checkpoint, said: &[Said]) -> Result<Vec<u8>> {
    let (mut lines, mut rows_of_all) = (Vec::new(), Vec::new());
    for said in said {
        lines.push(match said {
            Said::Rejected { stream, reason } => Line::Rejected { stream: *stream, reason: reason.clone() },
            Said::Cursor { stream, after } => Line::Cursor { stream: *stream, after: after.clone() },
            Said::Rows { stream, rows } => {
                let (stream, from) = (*stream, rows_of_all.len());
                let mut writer =
                    StreamWriter::try_new(&mut rows_of_all, &batch(rows).schema()).map_err(|e| arrow(&e))?;
                writer.write(batch(rows)).and_then(|()| writer.finish()).map_err(|e| arrow(&e))?;
                drop(writer);
                let bytes = rows_of_all.len() - from;
                match rows {
                    Rows::Typed(_) => Line::Typed { stream, bytes },
                    Rows::Text(_) => Line::Text { stream, bytes },
                    Rows::Json(_) => Line::Json { stream, bytes },
                }
            }
        });
    }
    let header = Header { format: FORMAT, checkpoint, said: lines };
    let mut line = serde_json::to_vec(&header).map_err(|e| internal(&e))?;
    line.push(b'\n');
    let mut file = zstd::Encoder::new(Vec::new(), LEVEL).map_err(|e| internal(&e))?;
    file.write_all(&line).and_then(|()| file.write_all(&rows_of_all)).map_err(|e| internal(&e))?;
    file.finish().map_err(|e| internal(&e))
}

/// What a file holds; `from` becomes the place to go on from after it.
///
/// # Errors
/// `HK0305` and `HK0306` for a file that is gone or cannot be read; any store error.
pub(super) async fn load(store: &Store, file: &FileRef, from: &mut Option<Checkpoint>) -> Result<Vec<Message>> {
    let bytes = store.get_verified(file).await?;
    let unreadable = || Error::new(Code::StoreDamaged, "what was saved of a step cannot be read").at(&file.path);
    let decoded = tokio::task::spawn_blocking(move || decode(&bytes)).await.map_err(|e| internal(&e))?;
    let (checkpoint, messages) = decoded.ok_or_else(unreadable)?;
    let mut seen = from.take().map(|from| from.seen).unwrap_or_default();
    seen.extend(checkpoint.seen);
    *from = Some(Checkpoint { place: checkpoint.place, seen });
    Ok(messages)
}

fn decode(bytes: &[u8]) -> Option<(Checkpoint, Vec<Message>)> {
    let all = zstd::decode_all(bytes).ok()?;
    let end = all.iter().position(|b| *b == b'\n')?;
    let header: Header = serde_json::from_slice(&all[..end]).ok()?;
    if header.format != FORMAT {
        return None;
    }
    let mut rest = &all[end + 1..];
    let mut rows = |stream: u32, bytes: usize, kind: fn(RecordBatch) -> Rows| {
        let (these, after) = rest.split_at_checked(bytes)?;
        rest = after;
        let batch = StreamReader::try_new(these, None).ok()?.next()?.ok()?;
        Some(Message::Rows { stream, rows: kind(batch) })
    };
    let message = |line| match line {
        Line::Typed { stream, bytes } => rows(stream, bytes, Rows::Typed),
        Line::Text { stream, bytes } => rows(stream, bytes, Rows::Text),
        Line::Json { stream, bytes } => rows(stream, bytes, Rows::Json),
        Line::Rejected { stream, reason } => {
            // It was not the step's end when it was met.
            let error = Error::new(Code::Internal, reason.clone());
            Some(Message::Rejected { stream, reason, error })
        }
        Line::Cursor { stream, after } => Some(Message::Cursor { stream, after }),
    };
    let messages = header.said.into_iter().map(message).collect::<Option<Vec<_>>>()?;
    Some((header.checkpoint, messages))
}

fn arrow(e: &ArrowError) -> Error {
    internal(e)
}

fn internal(e: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("what was read of a step cannot be saved: {e}"))
}
