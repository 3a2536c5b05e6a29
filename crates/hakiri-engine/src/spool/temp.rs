//! Temporary files of record batches: Arrow IPC streams with lz4, one behind the other in an unnamed file.
//!
//! Unnamed, because such a file is gone when its handle is, however the process ends. Columns keep their exact Arrow
//! types, metadata included, which no other format of ours does.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

/// Bytes a reader asks the file for at once.
const READ_BUFFER: usize = 64 << 10;

/// An unnamed file of IPC streams, written in order and read from anywhere at any time.
pub(crate) struct TempBatches {
    file: Arc<File>,
    end: u64,
    open: Option<StreamWriter<Tail>>,
    start: u64,
}

impl TempBatches {
    /// An empty file in `dir`, which must exist.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(dir).map_err(|e| temp_failed(&e).at(dir.display().to_string()))?;
        Ok(Self { file: Arc::new(file), end: 0, open: None, start: 0 })
    }

    /// Appends a batch to the stream under way, which [`Self::end_stream`] ends; all of a stream have one schema.
    pub(crate) fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => {
                self.start = self.end;
                let options = IpcWriteOptions::default()
                    .try_with_compression(Some(CompressionType::LZ4_FRAME))
                    .map_err(ipc_failed)?;
                let tail = Tail { file: self.file.clone(), at: self.end };
                StreamWriter::try_new_with_options(tail, batch.schema_ref(), options).map_err(ipc_failed)?
            }
        };
        writer.write(batch).map_err(ipc_failed)?;
        self.end = writer.get_ref().at;
        self.open = Some(writer);
        Ok(())
    }

    /// Ends the stream under way: the place of its bytes.
    pub(crate) fn end_stream(&mut self) -> Range<u64> {
        self.open = None;
        self.start..self.end
    }

    /// The place of what the stream under way holds so far.
    pub(crate) fn open_range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The batches of one stream. What was appended before is in it, whether or not the stream has ended.
    pub(crate) fn read(&self, place: Range<u64>) -> Result<TempReader> {
        let source = Window { file: self.file.clone(), at: place.start, end: place.end };
        let reader = StreamReader::try_new(BufReader::with_capacity(READ_BUFFER, source), None).map_err(ipc_failed)?;
        Ok(TempReader(reader))
    }
}

impl std::fmt::Debug for TempBatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TempBatches").field("bytes", &self.end).finish_non_exhaustive()
    }
}

/// The batches of one stream, in order.
pub(crate) struct TempReader(StreamReader<BufReader<Window>>);

impl Iterator for TempReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|batch| batch.map_err(ipc_failed))
    }
}

/// Writes at the end of a shared file by position: the handle's own offset is never used.
struct Tail {
    file: Arc<File>,
    at: u64,
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.at)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a range of a shared file by position.
struct Window {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Window {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(into.len());
        let read = self.file.read_at(&mut into[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn ipc_failed(e: ArrowError) -> Error {
    match e {
        ArrowError::IoError(_, e) => temp_failed(&e),
        other => Error::new(Code::Internal, format!("arrow: {other}")),
    }
}

/// What a failed operation on a temporary file means.
pub(super) fn temp_failed(e: &io::Error) -> Error {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Error::new(Code::StoreFull, "no space is left for temporary files")
        }
        _ => Error::new(Code::Io, format!("a temporary file: {}", e.to_string().to_lowercase())),
    }
}
