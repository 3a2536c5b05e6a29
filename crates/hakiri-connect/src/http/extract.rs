//! Finding things in an answer without reading its numbers.
//!
//! A record is handed on as the very text the API sent: parsing it here and writing it again would round numbers that
//! pass 2^53 and decimals with many digits. So paths are followed over raw JSON text, and only what pagination needs
//! (a flag, a token) is ever turned into a value.

use std::borrow::Cow;
use std::fmt;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// It ends at, or passes through, a null.
    Null,
    /// A segment does not exist; the keys that are there instead, or what is there instead of an object.
    Absent {
        /// The path up to and with the segment that is missing.
        path: String,
        /// What is there instead, for people: names, never values.
        there: String,
    },
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((Cow::Owned(key), value));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Walk).map(Members)
    }
}

/// The members of an object, in their order; nothing for any other value.
pub fn members(raw: &RawValue) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    serde_json::from_str::<Members<'_>>(raw.get()).ok().map(|m| m.0)
}

/// The items of an array; nothing for any other value.
pub fn items(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// What a value is, with its article.
pub fn kind(raw: &RawValue) -> &'static str {
    match raw.get().trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Whether a value is null.
pub fn is_null(raw: &RawValue) -> bool {
    kind(raw) == "null"
}

/// The one value at a path. Segments are keys; digits also index arrays. An empty path is the value itself.
///
/// # Errors
/// Where the path leads nowhere.
pub fn at<'a>(root: &'a RawValue, path: &str) -> Result<&'a RawValue, Miss> {
    let mut here = root;
    if path.is_empty() {
        return Ok(here);
    }
    let mut done = 0;
    for segment in path.split('.') {
        done += segment.len() + 1;
        here = step(here, segment, &path[..(done - 1).min(path.len())])?;
    }
    Ok(here)
}

fn step<'a>(here: &'a RawValue, segment: &str, so_far: &str) -> Result<&'a RawValue, Miss> {
    if let Some(members) = members(here) {
        // The last of two equal keys counts, as it does wherever the record is read.
        if let Some((_, value)) = members.iter().rev().find(|(key, _)| key == segment) {
            return Ok(value);
        }
        return Err(Miss::Absent { path: so_far.to_owned(), there: names(&members) });
    }
    if is_null(here) {
        return Err(Miss::Null);
    }
    if let (Ok(index), Some(items)) = (segment.parse::<usize>(), items(here)) {
        return items
            .get(index)
            .copied()
            .ok_or_else(|| Miss::Absent { path: so_far.to_owned(), there: format!("{} items", items.len()) });
    }
    Err(Miss::Absent { path: so_far.to_owned(), there: kind(here).to_owned() })
}

/// The records at a path; `*` stands for every item of an array. What the path ends at may be the array of records, or
/// one record.
///
/// # Errors
/// Where the path leads nowhere.
pub fn records<'a>(root: &'a RawValue, path: &str) -> Result<Vec<&'a RawValue>, Miss> {
    match path.split_once('*') {
        None => {
            let found = at(root, path)?;
            if is_null(found) {
                return Err(Miss::Null);
            }
            Ok(items(found).unwrap_or_else(|| vec![found]))
        }
        Some((before, after)) => {
            let list = at(root, before.trim_end_matches('.'))?;
            if is_null(list) {
                return Err(Miss::Null);
            }
            let Some(list) = items(list) else {
                return Err(Miss::Absent { path: format!("{before}*"), there: kind(list).to_owned() });
            };
            let after = after.trim_start_matches('.');
            let mut all = Vec::with_capacity(list.len());
            for item in list {
                if after.is_empty() {
                    all.push(item);
                } else {
                    all.extend(records(item, after)?);
                }
            }
            Ok(all)
        }
    }
}

fn names(members: &[(Cow<'_, str>, &RawValue)]) -> String {
    if members.is_empty() {
        return "no key at all".to_owned();
    }
    let mut out: Vec<String> =
        members.iter().take(12).map(|(key, _)| format!("`{}`", key.chars().take(40).collect::<String>())).collect();
    if members.len() > 12 {
        out.push(format!("{} more", members.len() - 12));
    }
    out.join(", ")
}

/// A value as the text of a parameter: texts without quotes, numbers digit by digit, booleans. Nothing for the rest.
pub fn scalar(raw: &RawValue) -> Option<String> {
    match kind(raw) {
        "a text" => serde_json::from_str(raw.get()).ok(),
        "a number" | "a boolean" => Some(raw.get().to_owned()),
        _ => None,
    }
}

/// A record with members added at its end. One that the record has itself is left as it is.
pub fn extend(record: &RawValue, extra: &[(String, Box<RawValue>)]) -> String {
    let text = record.get();
    let Some(own) = members(record).filter(|_| !extra.is_empty()) else {
        return text.to_owned();
    };
    let Some(body) = text.trim_end().strip_suffix('}') else {
        return text.to_owned();
    };
    let mut out = String::with_capacity(text.len() + 32 * extra.len());
    out.push_str(body.trim_end());
    let mut comma = !own.is_empty();
    for (key, value) in extra.iter().filter(|(key, _)| !own.iter().any(|(k, _)| k == key)) {
        if comma {
            out.push(',');
        }
        comma = true;
        out.push_str(&serde_json::Value::String(key.clone()).to_string());
        out.push(':');
        out.push_str(value.get());
    }
    out.push('}');
    out
}

/// The error for a path that leads nowhere.
pub fn shape(what: &str, path: &str, miss: &Miss) -> Error {
    match miss {
        Miss::Null => Error::new(Code::HttpShape, format!("`{path}`, which should hold {what}, is null"))
            .with_hint("set records_optional = true if the API means that there are none"),
        Miss::Absent { path: at, there } => Error::new(
            Code::HttpShape,
            format!("the answer has no `{at}`, which should lead to {what}; there is {there}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn paths_are_followed_and_text_is_kept_digit_by_digit() {
        let body = raw(r#" {"data": {"items": [ {"id": 12345678901234567890.10, "a": 1e400} , 2 ]}, "n": null} "#);
        let found = records(&body, "data.items").unwrap();
        assert_eq!(
            found.iter().map(|r| r.get()).collect::<Vec<_>>(),
            [r#"{"id": 12345678901234567890.10, "a": 1e400}"#, "2"]
        );
        assert_eq!(at(&body, "data.items.0.id").unwrap().get(), "12345678901234567890.10");
        assert_eq!(records(&body, "data.items.0").unwrap().len(), 1);
        assert_eq!(records(&body, "n").unwrap_err(), Miss::Null);
        assert_eq!(records(&body, "n.x").unwrap_err(), Miss::Null);
        let miss = records(&body, "data.rows").unwrap_err();
        assert_eq!(miss, Miss::Absent { path: "data.rows".into(), there: "`items`".into() });
        assert_eq!(
            shape("the records", "data.rows", &miss).message(),
            "the answer has no `data.rows`, which should lead to the records; there is `items`"
        );
    }

    #[test]
    fn a_star_walks_over_an_array() {
        let body = raw(r#"{"e":[{"node":{"a":1}},{"node":{"a":2}}]}"#);
        assert_eq!(
            records(&body, "e.*.node").unwrap().iter().map(|r| r.get()).collect::<Vec<_>>(),
            [r#"{"a":1}"#, r#"{"a":2}"#]
        );
        assert_eq!(records(&raw("[[1],[2,3]]"), "*").unwrap().len(), 2);
    }

    #[test]
    fn members_are_added_once_and_only_to_objects() {
        let extra = vec![("p".to_owned(), raw("1.50")), ("a".to_owned(), raw("9"))];
        assert_eq!(extend(&raw(r#"{"a":1 }"#), &extra), r#"{"a":1,"p":1.50}"#);
        assert_eq!(extend(&raw("{ }"), &extra), r#"{"p":1.50,"a":9}"#);
        assert_eq!(extend(&raw("[1]"), &extra), "[1]");
    }

    #[test]
    fn escaped_and_repeated_keys_are_understood() {
        assert_eq!(at(&raw(r#"{"\u0061":1,"a":2}"#), "a").unwrap().get(), "2");
    }
}
