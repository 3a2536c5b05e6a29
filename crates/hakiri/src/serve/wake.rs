//! When to wake a pipeline next: the only thing a scheduler decides. What is then due is `begin`'s to say (`05`), so
//! that waking too often, too late or twice at once costs time and changes nothing.

use hakiri_core::error::Kind;
use hakiri_core::schedule::Schedule;
use hakiri_core::time::Instant;

/// The longest pause after an error that may pass, in milliseconds.
const MAX_BACKOFF_MS: i64 = 60_000;

/// What came of waking a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is due any more, as of the instant it was woken for.
    Done,
    /// Another run holds the lease for about so many seconds.
    Held {
        /// How long.
        seconds: u64,
    },
    /// An operation failed, so many times in a row; ticks that are due stay due.
    Failed {
        /// What kind of error.
        kind: Kind,
        /// How many times, from 1.
        times: u32,
    },
}

/// When to wake a pipeline next, by our clock; none for one that is run by hand.
///
/// `woke` is the instant that the last `begin` was asked about. Ticks between it and now were not looked at, so the next
/// wake is counted from `woke`, not from now: otherwise a long run would swallow the tick that passed meanwhile.
pub fn next(schedule: Option<&Schedule>, woke: Instant, now: Instant, outcome: Outcome) -> Option<Instant> {
    let tick = schedule.and_then(|s| s.next_after(woke));
    let after = |millis: i64| Some(now.plus_millis(millis));
    match outcome {
        Outcome::Done => tick,
        Outcome::Held { seconds } => earlier(tick, after(millis(seconds))),
        Outcome::Failed { kind: Kind::Transient | Kind::Interrupted, times } => {
            after((1_000_i64 << times.clamp(1, 6)).min(MAX_BACKOFF_MS))
        }
        Outcome::Failed { kind: Kind::RateLimited { seconds }, .. } => after(millis(seconds.max(2))),
        // Trying again cannot help; a change of the manifest wakes everything anyway.
        Outcome::Failed { .. } => schedule.and_then(|s| s.next_after(now)),
    }
}

/// When to look whether an unfinished run's worker is dead: as its lease expires. `skew` is the catalog's clock minus ours.
pub fn at_expiry(expires: Instant, skew: i64) -> Instant {
    // A little later: at the very millisecond the lease is still live.
    expires.plus_millis(-skew).plus_millis(20)
}

/// The earlier of two, where none is never.
pub fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn millis(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn minutely(woke: i64, now: i64, outcome: Outcome) -> Option<Instant> {
        next(Some(&Schedule::parse("every 1m").unwrap()), at(woke), at(now), outcome)
    }

    #[test]
    fn the_next_tick_counts_from_the_wake_not_from_the_end_of_the_run() {
        assert_eq!(minutely(60, 61, Outcome::Done), Some(at(120)));
        // The run took two minutes: its next wake is overdue, so that the ticks of 120 and 180 are looked at now.
        assert_eq!(minutely(60, 185, Outcome::Done), Some(at(120)));
    }

    #[test]
    fn a_held_lease_is_looked_at_again_before_the_next_tick() {
        assert_eq!(minutely(60, 61, Outcome::Held { seconds: 5 }), Some(at(66)));
        assert_eq!(minutely(60, 119, Outcome::Held { seconds: 50 }), Some(at(120)));
        assert_eq!(next(None, at(60), at(61), Outcome::Held { seconds: 5 }), Some(at(66)));
    }

    #[test]
    fn errors_that_may_pass_back_off_to_a_minute_and_others_wait_for_the_next_tick() {
        let failed = |kind, times| minutely(60, 61, Outcome::Failed { kind, times });
        let waits: Vec<_> = (1..9).map(|n| failed(Kind::Transient, n).unwrap().millis() / 1000 - 61).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(failed(Kind::RateLimited { seconds: 7 }, 1), Some(at(68)));
        for kind in [Kind::Permanent, Kind::AuthExpired, Kind::Usage, Kind::SchemaIncompatible] {
            assert_eq!(failed(kind, 1), Some(at(120)));
        }
    }

    #[test]
    fn a_pipeline_by_hand_is_not_woken_again() {
        assert_eq!(next(None, at(60), at(61), Outcome::Done), None);
        assert_eq!(next(None, at(60), at(61), Outcome::Failed { kind: Kind::Permanent, times: 1 }), None);
    }

    #[test]
    fn expiry_is_translated_from_the_catalogs_clock() {
        assert_eq!(at_expiry(at(100), 5_000), at(95).plus_millis(20));
        assert_eq!(at_expiry(at(100), -5_000), at(105).plus_millis(20));
    }
}
