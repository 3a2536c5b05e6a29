//! Texts with holes: `{orders.id}` in paths and parameters, `{{cursor}}` in bodies.

use serde_json::Value;

/// A piece of a text with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// A hole's name.
    Hole(String),
}

/// Splits a text at its holes. What does not look like one (`{ "a": 1 }`, `{}`) is text.
pub fn parse(text: &str, open: &str, close: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(open) {
        let inside = &rest[start + open.len()..];
        let name = inside.find(close).map(|end| (inside[..end].trim(), end));
        match name {
            Some((name, end)) if is_name(name) && !before_dollar(&rest[..start]) => {
                literal.push_str(&rest[..start]);
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Hole(name.to_owned()));
                rest = &inside[end + close.len()..];
            }
            _ => {
                literal.push_str(&rest[..start + open.len()]);
                rest = inside;
            }
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}

/// `${NAME}` is a secret, not a hole.
fn before_dollar(text: &str) -> bool {
    text.ends_with('$')
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@'))
}

/// The holes in the texts of a body.
pub fn holes(body: &Value) -> Vec<String> {
    match body {
        Value::String(text) => parse(text, "{{", "}}")
            .into_iter()
            .filter_map(|p| if let Piece::Hole(name) = p { Some(name) } else { None })
            .collect(),
        Value::Array(items) => items.iter().flat_map(holes).collect(),
        Value::Object(map) => map.values().flat_map(holes).collect(),
        _ => Vec::new(),
    }
}

/// Fills the holes of a body. A text that is one hole takes the value's type; without a value, it becomes null in an
/// array and is left out of an object. Inside a longer text a value is written out, and nothing for no value.
pub fn fill(body: &Value, value: &dyn Fn(&str) -> Option<Value>) -> Value {
    filled(body, value).unwrap_or(Value::Null)
}

fn filled(body: &Value, value: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
    Some(match body {
        Value::String(text) => match parse(text, "{{", "}}").as_slice() {
            [Piece::Hole(name)] => return value(name),
            pieces => Value::String(
                pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => text.clone(),
                        Piece::Hole(name) => match value(name) {
                            Some(Value::String(text)) => text,
                            Some(other) => other.to_string(),
                            None => String::new(),
                        },
                    })
                    .collect(),
            ),
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| fill(item, value)).collect()),
        Value::Object(map) => {
            Value::Object(map.iter().filter_map(|(key, item)| Some((key.clone(), filled(item, value)?))).collect())
        }
        other => other.clone(),
    })
}

/// A text as one segment of a path: everything but unreserved characters is percent-encoded (RFC 3986, section 2.3).
pub fn encode_segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn holes_are_found_and_other_braces_are_text() {
        let hole = |n: &str| Piece::Hole(n.into());
        let text = |t: &str| Piece::Text(t.into());
        assert_eq!(parse("/o/{orders.id}/l", "{", "}"), [text("/o/"), hole("orders.id"), text("/l")]);
        assert_eq!(parse("{\"a\": 1}{}", "{", "}"), [text("{\"a\": 1}{}")]);
        assert_eq!(parse("${TOKEN}", "{", "}"), [text("${TOKEN}")]);
        assert_eq!(parse("query { a { b } }", "{{", "}}"), [text("query { a { b } }")]);
        assert_eq!(parse("{{ cursor }}", "{{", "}}"), [hole("cursor")]);
    }

    #[test]
    fn bodies_keep_types_and_leave_out_what_has_no_value() {
        let body =
            json!({"a": "{{n}}", "b": "x{{n}}y{{none}}", "c": "{{none}}", "d": ["{{none}}", "{{t}}"], "e": {"f": 1.5}});
        let filled = fill(&body, &|name| match name {
            "n" => Some(json!(7)),
            "t" => Some(json!("${SECRET}")),
            _ => None,
        });
        assert_eq!(filled, json!({"a": 7, "b": "x7y", "d": [null, "${SECRET}"], "e": {"f": 1.5}}));
        assert_eq!(holes(&body).len(), 6);
    }

    #[test]
    fn segments_cannot_leave_their_place() {
        assert_eq!(encode_segment("a/b?c#d%2e é"), "a%2Fb%3Fc%23d%252e%20%C3%A9");
    }
}
