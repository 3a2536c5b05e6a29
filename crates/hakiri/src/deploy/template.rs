//! Filling templates: real files beside each generator, with place-holders.
//!
//! `{{name}}` stands for one value; a line that holds nothing but `{{name}}` stands for any number of lines, each
//! indented like it, or for none. A value cannot bring a place-holder of its own: what was filled in is not read again.
//! How a value is written depends on the format around it, so that a generator passes values through [`unit`], [`yaml`]
//! or [`shell`], and the manifest's rules keep out what no format could take. A template engine would bring conditions
//! and loops; those belong into the generator, where tests reach them.

use std::collections::BTreeMap;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use super::FORMAT;

/// Values by the name of their place-holder.
#[derive(Debug, Default)]
pub struct Values(BTreeMap<&'static str, Vec<String>>);

impl Values {
    /// The version of what is generated, which the head of every file names.
    #[must_use]
    pub fn headed() -> Self {
        Self::default().with("format", FORMAT.to_string())
    }

    /// One value, in its written form.
    #[must_use]
    pub fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        self.with_lines(name, vec![value.into()])
    }

    /// Any number of lines.
    #[must_use]
    pub fn with_lines(mut self, name: &'static str, lines: Vec<String>) -> Self {
        self.0.insert(name, lines);
        self
    }

    /// These as well.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Only those that a template has a place for.
    #[must_use]
    pub fn in_use(mut self, template: &str) -> Self {
        self.0.retain(|name, _| template.contains(&format!("{{{{{name}}}}}")));
        self
    }

    /// The text of a template with all place-holders filled.
    ///
    /// # Errors
    /// `HK0001` for a place-holder without a value, a value without a place-holder, or lines within a line.
    pub fn fill(&self, template: &str) -> Result<String> {
        let mut unused: Vec<&str> = self.0.keys().copied().collect();
        let mut out = String::with_capacity(template.len() * 2);
        for line in template.split_inclusive('\n') {
            let indent = &line[..line.len() - line.trim_start().len()];
            if let Some(name) = line.trim().strip_prefix("{{").and_then(|l| l.strip_suffix("}}")) {
                for value in self.get(name)? {
                    out.push_str(if value.is_empty() { "" } else { indent });
                    out.push_str(value);
                    out.push('\n');
                }
                unused.retain(|n| *n != name);
                continue;
            }
            let mut rest = line;
            while let Some((before, after)) = rest.split_once("{{") {
                let (name, after) = after.split_once("}}").ok_or_else(|| wrong("has an open place-holder", line))?;
                let [value] = self.get(name)? else { return Err(wrong("has several lines for", name)) };
                out.push_str(before);
                out.push_str(value);
                unused.retain(|n| *n != name);
                rest = after;
            }
            out.push_str(rest);
        }
        match unused.first() {
            Some(name) => Err(wrong("has no place for", name)),
            None => Ok(out),
        }
    }

    fn get(&self, name: &str) -> Result<&[String]> {
        self.0.get(name).map(Vec::as_slice).ok_or_else(|| wrong("has no value for", name))
    }
}

fn wrong(what: &str, name: &str) -> Error {
    Error::new(Code::Internal, format!("a template {what} `{}`", name.trim()))
}

/// A value in a unit file: `%` and `$` are literal.
pub fn unit(value: &str) -> String {
    value.replace('%', "%%").replace('$', "$$")
}

/// A value in a Compose file: a quoted text in which `$` is literal.
pub fn yaml(value: &str) -> String {
    // JSON's quoted text is one of YAML, with the same escapes.
    quoted(&value.replace('$', "$$"))
}

/// A text as JSON and YAML both quote it.
pub fn quoted(value: &str) -> String {
    serde_json::Value::String(value.to_owned()).to_string()
}

/// A word of a shell command.
pub fn shell(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':' | '=' | '@' | ',');
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_lines_are_filled_in_and_never_read_again() {
        let values = Values::default().with("a", "{{b}}").with_lines("b", vec!["x".into(), "y".into()]);
        assert_eq!(values.fill("1 {{a}} {{a}}\n  {{b}}\n").unwrap(), "1 {{b}} {{b}}\n  x\n  y\n");
        let none = Values::default().with_lines("b", Vec::new());
        assert_eq!(none.fill("1\n  {{b}}\n2\n").unwrap(), "1\n2\n");
        let gap = Values::default().with_lines("b", vec!["x".into(), String::new(), "y".into()]);
        assert_eq!(gap.fill("  {{b}}\n").unwrap(), "  x\n\n  y\n", "an empty line has no spaces");
    }

    #[test]
    fn a_missing_an_unused_and_a_broken_place_holder_are_errors() {
        let values = || Values::default().with("a", "1");
        assert!(values().fill("{{a}} {{c}}").is_err(), "missing");
        assert!(values().fill("nothing").is_err(), "unused");
        assert!(values().fill("x {{a").is_err(), "open");
        assert!(Values::default().with_lines("a", Vec::new()).fill("x {{a}}").is_err(), "lines within a line");
    }

    #[test]
    fn values_are_literal_in_every_format() {
        assert_eq!(unit("50% of $HOME"), "50%% of $$HOME");
        assert_eq!(yaml("a\"b\n${X}"), r#""a\"b\n$${X}""#);
        assert_eq!((shell("a/b.c"), shell("it's"), shell("")), ("a/b.c".into(), r"'it'\''s'".into(), "''".into()));
    }
}
