//! Tests of the manifest: what is accepted, and every diagnostic with its exact text.
//!
//! The texts are snapshots in `snapshots/`: run with `INSTA_UPDATE=always` after a wanted change, and read the diff.

mod accepted;
mod mangled;
mod refused;

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::*;
use crate::source::ConnectorInfo;

/// A config with an enum, a nested table, a list and a number.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // reason: only its schema is used
struct FileConfig {
    /// The path or pattern of the files.
    path: String,
    /// How to read them. Default: by the extension.
    format: Option<Format>,
    /// What separates the columns.
    delimiter: Option<String>,
    /// Lines before the header.
    skip_lines: Option<u8>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)] // reason: only its schema is used
enum Format {
    Csv,
    /// One record on each line.
    Jsonl,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // reason: only its schema is used
struct HttpConfig {
    /// Where the API lives.
    base_url: String,
    auth: Option<Auth>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    resources: std::collections::BTreeMap<String, Resource>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)] // reason: only its schema is used
enum Auth {
    Bearer(String),
    Basic { user: String, password: String },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // reason: only its schema is used
struct Resource {
    path: String,
    paginate: Option<Paginate>,
    #[schemars(range(min = 1, max = 1000))]
    page_size: Option<u32>,
    skip_status: Option<Vec<u16>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)] // reason: only its schema is used
enum Paginate {
    LinkHeader,
    #[serde(untagged)]
    With(PaginateWith),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(dead_code)] // reason: only its schema is used
enum PaginateWith {
    Cursor { param: String, next: String },
    Page { param: String },
}

fn connectors() -> Vec<ConnectorInfo> {
    vec![
        ConnectorInfo { name: "file", about: "files", config_schema: schema_for!(FileConfig).to_value() },
        ConnectorInfo { name: "http", about: "HTTP APIs", config_schema: schema_for!(HttpConfig).to_value() },
    ]
}

fn texts(files: &[(&str, &str)]) -> Vec<ManifestText> {
    files.iter().map(|(name, text)| ManifestText::new(*name, *text)).collect()
}

/// Parses and expects a project.
fn accept(files: &[(&str, &str)], env: Option<&str>) -> Project {
    match parse(&texts(files), env, &connectors()) {
        Ok(project) => project,
        Err(diagnostics) => panic!("{}", render(&diagnostics)),
    }
}

/// Parses and expects diagnostics, as they are printed.
fn refuse(files: &[(&str, &str)], env: Option<&str>) -> String {
    render(&parse(&texts(files), env, &connectors()).expect_err("a diagnostic"))
}

fn render(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| d.render(false)).collect::<Vec<_>>().join("\n")
}
