//! What is known of the values of one column (or field, or list) so far, and the type that follows from it.
//!
//! A node only collects facts: a set of flags, two maxima and a set of fields. Each of them is a union or a maximum, so
//! the facts do not depend on the order of records or on how they are cut, and neither does the type, which is computed
//! from the facts at the end (S9, S12). Joining types one record at a time would have to get that right for every pair.

use std::collections::{HashMap, HashSet};

use hakiri_core::cursor::TimeUnit;
use hakiri_core::schema::{Field, Type};

use super::json::{self, Malformed, Shape};
use super::number::Number;
use super::temporal::{NANOS, Temporal};
use super::{MAX_DEPTH, MAX_NODES, MAX_STRUCT_FIELDS};

const BOOL: u16 = 1;
const NUMBER: u16 = 1 << 1;
/// A number with a fraction, or beyond 64 bits.
const NOT_INT64: u16 = 1 << 2;
/// A number no decimal holds.
const HUGE: u16 = 1 << 3;
const DATE: u16 = 1 << 4;
const INSTANT: u16 = 1 << 5;
const WALL_CLOCK: u16 = 1 << 6;
/// A timestamp finer than a microsecond.
const FINE: u16 = 1 << 7;
/// A day or timestamp that 64 bits of nanoseconds cannot hold.
const FAR: u16 = 1 << 8;
const TEXT: u16 = 1 << 9;
const OBJECT: u16 = 1 << 10;
const ARRAY: u16 = 1 << 11;
/// An object or array too deep to look into, or one that is not valid.
const OPAQUE: u16 = 1 << 12;

const TEMPORAL: u16 = DATE | INSTANT | WALL_CLOCK;
const CONTAINER: u16 = OBJECT | ARRAY | OPAQUE;
/// The whole digits that every 64-bit integer fits in; what `join` counts for an integer beside a decimal.
const INT64_DIGITS: u64 = 19;

/// How many more nodes may be made. Shared by all nodes of a stream, so that odd data cannot use up the memory (P7).
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    exceeded: bool,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: MAX_NODES, exceeded: false }
    }

    pub(super) fn exceeded(&self) -> bool {
        self.exceeded
    }

    fn take(&mut self) -> bool {
        if self.left == 0 {
            self.exceeded = true;
            return false;
        }
        self.left -= 1;
        true
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Node {
    flags: u16,
    whole: u64,
    scale: u64,
    fields: Option<Box<Fields>>,
    item: Option<Box<Node>>,
}

/// The fields of an object, in the order of their first appearance.
#[derive(Debug, Default)]
pub(super) struct Fields {
    names: Vec<String>,
    nodes: Vec<Node>,
    places: HashMap<String, usize>,
    /// Where the next field is expected: records mostly name their fields in one order.
    next: usize,
    /// More names than a struct may have: they are no longer kept.
    overflow: bool,
}

impl Fields {
    /// The place of a field, made if it is new and there is room for it.
    pub(super) fn place(&mut self, name: &str, limit: usize, budget: &mut Budget) -> Option<usize> {
        let place = if self.names.get(self.next).is_some_and(|n| n == name) {
            self.next
        } else if let Some(place) = self.places.get(name) {
            *place
        } else {
            if self.names.len() >= limit {
                self.overflow = true;
                return None;
            }
            if !budget.take() {
                return None;
            }
            self.names.push(name.to_owned());
            self.nodes.push(Node::default());
            self.places.insert(name.to_owned(), self.names.len() - 1);
            self.names.len() - 1
        };
        self.next = place + 1;
        Some(place)
    }

    pub(super) fn restart(&mut self) {
        self.next = 0;
    }

    pub(super) fn overflow(&self) -> bool {
        self.overflow
    }

    pub(super) fn node(&mut self, place: usize) -> Option<&mut Node> {
        self.nodes.get_mut(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.names.iter().zip(&self.nodes)
    }

    /// Whether readers tell all names apart: DuckDB, for one, ignores the case.
    fn distinct(&self) -> bool {
        let mut seen = HashSet::with_capacity(self.names.len());
        self.names.iter().all(|n| !n.is_empty() && seen.insert(n.to_ascii_lowercase()))
    }
}

impl Node {
    /// A cell of text.
    pub(super) fn observe_text(&mut self, text: &str) {
        match text.as_bytes().first() {
            _ if self.flags & TEXT != 0 => {}
            Some(b'-' | b'0'..=b'9') => {
                if let Some(number) = Number::parse(text) {
                    self.number(&number);
                } else {
                    self.string(text);
                }
            }
            Some(b't' | b'f') if text == "true" || text == "false" => self.flags |= BOOL,
            _ => self.flags |= TEXT,
        }
    }

    /// A valid JSON value at a depth; a column's value is at depth 1.
    pub(super) fn observe_json<'a>(&mut self, raw: &'a str, depth: usize, budget: &mut Budget) {
        let result = match json::shape(raw) {
            Shape::Null => Ok(()),
            Shape::True | Shape::False => {
                self.flags |= BOOL;
                Ok(())
            }
            Shape::Number => {
                match Number::parse(raw) {
                    Some(number) => self.number(&number),
                    None => self.flags |= NUMBER | NOT_INT64 | HUGE,
                }
                Ok(())
            }
            Shape::String => match json::string(raw) {
                Ok(text) => {
                    self.string(&text);
                    Ok(())
                }
                Err(_) => {
                    self.flags |= TEXT;
                    Ok(())
                }
            },
            Shape::Object | Shape::Array if depth > MAX_DEPTH => Err(Malformed),
            Shape::Object => {
                self.flags |= OBJECT;
                let fields = self.fields.get_or_insert_default();
                fields.restart();
                json::members(raw, &mut |name, value: &'a str| {
                    if let Some(node) = fields.place(&name, MAX_STRUCT_FIELDS, budget).and_then(|p| fields.node(p)) {
                        node.observe_json(value, depth + 1, budget);
                    }
                })
            }
            Shape::Array => {
                self.flags |= ARRAY;
                let item = self.item.get_or_insert_default();
                json::items(raw, &mut |value: &'a str| item.observe_json(value, depth + 1, budget))
            }
        };
        if result.is_err() {
            self.flags |= OPAQUE;
        }
    }

    fn number(&mut self, number: &Number<'_>) {
        self.flags |= NUMBER;
        self.whole = self.whole.max(number.whole_digits());
        self.scale = self.scale.max(number.scale());
        if number.scale() > 0 || number.whole_digits() >= INT64_DIGITS && number.to_i64().is_none() {
            self.flags |= NOT_INT64;
        }
    }

    /// A string that is not a number or a boolean.
    fn string(&mut self, text: &str) {
        if self.flags & TEXT != 0 {
            return;
        }
        let Some(temporal) = Temporal::parse(text) else {
            self.flags |= TEXT;
            return;
        };
        self.flags |= match temporal {
            Temporal::Date(_) => DATE,
            Temporal::Timestamp { utc: true, .. } => INSTANT,
            Temporal::Timestamp { utc: false, .. } => WALL_CLOCK,
        };
        let nanos = temporal.nanos();
        if nanos % (NANOS / 1_000_000) != 0 {
            self.flags |= FINE;
        }
        if i64::try_from(nanos).is_err() {
            self.flags |= FAR;
        }
    }

    /// The type that holds every value observed.
    pub(super) fn resolve(&self) -> Type {
        let has = |flag: u16| self.flags & flag != 0;
        let scalars = [BOOL, NUMBER, TEMPORAL, TEXT].into_iter().filter(|f| has(*f)).count();
        if has(CONTAINER) {
            return match (&self.fields, &self.item) {
                _ if has(OPAQUE) || scalars > 0 => Type::Json,
                (Some(fields), None) => resolve_struct(fields),
                (None, Some(item)) => match item.resolve() {
                    Type::Null => Type::Json,
                    item => Type::List { item: Box::new(item) },
                },
                _ => Type::Json,
            };
        }
        match scalars {
            0 => Type::Null,
            1 if has(BOOL) => Type::Bool,
            1 if has(NUMBER) => self.resolve_number(),
            1 if has(TEMPORAL) => self.resolve_temporal(),
            _ => Type::Text,
        }
    }

    fn resolve_number(&self) -> Type {
        let has = |flag: u16| self.flags & flag != 0;
        if !has(NOT_INT64) {
            return Type::Int64;
        }
        let (roomy, tight) = (self.whole.max(INT64_DIGITS) + self.scale, self.whole + self.scale);
        let precision = match () {
            () if has(HUGE) => return Type::Text,
            () if roomy <= 38 => roomy,
            () if tight <= 38 => 38,
            () if roomy <= 76 => roomy,
            () if tight <= 76 => 76,
            () => return Type::Text,
        };
        match (u8::try_from(precision), i8::try_from(self.scale)) {
            (Ok(precision), Ok(scale)) => Type::Decimal { precision, scale },
            _ => Type::Text,
        }
    }

    fn resolve_temporal(&self) -> Type {
        let has = |flag: u16| self.flags & flag != 0;
        match (has(INSTANT), has(WALL_CLOCK)) {
            (false, false) => Type::Date,
            (true, true) => Type::Text,
            _ if has(FINE) && has(FAR) => Type::Text,
            (utc, _) => {
                Type::Timestamp { unit: if has(FINE) { TimeUnit::Nanosecond } else { TimeUnit::Microsecond }, utc }
            }
        }
    }
}

fn resolve_struct(fields: &Fields) -> Type {
    if fields.names.is_empty() || fields.overflow || !fields.distinct() {
        return Type::Json;
    }
    Type::Struct { fields: fields.iter().map(|(name, node)| Field::new(name, node.resolve())).collect() }
}
