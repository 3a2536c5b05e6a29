//! The connectors of the binary: their names, their config schemas, and how a manifest's `source` becomes one.
//!
//! Contract: a config that does not fit ends in `HK0403` that names the key by its path and, for a misspelt one,
//! the nearest key there is; a connector that does not exist ends in `HK0401` with the nearest name. A value of the
//! config is never quoted: a secret may have been pasted where it does not belong (P8).
//!
//! One table of entries instead of a registration at start-up: what the binary can do is then readable in one place,
//! and there is no order of initialisation to think about.

use std::sync::Arc;

use hakiri_core::codes::Code;
use hakiri_core::source::{Connector, ConnectorInfo, Connectors};
use hakiri_core::spec::SourceSpec;
use hakiri_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::file::{FileConfig, FileConnector};
use crate::github;
use crate::http::{HttpConfig, HttpConnector};
use crate::postgres::{PostgresConfig, PostgresConnector};

/// One connector of the binary.
struct Entry {
    name: &'static str,
    about: &'static str,
    schema: fn() -> Value,
    open: fn(&Value) -> Result<Arc<dyn Connector>>,
}

/// Sorted by name.
const ENTRIES: &[Entry] = &[
    Entry {
        name: "file",
        about: "CSV, TSV, JSON, JSON lines and Parquet files of this machine, also compressed",
        schema: || schemars::schema_for!(FileConfig).to_value(),
        open: |config| Ok(Arc::new(FileConnector::new(parse_config("file", config)?)?)),
    },
    Entry { name: github::NAME, about: github::ABOUT, schema: github::schema, open: github::open },
    Entry {
        name: "http",
        about: "any JSON API over HTTP, described in the manifest",
        schema: || schemars::schema_for!(HttpConfig).to_value(),
        open: |config| Ok(Arc::new(HttpConnector::new(parse_config::<HttpConfig>("http", config)?)?)),
    },
    Entry {
        name: "postgres",
        about: "tables of a PostgreSQL database, read by binary copy",
        schema: || schemars::schema_for!(PostgresConfig).to_value(),
        open: |config| Ok(Arc::new(PostgresConnector::new(parse_config("postgres", config)?)?)),
    },
];

/// The connectors that every Hakiri binary has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

impl Connectors for Builtin {
    fn list(&self) -> Vec<ConnectorInfo> {
        ENTRIES.iter().map(|e| ConnectorInfo { name: e.name, about: e.about, config_schema: (e.schema)() }).collect()
    }

    fn open(&self, source: &SourceSpec) -> Result<Arc<dyn Connector>> {
        match ENTRIES.iter().find(|e| e.name == source.connector) {
            Some(entry) => (entry.open)(&source.config),
            None => Err(unknown(
                Code::SourceUnknownConnector,
                &format!("there is no connector `{}`", source.connector),
                &source.connector,
                ENTRIES.iter().map(|e| e.name),
            )),
        }
    }
}

/// The error for a name that is not among those there are, with the nearest of them as the hint.
pub(crate) fn unknown<'a>(code: Code, message: &str, wanted: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    let error = Error::new(code, message);
    match nearest(wanted, &known) {
        Some(name) => error.with_hint(format!("did you mean `{name}`?")),
        None if known.is_empty() => error,
        None => error.with_hint(format!("there is: {}", known.join(", "))),
    }
}

/// The known name that a misspelt one most likely means.
fn nearest<'a>(wanted: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// A connector's config out of the manifest's value. An absent one is an empty one.
///
/// # Errors
/// `HK0403` with the path of the key.
pub(crate) fn parse_config<T: DeserializeOwned>(connector: &str, config: &Value) -> Result<T> {
    let empty = Value::Object(serde_json::Map::new());
    let config = if config.is_null() { &empty } else { config };
    serde_path_to_error::deserialize(config).map_err(|e| {
        let path = match e.path().to_string() {
            path if path == "." => String::new(),
            path => format!(".{path}"),
        };
        let text = without_values(&e.inner().to_string());
        let error = Error::new(Code::SourceConfig, format!("the config of connector `{connector}` is wrong: {text}"))
            .at(format!("source.config{path}"));
        match misspelt(&text) {
            Some(name) => error.with_hint(format!("did you mean `{name}`?")),
            None => error,
        }
    })
}

/// The text of an error of serde without what it quotes of the value: "invalid type: string "s3cr3t", expected u64".
fn without_values(text: &str) -> String {
    for prefix in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = text.strip_prefix(prefix) {
            let kind: String = rest.chars().take_while(|c| c.is_alphabetic() || *c == ' ').collect();
            let expected = rest.rfind(", expected ").map_or("", |at| &rest[at..]);
            return format!("{prefix}{}{expected}", kind.trim_end());
        }
    }
    text.to_owned()
}

/// For "unknown field `x`, expected one of `a`, `b`": the one that `x` most likely means.
fn misspelt(text: &str) -> Option<String> {
    if !text.starts_with("unknown field") && !text.starts_with("unknown variant") {
        return None;
    }
    let mut names = text.split('`').skip(1).step_by(2);
    let wanted = names.next()?;
    nearest(wanted, &names.collect::<Vec<_>>()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn open(connector: &str, config: Value) -> Error {
        Builtin.open(&SourceSpec { connector: connector.into(), config }).unwrap_err()
    }

    #[test]
    fn an_unknown_connector_is_met_with_the_nearest() {
        let e = open("fiel", Value::Null);
        assert_eq!((e.code(), e.hint()), (Code::SourceUnknownConnector, "did you mean `file`?"));
        let e = open("oracle", Value::Null);
        assert!(e.hint().starts_with("there is: ") && e.hint().contains("file"), "{e:?}");
    }

    #[test]
    fn a_wrong_config_is_told_by_its_path_and_never_by_its_value() {
        let e = open("file", json!({"tables": {"a": {"path": "a.csv", "delimeter": ";"}}}));
        assert_eq!(e.code(), Code::SourceConfig);
        assert_eq!(e.place(), Some("source.config.tables.a.delimeter"));
        assert_eq!(e.hint(), "did you mean `delimiter`?");
        let e = open("file", json!({"path": "a.csv", "header": "s3cr3t, expected canary"}));
        assert_eq!(
            e.to_string(),
            "source.config.header: the config of connector `file` is wrong: invalid type: string, expected a boolean"
        );
        let e = open("file", json!({"path": 12.5}));
        assert!(!e.to_string().contains("12"), "{e}");
        assert_eq!(open("file", Value::Null).code(), Code::SourceConfig);
    }

    #[test]
    fn every_connector_is_listed_once_with_an_object_schema() {
        let list = Builtin.list();
        assert!(list.windows(2).all(|w| w[0].name < w[1].name));
        for info in list {
            assert_eq!(info.config_schema["type"], "object", "{}", info.name);
            assert!(info.config_schema["properties"].is_object(), "{}", info.name);
        }
    }
}
