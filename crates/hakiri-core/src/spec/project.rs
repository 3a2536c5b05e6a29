//! A whole project: all its manifest files, merged and found right.

use super::suggest::did_you_mean;
use super::{CatalogSpec, ContextSpec, DeploySpec, MovedSpec, NotifySpec, PipelineSpec, TableSpec};
use crate::codes::Code;
use crate::error::{Error, Result};
use crate::id::{PipelineId, ProjectName, TableName};
use crate::schedule::Schedule;

/// A project, as its manifest describes it for one environment. What [`parse`](super::parse) returns: ids are unique,
/// schedules, durations and types can be read, connectors are known and their configs fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name.
    pub name: ProjectName,
    /// Its version, for reports.
    pub version: Option<String>,
    /// The environment that was chosen (`--env`).
    pub env: Option<String>,
    /// Where data lives: the environment's, else the manifest's.
    pub context: ContextSpec,
    /// Where state lives: likewise.
    pub catalog: CatalogSpec,
    /// Who hears of failures and changes.
    pub notify: Option<NotifySpec>,
    /// The pipelines, in the order of files and of their text; schedules are the environment's where it has some.
    pub pipelines: Vec<PipelineSpec>,
    /// Renames.
    pub moved: Vec<MovedSpec>,
    /// Settings of deployments: each target's table is the environment's where it has one.
    pub deploy: DeploySpec,
}

impl Project {
    /// A pipeline by its id.
    ///
    /// # Errors
    /// `HK0906`, with a suggestion or the list of ids.
    pub fn pipeline(&self, id: &str) -> Result<&PipelineSpec> {
        self.pipelines.iter().find(|p| p.id.as_str() == id).ok_or_else(|| {
            Error::new(Code::NothingToDo, format!("there is no pipeline `{id}`"))
                .with_hint(did_you_mean(id, self.pipelines.iter().map(|p| p.id.as_str())))
        })
    }
}

impl Project {
    /// The names in `${NAME}` of `catalog.url`, each once. They need no declaration: nothing else can be meant.
    pub fn catalog_secrets(&self) -> Vec<String> {
        self.catalog.url.iter().flat_map(|url| referenced(url)).collect()
    }

    /// The names in `${NAME}` of `[notify]`, and that of the default key.
    pub fn notify_secrets(&self) -> Vec<String> {
        let Some(notify) = &self.notify else { return Vec::new() };
        let key = notify.secret.as_deref().unwrap_or(NOTIFY_SECRET_DEFAULT);
        let mut names: Vec<String> = referenced(&notify.webhook).into_iter().chain(referenced(key)).collect();
        names.dedup();
        names
    }
}

/// The key of `[notify]` that gives none.
pub const NOTIFY_SECRET_DEFAULT: &str = "${HAKIRI_NOTIFY_SECRET}";

fn referenced(text: &str) -> Vec<String> {
    super::references::names(text).into_iter().map(str::to_owned).collect()
}

impl PipelineSpec {
    /// The stored name of a source's table: the table's `name`, else the prefix and the source's name.
    ///
    /// # Errors
    /// `HK0110` when the name is empty or too long.
    pub fn stored_name(&self, source_table: &str) -> Result<TableName> {
        match self.table.get(source_table).and_then(|t| t.name.clone()) {
            Some(name) => Ok(name),
            None => stored(&self.id, self.prefix.as_deref(), source_table),
        }
    }

    /// The settings of a source's table, with what the pipeline sets for all of them filled in. An `incremental` of
    /// `""` is kept: it says "full load" where the source would offer a cursor.
    pub fn table_settings(&self, source_table: &str) -> TableSpec {
        let mut table = self.table.get(source_table).cloned().unwrap_or_default();
        if table.incremental.is_none() {
            table.incremental.clone_from(&self.incremental);
        }
        table
    }

    /// Whether a table that the source offers is to be read.
    pub fn selects(&self, source_table: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|n| n == source_table);
        match &self.tables {
            Some(names) if !named(names) && !is_all(names) => false,
            _ => !named(&self.exclude),
        }
    }

    /// The tables that the manifest names one by one; none when it leaves the choice to the source.
    pub fn named_tables(&self) -> Option<&[String]> {
        self.tables.as_deref().filter(|names| !is_all(names))
    }

    /// The schedule; none for a pipeline that is run by hand.
    ///
    /// # Errors
    /// `HK0106`; never for a project that [`parse`](super::parse) returned.
    pub fn schedule(&self) -> Result<Option<Schedule>> {
        self.schedule.as_deref().map(Schedule::parse).transpose()
    }
}

fn is_all(names: &[String]) -> bool {
    names.iter().any(|n| n == "*")
}

/// The stored name of a table that has no `name` of its own.
pub(super) fn stored(pipeline: &PipelineId, prefix: Option<&str>, source_table: &str) -> Result<TableName> {
    match prefix {
        Some(prefix) => TableName::stored(prefix, source_table),
        None => TableName::stored(&TableName::default_prefix(pipeline), source_table),
    }
}
