//! Reads parts that were written with an older schema: the hook that DataFusion's Parquet reader offers for it.
//!
//! A part's own schema stands in its footer, so it is only known when the file is opened; that is why the casts are not
//! in the logical plan. DataFusion's own adapter would cast by its rules, whose texts are not ours, and would know
//! nothing of JSON.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};

use super::widen::widen;
use crate::text::is_json;

/// Makes an [`Adapter`] for each part.
#[derive(Debug)]
pub(super) struct AdapterFactory;

impl PhysicalExprAdapterFactory for AdapterFactory {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        Ok(Arc::new(Adapter { logical, physical }))
    }
}

#[derive(Debug)]
struct Adapter {
    logical: SchemaRef,
    physical: SchemaRef,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.transform_up(|expr| {
            let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
            // What is not of the file (the commit's number) was replaced by its value before.
            let Ok(to) = self.logical.field_with_name(column.name()) else { return Ok(Transformed::no(expr)) };
            let Some((place, from)) = self.physical.fields().find(column.name()) else {
                let null: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::try_from(to.data_type())?));
                return Ok(Transformed::yes(null));
            };
            let read: Arc<dyn PhysicalExpr> = Arc::new(Column::new(column.name(), place));
            if from.data_type() == to.data_type() && is_json(from) == is_json(to) {
                return Ok(Transformed::yes(read));
            }
            Ok(Transformed::yes(Arc::new(Widened { read, from: Arc::clone(from), to: Arc::new(to.clone()) })))
        })
        .data()
    }
}

/// A column of a part in the current type.
#[derive(Debug, Clone)]
struct Widened {
    read: Arc<dyn PhysicalExpr>,
    from: FieldRef,
    to: FieldRef,
}

impl PartialEq for Widened {
    fn eq(&self, other: &Self) -> bool {
        self.read.eq(&other.read) && self.from == other.from && self.to == other.to
    }
}

impl Eq for Widened {}

impl Hash for Widened {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.read.hash(state);
        self.to.hash(state);
    }
}

impl fmt::Display for Widened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "widened({} as {})", self.read, self.to.data_type())
    }
}

impl PhysicalExpr for Widened {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn return_field(&self, _: &Schema) -> Result<FieldRef> {
        Ok(Arc::new(Field::clone(&self.to).with_nullable(true)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let array = self.read.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(widen(&array, &self.from, &self.to)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.read]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let read = children.pop().unwrap_or_else(|| Arc::clone(&self.read));
        Ok(Arc::new(Self { read, from: Arc::clone(&self.from), to: Arc::clone(&self.to) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
