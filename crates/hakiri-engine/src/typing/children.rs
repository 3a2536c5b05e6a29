//! Arrays of a parent's records as records of child tables (S13).
//!
//! A child's record is the item of the array with two things before it: the parent's primary key, and the item's place
//! in the array, counted from 0. Both together are the child's key. Their columns have names that depend only on the
//! plan, since the key must be known before any record is: for a table `events` with the key `id` and the field
//! `products` they are `events_id` and `products_index`. A field of the item that has one of these names (whatever its
//! case, and with any number of `_` after it) gets one more `_`, so that nothing is lost and no two fields become one.
//! An item that is not an object is its field `value`.
//!
//! The name is not simply `position`, because many APIs call a field of theirs so.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringArray, RecordBatch};
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::plan::{Origin, PlannedTable};
use hakiri_core::schema::Schema;
use hakiri_core::source::Rows;

use super::decode::{assemble, json_column};
use super::json::{self, Shape};

/// The columns that a child table has before its items' own. Together, in this order, they are its primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildColumns {
    /// The parent's primary key, in the order of the parent's key: `merge.parent.columns`.
    pub parent: Vec<String>,
    /// The item's place in the array, from 0.
    pub position: String,
}

impl ChildColumns {
    /// The child's primary key.
    pub fn primary_key(&self) -> Vec<String> {
        self.parent.iter().chain([&self.position]).cloned().collect()
    }
}

/// Names a child's columns: `<table>_<key>` for each key column of the parent, `<field>_index` for the place. `table`
/// is the source's name of the parent, `field` the path of the array with dots. What is not a letter, digit or `_`
/// becomes
/// `_`; a name that is taken already gets `_` at its end.
pub fn child_columns(table: &str, key: &[String], field: &str) -> ChildColumns {
    let mut taken: Vec<String> = Vec::new();
    let mut name = |first: &str, last: &str| {
        let mut name: String =
            format!("{first}_{last}").chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
        while taken.iter().any(|t| t.eq_ignore_ascii_case(&name)) {
            name.push('_');
        }
        taken.push(name.clone());
        name
    };
    let parent = key.iter().map(|column| name(table, column)).collect();
    ChildColumns { parent, position: name(field, "index") }
}

/// One child to split off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSpec {
    /// The path of the array in the parent's records, with dots.
    pub field: String,
    /// The child's own columns.
    pub columns: ChildColumns,
}

/// What a planned table says of itself as a child: `None` for one that is not.
///
/// # Errors
/// `HK0001` when the plan of the child has no parent link or no key.
pub fn child_spec(table: &PlannedTable) -> Result<Option<ChildSpec>> {
    let Origin::ChildOf { field, .. } = &table.origin else {
        return Ok(None);
    };
    match (&table.merge.parent, table.merge.primary_key.split_last()) {
        (Some(link), Some((position, parent))) if link.columns == parent => Ok(Some(ChildSpec {
            field: field.clone(),
            columns: ChildColumns { parent: parent.to_vec(), position: position.clone() },
        })),
        _ => Err(Error::new(Code::Internal, format!("the child table {} has no key of its parent", table.table))),
    }
}

/// Gives a child's key columns the parent's types. Inferred from the children alone they could be narrower (a parent's
/// ids are text, and only those that look like days have children), and a join of the two tables would fail.
pub fn adopt_key_types(child: &mut Schema, columns: &ChildColumns, parent: &Schema, key: &[String]) {
    for (name, of) in columns.parent.iter().zip(key) {
        let (Some(field), Some(ty)) =
            (child.fields.iter_mut().find(|f| f.name == *name), parent.field(of).map(|f| &f.ty))
        else {
            continue;
        };
        field.ty = ty.clone();
    }
}

/// A parent's rows without the arrays of its children, and the children's rows.
#[derive(Debug)]
pub struct Split {
    /// The parent's rows, as many as were given.
    pub parent: Rows,
    /// One per child asked for, in that order.
    pub children: Vec<ChildRows>,
}

/// The rows of one child.
#[derive(Debug)]
pub struct ChildRows {
    /// The rows, in the order of the parents and of their arrays.
    pub rows: Rows,
    /// For each row the index of its parent among the given rows: children of a parent that is left out (by the window,
    /// or as a bad row) are left out with it.
    pub parents: Vec<usize>,
}

/// Splits the children off a parent's records. A child can be split again: its rows have its key columns at the top.
///
/// The array's field is removed from the parent. A field that is missing or null gives no rows; one that holds a single
/// value instead of an array gives one. A record without a value in its key, which is no usable record of a keyed table,
/// gives none. A record that is not an object stays as it is and gives none: decoding reports it.
///
/// # Errors
/// `HK0703` for rows that are not JSON, `HK0001` when a child does not have a column for each of the key's.
pub fn split_children(rows: &Rows, key: &[String], children: &[ChildSpec]) -> Result<Split> {
    if children.is_empty() {
        return Ok(Split { parent: rows.clone(), children: Vec::new() });
    }
    let Rows::Json(batch) = rows else {
        return Err(Error::new(Code::SchemaUnsupported, "child tables can only be made of JSON records")
            .with_hint("remove `children` from the table"));
    };
    if children.iter().any(|c| c.columns.parent.len() != key.len()) {
        return Err(Error::new(Code::Internal, "a child table does not have a column for each of its parent's key"));
    }
    let records = json_column(batch)?;
    let mut parents: Vec<Cow<'_, str>> = Vec::with_capacity(records.len());
    let mut splits: Vec<Splitter<'_>> = children.iter().map(Splitter::new).collect();
    for row in 0..records.len() {
        let record = records.get(row).unwrap_or_default();
        let mut taken = vec![None; children.len()];
        let wanted: Vec<(usize, &str)> = children.iter().enumerate().map(|(i, c)| (i, c.field.as_str())).collect();
        let mut rest = String::with_capacity(record.len());
        if !strip(record, &wanted, &mut taken, &mut rest) {
            parents.push(Cow::Borrowed(record));
            continue;
        }
        parents.push(Cow::Owned(rest));
        let Some(values) = key_of(record, key) else { continue };
        for (split, value) in splits.iter_mut().zip(taken) {
            if let Some(value) = value {
                split.items(row, &values, value);
            }
        }
    }
    let parent = json_rows(parents)?;
    let children = splits
        .into_iter()
        .map(|s| {
            Ok(ChildRows { rows: json_rows(s.records.into_iter().map(Cow::Owned).collect())?, parents: s.parents })
        })
        .collect::<Result<_>>()?;
    Ok(Split { parent, children })
}

/// The texts of the key's values, if there is one for each.
fn key_of<'a>(record: &'a str, key: &[String]) -> Option<Vec<&'a str>> {
    let mut values = vec![None; key.len()];
    json::members(record, &mut |name, value| {
        for (column, slot) in key.iter().zip(&mut values) {
            if *column == name {
                *slot = Some(value).filter(|v| json::shape(v) != Shape::Null);
            }
        }
    })
    .ok()?;
    values.into_iter().collect()
}

/// Writes an object without the wanted fields and hands those out; false if it is not an object. A member whose name is
/// the whole rest of a path comes before a way into a member.
fn strip<'a>(object: &'a str, wanted: &[(usize, &str)], taken: &mut [Option<&'a str>], out: &mut String) -> bool {
    let start = out.len();
    out.push('{');
    let mut first = true;
    let result = json::members(object, &mut |name, value: &'a str| {
        let mut is_taken = false;
        for (child, path) in wanted {
            if *path == name
                && let Some(slot) = taken.get_mut(*child)
            {
                *slot = Some(value);
                is_taken = true;
            }
        }
        if is_taken {
            return;
        }
        if !first {
            out.push(',');
        }
        first = false;
        json::write_string(&name, out);
        out.push(':');
        let within: Vec<(usize, &str)> = wanted
            .iter()
            .filter_map(|(i, path)| Some((*i, path.strip_prefix(name.as_ref())?.strip_prefix('.')?)))
            .collect();
        if within.is_empty() || json::shape(value) != Shape::Object || !strip(value, &within, taken, out) {
            out.push_str(value);
        }
    });
    if result.is_err() {
        out.truncate(start);
        return false;
    }
    out.push('}');
    true
}

/// Collects the records of one child.
struct Splitter<'s> {
    spec: &'s ChildSpec,
    records: Vec<String>,
    parents: Vec<usize>,
}

impl<'s> Splitter<'s> {
    fn new(spec: &'s ChildSpec) -> Self {
        Self { spec, records: Vec::new(), parents: Vec::new() }
    }

    fn items(&mut self, row: usize, key: &[&str], value: &str) {
        let mut position = 0;
        let mut add = |item: &str| {
            self.records.push(record(&self.spec.columns, key, position, item));
            self.parents.push(row);
            position += 1;
        };
        match json::shape(value) {
            Shape::Null => {}
            // A valid array cannot fail half-way.
            Shape::Array => drop(json::items(value, &mut |item| add(item))),
            _ => add(value),
        }
    }
}

fn record(columns: &ChildColumns, key: &[&str], position: usize, item: &str) -> String {
    let mut out = String::with_capacity(item.len() + 64);
    out.push('{');
    for (name, value) in columns.parent.iter().zip(key) {
        json::write_string(name, &mut out);
        out.push(':');
        out.push_str(value);
        out.push(',');
    }
    json::write_string(&columns.position, &mut out);
    out.push(':');
    out.push_str(&position.to_string());
    let start = out.len();
    let is_object = json::shape(item) == Shape::Object
        && json::members(item, &mut |name, value| {
            out.push(',');
            let root = name.trim_end_matches('_');
            let clashes = |own: &String| root.eq_ignore_ascii_case(own.trim_end_matches('_'));
            let escaped = if columns.parent.iter().any(clashes) || clashes(&columns.position) {
                format!("{name}_")
            } else {
                name.into_owned()
            };
            json::write_string(&escaped, &mut out);
            out.push(':');
            out.push_str(value);
        })
        .is_ok();
    if !is_object {
        out.truncate(start);
        out.push_str(",\"value\":");
        out.push_str(item);
    }
    out.push('}');
    out
}

fn json_rows(records: Vec<Cow<'_, str>>) -> Result<Rows> {
    let rows = records.len();
    let schema = Arc::new(ArrowSchema::new(vec![ArrowField::new("json", DataType::LargeUtf8, false)]));
    let column: ArrayRef = Arc::new(LargeStringArray::from_iter_values(records));
    let batch: RecordBatch = assemble(schema, vec![column], rows)?;
    Ok(Rows::Json(batch))
}
