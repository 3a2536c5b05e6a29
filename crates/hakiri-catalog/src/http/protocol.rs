//! The requests and answers as bytes. Version 1: JSON, versions as decimal text since readers in other languages have no
//! integers above 2^53, the time in milliseconds. The fixtures of the tests hold both sides to it.

use hakiri_core::catalog::{CatalogError, CatalogResult};
use hakiri_core::time::Instant;
use serde::{Deserialize, Serialize};

use crate::records::{Batch, Entry, Moment, Scan, Scanned, Version, Written};

/// The header that says which version a request is of.
pub const HEADER: &str = "hakiri-catalog";

/// That version.
pub const PROTOCOL: &str = "1";

/// The version of what is stored that this binary knows.
pub const VERSION: u64 = 1;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `read`, `write`, `scan` or `info`: the last part of the path.
    pub method: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    fn new(method: &'static str, body: &impl Serialize) -> CatalogResult<Self> {
        // Texts and numbers always have a JSON form.
        let body = serde_json::to_vec(body)
            .map_err(|_| CatalogError::Corrupt(format!("a request to {method} has no JSON form")))?;
        Ok(Self { method, body })
    }

    /// Asks for records.
    ///
    /// # Errors
    /// None that can happen; so it is with the others.
    pub fn read(keys: &[String]) -> CatalogResult<Self> {
        #[derive(Serialize)]
        struct Body<'a> {
            keys: &'a [String],
        }
        Self::new("read", &Body { keys })
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn write(batch: &Batch) -> CatalogResult<Self> {
        #[derive(Serialize)]
        struct Body<'a> {
            expect: Vec<(&'a str, Option<String>)>,
            put: &'a [(String, String)],
            delete: &'a [String],
        }
        let expect = batch.expect.iter().map(|(key, version)| (key.as_str(), version.map(|v| v.to_string()))).collect();
        Self::new("write", &Body { expect, put: &batch.put, delete: &batch.delete })
    }

    /// Asks for a page.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn scan(scan: &Scan) -> CatalogResult<Self> {
        #[derive(Serialize)]
        struct Body<'a> {
            from: &'a str,
            to: &'a str,
            reverse: bool,
            limit: u32,
            bytes: u32,
        }
        // A page may be smaller than it was asked for.
        let bounded = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (limit, bytes) = (bounded(scan.limit), bounded(scan.bytes));
        Self::new("scan", &Body { from: &scan.from, to: &scan.to, reverse: scan.reverse, limit, bytes })
    }

    /// Asks what is there, and creates it under an identity if one is given and nothing is there.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn info(new_id: Option<&str>) -> CatalogResult<Self> {
        #[derive(Serialize)]
        struct Body<'a> {
            new_id: Option<&'a str>,
        }
        Self::new("info", &Body { new_id })
    }
}

/// What `info` answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Informed {
    /// The version of what is stored.
    pub version: u64,
    /// The catalog's identity.
    pub id: String,
    /// The backend's clock in milliseconds.
    pub now: i64,
}

/// An answer that is no success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// `unavailable`, `corrupt`, `newer`, `not_found`, `refused`, `unknown`; one that is not known means `unknown`.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// Seconds to wait.
    pub retry_after: Option<u64>,
    /// With `newer`: the stored version.
    pub found: Option<u64>,
    /// With `newer`: the highest that the backend knows.
    pub known: Option<u64>,
}

/// The answer to [`Request::read`] for so many keys.
///
/// # Errors
/// `Corrupt` when it is of another form; so it is with the others.
pub fn moment(body: &[u8], asked: usize) -> CatalogResult<Moment> {
    #[derive(Deserialize)]
    struct Answer {
        now: i64,
        entries: Vec<Option<Found>>,
    }
    #[derive(Deserialize)]
    struct Found {
        version: String,
        text: String,
    }
    let answer: Answer = decoded(body)?;
    if answer.entries.len() != asked {
        return Err(odd());
    }
    let entry = |found: Found| Ok(Entry { version: version(&found.version)?, text: found.text });
    let entries = answer.entries.into_iter().map(|found| found.map(entry).transpose()).collect::<CatalogResult<_>>()?;
    Ok(Moment { now: Instant::from_millis(answer.now), entries })
}

/// The answer to [`Request::write`].
///
/// # Errors
/// See [`moment`].
pub fn written(body: &[u8]) -> CatalogResult<Written> {
    #[derive(Deserialize)]
    struct Answer {
        written: How,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum How {
        Done,
        Conflict,
    }
    Ok(match decoded::<Answer>(body)?.written {
        How::Done => Written::Done,
        How::Conflict => Written::Conflict,
    })
}

/// The answer to [`Request::scan`].
///
/// # Errors
/// See [`moment`].
pub fn scanned(body: &[u8]) -> CatalogResult<Scanned> {
    #[derive(Deserialize)]
    struct Answer {
        entries: Vec<(String, String)>,
        more: bool,
    }
    let Answer { entries, more } = decoded(body)?;
    Ok(Scanned { entries, more })
}

/// The answer to [`Request::info`].
///
/// # Errors
/// See [`moment`]; `Newer` for a version that this binary does not know.
pub fn informed(body: &[u8]) -> CatalogResult<Informed> {
    let informed: Informed = decoded(body)?;
    match informed.version {
        0 => Err(odd()),
        found if found > VERSION => Err(CatalogError::Newer { found, known: VERSION }),
        _ => Ok(informed),
    }
}

/// What an answer that is no success says; none where it is not one of ours.
pub fn problem(body: &[u8]) -> Option<Problem> {
    #[derive(Deserialize)]
    struct Answer {
        error: Problem,
    }
    serde_json::from_slice::<Answer>(body).ok().map(|answer| answer.error)
}

fn version(text: &str) -> CatalogResult<Version> {
    text.parse().map_err(|_| odd())
}

/// The cause is not told: it may quote what is stored (P8).
fn decoded<'a, T: Deserialize<'a>>(body: &'a [u8]) -> CatalogResult<T> {
    serde_json::from_slice(body).map_err(|_| odd())
}

fn odd() -> CatalogError {
    CatalogError::Corrupt("the catalog's answer is not of the form that was asked for".to_owned())
}
