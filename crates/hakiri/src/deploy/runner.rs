//! Carries out [`Here`]: the one module that starts other programs.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};

use super::elf;
use super::folder;
use super::progress::Progress;
use super::steps::{Act, Here, Step};
use crate::environment;
use crate::printer::Printer;

/// How many of a failed command's last lines are a part of the error.
const LAST_LINES: usize = 12;
/// The shortest part of a secret's value that is hidden.
const SHORTEST: usize = 4;
/// Where packages put their programs, below the folder.
const PACKAGES: &str = "node_modules/.bin";

/// Looks at what the steps need before anything is started: the programs, this binary where it is to run somewhere else,
/// and values that would have no effect.
///
/// # Errors
/// `HK1206` for the first that is missing or of no use.
pub fn look(here: &Here) -> Result<()> {
    let path = environment::variable("PATH").unwrap_or_default();
    let is_there = |program: &str| path.split(':').any(|dir| !dir.is_empty() && Path::new(dir).join(program).is_file());
    if let Some(tool) = here.tools.iter().find(|tool| !is_there(tool.program)) {
        return Err(Error::new(Code::DeployTool, format!("there is no `{}`, which {}", tool.program, tool.why))
            .with_hint(format!("{}, and run the command again", tool.remedy)));
    }
    for step in &here.steps {
        match &step.act {
            Act::Binary(_) => {
                let program = environment::executable()?;
                elf::static_x86_64(&folder::head(&program, elf::HEAD)?).map_err(|why| {
                    Error::new(Code::DeployTool, format!("{} cannot run in the image: {why}", program.display()))
                        .with_hint("run the command with the released binary for Linux on x86-64, which is static")
                })?;
            }
            Act::Secret { name, shortest, .. } => {
                let length = environment::variable(name).map(|value| value.trim().chars().count());
                if let Some(length) = length.filter(|length| length < shortest) {
                    return Err(Error::new(
                        Code::DeployTool,
                        format!("{name} has {length} characters, and with less than {shortest} it has no effect there"),
                    )
                    .with_hint(format!("set {name} to {shortest} random characters or more, or unset it")));
                }
            }
            Act::Write { .. } | Act::Run { .. } => {}
        }
    }
    Ok(())
}

/// Runs the steps that are not done, in the folder. Returns the secrets that have no value here and are needed, with
/// the command that gives them one.
///
/// # Errors
/// `HK1207` for a command that fails, `HK0005`.
pub fn run(
    printer: &Printer,
    dir: &Path,
    here: &Here,
    progress: &mut Progress,
    again: &str,
) -> Result<Vec<(String, String)>> {
    let mut without = Vec::new();
    for (at, step) in here.steps.iter().enumerate() {
        let number = format!("[{}/{}]", at + 1, here.steps.len());
        if progress.is_done(step) {
            printer.note(&format!("{number} {}: done before", step.title));
            continue;
        }
        let mut value = None;
        if let Act::Secret { name, optional, .. } = &step.act {
            value = environment::variable(name);
            if value.is_none() {
                if !optional {
                    without.push((name.clone(), step.shown()));
                }
                continue;
            }
        }
        printer.note(&format!("{number} {}: {}", step.title, step.shown()));
        match &step.act {
            Act::Binary(name) => folder::copy_program(&environment::executable()?, dir, name)?,
            Act::Write { path, text } => folder::put(dir, path, text.as_bytes())?,
            Act::Run { command, fine } => command_of(printer, dir, step, command, fine, None, again)?,
            Act::Secret { command, .. } => command_of(printer, dir, step, command, &[], value.as_deref(), again)?,
        }
        progress.did(dir, step)?;
    }
    Ok(without)
}

fn command_of(
    printer: &Printer,
    dir: &Path,
    step: &Step,
    words: &[String],
    fine: &[&str],
    stdin: Option<&str>,
    again: &str,
) -> Result<()> {
    let failed = |how: String, said: &[String]| {
        let mut message = format!("`{}` {how}", step.shown());
        for line in said {
            message.push_str("\n  | ");
            message.push_str(line);
        }
        Error::new(Code::DeployStep, message)
            .with_hint(format!("correct it and run `{again}` again: it goes on with this step"))
    };
    let Some((program, args)) = words.split_first() else { return Ok(()) };
    // The folder's own packages come first: their versions are pinned, and with them the Node that they need.
    let path = environment::variable("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", dir.join(PACKAGES).display()))
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(format!("cannot be started: {e}"), &[]))?;
    if let (Some(value), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // A program that does not read it says so by how it ends.
        let _ = pipe.write_all(value.as_bytes());
    }
    let (sender, lines) = mpsc::channel::<String>();
    let streams: [Option<Box<dyn Read + Send>>; 2] =
        [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = plain(&String::from_utf8_lossy(&line));
                line.clear();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let (mut last, mut is_fine) = (VecDeque::new(), false);
    for line in lines {
        // Whatever a program repeats of what it was given, a secret is not in what Hakiri prints (P8).
        let line = stdin.map_or_else(|| line.clone(), |value| masked(&line, value));
        is_fine |= fine.iter().any(|text| line.contains(text));
        printer.note(&format!("  | {line}"));
        if !line.trim().is_empty() {
            last.push_back(line);
        }
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
    let status = child.wait().map_err(|e| failed(format!("was lost: {e}"), &[]))?;
    if status.success() || is_fine {
        return Ok(());
    }
    let last: Vec<String> = last.into();
    Err(failed(format!("failed ({status}); its last lines:"), &last))
}

/// A line without a secret's value, or any line of it: output comes by the line, and a value may have several, such as a
/// key in PEM. What is shorter than four characters is in too many words to be hidden, and gives away nothing.
fn masked(line: &str, value: &str) -> String {
    let mut parts: Vec<&str> = value.lines().map(str::trim).filter(|part| part.chars().count() >= SHORTEST).collect();
    // The longest first: one may be a part of another, of which the rest would stay.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.into_iter().fold(line.to_owned(), |line, part| line.replace(part, "***"))
}

/// A line without colours and other signs to a terminal: they would stand between the words that are looked for, and a
/// log is no place for them.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.trim_end().chars();
    while let Some(c) = chars.next() {
        match c {
            // ESC [ … up to a letter.
            '\u{1b}' if chars.as_str().starts_with('[') => {
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
    }

    #[test]
    fn each_line_of_a_secret_is_hidden() {
        let value = "-----BEGIN KEY-----\r\n  canary-one\ncanary-one-and-two\nab\n\n";
        assert_eq!(masked("given   canary-one", value), "given   ***");
        assert_eq!(masked("x canary-one-and-two, canary-one", value), "x ***, ***");
        assert_eq!(masked("-----BEGIN KEY-----", value), "***");
        assert_eq!(masked("about ab", value), "about ab");
        assert_eq!(masked("nothing", ""), "nothing");
    }
}
