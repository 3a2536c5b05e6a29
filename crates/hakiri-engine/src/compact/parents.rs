//! Children and their parents (S13): which of a child's rows belong to the current version of their parent.
//!
//! Both sides are read in the order of the parent's key, so that one row of each is enough in memory. A child's columns
//! that refer to the parent may have another type by now than the parent's key (each table widens on its own); they are
//! compared as the parent's types.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use arrow::row::{RowConverter, Rows, SortField};
use hakiri_core::codes::Code;
use hakiri_core::manifest::ParentLink;
use hakiri_core::schema::{Field, Schema, to_arrow, to_arrow_schema};
use hakiri_core::view::TableView;
use hakiri_core::{Error, Result};

use super::rows::SEQ;
use crate::spool::{TempBatches, TempReader};
use crate::typing::cast_column;
use crate::write::normal::arrow_error;

/// The keys and commits of a table's current rows, in the order of the key, in a temporary file.
#[derive(Debug)]
pub(super) struct ParentKeys {
    /// The key's columns.
    key: Vec<Field>,
    rows: TempBatches,
    any: bool,
}

impl ParentKeys {
    pub(super) fn new(view: &TableView, temp_dir: &Path) -> Result<Self> {
        let columns = &view.schema.schema;
        // A table without rows may not have its key's columns yet; it is never asked for them then.
        let key = view.merge.primary_key.iter().filter_map(|name| columns.field(name).cloned()).collect();
        Ok(Self { key, rows: TempBatches::create(temp_dir)?, any: false })
    }

    /// Whether there are none. [`Join`] needs some.
    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    /// Adds rows with their commit in the last column.
    pub(super) fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut places = Vec::with_capacity(self.key.len() + 1);
        for name in self.key.iter().map(|f| f.name.as_str()).chain([SEQ]) {
            places.push(batch.schema_ref().index_of(name).map_err(arrow_error)?);
        }
        self.any = true;
        self.rows.append(&batch.project(&places).map_err(arrow_error)?)
    }
}

/// Walks along the parents, beside a child's rows in the order of the parents' key.
pub(super) struct Join<'a> {
    link: &'a ParentLink,
    /// The types of the child's columns that refer to the parent.
    from: Vec<Field>,
    /// The columns added to the child's: the parent's key, under names of ours.
    columns: Vec<Field>,
    /// The commit that the child's own snapshot covers, 0 without one: its rows belong to the versions of their parents
    /// that were current then, whichever commit those came with.
    covered: u64,
    converter: RowConverter,
    parents: TempReader,
    /// The batch of parents under way, its commits, and the place in it.
    here: Option<(Rows, RecordBatch)>,
    at: usize,
}

impl<'a> Join<'a> {
    pub(super) fn new(view: &TableView, link: &'a ParentLink, parents: &ParentKeys) -> Result<Self> {
        let schema = &view.schema.schema;
        let from: Vec<Field> = link.columns.iter().filter_map(|name| schema.field(name).cloned()).collect();
        let has_rows = view.layers.iter().any(|l| l.parts.iter().any(|p| p.rows > 0));
        if has_rows && (from.len() != link.columns.len() || from.len() != parents.key.len()) {
            return Err(Error::new(
                Code::SchemaKey,
                format!("`{}` lacks columns that refer to its parent `{}`", view.table, link.table),
            )
            .with_hint("run the pipeline with --full to start a new generation"));
        }
        let columns: Vec<Field> = parents
            .key
            .iter()
            .enumerate()
            .map(|(i, f)| Field::new(format!("_hakiri_parent_{i}"), f.ty.clone()))
            .collect();
        let converter = RowConverter::new(columns.iter().map(|f| SortField::new(to_arrow(&f.ty))).collect())
            .map_err(arrow_error)?;
        let covered = view.layers.iter().filter(|l| l.snapshot).map(|l| l.seq).max().unwrap_or(0);
        let reader = parents.rows.read(parents.rows.open_range())?;
        Ok(Self { link, from, columns, covered, converter, parents: reader, here: None, at: 0 })
    }

    /// The columns that [`Self::with_keys`] adds.
    pub(super) fn columns(&self) -> &[Field] {
        &self.columns
    }

    /// The child's rows with the parent's key before the commit, as `schema` says.
    pub(super) fn with_keys(&self, batch: &RecordBatch, schema: &Schema) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        let seq = columns.pop();
        for (from, to) in self.from.iter().zip(&self.columns) {
            let column = batch
                .column_by_name(&from.name)
                .ok_or_else(|| Error::new(Code::Internal, format!("no column `{}`", from.name)))?;
            columns.push(cast_column(column, &from.ty, &to.ty, &from.name)?);
        }
        columns.extend(seq);
        RecordBatch::try_new(Arc::new(to_arrow_schema(schema)), columns).map_err(arrow_error)
    }

    /// The rows that are current, without the columns that were added. Batches come in order.
    pub(super) fn keep(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let all = batch.num_columns();
        let first = all - 1 - self.columns.len();
        let keys: Vec<ArrayRef> = batch.columns()[first..all - 1].to_vec();
        let rows = self.converter.convert_columns(&keys).map_err(arrow_error)?;
        let commits = batch.column(all - 1).as_primitive::<UInt64Type>();
        let mut kept = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let since = self.find(rows.row(row).as_ref())?;
            kept.push(since.is_some_and(|seq| commits.value(row) == seq.max(self.covered)));
        }
        let places: Vec<usize> = (0..first).chain([all - 1]).collect();
        let own = batch.project(&places).map_err(arrow_error)?;
        filter_record_batch(&own, &BooleanArray::from(kept)).map_err(arrow_error)
    }

    /// The commit of the current parent with this key, going forward.
    fn find(&mut self, key: &[u8]) -> Result<Option<u64>> {
        loop {
            let Some((rows, batch)) = &self.here else {
                let Some(next) = self.parents.next() else { return Ok(None) };
                let next = next?;
                let keys: Vec<ArrayRef> = next.columns()[..next.num_columns() - 1].to_vec();
                self.here = Some((self.converter.convert_columns(&keys).map_err(arrow_error)?, next));
                self.at = 0;
                continue;
            };
            if self.at >= rows.num_rows() {
                self.here = None;
                continue;
            }
            match rows.row(self.at).as_ref().cmp(key) {
                Ordering::Less => self.at += 1,
                Ordering::Equal => {
                    let commits = batch.column(batch.num_columns() - 1).as_primitive::<UInt64Type>();
                    return Ok(commits.is_valid(self.at).then(|| commits.value(self.at)));
                }
                Ordering::Greater => return Ok(None),
            }
        }
    }
}

impl std::fmt::Debug for Join<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("parent", &self.link.table).finish_non_exhaustive()
    }
}
