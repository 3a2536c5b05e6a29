//! The binary format of `COPY … TO STDOUT`, read piece by piece into batches.
//!
//! Contract: pieces may end anywhere, in the middle of a length too; what comes out depends on their bytes alone. What
//! the bytes claim is checked before it is believed: a length that is not there costs nothing, and the buffer holds at
//! most one row besides the piece. Only the trailer ends the rows; without it they are incomplete.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use hakiri_core::codes::Code;
use hakiri_core::schema::to_arrow_schema;
use hakiri_core::{Error, Result};

use super::column::{Column, Fault, Remedy};
use super::types::{Selected, schema_of};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of the header's extension.
const HEADER: usize = 19;
/// The largest value the server has, with room for what surrounds it.
const MAX_VALUE: usize = 1 << 30;

/// A batch, and why rows are missing from it.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: RecordBatch,
    /// One for each row that could not be stored.
    pub(super) rejected: Vec<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Extension(usize),
    Rows,
    Done,
}

/// Reads one copy.
#[derive(Debug)]
pub(super) struct CopyReader {
    state: State,
    /// What came of a row that is not complete.
    held: Vec<u8>,
    names: Vec<String>,
    columns: Vec<Column>,
    schema: SchemaRef,
    /// Of the batch under construction: rows, their bytes, and which of them are complete.
    rows: usize,
    bytes: usize,
    kept: Vec<bool>,
    rejected: Vec<Error>,
}

impl CopyReader {
    pub(super) fn new(columns: &[Selected]) -> Self {
        Self {
            state: State::Header,
            held: Vec::new(),
            names: columns.iter().map(|c| c.name.clone()).collect(),
            columns: columns.iter().map(|c| Column::new(&c.wire)).collect(),
            schema: Arc::new(to_arrow_schema(&schema_of(columns))),
            rows: 0,
            bytes: 0,
            kept: Vec::new(),
            rejected: Vec::new(),
        }
    }

    /// Takes a piece.
    ///
    /// # Errors
    /// `HK1022` for bytes that are no copy of these columns.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<()> {
        // Mostly a piece is one row, and nothing is copied.
        if self.held.is_empty() {
            let used = self.consume(piece)?;
            self.held.extend_from_slice(&piece[used..]);
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(piece);
            let used = self.consume(&held)?;
            held.drain(..used);
            self.held = held;
        }
        Ok(())
    }

    /// How many rows wait to be taken, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.rows, self.bytes)
    }

    /// Whether the trailer was there.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The rows so far.
    ///
    /// # Errors
    /// `HK0001` only.
    pub(super) fn take(&mut self) -> Result<Batch> {
        let broken = |e: arrow::error::ArrowError| Error::new(Code::Internal, format!("arrow: {e}"));
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>().map_err(broken)?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let mut rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(broken)?;
        let rejected = std::mem::take(&mut self.rejected);
        let kept = BooleanArray::from(std::mem::take(&mut self.kept));
        if !rejected.is_empty() {
            rows = filter_record_batch(&rows, &kept).map_err(broken)?;
        }
        (self.rows, self.bytes) = (0, 0);
        Ok(Batch { rows, rejected })
    }

    /// How many bytes were used up.
    fn consume(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let used = match self.state {
                State::Header => self.header(rest)?,
                State::Extension(length) => {
                    let skipped = length.min(rest.len());
                    self.state = if skipped == length { State::Rows } else { State::Extension(length - skipped) };
                    (self.state == State::Rows || skipped > 0).then_some(skipped)
                }
                State::Rows => self.row(rest)?,
                State::Done if rest.is_empty() => None,
                State::Done => return Err(unexpected("there is more after its end")),
            };
            match used {
                Some(used) => at += used,
                None => return Ok(at),
            }
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let known = bytes.len().min(SIGNATURE.len());
        if bytes[..known] != SIGNATURE[..known] {
            return Err(unexpected("it does not begin as a binary copy does"));
        }
        let Some(head) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        // The upper half are flags that a reader must understand.
        if word(11) >> 16 != 0 {
            return Err(unexpected("its header asks for what is not known here"));
        }
        let extension = usize::try_from(word(15)).ok().filter(|n| *n <= 1 << 20);
        self.state = State::Extension(extension.ok_or_else(|| unexpected("its header is too long"))?);
        Ok(Some(HEADER))
    }

    /// One row, if all of it is there.
    fn row(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some(count) = bytes.first_chunk::<2>() else { return Ok(None) };
        match i16::from_be_bytes(*count) {
            -1 => {
                self.state = State::Done;
                return Ok(Some(2));
            }
            count if usize::try_from(count).ok() != Some(self.columns.len()) => {
                return Err(unexpected("a row has another number of columns than was asked for"));
            }
            _ => {}
        }
        let Some(end) = self.end_of_row(bytes)? else { return Ok(None) };
        let mut rest = &bytes[2..end];
        let mut fault: Option<(usize, Fault)> = None;
        for (place, column) in self.columns.iter_mut().enumerate() {
            let (length, after) = rest.split_first_chunk::<4>().ok_or_else(|| unexpected("a row is cut"))?;
            let (value, after) = match usize::try_from(i32::from_be_bytes(*length)) {
                Ok(length) => after.split_at_checked(length).ok_or_else(|| unexpected("a row is cut"))?,
                Err(_) => {
                    column.append(None).ok();
                    rest = after;
                    continue;
                }
            };
            rest = after;
            if let Err(found) = column.append(Some(value)) {
                fault.get_or_insert((place, found));
            }
        }
        if let Some((place, fault)) = fault {
            self.rejected.push(self.error(place, fault)?);
        }
        self.kept.push(fault.is_none());
        self.rows += 1;
        self.bytes += end;
        Ok(Some(end))
    }

    /// Where the row that `bytes` begins with ends, if that is in them.
    fn end_of_row(&self, bytes: &[u8]) -> Result<Option<usize>> {
        let mut end = 2;
        for (place, name) in self.names.iter().enumerate() {
            debug_assert!(place < self.columns.len());
            let Some(length) = bytes.get(end..).and_then(|b| b.first_chunk::<4>()) else { return Ok(None) };
            end += 4;
            match i32::from_be_bytes(*length) {
                -1 => {}
                length => match usize::try_from(length) {
                    Ok(length) if length <= MAX_VALUE => end += length,
                    _ => return Err(unexpected(&format!("a value of column `{name}` has an impossible length"))),
                },
            }
            if end > bytes.len() {
                return Ok(None);
            }
        }
        Ok(Some(end))
    }

    /// The error of a value that cannot be stored. That the bytes are no value at all ends the step.
    fn error(&self, place: usize, fault: Fault) -> Result<Error> {
        let name = &self.names[place];
        match fault {
            Fault::Malformed => Err(unexpected(&format!("a value of column `{name}` is not of its type"))),
            Fault::Value(what, remedy) => {
                let error = Error::new(Code::PostgresUnstorable, format!("column `{name}`: {what}"));
                Ok(match remedy {
                    Remedy::CastText => error.with_hint(format!(
                        "read it as text with casts = {{ {} = \"text\" }} in the table's part of the source's config, or correct the value",
                        toml_key(name)
                    )),
                    Remedy::Correct => error.with_hint(
                        "the database's encoding checks nothing (SQL_ASCII): correct the value, or leave the column out with exclude_columns",
                    ),
                })
            }
        }
    }
}

/// A name as a key in TOML.
pub(super) fn toml_key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

fn unexpected(what: &str) -> Error {
    Error::new(Code::PostgresTorn, format!("the answer of the server cannot be read: {what}"))
}

#[cfg(test)]
mod tests;
