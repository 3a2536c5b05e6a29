//! JSON lines: one object per line, passed on as its text once it is known to be one.
//!
//! Values are not looked into: types are the engine's business, for all connectors in one place (S12).

use std::io::BufRead;

use hakiri_core::Result;
use hakiri_core::codes::Code;
use serde::de::IgnoredAny;

use super::input::too_large;
use super::out::{Out, Stop, TextBatch};

/// Reads a file. Blank lines are passed over; other lines that are not an object are rejected.
///
/// # Errors
/// `HK0405` for a line above `limit` bytes.
pub(super) fn read(path: &str, limit: usize, reader: &mut impl BufRead, out: &mut Out<'_>) -> Result<(), Stop> {
    let mut batch = TextBatch::json();
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        number += 1;
        if number.is_multiple_of(1024) {
            out.check()?;
        }
        line.clear();
        if !next_line(reader, &mut line, limit, || format!("{path}:{number}"))? {
            break;
        }
        let record = line.trim_ascii();
        if record.is_empty() {
            continue;
        }
        match object(record) {
            Ok(text) => batch.push(std::iter::once(Some(text)), out)?,
            Err((code, what)) => out.rejected(code, format!("{path}:{number}"), what)?,
        }
    }
    batch.flush(out)?;
    Ok(())
}

/// The text of an object.
fn object(record: &[u8]) -> std::result::Result<&str, (Code, &'static str)> {
    let text = std::str::from_utf8(record).map_err(|_| (Code::FileEncoding, "the line is not valid UTF-8"))?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Err(_) => Err((Code::FileMalformed, "the line is not valid JSON")),
        Ok(_) if !text.starts_with('{') => Err((Code::FileMalformed, "the line is JSON, but not an object")),
        Ok(_) => Ok(text),
    }
}

/// Reads up to and without the next line feed. False: the file ended before.
fn next_line(
    reader: &mut impl BufRead,
    line: &mut Vec<u8>,
    limit: usize,
    place: impl Fn() -> String,
) -> Result<bool, Stop> {
    loop {
        let input = reader.fill_buf()?;
        if input.is_empty() {
            return Ok(!line.is_empty());
        }
        let (piece, used, done) = match memchr::memchr(b'\n', input) {
            Some(at) => (&input[..at], at + 1, true),
            None => (input, input.len(), false),
        };
        if line.len() + piece.len() > limit {
            return Err(too_large("record", limit, place()).into());
        }
        line.extend_from_slice(piece);
        reader.consume(used);
        if done {
            return Ok(true);
        }
    }
}
