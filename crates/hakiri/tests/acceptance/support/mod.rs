//! A project in a temporary folder, the binary, doubles of APIs, and databases.

pub mod api;
pub mod bucket;
pub mod dev;
pub mod faulty;
pub mod lambda;
pub mod orchestrator;
pub mod pg;
pub mod proxy;
pub mod server;
pub mod shop;
pub mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("HAKIRI_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_hakiri")), PathBuf::from)
}

/// A project in a folder that vanishes with it.
pub struct Project {
    dir: tempfile::TempDir,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Fails the test with both streams unless the code is this.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// Fails the test unless stderr holds this.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Project {
    /// With this manifest; `[project]` is added.
    pub fn new(manifest: &str) -> Self {
        let project = Self { dir: tempfile::tempdir().unwrap() };
        project.manifest(manifest);
        project
    }

    /// Replaces the manifest.
    pub fn manifest(&self, manifest: &str) {
        self.write("hakiri.toml", format!("[project]\nname = \"test\"\n\n{manifest}"));
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// The command, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        // A temporary folder of its own, so that leftovers can be counted and canaries searched.
        let tmp = self.path().join("tmp");
        std::fs::create_dir_all(&tmp).unwrap();
        command.env("TMPDIR", tmp).env_remove("HTTP_PROXY").env("NO_COLOR", "1");
        command
    }

    pub fn hakiri(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// `run` that must succeed, as JSON.
    #[track_caller]
    pub fn run(&self) -> Value {
        self.hakiri(&["run", "--json"]).expect(0).json()
    }

    /// The rows of a query.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Value> {
        let ran = self.hakiri(&["query", "--format", "json", sql]).expect(0);
        ran.json().as_array().cloned().unwrap_or_else(|| panic!("{}", ran.stdout))
    }

    /// The one number of a query.
    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql);
        let row = rows[0].as_object().unwrap();
        row.values().next().and_then(Value::as_i64).unwrap_or_else(|| panic!("{rows:?}"))
    }

    /// The folder of the store.
    pub fn store(&self) -> PathBuf {
        self.path().join(".hakiri/context/test")
    }

    /// All files below the store's tables, relative to the store, sorted.
    pub fn files(&self) -> Vec<String> {
        files_below(&self.store().join("tables"), &self.store())
    }
}

/// All files of a folder with their bytes.
pub fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    files_below(dir, dir).into_iter().map(|path| (path.clone(), std::fs::read(dir.join(path)).unwrap())).collect()
}

/// A file of a project's folder.
#[track_caller]
pub fn text(project: &Project, path: &str) -> String {
    std::fs::read_to_string(project.path().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All files below a folder, relative to `base`, sorted.
pub fn files_below(dir: &Path, base: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return out };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(files_below(&path, base));
        } else {
            out.push(path.strip_prefix(base).unwrap().to_string_lossy().into_owned());
        }
    }
    out.sort();
    out
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Runs a Python script with the interpreter that has pyarrow and duckdb; its stdout.
#[track_caller]
pub fn python(script: &str, args: &[&str]) -> String {
    let python =
        std::env::var("HAKIRI_TEST_PYTHON").expect("HAKIRI_TEST_PYTHON is not set: run the tests with ./x test");
    let output = Command::new(python).arg("-c").arg(script).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that what every manifest of the store names is there with its hash, from the heads down. Returns the paths.
#[track_caller]
pub fn verified_files(project: &Project) -> Vec<String> {
    let mut named = Vec::new();
    for head in files_below(&project.store().join("heads"), &project.store()) {
        let head: Value = serde_json::from_slice(&std::fs::read(project.store().join(head)).unwrap()).unwrap();
        for table in head["tables"].as_object().unwrap().values() {
            let mut next = table["manifest"].clone();
            while let Some(path) = next["path"].as_str() {
                let bytes = std::fs::read(project.store().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
                assert_eq!(sha256(&bytes), next["sha256"].as_str().unwrap(), "{path}");
                named.push(path.to_owned());
                let manifest: Value = serde_json::from_slice(&bytes).unwrap();
                for part in manifest["parts"].as_array().unwrap() {
                    let path = part["path"].as_str().unwrap();
                    let bytes = std::fs::read(project.store().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
                    assert_eq!(sha256(&bytes), part["sha256"].as_str().unwrap(), "{path}");
                    assert_eq!(bytes.len() as u64, part["bytes"].as_u64().unwrap());
                    named.push(path.to_owned());
                }
                next = manifest["previous"].clone();
            }
        }
    }
    named.sort();
    named.dedup();
    named
}
