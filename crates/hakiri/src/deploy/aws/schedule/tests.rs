//! The Scheduler's expressions, read by a reader of their own, name every tick of a year.

use hakiri_core::time::Tick;
use proptest::prelude::*;

use super::*;

/// 2028, a leap year that begins on a Saturday, in minutes since the epoch.
const YEAR: std::ops::Range<i64> = 30_504_960..31_032_000;

/// An expression as its documentation has it: sets of numbers; of the two kinds of days one is `?`.
struct Read {
    minutes: u64,
    hours: u64,
    days: Option<u64>,
    months: u64,
    week_days: Option<u64>,
}

fn read(expression: &str) -> Read {
    let inner =
        expression.strip_prefix("cron(").and_then(|e| e.strip_suffix(')')).unwrap_or_else(|| panic!("{expression}"));
    let fields: Vec<&str> = inner.split(' ').collect();
    let [minutes, hours, days, months, week_days, years] = fields[..] else {
        panic!("{expression} has not six fields")
    };
    assert_eq!(years, "*");
    assert!((days == "?") != (week_days == "?"), "{expression}: one of the days is `?`, and not both");
    let week = |name: &str| {
        1 + ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"].iter().position(|n| *n == name).unwrap() as u32
    };
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{text} in {expression}"));
    Read {
        minutes: set(minutes, 0, 59, number),
        hours: set(hours, 0, 23, number),
        days: (days != "?").then(|| set(days, 1, 31, number)),
        months: set(months, 1, 12, number),
        week_days: (week_days != "?").then(|| set(week_days, 1, 7, week)),
    }
}

fn set(field: &str, low: u32, high: u32, number: impl Fn(&str) -> u32) -> u64 {
    let mut out = 0;
    for part in field.split(',') {
        let (from, to, step) = match (part.split_once('/'), part.split_once('-')) {
            _ if part == "*" => (low, high, 1),
            (Some((start, step)), None) => (number(start), high, step.parse().unwrap()),
            (None, Some((from, to))) => (number(from), number(to), 1),
            (None, None) => (number(part), number(part), 1),
            _ => panic!("{part} is no part of a field"),
        };
        assert!(low <= from && from <= to && to <= high && step > 0, "{field}");
        (from..=to).step_by(step as usize).for_each(|n| out |= 1 << n);
    }
    out
}

impl Read {
    /// Whether it names a minute of a clock on a wall.
    fn names(&self, local: i64) -> bool {
        let (day, minute) = (local.div_euclid(1_440), local.rem_euclid(1_440));
        let has = |set: u64, n: u32| set & (1 << n) != 0;
        if !has(self.minutes, (minute % 60) as u32) || !has(self.hours, (minute / 60) as u32) {
            return false;
        }
        let (month, of_month) = civil(day);
        // The epoch was a Thursday, the fifth day.
        let week_day = 1 + (day + 4).rem_euclid(7) as u32;
        has(self.months, month)
            && self.days.is_none_or(|days| has(days, of_month))
            && self.week_days.is_none_or(|days| has(days, week_day))
    }

    /// Whether it wakes at a minute in a zone: an hour that the clock leaves out is not there, and of one that it has twice
    /// only the first counts.
    fn wakes(&self, minute: i64, offset: impl Fn(i64) -> i64) -> bool {
        let local = minute + offset(minute);
        self.names(local) && minute - 60 + offset(minute - 60) != local
    }
}

/// Month and day of month of a day since the epoch, by counting.
fn civil(day: i64) -> (u32, u32) {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let (mut year, mut rest) = (1970, day);
    while rest >= 365 + i64::from(leap(year)) {
        rest -= 365 + i64::from(leap(year));
        year += 1;
    }
    for (month, days) in
        [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate()
    {
        if rest < days {
            return (month as u32 + 1, rest as u32 + 1);
        }
        rest -= days;
    }
    unreachable!()
}

fn utc(_: i64) -> i64 {
    0
}

/// Central Europe in 2028: summer time from 26 March to 29 October, one o'clock UTC.
fn berlin(minute: i64) -> i64 {
    let at = |text: &str| text.parse::<Tick>().unwrap().millis() / MINUTE;
    let summer = at("2028-03-26T01:00:00Z")..at("2028-10-29T01:00:00Z");
    if summer.contains(&minute) { 120 } else { 60 }
}

/// The minutes of the year in which a schedule has a tick, and those in which its expressions wake.
fn year(schedule: &Schedule, offset: impl Fn(i64) -> i64) -> (Vec<i64>, Vec<i64>) {
    let mut ticks = Vec::new();
    let mut at = Tick::from_millis((YEAR.start - 1) * MINUTE);
    while let Some(next) = schedule.next_after(at).filter(|t| t.millis() < YEAR.end * MINUTE) {
        assert_eq!(next.millis() % MINUTE, 0);
        ticks.push(next.millis() / MINUTE);
        at = next;
    }
    let wakes = wakes(schedule).unwrap();
    let read: Vec<Read> = wakes.expressions.iter().map(|e| read(e)).collect();
    let woken = YEAR.filter(|minute| read.iter().any(|r| r.wakes(*minute, &offset))).collect();
    (ticks, woken)
}

/// Every tick is woken for, and when it says so, nothing else.
fn check(text: &str) -> Result<(), TestCaseError> {
    let Ok(schedule) = Schedule::parse(text) else { return Ok(()) };
    let (ticks, woken) = year(&schedule, utc);
    let missed: Vec<&i64> = ticks.iter().filter(|tick| woken.binary_search(tick).is_err()).collect();
    prop_assert!(missed.is_empty(), "{} by {:?} misses {} ticks", text, wakes(&schedule), missed.len());
    if wakes(&schedule).unwrap().exact {
        prop_assert_eq!(ticks.len(), woken.len(), "{} is not exact", text);
    }
    Ok(())
}

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let range = (low..=high, low..=high, 1..=5u32).prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b)));
    prop_oneof![
        Just("*".to_owned()),
        (2..=7u32).prop_map(|step| format!("*/{step}")),
        (low..=high).prop_map(|n| n.to_string()),
        range.clone(),
        (range, low..=high).prop_map(|(range, n)| format!("{range},{n}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_tick_of_cron_fields_is_woken_for(
        minute in field(0, 59), hour in field(0, 23), day in field(1, 31), month in field(1, 12), week in field(0, 7),
    ) {
        check(&format!("{minute} {hour} {day} {month} {week}"))?;
    }

    #[test]
    fn every_tick_of_a_distance_is_woken_for(minutes in prop_oneof![1..200i64, (1..60i64).prop_map(|h| h * 60), (1..40i64).prop_map(|d| d * 1_440)]) {
        check(&format!("every {minutes}m"))?;
    }
}

#[test]
fn what_people_write_reads_as_they_would_have_written_it_there() {
    for (text, expressions, exact) in [
        ("every 1m", &["cron(* * * * ? *)"][..], true),
        ("every 15m", &["cron(0/15 * * * ? *)"], true),
        ("every 60m", &["cron(0 * * * ? *)"], true),
        ("every 2h", &["cron(0 0/2 * * ? *)"], true),
        ("every 1d", &["cron(0 0 * * ? *)"], true),
        ("every 7d", &["cron(0 0 ? * THU *)"], true),
        ("every 7m", &["cron(* * * * ? *)"], false),
        ("every 90m", &["cron(0/30 * * * ? *)"], false),
        ("every 5h", &["cron(0 * * * ? *)"], false),
        ("every 36h", &["cron(0 0/12 * * ? *)"], false),
        ("every 3d", &["cron(0 0 * * ? *)"], false),
        ("every 14d", &["cron(0 0 ? * THU *)"], false),
        ("every 120s", &["cron(0/2 * * * ? *)"], true),
        ("*/15 9-17 * * mon-fri", &["cron(0/15 9-17 ? * MON-FRI *)"], true),
        ("0 6 * * *", &["cron(0 6 * * ? *)"], true),
        ("0 6 * * 7", &["cron(0 6 ? * SUN *)"], true),
        ("0 6 1,15 1-6 *", &["cron(0 6 1,15 1-6 ? *)"], true),
        ("5-59/10 * * * *", &["cron(5/10 * * * ? *)"], true),
        ("0 0 13 * fri", &["cron(0 0 13 * ? *)", "cron(0 0 ? * FRI *)"], true),
        ("0 0 1-31 * fri", &["cron(0 0 * * ? *)"], true),
        ("0 0 */2 * fri", &["cron(0 0 ? * FRI *)"], false),
        ("0 0 */16 * 1-6", &["cron(0 0 1,17 * ? *)"], false),
    ] {
        let wakes = wakes(&Schedule::parse(text).unwrap()).unwrap();
        assert_eq!(
            (wakes.expressions, wakes.exact),
            (expressions.iter().map(|e| (*e).to_owned()).collect(), exact),
            "{text}"
        );
        check(text).unwrap();
    }
}

#[test]
fn ticks_between_minutes_are_refused_with_what_to_write_instead() {
    for (text, what, hint) in [
        ("every 30s", "more often than once a minute", "`every 1m` or more"),
        ("every 90s", "ticks between two minutes", "`every 2m`"),
        ("every 3601s", "ticks between two minutes", "`every 61m`"),
    ] {
        let refusal = wakes(&Schedule::parse(text).unwrap()).unwrap_err();
        assert!(refusal.what.contains(what) && refusal.hint.contains(hint), "{refusal:?}");
    }
}

#[test]
fn a_zone_with_summer_time_would_lose_ticks_which_is_why_none_is_given() {
    for (text, lost) in [("every 1h", 1), ("every 15m", 4), ("30 * * * *", 1)] {
        let schedule = Schedule::parse(text).unwrap();
        let (ticks, woken) = year(&schedule, berlin);
        assert_eq!(ticks.len() - ticks.iter().filter(|t| woken.binary_search(t).is_ok()).count(), lost, "{text}");
    }
    // A clock that says half past two is left out once a year.
    let read = read("cron(30 2 * * ? *)");
    assert_eq!(YEAR.filter(|minute| read.wakes(*minute, berlin)).count(), 365, "of 366 days");
}
