//! Identifiers and their rules. A value of one of these types is valid by construction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use ulid::Ulid;

use crate::codes::Code;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::time::Tick;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(rule) => Err(Error::new(Code::ManifestValue, format!("`{}` is not a valid {}", shortened(text), $what)).with_hint(rule)),
                }
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(text: &str) -> Result<Self> {
                text.parse()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type!(
    /// A project's name: lower-case letters, digits and `-`, at most 40 characters, starting with a letter. Cloud
    /// resource names are derived from it, which is why it is the strictest.
    ProjectName, "project name", project_rule
);
name_type!(
    /// A pipeline's id: lower-case letters, digits, `-` and `_`, at most 63 characters.
    PipelineId, "pipeline id", pipeline_rule
);
name_type!(
    /// A stored table's name: letters, digits and `_`, at most 127 characters, not starting with a digit, so that it
    /// needs no quotes in SQL and is a folder everywhere.
    TableName, "table name", table_rule
);

fn project_rule(text: &str) -> Result<(), &'static str> {
    let ok = (1..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if ok { Ok(()) } else { Err("use 1 to 40 lower-case letters, digits and `-`, starting with a letter") }
}

fn pipeline_rule(text: &str) -> Result<(), &'static str> {
    let ok = (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    if ok {
        Ok(())
    } else {
        Err("use 1 to 63 lower-case letters, digits, `-` and `_`, starting with a letter or digit")
    }
}

fn table_rule(text: &str) -> Result<(), &'static str> {
    let ok = (1..=127).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if ok { Ok(()) } else { Err("use 1 to 127 letters, digits and `_`, not starting with a digit") }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

impl TableName {
    /// The stored name of a source's table (`02`): the pipeline's id with `-` as `_`, then the source's name with
    /// everything a table name may not hold as `_`.
    ///
    /// # Errors
    /// `HK0110` when the result is empty or too long.
    pub fn stored(prefix: &str, source_table: &str) -> Result<Self> {
        let mut name: String = format!("{prefix}{source_table}")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        name.parse()
    }

    /// The prefix that a pipeline's tables have unless the manifest says otherwise.
    pub fn default_prefix(pipeline: &PipelineId) -> String {
        format!("{}_", pipeline.as_str().replace('-', "_"))
    }
}

/// A run's id (S1): `run-` and a ULID whose time is the tick and whose random part comes from
/// SHA-256(project, pipeline, tick, generation). So a repeated run has the same id, and ids sort by tick.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// The id of the run of a pipeline for a tick in a generation.
    pub fn new(project: &ProjectName, pipeline: &PipelineId, tick: Tick, generation: u64) -> Self {
        let hash = Hash::of_parts(&[
            project.as_str().as_bytes(),
            pipeline.as_str().as_bytes(),
            &tick.millis().to_be_bytes(),
            &generation.to_be_bytes(),
        ]);
        let mut random = [0; 16];
        random[6..].copy_from_slice(&hash.first_ten_bytes());
        let ulid = Ulid::from_parts(u64::try_from(tick.millis()).unwrap_or(0), u128::from_be_bytes(random));
        Self(format!("run-{ulid}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("run-").map(Ulid::from_string) {
            Some(Ok(_)) => Ok(Self(text.to_owned())),
            _ => Err(Error::new(Code::Arguments, format!("`{}` is not a run id", shortened(text)))
                .with_hint("see `hakiri runs`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_is_a_pure_function_of_its_parts_and_sorts_by_tick() {
        let (project, pipeline) = ("shop".parse().unwrap(), "crm".parse().unwrap());
        let id = |ms, generation| RunId::new(&project, &pipeline, Tick::from_millis(ms), generation);
        assert_eq!(id(1_700_000_000_000, 0), id(1_700_000_000_000, 0));
        assert_eq!(id(1_700_000_000_000, 0).as_str(), "run-01HF7YAT000EHSQYTMAS6Z17BF");
        assert_ne!(id(1_700_000_000_000, 0), id(1_700_000_000_000, 1));
        assert!(id(1_700_000_000_000, 9) < id(1_700_000_000_001, 0));
        assert!(id(5, 0).as_str().parse::<RunId>().is_ok());
    }

    #[test]
    fn names_follow_their_rules() {
        for bad in ["", "Shop", "9a", "a-", "a_b", &"a".repeat(41)] {
            assert!(bad.parse::<ProjectName>().is_err(), "{bad}");
        }
        assert!("my-shop-2".parse::<ProjectName>().is_ok());
        assert_eq!(TableName::stored("crm_", "Public.Accounts").unwrap().as_str(), "crm_Public_Accounts");
        assert_eq!(TableName::stored("", "2024").unwrap().as_str(), "_2024");
    }
}
