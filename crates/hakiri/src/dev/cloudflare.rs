//! `hakiri dev cloudflare`: the generated Worker, Workflow and Durable Object on real workerd (Miniflare), with this very
//! binary as the process of each container. Only the image, the isolation of containers and Cloudflare's own control plane
//! are not here: see `docs/deploy/cloudflare.md`, "Not proved here".
//!
//! One node process ([`RUNNER`]) is the platform: it bundles the generated folder as it stands, starts workerd on it and
//! answers the few calls of a container engine that workerd makes. It also starts the status page, which reads the same
//! catalog through its public door, as anybody outside would. This module makes its configuration and shows what the parts
//! say.

#![allow(clippy::disallowed_methods)] // writes the runner's files and starts processes

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};
use serde_json::{Value, json};

use super::lines::{Line, lines};
use super::packages::Packages;
use crate::environment::{self, CATALOG_TOKEN};
use crate::printer::Printer;

/// The runner's scripts, by name; the first is the one to start.
const RUNNER: [(&str, &str); 2] =
    [("dev.mjs", include_str!("cloudflare/dev.mjs")), ("standin.mjs", include_str!("cloudflare/standin.mjs"))];

/// What a local run is told.
#[derive(Debug)]
pub struct Options {
    /// The generated folder.
    pub generated: PathBuf,
    /// Where its state is kept: catalog, bucket, logs.
    pub work_dir: PathBuf,
    /// The bucket's name.
    pub bucket: String,
    /// Where in it the store is.
    pub store: String,
    /// The values of the project's secrets, by name.
    pub secrets: Vec<(String, String)>,
    /// So many ticks, one after the other, without waiting for the clock; none: by the clock, until interrupted.
    pub ticks: Option<u32>,
    /// The time of the first of them, in milliseconds.
    pub from: Option<i64>,
    /// How far apart they are, in milliseconds.
    pub every: i64,
    /// Where the status page is.
    pub page: Option<SocketAddr>,
    /// Arguments of the binary that choose the project for the page.
    pub project: Vec<String>,
}

/// Runs it; ends with the last tick, or when interrupted.
///
/// # Errors
/// `HK1220` for packages, `HK1221` when a part does not start or ends by itself.
pub fn run(printer: &Printer, options: &Options, package_json: &str) -> Result<()> {
    let packages = Packages::ensure(package_json, printer)?;
    let io = |path: &Path, e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", path.display()));
    std::fs::create_dir_all(&options.work_dir).map_err(|e| io(&options.work_dir, e))?;
    let script = options.work_dir.join(RUNNER[0].0);
    for (name, text) in RUNNER {
        let path = options.work_dir.join(name);
        std::fs::write(&path, text).map_err(|e| io(&path, e))?;
    }
    // The public door is closed unless the page needs it, or whoever runs this has a token for it.
    let door = match environment::variable(CATALOG_TOKEN) {
        None if options.page.is_some() => Some(environment::new_id()?),
        own => own,
    };
    let config = options.work_dir.join("dev.json");
    write_private(&config, &configuration(options, &packages, door.as_deref())?.to_string())
        .map_err(|e| io(&config, e))?;
    let mut command = packages.script(&script);
    command.arg(&config).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = command.spawn().map_err(|e| ended(format!("node cannot be started: {e}")))?;
    let mut parts = Parts { platform: started };
    if let Some(stderr) = parts.platform.stderr.take() {
        let printer = printer.clone();
        std::thread::spawn(move || lines(stderr, "node").for_each(|line| show(&printer, &line)));
    }
    let mut done = false;
    if let Some(stdout) = parts.platform.stdout.take() {
        for line in lines(stdout, "node") {
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

/// What the runner reads.
fn configuration(options: &Options, packages: &Packages, door: Option<&str>) -> Result<Value> {
    let mut secrets: serde_json::Map<String, Value> =
        options.secrets.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    secrets.extend(door.map(|door| (CATALOG_TOKEN.to_owned(), door.into())));
    // What a developer sets to watch or to hurry the processes reaches those of the containers too.
    let passed =
        ["HAKIRI_LOG"].iter().filter_map(|name| Some(((*name).to_owned(), environment::variable(name)?.into())));
    let passed: serde_json::Map<String, Value> = passed.collect();
    let page = options.page.zip(door).map(|(listen, door)| {
        json!({ "listen": listen.to_string(), "args": options.project, "store": options.store, "token": door })
    });
    Ok(json!({
        "project_dir": options.generated,
        "work_dir": options.work_dir,
        "node_modules": packages.modules(),
        "binary": environment::executable()?,
        "port": 0,
        "ticks": options.ticks,
        "from": options.from,
        "every_ms": options.every,
        "bucket": options.bucket,
        "secrets": secrets,
        "env": passed,
        "clock": options.ticks.is_none(),
        "page": page,
    }))
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
