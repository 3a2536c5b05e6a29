//! Table and property tests of schedules; the properties compare with a scan of every minute.

use chrono::{DateTime, Datelike, Timelike};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Tick {
    text.parse().unwrap()
}

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).unwrap()
}

#[test]
fn the_next_tick_of_many_schedules() {
    for (text, from, expected) in [
        ("every 15m", "2026-01-01T00:00:00Z", "2026-01-01T00:15:00.000Z"),
        ("every 15m", "2026-01-01T00:14:59.999Z", "2026-01-01T00:15:00.000Z"),
        ("every 7d", "2026-01-01T00:00:00Z", "2026-01-08T00:00:00.000Z"), // the epoch was a Thursday, too
        ("every90s", "1970-01-01T00:00:01Z", "1970-01-01T00:01:30.000Z"),
        ("every 1h", "1969-12-31T22:59:00Z", "1969-12-31T23:00:00.000Z"),
        ("* * * * *", "2026-01-01T00:00:00.001Z", "2026-01-01T00:01:00.000Z"),
        ("0 */2 * * *", "2026-01-01T22:00:00Z", "2026-01-02T00:00:00.000Z"),
        ("30 6 * * mon-fri", "2026-01-02T06:30:00Z", "2026-01-05T06:30:00.000Z"),
        ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00.000Z"),
        ("0 0 * * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00.000Z"),
        ("0 0 * * fri-SUN", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00.000Z"),
        ("0 0 * * 5-7", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00.000Z"),
        ("0 0 * * sun-tue", "2026-01-06T00:00:00Z", "2026-01-11T00:00:00.000Z"),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00.000Z"), // 2100 is no leap year
        ("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00.000Z"),
        ("59 23 31 dec *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00.000Z"),
        ("5-59/15,0 9,17 * * *", "2026-01-01T09:05:00Z", "2026-01-01T09:20:00.000Z"),
        // Both days restricted: one is enough. One starts with `*`: both must match.
        ("0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00.000Z"),
        ("0 0 13 * fri", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00.000Z"),
        ("0 0 */2 * fri", "2026-01-02T00:00:00Z", "2026-01-09T00:00:00.000Z"),
        ("0 0 30 2 mon", "2026-02-01T00:00:00Z", "2026-02-02T00:00:00.000Z"),
        ("0 0 29 2 */6", "2026-01-01T00:00:00Z", "2032-02-29T00:00:00.000Z"), // both: a Saturday or Sunday
    ] {
        let next = schedule(text).next_after(at(from)).unwrap();
        assert_eq!(next.to_string(), expected, "{text} after {from}");
        assert_eq!(schedule(text).last_at_or_before(next), Some(next), "{text}");
    }
}

#[test]
fn the_last_tick_of_many_schedules() {
    for (text, at_, expected) in [
        ("every 15m", "2026-01-01T00:15:00Z", "2026-01-01T00:15:00.000Z"),
        ("every 15m", "2026-01-01T00:14:59.999Z", "2026-01-01T00:00:00.000Z"),
        ("0 */2 * * *", "2026-01-01T01:59:59Z", "2026-01-01T00:00:00.000Z"),
        ("59 23 * * *", "2026-01-01T23:58:59Z", "2025-12-31T23:59:00.000Z"),
        ("0 0 29 2 *", "2104-02-28T23:59:00Z", "2096-02-29T00:00:00.000Z"),
        ("30 6 * * mon-fri", "2026-01-05T06:29:59.999Z", "2026-01-02T06:30:00.000Z"),
        ("0 0 1 1 *", "1969-06-01T00:00:00Z", "1969-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(schedule(text).last_at_or_before(at(at_)).unwrap().to_string(), expected, "{text} at {at_}");
    }
}

#[test]
fn what_is_no_schedule_is_refused_with_a_reason_and_a_way_out() {
    for (text, message, hint) in [
        ("", "the schedule is empty", "leave `schedule` out to run the pipeline by hand"),
        (
            "every",
            "`every` is not a schedule: after `every` stands a number and one of s, m, h and d",
            "write for example `every 15m`",
        ),
        (
            "every 15",
            "`every 15` is not a schedule: after `every` stands a number and one of s, m, h and d",
            "write for example `every 15m`",
        ),
        (
            "every -5m",
            "`every -5m` is not a schedule: after `every` stands a number and one of s, m, h and d",
            "write for example `every 15m`",
        ),
        (
            "every 0s",
            "`every 0s` is too often: the shortest is one second",
            "write for example `every 30s` or `every 15m`",
        ),
        (
            "every 500ms",
            "`every 500ms` is too often: the shortest is one second",
            "write for example `every 30s` or `every 15m`",
        ),
        (
            "every 9999d",
            "`every 9999d` is too seldom: the longest is 3660 days",
            "leave `schedule` out to run it by hand",
        ),
        ("15m", "`15m` has 1 field, a schedule has five", "write for example `every 15m`, or minute"),
        ("* * * *", "`* * * *` has 4 fields, a schedule has five", "write for example `every 15m`, or minute"),
        ("0 0 * * * *", "`0 0 * * * *` has 6 fields, a schedule has five", "there is no field for seconds or years"),
        ("@daily", "`@daily` is not a schedule", "write `0 0 * * *`"),
        ("60 * * * *", "in `60 * * * *`, the minute `60` is out of range: 0 to 59", "use numbers from 0 to 59"),
        ("0 24 * * *", "in `0 24 * * *`, the hour `24` is out of range: 0 to 23", "use numbers from 0 to 23"),
        ("0 0 0 * *", "in `0 0 0 * *`, the day of month `0` is out of range: 1 to 31", "use numbers from 1 to 31"),
        (
            "0 0 * foo *",
            "in `0 0 * foo *`, the month `foo` has `foo`, which is not a number it takes",
            "names from jan to dec",
        ),
        ("0 0 * * 8", "in `0 0 * * 8`, the day of week `8` is out of range: 0 to 7", "use numbers from 0 to 7"),
        (
            "0 0 L * *",
            "in `0 0 L * *`, the day of month `L` has `L`, which is not a number it takes",
            "ranges, lists and steps",
        ),
        ("+5 0 * * *", "in `+5 0 * * *`, the minute `+5` is out of range: 0 to 59", "use numbers from 0 to 59"),
        ("1,,2 0 * * *", "in `1,,2 0 * * *`, the minute `1,,2` has an empty part", "use numbers from 0 to 59"),
        ("5/15 * * * *", "in `5/15 * * * *`, the minute `5/15` has a step without a range", "write `5-59/15`"),
        (
            "*/0 * * * *",
            "in `*/0 * * * *`, the minute `*/0` has the step `0`, which is not between 1 and 59",
            "`every 90m`",
        ),
        (
            "*/90 * * * *",
            "in `*/90 * * * *`, the minute `*/90` has the step `90`, which is not between 1 and 59",
            "`every 90m`",
        ),
        ("0 22-4 * * *", "in `0 22-4 * * *`, the hour `22-4` has a range that runs backwards", "split it in two"),
        ("0 0 30 2 *", "`0 0 30 2 *` never fires", "no month it names has such a day"),
        ("0 0 31 4,6,9,11 *", "`0 0 31 4,6,9,11 *` never fires", "no month it names has such a day"),
    ] {
        let error = Schedule::parse(text).unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::ManifestSchedule, message));
        assert!(error.hint().contains(hint), "{text}: {}", error.hint());
    }
}

#[test]
fn due_ticks() {
    let quarter = schedule("every 15m");
    let due = |last: Option<&str>, now: &str, catch_up| {
        quarter.due(last.map(at), at(now), catch_up).map(|t| t.to_string()).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    // The first run ever stands for the latest tick, whatever `catch_up` says.
    assert_eq!(due(None, "2026-01-01T00:20:00Z", CatchUp::Each), ["2026-01-01T00:15:00.000Z"]);
    assert_eq!(due(None, "2026-01-01T00:20:00Z", CatchUp::Latest), ["2026-01-01T00:15:00.000Z"]);
    // Nothing is due twice, and nothing before its time.
    assert_eq!(due(Some("2026-01-01T00:15:00Z"), "2026-01-01T00:29:59.999Z", CatchUp::Each), none);
    assert_eq!(due(Some("2026-01-01T00:15:00Z"), "2026-01-01T00:29:59.999Z", CatchUp::Latest), none);
    assert_eq!(due(Some("2026-01-01T00:15:00Z"), "2026-01-01T00:30:00Z", CatchUp::Each), ["2026-01-01T00:30:00.000Z"]);
    // Missed ticks: each, oldest first; or the latest.
    assert_eq!(
        due(Some("2026-01-01T00:15:00Z"), "2026-01-01T01:05:00Z", CatchUp::Each),
        ["2026-01-01T00:30:00.000Z", "2026-01-01T00:45:00.000Z", "2026-01-01T01:00:00.000Z"]
    );
    assert_eq!(
        due(Some("2026-01-01T00:15:00Z"), "2026-01-01T01:05:00Z", CatchUp::Latest),
        ["2026-01-01T01:00:00.000Z"]
    );
    // A last tick that is none of the schedule's (it was changed, or a run was asked for by hand).
    assert_eq!(due(Some("2026-01-01T00:17:00Z"), "2026-01-01T00:30:00Z", CatchUp::Each), ["2026-01-01T00:30:00.000Z"]);
    // A clock that went back.
    assert_eq!(due(Some("2026-01-01T00:15:00Z"), "2025-01-01T00:00:00Z", CatchUp::Each), none);
    assert_eq!(due(Some("2026-01-01T00:15:00Z"), "2025-01-01T00:00:00Z", CatchUp::Latest), none);
}

#[test]
fn a_year_of_missed_minutes_is_cheap_to_look_into() {
    let minutes = schedule("* * * * *");
    let mut due = minutes.due(Some(at("1970-01-01T00:00:00Z")), at("2026-01-01T00:00:00Z"), CatchUp::Each);
    assert_eq!(due.next().unwrap().to_string(), "1970-01-01T00:01:00.000Z");
    assert_eq!(due.take(1_000_000).count(), 1_000_000);
}

#[test]
fn the_ends_of_the_calendar_are_no_panic() {
    for text in ["every 3660d", "every 1s", "0 0 1 1 *", "* * * * *", "0 0 29 2 0"] {
        for millis in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let _ = schedule(text).next_after(Tick::from_millis(millis));
            let _ = schedule(text).last_at_or_before(Tick::from_millis(millis));
        }
    }
}

/// A cron field: its text and what it matches, made together without the parser.
fn field(low: u32, high: u32) -> impl Strategy<Value = (String, Vec<u32>)> {
    let one = (low..=high).prop_map(|n| (n.to_string(), vec![n]));
    let range = (low..=high, low..=high, 1..=3u32).prop_map(move |(a, b, step)| {
        let (a, b) = (a.min(b), a.max(b));
        (format!("{a}-{b}/{step}"), (a..=b).step_by(step as usize).collect())
    });
    let some = prop::collection::vec(prop_oneof![one, range], 1..3).prop_map(|parts: Vec<(String, Vec<u32>)>| {
        (parts.iter().map(|p| p.0.clone()).collect::<Vec<_>>().join(","), parts.into_iter().flat_map(|p| p.1).collect())
    });
    let star = (1..=3u32).prop_map(move |step| {
        let text = if step == 1 { "*".to_owned() } else { format!("*/{step}") };
        (text, (low..=high).step_by(step as usize).collect())
    });
    prop_oneof![some, star]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn cron_agrees_with_a_scan_of_every_minute(
        minute in field(0, 59), hour in field(0, 23), day in field(1, 31), month in field(1, 12), week in field(0, 6),
        start in 0..2_000_000_000i64,
    ) {
        let text = format!("{} {} {} {} {}", minute.0, hour.0, day.0, month.0, week.0);
        let Ok(schedule) = Schedule::parse(&text) else { return Ok(()) };
        let matches = |minutes: i64| {
            let t = DateTime::from_timestamp(minutes * 60, 0).unwrap();
            let (on_day, on_week) = (day.1.contains(&t.day()), week.1.contains(&t.weekday().num_days_from_sunday()));
            let both = !day.0.starts_with('*') && !week.0.starts_with('*');
            minute.1.contains(&t.minute()) && hour.1.contains(&t.hour()) && month.1.contains(&t.month())
                && if both { on_day || on_week } else { on_day && on_week }
        };
        let start_minute = start.div_euclid(60);
        let limit = 60 * 24 * 60; // sixty days; longer gaps are the table's
        let expected = (start_minute + 1..start_minute + limit).find(|m| matches(*m));
        let next = schedule.next_after(Tick::from_millis(start * 1_000)).unwrap();
        match expected {
            Some(m) => prop_assert_eq!(next.millis(), m * 60_000, "{}", text),
            None => prop_assert!(next.millis() >= (start_minute + limit) * 60_000, "{}", text),
        }
        prop_assert!(matches(next.millis() / 60_000), "{}", text);
        let expected = (start_minute - limit..=start_minute).rev().find(|m| matches(*m));
        let last = schedule.last_at_or_before(Tick::from_millis(start * 1_000)).unwrap();
        match expected {
            Some(m) => prop_assert_eq!(last.millis(), m * 60_000, "{}", text),
            None => prop_assert!(last.millis() < (start_minute - limit) * 60_000, "{}", text),
        }
    }

    #[test]
    fn next_is_strictly_after_and_is_the_last_of_itself(seconds in 1..1_000_000i64, instant in -1_000_000_000_000..4_000_000_000_000i64) {
        let every = Schedule::parse(&format!("every {seconds}s")).unwrap();
        let from = Tick::from_millis(instant);
        let (last, next) = (every.last_at_or_before(from).unwrap(), every.next_after(from).unwrap());
        prop_assert!(last <= from && from < next);
        prop_assert_eq!(every.next_after(last), Some(next));
        prop_assert_eq!(next.millis() - last.millis(), seconds * 1_000);
        prop_assert_eq!(next.millis().rem_euclid(seconds * 1_000), 0);
    }

    #[test]
    fn parsing_never_panics(text in "(every )?[-0-9*/,a-z @]{0,24}") {
        let _ = Schedule::parse(&text);
    }
}
