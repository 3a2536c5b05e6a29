//! What a failure means to a caller of the catalog.

use hakiri_core::catalog::{CatalogError, CatalogResult};
use hakiri_core::error::{Error, Kind};
use tokio_postgres::error::Severity;

use crate::records::Written;

/// How a statement failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was never sent.
    Unsent(CatalogError),
    /// It was sent, and this came back, from the server or from the driver.
    Sent(tokio_postgres::Error),
    /// It was sent, and no answer came in time.
    Silent,
}

impl Failure {
    /// Of a statement that changes nothing.
    pub(super) fn told(self) -> CatalogError {
        match self {
            Self::Unsent(e) => e,
            Self::Sent(e) => failed(&e),
            Self::Silent => {
                CatalogError::Unavailable { reason: "the database does not answer".to_owned(), retry_after: 5 }
            }
        }
    }

    /// Of a write: did it happen?
    pub(super) fn written(self) -> CatalogResult<Written> {
        let e = match self {
            Self::Unsent(e) => return Err(e),
            Self::Silent => return Err(CatalogError::OutcomeUnknown("the database does not answer".to_owned())),
            Self::Sent(e) => e,
        };
        let Some(server) = e.as_db_error() else {
            // The connection ended, or what came is no answer.
            return Err(CatalogError::OutcomeUnknown(hakiri_postgres::error(&e).message().to_owned()));
        };
        // An ERROR ends the statement and with it its transaction. FATAL and PANIC end the connection, perhaps between
        // the commit and its answer, and a pooler's own messages are FATAL. Without a severity nothing can be told.
        let known = server.parsed_severity() == Some(Severity::Error);
        match server.code().code() {
            _ if !known => Err(CatalogError::OutcomeUnknown(hakiri_postgres::error(&e).message().to_owned())),
            // "statement completion unknown", by its own words.
            "40003" => Err(CatalogError::OutcomeUnknown(hakiri_postgres::error(&e).message().to_owned())),
            // Where the database has another isolation level by default, the server itself finds what we look for.
            state if state.starts_with("40") || state == "23505" => Ok(Written::Conflict),
            _ => Err(failed(&e)),
        }
    }

    /// Whether the connection was at fault, so that another one may do better.
    pub(super) fn lost(&self) -> bool {
        match self {
            Self::Sent(e) => match e.as_db_error() {
                Some(e) => e.parsed_severity() != Some(Severity::Error),
                None => true,
            },
            Self::Unsent(_) | Self::Silent => false,
        }
    }
}

/// An error of a statement that did not happen.
pub(super) fn failed(e: &tokio_postgres::Error) -> CatalogError {
    let state = e.code().map_or("", |code| code.code());
    let ours = hakiri_postgres::error(e);
    match state {
        // Tables, columns or functions that are not what this version made; damaged pages.
        "42P01" | "42703" | "42883" | "3F000" | "42804" | "XX001" | "XX002" => {
            CatalogError::Corrupt(format!("the catalog's schema is damaged or gone: {}", ours.message()))
        }
        _ => unavailable(&ours),
    }
}

/// An error of ours with its hint: the catalog's own code has only a general one.
pub(super) fn unavailable(e: &Error) -> CatalogError {
    let retry_after = match e.kind() {
        Kind::Transient => 5,
        Kind::RateLimited { seconds } => seconds.max(1),
        _ => 0,
    };
    CatalogError::Unavailable { reason: format!("{}: {e}; {}", e.code(), e.hint()), retry_after }
}

/// As [`unavailable`], for what will not pass by itself.
pub(super) fn never(e: &Error) -> CatalogError {
    CatalogError::Unavailable { reason: format!("{}: {e}; {}", e.code(), e.hint()), retry_after: 0 }
}

/// An answer that is not of the form that was asked for.
pub(super) fn odd() -> CatalogError {
    CatalogError::Corrupt("the catalog's answer is not of the form that was asked for".to_owned())
}
