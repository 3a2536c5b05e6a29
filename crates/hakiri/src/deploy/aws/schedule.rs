//! Hakiri's schedules in the language of EventBridge Scheduler.
//!
//! The Scheduler only wakes: `begin` works out what is due. So an expression must name every tick, and may name more,
//! which costs a call that answers `nothing`; what it must not do is to leave one out. All of it is in UTC, where no hour
//! is left out or comes twice: the Scheduler would skip a wake in the hour that summer time takes.
//!
//! `cron()` has six fields, the last for years; `start/step` counts to the end of the field; week days are names here,
//! since their numbers begin with 1 for Sunday there; exactly one of day of month and day of week is `?`. `rate()` is
//! never written: it counts from the moment in which the schedule was made, and not from the epoch.

use hakiri_core::schedule::{Cron, Rule, Schedule};

use crate::deploy::capability::Refusal;

const MINUTE: i64 = 60_000;
const MINUTES_OF_DAY: i64 = 1_440;
const WEEK_DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The expressions that wake a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::deploy) struct Wakes {
    /// One, or two where cron's "day of month or day of week" needs them. They may name a minute both: a doubled wake
    /// finds nothing due.
    pub(in crate::deploy) expressions: Vec<String>,
    /// Whether there is no wake without a tick.
    pub(in crate::deploy) exact: bool,
}

impl Wakes {
    fn one(exact: bool, expression: String) -> Self {
        Self { expressions: vec![expression], exact }
    }
}

/// What wakes at every tick of a schedule.
///
/// # Errors
/// What no expression can say: ticks that are not on a whole minute.
pub(super) fn wakes(schedule: &Schedule) -> Result<Wakes, Refusal> {
    match schedule.rule() {
        Rule::Cron(cron) => Ok(of_cron(cron)),
        Rule::Every(millis) if *millis < MINUTE => Err(Refusal::new(
            format!("`{schedule}` is more often than once a minute, the most that the Scheduler does"),
            "use `every 1m` or more, for this deployment alone in [env.NAME.schedule]",
        )),
        Rule::Every(millis) if millis % MINUTE != 0 => Err(Refusal::new(
            format!("`{schedule}` has ticks between two minutes, and the Scheduler wakes on whole ones"),
            format!(
                "use `every {}m` or another number of whole minutes, for this deployment alone in [env.NAME.schedule]",
                millis / MINUTE + 1
            ),
        )),
        Rule::Every(millis) => Ok(of_minutes(millis / MINUTE)),
    }
}

/// Every so many minutes since the epoch, which was a midnight.
fn of_minutes(every: i64) -> Wakes {
    if every % (7 * MINUTES_OF_DAY) == 0 {
        // The epoch was a Thursday.
        return Wakes::one(every == 7 * MINUTES_OF_DAY, cron("0", "0", "?", "*", "THU"));
    }
    if every % MINUTES_OF_DAY == 0 {
        return Wakes::one(every == MINUTES_OF_DAY, cron("0", "0", "*", "*", "?"));
    }
    // The longest distance that divides both the ticks' and the field's whole: all ticks lie on it.
    if every % 60 == 0 {
        let hours = gcd(every / 60, 24);
        return Wakes::one(hours * 60 == every, cron("0", &stepped(hours), "*", "*", "?"));
    }
    let minutes = gcd(every, 60);
    Wakes::one(minutes == every, cron(&stepped(minutes), "*", "*", "*", "?"))
}

fn of_cron(fields: &Cron) -> Wakes {
    let (minutes, hours) = (field(fields.minutes, 0, 59), field(fields.hours, 0, 23));
    let months = field(fields.months, 1, 12);
    let days = || cron(&minutes, &hours, &field(fields.days, 1, 31), &months, "?");
    let week_days = || cron(&minutes, &hours, "?", &months, &names(fields.week_days));
    let all_days = fields.days == bits(1, 31);
    let all_week = fields.week_days == bits(0, 6);
    match (all_days, all_week) {
        (true, true) => Wakes::one(true, days()),
        // "Either" with one that takes all is all.
        _ if fields.either_day && (all_days || all_week) => Wakes::one(true, cron(&minutes, &hours, "*", &months, "?")),
        (true, false) => Wakes::one(true, week_days()),
        (false, true) => Wakes::one(true, days()),
        _ if fields.either_day => Wakes { expressions: vec![days(), week_days()], exact: true },
        // Both at once cannot be said: the one that wakes less, and `begin` knows the other.
        _ if fields.days.count_ones() * 7 < fields.week_days.count_ones() * 31 => Wakes::one(false, days()),
        _ => Wakes::one(false, week_days()),
    }
}

fn cron(minutes: &str, hours: &str, days: &str, months: &str, week_days: &str) -> String {
    format!("cron({minutes} {hours} {days} {months} {week_days} *)")
}

/// From 0 on by steps.
fn stepped(step: i64) -> String {
    match step {
        1 => "*".to_owned(),
        24 => "0".to_owned(),
        step => format!("0/{step}"),
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn bits(low: u32, high: u32) -> u64 {
    (low..=high).fold(0, |bits, n| bits | 1 << n)
}

fn numbers(set: u64, low: u32, high: u32) -> Vec<u32> {
    (low..=high).filter(|n| set & (1 << n) != 0).collect()
}

/// A field's numbers as a person would write them.
fn field(set: u64, low: u32, high: u32) -> String {
    if set == bits(low, high) {
        return "*".to_owned();
    }
    let numbers = numbers(set, low, high);
    if let [first, second, .., last] = numbers[..] {
        let step = second - first;
        let even = numbers.windows(2).all(|pair| pair[1] - pair[0] == step);
        if even && step > 1 && last + step > high {
            return format!("{first}/{step}");
        }
    }
    ranges(&numbers, |n| n.to_string())
}

/// Names of week days.
fn names(set: u64) -> String {
    ranges(&numbers(set, 0, 6), |n| WEEK_DAYS.get(n as usize).copied().unwrap_or_default().to_owned())
}

/// `1-5,9`.
fn ranges(numbers: &[u32], name: impl Fn(u32) -> String) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let parts: Vec<String> = runs
        .filter_map(|run| match run {
            [one] => Some(name(*one)),
            [first, .., last] => Some(format!("{}-{}", name(*first), name(*last))),
            [] => None,
        })
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests;
