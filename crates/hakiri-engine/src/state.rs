//! Setting state by hand: `state rewind`, `state reset`, `drop`, and the renames of `moved`.
//!
//! Each is one conditional commit that raises the generation, so that an unfinished run planned on the old state is
//! abandoned instead of committed.

use std::cmp::Ordering;
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
    /// `HK0907` when the table has no cursor, one of another kind or one before that position: what lies in between would
    /// never be read. `HK0208` while a run is under way.
    pub async fn rewind(&self, pipeline: &PipelineId, table: &TableName, to: Cursor) -> Result<Head> {
        let head = self.head(pipeline).await?;
        let mut changed = table_head(&head, table)?;
        let Some(cursor) = &changed.cursor else {
            return Err(Error::new(Code::StateInvalid, format!("`{table}` has no cursor")));
        };
        match to.compare(cursor) {
            Some(Ordering::Less | Ordering::Equal) => {}
            Some(Ordering::Greater) => {
                return Err(Error::new(
                    Code::StateInvalid,
                    format!("`{table}` has been read up to {cursor} only; {to} would leave out what is in between"),
                ));
            }
            None => {
                return Err(Error::new(
                    Code::StateInvalid,
                    format!("the cursor of `{table}` is {cursor}, of kind {:?}", cursor.kind()),
                ));
            }
        }
        let reason = format!("rewind {table} to {to}");
        changed.cursor = Some(to);
        self.set_state(&head, BTreeMap::from([(table.clone(), Some(changed))]), Vec::new(), reason).await
    }

    /// Forgets the cursor and data of a table and of its children: the next run reads everything anew. The files stay
    /// until `gc`.
    ///
    /// # Errors
    /// `HK0907` for a child table, whose rows come out of its parent's records; `HK0208` while a run is under way.
    pub async fn reset(&self, pipeline: &PipelineId, table: &TableName) -> Result<Head> {
        let head = self.head(pipeline).await?;
        if let Some(parent) = table_head(&head, table)?.merge.parent {
            let parent = parent.table;
            return Err(Error::new(Code::StateInvalid, format!("`{table}` is a child table of `{parent}`"))
                .with_hint(format!("reset its parent `{parent}`: the rows of both come out of the same records")));
        }
        let mut changes = BTreeMap::new();
        for name in family(&head, table) {
            let mut changed = table_head(&head, &name)?;
            changed.cursor = None;
            changed.anew = true;
            changes.insert(name, Some(changed));
        }
        self.set_state(&head, changes, Vec::new(), format!("reset {table}")).await
    }

    /// Drops tables: they are no longer named by anything, and their files go with a later `gc`.
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
        self.set_state(&head, changes, unnamed, format!("drop {} tables", tables.len())).await
    }

    pub(crate) async fn set_state(
        &self,
        head: &Head,
        tables: BTreeMap<TableName, Option<TableHead>>,
        unnamed: Vec<hakiri_core::manifest::FileRef>,
        reason: String,
    ) -> Result<Head> {
        self.release_dead(head).await?;
        let commit = Commit::State { pipeline: head.pipeline.clone(), expected_seq: head.seq, tables, unnamed, reason };
        let committed = self.catalog.commit(&commit).await?;
        // It is done. That files are missing is often the reason for it, and is said again by whoever reads them.
        self.publish_despite(&committed.head, &|_, _| true).await?;
        Ok(committed.head)
    }
}

/// A table, its children, theirs, and so on.
fn family(head: &Head, table: &TableName) -> Vec<TableName> {
    let mut all = vec![table.clone()];
    let mut next = 0;
    while let Some(parent) = all.get(next).cloned() {
        let of_it = |t: &TableHead| t.merge.parent.as_ref().is_some_and(|p| p.table == parent);
        let children: Vec<_> = head.tables.iter().filter(|(n, t)| of_it(t) && !all.contains(n)).collect();
        all.extend(children.into_iter().map(|(name, _)| name.clone()));
        next += 1;
    }
    all
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

#[cfg(test)]
mod tests;
