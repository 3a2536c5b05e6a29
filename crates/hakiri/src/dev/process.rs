//! The process that is a platform on this machine: a script, which starts and ends all others, says what happens in lines of
//! JSON, and ends when its standard input does.

#![allow(clippy::disallowed_methods)] // writes the scripts and starts the process

use std::path::Path;
use std::process::{Child, Command, Stdio};

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};
use serde_json::{Map, Value};

use super::lines::{Line, lines};
use crate::environment;
use crate::printer::Printer;

/// A platform that is ready to be started.
pub(super) struct Prepared {
    /// What carries out a script.
    pub interpreter: Box<dyn Fn(&Path) -> Command>,
    /// Its name, for what it says by itself.
    pub name: &'static str,
    /// The scripts, by name; the first is the one to start.
    pub scripts: &'static [(&'static str, &'static str)],
    /// What the script reads, and removes, since it holds secrets.
    pub config: Value,
}

/// What a developer sets to watch the processes reaches those of the platform too.
pub(super) fn passed() -> Map<String, Value> {
    ["HAKIRI_LOG"].iter().filter_map(|name| Some(((*name).to_owned(), environment::variable(name)?.into()))).collect()
}

/// Starts it, and shows what it says until it ends.
pub(super) fn run(printer: &Printer, work_dir: &Path, prepared: Prepared) -> Result<()> {
    let io = |path: &Path, e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", path.display()));
    std::fs::create_dir_all(work_dir).map_err(|e| io(work_dir, e))?;
    for (name, text) in prepared.scripts {
        let path = work_dir.join(name);
        std::fs::write(&path, text).map_err(|e| io(&path, e))?;
    }
    let config = work_dir.join("dev.json");
    write_private(&config, &prepared.config.to_string()).map_err(|e| io(&config, e))?;
    let script = prepared.scripts.first().map(|(name, _)| work_dir.join(name)).unwrap_or_default();
    let mut command = (prepared.interpreter)(&script);
    command.arg(&config).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = command.spawn().map_err(|e| ended(format!("{} cannot be started: {e}", prepared.name)))?;
    let mut parts = Parts { platform: started };
    let name = prepared.name;
    if let Some(stderr) = parts.platform.stderr.take() {
        let printer = printer.clone();
        std::thread::spawn(move || lines(stderr, name).for_each(|line| show(&printer, &line)));
    }
    let mut done = false;
    if let Some(stdout) = parts.platform.stdout.take() {
        for line in lines(stdout, name) {
            show(printer, &line);
            done |= line.event.as_deref() == Some("done");
        }
    }
    let status = parts.platform.wait().map_err(|e| ended(e.to_string()))?;
    match done || status.success() {
        true => Ok(()),
        false => Err(ended(format!("the platform ended: {status}"))),
    }
}

fn show(printer: &Printer, line: &Line) {
    if printer.json {
        let mut all = line.more.clone();
        all.insert("part".to_owned(), line.part.clone().into());
        all.insert("text".to_owned(), line.text.clone().into());
        if let Some(event) = &line.event {
            all.insert("event".to_owned(), event.clone().into());
        }
        printer.data(&Value::Object(all).to_string());
    } else if !line.text.is_empty() {
        printer.note(&line.shown(printer.colour));
    }
}

/// Writes what holds secrets.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn ended(what: String) -> Error {
    Error::new(Code::DevPlatform, what)
}

/// The processes. The platform ends, with everything it started, when its standard input does: at the latest with this
/// process, however that ends.
struct Parts {
    platform: Child,
}

impl Drop for Parts {
    fn drop(&mut self) {
        drop(self.platform.stdin.take());
        let _ = self.platform.wait();
    }
}
