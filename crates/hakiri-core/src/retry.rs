//! What a failed attempt of a step leads to (`05`, "Errors and retries"). Decided here, once, for every orchestrator.

use crate::codes::Code;
use crate::error::{Error, Kind};
use crate::step::{StepRecord, StepStatus};
use crate::time::Instant;

/// Attempts of a step in all, the first included.
pub const MAX_ATTEMPTS: u32 = 6;
/// The first back-off; it doubles with every attempt.
pub const FIRST_BACKOFF_SECONDS: u64 = 2;
/// Claims of a step that may expire before its table fails.
pub const MAX_DEATHS: u32 = 3;
/// Attempts of a step in a row that may be cut short by the end of their worker's time without getting on, the last of
/// which fails its table.
pub const MAX_CUTS: u32 = 3;
/// The longest time that is kept free before a deadline for ending in good order, in milliseconds.
const MAX_MARGIN_MS: i64 = 10_000;

/// The record of a step after an attempt failed, and how long to wait before the next one (none: it failed for good).
///
/// `deadline` is the instant after which the run waits no more.
pub fn after_failure(
    mut record: StepRecord,
    error: &Error,
    now: Instant,
    deadline: Instant,
) -> (StepRecord, Option<u64>) {
    record.last_error = Some(error.to_failure());
    let wait = match error.kind() {
        Kind::Interrupted => Some(0),
        Kind::Transient => {
            record.attempts += 1;
            (record.attempts < MAX_ATTEMPTS).then(|| backoff(record.attempts))
        }
        Kind::RateLimited { seconds: 0 } => {
            record.attempts += 1;
            (record.attempts < MAX_ATTEMPTS).then(|| backoff(record.attempts))
        }
        Kind::RateLimited { seconds } => Some(seconds),
        Kind::AuthExpired | Kind::Permanent | Kind::SchemaIncompatible | Kind::Usage => None,
    };
    match wait {
        Some(seconds) if now.plus_millis(millis(seconds)) <= deadline => {
            let not_before = (seconds > 0).then(|| now.plus_millis(millis(seconds)));
            record.status = StepStatus::Pending { not_before };
            (record, Some(seconds))
        }
        Some(_) => {
            let error =
                Error::new(Code::RunDeadline, format!("the run's deadline passed while waiting after: {error}"));
            record.status = StepStatus::Failed { failure: error.to_failure() };
            (record, None)
        }
        None => {
            record.status = StepStatus::Failed { failure: error.to_failure() };
            (record, None)
        }
    }
}

/// Whether a step whose workers died this often may be tried again; the error if not.
pub fn after_death(record: &StepRecord) -> Option<Error> {
    (record.deaths >= MAX_DEATHS)
        .then(|| Error::new(Code::StepDied, format!("the worker of the step died {} times", record.deaths)))
}

/// When to stop, so that what was begun now is put in order before the deadline: ten seconds before it, or a fifth of the
/// time there is.
pub fn stop_at(now: Instant, deadline: Instant) -> Instant {
    let left = deadline.millis().saturating_sub(now.millis()).max(0);
    deadline.plus_millis(-MAX_MARGIN_MS.min(left / 5))
}

/// The record of a step after the end of its worker's time cut an attempt short, and the error if that is its end. Not an
/// attempt: nothing failed. But one that did not get on starts where it started, and must not do so for ever; and none goes
/// on after the run's `deadline`.
pub fn after_cut(mut record: StepRecord, got_on: bool, now: Instant, deadline: Instant) -> (StepRecord, Option<Error>) {
    record.cuts = if got_on { 0 } else { record.cuts + 1 };
    let cuts = record.cuts;
    let error = if cuts >= MAX_CUTS {
        let what = format!("the step was cut short {cuts} times by the end of its worker's time");
        Some(Error::new(Code::StepCut, what))
    } else {
        (now > deadline).then(|| Error::new(Code::RunDeadline, "the run's deadline passed while the step was read"))
    };
    record.status = match &error {
        Some(error) => {
            record.last_error = Some(error.to_failure());
            StepStatus::Failed { failure: error.to_failure() }
        }
        None => StepStatus::Pending { not_before: None },
    };
    (record, error)
}

fn backoff(attempts: u32) -> u64 {
    FIRST_BACKOFF_SECONDS << attempts.saturating_sub(1).min(16)
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: Kind, times: u32) -> (StepRecord, Vec<Option<u64>>) {
        let (now, deadline) = (Instant::from_millis(0), Instant::from_millis(3_600_000));
        let error = Error::new(Code::HttpUnavailable, "x").with_kind(kind);
        (0..times).fold((StepRecord::new(0), Vec::new()), |(record, mut waits), _| {
            let (record, wait) = after_failure(record, &error, now, deadline);
            waits.push(wait);
            (record, waits)
        })
    }

    #[test]
    fn transient_errors_back_off_and_give_up_at_the_sixth_attempt() {
        let (record, waits) = run(Kind::Transient, 6);
        assert_eq!(waits, [Some(2), Some(4), Some(8), Some(16), Some(32), None]);
        assert!(matches!(record.status, StepStatus::Failed { .. }));
    }

    #[test]
    fn a_rate_limit_with_a_hint_is_obeyed_and_is_no_attempt_and_zero_means_no_hint() {
        let (record, waits) = run(Kind::RateLimited { seconds: 7 }, 9);
        assert_eq!((record.attempts, waits), (0, vec![Some(7); 9]));
        assert_eq!(run(Kind::RateLimited { seconds: 0 }, 2).1, [Some(2), Some(4)]);
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let error = Error::new(Code::HttpRateLimited, "x").with_kind(Kind::RateLimited { seconds: 11 });
        let (record, wait) =
            after_failure(StepRecord::new(0), &error, Instant::from_millis(0), Instant::from_millis(10_000));
        assert_eq!(wait, None);
        assert!(matches!(record.status, StepStatus::Failed { failure } if failure.code == "HK0904"));
    }

    #[test]
    fn time_is_kept_free_before_a_deadline_in_proportion_and_never_more_than_ten_seconds() {
        let stop = |left: i64| {
            let now = Instant::from_millis(1_000);
            stop_at(now, now.plus_millis(left)).millis() - now.millis()
        };
        assert_eq!([stop(900_000), stop(50_000), stop(5_000), stop(0)], [890_000, 40_000, 4_000, 0]);
        assert_eq!(stop(-5_000), -5_000, "a deadline that is over stays over");
    }

    #[test]
    fn a_step_that_is_cut_short_a_third_time_fails_and_no_attempt_is_counted() {
        let (now, deadline) = (Instant::from_millis(10), Instant::from_millis(10));
        let after_cut = |record: StepRecord, got_on: bool| after_cut(record, got_on, now, deadline);
        let (first, error) = after_cut(StepRecord::new(0), false);
        assert!(error.is_none() && first.status == StepStatus::Pending { not_before: None });
        let (second, error) = after_cut(first, false);
        assert!(error.is_none() && second.status == StepStatus::Pending { not_before: None });
        assert_eq!(after_cut(second.clone(), true).0.cuts, 0, "one that gets on is not on its way to failing");
        let (third, error) = after_cut(second, false);
        assert!(error.is_some_and(|e| e.hint().contains("chunk_rows") && e.hint().contains("fargate")));
        assert!(matches!(third.status, StepStatus::Failed { failure } if failure.code == "HK0912"));
        assert_eq!((third.attempts, third.deaths, third.cuts), (0, 0, 3));
        let late = super::after_cut(StepRecord::new(0), true, now.plus_millis(1), deadline);
        assert!(late.1.is_some_and(|e| e.code() == Code::RunDeadline) && late.0.status.is_final());
    }

    #[test]
    fn what_cannot_pass_fails_at_once() {
        for kind in [Kind::AuthExpired, Kind::Permanent, Kind::SchemaIncompatible] {
            assert_eq!(run(kind, 1).1, [None]);
        }
    }
}
