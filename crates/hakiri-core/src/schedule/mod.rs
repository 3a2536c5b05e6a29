//! Schedules: `every 15m` or five cron fields, anchored at the Unix epoch in UTC.
//!
//! Triggers only wake a run; which ticks are due is always computed here, from the manifest and the last tick in the
//! catalog. So a late, doubled or missing trigger changes nothing (P2).
//!
//! `every` takes the multiples of its length since the epoch, not since the first run, so that two machines agree on
//! the ticks without having met. Cron fields are read by our own code: the crates for it differ in the very points
//! that must not move (seconds, the number of Sunday, days of month with week days), and a tick is an identity (S1).

mod cron;

use std::fmt;

pub use self::cron::Cron;
use crate::codes::Code;
use crate::error::{Error, Result};
use crate::spec::CatchUp;
use crate::time::Tick;

/// The shortest length of `every`: one second.
const MIN_EVERY_MILLIS: i64 = 1_000;
/// The longest length of `every`: ten years, far from any overflow.
const MAX_EVERY_MILLIS: i64 = 3_660 * 86_400_000;

/// When a pipeline runs.
///
/// `every <number><s|m|h|d>` or five cron fields: minute, hour, day of month, month, day of week. Fields take `*`,
/// numbers, names of months and week days, ranges, lists and steps; 0 and 7 are both Sunday. When day of month and day
/// of week are both restricted (neither starts with `*`), a day that matches one of them is enough, as in Vixie cron.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    rule: Rule,
}

/// What a schedule says, for whoever has to say it in the language of another scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Multiples of so many milliseconds since the epoch.
    Every(i64),
    /// Minutes, in UTC.
    Cron(Cron),
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// `HK0106` for anything else than `every <duration>` or five cron fields, for an `every` below one second or above
    /// ten years, and for one that never fires (30 February).
    pub fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        let rule = match trimmed.strip_prefix("every") {
            Some(rest)
                if rest.is_empty()
                    || rest.starts_with(char::is_whitespace)
                    || rest.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                Rule::Every(parse_every(trimmed, rest.trim())?)
            }
            _ => Rule::Cron(Cron::parse(trimmed)?),
        };
        let schedule = Self { text: trimmed.to_owned(), rule };
        match schedule.next_after(Tick::from_millis(0)) {
            Some(_) => Ok(schedule),
            None => Err(Error::new(Code::ManifestSchedule, format!("`{trimmed}` never fires"))
                .with_hint("no month it names has such a day; write for example `0 0 28 2 *`")),
        }
    }

    /// What it says.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The first tick after an instant; none only at the end of the calendar (about the year 262,000).
    pub fn next_after(&self, instant: Tick) -> Option<Tick> {
        match &self.rule {
            Rule::Every(length) => {
                instant.millis().div_euclid(*length).checked_add(1)?.checked_mul(*length).map(Tick::from_millis)
            }
            Rule::Cron(cron) => cron.next_after(instant.millis().div_euclid(60_000)).map(minute),
        }
    }

    /// The last tick at or before an instant; none only at the start of the calendar.
    pub fn last_at_or_before(&self, instant: Tick) -> Option<Tick> {
        match &self.rule {
            Rule::Every(length) => instant.millis().div_euclid(*length).checked_mul(*length).map(Tick::from_millis),
            Rule::Cron(cron) => cron.last_at_or_before(instant.millis().div_euclid(60_000)).map(minute),
        }
    }

    /// The ticks that are due, oldest first.
    ///
    /// With no run ever: the latest tick at or before now, alone. Afterwards: each tick after `last` up to now, or only
    /// the latest of them for [`CatchUp::Latest`]. Nothing when the clock stands before `last`. The iterator is lazy, so
    /// that a pipeline that slept for a year costs what is taken of it.
    pub fn due(&self, last: Option<Tick>, now: Tick, catch_up: CatchUp) -> Due<'_> {
        let next = match (last, catch_up) {
            (Some(last), CatchUp::Each) => self.next_after(last),
            (Some(last), CatchUp::Latest) => self.last_at_or_before(now).filter(|t| *t > last),
            (None, _) => self.last_at_or_before(now),
        };
        Due { schedule: self, next: next.filter(|t| *t <= now), now }
    }
}

fn minute(minutes: i64) -> Tick {
    Tick::from_millis(minutes.saturating_mul(60_000))
}

impl fmt::Display for Schedule {
    /// As it was written, without white space around it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The ticks that are due: see [`Schedule::due`].
#[derive(Debug, Clone)]
pub struct Due<'a> {
    schedule: &'a Schedule,
    next: Option<Tick>,
    now: Tick,
}

impl Iterator for Due<'_> {
    type Item = Tick;

    fn next(&mut self) -> Option<Tick> {
        let tick = self.next?;
        self.next = self.schedule.next_after(tick).filter(|t| *t <= self.now);
        Some(tick)
    }
}

fn parse_every(text: &str, length: &str) -> Result<i64> {
    let bad = |why: &str| Error::new(Code::ManifestSchedule, format!("`{text}` {why}"));
    let millis = parse_duration(length).map_err(|_| {
        bad("is not a schedule: after `every` stands a number and one of s, m, h and d")
            .with_hint("write for example `every 15m`")
    })?;
    match millis {
        ..MIN_EVERY_MILLIS => {
            Err(bad("is too often: the shortest is one second")
                .with_hint("write for example `every 30s` or `every 15m`"))
        }
        MIN_EVERY_MILLIS..=MAX_EVERY_MILLIS => Ok(millis),
        _ => Err(bad("is too seldom: the longest is 3660 days").with_hint("leave `schedule` out to run it by hand")),
    }
}

/// Parses `90s`, `5m`, `1h`, `2d` (or `500ms`) into milliseconds.
///
/// # Errors
/// `HK0110`.
pub fn parse_duration(text: &str) -> Result<i64> {
    let bad = || {
        Error::new(Code::ManifestValue, format!("`{text}` is not a duration"))
            .with_hint("write for example 90s, 5m, 1h or 2d")
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let number: i64 = text[..digits].parse().map_err(|_| bad())?;
    let unit = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    number.checked_mul(unit).ok_or_else(bad)
}

#[cfg(test)]
mod tests;
