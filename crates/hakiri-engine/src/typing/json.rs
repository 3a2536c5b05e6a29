//! Looking into JSON text without building a tree of it.
//!
//! `serde_json` does the syntax; its [`RawValue`] gives each value's own text. So numbers keep every digit (a
//! `serde_json::Value` would put them through a float), nothing is allocated for values that nobody asks for, and no
//! nesting is too deep for the stack: values are skipped without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::number::write_canonical;

/// The text is not valid JSON, or not of the shape asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What a valid value's first byte says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// The shape of a valid value without white space around it.
pub(super) fn shape(raw: &str) -> Shape {
    match raw.as_bytes().first() {
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::Array,
        Some(b'"') => Shape::String,
        Some(b't') => Shape::True,
        Some(b'f') => Shape::False,
        Some(b'n') | None => Shape::Null,
        Some(_) => Shape::Number,
    }
}

/// The text of a string value. Malformed where it holds half of a surrogate pair.
pub(super) fn string(raw: &str) -> Result<Cow<'_, str>, Malformed> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).ok_or(Malformed)?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| Malformed)
}

/// Calls `each` for every member of an object, in its order, duplicates included: the name and the value's text.
pub(super) fn members<'a>(raw: &'a str, each: &mut dyn FnMut(Cow<'a, str>, &'a str)) -> Result<(), Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_map(Members(each)).and_then(|()| deserializer.end()).map_err(|_| Malformed)
}

/// Calls `each` for every item of an array, in its order.
pub(super) fn items<'a>(raw: &'a str, each: &mut dyn FnMut(&'a str)) -> Result<(), Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_seq(Items(each)).and_then(|()| deserializer.end()).map_err(|_| Malformed)
}

struct Members<'f, 'a>(&'f mut dyn FnMut(Cow<'a, str>, &'a str));

impl<'a> Visitor<'a> for Members<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let value: &'a RawValue = map.next_value()?;
            (self.0)(name, value.get());
        }
        Ok(())
    }
}

struct Items<'f, 'a>(&'f mut dyn FnMut(&'a str));

impl<'a> Visitor<'a> for Items<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<(), S::Error> {
        while let Some(value) = seq.next_element::<&'a RawValue>()? {
            (self.0)(value.get());
        }
        Ok(())
    }
}

/// A member's name, borrowed where it has no escapes (`Cow` itself always copies).
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }

            fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Name<'de>, E> {
                Err(E::custom("a name that is not text"))
            }
        }
        deserializer.deserialize_str(Text).map_err(D::Error::custom)
    }
}

/// Whether a text is one valid JSON value; its text without white space around it.
pub(super) fn valid(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

/// Appends a text as a JSON string.
pub(super) fn write_string(text: &str, out: &mut String) {
    let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        // Writing a string cannot fail; without the text the value would only be empty, never wrong syntax.
        out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()));
    }
}

/// Appends a valid value as canonical compact JSON: no white space, numbers by their canonical text, strings with the
/// fewest escapes, members in the source's order (duplicates too). Without recursion, so that depth does not matter.
pub(super) fn compact(raw: &str, out: &mut String) -> Result<(), Malformed> {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let end = match byte {
            b'"' => {
                let mut end = at + 1;
                loop {
                    match bytes.get(end).ok_or(Malformed)? {
                        b'"' => break end + 1,
                        b'\\' => end += 2,
                        _ => end += 1,
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                at + bytes.get(at..).map_or(0, |b| {
                    b.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count()
                })
            }
            _ => at + 1,
        };
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => write_string(&string(raw.get(at..end).ok_or(Malformed)?)?, out),
            b'-' | b'0'..=b'9' => write_canonical(raw.get(at..end).ok_or(Malformed)?, out),
            _ => out.push(char::from(byte)),
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(raw: &str) -> String {
        let mut out = String::new();
        compact(valid(raw).unwrap(), &mut out).unwrap();
        out
    }

    #[test]
    fn compact_json_is_one_text_for_one_value() {
        assert_eq!(
            compacted(r#" { "b" : [ 1.50 , -0, 1e2 ], "a":"x\u0041\/\"\n" , "b":null} "#),
            r#"{"b":[1.5,0,100],"a":"xA/\"\n","b":null}"#
        );
        assert_eq!(compacted(r#""  \\\" ""#), r#""  \\\" ""#);
        assert_eq!(compacted("12345678901234567890.123456789"), "12345678901234567890.123456789");
        let deep = format!("{}1.0{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(compacted(&deep), deep.replace("1.0", "1"));
        assert_eq!(compact(r#""\ud800""#, &mut String::new()), Err(Malformed));
    }

    #[test]
    fn members_come_in_order_with_their_own_text() {
        let mut seen = Vec::new();
        members(r#" {"a": 1.0, "\u0062": {"x": [ ]}, "a": "y"} "#, &mut |n, v| {
            seen.push((n.into_owned(), v.to_owned()))
        })
        .unwrap();
        let expected =
            [("a", "1.0"), ("b", r#"{"x": [ ]}"#), ("a", "\"y\"")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(seen, expected);
        for bad in ["", "[]", "1", "{", "{}x", "{\"a\":}", "{\"a\":1,}", "{\"a\":tru}", r#"{"\ud800":1}"#] {
            assert_eq!(members(bad, &mut |_, _| ()), Err(Malformed), "{bad}");
        }
    }
}
