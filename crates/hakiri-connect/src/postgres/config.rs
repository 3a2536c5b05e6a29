//! The manifest's words for a PostgreSQL source: what stands under `source.config` with `connector = "postgres"`.
//!
//! Few on purpose: which tables, keys, cursors and types there are is read from the database itself.

use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::secret::has_plain_password;
use hakiri_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{Wire, parse_cast};

/// Settings of a PostgreSQL source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Where the database is: `postgres://user:password@host:5432/database`, best as `${DATABASE_URL}`.
    pub url: String,
    /// The schema whose tables are offered. Default: `public`.
    #[serde(default = "public")]
    pub schema: String,
    /// Settings of single tables, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, PostgresTable>,
    /// Accept that row-level security policies hide rows from the user. Without it a table with such policies is an
    /// error, since a part of it would look like all of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub row_security: bool,
}

/// Settings of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresTable {
    /// Read only these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Read all columns but these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_columns: Vec<String>,
    /// Cast columns before they are read: `{ location = "text" }`. The database casts, so that a cast to fewer digits
    /// rounds as the database does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub casts: BTreeMap<String, String>,
    /// A condition in SQL that rows must meet: `region = 'eu'`. Functions and types outside of `pg_catalog` need their
    /// schema before their name.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

fn public() -> String {
    "public".to_owned()
}

impl PostgresConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// `HK0403` with the key.
    pub(super) fn check(&self) -> Result<()> {
        if has_plain_password(&self.url) {
            return Err(Error::new(Code::SourceConfig, "the URL holds a password as it is")
                .at("source.config.url")
                .with_hint(
                    "write ${NAME} in its place, declare NAME in `secrets`, and set it in the environment or in .env",
                ));
        }
        for (name, table) in &self.tables {
            if table.columns.is_some() && !table.exclude_columns.is_empty() {
                return Err(wrong(name, "exclude_columns", "`columns` and `exclude_columns` exclude each other"));
            }
            if table.columns.as_ref().is_some_and(Vec::is_empty) {
                return Err(wrong(name, "columns", "there is no column to read"));
            }
            for column in table.casts.keys() {
                table.cast(name, column)?;
            }
            if table.condition.as_ref().is_some_and(|c| c.trim().is_empty()) {
                return Err(wrong(name, "where", "the condition is empty"));
            }
        }
        Ok(())
    }
}

impl PostgresTable {
    /// What a column is cast to, if the manifest says so.
    pub(super) fn cast(&self, table: &str, column: &str) -> Result<Option<(String, Wire)>> {
        let Some(text) = self.casts.get(column) else { return Ok(None) };
        parse_cast(text).map(Some).ok_or_else(|| {
            wrong(table, &format!("casts.{column}"), "this is not a type that columns can be cast to").with_hint(
                "write for example text, bigint, numeric(20,4), float8, date, timestamptz, uuid, jsonb or text[]",
            )
        })
    }
}

/// An error of a table's settings.
pub(super) fn wrong(table: &str, key: &str, what: &str) -> Error {
    Error::new(Code::SourceConfig, format!("the config of connector `postgres` is wrong: {what}"))
        .at(format!("source.config.tables.{table}.{key}"))
}
