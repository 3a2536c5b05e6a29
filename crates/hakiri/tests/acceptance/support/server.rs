//! `hakiri serve` and `hakiri worker` under test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Project;

/// A serving process; killed when dropped.
pub struct Server {
    child: Child,
    /// Where its page is: `127.0.0.1:port`.
    pub address: String,
    log: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Server {
    /// Starts it on a free port, and waits until it says where it listens.
    #[track_caller]
    pub fn start(project: &Project, args: &[&str]) -> Self {
        Self::start_with(project, args, |_| {})
    }

    /// As [`start`](Self::start), with more set on the command.
    #[track_caller]
    pub fn start_with(project: &Project, args: &[&str], more: impl FnOnce(&mut Command)) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(args);
        let mut command = project.command(&all);
        more(&mut command);
        Self::spawn(command)
    }

    /// `hakiri worker` on a free port of loopback.
    #[track_caller]
    pub fn worker(project: &Project, args: &[&str]) -> Self {
        let mut all = vec!["--log-format", "json", "worker", "--listen", "127.0.0.1:0"];
        all.extend(args);
        let mut command = project.command(&all);
        command.env("HAKIRI_LOG", "warn,hakiri=info,hakiri_engine::ops=debug");
        Self::spawn(command)
    }

    /// Starts a command that serves.
    #[track_caller]
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log: Arc<Mutex<String>> = Arc::default();
        let (lines, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let mut server = Self { child, address: String::new(), log, reader };
        wait_for("the server to listen", Duration::from_secs(30), || {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}\n{}", server.whole_log());
            let log = server.log();
            let rest = log.split_once("ing on http://")?.1;
            Some(rest.split(['/', '\n', ' ']).next()?.to_owned())
        })
        .clone_into(&mut server.address);
        server
    }

    /// Its process.
    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Everything it said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Everything it said, once it has ended.
    fn whole_log(&self) -> String {
        read_to_the_end(&[&self.reader]);
        self.log()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM, and how it ended and how long that took; fails the test after `bound`.
    #[track_caller]
    pub fn terminate(mut self, bound: Duration) -> (ExitStatus, Duration, String) {
        let asked = Instant::now();
        self.signal(15);
        let status = self.wait(bound);
        (status, asked.elapsed(), self.whole_log())
    }

    /// How it ended, once it was asked to; fails the test after `bound`.
    #[track_caller]
    pub fn end(mut self, bound: Duration) -> (ExitStatus, String) {
        let status = self.wait(bound);
        (status, self.whole_log())
    }

    #[track_caller]
    fn wait(&mut self, bound: Duration) -> ExitStatus {
        wait_for("the server to end", bound, || self.child.try_wait().unwrap())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A GET of its page: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = request(&self.address, "GET", path, &[]);
        (status, body)
    }

    /// Resident memory in KiB and open descriptors, now.
    pub fn usage(&self) -> (u64, usize) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        let resident = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        (resident, std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for the readers of a process that has ended: what it said last is still on its way through the pipes. Not for
/// long, as a process that it started may hold them open.
pub fn read_to_the_end(readers: &[&JoinHandle<()>]) {
    let started = Instant::now();
    while readers.iter().any(|reader| !reader.is_finished()) && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One request of HTTP/1.1 without a library: status, head and body.
pub fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    send(address, method, path, headers, "")
}

/// As [`request`], with a body.
pub fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.push_str(body);
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, head.to_owned(), body.to_owned())
}

/// Asks until there is an answer; fails the test when there is none in time.
#[track_caller]
pub fn wait_for<T>(what: &str, bound: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < bound, "waited {bound:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
