//! Derived files (S4): what is made anew from every commit, so that a folder or bucket can be read without Hakiri (P6).
//!
//! They carry the commit's seq and are replaced only by a higher one; a publisher that dies leaves them stale, never
//! wrong, and the next `begin` or repeated `commit` publishes them again.

use std::collections::{BTreeMap, BTreeSet};

use hakiri_core::Result;
use hakiri_core::canonical::to_canonical_json;
use hakiri_core::catalog::{Head, Kind, PageRequest, Record, TableHead};
use hakiri_core::codes::Code;
use hakiri_core::id::TableName;
use hakiri_core::layout;
use hakiri_core::schema::SchemaVersion;
use hakiri_core::view::TableView;
use hakiri_core::view::duckdb::view_sql;
use serde::Serialize;

use crate::Engine;
use crate::read::{PublishedHead, published_heads, views_keeping};

/// Says of a table whether it does not matter that its files cannot be read.
pub(crate) type Lost<'a> = dyn Fn(&TableName, &TableHead) -> bool + Sync + 'a;

/// A derived schema file.
#[derive(Serialize)]
struct PublishedSchema<'a> {
    seq: u64,
    #[serde(flatten)]
    version: &'a SchemaVersion,
}

impl Engine {
    /// Publishes the derived files of a pipeline's head, unless they are already of this commit, and deletes those of
    /// tables that it no longer names.
    ///
    /// # Errors
    /// Any store or catalog error.
    pub async fn publish(&self, head: &Head) -> Result<()> {
        self.publish_despite(head, &|_, _| false).await
    }

    /// As [`publish`](Self::publish), but files that are missing or damaged of tables that `lost` says do not count are
    /// a note: the other tables are published, and so is the head. Readers of the damaged ones get the error.
    ///
    /// # Errors
    /// Any store or catalog error.
    pub(crate) async fn publish_despite(&self, head: &Head, lost: &Lost<'_>) -> Result<()> {
        if head.seq == 0 {
            return Ok(());
        }
        let published = to_canonical_json(&PublishedHead::new(&self.project.name, head))?;
        let path = layout::head(&head.pipeline);
        // The head is written last, so that an equal one says that everything else is there.
        let there = self.store.get(&path).await?;
        if there.as_ref().is_some_and(|bytes| bytes.as_ref() == published.as_slice()) {
            return Ok(());
        }
        let views = self.readable(head, lost).await?;
        for view in &views {
            let sql = view_sql(&views, &view.table);
            self.store.replace_derived(&layout::view(&view.table), sql.into_bytes().into(), head.seq).await?;
            let schema = to_canonical_json(&PublishedSchema { seq: head.seq, version: &view.schema })?;
            self.store.replace_derived(&layout::schema(&view.table), schema.into(), head.seq).await?;
            let history = self.schema_history(head, view.table.as_str()).await?;
            self.store.replace_derived(&layout::schema_history(&view.table), history.into(), head.seq).await?;
        }
        if let Some(old) = there.and_then(|bytes| serde_json::from_slice::<PublishedHead>(&bytes).ok()) {
            self.delete_derived(head, &old).await?;
        }
        self.store.replace_derived(&path, published.into(), head.seq).await?;
        Ok(())
    }

    /// The tables of a head, without those that are damaged and may be, and the children that hang on them.
    async fn readable(&self, head: &Head, lost: &Lost<'_>) -> Result<Vec<TableView>> {
        let mut all = Vec::new();
        for (name, table) in &head.tables {
            let one = BTreeMap::from([(name.clone(), table.clone())]);
            match views_keeping(&self.store, &self.kept, &head.pipeline, head.seq, &one).await {
                Ok(views) => all.extend(views),
                Err(e) if matches!(e.code(), Code::StoreMissing | Code::StoreDamaged) && lost(name, table) => {
                    self.events.note(&format!("`{name}` cannot be read until it is read anew: {e}"));
                }
                Err(e) => return Err(e),
            }
        }
        loop {
            let names: BTreeSet<TableName> = all.iter().map(|v| v.table.clone()).collect();
            all.retain(|v| {
                v.merge.parent.as_ref().is_none_or(|p| names.contains(&p.table) || !head.tables.contains_key(&p.table))
            });
            if all.len() == names.len() {
                return Ok(all);
            }
        }
    }

    /// Deletes the derived files of tables that the head published before names and this one does not. Before the head
    /// is replaced, so that whoever dies in between leaves it to the next.
    async fn delete_derived(&self, head: &Head, old: &PublishedHead) -> Result<()> {
        let mut gone: Vec<&TableName> = old.tables.keys().filter(|t| !head.tables.contains_key(*t)).collect();
        if gone.is_empty() || old.seq >= head.seq {
            return Ok(());
        }
        // A table that went over to another pipeline may have kept its name.
        let others = published_heads(&self.store).await?;
        gone.retain(|t| !others.iter().any(|o| o.pipeline != head.pipeline && o.tables.contains_key(*t)));
        for table in gone {
            for path in [layout::view(table), layout::schema(table), layout::schema_history(table)] {
                self.store.delete(&path).await?;
            }
        }
        Ok(())
    }

    /// All versions of a table's schema, one a line, each with the seq of this commit first.
    async fn schema_history(&self, head: &Head, table: &str) -> Result<Vec<u8>> {
        let mut page = PageRequest {
            kind: Kind::Schema,
            prefix: vec![head.pipeline.to_string(), table.to_owned()],
            after: None,
            limit: 1000,
            newest_first: false,
        };
        let mut lines = Vec::new();
        loop {
            let listed = self.catalog.list(&page).await?;
            for (_, record) in &listed.entries {
                if let Record::Schema(version) = record {
                    lines.extend(to_canonical_json(&PublishedSchema { seq: head.seq, version })?);
                }
            }
            page.after = listed.entries.last().map(|(key, _)| key.clone());
            if !listed.more {
                return Ok(lines);
            }
        }
    }
}
