//! One table as the manifest wants it: which columns, cast to what, by which cursor; and what stands in the way.
//!
//! What stands in the way of one table (a type that cannot be read, a missing grant) becomes part of its step and is
//! reported when the step is carried out, so that the other tables of the pipeline are read all the same (E3). What is
//! wrong with the manifest itself is an error at once.

use hakiri_core::codes::Code;
use hakiri_core::cursor::Cursor;
use hakiri_core::source::TableRequest;
use hakiri_core::window::Window;
use hakiri_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Column, Relation};
use super::config::{PostgresTable, wrong};
use super::copy::toml_key;
use super::sql::{CursorColumn, CursorForm, KeyColumn, Range, column, from, manifest_condition, name, select};
use super::types::{Selected, Wire};

/// What a step needs to know: [`hakiri_core::plan::PlannedStep::source`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepSource {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) columns: Vec<Selected>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<CursorColumn>,
    #[serde(default)]
    pub(super) range: Range,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) condition: Option<String>,
    /// Why the table cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<Problem>,
}

/// An error that waits in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Problem {
    what: What,
    message: String,
    hint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Grant,
    Type,
    Cursor,
    NoCursor,
    Missing,
    Refused,
}

impl Problem {
    /// What the server says of one table while all are planned, unless it concerns the others as well.
    pub(super) fn of(error: &Error) -> Option<Self> {
        let what = match error.code() {
            Code::PostgresDenied => What::Grant,
            Code::PostgresMissing => What::Missing,
            Code::PostgresRefused | Code::PostgresValue => What::Refused,
            _ => return None,
        };
        Some(Self { what, message: error.message().to_owned(), hint: error.hint().to_owned() })
    }

    pub(super) fn to_error(&self) -> Error {
        let code = match self.what {
            What::Grant => Code::PostgresDenied,
            What::Type => Code::PostgresType,
            What::Cursor => Code::CursorType,
            What::NoCursor => Code::SchemaKey,
            What::Missing => Code::PostgresMissing,
            What::Refused => Code::PostgresRefused,
        };
        Error::new(code, self.message.clone()).with_hint(self.hint.clone())
    }
}

impl StepSource {
    /// The query of the step's rows, with the window as the plan fixed it.
    pub(super) fn select(&self, window: &Window) -> String {
        let mut conditions = self.range.conditions();
        conditions.extend(self.window(window));
        conditions.extend(self.condition.as_deref().map(manifest_condition));
        select(&self.schema, &self.table, &self.columns, &conditions)
    }

    pub(super) fn window(&self, window: &Window) -> Option<String> {
        self.cursor.as_ref().and_then(|c| c.condition(window))
    }

    pub(super) fn from(&self) -> String {
        from(&self.schema, &self.table)
    }
}

/// The columns of a relation that are read, and those whose type is refused.
pub(super) fn columns<'a>(
    relation: &'a Relation,
    settings: &PostgresTable,
) -> Result<(Vec<Selected>, Vec<&'a Column>)> {
    let table = &relation.name;
    let unknown = |key: &str, column: &str| {
        let known = relation.columns.iter().map(|c| c.name.as_str());
        let message = format!("the table `{table}` has no column `{column}`");
        crate::registry::unknown(Code::SourceConfig, &message, column, known)
            .at(format!("source.config.tables.{table}.{key}"))
    };
    let named = [
        ("columns", settings.columns.iter().flatten().collect::<Vec<_>>()),
        ("exclude_columns", settings.exclude_columns.iter().collect()),
        ("casts", settings.casts.keys().collect()),
    ];
    for (key, names) in named {
        if let Some(missing) = names.into_iter().find(|n| relation.column(n).is_none()) {
            return Err(unknown(key, missing));
        }
    }
    let wanted = |c: &&Column| {
        settings.columns.as_ref().is_none_or(|names| names.contains(&c.name))
            && !settings.exclude_columns.contains(&c.name)
    };
    let (mut selected, mut refused) = (Vec::new(), Vec::new());
    for column in relation.columns.iter().filter(wanted) {
        let reading = match settings.cast(table, &column.name)? {
            Some(cast) => Some(cast),
            None => column.ty.reading(),
        };
        match reading {
            Some((cast, wire)) => selected.push(Selected { name: column.name.clone(), cast, wire }),
            None => refused.push(column),
        }
    }
    if selected.is_empty() && refused.is_empty() && !relation.columns.is_empty() {
        return Err(wrong(table, "exclude_columns", "there is no column left to read"));
    }
    Ok((selected, refused))
}

/// The primary key as far as its columns are read: all of it or none.
pub(super) fn primary_key(relation: &Relation, selected: &[Selected]) -> Vec<String> {
    let read = relation.primary_key.iter().all(|k| selected.iter().any(|s| &s.name == k));
    if read { relation.primary_key.clone() } else { Vec::new() }
}

/// The step that reads all of a table, to be cut into ranges where it is large.
pub(super) fn step(
    catalog: &Catalog,
    schema: &str,
    relation: &Relation,
    settings: &PostgresTable,
    request: &TableRequest,
) -> Result<StepSource> {
    let (selected, refused) = columns(relation, settings)?;
    let mut step = StepSource {
        schema: schema.to_owned(),
        table: relation.name.clone(),
        columns: selected,
        cursor: None,
        range: Range::default(),
        condition: settings.condition.clone(),
        problem: None,
    };
    step.problem = no_columns(relation).or_else(|| types(&refused)).or_else(|| grants(catalog, &step, relation));
    if let Some(cursor) = request.incremental.as_deref()
        && !matches!(request.window, Window::Everything)
    {
        match cursor_column(relation, &step.columns, settings, cursor) {
            Ok(found) => step.cursor = Some(found),
            Err(problem) => step.problem = step.problem.take().or(Some(problem)),
        }
    }
    Ok(step)
}

fn no_columns(relation: &Relation) -> Option<Problem> {
    relation.columns.is_empty().then(|| Problem {
        what: What::Type,
        message: "the table has no columns".to_owned(),
        hint: "leave it out with `exclude`".to_owned(),
    })
}

fn types(refused: &[&Column]) -> Option<Problem> {
    let first = refused.first()?;
    let list: Vec<String> = refused.iter().map(|c| format!("column `{}` has the type {}", c.name, c.shown)).collect();
    let casts: Vec<String> = refused.iter().map(|c| format!("{} = \"{}\"", toml_key(&c.name), instead(c))).collect();
    Some(Problem {
        what: What::Type,
        message: format!("{}, which cannot be read as it is", list.join(" and ")),
        hint: format!(
            "set casts = {{ {} }} in the table's part of the source's config, or exclude_columns = [{:?}, …]",
            casts.join(", "),
            first.name
        ),
    })
}

/// What a refused type is best cast to.
fn instead(column: &Column) -> &'static str {
    match column.ty.name.as_str() {
        // Reads `{"a": "1"}` instead of the type's own notation.
        "hstore" => "jsonb",
        _ if matches!(column.ty.kind, super::types::PgKind::Array(_)) => "text[]",
        _ => "text",
    }
}

fn grants(catalog: &Catalog, step: &StepSource, relation: &Relation) -> Option<Problem> {
    let missing: Vec<&str> = step
        .columns
        .iter()
        .filter(|s| relation.column(&s.name).is_some_and(|c| !c.readable))
        .map(|s| s.name.as_str())
        .collect();
    if missing.is_empty() {
        return None;
    }
    let (user, place) = (&catalog.user, format!("{}.{}", name(&step.schema), name(&step.table)));
    let all = missing.len() == step.columns.len();
    let quoted = missing.iter().map(|c| name(c)).collect::<Vec<_>>().join(", ");
    Some(Problem {
        what: What::Grant,
        message: match all {
            true => format!("the user `{user}` may not read the table"),
            false => format!("the user `{user}` may not read the columns {}", missing.join(", ")),
        },
        hint: match all {
            true => format!("run: grant select on {place} to {}", name(user)),
            false => {
                format!(
                    "run: grant select ({quoted}) on {place} to {}; or leave them out with exclude_columns",
                    name(user)
                )
            }
        },
    })
}

/// The tables of which some column cannot be read, with the grants to run.
pub(super) fn unreadable(catalog: &Catalog) -> Vec<&str> {
    let hidden = |r: &&Relation| r.columns.iter().any(|c| !c.readable);
    catalog.relations.iter().filter(hidden).map(|r| r.name.as_str()).collect()
}

fn cursor_column(
    relation: &Relation,
    selected: &[Selected],
    settings: &PostgresTable,
    cursor: &str,
) -> Result<CursorColumn, Problem> {
    let (Some(known), Some(read)) = (relation.column(cursor), selected.iter().find(|s| s.name == cursor)) else {
        let names: Vec<&str> = selected.iter().map(|s| s.name.as_str()).collect();
        return Err(Problem {
            what: What::NoCursor,
            message: format!("the cursor `{cursor}` is not a column that is read"),
            hint: format!("the columns are: {}", names.join(", ")),
        });
    };
    let form = match read.wire {
        Wire::Int2 | Wire::Int4 | Wire::Int8 => CursorForm::Integer,
        Wire::Date => CursorForm::Date,
        Wire::Timestamp => CursorForm::Timestamp,
        Wire::Timestamptz => CursorForm::Timestamptz,
        Wire::Text => CursorForm::Text,
        Wire::Uuid => CursorForm::Uuid,
        _ => {
            return Err(Problem {
                what: What::Cursor,
                message: format!(
                    "the cursor column `{cursor}` has the type {}, which has no order to read by",
                    known.shown
                ),
                hint: "choose a column of whole numbers, time stamps, days or text; a numeric of whole numbers can be cast: casts = { … = \"bigint\" }"
                    .to_owned(),
            });
        }
    };
    let cast = settings.casts.contains_key(cursor);
    Ok(CursorColumn {
        expression: if cast { format!("({}::{})", column(cursor), read.cast) } else { column(cursor) },
        form,
        nullable: !known.not_null || cast,
    })
}

/// The columns by which a table can be cut into ranges: as many of its primary key, from the first, as the server orders
/// the way the engine does. None where the rows' key is another than the table's, or is made anew on the way.
pub(super) fn range_key(relation: &Relation, settings: &PostgresTable, request: &TableRequest) -> Vec<KeyColumn> {
    let changed = |column: &str| {
        settings.casts.contains_key(column)
            || request.spec.types.contains_key(column)
            || request.spec.transform.as_deref().is_some_and(|sql| mentions(sql, column))
    };
    if request.primary_key != relation.primary_key || request.primary_key.iter().any(|c| changed(c)) {
        return Vec::new();
    }
    relation
        .primary_key
        .iter()
        .map_while(|name| {
            let column = relation.column(name)?;
            let ordered = column.ty.keeps_order() || (column.ty.is_plain_text() && column.bytewise);
            let (cast, _) = column.ty.reading().filter(|_| ordered && column.not_null)?;
            Some(KeyColumn { name: name.clone(), cast })
        })
        .collect()
}

/// Whether a transform may do something with a column: that is so when it has the name anywhere, and when it does not
/// take all columns as they are.
fn mentions(sql: &str, column: &str) -> bool {
    !sql.contains('*') || sql.to_lowercase().contains(&column.to_lowercase())
}

/// An error with a hint where the server's words ask for one of ours.
pub(super) fn hinted(error: Error) -> Error {
    if error.message().contains("row-level security") {
        return error.with_hint(
            "let the user see all rows (alter role … bypassrls); or accept a part of them with row_security = true in the source's config",
        );
    }
    error
}

/// The highest position of a cursor, as the server gave it.
pub(super) fn highest(form: CursorForm, text: &str) -> Option<Cursor> {
    match form {
        CursorForm::Integer => text.parse().ok().map(|value| Cursor::Integer { value }),
        CursorForm::Text | CursorForm::Uuid => Some(Cursor::Text { value: text.to_owned() }),
        _ => None,
    }
}
