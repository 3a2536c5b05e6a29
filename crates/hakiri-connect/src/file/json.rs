//! JSON documents: the array of records is walked element by element, so that memory holds one record, not the file.
//!
//! A document is good or it is not: what is malformed anywhere, also after the last record, is an error of the file
//! and nothing of it is committed. Only an element that is JSON but not an object is a rejected row.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::input::too_large;
use super::options::TableOptions;
use super::out::{Out, Stop, TextBatch};

/// Reads a file.
///
/// # Errors
/// `HK0605` with line and column, `HK0604`, `HK0405` for a record above the limit.
pub(super) fn read(
    path: &str,
    options: &TableOptions,
    reader: &mut impl BufRead,
    out: &mut Out<'_>,
) -> Result<(), Stop> {
    let (first, lines) = first_byte(reader)?;
    let shape = |text: &str, hint: &str| Stop::from(Error::new(Code::FileMalformed, text).at(path).with_hint(hint));
    match (first, options.records.is_empty()) {
        (Some(b'{'), _) | (Some(b'['), true) => {}
        (None, _) => return Err(shape("the document is empty", "copy the file again")),
        (Some(b'['), false) => {
            return Err(shape("the document is an array, not an object that holds `records`", "leave out `records`"));
        }
        (Some(b'<'), _) => {
            return Err(shape("the file is not JSON: it starts like HTML or XML", "get the file again"));
        }
        (Some(_), _) => {
            return Err(shape("the file holds neither a JSON array nor a JSON object", "check `format`"));
        }
    }
    let used = Rc::new(Cell::new(None));
    let guard = Guard { inner: reader, used: used.clone(), limit: options.max_value_bytes };
    let mut document = serde_json::Deserializer::from_reader(guard);
    let limit = options.max_value_bytes;
    let mut walk = Walk { path, limit, batch: TextBatch::json(), out, used, failure: None, index: 0, found: false };
    let result = if !options.records.is_empty() || first == Some(b'[') {
        Target { segments: &options.records, walk: &mut walk }.deserialize(&mut document)
    } else {
        walk.found = true;
        walk.used.set(Some(0));
        <Box<RawValue> as serde::Deserialize>::deserialize(&mut document).and_then(|record| {
            walk.used.set(None);
            walk.record(&record).map_err(|e| walk.fail(e))
        })
    };
    let result = result.and_then(|()| document.end());
    if let Err(e) = result {
        return Err(match walk.failure.take() {
            Some(failure) => failure.into(),
            None => explain(e, &walk, lines, !options.records.is_empty()),
        });
    }
    if !walk.found {
        return Err(shape(
            "the document has nothing at the path of `records`",
            "check `records`: a path with dots, such as \"data.items\"",
        ));
    }
    walk.batch.flush(walk.out)?;
    Ok(())
}

/// The first byte that is not white space, left in place, and how many lines were passed to find it.
fn first_byte(reader: &mut impl BufRead) -> io::Result<(Option<u8>, usize)> {
    let mut lines = 0;
    loop {
        let input = reader.fill_buf()?;
        if input.is_empty() {
            return Ok((None, lines));
        }
        if let Some(byte) = input.iter().find(|b| !b.is_ascii_whitespace()) {
            return Ok((Some(*byte), lines));
        }
        lines += memchr::memchr_iter(b'\n', input).count();
        let length = input.len();
        reader.consume(length);
    }
}

fn explain(e: serde_json::Error, walk: &Walk<'_, '_>, lines: usize, has_path: bool) -> Stop {
    let (line, column, path) = (e.line() + lines, e.column(), walk.path);
    let malformed = |what: &str, hint: &str| {
        let what = format!("{what} (column {column})");
        Error::new(Code::FileMalformed, what).at(format!("{path}:{line}")).with_hint(hint).into()
    };
    match e.classify() {
        Category::Io => {
            let e = io::Error::from(e);
            match e.get_ref() {
                Some(inner) if inner.is::<TooLarge>() => {
                    too_large("record", walk.limit, walk.place(walk.index + 1)).into()
                }
                _ => Stop::Io(e),
            }
        }
        Category::Eof => malformed("the JSON document ends early", "copy the file again"),
        Category::Data if has_path => malformed(
            "`records` does not lead to an array",
            "check `records`: a path with dots, such as \"data.items\"",
        ),
        Category::Data => malformed("the JSON document has another shape than expected", "check `records`"),
        Category::Syntax => {
            // The texts of syntax errors are fixed: they quote nothing of the document.
            let text = e.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            if text == "invalid unicode code point" {
                return Error::new(Code::FileEncoding, format!("the document is not valid UTF-8 (column {column})"))
                    .at(format!("{path}:{line}"))
                    .into();
            }
            let hint = if text == "trailing characters" {
                "is there one object per line? then set format = \"jsonl\""
            } else {
                "correct the file"
            };
            malformed(&format!("the document is not valid JSON: {text}"), hint)
        }
    }
}

/// Marks the I/O error of a record that is larger than allowed.
#[derive(Debug, thiserror::Error)]
#[error("the record is too large")]
struct TooLarge;

/// What lies between two records counts with the next one; this much of it is let pass.
const SLACK: usize = 4 << 10;

/// Counts the bytes of the record that is being read, and stops above the limit, before memory holds them.
struct Guard<'r, R> {
    inner: &'r mut R,
    used: Rc<Cell<Option<usize>>>,
    limit: usize,
}

impl<R: Read> Read for Guard<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if let Some(used) = self.used.get() {
            if used + n > self.limit.saturating_add(SLACK) {
                return Err(io::Error::other(TooLarge));
            }
            self.used.set(Some(used + n));
        }
        Ok(n)
    }
}

/// What the walk through a document knows.
struct Walk<'w, 'o> {
    path: &'w str,
    limit: usize,
    batch: TextBatch,
    out: &'w mut Out<'o>,
    used: Rc<Cell<Option<usize>>>,
    failure: Option<Error>,
    index: u64,
    found: bool,
}

impl Walk<'_, '_> {
    fn record(&mut self, record: &RawValue) -> Result<()> {
        self.index += 1;
        if self.index.is_multiple_of(1024) {
            self.out.check()?;
        }
        if record.get().len() > self.limit {
            return Err(too_large("record", self.limit, self.place(self.index)));
        }
        if record.get().starts_with('{') {
            self.batch.push(std::iter::once(Some(record.get())), self.out)
        } else {
            self.out.rejected(Code::FileMalformed, self.place(self.index), "the record is not an object")
        }
    }

    fn place(&self, index: u64) -> String {
        format!("{}, record {index}", self.path)
    }

    /// Keeps an error of ours while one of serde's ends the walk.
    fn fail<E: serde::de::Error>(&mut self, e: Error) -> E {
        self.failure = Some(e);
        E::custom("stopped")
    }
}

/// Follows the path to the records.
struct Target<'s, 'w, 'o, 'p> {
    segments: &'s [String],
    walk: &'p mut Walk<'w, 'o>,
}

impl<'de> DeserializeSeed<'de> for Target<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        if self.segments.is_empty() { deserializer.deserialize_seq(self) } else { deserializer.deserialize_map(self) }
    }
}

impl<'de> Visitor<'de> for Target<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.segments.is_empty() {
            "an array of records"
        } else {
            "an object on the way to the records"
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let Some((wanted, rest)) = self.segments.split_first() else {
            return Err(serde::de::Error::custom("no path"));
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted {
                map.next_value_seed(Target { segments: rest, walk: &mut *self.walk })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<(), A::Error> {
        if std::mem::replace(&mut self.walk.found, true) {
            let e = Error::new(Code::FileMalformed, "the document has the records twice").at(self.walk.path);
            return Err(self.walk.fail(e));
        }
        loop {
            self.walk.used.set(Some(0));
            let record = seq.next_element::<Box<RawValue>>()?;
            self.walk.used.set(None);
            match record {
                None => return Ok(()),
                Some(record) => self.walk.record(&record).map_err(|e| self.walk.fail(e))?,
            }
        }
    }
}
