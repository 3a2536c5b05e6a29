//! Setting state by hand: `state rewind`, `state reset`, `drop`, and the renames of `moved`.
//!
//! Each is one conditional commit that raises the generation, so that an unfinished run planned on the old state is
//! abandoned instead of committed.

use std::collections::BTreeMap;

use hakiri_core::catalog::{Commit, Head, TableHead};
use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::{Error, Result};

use crate::Engine;

impl Engine {
    /// Sets a table's cursor back: the next run reads again from there, into the same table.
    ///
    /// # Errors
    /// `HK0907` when the value is of another kind than the table's cursor; `HK0208` while a run is under way.
    pub async fn rewind(&self, pipeline: &PipelineId, table: &TableName, to: Cursor) -> Result<Head> {
        let head = self.head(pipeline).await?;
        let mut changed = table_head(&head, table)?;
        if let Some(cursor) = &changed.cursor
            && (cursor.kind() != to.kind() || to.compare(cursor).is_none())
        {
            return Err(Error::new(
                Code::StateInvalid,
                format!("the cursor of `{table}` is {cursor}, of kind {:?}", cursor.kind()),
            ));
        }
        let reason = format!("rewind {table} to {to}");
        changed.cursor = Some(to);
        self.set_state(&head, BTreeMap::from([(table.clone(), Some(changed))]), Vec::new(), reason).await
    }

    /// Forgets a table's cursor and data: the next run reads everything anew. The files stay until `gc`.
    ///
    /// # Errors
    /// `HK0208` while a run is under way.
    pub async fn reset(&self, pipeline: &PipelineId, table: &TableName) -> Result<Head> {
        let head = self.head(pipeline).await?;
        let mut changed = table_head(&head, table)?;
        changed.cursor = None;
        changed.anew = true;
        self.set_state(&head, BTreeMap::from([(table.clone(), Some(changed))]), Vec::new(), format!("reset {table}"))
            .await
    }

    /// Drops tables: they are no longer named by anything, and their files go with the next `gc`.
    ///
    /// # Errors
    /// `HK0208` while a run is under way.
    pub async fn drop_tables(&self, pipeline: &PipelineId, tables: &[TableName]) -> Result<Head> {
        let head = self.head(pipeline).await?;
        let mut changes = BTreeMap::new();
        let mut unnamed = Vec::new();
        for table in tables {
            let old = table_head(&head, table)?;
            unnamed.extend(old.manifest);
            unnamed.extend(old.snapshot.map(|s| s.manifest));
            changes.insert(table.clone(), None);
        }
        let head = self.set_state(&head, changes, unnamed, format!("drop {} tables", tables.len())).await?;
        for table in tables {
            self.delete_derived(table).await?;
        }
        Ok(head)
    }

    async fn set_state(
        &self,
        head: &Head,
        tables: BTreeMap<TableName, Option<TableHead>>,
        unnamed: Vec<hakiri_core::manifest::FileRef>,
        reason: String,
    ) -> Result<Head> {
        let commit = Commit::State { pipeline: head.pipeline.clone(), expected_seq: head.seq, tables, unnamed, reason };
        let committed = self.catalog.commit(&commit).await?;
        self.publish(&committed.head).await?;
        Ok(committed.head)
    }
}

/// The committed state of a table.
///
/// # Errors
/// `HK0203` with the names there are.
pub fn table_head(head: &Head, table: &TableName) -> Result<TableHead> {
    head.tables.get(table).cloned().ok_or_else(|| {
        let known: Vec<&str> = head.tables.keys().map(TableName::as_str).collect();
        Error::new(Code::CatalogNotFound, format!("the pipeline `{}` has no committed table `{table}`", head.pipeline))
            .with_hint(format!("it has: {}", if known.is_empty() { "none yet".to_owned() } else { known.join(", ") }))
    })
}
