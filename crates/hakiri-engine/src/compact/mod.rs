//! Compaction (S10): the current rows of a table as one snapshot, in the place of the runs it covers.
//!
//! Contract: a snapshot of a keyed table in mode merge holds its current rows, one per primary key, sorted by it, without
//! `_hakiri_run` and with tombstones. Its parts are a pure function of these rows and the schema: whatever history led
//! to them, the bytes are the same. Which row is current is what every reader says: highest cursor (none lowest), then
//! the commit, then the order of parts and rows, the snapshot before all runs. That is the order of [`crate::sort`] when
//! layers are pushed oldest first, so that there is no second rule here.
//!
//! A table with children (S13) is compacted with all of them, to one commit, in one [`Commit::Snapshot`]: a child's row
//! counts while its commit is that of its parent's current version, and in snapshots all rows have the commit that the
//! snapshot covers. Parent and children that cover different commits would lose that tie; so no order of commits, and no
//! crash between them, is left to think about.
//!
//! Nothing is visible before the one catalog commit (P4), which needs no lease and is conditional on generation and
//! snapshots. A process that dies before it leaves strays for `gc`; the next attempt at the same commit arrives at the
//! same names. The runs that are covered stay for the grace period of `gc` (S11), so that readers of an older head go on.
//!
//! Tables in mode replace are one manifest anyway. Tables in mode append are left alone: putting their runs together
//! would save files and nothing else, since all their rows are current.
//!
//! Why not the query engine: the bytes of a snapshot would follow its upgrades, and its sort is not stable.

mod family;
mod parents;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hakiri_core::catalog::{Commit, Head, SnapshotCommit, SnapshotHead};
use hakiri_core::hash::Hash;
use hakiri_core::id::{PipelineId, TableName};
use hakiri_core::manifest::{FORMAT, Part, Subject, TableManifest};
use hakiri_core::view::TableView;
use hakiri_core::{Result, layout};
use serde::Serialize;

use crate::Engine;
use crate::read::views;
use crate::state::table_head;
use family::{family, inputs, is_compact};
use parents::ParentKeys;

/// What a compaction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompactReport {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The last commit whose rows are in the snapshots.
    pub covers: u64,
    /// The table and its children, parents first.
    pub tables: Vec<CompactedTable>,
}

/// One table of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompactedTable {
    /// The stored name.
    pub table: TableName,
    /// What was read.
    pub before: Size,
    /// The snapshot.
    pub after: Size,
}

/// How much some parts are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Rows, all versions counted.
    pub rows: u64,
    /// Files.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Size {
    fn of<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Self {
        parts.into_iter().fold(Self::default(), |sum, part| Self {
            rows: sum.rows + part.rows,
            parts: sum.parts + 1,
            bytes: sum.bytes + part.bytes,
        })
    }
}

/// A snapshot that is written and not named yet.
#[derive(Debug)]
struct Prepared {
    commit: Commit,
    report: CompactReport,
}

impl Engine {
    /// Compacts a table together with its children, or with its parent where it is a child. None where there is nothing
    /// to do: a table that is compact already, has no rows' layers, is not keyed or not in mode merge, or hangs on a
    /// parent that is gone.
    ///
    /// # Errors
    /// `HK0203` when there is no such table; `HK0201` when its state or snapshot was changed meanwhile; `HK0003` when
    /// interrupted; `HK0305` and `HK0306` for committed files that are gone or damaged; any catalog or store error.
    /// Nothing has changed then.
    pub async fn compact(&self, pipeline: &PipelineId, table: &TableName) -> Result<Option<CompactReport>> {
        let head = self.head(pipeline).await?;
        let Some(prepared) = self.prepare_snapshots(&head, table).await? else { return Ok(None) };
        let committed = self.catalog.commit(&prepared.commit).await?;
        self.publish(&committed.head).await?;
        Ok(Some(prepared.report))
    }

    /// Writes everything that the commit will name.
    async fn prepare_snapshots(&self, head: &Head, table: &TableName) -> Result<Option<Prepared>> {
        table_head(head, table)?;
        let Some(members) = family(&head.tables, table) else { return Ok(None) };
        let tables = members.iter().filter_map(|name| Some((name.clone(), head.tables.get(name)?.clone()))).collect();
        let mut found: BTreeMap<TableName, TableView> = BTreeMap::new();
        for view in views(&self.store, &head.pipeline, head.seq, &tables).await? {
            found.insert(view.table.clone(), view);
        }
        let views: Vec<TableView> = members.iter().filter_map(|name| found.remove(name)).collect();
        if is_compact(&views) {
            return Ok(None);
        }
        let written = self.write_snapshots(head, &views).await?;
        let (mut tables, mut reports) = (Vec::new(), Vec::new());
        for (view, (folder, parts)) in views.iter().zip(written) {
            // Without any manifest there is no row that a snapshot could take the place of.
            if view.layers.is_empty() {
                continue;
            }
            let after = Size::of(&parts);
            let manifest = TableManifest {
                format: FORMAT,
                project: self.project.name.clone(),
                pipeline: head.pipeline.clone(),
                table: view.table.clone(),
                subject: Subject::Snapshot { covers: head.seq },
                seq: head.seq,
                generation: head.generation,
                merge: view.merge.clone(),
                schema: view.schema.clone(),
                rows: after.rows,
                parts,
                previous: None,
            };
            tables.push(SnapshotCommit {
                table: view.table.clone(),
                previous: head.tables.get(&view.table).and_then(|t| t.snapshot.clone()),
                snapshot: SnapshotHead { covers: head.seq, manifest: self.put_manifest(&folder, &manifest).await? },
            });
            let before = Size::of(view.layers.iter().flat_map(|l| &l.parts));
            reports.push(CompactedTable { table: view.table.clone(), before, after });
        }
        let pipeline = head.pipeline.clone();
        Ok(Some(Prepared {
            commit: Commit::Snapshot { pipeline: pipeline.clone(), generation: head.generation, tables },
            report: CompactReport { pipeline, covers: head.seq, tables: reports },
        }))
    }

    /// Writes the parts of a family's snapshots, parents first. For each table its folder and its parts.
    ///
    /// The folder is named by what the snapshot is made of, since a name must be known before the first part is written;
    /// the parts in it are named by their own bytes.
    async fn write_snapshots(&self, head: &Head, views: &[TableView]) -> Result<Vec<(String, Vec<Part>)>> {
        let made_of: Hash = inputs(views);
        let mut keys: BTreeMap<&TableName, ParentKeys> = BTreeMap::new();
        let mut written = Vec::with_capacity(views.len());
        for view in views {
            let folder = layout::snapshot(&view.table, head.seq, &made_of);
            let parent = match &view.merge.parent {
                Some(link) if !link.columns.is_empty() => keys.get(&link.table).map(|keys| (link, keys)),
                _ => None,
            };
            let is_parent = views.iter().any(|v| v.merge.parent.as_ref().is_some_and(|l| l.table == view.table));
            let (parts, own) = self.write_current(view, &folder, parent, is_parent).await?;
            keys.extend(own.map(|own| (&view.table, own)));
            written.push((folder, parts));
        }
        Ok(written)
    }
}
