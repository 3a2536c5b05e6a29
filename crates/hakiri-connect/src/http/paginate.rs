//! Pagination as a state machine without I/O: what the next request asks for, and when there is none.
//!
//! Every kind has the same two ways to go wrong: never ending (a server that ignores the parameter repeats its first
//! page for ever; `HK0506`) and ending too early (a page shorter than was asked for, because the server caps the size).
//! Both are decided here, for all kinds.

use std::collections::HashSet;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::hash::Hash;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::config::{Paginate, Stop};
use super::extract::{self, Miss};

/// What the next request carries besides the resource's own parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// Query parameters.
    pub params: Vec<(String, String)>,
    /// Values for the body's place-holders, by name.
    pub values: Vec<(&'static str, Value)>,
    /// The URL, where the API gave one; absolute or relative to the last one.
    pub url: Option<String>,
}

/// What a page tells about the next.
#[derive(Debug)]
pub struct Facts<'a> {
    /// How many records it held, before any were left out.
    pub count: usize,
    /// The answer.
    pub body: &'a RawValue,
    /// Its last record.
    pub last: Option<&'a RawValue>,
    /// The URL with `rel="next"` in its header `Link`.
    pub link: Option<String>,
}

/// The next page of a sequence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Page number, or offset.
    number: i64,
    /// Token for the next page.
    token: Option<Token>,
    /// URL of the next page.
    pub url: Option<String>,
    /// What the server's largest page turned out to be, when it is not what was asked for.
    cap: Option<usize>,
    /// The pages before it.
    pages: u64,
}

impl Position {
    /// What the API gave.
    pub fn given(&self) -> Vec<&str> {
        self.url.as_deref().into_iter().chain(self.token.as_ref().map(|token| token.text.as_str())).collect()
    }
}

/// A token, as it stands in the answer: a number that were read and written again might be another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Token {
    text: String,
    is_number: bool,
}

impl Token {
    fn value(&self) -> Value {
        let number = || serde_json::from_str(&self.text).unwrap_or(Value::Null);
        if self.is_number { number() } else { self.text.clone().into() }
    }
}

/// One sequence of pages.
#[derive(Debug)]
pub struct Pager {
    at: Position,
    /// The tokens, URLs and bodies that there were, told apart by their first character.
    seen: HashSet<String>,
    /// Those of them that nobody has asked for yet.
    fresh: Vec<String>,
}

impl Pager {
    /// At the first page.
    pub fn new(spec: &Paginate) -> Self {
        let number = if let Paginate::Page(page) = spec { page.start } else { 0 };
        Self::at(Position { number, ..Position::default() }, &[])
    }

    /// At some page, after others that had these.
    pub fn at(at: Position, seen: &[String]) -> Self {
        Self { at, seen: seen.iter().cloned().collect(), fresh: Vec::new() }
    }

    /// The next page.
    pub fn position(&self) -> &Position {
        &self.at
    }

    /// What must not be met again and was met since this was asked for.
    pub fn take_fresh(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fresh)
    }

    /// What the next request carries.
    pub fn turn(&self, spec: &Paginate) -> Turn {
        let mut turn = Turn { url: self.at.url.clone(), ..Turn::default() };
        let mut put = |param: &Option<String>, name: &'static str, text: String, value: Value| {
            if let Some(param) = param {
                turn.params.push((param.clone(), text));
            }
            turn.values.push((name, value));
        };
        match spec {
            Paginate::None | Paginate::NextUrl(_) | Paginate::LinkHeader(_) => {}
            Paginate::Page(p) => {
                put(&p.param, "page", self.at.number.to_string(), self.at.number.into());
                if let Some(size) = p.size {
                    put(&p.size_param, "size", size.to_string(), size.into());
                }
            }
            Paginate::Offset(o) => {
                put(&o.param, "offset", self.at.number.to_string(), self.at.number.into());
                put(&o.limit_param, "size", o.limit.to_string(), o.limit.into());
            }
            Paginate::Cursor(c) => {
                if let Some(token) = &self.at.token {
                    put(&c.param, "cursor", token.text.clone(), token.value());
                }
            }
            Paginate::LastRecord(l) => {
                if let Some(token) = &self.at.token {
                    put(&l.param, "cursor", token.text.clone(), token.value());
                }
            }
        }
        turn
    }

    /// Takes a page in. Returns whether there is another.
    ///
    /// # Errors
    /// `HK0505` when the answer lacks what pagination needs, `HK0506` when it repeats itself.
    pub fn advance(&mut self, spec: &Paginate, facts: &Facts<'_>, digest: &Hash) -> Result<bool> {
        self.at.pages += 1;
        if facts.count > 0 && !matches!(spec, Paginate::None) && !self.is_new("b", digest.as_str()) {
            return Err(Error::new(
                Code::HttpRepeated,
                format!("page {} is the same as an earlier one", self.at.pages),
            ));
        }
        match spec {
            Paginate::None => Ok(false),
            Paginate::Page(p) => {
                self.at.number = self.at.number.saturating_add(1);
                if let Some(path) = &p.total_pages {
                    return Ok(self.at.pages < number(facts.body, path, "the number of pages")?);
                }
                Ok(facts.count > 0
                    && !(p.stop == Stop::Short && p.size.is_some_and(|size| self.short(facts.count, size))))
            }
            Paginate::Offset(o) => {
                // An API that filters after cutting moves by the limit; any other by what it really gave.
                let moved = if o.stop == Stop::Empty { o.limit } else { facts.count as u64 };
                self.at.number = self.at.number.saturating_add(i64::try_from(moved).unwrap_or(i64::MAX));
                if let Some(path) = &o.total {
                    let total = number(facts.body, path, "the number of records")?;
                    return Ok(facts.count > 0 && self.at.number.unsigned_abs() < total);
                }
                Ok(facts.count > 0 && !(o.stop == Stop::Short && self.short(facts.count, o.limit)))
            }
            Paginate::Cursor(c) => {
                let more = c.more.as_deref().map(|path| flag(facts.body, path)).transpose()?;
                if more == Some(false) {
                    return Ok(false);
                }
                let next = match extract::at(facts.body, &c.next) {
                    Ok(raw) => token(raw, &c.next)?,
                    Err(_) => None,
                };
                match next {
                    Some(next) => self.follow(next),
                    None if more == Some(true) => Err(Error::new(
                        Code::HttpShape,
                        format!("the answer says that there is more, but has no cursor at `{}`", c.next),
                    )),
                    None => Ok(false),
                }
            }
            Paginate::NextUrl(n) => {
                let next = match extract::at(facts.body, &n.path) {
                    Ok(raw) => token(raw, &n.path)?,
                    Err(_) => None,
                };
                self.go(next.map(|token| token.text))
            }
            Paginate::LinkHeader(_) => self.go(facts.link.clone()),
            Paginate::LastRecord(l) => {
                if let Some(path) = &l.more
                    && !flag(facts.body, path)?
                {
                    return Ok(false);
                }
                let Some(last) = facts.last else { return Ok(false) };
                let raw = extract::at(last, &l.field)
                    .map_err(|miss| extract::shape("the last record's cursor", &l.field, &miss))?;
                let next = token(raw, &l.field)?.ok_or_else(|| {
                    Error::new(Code::HttpShape, format!("the last record has no value in `{}`", l.field))
                })?;
                self.follow(next)
            }
        }
    }

    /// Whether a page is the last because it is short. A first page that is short may mean that the server gives fewer
    /// than were asked for: then one more request tells, and this page's length is the size from there on.
    fn short(&mut self, count: usize, size: u64) -> bool {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        match self.at.cap {
            None if self.at.pages == 1 && count < size => {
                self.at.cap = Some(count);
                false
            }
            cap => count < cap.unwrap_or(size),
        }
    }

    fn follow(&mut self, next: Token) -> Result<bool> {
        if !self.is_new("t", &next.text) {
            return Err(Error::new(
                Code::HttpRepeated,
                format!("the cursor after page {} was given before", self.at.pages),
            ));
        }
        self.at.token = Some(next);
        Ok(true)
    }

    fn go(&mut self, next: Option<String>) -> Result<bool> {
        let Some(next) = next else { return Ok(false) };
        if !self.is_new("u", &next) {
            return Err(Error::new(
                Code::HttpRepeated,
                format!("the next URL after page {} was given before", self.at.pages),
            ));
        }
        self.at.url = Some(next);
        Ok(true)
    }

    fn is_new(&mut self, kind: &str, what: &str) -> bool {
        let what = format!("{kind}{what}");
        let new = self.seen.insert(what.clone());
        if new {
            self.fresh.push(what);
        }
        new
    }
}

/// A token: text or number. Null, false and empty text mean that there is none.
fn token(raw: &RawValue, path: &str) -> Result<Option<Token>> {
    match extract::kind(raw) {
        "a text" | "a number" => {
            let text = extract::scalar(raw).unwrap_or_default();
            let is_number = extract::kind(raw) == "a number";
            Ok((!text.is_empty()).then_some(Token { text, is_number }))
        }
        "null" => Ok(None),
        "a boolean" if raw.get() == "false" => Ok(None),
        other => Err(Error::new(Code::HttpShape, format!("`{path}` should hold a text or a number, but is {other}"))),
    }
}

fn flag(body: &RawValue, path: &str) -> Result<bool> {
    match extract::at(body, path) {
        Ok(raw) => match extract::kind(raw) {
            "a boolean" => Ok(raw.get() == "true"),
            "null" => Ok(false),
            other => {
                Err(Error::new(Code::HttpShape, format!("`{path}` should say whether there is more, but is {other}")))
            }
        },
        Err(Miss::Null) => Ok(false),
        Err(miss) => Err(extract::shape("whether there is more", path, &miss)),
    }
}

fn number(body: &RawValue, path: &str, what: &str) -> Result<u64> {
    let raw = extract::at(body, path).map_err(|miss| match miss {
        Miss::Null => Error::new(Code::HttpShape, format!("`{path}`, which should hold {what}, is null")),
        miss => extract::shape(what, path, &miss),
    })?;
    extract::scalar(raw).and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(Code::HttpShape, format!("`{path}` should hold {what}, but is {}", extract::kind(raw)))
    })
}

/// The URL with `rel="next"` in a `Link` header (RFC 8288).
pub fn link_next(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>')?;
        let url = &rest[start + 1..end];
        let params_end = end + end_of_params(&rest[end..]);
        if is_next(&rest[end + 1..params_end]) {
            return Some(url.to_owned());
        }
        rest = &rest[params_end..];
    }
    None
}

/// Where the parameters of a link end: at the first comma outside of quotes.
fn end_of_params(text: &str) -> usize {
    outside_quotes(text, ',').next().unwrap_or(text.len())
}

/// The places of a character outside of quotes.
fn outside_quotes(text: &str, wanted: char) -> impl Iterator<Item = usize> + '_ {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter_map(move |(i, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == wanted && !quoted => return Some(i),
            _ => {}
        }
        None
    })
}

fn is_next(params: &str) -> bool {
    let mut ends: Vec<usize> = outside_quotes(params, ';').collect();
    ends.push(params.len());
    let mut start = 0;
    for end in ends {
        let param = &params[start..end];
        start = (end + 1).min(params.len());
        let Some((name, value)) = param.split_once('=') else {
            continue;
        };
        let mut rels = value.trim().trim_matches('"').split_ascii_whitespace();
        if name.trim().eq_ignore_ascii_case("rel") && rels.any(|rel| rel.eq_ignore_ascii_case("next")) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_headers() {
        let next = |h: &str| link_next(h);
        assert_eq!(next(r#"<https://a/2>; rel="next", <https://a/9>; rel="last""#).as_deref(), Some("https://a/2"));
        assert_eq!(
            next(r#"<https://a/0>; rel="prev"; title="x, <y>; rel=next", </2?a=1,2>; rel=next"#).as_deref(),
            Some("/2?a=1,2")
        );
        assert_eq!(next(r#"<u>; REL="last NEXT""#).as_deref(), Some("u"));
        assert_eq!(next(r#"<u>; rel="nextish""#), None);
        assert_eq!(next("<unclosed; rel=next"), None);
        assert_eq!(next(""), None);
    }
}
