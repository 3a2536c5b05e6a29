//! JSON to [`Node`]s. A reader of our own, because `serde_json` tells no places; it cuts the text and leaves the
//! meaning of each string and number to `serde_json`.

use super::node::{Data, Member, Node, Span, SyntaxError};

/// How deep values may be nested: as deep as `serde_json` goes.
const MAX_DEPTH: usize = 127;

/// Reads a text. A byte order mark at its start is skipped.
pub(super) fn read(text: &str) -> Result<Node, SyntaxError> {
    let mut reader = Reader { text, at: if text.starts_with('\u{feff}') { 3 } else { 0 } };
    let node = reader.value(0)?;
    reader.space();
    if reader.at < text.len() { Err(reader.unexpected("the end of the file")) } else { Ok(node) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fail<T>(&self, span: Span, message: impl Into<String>, hint: Option<&str>) -> Result<T, SyntaxError> {
        Err(SyntaxError { span, message: message.into(), hint: hint.map(str::to_owned) })
    }

    fn unexpected(&self, expected: &str) -> SyntaxError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (length, found, hint) = match rest.chars().next() {
            None => (0, "the end of the file".to_owned(), None),
            Some('/') => (1, "`/`".to_owned(), Some("JSON has no comments")),
            Some('\'') => (1, "`'`".to_owned(), Some("JSON strings stand in double quotes")),
            Some(c @ ('}' | ']')) => (1, format!("`{c}`"), Some("JSON has no comma after the last item")),
            Some(c) if c.is_control() => (c.len_utf8(), "a control character".to_owned(), None),
            Some(c) => (c.len_utf8(), format!("`{c}`"), None),
        };
        SyntaxError {
            span: self.at..self.at + length,
            message: format!("found {found} instead of {expected}"),
            hint: hint.map(str::to_owned),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        self.space();
        let start = self.at;
        if depth > MAX_DEPTH {
            return self.fail(start..start + 1, "values are nested too deeply", None);
        }
        match self.peek() {
            Some(b'{') => self.table(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Node::new(start..start, Data::Text(self.string()?)).to(self.at)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word(),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn table(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        let span = self.at..self.at + 1;
        self.at += 1;
        let mut members: Vec<Member> = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Node::new(span, Data::Table(members)));
        }
        loop {
            self.space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            let key = self.string()?;
            let key_span = start..self.at;
            if members.iter().any(|m| m.key == key) {
                return self.fail(key_span, format!("the key `{key}` is there twice"), Some("remove one of them"));
            }
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.at += 1;
            members.push(Member { key, key_span, node: self.value(depth + 1)? });
            if self.ends(b'}', "`,` or `}`")? {
                return Ok(Node::new(span, Data::Table(members)));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Node::new(start..self.at, Data::List(items)));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.ends(b']', "`,` or `]`")? {
                return Ok(Node::new(start..self.at, Data::List(items)));
            }
        }
    }

    /// After an item: whether the list or table ends here; otherwise a comma was passed.
    fn ends(&mut self, end: u8, expected: &str) -> Result<bool, SyntaxError> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(c) if c == end => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(0x20..) => self.at += 1,
                _ => {
                    return self.fail(start..self.at.min(self.text.len()), "the string has no end on its line", None);
                }
            }
        }
        self.at += 1;
        // The scan stops only after an ASCII byte, so the ends are those of characters.
        let literal = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(literal)
            .or_else(|_| self.fail(start..self.at, "the string has an escape that JSON does not know", None))
    }

    fn number(&mut self) -> Result<Node, SyntaxError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let literal = &self.text[start..self.at];
        match serde_json::from_str::<serde_json::Number>(literal) {
            Ok(n) if n.is_f64() && !literal.contains(['.', 'e', 'E']) => self.fail(
                start..self.at,
                "the number does not fit into 64 bits",
                Some("write it as text, in double quotes"),
            ),
            Ok(n) => Ok(Node::new(start..self.at, Data::Number(n))),
            Err(_) => self.fail(start..self.at, format!("`{literal}` is not a number"), None),
        }
    }

    fn word(&mut self) -> Result<Node, SyntaxError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_')) {
            self.at += 1;
        }
        let data = match &self.text[start..self.at] {
            "null" => Data::Null,
            "true" => Data::Bool(true),
            "false" => Data::Bool(false),
            other => {
                return self.fail(
                    start..self.at,
                    format!("`{other}` is not a value"),
                    Some("text stands in double quotes"),
                );
            }
        };
        Ok(Node::new(start..self.at, data))
    }
}

impl Node {
    /// The node with its end where the reader now stands.
    fn to(mut self, end: usize) -> Self {
        self.span.end = end;
        self
    }
}
