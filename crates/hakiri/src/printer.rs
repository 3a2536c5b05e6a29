//! The one owner of both output streams: data on stdout, everything else on stderr.

use std::io::{IsTerminal as _, Write as _};

use hakiri_core::Error;
use serde::Serialize;

use crate::cli::GlobalArgs;
use crate::environment;

/// Prints.
#[derive(Debug, Clone)]
pub struct Printer {
    /// Whether stdout carries JSON.
    pub json: bool,
    /// Whether progress bars may be drawn on stderr.
    pub terminal: bool,
    /// Whether stderr may be coloured.
    pub colour: bool,
    quiet: bool,
}

impl Printer {
    /// As the flags and the streams say.
    pub fn new(args: &GlobalArgs) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            json: args.json,
            terminal: terminal && !args.quiet,
            colour: environment::colours(terminal),
            quiet: args.quiet,
        }
    }

    /// A line of data. A reader that went away is a success: it had enough.
    pub fn data(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}");
    }

    /// One JSON document on stdout.
    pub fn document<T: Serialize>(&self, value: &T) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.data(&text),
            Err(e) => self.note(&format!("cannot print as JSON: {e}")),
        }
    }

    /// A line for people.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// An error: code, place, what happened, what to do.
    pub fn error(&self, error: &Error) {
        let _ = writeln!(std::io::stderr().lock(), "{}", self.render(&error.to_failure()));
        if self.json {
            self.document(&serde_json::json!({ "error": error.to_failure() }));
        }
    }

    /// A failure as text.
    pub fn render(&self, failure: &hakiri_core::error::Failure) -> String {
        let place = failure.place.as_deref().map(|p| format!("{p}: ")).unwrap_or_default();
        let head = format!("error[{}]", failure.code);
        format!(
            "{}: {place}{}\n  {} {}",
            self.paint(&head, "1;31"),
            failure.message,
            self.paint("help:", "36"),
            failure.hint
        )
    }

    /// Text in a colour (an SGR code), where colours are wanted.
    pub fn paint(&self, text: &str, sgr: &str) -> String {
        if self.colour { format!("\u{1b}[{sgr}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
