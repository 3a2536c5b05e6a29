//! Cursors: how far a table has been read. A cursor is typed; mixed kinds are errors, never silent casts.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// Which kind of cursor a column or source gives. The kind decides what a window means (`02`, "Windows and cursors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CursorKind {
    /// A number that grows, such as a sequence. Window `(lo, hi]`.
    Integer,
    /// An instant in UTC, or a wall-clock time without a zone. Window `[lo, hi)`.
    Timestamp,
    /// Text with a total order by its UTF-8 bytes. Window `(lo, hi]` with no upper bound known beforehand.
    Text,
    /// The source's own token, or the list of files seen: no order, no arithmetic.
    Opaque,
}

/// The resolution of a timestamp cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds.
    Second,
    /// Thousandths.
    Millisecond,
    /// Millionths.
    Microsecond,
    /// Billionths.
    Nanosecond,
}

impl TimeUnit {
    /// How many of this unit make a second.
    pub const fn per_second(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Millisecond => 1_000,
            Self::Microsecond => 1_000_000,
            Self::Nanosecond => 1_000_000_000,
        }
    }
}

/// One position of a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cursor {
    /// A number.
    Integer {
        /// The position.
        value: i64,
    },
    /// An instant (`utc`) or a wall-clock time without a zone.
    Timestamp {
        /// Nanoseconds since the Unix epoch, as text: they pass 2^53.
        #[serde(with = "nanos_as_text")]
        nanos: i128,
        /// Whether the source's values carry a zone.
        utc: bool,
    },
    /// Text, ordered by its bytes.
    Text {
        /// The position.
        value: String,
    },
    /// A token or document only its source understands.
    Opaque {
        /// The token.
        value: String,
    },
    /// An opaque cursor too large for the catalog: it lies in the store under its hash.
    Stored {
        /// The path in the store, relative to the project's root.
        path: String,
        /// The SHA-256 of the bytes there.
        sha256: Hash,
    },
}

mod nanos_as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Cursor {
    /// Its kind.
    pub fn kind(&self) -> CursorKind {
        match self {
            Self::Integer { .. } => CursorKind::Integer,
            Self::Timestamp { .. } => CursorKind::Timestamp,
            Self::Text { .. } => CursorKind::Text,
            Self::Opaque { .. } | Self::Stored { .. } => CursorKind::Opaque,
        }
    }

    /// The order of two positions, or `None` when they cannot be compared (other kind, other zone, opaque).
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer { value: a }, Self::Integer { value: b }) => Some(a.cmp(b)),
            (Self::Timestamp { nanos: a, utc: x }, Self::Timestamp { nanos: b, utc: y }) if x == y => Some(a.cmp(b)),
            (Self::Text { value: a }, Self::Text { value: b }) => Some(a.as_bytes().cmp(b.as_bytes())),
            _ => None,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { value } => write!(f, "{value}"),
            Self::Timestamp { nanos, utc } => {
                let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
                match i64::try_from(seconds).ok().and_then(|s| chrono::DateTime::from_timestamp(s, rest as u32)) {
                    Some(t) if *utc => f.write_str(&t.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
                    Some(t) => write!(f, "{}", t.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f")),
                    None => write!(f, "{nanos}ns"),
                }
            }
            Self::Text { value } => f.write_str(value),
            Self::Opaque { value } if value.chars().count() <= 60 => f.write_str(value),
            Self::Opaque { value } => {
                write!(f, "opaque, {} bytes, sha256 {}", value.len(), Hash::of(value.as_bytes()).short())
            }
            Self::Stored { path, .. } => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(Cursor, &'static str, &'static str)> {
        let hash = Hash::of(b"x");
        vec![
            (
                Cursor::Integer { value: i64::MAX },
                r#"{"kind":"integer","value":9223372036854775807}"#,
                "9223372036854775807",
            ),
            (
                Cursor::Timestamp { nanos: 1_767_225_600_000_000_001, utc: true },
                r#"{"kind":"timestamp","nanos":"1767225600000000001","utc":true}"#,
                "2026-01-01T00:00:00.000000001Z",
            ),
            (
                Cursor::Timestamp { nanos: -1, utc: false },
                r#"{"kind":"timestamp","nanos":"-1","utc":false}"#,
                "1969-12-31T23:59:59.999999999",
            ),
            (
                Cursor::Timestamp { nanos: i128::MIN, utc: true },
                r#"{"kind":"timestamp","nanos":"-170141183460469231731687303715884105728","utc":true}"#,
                "-170141183460469231731687303715884105728ns",
            ),
            (Cursor::Text { value: "é\"".to_owned() }, r#"{"kind":"text","value":"é\""}"#, "é\""),
            (Cursor::Opaque { value: "abc".to_owned() }, r#"{"kind":"opaque","value":"abc"}"#, "abc"),
            (
                Cursor::Stored { path: "tables/t/cursor".to_owned(), sha256: hash },
                r#"{"kind":"stored","path":"tables/t/cursor","sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}"#,
                "tables/t/cursor",
            ),
        ]
    }

    #[test]
    fn the_text_of_each_kind_is_fixed_and_reads_back() {
        for (cursor, json, shown) in all() {
            assert_eq!(serde_json::to_string(&cursor).unwrap(), json);
            assert_eq!(serde_json::from_str::<Cursor>(json).unwrap(), cursor);
            assert_eq!(cursor.to_string(), shown);
            // Manifests hold cursors: none may need a float or lose digits on the way (S5, S12).
            let canonical = crate::canonical::to_canonical_json(&cursor).unwrap();
            assert_eq!(serde_json::from_slice::<Cursor>(&canonical).unwrap(), cursor);
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for json in [
            r#"{"kind":"integer","value":"1"}"#,
            r#"{"kind":"integer","value":9223372036854775808}"#,
            r#"{"kind":"integer","value":1.0}"#,
            r#"{"kind":"timestamp","nanos":1,"utc":true}"#,
            r#"{"kind":"timestamp","nanos":"1.5","utc":true}"#,
            r#"{"kind":"timestamp","nanos":"1"}"#,
            r#"{"kind":"date","value":1}"#,
            r#"{"value":1}"#,
        ] {
            assert!(serde_json::from_str::<Cursor>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn only_like_positions_compare() {
        let all = all();
        for (i, (a, ..)) in all.iter().enumerate() {
            for (j, (b, ..)) in all.iter().enumerate() {
                let comparable = a.kind() != CursorKind::Opaque && (i == j || (matches!((i, j), (1, 3) | (3, 1))));
                assert_eq!(a.compare(b).is_some(), comparable, "{a} and {b}");
            }
        }
        let text = |value: &str| Cursor::Text { value: value.to_owned() };
        assert_eq!(text("Z").compare(&text("a")), Some(Ordering::Less));
        assert_eq!(text("é").compare(&text("z")), Some(Ordering::Greater));
    }

    #[test]
    fn a_long_token_is_shown_by_its_hash() {
        let shown = Cursor::Opaque { value: "s".repeat(61) }.to_string();
        assert!(shown.starts_with("opaque, 61 bytes, sha256 ") && !shown.contains("sss"), "{shown}");
    }
}
