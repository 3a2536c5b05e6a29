//! Schedules: `every 15m` or five cron fields, anchored at the Unix epoch in UTC.
//!
//! Triggers only wake a run; which ticks are due is always computed here, from the manifest and the last tick in the
//! catalog. So a late, doubled or missing trigger changes nothing (P2).

use crate::codes::Code;
use crate::error::{Error, Result};

/// Parses `90s`, `5m`, `1h`, `2d` (or `500ms`) into milliseconds.
///
/// # Errors
/// `HK0110`.
pub fn parse_duration(text: &str) -> Result<i64> {
    let bad = || Error::new(Code::ManifestValue, format!("`{text}` is not a duration")).with_hint("write for example 90s, 5m, 1h or 2d");
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
