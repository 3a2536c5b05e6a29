//! From rows as a source gave them to record batches of a known schema (S6, S12, S13).
//!
//! Connectors never decide types; this module does, in one place for all of them:
//!
//! | step | function |
//! |---|---|
//! | a parent's arrays become records of child tables | [`split_children`], [`child_columns`] |
//! | the types of all records of a stream | [`Inference`] |
//! | what the table's schema becomes | [`plan_schema`] |
//! | rows become batches of exactly that schema | [`decode`], [`decode_lenient`] |
//! | batches of an older schema become ones of a wider schema | [`cast_batch`], [`cast_column`], [`canonical_text`] |
//! | which rows belong to a window, and how far a table was read | [`window_mask`], [`highest`], [`cursor_of`] |
//!
//! Everything here is pure: no I/O, no clock, no threads. Results do not depend on how rows are cut into batches (S9),
//! and types do not depend on the order of records either; only the *order of columns* follows the records, being that
//! of their first appearance.
//!
//! # What is inferred
//!
//! | value | CSV | JSON |
//! |---|---|---|
//! | nothing | a missing cell | `null`, or no such field |
//! | `bool` | `true`, `false`, in lower case only | `true`, `false` |
//! | `int64` | a number in JSON's own grammar whose value is whole and fits | the same |
//! | `decimal(p,s)` | any other number up to 76 digits | the same |
//! | `date` | `2026-01-31`, a real day, years 0001 to 9999 | a string of this form |
//! | `timestamp` | `2026-01-31T12:00:00.5Z`, RFC 3339 with `T` or one space, with or without zone | a string of this form |
//! | `text` | anything else (`007`, `+1`, ` 1`, `1.`, `.5`, `True`) | any other string, numbers of more than 76 digits |
//! | `list`, `struct` | never | arrays, objects |
//! | `json` | never | see below |
//!
//! Numbers count by value, not by spelling: `1.0`, `1e0` and `1` are the same whole number, `1.50` has one digit after
//! the point. They never pass through a float. A decimal has room for 19 digits before the point (those of any `int64`)
//! or more if needed, and for as many after it as the values have, in 38 digits where that is possible, else in 76. So
//! a decimal joined with an integer, or with one of the same scale, stays as it is: not every new day of data is a new
//! version of the schema, and readers that end at 38 digits can read what is likely.
//!
//! Timestamps have microseconds, or nanoseconds if a value has more than six digits of fraction (zeros at the end do
//! not count) and all of them lie in 1677 to 2262. Values with a zone beside values without one are text. A date beside
//! a timestamp is that day's midnight.
//!
//! JSON of no fixed shape is `json`, text with the Arrow JSON extension type: objects beside arrays or scalars, arrays
//! that are always empty, objects that are always empty, objects with empty names, with names that differ only by case
//! (readers do not tell them apart) or with more than [`MAX_STRUCT_FIELDS`] names (a map, not a record), and whatever
//! lies deeper than [`MAX_DEPTH`].
//!
//! # Text
//!
//! A string of the source stays the same, byte by byte, in a `text` column: `1.10` beside `1.2.3` is a version, and
//! making a number of it would lose a digit. What was a number, a boolean or a timestamp by its type becomes its
//! [`canonical_text`] when its column is widened.

mod build;
mod build_json;
mod cast;
mod children;
mod cursor;
mod decode;
mod infer;
mod json;
mod node;
mod number;
mod policy;
mod temporal;
mod text;

#[cfg(test)]
mod tests;

pub use self::cast::{cast_batch, cast_column};
pub use self::children::{
    ChildColumns, ChildRows, ChildSpec, Split, adopt_key_types, child_columns, child_spec, split_children,
};
pub use self::cursor::{adopt_zone, cursor_kind_of, cursor_of, highest, window_mask};
pub use self::decode::{Decoded, decode, decode_lenient};
pub use self::infer::Inference;
pub use self::policy::plan_schema;
pub use self::text::canonical_text;

/// The most columns a table has.
pub const MAX_COLUMNS: usize = 2_000;
/// The most columns and fields inside them that inference keeps track of.
pub const MAX_NODES: usize = 10_000;
/// The most fields of an object that is still a struct.
pub const MAX_STRUCT_FIELDS: usize = 500;
/// The depth of nesting above which a value is `json`; a column is at depth 1.
pub const MAX_DEPTH: usize = 16;
