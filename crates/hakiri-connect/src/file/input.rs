//! From a file's bytes to text: counting and hashing, decompression, byte order mark, encoding.
//!
//! Every byte that is read passes the hash, so that a file which changed after the plan was made is noticed without
//! a second look at it.

use std::cell::Cell;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use hakiri_core::Error;
use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use sha2::{Digest, Sha256};

use super::config::{Compression, Encoding};
use super::out::FromPlace;
use super::place::io_error;

/// The size of the buffers between the layers.
const BUFFER: usize = 64 << 10;

/// The file itself, counted and hashed.
pub(super) struct Raw {
    file: Box<dyn Read + Send>,
    hasher: Sha256,
    size: u64,
    counter: Rc<Cell<u64>>,
}

impl Read for Raw {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = loop {
            match self.file.read(buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io::Error::new(e.kind(), FromPlace(e))),
                Ok(n) => break n,
            }
        };
        self.hasher.update(&buf[..n]);
        self.size += n as u64;
        self.counter.set(self.counter.get() + n as u64);
        Ok(n)
    }
}

pub(super) enum Decoder {
    Plain(BufReader<Raw>),
    Gzip(Box<MultiGzDecoder<BufReader<Raw>>>),
    Zstd(zstd::Decoder<'static, BufReader<Raw>>),
}

impl Read for Decoder {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buf),
            Self::Gzip(reader) => reader.read(buf),
            Self::Zstd(reader) => reader.read(buf),
        }
    }
}

/// Text in UTF-8, or bytes that claim to be.
pub(super) enum Text {
    Utf8(Chain<Cursor<Vec<u8>>, Decoder>),
    Latin1 { inner: Chain<Cursor<Vec<u8>>, Decoder>, block: Vec<u8>, ready: Cursor<Vec<u8>> },
}

impl Read for Text {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Utf8(inner) => inner.read(buf),
            Self::Latin1 { inner, block, ready } => loop {
                let n = ready.read(buf)?;
                if n > 0 || buf.is_empty() {
                    return Ok(n);
                }
                let n = inner.read(block)?;
                if n == 0 {
                    return Ok(0);
                }
                *ready = Cursor::new(block[..n].iter().map(|b| char::from(*b)).collect::<String>().into_bytes());
            },
        }
    }
}

/// One file being read as text.
pub(super) type Input = BufReader<Text>;

/// Starts to read a file as text.
///
/// # Errors
/// I/O and decompression errors, for [`explain`]; `HK0604` for text that is plainly UTF-16.
pub(super) fn open(
    file: Box<dyn Read + Send>,
    compression: Compression,
    encoding: Encoding,
    counter: Rc<Cell<u64>>,
) -> std::result::Result<Input, super::out::Stop> {
    let raw = BufReader::with_capacity(BUFFER, Raw { file, hasher: Sha256::new(), size: 0, counter });
    let mut decoder = match compression {
        Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(raw))),
        Compression::Zstd => Decoder::Zstd(zstd::Decoder::with_buffer(raw)?),
        Compression::Auto | Compression::None => Decoder::Plain(raw),
    };
    let mut start = Vec::with_capacity(3);
    while start.len() < 3 {
        let mut byte = [0; 3];
        let want = 3 - start.len();
        match decoder.read(&mut byte[..want])? {
            0 => break,
            n => start.extend_from_slice(&byte[..n]),
        }
    }
    if encoding == Encoding::Utf8 {
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(Error::new(Code::FileEncoding, "the file is UTF-16, not UTF-8")
                .with_hint("convert the file to UTF-8")
                .into());
        }
        if start.starts_with(b"\xef\xbb\xbf") {
            start.clear();
        }
    }
    let inner = Cursor::new(start).chain(decoder);
    let text = match encoding {
        Encoding::Utf8 => Text::Utf8(inner),
        Encoding::Latin1 => Text::Latin1 { inner, block: vec![0; BUFFER], ready: Cursor::new(Vec::new()) },
    };
    Ok(BufReader::with_capacity(BUFFER, text))
}

/// Reads what is left of the file and gives its size and hash.
///
/// # Errors
/// The operating system's.
pub(super) fn finish(input: Input) -> io::Result<(u64, Hash)> {
    let inner = match input.into_inner() {
        Text::Utf8(inner) | Text::Latin1 { inner, .. } => inner,
    };
    let mut raw = match inner.into_inner().1 {
        Decoder::Plain(reader) => reader.into_inner(),
        Decoder::Gzip(reader) => reader.into_inner().into_inner(),
        Decoder::Zstd(reader) => reader.finish().into_inner(),
    };
    let mut block = vec![0; BUFFER];
    while raw.read(&mut block)? > 0 {}
    Ok((raw.size, Hash::from_digest(&raw.hasher.finalize())))
}

/// What an I/O error of the layers above means.
pub(super) fn explain(e: &io::Error, compression: Compression, path: &str) -> Error {
    if let Some(FromPlace(e)) = e.get_ref().and_then(|inner| inner.downcast_ref()) {
        return io_error(e, path);
    }
    let name = match compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Auto | Compression::None => return io_error(e, path),
    };
    if e.kind() == io::ErrorKind::UnexpectedEof {
        return Error::new(Code::FileTruncated, format!("the {name} file ends early")).at(path);
    }
    Error::new(Code::FileMalformed, format!("the file is not {name}, or is damaged"))
        .at(path)
        .with_hint("copy the file again, or set `compression`")
}

/// The error for a value above `max_value_bytes`.
pub(super) fn too_large(what: &str, limit: usize, place: String) -> Error {
    Error::new(Code::SourceLimit, format!("a {what} is larger than {limit} bytes")).at(place).with_hint(
        "raise max_value_bytes if it is meant to be that large; in CSV, look for a quote that is never closed",
    )
}
