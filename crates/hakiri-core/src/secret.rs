//! Secrets: they enter at run time, by name, and never land anywhere (P8).
//!
//! Messages that quote a source go through [`Secrets::redact`], which knows a value also as URLs, JSON and base64 spell
//! it. Values shorter than four bytes can only be found as whole words, and those of `HAKIRI_…` variables that short are
//! settings (`HAKIRI_PAGE=50`), not secrets: they are not looked for. A real secret is longer.

mod redact;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::codes::Code;
use crate::error::{Error, Result};
use crate::url::Authority;

/// A value that does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The secrets of one pipeline, by name.
#[derive(Clone, Default, Debug)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// From names and values.
    pub fn new(values: impl IntoIterator<Item = (String, Secret)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// One secret.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// These, and of another source those that are not among them.
    #[must_use]
    pub fn or(mut self, others: Secrets) -> Self {
        for (name, value) in others.0 {
            self.0.entry(name).or_insert(value);
        }
        self
    }

    /// Replaces every `${NAME}` in the texts of a JSON value.
    ///
    /// # Errors
    /// `HK0112` for a name without a value.
    pub fn resolve(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) => Value::String(self.resolve_text(text)?),
            Value::Array(items) => Value::Array(items.iter().map(|v| self.resolve(v)).collect::<Result<_>>()?),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(k, v)| Ok((k.clone(), self.resolve(v)?))).collect::<Result<_>>()?)
            }
            other => other.clone(),
        })
    }

    /// Replaces every `${NAME}` in a text.
    ///
    /// # Errors
    /// `HK0112` for a name without a value.
    pub fn resolve_text(&self, text: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len());
        for piece in references(text) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => match self.0.get(name) {
                    Some(secret) => out.push_str(secret.expose()),
                    None => {
                        return Err(Error::new(Code::SecretMissing, format!("the secret {name} has no value"))
                            .with_hint(format!("set {name} in the environment or in .env")));
                    }
                },
            }
        }
        Ok(out)
    }

    /// Replaces every secret value in a text by `[secret]`: the last line of defence, for messages that quote a source.
    ///
    /// Found are the value itself, percent-encoded in any way (also twice), with the escapes of JSON, HTML and programs,
    /// and in base64 (both alphabets, with and without padding, also inside of a longer text); also where the text breaks
    /// off within it. Values of one to three bytes are found as whole words only, see the module.
    pub fn redact(&self, text: &str) -> String {
        let wanted = |(name, value): &(&String, &Secret)| {
            !is_setting(name, &value.0) && (value.0.len() >= redact::LONG || !name.starts_with("HAKIRI_"))
        };
        redact::redact(text, self.0.iter().filter(wanted).map(|(_, value)| value.expose()))
    }

    /// An error whose message, hint and place went through [`Self::redact`]; its code and kind stay.
    #[must_use]
    pub fn redact_error(&self, error: &Error) -> Error {
        let clean = Error::new(error.code(), self.redact(error.message()))
            .with_kind(error.kind())
            .with_hint(self.redact(error.hint()));
        match error.place() {
            Some(place) => clean.at(self.redact(place)),
            None => clean,
        }
    }
}

/// A piece of a text with `${NAME}` references.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Literal text.
    Text(&'a str),
    /// The name in `${NAME}`.
    Name(&'a str),
}

/// Whether a URL holds a password as it is instead of a `${NAME}`: it would stand in the manifest, in plans and in the
/// catalog (P8).
pub fn has_plain_password(url: &str) -> bool {
    let password = Authority::of(url).and_then(Authority::password);
    password.is_some_and(|p| !p.is_empty() && !p.contains("${"))
}

/// Splits a text at its `${NAME}` references. A `${` without a valid name or end is literal text.
pub fn references(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(start) = rest[from..].find("${").map(|i| i + from) {
        match rest[start + 2..].find('}') {
            Some(len) if is_name(&rest[start + 2..start + 2 + len]) => {
                if start > 0 {
                    pieces.push(Piece::Text(&rest[..start]));
                }
                pieces.push(Piece::Name(&rest[start + 2..start + 2 + len]));
                (rest, from) = (&rest[start + 3 + len..], 0);
            }
            _ => from = start + 2,
        }
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// Whether a variable says how the process is set up: where its catalog and store are must stand in its messages.
fn is_setting(name: &str, value: &str) -> bool {
    ["HAKIRI_CATALOG", "HAKIRI_STORE", "HAKIRI_ENV", "HAKIRI_MEMORY", "HAKIRI_SECRETS", "HAKIRI_CACHE"].contains(&name)
        && !has_plain_password(value)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_told_from_the_name_of_one() {
        for plain in ["postgres://u:secret@h/d", "https://a:b@h", "postgres://u:p@w@h/d"] {
            assert!(has_plain_password(plain), "{plain}");
        }
        for fine in
            ["postgres://u:${P}@h/d", "postgres://u@h:5432/d", "${URL}", "https://h:80/a:b@c", "postgres://u:@h/d"]
        {
            assert!(!has_plain_password(fine), "{fine}");
        }
    }

    #[test]
    fn references_are_found_and_everything_else_is_text() {
        use Piece::{Name, Text};
        assert_eq!(references("a${B}c${D_1}"), [Text("a"), Name("B"), Text("c"), Name("D_1")]);
        assert_eq!(references("${"), [Text("${")]);
        assert_eq!(references("${1}${X}"), [Text("${1}"), Name("X")]);
        assert_eq!(references("$X {Y}"), [Text("$X {Y}")]);
    }

    #[test]
    fn values_are_resolved_and_redacted() {
        let secrets = Secrets::new([("TOKEN".to_owned(), Secret::new("s3cr3t-canary"))]);
        assert_eq!(secrets.resolve_text("Bearer ${TOKEN}").unwrap(), "Bearer s3cr3t-canary");
        assert_eq!(secrets.resolve_text("${NOPE}").unwrap_err().code(), Code::SecretMissing);
        assert_eq!(secrets.redact("got s3cr3t-canary back"), "got [secret] back");
        assert!(!format!("{secrets:?}").contains("canary"));
    }

    #[test]
    fn errors_lose_secrets_everywhere_and_keep_code_and_kind() {
        let secrets = Secrets::new([
            ("TOKEN".to_owned(), Secret::new("a/b c?d")),
            ("HAKIRI_PAGE".to_owned(), Secret::new("50")),
            ("PIN".to_owned(), Secret::new("77")),
        ]);
        let set = |name: &str, value: &str| Secrets::new([(name.to_owned(), Secret::new(value))]);
        assert_eq!(set("HAKIRI_STORE", "s3://shop").redact("at s3://shop"), "at s3://shop");
        let url = "postgres://u:secret@h/d";
        assert_eq!(set("HAKIRI_CATALOG", url).redact(url), "[secret]");
        let both = set("A", "first").or(set("A", "second")).or(set("B", "third"));
        assert_eq!((both.get("A"), both.get("B")), (Some(&Secret::new("first")), Some(&Secret::new("third"))));
        let error = Error::new(Code::HttpStatus, "status 50 of a%2Fb+c%3Fd, pin 77")
            .with_kind(crate::error::Kind::Transient)
            .with_hint("not a/b%20c?d")
            .at("http://x/a%2Fb%20c%3Fd");
        let clean = secrets.redact_error(&error);
        assert_eq!(clean.message(), "status 50 of [secret], pin [secret]");
        assert_eq!((clean.hint(), clean.place()), ("not [secret]", Some("http://x/[secret]")));
        assert_eq!((clean.code(), clean.kind()), (Code::HttpStatus, crate::error::Kind::Transient));
    }
}
