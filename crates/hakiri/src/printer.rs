//! The one owner of both output streams: data on stdout, everything else on stderr.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hakiri_core::Error;
use hakiri_core::codes::Code;
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
    /// Whether stdout may be coloured.
    pub colour_data: bool,
    quiet: bool,
    /// Raised when data was lost on its way to stdout. Clones share it.
    lost: Arc<AtomicBool>,
}

impl Printer {
    /// As the flags and the streams say.
    pub fn new(args: &GlobalArgs) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            json: args.json,
            terminal: terminal && !args.quiet,
            colour: environment::colours(terminal),
            colour_data: environment::colours(std::io::stdout().is_terminal()),
            quiet: args.quiet,
            lost: Arc::default(),
        }
    }

    /// A line of data. A reader that went away is a success: it had enough.
    pub fn data(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if let Err(e) = writeln!(out, "{text}").and_then(|()| out.flush()) {
            drop(out);
            self.lost(e.kind());
        }
    }

    /// Whether data could not be written to stdout. The error is printed already; the process must not succeed.
    pub fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// What a failed write to stdout means: nothing where the reader went away, else one error.
    fn lost(&self, kind: ErrorKind) {
        if kind != ErrorKind::BrokenPipe && !self.lost.swap(true, Ordering::Relaxed) {
            // Not as JSON: that would go to the same place.
            let error = Error::new(Code::Io, format!("the output cannot be written: {kind}"));
            self.failure(&self.render(&error.to_failure()));
        }
    }

    /// One JSON document on stdout.
    pub fn document<T: Serialize>(&self, value: &T) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.data(&text),
            Err(e) => self.failure(&format!("cannot print as JSON: {e}")),
        }
    }

    /// A failure, or what belongs to one: printed also where only errors and data are wanted.
    pub fn failure(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A line for people, left out where only errors and data are wanted.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// An error: code, place, what happened, what to do.
    pub fn error(&self, error: &Error) {
        self.failure(&self.render(&error.to_failure()));
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
        painted(text, sgr, self.colour)
    }

    /// As [`Self::paint`], for stdout.
    pub fn paint_data(&self, text: &str, sgr: &str) -> String {
        painted(text, sgr, self.colour_data)
    }
}

fn painted(text: &str, sgr: &str, colour: bool) -> String {
    if colour { format!("\u{1b}[{sgr}m{text}\u{1b}[0m") } else { text.to_owned() }
}
