//! The types of all records of one stream. What is inferred from what stands in the [module's documentation](super).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::schema::{Field, Schema, Type, from_arrow_schema, join};
use hakiri_core::source::Rows;

use super::decode::{Strings, json_column};
use super::json;
use super::node::{Budget, Fields};
use super::{MAX_COLUMNS, MAX_NODES};

/// Collects what the records of a stream are, and says at the end which schema holds them all.
///
/// The types do not depend on how the rows are cut into batches or on their order; the order of columns is that of
/// their first appearance. Memory is bounded by [`MAX_NODES`], whatever the records are.
#[derive(Debug)]
pub struct Inference {
    declared: Schema,
    columns: Fields,
    /// The joined types of typed batches, by the column's place.
    typed: Vec<Option<Type>>,
    budget: Budget,
    /// The last typed schema: the batches of one stream mostly share one.
    last: Option<SchemaRef>,
}

impl Inference {
    /// An inference for a stream whose declared columns are known. Declared types win over what is observed (S12).
    pub fn new(declared: &Schema) -> Self {
        Self {
            declared: declared.clone(),
            columns: Fields::default(),
            typed: Vec::new(),
            budget: Budget::new(),
            last: None,
        }
    }

    /// Takes rows into account. A row of JSON that is not an object counts for nothing here: decoding reports it.
    ///
    /// # Errors
    /// `HK0707` for too many columns, `HK0703` for a typed column that cannot be stored, `HK0702` when the typed
    /// batches of the stream do not agree, `HK0001` for rows that are not what their kind promises.
    pub fn observe(&mut self, rows: &Rows) -> Result<()> {
        match rows {
            Rows::Typed(batch) => self.typed(batch)?,
            Rows::Text(batch) => self.text(batch)?,
            Rows::Json(batch) => self.json(batch)?,
        }
        if self.columns.overflow() {
            return Err(Error::new(Code::SchemaWide, format!("the records have more than {MAX_COLUMNS} columns")));
        }
        if self.budget.exceeded() {
            return Err(Error::new(
                Code::SchemaWide,
                format!("the records have more than {MAX_NODES} columns and fields inside them"),
            ));
        }
        Ok(())
    }

    fn typed(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        if self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &schema) || *last == schema) {
            return Ok(());
        }
        // A declared column need not have a type that could be stored as it is, so it is not looked at.
        let undeclared = schema.fields().iter().filter(|f| self.declared.field(f.name()).is_none()).cloned();
        let seen = from_arrow_schema(&ArrowSchema::new(undeclared.collect::<arrow::datatypes::Fields>()))?;
        for column in schema.fields() {
            let Some(place) = self.columns.place(column.name(), MAX_COLUMNS, &mut self.budget) else {
                return Ok(());
            };
            let Some(ty) = seen.field(column.name()).map(|f| &f.ty) else {
                continue;
            };
            if self.typed.len() <= place {
                self.typed.resize(place + 1, None);
            }
            if let Some(slot) = self.typed.get_mut(place) {
                *slot = Some(match slot.as_ref() {
                    None => ty.clone(),
                    Some(before) => join(before, ty).ok_or_else(|| no_join(column.name(), before, ty))?,
                });
            }
        }
        self.last = Some(schema);
        Ok(())
    }

    fn text(&mut self, batch: &RecordBatch) -> Result<()> {
        for (column, values) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let Some(place) = self.columns.place(column.name(), MAX_COLUMNS, &mut self.budget) else {
                return Ok(());
            };
            if self.declared.field(column.name()).is_some() {
                continue;
            }
            let values = Strings::of(values)?;
            if let Some(node) = self.columns.node(place) {
                (0..values.len()).filter_map(|row| values.get(row)).for_each(|text| node.observe_text(text));
            }
        }
        Ok(())
    }

    fn json(&mut self, batch: &RecordBatch) -> Result<()> {
        let records = json_column(batch)?;
        let Self { declared, columns, budget, .. } = self;
        let is_declared = |name: &str| !declared.fields.is_empty() && declared.field(name).is_some();
        let mut members = Vec::new();
        for record in (0..records.len()).filter_map(|row| records.get(row)) {
            // All of it first: a record with an error in its syntax must leave no trace, wherever in it the error is.
            members.clear();
            if json::members(record, &mut |name, value| members.push((name, value))).is_err() {
                continue;
            }
            columns.restart();
            for (name, value) in &members {
                if let Some(place) = columns.place(name, MAX_COLUMNS, budget)
                    && !is_declared(name)
                    && let Some(node) = columns.node(place)
                {
                    node.observe_json(value, 1, budget);
                }
            }
        }
        Ok(())
    }

    /// The schema that holds every record observed: columns in the order of their first appearance, declared ones with
    /// their declared type, declared ones that no record has at the end.
    ///
    /// # Errors
    /// `HK0702` when a stream gave a column typed and untyped and nothing holds both.
    pub fn finish(&self) -> Result<Schema> {
        let mut fields = Vec::new();
        for (place, (name, node)) in self.columns.iter().enumerate() {
            let observed = node.resolve();
            let ty = match (self.declared.field(name), self.typed.get(place).and_then(Option::as_ref)) {
                (Some(declared), _) => declared.ty.clone(),
                (None, None) => observed,
                (None, Some(typed)) => join(typed, &observed).ok_or_else(|| no_join(name, typed, &observed))?,
            };
            fields.push(Field::new(name, ty));
        }
        let unseen = self
            .declared
            .fields
            .iter()
            .filter(|d| !fields.iter().any(|f| f.name == d.name))
            .cloned()
            .collect::<Vec<_>>();
        fields.extend(unseen);
        Ok(Schema::new(fields))
    }
}

/// The error of a column that got a type that does not go with the one it has.
pub(super) fn no_join(column: &str, before: &Type, now: &Type) -> Error {
    Error::new(Code::SchemaType, format!("column `{column}` is {before}, and {now} does not fit into it"))
}
