//! Connectors that are descriptions: an HTTP config with holes, and the options that fill them.
//!
//! A description is a TOML file of this crate with two parts. `[options.NAME]` says what people may set; `[http]` is what
//! they would have to write under `connector = "http"` otherwise, with `{{NAME}}` where an option goes. A member whose
//! option has no value is left out. Nothing else can be described, so nothing an API needs can hide in code.

use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::config::HttpConfig;
use super::template;

/// A parsed description.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    options: BTreeMap<String, OptionSpec>,
    http: Value,
}

/// What people may set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionSpec {
    about: String,
    #[serde(default)]
    kind: OptionKind,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    default: Option<Value>,
    #[serde(default)]
    example: Option<String>,
    /// For text: exactly this many segments of a path, each of letters, digits, `.`, `_` and `-`.
    #[serde(default)]
    segments: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum OptionKind {
    #[default]
    Text,
    Boolean,
    Integer,
}

impl OptionKind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
        }
    }
}

impl Description {
    /// Parses a description.
    ///
    /// # Errors
    /// `HK0001`: descriptions are part of the binary, and a test parses each.
    pub fn parse(text: &str) -> Result<Self> {
        toml_edit::de::from_str(text)
            .map_err(|e| Error::new(Code::Internal, format!("a description cannot be read: {}", e.message())))
    }

    /// The JSON Schema of the options.
    pub fn schema(&self) -> Value {
        let properties: Map<String, Value> = self
            .options
            .iter()
            .map(|(name, option)| {
                let mut schema = json!({ "description": option.about, "type": option.kind.name() });
                for (key, value) in
                    [("default", option.default.clone()), ("examples", option.example.as_ref().map(|e| json!([e])))]
                {
                    if let Some(value) = value {
                        schema[key] = value;
                    }
                }
                (name.clone(), schema)
            })
            .collect();
        let required: Vec<&String> = self.options.iter().filter(|(_, o)| o.required).map(|(name, _)| name).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    /// The HTTP config for some options.
    ///
    /// # Errors
    /// `HK0403`, naming the option.
    pub fn config(&self, connector: &str, options: &Value) -> Result<HttpConfig> {
        let empty = Map::new();
        let given = match options {
            Value::Null => &empty,
            Value::Object(map) => map,
            _ => {
                return Err(Error::new(
                    Code::SourceConfig,
                    format!("the config of connector `{connector}` is not a table"),
                ));
            }
        };
        if let Some(name) = given.keys().find(|name| !self.options.contains_key(*name)) {
            let message = format!("the config of connector `{connector}` is wrong: unknown field `{name}`");
            let known = self.options.keys().map(String::as_str);
            return Err(
                crate::registry::unknown(Code::SourceConfig, &message, name, known).at(format!("source.config.{name}"))
            );
        }
        let mut values: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, option) in &self.options {
            let wrong = |what: String| {
                let hint = option
                    .example
                    .as_ref()
                    .map_or_else(|| option.about.clone(), |e| format!("write for example {name} = \"{e}\""));
                Error::new(Code::SourceConfig, what).with_hint(hint).at(format!("source.config.{name}"))
            };
            let value = match given.get(name).or(option.default.as_ref()) {
                Some(value) => value,
                None if option.required => return Err(wrong(format!("connector `{connector}` needs `{name}`"))),
                None => continue,
            };
            if !option.kind.holds(value) {
                return Err(wrong(format!("`{name}` must be of type {}", option.kind.name())));
            }
            if let (Some(count), Some(text)) = (option.segments, value.as_str())
                && !is_segments(text, count)
            {
                return Err(wrong(format!(
                    "`{name}` must have {count} parts of letters, digits, `.`, `_` and `-`, with `/` between"
                )));
            }
            if value.as_str() != Some("") {
                values.insert(name, value.clone());
            }
        }
        let filled = template::fill(&self.http, &|hole| {
            // Holes that are no options belong to the HTTP config itself.
            if self.options.contains_key(hole) {
                values.get(hole).cloned()
            } else {
                Some(Value::String(format!("{{{{{hole}}}}}")))
            }
        });
        let Value::Object(mut http) = filled else {
            return Err(Error::new(Code::Internal, "a description without an HTTP config"));
        };
        // Credentials whose option has no value: none.
        if http.get("auth").and_then(Value::as_object).is_some_and(Map::is_empty) {
            http.remove("auth");
        }
        crate::registry::parse_config(connector, &Value::Object(http))
    }
}

fn is_segments(text: &str, count: usize) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    parts.len() == count
        && parts.iter().all(|part| {
            !matches!(*part, "" | "." | "..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        })
}
