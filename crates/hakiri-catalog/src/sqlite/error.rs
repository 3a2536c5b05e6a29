//! What SQLite's errors mean to a caller of the catalog.

use hakiri_core::catalog::CatalogError;
use rusqlite::ErrorCode;

/// An error before or without a commit: nothing was written.
pub(super) fn failed(error: &rusqlite::Error) -> CatalogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            CatalogError::Unavailable { reason: "the catalog is locked by another process".to_owned(), retry_after: 5 }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            CatalogError::Corrupt("the file is damaged, or is not a catalog".to_owned())
        }
        Some(ErrorCode::ReadOnly) => {
            CatalogError::Unavailable { reason: "the catalog can only be read".to_owned(), retry_after: 0 }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => CatalogError::Unavailable {
            reason: "the catalog's file cannot be opened; check its folder and permissions".to_owned(),
            retry_after: 0,
        },
        Some(ErrorCode::DiskFull) => {
            CatalogError::Unavailable { reason: "the disk of the catalog is full".to_owned(), retry_after: 60 }
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::FileLockingProtocolFailed) => {
            CatalogError::Unavailable {
                reason: format!("the catalog's file cannot be used: {}", said(error)),
                retry_after: 5,
            }
        }
        // Tables or columns that are not what this version made, text that is none.
        _ => CatalogError::Corrupt(format!("the catalog cannot be read: {}", said(error))),
    }
}

/// An error of the commit itself: once bytes may have reached the log, a later reader may or may not see them (C8).
pub(super) fn at_commit(error: &rusqlite::Error) -> CatalogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => failed(error),
        _ => CatalogError::OutcomeUnknown(said(error)),
    }
}

/// SQLite's own words: they name tables and files, never values.
fn said(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => code.to_string(),
        other => other.to_string(),
    }
}
