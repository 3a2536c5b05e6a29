//! Which rows of a table are current (S10, S13), as a logical plan.
//!
//! - *merge* with a primary key: of the rows with one key the one with the highest (cursor, commit), a null cursor being
//!   the lowest. One manifest holds a key once, so the two decide, and a table of one manifest needs no merging.
//! - *append* and keyless tables: all rows. *replace*: the layers given are already the right ones.
//! - a child: the rows whose commit is that of the current, shown version of their parent.
//! - rows marked as deleted are not shown, and neither are their children.
//!
//! Ranking by a window, not by joining with the maximum of each key: it sorts, and sorting spills to disk. Filters on
//! columns of the primary key are pushed below it by the optimizer, others are not: they could hide the current version
//! and show an old one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt as _, JoinType, LogicalPlan, LogicalPlanBuilder, lit, try_cast};
use hakiri_core::id::TableName;
use hakiri_core::schema::{DELETED_COLUMN, RUN_COLUMN, Type, to_arrow, to_arrow_schema};
use hakiri_core::spec::Mode;
use hakiri_core::view::TableView;
use object_store::path::Path;

use super::scan::{Parts, SEQ};

const RANK: &str = "_hakiri_rank";

/// Parents of parents are few; more is a cycle, which no engine writes.
const MAX_DEPTH: usize = 32;

/// What plans are made of.
pub(crate) struct Planner<'a> {
    views: HashMap<&'a TableName, &'a TableView>,
    store: ObjectStoreUrl,
    root: Path,
}

impl<'a> Planner<'a> {
    /// A planner for tables whose parts lie under `root` of the registered store.
    pub(crate) fn new(views: &'a [TableView], store: ObjectStoreUrl, root: Path) -> Self {
        Self { views: views.iter().map(|v| (&v.table, v)).collect(), store, root }
    }

    /// The current rows of a table: its columns in the order of the schema, then `_hakiri_run`.
    pub(crate) fn table(&self, view: &TableView) -> Result<LogicalPlan> {
        let columns = view.schema.schema.fields.iter().map(|f| f.name.as_str()).chain([RUN_COLUMN]);
        self.rows(view, 0)?.project(columns.map(column).collect::<Vec<_>>())?.build()
    }

    /// As [`table`](Self::table), with the number of the commit as one more column.
    fn rows(&self, view: &TableView, depth: usize) -> Result<LogicalPlanBuilder> {
        if depth > MAX_DEPTH {
            return Err(DataFusionError::Internal(format!("the parents of table {} form a cycle", view.table)));
        }
        let mut rows = self.scan(view)?;
        if let Some(link) = view.merge.parent.as_ref().filter(|link| !link.columns.is_empty()) {
            rows = match self.views.get(&link.table) {
                // A table without rows may not have the columns of its key yet.
                Some(parent) if has_all(parent, &parent.merge.primary_key) && has_all(view, &link.columns) => {
                    self.of_current_parents(view, rows, parent, &link.columns, depth)?
                }
                _ => rows.filter(lit(false))?,
            };
        }
        if needs_merge(view) {
            rows = merged(view, rows)?;
        }
        if view.schema.schema.field(DELETED_COLUMN).is_some_and(|f| f.ty == Type::Bool) {
            rows = rows.filter(column(DELETED_COLUMN).is_not_true())?;
        }
        Ok(rows)
    }

    fn scan(&self, view: &TableView) -> Result<LogicalPlanBuilder> {
        let own = to_arrow_schema(&view.schema.schema);
        // Stored as text; null in snapshots, which do not have it (S10).
        let run = Arc::new(Field::new(RUN_COLUMN, DataType::LargeUtf8, true));
        let schema = Schema::new(own.fields().iter().cloned().chain([run]).collect::<Vec<_>>());
        let mut parts = Parts::new(Arc::new(schema), self.store.clone());
        for layer in &view.layers {
            for part in &layer.parts {
                parts.add(&self.root, part, layer.seq);
            }
        }
        LogicalPlanBuilder::scan(view.table.as_str(), provider_as_source(Arc::new(parts)), None)
    }

    /// Only the keys and commits of the parents are held in memory; the children stream past them.
    fn of_current_parents(
        &self,
        view: &TableView,
        rows: LogicalPlanBuilder,
        parent: &TableView,
        columns: &[String],
        depth: usize,
    ) -> Result<LogicalPlanBuilder> {
        // A snapshot of children says "current as of what it covers": they stay so until their parent changes.
        let covered = view.layers.iter().filter(|l| l.snapshot).map(|l| l.seq).max().unwrap_or(0);
        let since =
            datafusion::logical_expr::when(column(SEQ).gt(seq(covered)), column(SEQ)).otherwise(seq(covered))?;
        let key = |i: usize| format!("_hakiri_parent_{i}");
        let keys = parent.merge.primary_key.iter().enumerate().map(|(i, name)| column(name).alias(key(i)));
        let parents = self
            .rows(parent, depth + 1)?
            .project(keys.chain([since.alias("_hakiri_parent_seq")]).collect::<Vec<_>>())?;
        let mut on = vec![column(SEQ).eq(column("_hakiri_parent_seq"))];
        for (i, (own, name)) in columns.iter().zip(&parent.merge.primary_key).enumerate() {
            // Each table widens on its own: keys are compared as the parent's types, and what does not fit has no parent.
            let (from, to) = (view.schema.schema.field(own), parent.schema.schema.field(name));
            let value = match (from, to) {
                (Some(from), Some(to)) if from.ty != to.ty => try_cast(column(own), to_arrow(&to.ty)),
                _ => column(own),
            };
            on.push(value.eq(column(&key(i))));
        }
        parents.join_on(rows.build()?, JoinType::RightSemi, on)
    }
}

/// Whether several versions of a key can be there.
fn needs_merge(view: &TableView) -> bool {
    let key = &view.merge.primary_key;
    let keyed = view.merge.mode == Mode::Merge && !key.is_empty() && has_all(view, key);
    // Children whose key starts with their parent's are of one commit by now, and a commit holds a key once.
    let of_parent = view
        .merge
        .parent
        .as_ref()
        .is_some_and(|l| !l.columns.is_empty() && l.columns.iter().all(|c| view.merge.primary_key.contains(c)));
    keyed && !of_parent && view.layers.iter().filter(|l| !l.parts.is_empty()).count() > 1
}

fn has_all(view: &TableView, columns: &[String]) -> bool {
    columns.iter().all(|name| view.schema.schema.field(name).is_some())
}

fn merged(view: &TableView, rows: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
    let mut order = Vec::new();
    if let Some(cursor) = view.merge.cursor.as_ref().filter(|c| view.schema.schema.field(c).is_some()) {
        order.push(column(cursor).sort(false, false));
    }
    order.push(column(SEQ).sort(false, false));
    let key = view.merge.primary_key.iter().map(|name| column(name)).collect();
    let rank = row_number().partition_by(key).order_by(order).build()?.alias(RANK);
    rows.window([rank])?.filter(column(RANK).eq(lit(1_u64)))
}

/// A column by its exact name, whatever characters are in it.
fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn seq(seq: u64) -> Expr {
    lit(ScalarValue::UInt64(Some(seq)))
}
