//! The second pass for one table: from its spool to its parts.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::array::BooleanBufferBuilder;
use arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt64Type;
use hakiri_core::Result;
use hakiri_core::cursor::Cursor;
use hakiri_core::layout;
use hakiri_core::plan::{Plan, PlannedStep, PlannedTable};
use hakiri_core::schema::{Field, Schema, Type};
use hakiri_core::source::Cancel;
use hakiri_core::spec::Mode;
use hakiri_core::step::TableResult;
use hakiri_core::transform::Transformed;

use super::Intake;
use super::rows::{check_columns, decode_rows, internal, keep, narrowed, with_keys, within_window};
use crate::Engine;
use crate::sort::Sorter;
use crate::spool::Spool;
use crate::typing::{adopt_key_types, adopt_zone, cast_batch, child_spec, plan_schema};
use crate::write::PartWriter;

/// The column that follows a record through the second pass: its place in the order of arrival. Never written.
const ARRIVAL: &str = "_hakiri_arrival";

/// A table whose parts are written.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) result: TableResult,
    /// The schema before the transform: what the children's key columns take their types from.
    seen: Schema,
    /// Of a table with children: which of its records, by order of arrival, became a row. None: all count.
    survivors: Option<BooleanBuffer>,
}

/// Decodes, filters, transforms, sorts and writes what was spooled of a table.
pub(super) async fn settle(
    engine: &Engine,
    plan: &Plan,
    step: &PlannedStep,
    mut intake: Intake<'_>,
    parent: Option<&Settled>,
    has_children: bool,
    cancel: &Cancel,
) -> Result<Settled> {
    let table = intake.table;
    let mut seen = intake.inference.finish()?;
    if let (Some(parent), Some(spec)) = (parent, child_spec(table)?) {
        let key: Vec<String> = parent_key(step, table);
        adopt_key_types(&mut seen, &spec.columns, &parent.seen, &key);
    }
    let transform = match &table.transform {
        Some(sql) if intake.read > 0 => Some(engine.transforms.compile(sql, &seen)?),
        _ => None,
    };
    // Behind a transform only its output counts; before it, declared types are part of what was seen.
    let schema = match &transform {
        Some(transform) => plan_schema(table.schema.as_ref(), transform.output(), &Schema::default(), table.policy)?,
        None => plan_schema(table.schema.as_ref(), &seen, &table.declared, table.policy)?,
    };
    check_columns(table, &seen, &schema, intake.read)?;
    let tracked = has_children && !table.merge.primary_key.is_empty();

    let folder = layout::run(&table.table, &plan.run);
    let mut writer = PartWriter::new(&engine.store, folder, step.index, &schema, Some(&plan.run))?;
    let carried = if tracked { with_arrival(&schema) } else { schema.clone() };
    // A source that sends its rows in order, each key once, saves the sorting; the bytes are the same (S8, S9).
    let in_order = transform.is_none() && !tracked && intake.order.holds_for(&schema);
    let mut sorter = if in_order { None } else { sorter(engine, plan, table, &carried)? };
    let mut survivors = BooleanBufferBuilder::new(0);
    survivors.append_n(if tracked { usize::try_from(intake.read).unwrap_or(0) } else { 0 }, false);

    let mut last: Option<Cursor> = None;
    let mut arrived: usize = 0;
    let mut parents = Parents::new(std::mem::take(&mut intake.per_parent), parent);
    let spool = std::mem::replace(&mut intake.spool, Spool::new(0, engine.settings.temp_dir.clone()));
    for rows in spool.replay()? {
        cancel.check()?;
        let rows = rows?;
        let first = arrived;
        arrived += rows.len();
        let (batch, mut kept) = decode_rows(&mut intake, &rows, &seen)?;
        let (batch, kept_here) = parents.filter(batch, &kept, rows.len())?;
        kept = kept_here;
        let (batch, kept) = within_window(&mut intake, batch, kept, &mut last)?;
        let (batch, kept) = match &transform {
            Some(transform) => {
                let Transformed { batch, kept: passed } = transform.apply(&batch)?;
                (batch, narrowed(&kept, &passed))
            }
            None => (batch, kept),
        };
        let batch = cast_batch(&batch, &schema)?;
        let batch = if tracked { append_arrival(&batch, &carried, first, &kept)? } else { batch };
        let batch = with_keys(&mut intake, batch)?;
        match &mut sorter {
            Some(sorter) => sorter.push(batch)?,
            None => writer.write(&batch).await?,
        }
        tokio::task::yield_now().await;
    }
    if let Some(sorter) = sorter {
        for batch in sorter.finish()? {
            cancel.check()?;
            let mut batch = batch?;
            if tracked {
                let arrival = batch.remove_column(batch.num_columns() - 1);
                arrival.as_primitive::<UInt64Type>().values().iter().for_each(|&i| survivors.set_bit(i as usize, true));
            }
            writer.write(&batch).await?;
            tokio::task::yield_now().await;
        }
    }
    let parts = writer.finish().await?;
    let cursor_after = match intake.opaque.take() {
        Some(cursor) => Some(cursor),
        None => {
            let column = table.merge.cursor.as_deref().and_then(|c| seen.field(c));
            let window = column.map_or_else(|| table.window.clone(), |f| adopt_zone(&table.window, &f.ty));
            window.cursor_after(table.cursor_before.as_ref(), last.as_ref())
        }
    };
    let result = TableResult {
        table: table.table.clone(),
        schema,
        rows: parts.iter().map(|p| p.rows).sum(),
        parts,
        read: intake.read + intake.rejected,
        rejected: intake.rejected,
        samples: intake.samples,
        cursor_after,
    };
    Ok(Settled { result, seen, survivors: tracked.then(|| survivors.finish()) })
}

/// Keyed tables are written in key order (S8), and in mode merge one row per key (ADR 0009).
fn sorter(engine: &Engine, plan: &Plan, table: &PlannedTable, schema: &Schema) -> Result<Option<Sorter>> {
    if table.merge.primary_key.is_empty() {
        return Ok(None);
    }
    let sorter = Sorter::new(
        schema,
        &table.merge.primary_key,
        table.merge.cursor.as_deref(),
        table.merge.mode == Mode::Merge,
        engine.settings.memory / 2 / super::at_once(engine, plan),
        engine.settings.temp_dir.clone(),
    )?;
    Ok(Some(sorter))
}

/// The primary key of a child's parent, by its source's names.
fn parent_key(step: &PlannedStep, child: &PlannedTable) -> Vec<String> {
    match child.origin {
        hakiri_core::plan::Origin::ChildOf { parent, .. } => {
            step.tables.get(parent as usize).map(|t| t.merge.primary_key.clone()).unwrap_or_default()
        }
        hakiri_core::plan::Origin::Source { .. } => Vec::new(),
    }
}

fn with_arrival(schema: &Schema) -> Schema {
    let mut schema = schema.clone();
    schema.fields.push(Field::new(ARRIVAL, Type::Uint64));
    schema
}

/// Adds the column that says where in the order of arrival each row stood.
fn append_arrival(batch: &RecordBatch, schema: &Schema, first: usize, kept: &BooleanArray) -> Result<RecordBatch> {
    let arrival = UInt64Array::from_iter_values((0..kept.len()).filter(|&i| kept.value(i)).map(|i| (first + i) as u64));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(arrival));
    RecordBatch::try_new(Arc::new(hakiri_core::schema::to_arrow_schema(schema)), columns).map_err(internal)
}

/// Walks along the parents of a child table's rows, and leaves out the rows of parents that did not become rows.
#[derive(Debug)]
struct Parents<'a> {
    /// Rows per parent, in order of arrival.
    counts: Vec<u32>,
    survivors: Option<&'a BooleanBuffer>,
    parent: usize,
    used: u32,
}

impl<'a> Parents<'a> {
    fn new(counts: Vec<u32>, parent: Option<&'a Settled>) -> Self {
        Self { counts, survivors: parent.and_then(|p| p.survivors.as_ref()), parent: 0, used: 0 }
    }

    /// Filters the decoded rows of `given` ones, of which `kept` says which were decoded.
    fn filter(&mut self, batch: RecordBatch, kept: &BooleanArray, given: usize) -> Result<(RecordBatch, BooleanArray)> {
        let Some(survivors) = self.survivors else { return Ok((batch, kept.clone())) };
        let mut alive = Vec::with_capacity(given);
        for _ in 0..given {
            while self.counts.get(self.parent).is_some_and(|&count| self.used >= count) {
                self.parent += 1;
                self.used = 0;
            }
            self.used += 1;
            alive.push(self.parent < survivors.len() && survivors.value(self.parent));
        }
        let alive = BooleanArray::from(alive);
        let of_kept: BooleanArray = (0..given).filter(|&i| kept.value(i)).map(|i| Some(alive.value(i))).collect();
        let both = arrow::compute::and(kept, &alive).map_err(internal)?;
        Ok((keep(&batch, &of_kept)?, both))
    }
}
