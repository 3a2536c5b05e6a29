//! The text of queries: names, literals, and the conditions of windows and ranges of keys.
//!
//! Contract: a condition never leaves out a row that belongs to the window. It may let more through, where a bound
//! cannot be written exactly or has another kind than the column: the engine applies the window again. A null cursor
//! passes always, since what becomes of such rows is the engine's to say.
//!
//! Every value stands in the text as a literal with its type. Parameters would need the server to infer types of its
//! own; and a `COPY` takes none.

use chrono::{DateTime, Datelike as _, Timelike as _};
use hakiri_core::cursor::Cursor;
use hakiri_core::window::Window;
use serde::{Deserialize, Serialize};

use super::types::Selected;

const DAY_NANOS: i128 = 86_400_000_000_000;

/// A column of a key by which a table is cut into ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    /// The type of its bounds, as SQL.
    pub(super) cast: String,
}

/// A range of keys: from the first bound on, below the second. The outer ones have no bound, so that rows that come
/// between plan and read are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) key: Vec<KeyColumn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) below: Option<Vec<String>>,
}

/// The cursor column as a condition refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CursorColumn {
    /// The column, or its cast.
    pub(super) expression: String,
    pub(super) form: CursorForm,
    pub(super) nullable: bool,
}

/// How bounds of a cursor are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CursorForm {
    Integer,
    Date,
    Timestamp,
    Timestamptz,
    /// By bytes, whatever the column's collation.
    Text,
    /// As text too, but the server's order of the type is that of its text, and an index on it serves.
    Uuid,
}

/// A name in double quotes.
pub(super) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A literal of type text; sessions have `standard_conforming_strings` on.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A column of the table that every query calls `t`.
pub(super) fn column(text: &str) -> String {
    format!("t.{}", name(text))
}

/// The rows of a step.
pub(super) fn select(schema: &str, table: &str, columns: &[Selected], conditions: &[String]) -> String {
    let list: Vec<String> = columns.iter().map(|c| format!("{}::{}", column(&c.name), c.cast)).collect();
    format!("SELECT {} FROM {}{}", list.join(", "), from(schema, table), filter(conditions))
}

pub(super) fn from(schema: &str, table: &str) -> String {
    format!("{}.{} AS t", name(schema), name(table))
}

/// A `WHERE`, or nothing.
pub(super) fn filter(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// A condition of the manifest's, on lines of its own so that a comment in it ends.
pub(super) fn manifest_condition(text: &str) -> String {
    format!("(\n{text}\n)")
}

impl Range {
    /// The conditions of the range.
    pub(super) fn conditions(&self) -> Vec<String> {
        let side = |operator: &str, bound: &Option<Vec<String>>| {
            bound.as_ref().map(|bound| format!("{} {operator} {}", key_row(&self.key), bound_row(&self.key, bound)))
        };
        [side(">=", &self.from), side("<", &self.below)].into_iter().flatten().collect()
    }
}

/// `(t."a", t."b")`.
pub(super) fn key_row(key: &[KeyColumn]) -> String {
    format!("({})", key.iter().map(|c| column(&c.name)).collect::<Vec<_>>().join(", "))
}

/// `('1'::pg_catalog.int4, 'x'::pg_catalog.text)`.
pub(super) fn bound_row(key: &[KeyColumn], bound: &[String]) -> String {
    let values: Vec<String> = key.iter().zip(bound).map(|(c, v)| format!("{}::{}", literal(v), c.cast)).collect();
    format!("({})", values.join(", "))
}

impl CursorColumn {
    /// What the server compares.
    pub(super) fn compared(&self) -> String {
        match self.form {
            CursorForm::Text => format!("({})::pg_catalog.text COLLATE pg_catalog.\"C\"", self.expression),
            _ => self.expression.clone(),
        }
    }

    /// The condition of a window, if it has any bound.
    pub(super) fn condition(&self, window: &Window) -> Option<String> {
        let bounds = match window {
            Window::Everything | Window::After { .. } => return None,
            // Bounds lie between two microseconds; the first microsecond that is not below one begins the same range.
            Window::HalfOpen { lo, hi } => [(">=", lo.as_ref()), ("<", Some(hi))],
            Window::Above { lo, hi } => [(">", lo.as_ref()), ("<=", hi.as_ref())],
        };
        let compared = self.compared();
        let sides: Vec<String> = bounds
            .into_iter()
            .filter_map(|(operator, bound)| Some(format!("{compared} {operator} {}", self.bound(bound?)?)))
            .collect();
        if sides.is_empty() {
            return None;
        }
        let inside = sides.join(" AND ");
        Some(if self.nullable { format!("({inside} OR {} IS NULL)", self.expression) } else { format!("({inside})") })
    }

    /// A bound as a literal; none where the column cannot be compared with it exactly.
    fn bound(&self, bound: &Cursor) -> Option<String> {
        Some(match (self.form, bound) {
            (CursorForm::Integer, Cursor::Integer { value }) => {
                format!("{}::pg_catalog.int8", literal(&value.to_string()))
            }
            (CursorForm::Date, Cursor::Timestamp { nanos, .. }) => {
                format!("{}::pg_catalog.date", literal(&date(nanos.div_euclid(DAY_NANOS) * DAY_NANOS)?))
            }
            (CursorForm::Timestamp, Cursor::Timestamp { nanos, .. }) => {
                format!("{}::pg_catalog.timestamp", literal(&timestamp(*nanos, "")?))
            }
            (CursorForm::Timestamptz, Cursor::Timestamp { nanos, .. }) => {
                format!("{}::pg_catalog.timestamptz", literal(&timestamp(*nanos, "+00")?))
            }
            (CursorForm::Text, Cursor::Text { value }) => literal(value),
            (CursorForm::Uuid, Cursor::Text { value }) if is_uuid(value) => {
                format!("{}::pg_catalog.uuid", literal(value))
            }
            _ => return None,
        })
    }
}

fn is_uuid(text: &str) -> bool {
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36 && text.bytes().enumerate().all(|(at, b)| if dash(at) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// The first microsecond that is not before an instant. The server has years from 4714 before our era on; what is
/// beyond the range of either side is no bound.
fn timestamp(nanos: i128, zone: &str) -> Option<String> {
    let micros = i64::try_from(-(-nanos).div_euclid(1000)).ok()?;
    let t = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let (year, era) = year(t.year())?;
    let time = format!("{:02}:{:02}:{:02}.{:06}", t.hour(), t.minute(), t.second(), t.nanosecond() / 1000);
    Some(format!("{year:04}-{:02}-{:02} {time}{zone}{era}", t.month(), t.day()))
}

fn date(nanos: i128) -> Option<String> {
    let t = DateTime::from_timestamp(i64::try_from(nanos / 1_000_000_000).ok()?, 0)?.naive_utc();
    let (year, era) = year(t.year())?;
    Some(format!("{year:04}-{:02}-{:02}{era}", t.month(), t.day()))
}

fn year(year: i32) -> Option<(i32, &'static str)> {
    match year {
        1.. => Some((year, "")),
        -4711..=0 => Some((1 - year, " BC")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(form: CursorForm, nullable: bool) -> CursorColumn {
        CursorColumn { expression: column("at"), form, nullable }
    }

    fn instant(nanos: i128) -> Cursor {
        Cursor::Timestamp { nanos, utc: true }
    }

    #[test]
    fn names_and_literals_cannot_end_before_their_end() {
        assert_eq!(name("we\"ird; --"), "\"we\"\"ird; --\"");
        assert_eq!(literal("o'clock\\"), "'o''clock\\'");
        let columns =
            [Selected { name: "A\"b".into(), cast: "pg_catalog.int4".into(), wire: super::super::types::Wire::Int4 }];
        assert_eq!(
            select("S", "t'", &columns, &["true".into(), manifest_condition("x -- y")]),
            "SELECT t.\"A\"\"b\"::pg_catalog.int4 FROM \"S\".\"t'\" AS t WHERE true AND (\nx -- y\n)"
        );
    }

    #[test]
    fn a_window_of_instants_includes_its_start_and_not_its_end() {
        let window = Window::HalfOpen { lo: Some(instant(1_000)), hi: instant(2_000) };
        assert_eq!(
            cursor(CursorForm::Timestamptz, false).condition(&window).unwrap(),
            "(t.\"at\" >= '1970-01-01 00:00:00.000001+00'::pg_catalog.timestamptz AND \
             t.\"at\" < '1970-01-01 00:00:00.000002+00'::pg_catalog.timestamptz)"
        );
        let from_the_start = Window::HalfOpen { lo: None, hi: instant(0) };
        assert_eq!(
            cursor(CursorForm::Timestamp, true).condition(&from_the_start).unwrap(),
            "(t.\"at\" < '1970-01-01 00:00:00.000000'::pg_catalog.timestamp OR t.\"at\" IS NULL)"
        );
    }

    #[test]
    fn bounds_between_microseconds_lose_no_row_and_add_none() {
        // 1,500 ns: 1 µs is below it, 2 µs is not.
        for (nanos, first) in [(1_500, 2), (1_000, 1), (-1_500, -1), (-2_000, -2), (0, 0), (1, 1), (-1, 0)] {
            let text = timestamp(nanos, "").unwrap();
            let expected = DateTime::from_timestamp_micros(first).unwrap().format("%Y-%m-%d %H:%M:%S%.6f").to_string();
            assert_eq!(text, expected, "{nanos}");
        }
    }

    #[test]
    fn a_window_of_days_is_cut_to_whole_days() {
        let window = Window::HalfOpen { lo: Some(instant(DAY_NANOS + 1)), hi: instant(3 * DAY_NANOS - 1) };
        assert_eq!(
            cursor(CursorForm::Date, false).condition(&window).unwrap(),
            "(t.\"at\" >= '1970-01-02'::pg_catalog.date AND t.\"at\" < '1970-01-03'::pg_catalog.date)"
        );
    }

    #[test]
    fn a_window_of_integers_includes_its_end_and_not_its_start() {
        let window = Window::Above { lo: Some(Cursor::Integer { value: -5 }), hi: Some(Cursor::Integer { value: 7 }) };
        assert_eq!(
            cursor(CursorForm::Integer, true).condition(&window).unwrap(),
            "(t.\"at\" > '-5'::pg_catalog.int8 AND t.\"at\" <= '7'::pg_catalog.int8 OR t.\"at\" IS NULL)"
        );
        assert_eq!(cursor(CursorForm::Integer, true).condition(&Window::Above { lo: None, hi: None }), None);
    }

    #[test]
    fn text_is_compared_by_its_bytes_whatever_the_collation() {
        let window = Window::Above { lo: Some(Cursor::Text { value: "o'x".into() }), hi: None };
        assert_eq!(
            cursor(CursorForm::Text, false).condition(&window).unwrap(),
            "((t.\"at\")::pg_catalog.text COLLATE pg_catalog.\"C\" > 'o''x')"
        );
        assert_eq!(cursor(CursorForm::Uuid, false).condition(&window), None, "no uuid, no bound");
    }

    #[test]
    fn bounds_of_another_kind_or_beyond_the_calendar_are_left_to_the_engine() {
        let window = Window::HalfOpen { lo: Some(instant(i128::MIN / 2)), hi: instant(i128::MAX / 2) };
        assert_eq!(cursor(CursorForm::Timestamptz, false).condition(&window), None);
        assert_eq!(cursor(CursorForm::Integer, false).condition(&window), None);
        assert_eq!(cursor(CursorForm::Text, false).condition(&Window::Everything), None);
    }

    #[test]
    fn years_before_our_era_and_of_five_digits_are_written_as_the_server_reads_them() {
        assert_eq!(date(-62_167_219_200_000_000_000 - DAY_NANOS).unwrap(), "0002-12-31 BC");
        assert_eq!(date(253_402_300_800_000_000_000).unwrap(), "10000-01-01");
    }

    #[test]
    fn ranges_of_keys_follow_one_another_without_gap_or_overlap() {
        let key = vec![
            KeyColumn { name: "a".into(), cast: "pg_catalog.int4".into() },
            KeyColumn { name: "b".into(), cast: "pg_catalog.text".into() },
        ];
        let range = |from: Option<&str>, below: Option<&str>| Range {
            key: key.clone(),
            from: from.map(|f| vec![f.to_owned(), "x".to_owned()]),
            below: below.map(|b| vec![b.to_owned(), "y".to_owned()]),
        };
        assert_eq!(
            range(Some("1"), Some("2")).conditions(),
            [
                "(t.\"a\", t.\"b\") >= ('1'::pg_catalog.int4, 'x'::pg_catalog.text)",
                "(t.\"a\", t.\"b\") < ('2'::pg_catalog.int4, 'y'::pg_catalog.text)"
            ]
        );
        assert_eq!(range(None, None).conditions(), Vec::<String>::new());
    }
}
