//! [`Type`] from text: the inverse of its `Display`, for the manifest's `types`.

use super::{Field, Type};
use crate::codes::Code;
use crate::cursor::TimeUnit;
use crate::error::{Error, Result};

/// How deep types may be nested in text: enough for anything sensible, far from the end of the stack.
const MAX_DEPTH: usize = 64;

/// The names of all types, for suggestions.
const NAMES: [&str; 22] = [
    "null",
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "decimal",
    "text",
    "json",
    "binary",
    "date",
    "time",
    "timestamp",
    "duration",
    "list",
    "struct",
];

impl Type {
    /// Reads what `Display` prints: `int64`, `decimal(18,2)`, `timestamp(us, utc)`, `list<text>`,
    /// `struct<id: int64, name: text>`. White space is free. Names of struct fields may hold anything but `:`, `,`,
    /// `<` and `>`.
    ///
    /// # Errors
    /// `HK0110`, with a suggestion.
    pub fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader { whole: text, rest: text };
        let ty = reader.ty(0)?;
        if reader.rest.trim().is_empty() { Ok(ty) } else { Err(reader.bad("more text than one type")) }
    }
}

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn bad(&self, why: &str) -> Error {
        Error::new(Code::ManifestValue, format!("`{}` is not a type: {why}", self.whole))
            .with_hint("write for example int64, decimal(18,2), text, date, timestamp(us, utc), list<text> or json")
    }

    fn eat(&mut self, token: char) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(token) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: char) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.bad(&format!("`{token}` is missing"))) }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(rest.len());
        self.rest = &rest[end..];
        &rest[..end]
    }

    fn number<N: std::str::FromStr>(&mut self, what: &str) -> Result<N> {
        self.word().parse().map_err(|_| self.bad(&format!("{what} is not a number that fits")))
    }

    fn unit(&mut self) -> Result<TimeUnit> {
        Ok(match self.word() {
            "s" => TimeUnit::Second,
            "ms" => TimeUnit::Millisecond,
            "us" => TimeUnit::Microsecond,
            "ns" => TimeUnit::Nanosecond,
            _ => return Err(self.bad("the unit is one of s, ms, us and ns")),
        })
    }

    fn ty(&mut self, depth: usize) -> Result<Type> {
        if depth > MAX_DEPTH {
            return Err(self.bad("it is nested too deeply"));
        }
        let name = self.word();
        let ty = match name {
            "null" => Type::Null,
            "bool" => Type::Bool,
            "int8" => Type::Int8,
            "int16" => Type::Int16,
            "int32" => Type::Int32,
            "int64" => Type::Int64,
            "uint8" => Type::Uint8,
            "uint16" => Type::Uint16,
            "uint32" => Type::Uint32,
            "uint64" => Type::Uint64,
            "float32" => Type::Float32,
            "float64" => Type::Float64,
            "text" => Type::Text,
            "json" => Type::Json,
            "date" => Type::Date,
            "decimal" => {
                self.need('(')?;
                let precision: u8 = self.number("the precision")?;
                self.need(',')?;
                let scale: i8 = self.number("the scale")?;
                self.need(')')?;
                if !(1..=76).contains(&precision) || i16::from(scale) > i16::from(precision) || scale < -76 {
                    return Err(self.bad("a decimal has 1 to 76 digits, at most all of them after the point"));
                }
                Type::Decimal { precision, scale }
            }
            "binary" if self.eat('(') => {
                let length = self.number("the length")?;
                self.need(')')?;
                if length == 0 || length > i32::MAX.unsigned_abs() {
                    return Err(self.bad("the length is out of range"));
                }
                Type::FixedBinary { length }
            }
            "binary" => Type::Binary,
            "time" | "duration" => {
                self.need('(')?;
                let unit = self.unit()?;
                self.need(')')?;
                if name == "time" { Type::Time { unit } } else { Type::Duration { unit } }
            }
            "timestamp" => {
                self.need('(')?;
                let unit = self.unit()?;
                let utc = self.eat(',');
                if utc && self.word() != "utc" {
                    return Err(self.bad("after the unit only `utc` may stand"));
                }
                self.need(')')?;
                Type::Timestamp { unit, utc }
            }
            "list" => {
                self.need('<')?;
                let item = Box::new(self.ty(depth + 1)?);
                self.need('>')?;
                Type::List { item }
            }
            "struct" => {
                self.need('<')?;
                Type::Struct { fields: self.fields(depth)? }
            }
            other => return Err(self.unknown(other)),
        };
        Ok(ty)
    }

    fn fields(&mut self, depth: usize) -> Result<Vec<Field>> {
        let mut fields: Vec<Field> = Vec::new();
        if self.eat('>') {
            return Ok(fields);
        }
        loop {
            let rest = self.rest;
            let end = rest.find([':', ',', '<', '>']).filter(|&i| rest[i..].starts_with(':'));
            let Some(end) = end else {
                return Err(self.bad("a field of a struct is written `name: type`"));
            };
            self.rest = &rest[end + 1..];
            let name = rest[..end].trim();
            if fields.iter().any(|f| f.name == name) {
                return Err(self.bad(&format!("the field `{name}` is there twice")));
            }
            fields.push(Field::new(name, self.ty(depth + 1)?));
            if self.eat('>') {
                return Ok(fields);
            }
            self.need(',')?;
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let meant = match name.to_ascii_lowercase().as_str() {
            "string" | "varchar" | "str" | "utf8" => Some("text"),
            "int" | "integer" | "bigint" | "long" => Some("int64"),
            "float" | "double" | "real" => Some("float64"),
            "boolean" => Some("bool"),
            "numeric" | "number" => Some("decimal(18,2)"),
            "bytes" | "blob" => Some("binary"),
            "datetime" | "timestamptz" => Some("timestamp(us, utc)"),
            "array" => Some("list<text>"),
            lower => NAMES
                .into_iter()
                .filter(|n| strsim::damerau_levenshtein(n, lower) <= 2)
                .min_by_key(|n| strsim::damerau_levenshtein(n, lower)),
        };
        let error = self.bad(&if name.is_empty() {
            "the name is missing".to_owned()
        } else {
            format!("there is no type `{name}`")
        });
        match meant {
            Some(meant) => error.with_hint(format!("did you mean `{meant}`?")),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_reads_what_display_prints() {
        for text in [
            "null",
            "bool",
            "int8",
            "uint64",
            "float32",
            "decimal(18,2)",
            "decimal(5,-2)",
            "text",
            "json",
            "binary",
            "binary(16)",
            "date",
            "time(ms)",
            "timestamp(us, utc)",
            "timestamp(ns)",
            "duration(s)",
            "list<list<int64>>",
            "struct<>",
            "struct<id: int64, tags: list<text>, a b: struct<x: date>>",
        ] {
            assert_eq!(Type::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Type::parse(" decimal ( 18 , 2 ) ").unwrap(), Type::Decimal { precision: 18, scale: 2 });
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_was_meant() {
        for (text, message, hint) in [
            ("string", "`string` is not a type: there is no type `string`", "did you mean `text`?"),
            (
                "timestmap(us)",
                "`timestmap(us)` is not a type: there is no type `timestmap`",
                "did you mean `timestamp`?",
            ),
            (
                "decimal(77,2)",
                "`decimal(77,2)` is not a type: a decimal has 1 to 76 digits, at most all of them after the point",
                "",
            ),
            ("decimal(18)", "`decimal(18)` is not a type: `,` is missing", ""),
            ("timestamp(us, cet)", "`timestamp(us, cet)` is not a type: after the unit only `utc` may stand", ""),
            ("list<text", "`list<text` is not a type: `>` is missing", ""),
            ("text text", "`text text` is not a type: more text than one type", ""),
            ("struct<a: text, a: text>", "`struct<a: text, a: text>` is not a type: the field `a` is there twice", ""),
            ("", "`` is not a type: the name is missing", ""),
        ] {
            let error = Type::parse(text).unwrap_err();
            assert_eq!((error.code(), error.message()), (Code::ManifestValue, message));
            assert!(error.hint().contains(hint), "{}", error.hint());
        }
        assert!(Type::parse(&"list<".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn it_never_panics(text in "[a-z0-9<>(),: é-]{0,40}") {
            let _ = Type::parse(&text);
        }
    }
}
