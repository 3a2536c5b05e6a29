//! Renames (`moved` in the manifest): the cursor and the files of a pipeline or table go over to its new name.
//!
//! Files do not move: manifests name them by path, so that the old folder goes on being part of the table until it is
//! compacted or loaded anew.
//!
//! The new name gets the tables before the old one lets go of them. Whoever dies in between leaves both with the same
//! tables, and the next attempt lets go of the old ones. [`begin`](Engine::begin) of the new name makes sure that its
//! moves are done, so that a move that cannot be done yet holds up this pipeline only.

use std::collections::BTreeMap;

use hakiri_core::catalog::{CatalogError, Commit, ExportPage, Head, Key, Kind, PageRequest, Record, TableHead};
use hakiri_core::codes::Code;
use hakiri_core::error;
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::spec::MovedSpec;
use hakiri_core::{Error, Result};

use crate::Engine;

/// `pipeline` or `pipeline.table`.
fn parse(text: &str) -> Result<(PipelineId, Option<&str>)> {
    match text.split_once('.') {
        Some((pipeline, table)) => Ok((pipeline.parse()?, Some(table))),
        None => Ok((text.parse()?, None)),
    }
}

/// A rename of the manifest.
enum Rename<'a> {
    Pipeline { from: PipelineId, to: PipelineId },
    Table { pipeline: PipelineId, old: &'a str, new: &'a str },
}

impl<'a> Rename<'a> {
    fn of(moved: &'a MovedSpec) -> Result<Self> {
        match (parse(&moved.from)?, parse(&moved.to)?) {
            ((from, Some(old)), (to, Some(new))) if from == to => Ok(Self::Table { pipeline: to, old, new }),
            ((from, None), (to, None)) => Ok(Self::Pipeline { from, to }),
            _ => Err(Error::new(Code::ManifestValue, format!("`{}` cannot be moved to `{}`", moved.from, moved.to))
                .with_hint("rename a pipeline (`old` to `new`) or a table within its pipeline (`p.old` to `p.new`)")),
        }
    }

    fn pipeline(&self) -> &PipelineId {
        match self {
            Self::Pipeline { to, .. } => to,
            Self::Table { pipeline, .. } => pipeline,
        }
    }
}

/// A rename that the next run will carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMove {
    /// As the manifest says: a pipeline, or `pipeline.table`.
    pub from: String,
    /// Likewise.
    pub to: String,
    /// The pipelines whose heads it changes: what a caller has to lock.
    pub touches: Vec<PipelineId>,
}

/// The tables of a pipeline under another id.
struct PipelineMove {
    old: Head,
    new: Head,
    names: Vec<(TableName, TableName)>,
    tables: BTreeMap<TableName, TableHead>,
}

type Changes = BTreeMap<TableName, Option<TableHead>>;

impl Engine {
    /// Carries out the manifest's renames that have not been yet. Returns a line for each. One that cannot be done now
    /// is left to `begin` of its pipeline, which says why.
    ///
    /// # Errors
    /// `HK0110` and the like for a rename that cannot be meant.
    pub async fn apply_moves(&self) -> Result<Vec<String>> {
        let mut done = Vec::new();
        for moved in &self.project.moved {
            match self.apply_move(moved).await {
                Ok(line) => done.extend(line),
                Err(e) if e.kind() == error::Kind::Usage => return Err(e),
                Err(_) => {}
            }
        }
        Ok(done)
    }

    /// As [`apply_moves`](Self::apply_moves), of one pipeline and with all errors.
    pub(crate) async fn apply_moves_into(&self, pipeline: &PipelineId) -> Result<()> {
        for moved in &self.project.moved {
            if Rename::of(moved)?.pipeline() == pipeline
                && let Some(line) = self.apply_move(moved).await?
            {
                self.events.note(&line);
            }
        }
        Ok(())
    }

    /// The renames that have not been carried out.
    ///
    /// # Errors
    /// As [`apply_moves`](Self::apply_moves); any catalog error.
    pub async fn pending_moves(&self) -> Result<Vec<PendingMove>> {
        let mut pending = Vec::new();
        for moved in &self.project.moved {
            let touches = match Rename::of(moved)? {
                Rename::Pipeline { from, to } => self.pipeline_move(&from, &to).await?.map(|_| vec![from, to]),
                Rename::Table { pipeline, old, new } => {
                    self.table_move(&self.head(&pipeline).await?, old, new)?.map(|_| vec![pipeline])
                }
            };
            let (from, to) = (moved.from.clone(), moved.to.clone());
            pending.extend(touches.map(|touches| PendingMove { from, to, touches }));
        }
        Ok(pending)
    }

    /// The head of a pipeline as it will be once its renames are carried out.
    pub(crate) async fn head_with_moves(&self, pipeline: &PipelineId) -> Result<Head> {
        let mut head = self.head(pipeline).await?;
        for moved in &self.project.moved {
            match Rename::of(moved)? {
                Rename::Pipeline { from, to } if &to == pipeline => {
                    if let Some(moved) = self.pipeline_move(&from, &to).await? {
                        head.tables = moved.tables;
                    }
                }
                Rename::Table { pipeline: of, old, new } if &of == pipeline => {
                    for (name, table) in self.table_move(&head, old, new)?.unwrap_or_default() {
                        match table {
                            Some(table) => head.tables.insert(name, table),
                            None => head.tables.remove(&name),
                        };
                    }
                }
                _ => {}
            }
        }
        Ok(head)
    }

    async fn apply_move(&self, moved: &MovedSpec) -> Result<Option<String>> {
        let done = match Rename::of(moved)? {
            Rename::Table { pipeline, old, new } => self.move_table(&pipeline, old, new).await?,
            Rename::Pipeline { from, to } => self.move_pipeline(&from, &to).await?,
        };
        Ok(done.then(|| format!("`{}` is now `{}`", moved.from, moved.to)))
    }

    /// What a table's rename changes; none when there is nothing to rename (any more).
    fn table_move(&self, head: &Head, old: &str, new: &str) -> Result<Option<Changes>> {
        let spec = self.pipeline(&head.pipeline)?;
        let (old_name, new_name) = (spec.stored_name(old)?, spec.stored_name(new)?);
        let Some(table) = head.tables.get(&old_name).filter(|_| !head.tables.contains_key(&new_name)) else {
            return Ok(None);
        };
        let mut table = table.clone();
        table.source_table = new.to_owned();
        let mut changes = BTreeMap::from([(old_name.clone(), None), (new_name.clone(), Some(table))]);
        changes.extend(reparented(head, &old_name, &new_name));
        Ok(Some(changes))
    }

    async fn move_table(&self, pipeline: &PipelineId, old: &str, new: &str) -> Result<bool> {
        let head = self.head(pipeline).await?;
        let Some(changes) = self.table_move(&head, old, new)? else { return Ok(false) };
        let spec = self.pipeline(pipeline)?;
        let (old_name, new_name) = (spec.stored_name(old)?, spec.stored_name(new)?);
        let entries = self.schemas_under(pipeline, &old_name, pipeline, &new_name).await?;
        self.import(entries, new).await?;
        self.commit_move(&head, changes, format!("move {old_name} to {new_name}")).await?;
        Ok(true)
    }

    /// What a pipeline's rename moves; none when there is nothing to move (any more).
    async fn pipeline_move(&self, from: &PipelineId, to: &PipelineId) -> Result<Option<PipelineMove>> {
        let spec = self.pipeline(to)?;
        let (old, new) = (self.head(from).await?, self.head(to).await?);
        let (mut names, mut tables) = (Vec::new(), BTreeMap::new());
        for (name, table) in &old.tables {
            let renamed = spec.stored_name(&table.source_table)?;
            names.push((name.clone(), renamed.clone()));
            tables.insert(renamed, table.clone());
        }
        for table in tables.values_mut() {
            if let Some(parent) = &mut table.merge.parent
                && let Some((_, renamed)) = names.iter().find(|(name, _)| *name == parent.table)
            {
                parent.table = renamed.clone();
            }
        }
        // Equal tables are those of a move that died in the middle; others are the new name's own.
        let pending = !old.tables.is_empty() && (new.tables.is_empty() || new.tables == tables);
        Ok(pending.then_some(PipelineMove { old, new, names, tables }))
    }

    async fn move_pipeline(&self, from: &PipelineId, to: &PipelineId) -> Result<bool> {
        let Some(PipelineMove { old, new, names, tables }) = self.pipeline_move(from, to).await? else {
            // Whoever let go of the tables may have died before that was published.
            let old = self.head(from).await?;
            if old.tables.is_empty() {
                self.publish(&old).await?;
            }
            return Ok(false);
        };
        // Before anything is written: a run that ended after the new name got the tables would add to the old ones.
        if let Some(lease) = old.lease.as_ref().filter(|lease| lease.expires > self.clock.now()) {
            return Err(CatalogError::Held { run: lease.run.clone(), until: lease.expires }.into());
        }
        let reason = format!("move {from} to {to}");
        if new.tables.is_empty() {
            let mut entries = Vec::new();
            for (name, renamed) in &names {
                entries.extend(self.schemas_under(from, name, to, renamed).await?);
            }
            self.import(entries, to.as_str()).await?;
            if self.catalog.get(&Key::head(to)).await?.is_none() {
                // The commit's number goes on, since it orders the rows of both names, and so does the schedule.
                let head = Head { pipeline: to.clone(), lease: None, unfinished: None, tables, ..old.clone() };
                self.import(vec![(Key::head(to), Record::Head(head))], to.as_str()).await?;
            } else {
                // The new name has run before, to no effect.
                let tables = tables.into_iter().map(|(name, table)| (name, Some(table))).collect();
                let commit = Commit::State {
                    pipeline: to.clone(),
                    expected_seq: new.seq,
                    tables,
                    unnamed: Vec::new(),
                    reason: reason.clone(),
                };
                self.catalog.commit(&commit).await?;
            }
        }
        let drops = old.tables.keys().map(|name| (name.clone(), None)).collect();
        self.commit_move(&old, drops, reason).await?;
        self.publish_despite(&self.head(to).await?, &|_, _| true).await?;
        Ok(true)
    }

    async fn import(&self, entries: Vec<(Key, Record)>, new: &str) -> Result<()> {
        match self.catalog.import(&ExportPage { entries, next: None }).await {
            Err(CatalogError::Conflict(what)) => {
                Err(Error::new(Code::CatalogConflict, format!("nothing can be moved to `{new}`: {what}"))
                    .with_hint("the name had tables of its own before; choose another one in the manifest"))
            }
            result => Ok(result?),
        }
    }

    /// The history of a table's schemas, under its new name.
    async fn schemas_under(
        &self,
        from: &PipelineId,
        old: &TableName,
        to: &PipelineId,
        new: &TableName,
    ) -> Result<Vec<(Key, Record)>> {
        let prefix = vec![from.to_string(), old.to_string()];
        let page = PageRequest { kind: Kind::Schema, prefix, after: None, limit: 1000, newest_first: false };
        let listed = self.catalog.list(&page).await?.entries.into_iter();
        Ok(listed
            .filter_map(|(_, record)| match &record {
                Record::Schema(version) => Some((Key::schema(to, new, version.version), record)),
                _ => None,
            })
            .collect())
    }

    async fn commit_move(&self, head: &Head, tables: Changes, reason: String) -> Result<()> {
        // Nothing becomes unnamed: the files go on being named under the new name.
        let commit = Commit::State {
            pipeline: head.pipeline.clone(),
            expected_seq: head.seq,
            tables,
            unnamed: Vec::new(),
            reason,
        };
        let committed = self.catalog.commit(&commit).await?;
        self.publish_despite(&committed.head, &|_, _| true).await
    }
}

/// The children of a renamed table, hanging on its new name.
fn reparented(head: &Head, old: &TableName, new: &TableName) -> Changes {
    head.tables
        .iter()
        .filter(|(_, t)| t.merge.parent.as_ref().is_some_and(|p| &p.table == old))
        .map(|(name, table)| {
            let mut table = table.clone();
            if let Some(parent) = &mut table.merge.parent {
                parent.table = new.clone();
            }
            (name.clone(), Some(table))
        })
        .collect()
}

#[cfg(test)]
mod tests;
