//! What rows are ordered by, as byte strings that compare like the values (arrow's row format).

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, Rows, SortField};
use hakiri_core::codes::Code;
use hakiri_core::schema::Schema;
use hakiri_core::schema::to_arrow_schema;
use hakiri_core::{Error, Result};

use crate::write::normal::arrow_error;

/// The columns of the order and how to encode them.
#[derive(Debug)]
pub(super) struct Keys {
    names: Vec<String>,
    key: RowConverter,
    cursor: Option<(String, RowConverter)>,
}

/// The encoded key and cursor of each row of a batch.
#[derive(Debug)]
pub(super) struct Ranks {
    pub(super) key: Rows,
    pub(super) cursor: Option<Rows>,
}

impl Keys {
    /// From the table's schema, since every batch has its types.
    pub(super) fn new(schema: &Schema, key: &[String], cursor: Option<&str>) -> Result<Self> {
        let arrow = to_arrow_schema(schema);
        let field = |name: &str| {
            let field = arrow.field_with_name(name).map_err(|_| missing(name))?;
            let options = SortOptions { descending: false, nulls_first: true };
            Ok(SortField::new_with_options(field.data_type().clone(), options))
        };
        let converter = |fields: Vec<SortField>| {
            RowConverter::new(fields).map_err(|_| {
                Error::new(Code::SchemaUnsupported, format!("rows cannot be ordered by {}", key.join(", ")))
            })
        };
        let cursor = match cursor {
            Some(name) => Some((name.to_owned(), converter(vec![field(name)?])?)),
            None => None,
        };
        Ok(Self { names: key.to_vec(), key: converter(key.iter().map(|n| field(n)).collect::<Result<_>>()?)?, cursor })
    }

    /// The ranks of a batch's rows.
    pub(super) fn ranks(&self, batch: &RecordBatch) -> Result<Ranks> {
        let column = |name: &str| batch.column_by_name(name).cloned().ok_or_else(|| missing(name));
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let column = column(name)?;
            if column.null_count() > 0 {
                let message = format!("{} records have no value in the key column `{name}`", column.null_count());
                return Err(Error::new(Code::RecordWithoutKey, message));
            }
            columns.push(column);
        }
        let cursor = match &self.cursor {
            Some((name, converter)) => Some(converter.convert_columns(&[column(name)?]).map_err(arrow_error)?),
            None => None,
        };
        Ok(Ranks { key: self.key.convert_columns(&columns).map_err(arrow_error)?, cursor })
    }
}

impl Ranks {
    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        self.key.size() + self.cursor.as_ref().map_or(0, Rows::size)
    }

    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.key.num_rows()
    }

    /// By key, then by cursor. Rows that are equal keep the order in which they arrived.
    pub(super) fn compare(&self, row: usize, other: &Self, other_row: usize) -> std::cmp::Ordering {
        self.key.row(row).cmp(&other.key.row(other_row)).then_with(|| match (&self.cursor, &other.cursor) {
            (Some(a), Some(b)) => a.row(row).cmp(&b.row(other_row)),
            _ => std::cmp::Ordering::Equal,
        })
    }

    /// Whether two rows are versions of one.
    pub(super) fn same_key(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self.key.row(row) == other.key.row(other_row)
    }
}

fn missing(name: &str) -> Error {
    Error::new(Code::SchemaKey, format!("the column `{name}`, by which rows are ordered, is not a column of the table"))
}
