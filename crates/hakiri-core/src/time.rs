//! Instants. Hakiri counts milliseconds since the Unix epoch in UTC and nothing else.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codes::Code;
use crate::error::{Error, Result};

/// A point in time: milliseconds since the Unix epoch, UTC. Serialized as RFC 3339 with three decimals.
///
/// A *tick* is the scheduled instant a run stands for; it is what may reach a file. The time of the wall clock
/// (from [`Clock`]) may reach the catalog and the terminal, never a file (P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(i64);

/// The scheduled instant a run stands for.
pub type Tick = Instant;

impl Instant {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This instant moved by some milliseconds, saturating.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(t) => f.write_str(&t.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{}ms", self.0),
        }
    }
}

impl FromStr for Instant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        DateTime::parse_from_rfc3339(text).map(|t| Self(t.timestamp_millis())).map_err(|_| {
            Error::new(Code::Arguments, format!("`{text}` is not an instant"))
                .with_hint("write it as 2026-01-31T12:00:00Z")
        })
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where the time comes from. The binary has the one real implementation; tests bring their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Instant;

    /// How long to really sleep for so much of this clock's time to pass. A clock that runs faster than the wall's, for
    /// tests of days, answers with less.
    fn sleep_for(&self, millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
