//! A PostgreSQL of one's own, for tests that kill it or need settings that others cannot share. Tests that only need a
//! database use the server of `HAKIRI_TEST_PG`, see [`shared`].
//!
//! The default order of texts is a linguistic one (ICU), so that a forgotten `COLLATE "C"` shows.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{alive, children, free_port, signal};

/// How long a server may take to start or to recover.
const PATIENCE: Duration = Duration::from_secs(60);

/// The URL of the server that `./x test` started: a superuser, database `postgres`.
///
/// # Panics
/// When there is none.
pub fn shared() -> String {
    std::env::var("HAKIRI_TEST_PG")
        .expect("HAKIRI_TEST_PG names no PostgreSQL: run ./x test, or eval \"$(./x pg start)\"")
}

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether commits reach the disk; only for tests that kill the server.
    pub fsync: bool,
    /// Certificate (with its chain) and key in PEM form, for `ssl = on`.
    pub tls: Option<(String, String)>,
    /// Further settings.
    pub settings: Vec<(String, String)>,
    /// The content of `pg_hba.conf`; everybody is let in without it.
    pub hba: Option<String>,
}

/// A running server on a loopback port, in a temporary folder that goes with it.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Creates a cluster and starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(options: &Options) -> Self {
        let folder = tempfile::Builder::new().prefix("hakiri-pg").tempdir().unwrap();
        let data = folder.path().join("data");
        give(folder.path());
        run(as_server("initdb").arg("-D").arg(&data).args([
            "-U",
            "hakiri",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale-provider=icu",
            "--icu-locale=und",
            "--locale=C.UTF-8",
        ]));
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("unix_socket_directories".to_owned(), folder.path().to_str().unwrap().to_owned()),
            // Nothing outside of the folder that a killed server would leave behind.
            ("dynamic_shared_memory_type".to_owned(), "mmap".to_owned()),
        ];
        if !options.fsync {
            for setting in ["fsync", "full_page_writes", "autovacuum"] {
                settings.push((setting.to_owned(), "off".to_owned()));
            }
        }
        if let Some((certificate, key)) = &options.tls {
            for (name, text) in [("server.crt", certificate), ("server.key", key)] {
                std::fs::write(data.join(name), text).unwrap();
                run(Command::new("chmod").arg("600").arg(data.join(name)));
            }
            settings.push(("ssl".to_owned(), "on".to_owned()));
        }
        settings.extend(options.settings.iter().cloned());
        let conf: String = settings.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        std::fs::write(data.join("postgresql.auto.conf"), conf).unwrap();
        if let Some(hba) = &options.hba {
            std::fs::write(data.join("pg_hba.conf"), hba).unwrap();
        }
        give(folder.path());
        let mut server = Self { folder, port: 0, child: None };
        // Somebody else may take a port between our look and the server's.
        for _ in 0..5 {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("PostgreSQL does not start: {}", server.log());
    }

    /// The URL of the superuser in database `postgres`, without parameters.
    pub fn url(&self) -> String {
        self.url_of("hakiri", "127.0.0.1")
    }

    /// As [`Self::url`], for another user (with `:password`, if need be) and another name of this machine.
    pub fn url_of(&self, user: &str, host: &str) -> String {
        format!("postgres://{user}@{host}:{}/postgres", self.port)
    }

    /// The port, which stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its socket.
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// Kills all of its processes at once, as a loss of power would. What it did not write to disk may be lost.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let main = child.id();
        // Held first, so that it starts no further process and none of them notices the others' end.
        signal("STOP", &[main]);
        let mut all = children(main);
        all.push(main);
        signal("KILL", &all);
        child.wait().unwrap();
        let gone = Instant::now();
        while all.iter().any(|pid| alive(*pid)) {
            assert!(gone.elapsed() < PATIENCE, "a process of PostgreSQL does not die");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts it again, after [`Self::kill`] or from a running state, and waits until it has recovered.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.launch(), "PostgreSQL does not start again: {}", self.log());
    }

    /// Starts it and waits until it takes connections.
    fn launch(&mut self) -> bool {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut child = as_server("postgres")
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // Ctrl-C at a terminal is for the test, which then ends the server.
            .process_group(0)
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            let ready = Command::new(bin("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "hakiri", "-d", "postgres"])
                .env_clear()
                .status()
                .unwrap();
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            if ready.success() {
                self.child = Some(child);
                return true;
            }
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL takes too long: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it without writing anything down.
    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal("QUIT", &[child.id()]);
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(10) {
                self.child = Some(child);
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A pooler in transaction mode before a server: each transaction of a client may go over another of its few
/// connections, which forget nothing in between.
#[derive(Debug)]
pub struct Pooler {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Pooler {
    /// Starts one before the server of a URL `postgres://user@127.0.0.1:port/database`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(url: &str, connections: u32) -> Self {
        let (user, rest) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
        let (host, database) = rest.split_once('/').unwrap();
        let (host, port_of_server) = host.split_once(':').unwrap();
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("hakiri-pooler").tempdir().unwrap();
            let port = free_port();
            let conf = folder.path().join("conf");
            std::fs::write(folder.path().join("users"), format!("\"{user}\" \"\"\n")).unwrap();
            let text = format!(
                "[databases]\n{database} = host={host} port={port_of_server} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
                 default_pool_size = {connections}\nmax_client_conn = 200\nserver_round_robin = 1\n",
                folder.path().join("users").display()
            );
            std::fs::write(&conf, text).unwrap();
            give(folder.path());
            let log = std::fs::File::create(folder.path().join("log")).unwrap();
            let found = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|p| Path::new(p).exists());
            let mut child = as_user(Path::new(found.expect("no pgbouncer: run ./x setup")))
                .arg(&conf)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .process_group(0)
                .spawn()
                .unwrap();
            let begun = Instant::now();
            while child.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { folder, port, child };
                }
                assert!(begun.elapsed() < PATIENCE, "the pooler takes too long");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        panic!("the pooler does not start");
    }

    /// The URL to use instead of the server's.
    pub fn url(&self, of_server: &str) -> String {
        let (user, rest) = of_server.split_once('@').unwrap();
        let (_, database) = rest.split_once('/').unwrap();
        format!("{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of the newest PostgreSQL of this machine.
fn bin(name: &str) -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|folder| {
            let versions = folder.flatten().filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path())));
            versions.map(|(version, path)| (version, path.join("bin").join(name))).filter(|(_, p)| p.exists()).collect()
        })
        .unwrap_or_default();
    found.sort();
    found.pop().map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// The user that a server runs as where the tests run as root, which it refuses.
fn user() -> &'static str {
    let known = Command::new("id").args(["-u", "postgres"]).output().unwrap().status.success();
    if known { "postgres" } else { "nobody" }
}

/// A program of PostgreSQL, under a user that it accepts and without the settings of the developer's.
fn as_server(name: &str) -> Command {
    as_user(&bin(name))
}

fn as_user(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        let gid = Command::new("id").args(["-g", user()]).output().unwrap();
        command
            .arg(format!("--reuid={}", user()))
            .arg(format!("--regid={}", String::from_utf8_lossy(gid.stdout.trim_ascii())));
        command.arg("--init-groups").arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
    command
}

/// Gives a folder to the user that the server runs as.
fn give(folder: &Path) {
    if is_root() {
        run(Command::new("chown").arg("-R").arg(user()).arg(folder));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
