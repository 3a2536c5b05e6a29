//! What is wrong with a manifest, where, and what to do: as data for `--json`, as text for people.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use super::node::Span;
use crate::codes::Code;
use crate::error::Error;

/// Characters of a source line that are shown; longer lines (JSON on one line) are cut around the place.
const SHOWN: usize = 140;

/// One thing that is wrong with a manifest.
///
/// Lines and columns count from 1, columns and lengths in characters (Unicode scalar values).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable code.
    #[serde(serialize_with = "code_as_text")]
    pub code: Code,
    /// The file, as it was named to [`parse`](super::parse).
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// How many characters of the line are meant; at least 1.
    pub length: usize,
    /// What is wrong: one line.
    pub message: String,
    /// What to do: one line.
    pub hint: String,
    /// The line of the source, where there is one to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<Snippet>,
    /// Another place that has to do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related: Option<Related>,
}

/// A line of the source, or the part of a long line around the place. Control characters are replaced, so that showing
/// it cannot command a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// The text.
    pub text: String,
    /// Where in it the place starts, in characters from 0.
    pub offset: usize,
}

/// Another place that has to do with a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The file.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is there.
    pub message: String,
}

fn code_as_text<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(code)
}

impl Diagnostic {
    /// The diagnostic as a compiler prints it: several lines, with a final newline. `color` adds ANSI colours.
    pub fn render(&self, color: bool) -> String {
        let paint = |style: &'static str| if color { style } else { "" };
        let (red, blue, cyan, bold, plain) =
            (paint("\x1b[1;31m"), paint("\x1b[1;34m"), paint("\x1b[1;36m"), paint("\x1b[1m"), paint("\x1b[0m"));
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{red}error[{}]{plain}{bold}: {}{plain}", self.code, self.message);
        let _ = writeln!(out, "{margin}{blue}-->{plain} {}:{}:{}", self.file, self.line, self.column);
        if let Some(Snippet { text, offset }) = &self.snippet {
            let room = text.chars().count().saturating_sub(*offset).max(1);
            let carets = "^".repeat(self.length.clamp(1, room));
            let _ = writeln!(out, "{margin} {blue}|{plain}");
            let _ = writeln!(out, "{blue}{number} |{plain} {text}");
            let _ = writeln!(out, "{margin} {blue}|{plain} {}{red}{carets}{plain}", " ".repeat(*offset));
        }
        if let Some(related) = &self.related {
            let _ = writeln!(
                out,
                "{margin} {blue}:::{plain} {}:{}:{}: {}",
                related.file, related.line, related.column, related.message
            );
        }
        let _ = writeln!(out, "{margin} {blue}={plain} {cyan}help{plain}: {}", self.hint);
        out
    }

    /// The diagnostic as an [`Error`], for where only one can be told.
    pub fn to_error(&self) -> Error {
        Error::new(self.code, self.message.clone())
            .with_hint(self.hint.clone())
            .at(format!("{}:{}:{}", self.file, self.line, self.column))
    }
}

/// A diagnostic before its place is known as line and column.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub code: Code,
    pub file: usize,
    pub span: Span,
    pub message: String,
    pub hint: Option<String>,
    pub related: Option<(usize, Span, String)>,
}

impl Problem {
    pub fn new(code: Code, file: usize, span: Span, message: impl Into<String>) -> Self {
        Self { code, file, span, message: message.into(), hint: None, related: None }
    }

    /// What an error says, at a place.
    pub fn from_error(error: &Error, file: usize, span: Span) -> Self {
        Self::new(error.code(), file, span, error.message()).hint(error.hint())
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn related(mut self, file: usize, span: Span, message: impl Into<String>) -> Self {
        self.related = Some((file, span, message.into()));
        self
    }
}

/// A file's text with the starts of its lines.
#[derive(Debug)]
pub(super) struct SourceText<'a> {
    pub name: &'a str,
    pub text: &'a str,
    lines: Vec<usize>,
}

impl<'a> SourceText<'a> {
    pub fn new(name: &'a str, text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { name, text, lines }
    }

    /// Line and column of a byte, and the text of the line.
    fn place(&self, byte: usize) -> (usize, usize, &'a str) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let start = self.lines[line - 1];
        let end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        (line, self.text[start..byte].chars().count() + 1, self.text[start..end].trim_end_matches('\r'))
    }

    fn snippet(&self, column: usize, line: &str, length: usize) -> Option<Snippet> {
        if line.trim().is_empty() {
            return None;
        }
        let shown: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let at = (column - 1).min(shown.len());
        if shown.len() <= SHOWN {
            return Some(Snippet { text: shown.iter().collect(), offset: at });
        }
        // A window that starts a little before the place and holds as much of what is meant as fits.
        let from = at.saturating_sub((SHOWN.saturating_sub(length) / 2).max(10));
        let to = (from + SHOWN).min(shown.len());
        let (before, after) = (if from > 0 { "…" } else { "" }, if to < shown.len() { "…" } else { "" });
        Some(Snippet {
            text: format!("{before}{}{after}", shown[from..to].iter().collect::<String>()),
            offset: at - from + before.chars().count(),
        })
    }
}

/// One line without control characters: messages quote keys and values, which may hold anything.
fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_debug())
        } else {
            out.push(c)
        }
        out
    })
}

/// Turns problems into diagnostics, in the order of files and places, each once.
pub(super) fn diagnostics(problems: Vec<Problem>, files: &[SourceText<'_>]) -> Vec<Diagnostic> {
    let mut problems = problems;
    problems.sort_by_key(|a| (a.file, a.span.start));
    let mut out: Vec<Diagnostic> = problems
        .into_iter()
        .map(|p| {
            let hint = clean(p.hint.as_deref().unwrap_or(p.code.info().remedy));
            let message = clean(&p.message);
            let Some(file) = files.get(p.file) else {
                // Only for "there is no hakiri.toml at all".
                return Diagnostic {
                    code: p.code,
                    file: super::ROOT_FILE.to_owned(),
                    line: 1,
                    column: 1,
                    length: 1,
                    message,
                    hint,
                    snippet: None,
                    related: None,
                };
            };
            let (line, column, text) = file.place(p.span.start);
            let (end_line, end_column, _) = file.place(p.span.end);
            let end = if end_line == line { end_column } else { text.chars().count() + 1 };
            let length = end.saturating_sub(column).max(1);
            let related = p.related.and_then(|(i, span, message)| {
                let other = files.get(i)?;
                let (line, column, _) = other.place(span.start);
                Some(Related { file: other.name.to_owned(), line, column, message: clean(&message) })
            });
            let snippet =
                if p.span.is_empty() && p.span.start == 0 { None } else { file.snippet(column, text, length) };
            Diagnostic {
                code: p.code,
                file: file.name.to_owned(),
                line,
                column,
                length,
                message,
                hint,
                snippet,
                related,
            }
        })
        .collect();
    out.dedup();
    out
}
