//! What the parts of a local run say: one JSON object a line, from one child process, shown as one stream.

use std::io::{BufRead as _, BufReader, Read};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::logging;

/// A line of a part.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Line {
    /// Which part: `worker`, `workflow`, `container:NAME`, `cron`, `dev` …
    pub part: String,
    /// What it said.
    #[serde(default)]
    pub text: String,
    /// What happened, for programs: `ready`, `tick`, `settled`, `done` …
    #[serde(default)]
    pub event: Option<String>,
    /// What belongs to the event.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Line {
    /// As people read it. Containers write their log as JSON, for those who collect it.
    pub fn shown(&self, colour: bool) -> String {
        let logged = serde_json::from_str::<Map<String, Value>>(&self.text).ok();
        match logged.filter(|line| line.contains_key("message")) {
            Some(line) => format!("{:<20} {}", self.part, logging::text(&line, colour)),
            None => format!("{:<20} {}", self.part, self.text),
        }
    }
}

/// The lines of a stream, until it ends. What is no line of ours is shown as it is, under `other`.
pub fn lines(stream: impl Read, other: &str) -> impl Iterator<Item = Line> {
    let plain = |text: &str| Line { part: other.to_owned(), text: text.to_owned(), event: None, more: Map::new() };
    BufReader::new(stream).split(b'\n').map_while(Result::ok).filter_map(move |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        (!text.is_empty()).then(|| serde_json::from_str(text).unwrap_or_else(|_| plain(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_parts_and_of_anybody_else_are_one_stream() {
        let text = "{\"part\":\"dev\",\"text\":\"up\",\"event\":\"ready\",\"url\":\"http://x\",\"at\":1}\n\nnoise\n{\"part\":\"worker\"}";
        let found: Vec<Line> = lines(text.as_bytes(), "other").collect();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].event.as_deref(), &found[0].more["url"]), (Some("ready"), &Value::from("http://x")));
        assert_eq!(found[1].shown(false), "other                noise");
        assert_eq!((found[2].part.as_str(), found[2].text.as_str()), ("worker", ""));
    }
}
