//! A manifest's text as a tree that knows where each part of it stands. TOML and JSON become the same tree, so that
//! everything behind it (schema, checks, diagnostics) exists once.

use std::ops::Range;

use serde_json::{Number, Value};

/// A place in a file's text: a range of bytes.
pub(super) type Span = Range<usize>;

/// A value and where it stands. The span of a table is its header, its `{…}` or the key that opened it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub span: Span,
    pub data: Data,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Null,
    Bool(bool),
    /// Integers are exact: a reader refuses those beyond 64 bits.
    Number(Number),
    /// Text; dates and times of TOML as they are written.
    Text(String),
    List(Vec<Node>),
    Table(Vec<Member>),
}

/// One key of a table, in the order of the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

impl Node {
    pub fn new(span: Span, data: Data) -> Self {
        Self { span, data }
    }

    /// The keys of a table; none for anything else.
    pub fn members(&self) -> &[Member] {
        match &self.data {
            Data::Table(members) => members,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().find(|m| m.key == key)
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|m| &m.node)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text at a key, if it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// What a person calls it.
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "null",
            Data::Bool(_) => "true or false",
            Data::Number(n) if n.is_f64() => "a number with a fraction",
            Data::Number(_) => "a whole number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(b) => Value::Bool(*b),
            Data::Number(n) => Value::Number(n.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Data::Table(members) => Value::Object(members.iter().map(|m| (m.key.clone(), m.node.to_json())).collect()),
        }
    }
}

/// Why a text cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub span: Span,
    pub message: String,
    pub hint: Option<String>,
}
