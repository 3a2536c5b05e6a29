//! Starts a program in a folder, gives it what belongs on its standard input, and hears what it says: the one module
//! here that starts programs.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;

use crate::environment;
use crate::printer::Printer;

/// How many of the last lines are kept.
const LAST_LINES: usize = 12;
/// The shortest part of a secret's value that is hidden.
const SHORTEST: usize = 4;
/// Where packages put their programs, below the folder.
const PACKAGES: &str = "node_modules/.bin";
/// What an answer has at most; the rest of it is not kept.
const LONGEST: usize = 1 << 20;

/// How a program is run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Call<'c> {
    /// What it is given on its standard input.
    pub(super) stdin: Option<&'c str>,
    /// Values that are shown nowhere, whatever it repeats of them.
    pub(super) hidden: &'c [String],
    /// Whether its standard output is an answer, which is kept and not shown.
    pub(super) asks: bool,
    /// Whether nothing it says is shown as it says it.
    pub(super) is_quiet: bool,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: ExitStatus,
    /// Its standard output, if that is an answer.
    pub(super) answer: String,
    /// Its last lines, without those of an answer.
    pub(super) last: Vec<String>,
    /// The words that were looked for and that it said.
    pub(super) heard: Vec<&'static str>,
}

impl Said {
    /// Whether it said one of these.
    pub(super) fn has(&self, words: &[&str]) -> bool {
        self.heard.iter().any(|heard| words.contains(heard))
    }
}

/// Runs a program to its end, in the folder, and listens for words.
///
/// # Errors
/// Why it cannot be started or was lost.
pub(super) fn call(
    printer: &Printer,
    dir: &Path,
    words: &[String],
    call: Call<'_>,
    listen: &[&'static str],
) -> std::result::Result<Said, String> {
    let (program, args) = words.split_first().ok_or("it names no program")?;
    // The folder's own packages come first: their versions are pinned, and with them the Node that they need.
    let path = environment::variable("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", dir.join(PACKAGES).display()))
        .stdin(if call.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot be started: {e}"))?;
    let (sender, lines) = mpsc::channel::<(bool, String)>();
    let streams: [(bool, Option<Box<dyn Read + Send>>); 2] = [
        (call.asks, child.stdout.take().map(|s| Box::new(s) as _)),
        (false, child.stderr.take().map(|s| Box::new(s) as _)),
    ];
    for (is_answer, stream) in streams.into_iter().filter_map(|(is_answer, stream)| Some((is_answer, stream?))) {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line);
                let text = if is_answer { text.into_owned() } else { plain(&text) };
                line.clear();
                if sender.send((is_answer, text)).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    // After its output is read: a value may be longer than what a pipe holds, and so may be what it says meanwhile.
    if let (Some(value), Some(mut pipe)) = (call.stdin, child.stdin.take()) {
        // A program that does not read it says so by how it ends.
        let _ = pipe.write_all(value.as_bytes());
    }
    let (mut answer, mut last, mut heard) = (String::new(), VecDeque::new(), Vec::new());
    for (is_answer, line) in lines {
        if is_answer {
            if answer.len() + line.len() <= LONGEST {
                answer.push_str(&line);
            }
            continue;
        }
        // Whatever a program repeats of what it was given, a secret is not in what Hakiri prints (P8).
        let line = masked(&line, call.hidden);
        heard.extend(listen.iter().filter(|text| line.contains(**text)));
        if !call.is_quiet {
            printer.note(&format!("  | {line}"));
        }
        if !line.trim().is_empty() {
            last.push_back(line);
        }
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    let status = child.wait().map_err(|e| format!("was lost: {e}"))?;
    Ok(Said { status, answer, last: last.into(), heard })
}

/// A line without values, or any line of them: output comes by the line, and a value may have several, such as a key in
/// PEM; and as JSON writes them, which is how some are given. What is shorter than four characters is in too many words
/// to be hidden, and gives away nothing.
fn masked(line: &str, hidden: &[String]) -> String {
    let parts = hidden.iter().flat_map(|value| value.lines()).map(str::trim);
    let mut parts: Vec<String> = parts
        .filter(|part| part.chars().count() >= SHORTEST)
        .flat_map(|part| [part.to_owned(), serde_json::json!(part).to_string().trim_matches('"').to_owned()])
        .collect();
    // The longest first: one may be a part of another, of which the rest would stay.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.into_iter().fold(line.to_owned(), |line, part| line.replace(&part, "***"))
}

/// A line without colours and other signs to a terminal: they would stand between the words that are looked for, and a
/// log is no place for them. Of what was written over the same line again and again, the last.
fn plain(line: &str) -> String {
    let line = line.trim_end();
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                // A control sequence: an introducer, parameters, and a letter that ends it.
                chars.next();
                let _ = chars.find(|c| ('@'..='~').contains(c));
            }
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_words_alone() {
        assert_eq!(
            plain("\u{1b}[31m\u{2718} \u{1b}[41;31m[\u{1b}[0mERROR]\u{1b}[0m no\tway\r\n"),
            "\u{2718} [ERROR] no\tway"
        );
        assert_eq!(plain("a\u{7}b\u{1b}"), "ab");
        assert_eq!(plain("\rsending 10%\rsending 20%\r\rsent\r\n"), "sent");
    }

    #[test]
    fn each_line_of_a_secret_is_hidden() {
        let value = "-----BEGIN KEY-----\r\n  canary-one\ncanary-one-and-two\nab\n\n";
        let masked = |line: &str, value: &str| masked(line, &["other".to_owned(), value.to_owned()]);
        assert_eq!(masked("given   canary-one", value), "given   ***");
        assert_eq!(masked("x canary-one-and-two, canary-one", value), "x ***, ***");
        assert_eq!(masked("-----BEGIN KEY-----", value), "***");
        assert_eq!(masked("about ab", value), "about ab");
        assert_eq!(masked("nothing", ""), "nothing");
        assert_eq!(masked(r#"{"A":"can\"ary","B":"other"}"#, "can\"ary"), r#"{"A":"***","B":"***"}"#);
    }
}
