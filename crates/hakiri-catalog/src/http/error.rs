//! What a failure means to a caller of the catalog. Pure: the client notes what it saw, this judges it.

use hakiri_core::catalog::CatalogError;

use super::protocol::{Problem, VERSION};

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was never sent.
    Unsent(CatalogError),
    /// It was sent, in part at least, and no whole answer came: the connection broke.
    Lost(String),
    /// It was sent, and no answer came in time.
    Silent(String),
    /// It was answered by something else than success.
    Answered {
        /// The status.
        status: u16,
        /// The seconds of the header `retry-after`.
        retry_after: Option<u64>,
        /// What the answer says, if it is one of the catalog's.
        problem: Option<Problem>,
        /// Where it was sent, without anything secret.
        place: String,
    },
    /// It was answered by success, but the answer cannot be read, or is too large.
    Unreadable(CatalogError),
}

impl Failure {
    /// Of a request that changes nothing.
    pub(super) fn told(self) -> CatalogError {
        match self {
            Self::Unsent(e) | Self::Unreadable(e) => e,
            Self::Lost(reason) | Self::Silent(reason) => CatalogError::Unavailable { reason, retry_after: 5 },
            Self::Answered { status, retry_after, problem, place } => known(status, retry_after, problem, &place)
                .unwrap_or_else(|| CatalogError::Unavailable {
                    reason: format!("{place} answers {status}"),
                    retry_after: retry_after.unwrap_or(5),
                }),
        }
    }

    /// Of a write, which may have happened unless the failure says that it did not (C8).
    pub(super) fn written(self) -> CatalogError {
        match self {
            Self::Unsent(e) => e,
            Self::Lost(reason) | Self::Silent(reason) => CatalogError::OutcomeUnknown(reason),
            Self::Unreadable(_) => CatalogError::OutcomeUnknown("the answer to a write cannot be read".to_owned()),
            Self::Answered { status, retry_after, problem, place } => known(status, retry_after, problem, &place)
                .unwrap_or_else(|| CatalogError::OutcomeUnknown(format!("{place} answers {status}"))),
        }
    }
}

/// What an answer means from which it is known that nothing was done: one of the catalog's own, or one that is given
/// before anything is passed on. None for all others, such as those of something in between that gave up waiting.
fn known(status: u16, retry_after: Option<u64>, problem: Option<Problem>, place: &str) -> Option<CatalogError> {
    let never = |reason: String| Some(CatalogError::Unavailable { reason, retry_after: 0 });
    if let Some(Problem { kind, message, retry_after: told, found, known }) = problem {
        match kind.as_str() {
            "unavailable" => {
                let retry_after = told.or(retry_after).unwrap_or(5);
                return Some(CatalogError::Unavailable { reason: message, retry_after });
            }
            "corrupt" => return Some(CatalogError::Corrupt(message)),
            "not_found" => return Some(CatalogError::NotFound(message)),
            "newer" => {
                let known = known.unwrap_or(VERSION);
                return Some(CatalogError::Newer { found: found.unwrap_or(known + 1), known });
            }
            "refused" => return never(format!("the catalog refuses the request: {message}")),
            _ if status >= 500 => return None,
            _ => {}
        }
    }
    match status {
        300..=399 => never(format!("{place} leads elsewhere ({status}): name the address that it leads to")),
        401 => never(format!(
            "{place} asks for a token, or for another one (401): it must be the Worker's HAKIRI_CATALOG_TOKEN"
        )),
        403 => never(format!(
            "{place} does not let this machine in (403): something stands before the Worker that forbids it"
        )),
        404 => never(format!(
            "{place} is no catalog (404): check the address, and that the Worker has a HAKIRI_CATALOG_TOKEN, without which its door is shut"
        )),
        405 | 411 | 413 | 414 | 415 => never(format!("{place} does not take the request ({status})")),
        429 => Some(CatalogError::Unavailable {
            reason: format!("{place} is asked too often (429)"),
            retry_after: retry_after.unwrap_or(10),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, kind: &str) -> Failure {
        let problem = (!kind.is_empty()).then(|| Problem {
            kind: kind.to_owned(),
            message: "m".to_owned(),
            retry_after: None,
            found: Some(3),
            known: Some(2),
        });
        Failure::Answered { status, retry_after: Some(7), problem, place: "https://w.example".to_owned() }
    }

    fn wait(e: &CatalogError) -> Option<u64> {
        match e {
            CatalogError::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    #[test]
    fn what_the_catalog_says_itself_is_believed_of_a_write_too() {
        for (status, kind, expected) in [
            (503, "unavailable", CatalogError::Unavailable { reason: "m".to_owned(), retry_after: 7 }),
            (500, "corrupt", CatalogError::Corrupt("m".to_owned())),
            (404, "not_found", CatalogError::NotFound("m".to_owned())),
            (409, "newer", CatalogError::Newer { found: 3, known: 2 }),
        ] {
            assert_eq!(answered(status, kind).told(), expected);
            assert_eq!(answered(status, kind).written(), expected);
        }
        assert_eq!(wait(&answered(400, "refused").written()), Some(0));
    }

    #[test]
    fn what_will_not_pass_by_itself_has_no_time_to_wait() {
        for status in [301, 307, 401, 403, 404, 405, 413] {
            assert_eq!(wait(&answered(status, "").told()), Some(0), "{status}");
            assert_eq!(wait(&answered(status, "").written()), Some(0), "{status}");
        }
        assert_eq!(wait(&answered(429, "").written()), Some(7));
    }

    #[test]
    fn whatever_else_came_of_a_write_leaves_it_open() {
        let unclear = [
            answered(500, ""),
            answered(502, "unknown"),
            answered(502, "of a later version"),
            answered(503, ""),
            answered(524, ""),
            answered(408, ""),
            answered(418, ""),
            answered(204, ""),
            Failure::Lost("gone".to_owned()),
            Failure::Silent("slow".to_owned()),
        ];
        for failure in unclear {
            assert!(matches!(failure.clone().written(), CatalogError::OutcomeUnknown(_)), "{failure:?}");
            assert!(wait(&failure.clone().told()).is_some_and(|s| s > 0), "{failure:?}");
        }
        let unreadable = Failure::Unreadable(CatalogError::Corrupt("x".to_owned()));
        assert!(matches!(unreadable.clone().written(), CatalogError::OutcomeUnknown(_)));
        assert_eq!(unreadable.told(), CatalogError::Corrupt("x".to_owned()));
    }

    #[test]
    fn what_was_never_sent_did_not_happen() {
        let e = CatalogError::Unavailable { reason: "no route".to_owned(), retry_after: 5 };
        assert_eq!(Failure::Unsent(e.clone()).written(), e);
    }
}
