//! Days, times and timestamps: strict to read, canonical to write.
//!
//! Only unambiguous forms count: `YYYY-MM-DD`, RFC 3339 with `T` or one space, with or without zone. Anything looser
//! (`1/2/2026`, `20260131`, a 60th second) is text, since a guess would be wrong for somebody.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use hakiri_core::cursor::TimeUnit;

pub(super) const NANOS: i128 = 1_000_000_000;
pub(super) const DAY_NANOS: i128 = 86_400 * NANOS;

/// A day or a timestamp as its text says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporal {
    /// Days since the epoch.
    Date(i32),
    /// A timestamp.
    Timestamp {
        /// Nanoseconds since the epoch; of the wall clock where there is no zone.
        nanos: i128,
        /// Whether there was a zone.
        utc: bool,
    },
}

impl Temporal {
    /// Reads one of the strict forms, years 0001 to 9999 (also after the zone is taken away), at most nine digits of
    /// fraction.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < 10 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
            return None;
        }
        let days = day(bytes)?;
        if bytes.len() == 10 {
            return Some(Self::Date(days));
        }
        if !matches!(bytes.get(10), Some(b'T' | b' ')) {
            return None;
        }
        let (of_day, rest) = time(bytes.get(11..)?)?;
        let (offset, utc) = match rest {
            [] => (0, false),
            [b'Z'] => (0, true),
            [sign @ (b'+' | b'-'), zone @ ..] if zone.len() == 5 && zone.get(2) == Some(&b':') => {
                let (hours, minutes) = (two(zone, 0)?, two(zone, 3)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let seconds = i128::from(hours * 60 + minutes) * 60;
                (if *sign == b'-' { -seconds } else { seconds }, true)
            }
            _ => return None,
        };
        let nanos = i128::from(days) * DAY_NANOS + of_day - offset * NANOS;
        in_range(nanos).then_some(Self::Timestamp { nanos, utc })
    }

    /// Nanoseconds since the epoch; of midnight for a day.
    pub(super) fn nanos(self) -> i128 {
        match self {
            Self::Date(days) => i128::from(days) * DAY_NANOS,
            Self::Timestamp { nanos, .. } => nanos,
        }
    }
}

/// Years 0001 to 9999.
fn in_range(nanos: i128) -> bool {
    const FIRST: i128 = -719_162 * DAY_NANOS;
    const END: i128 = 2_932_897 * DAY_NANOS;
    (FIRST..END).contains(&nanos)
}

/// A time of day, `HH:MM:SS` with up to nine digits of fraction, as nanoseconds since midnight.
pub(super) fn parse_time(text: &str) -> Option<i128> {
    match time(text.as_bytes())? {
        (nanos, []) => Some(nanos),
        _ => None,
    }
}

fn two(bytes: &[u8], at: usize) -> Option<u32> {
    match bytes.get(at..at + 2)? {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => None,
    }
}

fn day(bytes: &[u8]) -> Option<i32> {
    let year = two(bytes, 0)? * 100 + two(bytes, 2)?;
    if year == 0 {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year as i32, two(bytes, 5)?, two(bytes, 8)?)?;
    Some(date.to_epoch_days())
}

/// The nanoseconds of a time of day at the start of the bytes, and what follows it.
fn time(bytes: &[u8]) -> Option<(i128, &[u8])> {
    let (hours, minutes, seconds) = (two(bytes, 0)?, two(bytes, 3)?, two(bytes, 6)?);
    if bytes.get(2) != Some(&b':') || bytes.get(5) != Some(&b':') || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let whole = i128::from((hours * 60 + minutes) * 60 + seconds) * NANOS;
    let rest = bytes.get(8..)?;
    let [b'.', digits @ ..] = rest else {
        return Some((whole, rest));
    };
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return None;
    }
    let mut fraction = 0;
    for i in 0..9 {
        fraction = fraction * 10 + if i < count { i128::from(digits.get(i)? - b'0') } else { 0 };
    }
    Some((whole + fraction, digits.get(count..)?))
}

/// Nanoseconds in a unit, if it is fine enough for them.
pub(super) fn in_unit(nanos: i128, unit: TimeUnit) -> Option<i64> {
    let step = NANOS / i128::from(unit.per_second());
    if nanos % step != 0 {
        return None;
    }
    i64::try_from(nanos / step).ok()
}

/// `YYYY-MM-DD`.
pub(super) fn write_date(days: i32, out: &mut String) -> Option<()> {
    let date = NaiveDate::from_epoch_days(days)?;
    out.push_str(&date.to_string());
    Some(())
}

/// RFC 3339 with `T`, `Z` where it is an instant, and no, three, six or nine digits of fraction.
pub(super) fn write_timestamp(nanos: i128, utc: bool, out: &mut String) -> Option<()> {
    let time = instant(nanos)?;
    out.push_str(&time.date().to_string());
    out.push('T');
    write_clock(time.time(), out);
    if utc {
        out.push('Z');
    }
    Some(())
}

/// `HH:MM:SS` and the fraction as [`write_timestamp`].
pub(super) fn write_time(nanos: i128, out: &mut String) -> Option<()> {
    let (seconds, rest) = (u32::try_from(nanos / NANOS).ok()?, u32::try_from(nanos % NANOS).ok()?);
    write_clock(NaiveTime::from_num_seconds_from_midnight_opt(seconds, rest)?, out);
    Some(())
}

fn write_clock(time: NaiveTime, out: &mut String) {
    out.push_str(&format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second()));
    match time.nanosecond() {
        0 => {}
        n if n % 1_000_000 == 0 => out.push_str(&format!(".{:03}", n / 1_000_000)),
        n if n % 1_000 == 0 => out.push_str(&format!(".{:06}", n / 1_000)),
        n => out.push_str(&format!(".{n:09}")),
    }
}

fn instant(nanos: i128) -> Option<NaiveDateTime> {
    let (seconds, rest) = (nanos.div_euclid(NANOS), nanos.rem_euclid(NANOS));
    Some(DateTime::from_timestamp(i64::try_from(seconds).ok()?, u32::try_from(rest).ok()?)?.naive_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        let mut out = String::new();
        match Temporal::parse(text)? {
            Temporal::Date(days) => write_date(days, &mut out)?,
            Temporal::Timestamp { nanos, utc } => write_timestamp(nanos, utc, &mut out)?,
        }
        Some(out)
    }

    #[test]
    fn strict_forms_are_read_and_written_canonically() {
        for (text, expected) in [
            ("2026-01-31", "2026-01-31"),
            ("0001-01-01", "0001-01-01"),
            ("2024-02-29", "2024-02-29"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31 12:00:00", "2026-01-31T12:00:00"),
            ("2026-01-31T00:30:00+01:00", "2026-01-30T23:30:00Z"),
            ("2026-01-31T00:30:00-00:30", "2026-01-31T01:00:00Z"),
            ("2026-01-31T12:00:00.1234560Z", "2026-01-31T12:00:00.123456Z"),
            ("9999-12-31T23:59:59.999999999", "9999-12-31T23:59:59.999999999"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
            assert_eq!(canonical(expected).as_deref(), Some(expected), "{expected} again");
        }
    }

    #[test]
    fn looser_forms_are_not() {
        for text in [
            "",
            "2026-1-31",
            "2026-02-30",
            "2023-02-29",
            "0000-01-01",
            "20260131",
            "2026/01/31",
            " 2026-01-31",
            "2026-01-31 ",
            "+2026-01-31",
            "2026-01-31T",
            "2026-01-31T12:00",
            "2026-01-31T12:00Z",
            "2026-01-31t12:00:00z",
            "2026-01-31  12:00:00",
            "2026-01-31T24:00:00",
            "2026-01-31T23:59:60Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00.1234567890Z",
            "2026-01-31T12:00:00+0100",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00 Z",
            "2026-01-31T12:00:00+01:00x",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "２026-01-31",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn units_hold_only_what_they_can() {
        assert_eq!(in_unit(1_500_000_000, TimeUnit::Millisecond), Some(1500));
        assert_eq!(in_unit(1_500_000_000, TimeUnit::Second), None);
        assert_eq!(in_unit(i128::from(i64::MAX) + 1, TimeUnit::Nanosecond), None);
        assert_eq!(parse_time("23:59:59.25"), Some(86_399_250_000_000));
        assert_eq!(parse_time("23:59:59Z"), None);
    }
}
