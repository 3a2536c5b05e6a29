//! Five cron fields as sets of bits, and the search for the minutes that they match.
//!
//! The search walks days, skipping whole months that are not named, and takes the minute of the day from the bits: a
//! schedule of every minute costs a few steps, and one that fires only on a Sunday, 29 February, some hundreds.

use chrono::{Datelike, Days, Months, NaiveDate};

use crate::codes::Code;
use crate::error::{Error, Result};

const MINUTES_OF_DAY: i64 = 1_440;
/// After so many months the Gregorian calendar repeats, week days included: what has not fired by then never does.
const CYCLE_MONTHS: u32 = 4_800;

/// Five parsed fields. Bit `n` of a set stands for the number `n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    /// 0 to 59.
    pub minutes: u64,
    /// 0 to 23.
    pub hours: u64,
    /// Days of the month, 1 to 31.
    pub days: u64,
    /// 1 to 12.
    pub months: u64,
    /// 0 is Sunday, 6 Saturday.
    pub week_days: u64,
    /// Day of month and day of week are both restricted: one of them is enough.
    pub either_day: bool,
}

struct FieldRule {
    name: &'static str,
    low: u32,
    high: u32,
    /// Names, the first of which stands for `low`.
    names: &'static [&'static str],
}

const FIELDS: [FieldRule; 5] = [
    FieldRule { name: "minute", low: 0, high: 59, names: &[] },
    FieldRule { name: "hour", low: 0, high: 23, names: &[] },
    FieldRule { name: "day of month", low: 1, high: 31, names: &[] },
    FieldRule {
        name: "month",
        low: 1,
        high: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    FieldRule { name: "day of week", low: 0, high: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad =
            |message: String, hint: &str| Err(Error::new(Code::ManifestSchedule, message).with_hint(hint.to_owned()));
        if let Some(nick) = text.strip_prefix('@') {
            let fields = match nick {
                "yearly" | "annually" => "0 0 1 1 *",
                "monthly" => "0 0 1 * *",
                "weekly" => "0 0 * * 0",
                "daily" | "midnight" => "0 0 * * *",
                "hourly" => "0 * * * *",
                _ => "0 */2 * * *",
            };
            return bad(format!("`{text}` is not a schedule"), &format!("write `{fields}`"));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, week_day] = fields[..] else {
            return match fields.len() {
                0 => bad("the schedule is empty".to_owned(), "leave `schedule` out to run the pipeline by hand"),
                6 | 7 => bad(
                    format!("`{text}` has {} fields, a schedule has five", fields.len()),
                    "there is no field for seconds or years; for seconds write for example `every 30s`",
                ),
                n => bad(
                    format!("`{text}` has {n} field{}, a schedule has five", if n == 1 { "" } else { "s" }),
                    "write for example `every 15m`, or minute, hour, day of month, month and day of week: `0 */2 * * *`",
                ),
            };
        };
        let sets = [minute, hour, day, month, week_day];
        let mut bits = [0; 5];
        for ((field, rule), bits) in sets.into_iter().zip(&FIELDS).zip(&mut bits) {
            *bits = rule.parse(field).map_err(|(why, hint)| {
                Error::new(Code::ManifestSchedule, format!("in `{text}`, the {} `{field}` {why}", rule.name))
                    .with_hint(hint)
            })?;
        }
        let [minutes, hours, days, months, mut week_days] = bits;
        if week_days & (1 << 7) != 0 {
            week_days = (week_days | 1) & !(1 << 7);
        }
        let either_day = !day.starts_with('*') && !week_day.starts_with('*');
        Ok(Self { minutes, hours, days, months, week_days, either_day })
    }

    fn matches_month(&self, date: NaiveDate) -> bool {
        self.months & (1 << date.month()) != 0
    }

    fn matches_day(&self, date: NaiveDate) -> bool {
        let day = self.days & (1 << date.day()) != 0;
        let week_day = self.week_days & (1 << date.weekday().num_days_from_sunday()) != 0;
        self.matches_month(date) && if self.either_day { day || week_day } else { day && week_day }
    }

    /// The first matching minute of a day that is at least `from`.
    fn first_minute(&self, from: i64) -> Option<i64> {
        (from.div_euclid(60)..24).filter(|hour| self.hours & (1 << hour) != 0).find_map(|hour| {
            let least = if hour == from.div_euclid(60) { from.rem_euclid(60) } else { 0 };
            let rest = self.minutes >> least;
            (rest != 0).then(|| hour * 60 + least + i64::from(rest.trailing_zeros()))
        })
    }

    /// The last matching minute of a day that is at most `to`.
    fn last_minute(&self, to: i64) -> Option<i64> {
        (0..=to.div_euclid(60)).rev().filter(|hour| self.hours & (1 << hour) != 0).find_map(|hour| {
            let most = if hour == to.div_euclid(60) { to.rem_euclid(60) } else { 59 };
            let rest = self.minutes & (u64::MAX >> (63 - most));
            (rest != 0).then(|| hour * 60 + 63 - i64::from(rest.leading_zeros()))
        })
    }

    /// The first matching minute after one, in minutes since the epoch.
    pub(super) fn next_after(&self, minutes: i64) -> Option<i64> {
        let start = minutes.checked_add(1)?;
        let (mut date, mut from) = (date_of(start)?, start.rem_euclid(MINUTES_OF_DAY));
        let end = date.checked_add_months(Months::new(CYCLE_MONTHS + 1)).unwrap_or(NaiveDate::MAX);
        while date <= end {
            if !self.matches_month(date) {
                date = first_of_month(date)?.checked_add_months(Months::new(1))?;
                from = 0;
                continue;
            }
            if self.matches_day(date)
                && let Some(minute) = self.first_minute(from)
            {
                return Some(minutes_of(date) + minute);
            }
            date = date.succ_opt()?;
            from = 0;
        }
        None
    }

    /// The last matching minute at or before one, in minutes since the epoch.
    pub(super) fn last_at_or_before(&self, minutes: i64) -> Option<i64> {
        let (mut date, mut to) = (date_of(minutes)?, minutes.rem_euclid(MINUTES_OF_DAY));
        let end = date.checked_sub_months(Months::new(CYCLE_MONTHS + 1)).unwrap_or(NaiveDate::MIN);
        while date >= end {
            if !self.matches_month(date) {
                date = first_of_month(date)?.checked_sub_days(Days::new(1))?;
                to = MINUTES_OF_DAY - 1;
                continue;
            }
            if self.matches_day(date)
                && let Some(minute) = self.last_minute(to)
            {
                return Some(minutes_of(date) + minute);
            }
            date = date.pred_opt()?;
            to = MINUTES_OF_DAY - 1;
        }
        None
    }
}

fn date_of(minutes: i64) -> Option<NaiveDate> {
    chrono::DateTime::from_timestamp(minutes.checked_mul(60)?, 0).map(|t| t.date_naive())
}

fn first_of_month(date: NaiveDate) -> Option<NaiveDate> {
    date.with_day(1)
}

fn minutes_of(date: NaiveDate) -> i64 {
    (i64::from(date.num_days_from_ce()) - 719_163) * MINUTES_OF_DAY
}

type Reason = (String, String);

impl FieldRule {
    fn parse(&self, field: &str) -> Result<u64, Reason> {
        let mut bits = 0;
        for item in field.split(',') {
            bits |= self.item(item)?;
        }
        Ok(bits)
    }

    fn item(&self, item: &str) -> Result<u64, Reason> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.top()),
            Some((low, high)) => {
                let low = self.number(low)?;
                // "fri-sun": Sunday ends a range as 7 and starts one as 0.
                let high =
                    if self.names.first() == Some(&high.to_ascii_lowercase().as_str()) && self.low == 0 && low > 0 {
                        7
                    } else {
                        self.number(high)?
                    };
                (low, high)
            }
            None => {
                let number = self.number(range)?;
                if step.is_some() {
                    return Err((
                        "has a step without a range".to_owned(),
                        format!("write `{range}-{}/{}`", self.top(), step.unwrap_or_default()),
                    ));
                }
                (number, number)
            }
        };
        if low > high {
            return Err((
                "has a range that runs backwards".to_owned(),
                "split it in two, for example `22-23,0-4`".to_owned(),
            ));
        }
        let step = match step {
            None => 1,
            Some(step) => match step.parse::<u32>() {
                Ok(n) if (1..=self.top()).contains(&n) && step.bytes().all(|b| b.is_ascii_digit()) => n,
                _ => {
                    return Err((
                        format!("has the step `{step}`, which is not between 1 and {}", self.top()),
                        "for longer distances write for example `every 90m`".to_owned(),
                    ));
                }
            },
        };
        Ok((low..=high).step_by(step as usize).fold(0, |bits, n| bits | 1 << n))
    }

    /// The highest number that `*` stands for: Sunday is 0 there.
    fn top(&self) -> u32 {
        if self.low == 0 && self.high == 7 { 6 } else { self.high }
    }

    fn number(&self, text: &str) -> Result<u32, Reason> {
        if let Some(place) = self.names.iter().position(|n| text.eq_ignore_ascii_case(n)) {
            return Ok(self.low + place as u32);
        }
        match text.parse::<u32>() {
            Ok(n) if (self.low..=self.high).contains(&n) && text.bytes().all(|b| b.is_ascii_digit()) => Ok(n),
            Ok(_) => Err((
                format!("is out of range: {} to {}", self.low, self.high),
                format!("use numbers from {} to {}", self.low, self.high),
            )),
            Err(_) => {
                let names = match (self.names.first(), self.names.last()) {
                    (Some(first), Some(last)) => format!(", names from {first} to {last}"),
                    _ => String::new(),
                };
                Err((
                    if text.is_empty() {
                        "has an empty part".to_owned()
                    } else {
                        format!("has `{text}`, which is not a number it takes")
                    },
                    format!("use numbers from {} to {}{names}, `*`, ranges, lists and steps", self.low, self.high),
                ))
            }
        }
    }
}
