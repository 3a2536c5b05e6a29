//! How records lie in the table. Pure.
//!
//! | partition (`pk`) | sort key (`sk`) | what |
//! |---|---|---|
//! | `PROJECT/catalog` | `catalog` | the root: format, identity, revision, and the large write that is under way |
//! | `PROJECT/records` | the record's key | version, and the text or the name and number of its parts |
//! | `PROJECT/parts` | `REVISION/ORDINAL/PART` | a part of a text that is too long for one item |
//! | `PROJECT/batches` | `REVISION/WRITER/PLACE` | an item of a large write, with where it goes |
//!
//! A name of a project holds no `/`, so that projects share a table and none meets another's items.

use std::collections::BTreeMap;

use hakiri_core::catalog::{CatalogError, CatalogResult};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::odd;
use crate::records::{Scan, Version};

/// The format version of what is stored.
pub(super) const FORMAT: i64 = 1;

/// The most bytes of a text in one item, which holds 400 KB with everything.
const PART: usize = 300_000;

/// The most bytes of a sort key.
pub(super) const KEY: usize = 1024;

/// The most actions of one transaction besides the one on the root: it holds 100.
const ACTIONS: usize = 99;

/// The most a transaction's actions may weigh (see [`weight`]): it holds 4 MB.
const WEIGHT: usize = 3_500_000;

/// A value of an attribute. All of ours are texts and numbers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Attribute {
    S(String),
    N(String),
}

/// The attributes of an item.
pub(super) type Item = BTreeMap<String, Attribute>;

/// A group of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Catalog,
    Records,
    Parts,
    Batches,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Records => "records",
            Self::Parts => "parts",
            Self::Batches => "batches",
        }
    }

    /// Its partition in a project.
    pub(super) fn partition(self, project: &str) -> String {
        format!("{project}/{}", self.name())
    }
}

/// The sort key of the root.
pub(super) const ROOT: &str = "catalog";

/// A key of the table.
pub(super) fn key(project: &str, place: Place, sort: &str) -> Value {
    json!({ "pk": { "S": place.partition(project) }, "sk": { "S": sort } })
}

pub(super) fn text(value: impl Into<String>) -> Attribute {
    Attribute::S(value.into())
}

pub(super) fn number(value: i64) -> Attribute {
    Attribute::N(value.to_string())
}

pub(super) fn take_text(item: &mut Item, name: &str) -> CatalogResult<String> {
    match item.remove(name) {
        Some(Attribute::S(text)) => Ok(text),
        _ => Err(odd()),
    }
}

pub(super) fn take_number(item: &mut Item, name: &str) -> CatalogResult<i64> {
    match item.remove(name) {
        Some(Attribute::N(text)) => text.parse().map_err(|_| odd()),
        _ => Err(odd()),
    }
}

/// The root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) id: String,
    /// Counts the writes.
    pub(super) revision: i64,
    /// The large write that is committed and perhaps not carried out to its end: what its items in
    /// [`Place::Batches`] begin with.
    pub(super) pending: Option<String>,
}

impl Root {
    /// The item of a new catalog.
    pub(super) fn new_item(id: &str) -> Item {
        [("format", number(FORMAT)), ("id", text(id)), ("revision", number(0))]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    pub(super) fn of(mut item: Item) -> CatalogResult<Self> {
        let format = take_number(&mut item, "format")?;
        if format > FORMAT {
            let (found, known) = (format.unsigned_abs(), FORMAT.unsigned_abs());
            return Err(CatalogError::Newer { found, known });
        }
        let pending = item.contains_key("pending").then(|| take_text(&mut item, "pending")).transpose()?;
        Ok(Self { id: take_text(&mut item, "id")?, revision: take_number(&mut item, "revision")?, pending })
    }
}

/// A record as its item tells it.
pub(super) struct Stored {
    pub(super) key: String,
    pub(super) version: Version,
    pub(super) body: Body,
}

/// Where a record's text is.
pub(super) enum Body {
    /// Not asked for, or in the item.
    Here(String),
    /// In this many parts whose sort keys begin with this.
    Parts { prefix: String, count: usize, bytes: usize },
}

impl Stored {
    /// Of an item, or of its projection without a text.
    pub(super) fn of(mut item: Item) -> CatalogResult<Self> {
        let (key, version) = (take_text(&mut item, "sk")?, take_number(&mut item, "version")?);
        let body = if item.contains_key("parts") {
            let size = |n: i64| usize::try_from(n).map_err(|_| odd());
            Body::Parts {
                prefix: take_text(&mut item, "parts")?,
                count: size(take_number(&mut item, "count")?)?,
                bytes: size(take_number(&mut item, "bytes")?)?,
            }
        } else {
            Body::Here(item.remove("text").map_or(Ok(String::new()), |value| match value {
                Attribute::S(text) => Ok(text),
                Attribute::N(_) => Err(odd()),
            })?)
        };
        Ok(Self { key, version, body })
    }

    /// The bytes of the text.
    pub(super) fn bytes(&self) -> usize {
        match &self.body {
            Body::Here(text) => text.len(),
            Body::Parts { bytes, .. } => *bytes,
        }
    }

    /// The sort keys of its parts.
    pub(super) fn parts(&self) -> Vec<String> {
        match &self.body {
            Body::Here(_) => Vec::new(),
            Body::Parts { prefix, count, .. } => (0..*count).map(|n| part(prefix, n)).collect(),
        }
    }
}

fn part(prefix: &str, n: usize) -> String {
    format!("{prefix}/{n:05}")
}

/// A change of one item.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) place: Place,
    pub(super) sort: String,
    /// The item without its key; none deletes.
    pub(super) put: Option<Item>,
}

/// The actions of a write: texts under keys, keys to delete, and the records that are there now.
pub(super) fn actions(
    put: &BTreeMap<&str, &str>,
    delete: &[&str],
    old: &BTreeMap<String, Stored>,
    revision: Version,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let gone = |sort: String| Action { place: Place::Parts, sort, put: None };
    for (ordinal, (sort, content)) in put.iter().enumerate() {
        let mut item: Item = [("version".to_owned(), number(revision))].into();
        if content.len() <= PART {
            item.insert("text".to_owned(), text(*content));
        } else {
            let prefix = format!("{revision:020}/{ordinal:05}");
            let pieces = split(content);
            item.insert("parts".to_owned(), text(prefix.as_str()));
            item.insert("count".to_owned(), Attribute::N(pieces.len().to_string()));
            item.insert("bytes".to_owned(), Attribute::N(content.len().to_string()));
            actions.extend(pieces.iter().enumerate().map(|(n, piece)| Action {
                place: Place::Parts,
                sort: part(&prefix, n),
                put: Some([("text".to_owned(), text(*piece))].into()),
            }));
        }
        actions.push(Action { place: Place::Records, sort: (*sort).to_owned(), put: Some(item) });
    }
    for sort in delete {
        // What is not there needs no action, which would cost as much as one that does something.
        if old.contains_key(*sort) {
            actions.push(Action { place: Place::Records, sort: (*sort).to_owned(), put: None });
        }
    }
    let touched = put.keys().chain(delete);
    actions.extend(touched.filter_map(|key| old.get(*key)).flat_map(Stored::parts).map(gone));
    actions
}

/// A long text in pieces that end between characters.
fn split(text: &str) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PART));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// What an action weighs: its texts as JSON of ASCII only, which is never less than its bytes, so that the limit holds
/// however the size is counted.
fn weight(action: &Action) -> usize {
    let plain = |text: &str| text.chars().map(escaped).sum::<usize>();
    let values = action.put.iter().flatten().map(|(name, value)| {
        let (Attribute::S(text) | Attribute::N(text)) = value;
        name.len() + plain(text) + 20
    });
    500 + plain(&action.sort) + values.sum::<usize>()
}

fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        ' '..='~' => 1,
        _ => 6 * c.len_utf16(),
    }
}

/// Actions in groups that each fit into a transaction, in their order.
pub(super) fn groups(actions: Vec<Action>) -> Vec<Vec<Action>> {
    let (mut groups, mut group, mut total) = (Vec::new(), Vec::new(), 0);
    for action in actions {
        let more = weight(&action);
        if !group.is_empty() && (group.len() == ACTIONS || total + more > WEIGHT) {
            groups.push(std::mem::take(&mut group));
            total = 0;
        }
        total += more;
        group.push(action);
    }
    groups.push(group);
    groups
}

/// An action as an item that waits in [`Place::Batches`].
pub(super) fn staged(batch: &str, n: usize, action: Action) -> Action {
    let mut item = action.put.unwrap_or_else(|| [("gone".to_owned(), number(1))].into());
    item.insert("to".to_owned(), text(action.place.name()));
    item.insert("key".to_owned(), text(action.sort));
    Action { place: Place::Batches, sort: format!("{batch}{n:07}"), put: Some(item) }
}

/// The action that waits in an item, and the item's sort key.
pub(super) fn unstaged(mut item: Item) -> CatalogResult<(String, Action)> {
    let place = match take_text(&mut item, "to")?.as_str() {
        "records" => Place::Records,
        "parts" => Place::Parts,
        _ => return Err(odd()),
    };
    let (sort, staged) = (take_text(&mut item, "key")?, take_text(&mut item, "sk")?);
    item.remove("pk");
    let put = item.remove("gone").is_none().then_some(item);
    Ok((staged, Action { place, sort, put }))
}

/// What the items of a large write begin with. The revision comes first, so that those that no write will ever commit
/// are the ones before the current revision.
pub(super) fn batch(revision: Version, writer: &str) -> String {
    format!("{}/{writer}/", batches(revision))
}

/// What the items of all large writes of a revision begin with; those of earlier ones lie before it.
pub(super) fn batches(revision: Version) -> String {
    format!("{revision:020}")
}

/// A range of sort keys, both ends part of it, neither empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range<'a> {
    /// None: from the start of the partition.
    pub(super) from: Option<&'a str>,
    pub(super) to: &'a str,
    /// Ends that are asked for and not wanted.
    pub(super) without: [Option<&'a str>; 2],
}

/// The range of a scan; none where nothing can be in it. No key has a NUL, and none is sent: whatever begins with what
/// stands before a NUL and goes on lies behind such a bound.
pub(super) fn range(scan: &Scan) -> Option<Range<'_>> {
    let bound = |text: &'_ str| text.find('\0').map_or((text.len(), false), |at| (at, true));
    let ((from, after), (to, with)) = (bound(&scan.from), bound(&scan.to));
    let (from, to) = (&scan.from[..from], &scan.to[..to]);
    if to.is_empty() || from > to {
        return None;
    }
    Some(Range {
        from: (!from.is_empty()).then_some(from),
        to,
        without: [after.then_some(from), (!with).then_some(to)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(from: &str, to: &str) -> Scan {
        Scan { from: from.to_owned(), to: to.to_owned(), reverse: false, limit: 1, bytes: 1 }
    }

    #[test]
    fn ranges_hold_neither_a_nul_nor_an_empty_bound() {
        assert_eq!(range(&scan("", "b")), Some(Range { from: None, to: "b", without: [None, Some("b")] }));
        assert_eq!(range(&scan("a\0", "b\0c")), Some(Range { from: Some("a"), to: "b", without: [Some("a"), None] }));
        assert_eq!(range(&scan("a", "")), None);
        assert_eq!(range(&scan("a", "\0")), None);
        assert_eq!(range(&scan("b", "a")), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_comes_together_again() {
        for text in ["x".repeat(PART + 1), "日".repeat(PART), "🦀".repeat(PART / 2)] {
            let pieces = split(&text);
            assert!(pieces.iter().all(|p| p.len() <= PART) && pieces.concat() == text);
        }
    }

    #[test]
    fn groups_keep_to_both_limits_and_lose_nothing() {
        let action = |size: usize| Action {
            place: Place::Records,
            sort: "k".to_owned(),
            put: Some([("text".to_owned(), text("é".repeat(size)))].into()),
        };
        let sizes = |actions: Vec<Action>| groups(actions).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(Vec::new()), [0]);
        assert_eq!(sizes(vec![action(1); 99]), [99]);
        assert_eq!(sizes(vec![action(1); 100]), [99, 1]);
        assert_eq!(sizes(vec![action(PART / 2); 5]), [3, 2]);
    }

    #[test]
    fn an_action_that_waited_is_the_same() {
        let put =
            Action { place: Place::Parts, sort: "k".to_owned(), put: Some([("text".to_owned(), text("x"))].into()) };
        let delete = Action { place: Place::Records, sort: "k".to_owned(), put: None };
        for action in [put, delete] {
            let waiting = staged("b/", 7, action.clone());
            let mut item = waiting.put.unwrap();
            item.insert("sk".to_owned(), text(waiting.sort));
            item.insert("pk".to_owned(), text("shop/batches"));
            let (sort, back) = unstaged(item).unwrap();
            assert!(sort == "b/0000007" && back == action);
        }
    }
}
