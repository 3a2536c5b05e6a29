//! Times, lengths and counts in words, the same on the terminal and on the page.

use hakiri_core::time::Instant;

/// `2026-01-31 12:00:05 UTC`, and `2026-01-31 12:00 UTC` on the minute, as most ticks are.
pub fn instant(at: Instant) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) => format!("{date} {} UTC", time.strip_suffix(":00").unwrap_or(time)),
        _ => text,
    }
}

/// `850 ms`, `4.2 s`, `3 min 20 s`, `5 h 10 min`, `12 d 3 h`: two units at most.
pub fn duration(millis: i64) -> String {
    let millis = millis.max(0);
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big} {unit}"),
        small => format!("{big} {unit} {small} {small_unit}"),
    };
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => two(millis / 60_000, "min", millis % 60_000 / 1_000, "s"),
        3_600_000..86_400_000 => two(millis / 3_600_000, "h", millis % 3_600_000 / 60_000, "min"),
        _ => two(millis / 86_400_000, "d", millis % 86_400_000 / 3_600_000, "h"),
    }
}

/// `just now`, `4 min ago`, `in 11 min`: one unit, for a glance; the exact instant stands beside it.
pub fn relative(at: Instant, now: Instant) -> String {
    let ahead = at.millis().saturating_sub(now.millis());
    let length = ahead.saturating_abs();
    let text = match length {
        0..1_000 => return "just now".to_owned(),
        1_000..60_000 => format!("{} s", length / 1_000),
        60_000..3_600_000 => format!("{} min", length / 60_000),
        3_600_000..172_800_000 => format!("{} h", length / 3_600_000),
        _ => format!("{} d", length / 86_400_000),
    };
    if ahead > 0 { format!("in {text}") } else { format!("{text} ago") }
}

/// `1 row`, `12,345 rows`.
pub fn rows(n: u64) -> String {
    crate::commands::count(n, "row")
}

/// `12,345`.
pub fn number(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

/// `4.2 MiB`.
pub fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        for (ms, expected) in [
            (-5, "0 ms"),
            (999, "999 ms"),
            (4_250, "4.2 s"),
            (60_000, "1 min"),
            (200_000, "3 min 20 s"),
            (18_600_000, "5 h 10 min"),
            (1_047_600_000, "12 d 3 h"),
        ] {
            assert_eq!(duration(ms), expected);
        }
    }

    #[test]
    fn a_glance_needs_one_unit() {
        let now = Instant::from_millis(1_000_000_000);
        let by = |ms: i64| relative(now.plus_millis(ms), now);
        assert_eq!(
            [by(0), by(-59_000), by(-3_599_000), by(-86_400_000), by(660_000), by(200_000_000)],
            ["just now", "59 s ago", "59 min ago", "24 h ago", "in 11 min", "in 2 d"]
        );
        assert_eq!(instant(now), "1970-01-12 13:46:40 UTC");
        assert_eq!(instant(Instant::from_millis(3_600_000)), "1970-01-01 01:00 UTC");
    }
}
