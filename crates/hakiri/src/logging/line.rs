//! One event as one line.

use std::fmt::{Debug, Write as _};

use hakiri_core::time::Clock as _;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::environment::SystemClock;

/// Bytes of a line with its end: several processes append to one file, and a write of this size is not split.
pub(super) const MAX_LINE: usize = 4_096;
/// Characters of a text in a line.
const MAX_TEXT: usize = 1_000;
/// The fields that are kept where a line is too long.
const KEPT: [&str; 7] = ["at", "level", "pipeline", "run", "step", "code", "message"];

/// Where lines go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sink {
    /// stderr, for people.
    Text { colour: bool },
    /// stderr, as JSON.
    Json,
    /// The project's log, as JSON.
    File,
}

/// Makes lines of events.
#[derive(Debug)]
pub(super) struct Lines {
    sink: Sink,
}

impl Lines {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink }
    }
}

/// The fields of a span or event.
#[derive(Debug, Clone, Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = super::redact(&format!("{value:?}"));
        self.0.insert(field.name().to_owned(), Value::String(shortened(&text, MAX_TEXT)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), Value::String(shortened(&super::redact(value), MAX_TEXT)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let mut line = Map::new();
        line.insert("at".to_owned(), SystemClock.now().to_string().into());
        line.insert("level".to_owned(), word(*event.metadata().level()).into());
        for first in ["pipeline", "run", "step", "table", "code"] {
            if let Some(value) = fields.0.remove(first) {
                line.insert(first.to_owned(), value);
            }
        }
        line.insert("message".to_owned(), fields.0.remove("message").unwrap_or_default());
        line.extend(fields.0);
        if !event.metadata().target().starts_with("hakiri") {
            line.insert("by".to_owned(), event.metadata().target().into());
        }
        match self.sink {
            Sink::Text { colour } => to_stderr(&text(&line, colour)),
            Sink::Json => to_stderr(&json(line)),
            Sink::File => super::write_to_file(&json(line)),
        }
    }
}

#[allow(clippy::disallowed_methods, clippy::print_stderr)]
fn to_stderr(line: &str) {
    use std::io::Write as _;
    // The printer owns stderr for what it says; a whole line at a time never ends up in the middle of one of its own.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The line as JSON, short enough.
fn json(line: Map<String, Value>) -> String {
    let text = Value::Object(line.clone()).to_string();
    if text.len() < MAX_LINE {
        return text;
    }
    let kept = line.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str())).map(|(name, value)| {
        let value = value.as_str().map_or(value.clone(), |text| shortened(text, 120).into());
        (name, value)
    });
    Value::Object(kept.chain([("cut".to_owned(), true.into())]).collect()).to_string()
}

/// The line for people: `12:00:05 info crm: run committed rows=12`.
pub fn text(line: &Map<String, Value>, colour: bool) -> String {
    let field = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let level = field("level");
    let sgr = match level {
        "error" => "1;31",
        "warn" => "33",
        "info" => "32",
        _ => "2",
    };
    let painted = if colour { format!("\u{1b}[{sgr}m{level:<5}\u{1b}[0m") } else { format!("{level:<5}") };
    let mut out = format!("{} {painted}", field("at"));
    let subject: Vec<&str> = ["pipeline", "table", "step"].into_iter().map(field).filter(|s| !s.is_empty()).collect();
    if !subject.is_empty() {
        let _ = write!(out, " {}:", one_line(&subject.join(" › ")));
    }
    if !field("code").is_empty() {
        let _ = write!(out, " [{}]", field("code"));
    }
    let _ = write!(out, " {}", one_line(field("message")));
    for (name, value) in line {
        if !["at", "level", "pipeline", "table", "step", "code", "message"].contains(&name.as_str()) {
            match value.as_str() {
                Some(value) => _ = write!(out, " {name}={}", one_line(value)),
                None => _ = write!(out, " {name}={value}"),
            }
        }
    }
    out
}

/// A source's text may hold line ends and control codes of terminals.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> Map<String, Value> {
        let value = serde_json::json!({"at": "2026-01-31T12:00:00.000Z", "level": "warn", "pipeline": "crm", "run": "run-1", "code": "HK0502", "message": message, "extra": "x".repeat(900), "n": 3});
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_line_is_short_enough_to_be_appended_at_once_whatever_it_says() {
        for message in ["short".to_owned(), "é\"\u{1}".repeat(400), "\u{1}".repeat(1_000)] {
            let text = json(line(&message));
            assert!(text.len() < MAX_LINE && !text.contains('\n'), "{}", text.len());
            let back: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((back["code"].as_str(), back["run"].as_str()), (Some("HK0502"), Some("run-1")));
        }
    }

    #[test]
    fn people_get_one_line_without_control_codes() {
        let shown = text(&line("a\nb\u{1b}[31mc"), false);
        assert!(shown.starts_with("2026-01-31T12:00:00.000Z warn  crm: [HK0502] a b [31mc run=run-1"), "{shown}");
    }
}
