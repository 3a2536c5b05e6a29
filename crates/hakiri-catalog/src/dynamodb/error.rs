//! What a failure means to a caller of the catalog. Pure: the client notes what it saw, this judges it.

use std::time::Duration;

use hakiri_aws::service::name;
use hakiri_aws::{Failure, Problem};
use hakiri_core::catalog::CatalogError;
use serde::Deserialize;

/// What is known of a request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was done: a condition does not hold.
    Unmet,
    /// Nothing was done, and the same request may do better in a moment.
    Busy(CatalogError),
    /// Nothing was done.
    Refused(CatalogError),
    /// A write may have happened (C8). `again`: whether a read should be sent again.
    Open { reason: String, again: bool },
}

/// Where requests go, for messages.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) endpoint: String,
    pub(super) table: String,
    pub(super) region: String,
}

impl Target {
    pub(super) fn judge(&self, failure: Failure) -> Verdict {
        let problem = match failure {
            Failure::Unsent { reason, lasting } => {
                return Verdict::Refused(CatalogError::Unavailable {
                    reason,
                    retry_after: if lasting { 0 } else { 5 },
                });
            }
            Failure::Lost(reason) => return Verdict::Open { reason, again: true },
            // Whoever waited that long already does not wait for as long again.
            Failure::Silent(reason) | Failure::Unreadable(reason) => return Verdict::Open { reason, again: false },
            Failure::Answered(problem) => problem,
        };
        let (status, code) = (problem.status, &problem.code);
        let never = |reason: String| Verdict::Refused(never(reason));
        let (table, region, place) = (&self.table, &self.region, &self.endpoint);
        match code.as_str() {
            // Only a 4xx says that nothing was done, whatever it names.
            _ if status >= 500 => Verdict::Open { reason: format!("{place} answers {status}"), again: true },
            "ConditionalCheckFailedException" => Verdict::Unmet,
            "TransactionCanceledException" => self.cancelled(&reasons(&problem)),
            "TransactionConflictException" | "TransactionInProgressException" => busy("another write is under way"),
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "LimitExceededException" => busy("DynamoDB takes no more requests at present"),
            "ResourceNotFoundException" => never(format!(
                "there is no table {table} in {region}: deploying the project to AWS makes it; check the table's name and the region"
            )),
            "ValidationException" | "SerializationException" => never(format!(
                "DynamoDB refuses the request ({code}): the keys of the table {table} must be pk and sk, both of the type S"
            )),
            "AccessDeniedException" => never(format!(
                "the credentials may not use the table {table} in {region} ({code}): their role or user lacks a permission"
            )),
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "ExpiredTokenException"
            | "InvalidClientTokenId" => never(format!(
                "{place} refuses the credentials ({code}): they are wrong or expired, or this machine's clock is"
            )),
            "" => match status {
                300..=399 => never(format!("{place} leads elsewhere ({status}): name the address that it leads to")),
                401 | 403 | 404 | 405 | 411 | 413 | 414 | 415 => {
                    never(format!("{place} does not take the request ({status}): is it DynamoDB?"))
                }
                429 => busy("it is asked too often"),
                _ => Verdict::Open { reason: format!("{place} answers {status}"), again: true },
            },
            _ if (400..500).contains(&status) => never(format!("DynamoDB refuses the request ({code})")),
            _ => Verdict::Open { reason: format!("{place} answers {status}"), again: true },
        }
    }

    /// A transaction that DynamoDB gave up; nothing of it was done.
    fn cancelled(&self, reasons: &[String]) -> Verdict {
        let any = |names: &[&str]| reasons.iter().any(|reason| names.contains(&reason.as_str()));
        // A condition first: sending the same again would not help.
        if any(&["ConditionalCheckFailed"]) {
            return Verdict::Unmet;
        }
        if any(&["TransactionConflict"]) {
            return busy("another write is under way");
        }
        if any(&["ProvisionedThroughputExceeded", "ThrottlingError"]) {
            return busy("DynamoDB takes no more requests at present");
        }
        let known = ["ItemCollectionSizeLimitExceeded", "ValidationError", "AccessDenied"];
        let code = known.into_iter().find(|name| any(&[name])).unwrap_or("of no reason that is known");
        Verdict::Refused(never(format!("DynamoDB gives up the transaction on the table {} ({code})", self.table)))
    }
}

/// For a transaction that was given up: what became of each of its actions.
fn reasons(problem: &Problem) -> Vec<String> {
    #[derive(Deserialize)]
    struct Cancelled {
        #[serde(rename = "CancellationReasons", default)]
        reasons: Vec<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(rename = "Code", default)]
        code: String,
    }
    let cancelled = problem.parse::<Cancelled>().map_or_else(Vec::new, |c| c.reasons);
    cancelled.iter().map(|reason| name(&reason.code)).collect()
}

fn busy(what: &str) -> Verdict {
    let reason = format!("the catalog is busy: {what}");
    Verdict::Busy(CatalogError::Unavailable { reason, retry_after: 5 })
}

/// For what will not pass by itself.
pub(super) fn never(reason: String) -> CatalogError {
    CatalogError::Unavailable { reason, retry_after: 0 }
}

/// An answer or an item that is not of the form it should have. Nothing of it is quoted (P8).
pub(super) fn odd() -> CatalogError {
    CatalogError::Corrupt("what the table holds is not of the form that a catalog has".to_owned())
}

/// How often a request is sent again that found others in its way: about eight seconds in all.
const BUSY: u32 = 12;

/// How often a read is sent again that got no clear answer.
const LOST: u32 = 3;

/// How long to wait before a request is sent again, for the `attempt`-th time (from 0), or none to give up. `salt`
/// spreads those that met, so that they do not meet again.
pub(super) fn pause(verdict: &Verdict, attempt: u32, salt: u64) -> Option<Duration> {
    let (most, first) = match verdict {
        Verdict::Busy(_) => (BUSY, 20),
        Verdict::Open { again: true, .. } => (LOST, 100),
        _ => return None,
    };
    (attempt < most).then(|| spread((first << attempt.min(6)).min(1000), salt))
}

/// Between half of a time and the whole of it.
pub(super) fn spread(millis: u64, salt: u64) -> Duration {
    Duration::from_micros(millis * 500 + salt % (millis * 500 + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target() -> Target {
        Target { endpoint: "https://d.example".to_owned(), table: "t".to_owned(), region: "eu-west-1".to_owned() }
    }

    fn judged(status: u16, code: &str, reasons: &[&str]) -> Verdict {
        let reasons: Vec<_> = reasons.iter().map(|r| json!({ "Code": r })).collect();
        let body = json!({ "__type": format!("x#{code}"), "message": "stored", "CancellationReasons": reasons });
        target().judge(Failure::Answered(Problem::new(status, body.to_string().into_bytes())))
    }

    #[test]
    fn reasons_of_a_transaction_are_weighed() {
        let of = |reasons: &[&str]| judged(400, "TransactionCanceledException", reasons);
        assert_eq!(of(&["None", "ConditionalCheckFailed"]), Verdict::Unmet);
        assert_eq!(of(&["TransactionConflict", "ConditionalCheckFailed"]), Verdict::Unmet);
        assert!(matches!(of(&["None", "TransactionConflict"]), Verdict::Busy(_)));
        assert!(matches!(of(&["ThrottlingError"]), Verdict::Busy(_)));
        assert!(matches!(of(&["ProvisionedThroughputExceeded", "None"]), Verdict::Busy(_)));
        for reasons in [&["ValidationError"][..], &[], &["of a later day"]] {
            let Verdict::Refused(CatalogError::Unavailable { retry_after: 0, reason }) = of(reasons) else { panic!() };
            assert!(!reason.contains("later day"), "{reason}");
        }
    }

    #[test]
    fn only_an_answer_that_says_so_means_that_nothing_was_done() {
        for failure in
            [Failure::Lost("x".to_owned()), Failure::Silent("x".to_owned()), Failure::Unreadable("x".to_owned())]
        {
            assert!(matches!(target().judge(failure), Verdict::Open { .. }));
        }
        for (status, code) in [
            (500, "InternalServerError"),
            (503, "ServiceUnavailable"),
            (502, ""),
            (500, "ThrottlingException"),
            (408, ""),
            (204, ""),
            (200, "ValidationException2"),
        ] {
            assert!(matches!(judged(status, code, &[]), Verdict::Open { .. }), "{status} {code}");
        }
        for (status, code) in [
            (400, "ResourceNotFoundException"),
            (400, "ValidationException"),
            (400, "UnrecognizedClientException"),
            (400, "AccessDeniedException"),
            (400, "OfAnotherDay"),
            (307, ""),
            (403, ""),
        ] {
            let verdict = judged(status, code, &[]);
            assert!(
                matches!(verdict, Verdict::Refused(CatalogError::Unavailable { retry_after: 0, .. })),
                "{status} {code}"
            );
        }
        assert!(matches!(judged(400, "ThrottlingException", &[]), Verdict::Busy(_)));
        assert_eq!(judged(400, "ConditionalCheckFailedException", &[]), Verdict::Unmet);
    }

    #[test]
    fn pauses_grow_end_and_differ() {
        let busy = judged(400, "ThrottlingException", &[]);
        let all: Vec<_> = (0..).map_while(|attempt| pause(&busy, attempt, 0)).collect();
        assert_eq!(all.len(), 12);
        assert!(all.is_sorted() && all.iter().sum::<Duration>() < Duration::from_secs(5), "{all:?}");
        let most: Duration = (0..).map_while(|attempt| pause(&busy, attempt, u64::MAX)).sum();
        assert!(most < Duration::from_secs(10), "{most:?}");
        assert_ne!(pause(&busy, 3, 1), pause(&busy, 3, 77));
        let open = Verdict::Open { reason: String::new(), again: true };
        assert_eq!((0..).map_while(|attempt| pause(&open, attempt, 0)).count(), 3);
        assert_eq!(pause(&Verdict::Unmet, 0, 0), None);
    }
}
