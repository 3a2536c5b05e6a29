//! Tests of the whole way from rows to batches. Those of one piece stand beside it.

mod children;
mod cursor;
mod infer;
mod policy;
mod props;
mod values;

use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use hakiri_core::schema::{Field, Schema, Type};
use hakiri_core::source::Rows;

use super::{Inference, canonical_text, decode};

fn json(records: &[&str]) -> Rows {
    let schema = Arc::new(ArrowSchema::new(vec![ArrowField::new("json", DataType::LargeUtf8, false)]));
    let column: ArrayRef = Arc::new(LargeStringArray::from_iter_values(records));
    Rows::Json(RecordBatch::try_new(schema, vec![column]).unwrap())
}

fn csv(column: &str, cells: &[Option<&str>]) -> Rows {
    let column_of: ArrayRef = Arc::new(StringArray::from_iter(cells.iter().copied()));
    Rows::Text(RecordBatch::try_from_iter_with_nullable([(column, column_of, true)]).unwrap())
}

fn typed(column: &str, array: ArrayRef) -> Rows {
    Rows::Typed(RecordBatch::try_from_iter_with_nullable([(column, array, true)]).unwrap())
}

fn infer(rows: &[Rows]) -> Schema {
    let mut inference = Inference::new(&Schema::default());
    rows.iter().for_each(|r| inference.observe(r).unwrap());
    inference.finish().unwrap()
}

fn schema(fields: &[(&str, &str)]) -> Schema {
    Schema::new(fields.iter().map(|(name, ty)| Field::new(*name, Type::parse(ty).unwrap())).collect())
}

fn shown(schema: &Schema) -> String {
    schema.fields.iter().map(|f| format!("{}: {}", f.name, f.ty)).collect::<Vec<_>>().join(", ")
}

/// The column's values as text; lists and structs as JSON.
fn texts(batch: &RecordBatch, column: usize, ty: &Type) -> Vec<Option<String>> {
    let array = batch.column(column);
    let text = match ty {
        Type::Struct { .. } | Type::List { .. } => super::text::json_text(array, ty).unwrap(),
        _ => canonical_text(array).unwrap(),
    };
    text.iter().map(|t| t.map(str::to_owned)).collect()
}

/// What one column of rows becomes under its inferred type.
fn inferred_texts(rows: &Rows) -> (String, Vec<Option<String>>) {
    let schema = infer(std::slice::from_ref(rows));
    let batch = decode(rows, &schema).unwrap();
    (schema.fields[0].ty.to_string(), texts(&batch, 0, &schema.fields[0].ty))
}
