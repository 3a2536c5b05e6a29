//! From the layers of one table to the parts of its snapshot.
//!
//! Memory: one part as stored, the sorter's share of the budget, one part under way. A child is sorted twice, by its
//! parent's key to meet the parents and by its own to be written, each with half the share.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use bytes::Bytes;
use hakiri_core::codes::Code;
use hakiri_core::manifest::{FileRef, ParentLink, Part};
use hakiri_core::schema::{Field, Schema, Type, to_arrow_schema};
use hakiri_core::spec::Mode;
use hakiri_core::view::TableView;
use hakiri_core::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::parents::{Join, ParentKeys};
use crate::Engine;
use crate::sort::{Sorted, Sorter};
use crate::typing::cast_batch;
use crate::write::PartWriter;
use crate::write::normal::arrow_error;

/// The column that follows a row through the sorter: the commit it comes from. Never written.
pub(super) const SEQ: &str = "_hakiri_seq";
/// Rows decoded at once.
const ROWS: usize = 8_192;

impl Engine {
    /// Writes the current rows of a table, given those of its parent. With `is_parent`, also returns their keys, for its
    /// children.
    pub(super) async fn write_current(
        &self,
        view: &TableView,
        folder: &str,
        parent: Option<(&ParentLink, &ParentKeys)>,
        is_parent: bool,
    ) -> Result<(Vec<Part>, Option<ParentKeys>)> {
        let schema = &view.schema.schema;
        let rows = match parent {
            Some((link, keys)) => self.current_children(view, link, keys).await?,
            None => {
                let mut sorter = self.sorter(view, &carried(schema, &[]), self.settings.memory / 2)?;
                self.push_layers(view, |batch| sorter.push(batch)).await?;
                sorter.finish()?
            }
        };
        let mut keys = if is_parent { Some(ParentKeys::new(view, &self.settings.temp_dir)?) } else { None };
        let mut writer = PartWriter::new(&self.store, folder.to_owned(), 0, schema, None)?;
        for batch in rows {
            self.cancel.check()?;
            let mut batch = batch?;
            if let Some(keys) = &mut keys {
                keys.append(&batch)?;
            }
            batch.remove_column(batch.num_columns() - 1);
            writer.write(&batch).await?;
            tokio::task::yield_now().await;
        }
        Ok((writer.finish().await?, keys))
    }

    /// The rows of a child that belong to the current versions of its parents, by its own key.
    async fn current_children(&self, view: &TableView, link: &ParentLink, parents: &ParentKeys) -> Result<Sorted> {
        let schema = &view.schema.schema;
        let budget = self.settings.memory / 4;
        let mut by_key = self.sorter(view, &carried(schema, &[]), budget)?;
        if parents.is_empty() {
            return by_key.finish();
        }
        let mut join = Join::new(view, link, parents)?;
        let by_parent = carried(schema, join.columns());
        let names: Vec<String> = join.columns().iter().map(|f| f.name.clone()).collect();
        let mut sorter = Sorter::new(&by_parent, &names, None, false, budget, self.settings.temp_dir.clone())?;
        self.push_layers(view, |batch| sorter.push(join.with_keys(&batch, &by_parent)?)).await?;
        for batch in sorter.finish()? {
            self.cancel.check()?;
            by_key.push(join.keep(&batch?)?)?;
            tokio::task::yield_now().await;
        }
        by_key.finish()
    }

    /// The order of a table's snapshot. In mode merge one row per key, the current one; a child that is not (its parent's
    /// mode was changed after its last run) has no versions.
    fn sorter(&self, view: &TableView, schema: &Schema, budget: usize) -> Result<Sorter> {
        let merge = &view.merge;
        let key = match &merge.parent {
            Some(link) if merge.primary_key.is_empty() => &link.columns,
            _ => &merge.primary_key,
        };
        let dedupe = merge.mode == Mode::Merge && !merge.primary_key.is_empty();
        let cursor = merge.cursor.as_deref().filter(|c| schema.field(c).is_some());
        Sorter::new(schema, key, cursor, dedupe, budget, self.settings.temp_dir.clone())
    }

    /// Every row of a table in the current schema with its commit behind it, oldest layer first.
    async fn push_layers(&self, view: &TableView, mut push: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let schema = &view.schema.schema;
        let target = Arc::new(to_arrow_schema(&carried(schema, &[])));
        for layer in &view.layers {
            for part in &layer.parts {
                let file = FileRef { path: part.path.clone(), sha256: part.sha256.clone() };
                let bytes = self.store.get_verified(&file).await?;
                for batch in reader(bytes, schema).map_err(|e| e.at(&part.path))? {
                    self.cancel.check()?;
                    let batch = batch.map_err(arrow_error).map_err(|e| e.at(&part.path))?;
                    let mut columns = cast_batch(&batch, schema).map_err(|e| e.at(&part.path))?.columns().to_vec();
                    columns.push(Arc::new(UInt64Array::from(vec![layer.seq; batch.num_rows()])) as ArrayRef);
                    push(RecordBatch::try_new(target.clone(), columns).map_err(arrow_error)?)?;
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }
}

/// A table's columns, others, and the commit.
fn carried(schema: &Schema, others: &[Field]) -> Schema {
    let mut fields = schema.fields.clone();
    fields.extend_from_slice(others);
    fields.push(Field::new(SEQ, Type::Uint64));
    Schema::new(fields)
}

/// The rows of a part: the columns that the schema has, so without `_hakiri_run`.
fn reader(bytes: Bytes, schema: &Schema) -> Result<ParquetRecordBatchReader> {
    let damaged =
        |e: parquet::errors::ParquetError| Error::new(Code::StoreDamaged, format!("the part cannot be read: {e}"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(damaged)?;
    let wanted: Vec<usize> = builder
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, f)| schema.field(f.name()).is_some())
        .map(|(i, _)| i)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    builder.with_projection(mask).with_batch_size(ROWS).build().map_err(damaged)
}
