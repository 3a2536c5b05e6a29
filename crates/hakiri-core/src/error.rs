//! One error type for everything a user can meet.
//!
//! An error has a stable [code](crate::codes), a [`Kind`] that decides what a run does about it (`05`, "Errors and
//! retries"), one line of what happened and one line of what to do. Text is lower case without a full stop. It
//! names files, tables and counts, never a value of a record and never a secret (P8).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codes::Code;

/// The result of anything that can fail in a way a user must hear of.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a run does about an error; decided here once, obeyed by every orchestrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// May pass by itself: back off and try again, at most six attempts in all.
    Transient,
    /// The source asked us to wait; not an attempt. Zero means "no hint": back off instead.
    RateLimited {
        /// Seconds the source asked for.
        seconds: u64,
    },
    /// A credential no longer works: the pipeline fails without a retry.
    AuthExpired,
    /// Trying again cannot help: the table fails.
    Permanent,
    /// The data no longer fits the table and the manifest does not allow it to change.
    SchemaIncompatible,
    /// The command line or the manifest is wrong: nothing was started (exit code 2).
    Usage,
    /// The user interrupted the work (exit code 130).
    Interrupted,
}

/// An error with a code, a kind, a message, an optional place and an optional next step.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    kind: Kind,
    message: String,
    hint: Option<String>,
    place: Option<String>,
}

impl Error {
    /// An error with the code's own kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, kind: code.info().kind, message: message.into(), hint: None, place: None }))
    }

    /// Replaces the next step that the code suggests by a more precise one.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says where: a file and line, a table, a URL without its query.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        if self.0.place.is_none() {
            self.0.place = Some(place.into());
        }
        self
    }

    /// Overrides the kind, where the circumstances decide it (a 429 with a `Retry-After`, say).
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What a run does about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened, one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, one line.
    pub fn hint(&self) -> &str {
        self.0.hint.as_deref().unwrap_or(self.0.code.info().remedy)
    }

    /// Where it happened, if known.
    pub fn place(&self) -> Option<&str> {
        self.0.place.as_deref()
    }

    /// The error as data, for step records, reports and `--json`.
    pub fn to_failure(&self) -> Failure {
        Failure {
            code: self.code().to_string(),
            kind: self.kind(),
            message: self.message().to_owned(),
            hint: self.hint().to_owned(),
            place: self.place().map(str::to_owned),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self} ({:?}; {})", self.0.code, self.0.kind, self.hint())
    }
}

impl std::error::Error for Error {}

/// An [`Error`] as data. It is what step records and run reports keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code, as text: a later binary may not know an earlier one's codes.
    pub code: String,
    /// What the run did about it.
    #[serde(flatten)]
    pub kind: Kind,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}
