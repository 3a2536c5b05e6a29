//! TOML to [`Node`]s. `toml_edit` is the parser: it keeps the place of every key and value.

use serde_json::Number;
use toml_edit::{Document, InlineTable, Item, Key, Table, Value};

use super::node::{Data, Member, Node, Span, SyntaxError};

/// Reads a text.
pub(super) fn read(text: &str) -> Result<Node, SyntaxError> {
    let document = Document::parse(text).map_err(|e| SyntaxError {
        span: e.span().unwrap_or(0..0),
        message: e.message().lines().map(str::trim).collect::<Vec<_>>().join(", "),
        hint: None,
    })?;
    Ok(Node::new(0..0, table(document.as_table())?))
}

fn table(table: &Table) -> Result<Data, SyntaxError> {
    table
        .iter()
        .filter_map(|(name, item)| table.get_key_value(name).map(|(key, _)| member(key, item)))
        .collect::<Result<_, _>>()
        .map(Data::Table)
}

fn inline_table(table: &InlineTable) -> Result<Data, SyntaxError> {
    let mut members = Vec::with_capacity(table.len());
    for (name, v) in table.iter() {
        let key_span = table.get_key_value(name).and_then(|(key, _)| key.span()).unwrap_or(0..0);
        members.push(Member { key: name.to_owned(), node: value(v, key_span.clone())?, key_span });
    }
    Ok(Data::Table(members))
}

fn member(key: &Key, item: &Item) -> Result<Member, SyntaxError> {
    let key_span = key.span().unwrap_or(0..0);
    let node = match item {
        Item::None => Node::new(key_span.clone(), Data::Null),
        Item::Value(v) => value(v, key_span.clone())?,
        Item::Table(t) => Node::new(place(t, &key_span), table(t)?),
        Item::ArrayOfTables(tables) => {
            let items =
                tables.iter().map(|t| Ok(Node::new(place(t, &key_span), table(t)?))).collect::<Result<_, _>>()?;
            Node::new(key_span.clone(), Data::List(items))
        }
    };
    Ok(Member { key: key.get().to_owned(), key_span, node })
}

/// The header of a table, or the key that opened it (`a.b = 1` opens `a`).
fn place(table: &Table, key_span: &Span) -> Span {
    table.span().filter(|s| !s.is_empty()).unwrap_or_else(|| key_span.clone())
}

fn value(value: &Value, key_span: Span) -> Result<Node, SyntaxError> {
    let span = value.span().filter(|s| !s.is_empty()).unwrap_or(key_span);
    let data = match value {
        Value::String(text) => Data::Text(text.value().clone()),
        Value::Integer(n) => Data::Number(Number::from(*n.value())),
        Value::Float(n) => match Number::from_f64(*n.value()) {
            Some(n) => Data::Number(n),
            None => {
                let message = "infinity and not-a-number have no meaning here".to_owned();
                return Err(SyntaxError { span, message, hint: Some("write a finite number".to_owned()) });
            }
        },
        Value::Boolean(b) => Data::Bool(*b.value()),
        Value::Datetime(t) => Data::Text(t.value().to_string()),
        Value::Array(items) => {
            Data::List(items.iter().map(|v| self::value(v, span.clone())).collect::<Result<_, _>>()?)
        }
        Value::InlineTable(t) => inline_table(t)?,
    };
    Ok(Node::new(span, data))
}
