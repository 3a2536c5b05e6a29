//! Renames (`moved` in the manifest): the cursor and the files of a pipeline or table go over to its new name.
//!
//! Files do not move: manifests name them by path, so that the old folder goes on being part of the table until it is
//! compacted or loaded anew.

use std::collections::BTreeMap;

use hakiri_core::catalog::{Commit, ExportPage, Head, Key, Kind, PageRequest, Record};
use hakiri_core::codes::Code;
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

impl Engine {
    /// Carries out the manifest's renames that have not been yet. Returns a line for each.
    ///
    /// # Errors
    /// `HK0110` for a rename that cannot be meant; any catalog error.
    pub async fn apply_moves(&self) -> Result<Vec<String>> {
        let mut done = Vec::new();
        for moved in &self.project.moved {
            if self.apply_move(moved).await? {
                done.push(format!("`{}` is now `{}`", moved.from, moved.to));
            }
        }
        Ok(done)
    }

    async fn apply_move(&self, moved: &MovedSpec) -> Result<bool> {
        match (parse(&moved.from)?, parse(&moved.to)?) {
            ((from, Some(old)), (to, Some(new))) if from == to => self.move_table(&from, old, new).await,
            ((from, None), (to, None)) => self.move_pipeline(&from, &to).await,
            _ => Err(Error::new(Code::ManifestValue, format!("`{}` cannot be moved to `{}`", moved.from, moved.to))
                .with_hint("rename a pipeline (`old` to `new`) or a table within its pipeline (`p.old` to `p.new`)")),
        }
    }

    async fn move_table(&self, pipeline: &PipelineId, old: &str, new: &str) -> Result<bool> {
        let spec = self.pipeline(pipeline)?;
        let head = self.head(pipeline).await?;
        let (old_name, new_name) = (spec.stored_name(old)?, spec.stored_name(new)?);
        let Some(table) = head.tables.get(&old_name).filter(|_| !head.tables.contains_key(&new_name)) else {
            return Ok(false);
        };
        let mut table = table.clone();
        table.source_table = new.to_owned();
        let mut changes = BTreeMap::from([(old_name.clone(), None), (new_name.clone(), Some(table))]);
        changes.extend(reparented(&head, &old_name, &new_name));
        let entries = self.schemas_under(pipeline, &old_name, pipeline, &new_name).await?;
        self.catalog.import(&ExportPage { entries, next: None }).await?;
        self.commit_move(&head, changes, format!("move {old_name} to {new_name}")).await?;
        self.delete_derived(&old_name).await?;
        Ok(true)
    }

    async fn move_pipeline(&self, from: &PipelineId, to: &PipelineId) -> Result<bool> {
        let spec = self.pipeline(to)?;
        let (old, new) = (self.head(from).await?, self.head(to).await?);
        if old.tables.is_empty() {
            return Ok(false);
        }
        // The commit's number goes on, since it orders the rows of both names. Importing is idempotent: after a crash in
        // the middle the same records are written again.
        let mut head =
            Head { pipeline: to.clone(), lease: None, unfinished: None, tables: BTreeMap::new(), ..old.clone() };
        let mut names = Vec::new();
        for (name, table) in &old.tables {
            let renamed = spec.stored_name(&table.source_table)?;
            names.push((name.clone(), renamed.clone()));
            head.tables.insert(renamed, table.clone());
        }
        for table in head.tables.values_mut() {
            if let Some(parent) = &mut table.merge.parent
                && let Some((_, renamed)) = names.iter().find(|(name, _)| *name == parent.table)
            {
                parent.table = renamed.clone();
            }
        }
        // Equal tables are those of a move that died in the middle; others are the new name's own.
        if !new.tables.is_empty() && new.tables != head.tables {
            return Ok(false);
        }
        let mut entries = vec![(Key::head(to), Record::Head(head.clone()))];
        for (name, renamed) in &names {
            entries.extend(self.schemas_under(from, name, to, renamed).await?);
        }
        self.catalog.import(&ExportPage { entries, next: None }).await?;
        let drops = old.tables.keys().map(|name| (name.clone(), None)).collect();
        self.commit_move(&old, drops, format!("move {from} to {to}")).await?;
        for (name, _) in &names {
            self.delete_derived(name).await?;
        }
        self.publish(&head).await?;
        Ok(true)
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

    async fn commit_move(
        &self,
        head: &Head,
        tables: BTreeMap<TableName, Option<hakiri_core::catalog::TableHead>>,
        reason: String,
    ) -> Result<()> {
        // Nothing becomes unnamed: the files go on being named under the new name.
        let commit = Commit::State {
            pipeline: head.pipeline.clone(),
            expected_seq: head.seq,
            tables,
            unnamed: Vec::new(),
            reason,
        };
        let committed = self.catalog.commit(&commit).await?;
        self.publish(&committed.head).await
    }

    pub(crate) async fn delete_derived(&self, table: &TableName) -> Result<()> {
        use hakiri_core::layout::{schema, schema_history, view};
        for path in [view(table), schema(table), schema_history(table)] {
            self.store.delete(&path).await?;
        }
        Ok(())
    }
}

/// The children of a renamed table, hanging on its new name.
fn reparented(
    head: &Head,
    old: &TableName,
    new: &TableName,
) -> BTreeMap<TableName, Option<hakiri_core::catalog::TableHead>> {
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
