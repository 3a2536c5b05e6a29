//! A transform at work: a filter, then one expression per column.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::common::cast::as_boolean_array;
use datafusion::physical_expr::PhysicalExpr;
use hakiri_core::codes::Code;
use hakiri_core::schema::Schema;
use hakiri_core::transform::{Transform, Transformed};
use hakiri_core::{Error, Result};

use crate::errors;
use crate::text::convert;

/// A compiled transform.
pub(super) struct Compiled {
    /// The columns that come out, and the same as Arrow stores them.
    pub(super) output: Schema,
    pub(super) arrow: SchemaRef,
    /// What the batches that come in must look like.
    pub(super) input: SchemaRef,
    pub(super) filter: Option<Arc<dyn PhysicalExpr>>,
    pub(super) columns: Vec<Arc<dyn PhysicalExpr>>,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("filter", &self.filter).field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Transform for Compiled {
    fn output(&self) -> &Schema {
        &self.output
    }

    fn apply(&self, input: &RecordBatch) -> Result<Transformed> {
        let same = input.num_columns() == self.input.fields().len()
            && input
                .schema_ref()
                .fields()
                .iter()
                .zip(self.input.fields())
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if !same {
            return Err(Error::new(
                Code::Internal,
                "a transform was given rows of another schema than it was compiled for",
            ));
        }
        let mask = match &self.filter {
            // A condition that is null does not hold.
            Some(filter) => match self.mask(filter, input)? {
                mask if mask.null_count() > 0 => prep_null_mask_filter(&mask),
                mask => mask,
            },
            None => BooleanArray::from(vec![true; input.num_rows()]),
        };
        let kept = filter_record_batch(input, &mask).map_err(|e| failed(&e.into(), "where"))?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for (expr, field) in self.columns.iter().zip(self.arrow.fields()) {
            let array = expr
                .evaluate(&kept)
                .and_then(|v| v.into_array(kept.num_rows()))
                .map_err(|e| failed(&e, field.name()))?;
            let array = if array.data_type() == field.data_type() {
                array
            } else {
                convert(&array, field.data_type()).map_err(|e| failed(&e.into(), field.name()))?
            };
            columns.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.arrow), columns, &options)
            .map_err(|e| Error::new(Code::Internal, errors::reason(&e.into())))?;
        Ok(Transformed { batch, kept: mask })
    }
}

impl Compiled {
    fn mask(&self, filter: &Arc<dyn PhysicalExpr>, input: &RecordBatch) -> Result<BooleanArray> {
        let value =
            filter.evaluate(input).and_then(|v| v.into_array(input.num_rows())).map_err(|e| failed(&e, "where"))?;
        as_boolean_array(&value).cloned().map_err(|e| failed(&e, "where"))
    }
}

/// `HK0806` for a column (or `where`), without the value.
fn failed(error: &DataFusionError, column: &str) -> Error {
    let place = if column == "where" { "in `where`".to_owned() } else { format!("in the column `{column}`") };
    Error::new(Code::TransformFailed, format!("{} {place} of the transform", errors::reason(error)))
}
