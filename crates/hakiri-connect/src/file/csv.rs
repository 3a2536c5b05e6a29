//! CSV and TSV: rows of cells as text columns.
//!
//! Built on `csv-core`, not on the `csv` crate above it: that one no longer knows whether a cell was quoted, and here
//! an unquoted empty cell is a missing value while a quoted one is an empty text. `csv-core` reads cell by cell and
//! tells how much of the input belonged to it, so that the first byte answers the question.
//!
//! Lenient where spreadsheets are (text after a closing quote, blank lines, any line break), strict where rows would
//! be lost: a quoted cell that never ends is an error of the file, not of a row.

use std::io::BufRead;

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};
use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use super::config::Format;
use super::input::too_large;
use super::options::{TableOptions, check_columns};
use super::out::{Out, Stop, TextBatch};

/// More columns than this are taken for a mistake.
const MAX_COLUMNS: usize = 100_000;
/// A row may have this many times `max_value_bytes`.
const ROW_FACTOR: usize = 4;

/// Reads a file.
///
/// # Errors
/// `HK0606` for the header, `HK0405` for a cell or row that is too large, `HK0605` for a quoted cell that never ends.
pub(super) fn read(
    path: &str,
    options: &TableOptions,
    format: Format,
    reader: &mut impl BufRead,
    out: &mut Out<'_>,
) -> Result<(), Stop> {
    let delimiter = options.delimiter.unwrap_or(if format == Format::Tsv { b'\t' } else { b',' });
    let mut records = Records::new(reader, path, delimiter, options.quote, options.max_value_bytes);
    let mut pending = false;
    let names = if options.header {
        if !records.next(MAX_COLUMNS)? {
            out.note(format!("`{path}` is empty"))?;
            return Ok(());
        }
        records.names(options)?
    } else if let Some(columns) = &options.columns {
        columns.clone()
    } else {
        if !records.next(MAX_COLUMNS)? {
            out.note(format!("`{path}` is empty"))?;
            return Ok(());
        }
        pending = true;
        records.check_width()?;
        (1..=records.cells).map(|i| format!("column_{i}")).collect()
    };
    let mut batch = TextBatch::cells(&names);
    let mut count = 0_u64;
    loop {
        if !std::mem::take(&mut pending) && !records.next(names.len())? {
            break;
        }
        count += 1;
        if count.is_multiple_of(1024) {
            out.check()?;
        }
        if records.cells != names.len() {
            let what = format!("the row has {} cells, the file has {} columns", records.cells, names.len());
            out.rejected(Code::FileMalformed, records.place(), &what)?;
        } else if let Some(column) = (0..names.len()).find(|i| std::str::from_utf8(records.bytes(*i)).is_err()) {
            let what = format!("column {} of the row is not valid UTF-8", column + 1);
            out.rejected(Code::FileEncoding, records.place(), &what)?;
        } else {
            let cells = (0..names.len()).map(|i| {
                let text = std::str::from_utf8(records.bytes(i)).unwrap_or_default();
                let missing = !records.quoted[i] && options.null_values.iter().any(|n| n == text);
                (!missing).then_some(text)
            });
            batch.push(cells, out)?;
        }
    }
    batch.flush(out)?;
    Ok(())
}

/// The rows of a file, one at a time.
struct Records<'r, R> {
    reader: &'r mut R,
    core: Reader,
    path: &'r str,
    quote: Option<u8>,
    max_value: usize,
    max_row: usize,
    /// The cells of the current row, without quotes, one after the other.
    buf: Vec<u8>,
    /// Where each of the kept cells ends in `buf`.
    ends: Vec<usize>,
    /// Whether each of the kept cells was quoted.
    quoted: Vec<bool>,
    /// How many cells the row has, kept or not.
    cells: usize,
    /// The line the row starts at.
    line: u64,
}

/// A cell that is being read.
struct Cell {
    started: bool,
    quoted: bool,
    quotes: usize,
    start: usize,
}

impl<'r, R: BufRead> Records<'r, R> {
    fn new(reader: &'r mut R, path: &'r str, delimiter: u8, quote: Option<u8>, max_value: usize) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).quoting(quote.is_some());
        if let Some(quote) = quote {
            builder.quote(quote);
        }
        Self {
            reader,
            core: builder.build(),
            path,
            quote,
            max_value,
            max_row: max_value.saturating_mul(ROW_FACTOR),
            buf: vec![0; 8 << 10],
            ends: Vec::new(),
            quoted: Vec::new(),
            cells: 0,
            line: 1,
        }
    }

    /// Reads the next row and keeps its first `keep` cells. False: there is none.
    fn next(&mut self, keep: usize) -> Result<bool, Stop> {
        self.ends.clear();
        self.quoted.clear();
        self.cells = 0;
        self.line = self.core.line();
        let mut end = 0;
        let mut cell = Cell { started: false, quoted: false, quotes: 0, start: 0 };
        loop {
            if end == self.buf.len() {
                self.buf.resize(self.buf.len() * 2, 0);
            }
            let input = self.reader.fill_buf()?;
            let at_end = input.is_empty();
            let (result, read, written) = self.core.read_field(input, &mut self.buf[end..]);
            let raw = &input[..read];
            if !cell.started {
                // The line breaks that end the row before, and blank lines, belong to no cell.
                let breaks =
                    if self.cells == 0 { raw.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count() } else { 0 };
                self.line += raw[..breaks].iter().filter(|b| **b == b'\n').count() as u64;
                if let Some(first) = raw.get(breaks) {
                    cell.started = true;
                    cell.quoted = self.quote == Some(*first);
                }
            }
            if let (true, Some(quote)) = (cell.quoted, self.quote) {
                cell.quotes += memchr::memchr_iter(quote, raw).count();
            }
            self.reader.consume(read);
            end += written;
            if end - cell.start > self.max_value {
                return Err(too_large("cell", self.max_value, self.place()).into());
            }
            if end > self.max_row {
                return Err(too_large("row", self.max_row, self.place()).into());
            }
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => return Ok(false),
                ReadFieldResult::Field { record_end } => {
                    if at_end && cell.quoted && cell.quotes % 2 == 1 {
                        return Err(Error::new(Code::FileMalformed, "the file ends inside a quoted cell of this row")
                            .at(self.place())
                            .with_hint("look for a quote that is never closed, or a file that was cut off")
                            .into());
                    }
                    self.cells += 1;
                    if self.cells <= keep {
                        self.ends.push(end);
                        self.quoted.push(cell.quoted);
                    } else {
                        end = cell.start;
                    }
                    if record_end {
                        return Ok(true);
                    }
                    cell = Cell { started: false, quoted: false, quotes: 0, start: end };
                }
            }
        }
    }

    /// A kept cell.
    fn bytes(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.buf[start..self.ends[i]]
    }

    fn place(&self) -> String {
        format!("{}:{}", self.path, self.line)
    }

    fn check_width(&self) -> Result<()> {
        if self.cells > MAX_COLUMNS {
            return Err(Error::new(
                Code::FileHeader,
                format!("there are {} columns, more than {MAX_COLUMNS}", self.cells),
            )
            .at(self.place()));
        }
        Ok(())
    }

    /// The names of the columns, by the header just read.
    fn names(&self, options: &TableOptions) -> Result<Vec<String>> {
        self.check_width()?;
        if let Some(columns) = &options.columns {
            if columns.len() == self.cells {
                return Ok(columns.clone());
            }
            let what = format!("the header has {} columns, `columns` has {}", self.cells, columns.len());
            return Err(Error::new(Code::FileHeader, what)
                .at(self.place())
                .with_hint("name every column in `columns`"));
        }
        let mut names = Vec::with_capacity(self.cells);
        for i in 0..self.cells {
            let name = std::str::from_utf8(self.bytes(i)).map_err(|_| {
                Error::new(Code::FileEncoding, format!("the name of column {} is not valid UTF-8", i + 1))
                    .at(self.place())
            })?;
            names.push(name.to_owned());
        }
        check_columns(&names).map_err(|problem| Error::new(Code::FileHeader, problem).at(self.place()))?;
        Ok(names)
    }
}
