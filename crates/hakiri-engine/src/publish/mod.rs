//! Derived files (S4): what is made anew from every commit, so that a folder or bucket can be read without Hakiri (P6).
//!
//! They carry the commit's seq and are replaced only by a higher one; a publisher that dies leaves them stale, never
//! wrong, and the next `begin` or repeated `commit` publishes them again.

use hakiri_core::Result;
use hakiri_core::canonical::to_canonical_json;
use hakiri_core::catalog::{Head, Kind, PageRequest, Record};
use hakiri_core::layout;
use hakiri_core::schema::SchemaVersion;
use hakiri_core::view::duckdb::view_sql;
use serde::Serialize;

use crate::Engine;
use crate::read::{PublishedHead, views};

/// A derived schema file.
#[derive(Serialize)]
struct PublishedSchema<'a> {
    seq: u64,
    #[serde(flatten)]
    version: &'a SchemaVersion,
}

impl Engine {
    /// Publishes the derived files of a pipeline's head, unless they are already of this commit.
    ///
    /// # Errors
    /// Any store or catalog error.
    pub async fn publish(&self, head: &Head) -> Result<()> {
        if head.seq == 0 {
            return Ok(());
        }
        let published = to_canonical_json(&PublishedHead::new(&self.project.name, head))?;
        let path = layout::head(&head.pipeline);
        // The head is written last, so that an equal one says that everything else is there.
        if self.store.get(&path).await?.is_some_and(|bytes| bytes.as_ref() == published.as_slice()) {
            return Ok(());
        }
        let views = views(&self.store, &head.pipeline, head.seq, &head.tables).await?;
        for view in &views {
            let sql = view_sql(&views, &view.table);
            self.store.replace_derived(&layout::view(&view.table), sql.into_bytes().into(), head.seq).await?;
            let schema = to_canonical_json(&PublishedSchema { seq: head.seq, version: &view.schema })?;
            self.store.replace_derived(&layout::schema(&view.table), schema.into(), head.seq).await?;
            let history = self.schema_history(head, view.table.as_str()).await?;
            self.store.replace_derived(&layout::schema_history(&view.table), history.into(), head.seq).await?;
        }
        self.store.replace_derived(&path, published.into(), head.seq).await?;
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
