//! The types of the manifest.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deploy::DeploySpec;
use crate::id::{PipelineId, ProjectName, TableName};

/// A project's manifest: `hakiri.toml`, or a file of `pipelines/` (where only `pipeline` is allowed).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// The project. Required in `hakiri.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectSpec>,
    /// Where data lives when run here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextSpec>,
    /// Where state lives when run here. Default: SQLite in `.hakiri/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogSpec>,
    /// Who hears of failures and changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifySpec>,
    /// The pipelines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipeline: Vec<PipelineSpec>,
    /// Renamed pipelines (`from = "old"`) and tables (`from = "pipeline.table"`): cursor and files are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedSpec>,
    /// Where it is deployed: only what has no sensible default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<DeploySpec>,
    /// Environments, chosen with `--env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvSpec>,
}

/// The project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectSpec {
    /// Names the project's folder in the store and everything derived from it.
    pub name: ProjectName,
    /// Shown in reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Where data lives when run here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextSpec {
    /// A local folder, relative to the project's, or `s3://bucket/prefix`. Default: `.hakiri/context`, and
    /// `.hakiri/context-NAME` with `--env NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// For a bucket that is not on AWS: the URL of its S3 API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The bucket's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Accepted and means the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_destination: Option<Destination>,
}

/// Where state lives when run here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogSpec {
    /// A file for SQLite, relative to the project's folder. Default: `.hakiri/catalog.sqlite`, and
    /// `.hakiri/catalog-NAME.sqlite` with `--env NAME`. One catalog governs one store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// For several servers: a PostgreSQL database, `postgres://user:${NAME}@host/database`. A `${NAME}` needs no further
    /// declaration; its value comes from the environment or `.env`. Or the catalog of a deployment on Cloudflare,
    /// `https://HOST/catalog`, whose token is taken from `HAKIRI_CATALOG_TOKEN`. Or one at AWS, with the credentials of the
    /// environment: `dynamodb://TABLE` (`?region=`), `postgres://user@host/database?auth=rds-iam` with a token of RDS for a
    /// password, or `rds-secret:ARN` with the address and the login that a secret of Secrets Manager holds. `?project=NAME` names
    /// the owner of a shared catalog; default: this project, and `PROJECT-NAME` with `--env NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Who hears of failures and changes: a webhook. Deliveries are signed, repeated until they are taken, and carry an id
/// by which a receiver knows a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifySpec {
    /// The URL that events are posted to. A `${NAME}` needs no further declaration.
    pub webhook: String,
    /// The key that signs them: `whsec_` and base64, or any text. Default: the secret `HAKIRI_NOTIFY_SECRET`, where it has
    /// a value; without a key events are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Only these. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub events: Option<Vec<NotifyEvent>>,
    /// How long after its tick a run that has not ended is late, such as `30m`. Default: two periods of its schedule, and at
    /// least two minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_after: Option<String>,
    /// Whether the webhook may be on a loopback or private address.
    #[serde(default)]
    pub allow_private: bool,
}

/// What a webhook may hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    /// A run failed, wholly or in part, after one that had not.
    Failed,
    /// A run succeeded after one that had failed.
    Recovered,
    /// A table has a new version of its schema.
    SchemaChanged,
    /// A run has not ended long after its tick.
    Late,
    /// A platform that it is deployed to gave an alarm of its own.
    Alarm,
}

/// One pipeline: a source, its tables, a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// Its id.
    pub id: PipelineId,
    /// Where records come from.
    pub source: SourceSpec,
    /// Names of secrets; their values come from the environment or `.env`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// `every 15m`, or five cron fields in UTC. Absent: run by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// What happens to ticks that were missed.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// The source's tables to read. Absent: all it offers. `["*"]` with `exclude`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<Vec<String>>,
    /// Tables left out of `["*"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The cursor column of its tables, unless a table says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental: Option<String>,
    /// The prefix of the stored tables' names. Default: the id with `-` as `_`, and `_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Settings per table, by the source's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub table: BTreeMap<String, TableSpec>,
    /// Accepted and means the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<DestinationSpec>,
    /// How many steps may run at once. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<u32>,
}

/// A source: a connector and its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// `file`, `http`, `github` …
    pub connector: String,
    /// The connector's own settings.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
}

/// Settings of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Columns that name a row. Default: the source's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<Vec<String>>,
    /// The cursor column. Absent: the pipeline's, the source's own, or a full load. `""` means a full load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental: Option<String>,
    /// How far below the last upper bound to read again (merge): a duration such as `5m`, or a number for an integer
    /// cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Distance>,
    /// How far below the tick to stop (append): a duration such as `5m`, or a number for an integer cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Distance>,
    /// What a run does to the rows before it. Default: key and cursor → merge; cursor, no key → append; neither →
    /// replace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What may happen to the schema.
    #[serde(default)]
    pub schema: SchemaPolicy,
    /// SQL that each row passes: `select … from input`; row by row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// Rows in a chunk, for sources that read a table in several steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub chunk_rows: Option<u64>,
    /// The stored name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<TableName>,
    /// Types of columns that win over what would be inferred: `{ price = "decimal(18,2)", id = "text" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// Arrays of objects that become tables of their own, named `<table>_<field>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// What to do with rows that cannot be used.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// What to do with the rows of a file that vanished (file sources).
    #[serde(default)]
    pub on_missing: OnMissing,
}

/// A distance on a cursor: a duration (`5m`) or a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Distance {
    /// In units of an integer cursor.
    Units(u64),
    /// `90s`, `5m`, `1h`, `2d`.
    Duration(String),
}

/// What a run does to the rows before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Adds its rows.
    Append,
    /// Adds its rows; of several rows with one key the current one counts.
    Merge,
    /// Takes the place of all rows before it.
    Replace,
}

/// What happens to ticks that were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Each is its own run.
    #[default]
    Each,
    /// One run with one window for all of them.
    Latest,
}

/// What may happen to a table's schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaPolicy {
    /// New columns are added and types are widened.
    #[default]
    Evolve,
    /// Any change fails the table.
    Freeze,
    /// New columns are ignored; a type that does not fit fails the table.
    Discard,
}

/// What to do with a row that cannot be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// Fail the table; nothing of the run is committed for it.
    #[default]
    Fail,
    /// Leave it out, count it and show the first few in the report.
    Skip,
}

/// What to do with the rows of a file that vanished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// Report it and keep them.
    #[default]
    Keep,
    /// Delete them.
    Delete,
}

/// The one destination there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// The context store.
    Context,
}

/// A destination; only the default exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationSpec {
    /// Always `context`.
    pub connector: Destination,
}

/// A rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovedSpec {
    /// `pipeline` or `pipeline.table`.
    pub from: String,
    /// Likewise.
    pub to: String,
}

/// What an environment overrides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvSpec {
    /// Instead of `[context]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextSpec>,
    /// Instead of `[catalog]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogSpec>,
    /// Schedules by pipeline id; `""` means by hand.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedule: BTreeMap<String, String>,
    /// Each target's table instead of `[deploy.<target>]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<DeploySpec>,
}
