//! What a reader of a format says, as messages: batches that are bounded by rows and by bytes, rejected rows, notes.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use hakiri_core::codes::Code;
use hakiri_core::source::{Cancel, Message, Progress, Rows};
use hakiri_core::{Error, Result};

/// A batch is sent on when it holds this many bytes, whatever the rows: 8 MiB.
const BATCH_BYTES: usize = 8 << 20;

/// Why reading a file stops. An I/O error is explained where the file and its compression are known.
#[derive(Debug)]
pub(super) enum Stop {
    Io(io::Error),
    Error(Error),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

/// Marks an I/O error: that of the place where the file is, not the decoder's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct FromPlace(pub(super) io::Error);

/// Where a step's messages go.
pub(super) struct Out<'a> {
    emit: &'a mut dyn FnMut(Message) -> Result<()>,
    cancel: &'a Cancel,
    pub(super) batch_rows: usize,
    /// Bytes read of the files so far; readers count here.
    pub(super) bytes: Rc<Cell<u64>>,
    opened: u64,
    total: u64,
}

impl<'a> Out<'a> {
    pub(super) fn new(
        emit: &'a mut dyn FnMut(Message) -> Result<()>,
        cancel: &'a Cancel,
        batch_rows: usize,
        total: u64,
    ) -> Self {
        Self { emit, cancel, batch_rows: batch_rows.max(1), bytes: Rc::new(Cell::new(0)), opened: 0, total }
    }

    pub(super) fn check(&self) -> Result<()> {
        self.cancel.check()
    }

    pub(super) fn cancel(&self) -> &Cancel {
        self.cancel
    }

    pub(super) fn file_opened(&mut self) {
        self.opened += 1;
    }

    pub(super) fn rows(&mut self, rows: Rows) -> Result<()> {
        self.check()?;
        if !rows.is_empty() {
            (self.emit)(Message::Rows { stream: 0, rows })?;
        }
        self.progress()
    }

    pub(super) fn progress(&mut self) -> Result<()> {
        let progress = Progress { requests: self.opened, bytes: self.bytes.get(), bytes_total: self.total };
        (self.emit)(Message::Progress(progress))
    }

    pub(super) fn message(&mut self, message: Message) -> Result<()> {
        (self.emit)(message)
    }

    pub(super) fn note(&mut self, text: impl Into<String>) -> Result<()> {
        (self.emit)(Message::Note { stream: 0, text: text.into() })
    }

    /// A row that cannot be used. `place` is `file:line` or the like.
    pub(super) fn rejected(&mut self, code: Code, place: String, what: &str) -> Result<()> {
        self.check()?;
        let reason = format!("{place}: {what}");
        (self.emit)(Message::Rejected { stream: 0, reason, error: Error::new(code, what).at(place) })
    }
}

/// Collects rows of text columns.
pub(super) struct TextBatch {
    schema: Arc<Schema>,
    columns: Vec<LargeStringBuilder>,
    rows: usize,
    bytes: usize,
    wrap: fn(RecordBatch) -> Rows,
}

impl TextBatch {
    /// For cells: every column may be null.
    pub(super) fn cells(names: &[String]) -> Self {
        let fields: Vec<Field> = names.iter().map(|n| Field::new(n, DataType::LargeUtf8, true)).collect();
        Self::new(fields, Rows::Text)
    }

    /// For records of JSON.
    pub(super) fn json() -> Self {
        Self::new(vec![Field::new("json", DataType::LargeUtf8, false)], Rows::Json)
    }

    fn new(fields: Vec<Field>, wrap: fn(RecordBatch) -> Rows) -> Self {
        let columns = fields.iter().map(|_| LargeStringBuilder::new()).collect();
        Self { schema: Arc::new(Schema::new(fields)), columns, rows: 0, bytes: 0, wrap }
    }

    /// Adds a row, one value per column, and sends the batch when it is full.
    pub(super) fn push<'v>(&mut self, values: impl Iterator<Item = Option<&'v str>>, out: &mut Out<'_>) -> Result<()> {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.append_option(value);
            self.bytes += value.map_or(1, |v| v.len() + 8);
        }
        self.rows += 1;
        if self.rows >= out.batch_rows || self.bytes >= BATCH_BYTES { self.flush(out) } else { Ok(()) }
    }

    /// Sends what there is.
    pub(super) fn flush(&mut self, out: &mut Out<'_>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        (self.rows, self.bytes) = (0, 0);
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(|e| Error::new(Code::Internal, format!("cannot form a batch: {e}")))?;
        out.rows((self.wrap)(batch))
    }
}
