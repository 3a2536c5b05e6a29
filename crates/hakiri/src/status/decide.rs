//! The judgements of a status: what state a pipeline is in, and whether it is late. Pure, so that tables test them.

use hakiri_core::catalog::{Head, RunStatus};
use hakiri_core::schedule::Schedule;
use hakiri_core::step::{StepRecord, StepStatus};
use hakiri_core::time::{Instant, Tick};

use super::{RunSummary, State, text};

/// A tick may be this late before anyone is told, however short the period: a lease of a dead process lasts a minute,
/// and a start of a container may take another.
pub const GRACE_MS: i64 = 120_000;
/// How many next ticks are shown.
const NEXT_TICKS: usize = 3;

/// What the state follows from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Now.
    pub now: Instant,
    /// Whether someone paused the pipeline.
    pub paused: bool,
    /// What its schedule owes.
    pub overdue: Overdue,
    /// How its last run ended.
    pub last: Option<RunStatus>,
    /// Whether a run has begun and not ended.
    pub unfinished: bool,
    /// Until when its lease lasts.
    pub lease_until: Option<Instant>,
    /// Until when all that is left of it backs off.
    pub waits_until: Option<Instant>,
    /// The last error of a step that backs off.
    pub last_error: Option<&'a str>,
}

/// What a schedule owes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overdue {
    /// The oldest tick that is due and not committed.
    pub since: Option<Tick>,
    /// Milliseconds since then.
    pub millis: i64,
    /// Whether that is longer than it should be.
    pub late: bool,
}

/// What a schedule owes: the oldest tick after the last committed one, whatever is to be caught up of those between.
///
/// Late is what has been due for longer than `allowed` (`[notify] late_after`), or else for more than two periods and for
/// more than [`GRACE_MS`]. A pipeline that never committed owes the tick of its first run once that is under way, and
/// nothing before: its first tick is the latest one at or before whenever someone starts it.
pub fn overdue(
    schedule: Option<&Schedule>,
    last_tick: Option<Tick>,
    first: Option<Tick>,
    now: Instant,
    allowed: Option<i64>,
) -> Overdue {
    let due = schedule.and_then(|schedule| {
        let since = last_tick.map_or(first, |last| schedule.next_after(last)).filter(|tick| *tick <= now)?;
        let period = schedule.next_after(since)?.millis().saturating_sub(since.millis());
        Some((since, allowed.unwrap_or_else(|| period.saturating_mul(2).max(GRACE_MS))))
    });
    match due {
        Some((since, allowed)) => {
            let millis = now.millis().saturating_sub(since.millis());
            Overdue { since: Some(since), millis, late: millis > allowed }
        }
        None => Overdue::default(),
    }
}

/// The next ticks after now.
pub fn next_ticks(schedule: Option<&Schedule>, now: Instant) -> Vec<Tick> {
    let Some(schedule) = schedule else { return Vec::new() };
    std::iter::successors(schedule.next_after(now), |tick| schedule.next_after(*tick)).take(NEXT_TICKS).collect()
}

/// The state, and why where the word alone does not say it.
///
/// A run under way comes first, since it may be about to mend the rest; then a pause, which is someone's will; then
/// being late, since then nothing mends itself; then how the last run ended.
pub fn state(facts: &Facts<'_>) -> (State, Option<String>) {
    let Facts { now, .. } = facts;
    let live = facts.lease_until.is_some_and(|until| until > *now);
    if facts.unfinished && live {
        return match facts.waits_until.filter(|until| until > now) {
            Some(until) => {
                let after = facts.last_error.map(|e| format!(" after: {e}")).unwrap_or_default();
                (
                    State::Waiting,
                    Some(format!("tries again in {}{after}", text::duration(until.millis() - now.millis()))),
                )
            }
            None => (State::Running, None),
        };
    }
    if facts.paused {
        return (State::Paused, None);
    }
    if facts.overdue.late {
        let since = facts.overdue.since.map(text::instant).unwrap_or_default();
        let why = format!(
            "due since {since} ({}) and not run: see that `hakiri serve` is running",
            text::duration(facts.overdue.millis)
        );
        return (State::Late, Some(why));
    }
    if facts.unfinished {
        return (State::Waiting, Some("its run was interrupted; the next start goes on with it".to_owned()));
    }
    match facts.last {
        Some(RunStatus::Failed) => (State::Failed, None),
        Some(RunStatus::Partial) => (State::Partial, None),
        Some(_) => (State::Idle, None),
        None => (State::NeverRan, None),
    }
}

/// How many of the newest runs in a row did not fully succeed; runs under way and cancelled ones do not count.
pub fn failures_in_a_row(newest_first: &[RunSummary]) -> usize {
    newest_first
        .iter()
        .filter(|run| !matches!(run.status, RunStatus::Running | RunStatus::Cancelled))
        .take_while(|run| matches!(run.status, RunStatus::Failed | RunStatus::Partial))
        .count()
}

/// Until when all steps that are left back off; none while one of them could be worked on.
pub fn waits_until(steps: &[StepRecord]) -> Option<Instant> {
    steps
        .iter()
        .filter(|step| !step.status.is_final())
        .map(|step| match step.status {
            StepStatus::Pending { not_before } => not_before,
            _ => None,
        })
        .try_fold(None, |soonest: Option<Instant>, until| {
            let until = until?;
            Some(Some(soonest.map_or(until, |soonest| soonest.min(until))))
        })
        .flatten()
}

/// Until when the lease of an unfinished run lasts.
pub fn lease_until(head: &Head) -> Option<Instant> {
    head.lease.as_ref().filter(|lease| head.unfinished.as_ref() == Some(&lease.run)).map(|lease| lease.expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn at(minutes: i64) -> Instant {
        Instant::from_millis(minutes * MINUTE)
    }

    fn facts(now: i64) -> Facts<'static> {
        Facts {
            now: at(now),
            paused: false,
            overdue: Overdue::default(),
            last: Some(RunStatus::Succeeded),
            unfinished: false,
            lease_until: None,
            waits_until: None,
            last_error: None,
        }
    }

    #[test]
    fn a_tick_is_late_after_two_periods_and_not_before_the_grace() {
        let quarter = Schedule::parse("every 15m").unwrap();
        for (last, now, since, late) in [
            (Some(0), 14, None, false),
            (Some(0), 15, Some(15), false),
            (Some(0), 45, Some(15), false),
            (Some(0), 46, Some(15), true),
            (None, 10_000, None, false),
            (Some(60), 30, None, false),
        ] {
            let owed = overdue(Some(&quarter), last.map(at), None, at(now), None);
            assert_eq!((owed.since, owed.late), (since.map(at), late), "{last:?} {now}");
        }
        let seconds = Schedule::parse("every 1s").unwrap();
        let owed = |ms| overdue(Some(&seconds), Some(at(0)), None, Instant::from_millis(ms), None).late;
        assert!(!owed(GRACE_MS + 1_000) && owed(GRACE_MS + 1_001));
        assert_eq!(overdue(None, Some(at(0)), None, at(9_999), None), Overdue::default(), "by hand nothing is due");
    }

    #[test]
    fn the_manifest_may_say_what_is_late_and_a_first_run_owes_its_tick() {
        let hourly = Schedule::parse("every 1h").unwrap();
        let owed = |last: Option<i64>, first: Option<i64>, allowed| {
            overdue(Some(&hourly), last.map(at), first.map(at), at(90), allowed)
        };
        assert!(!owed(Some(0), None, None).late && owed(Some(0), None, Some(29 * MINUTE)).late);
        assert!(!owed(None, None, Some(0)).late);
        assert_eq!(owed(None, Some(60), Some(0)).since, Some(at(60)));
        assert!(owed(None, Some(60), Some(0)).late);
    }

    #[test]
    fn cron_is_late_by_the_distance_to_its_next_tick() {
        let daily = Schedule::parse("0 6 * * *").unwrap();
        let owed = |hours: i64| overdue(Some(&daily), Some(at(6 * 60)), None, at(hours * 60), None);
        assert!(owed(29).since.is_none());
        assert!(!owed(30 + 48).late && owed(30 + 49).late);
    }

    #[test]
    fn states_have_an_order() {
        let late = Overdue { since: Some(at(1)), millis: 99 * MINUTE, late: true };
        let cases: [(Facts<'_>, State); 12] = [
            (facts(0), State::Idle),
            (Facts { last: None, ..facts(0) }, State::NeverRan),
            (Facts { last: Some(RunStatus::Failed), ..facts(0) }, State::Failed),
            (Facts { last: Some(RunStatus::Partial), ..facts(0) }, State::Partial),
            (Facts { last: Some(RunStatus::Failed), overdue: late, ..facts(0) }, State::Late),
            (Facts { paused: true, overdue: late, ..facts(0) }, State::Paused),
            (Facts { unfinished: true, lease_until: Some(at(1)), paused: true, ..facts(0) }, State::Running),
            (Facts { unfinished: true, lease_until: Some(at(1)), overdue: late, ..facts(0) }, State::Running),
            (Facts { unfinished: true, lease_until: Some(at(0)), ..facts(0) }, State::Waiting),
            (Facts { unfinished: true, lease_until: Some(at(0)), overdue: late, ..facts(0) }, State::Late),
            (
                Facts { unfinished: true, lease_until: Some(at(9)), waits_until: Some(at(1)), ..facts(0) },
                State::Waiting,
            ),
            (
                Facts { unfinished: true, lease_until: Some(at(9)), waits_until: Some(at(0)), ..facts(0) },
                State::Running,
            ),
        ];
        for (facts, expected) in cases {
            assert_eq!(state(&facts).0, expected, "{facts:?}");
        }
    }

    #[test]
    fn a_run_waits_only_while_nothing_of_it_can_be_worked_on() {
        let pending = |until: Option<i64>| StepRecord {
            status: StepStatus::Pending { not_before: until.map(at) },
            ..StepRecord::new(0)
        };
        assert_eq!(waits_until(&[pending(Some(5)), pending(Some(3))]), Some(at(3)));
        assert_eq!(waits_until(&[pending(Some(5)), pending(None)]), None);
        assert_eq!(waits_until(&[]), None);
    }

    #[test]
    fn next_ticks_are_soonest_first_and_bounded() {
        let hourly = Schedule::parse("every 1h").unwrap();
        assert_eq!(next_ticks(Some(&hourly), at(61)), [at(120), at(180), at(240)]);
        assert!(next_ticks(None, at(0)).is_empty());
    }
}
