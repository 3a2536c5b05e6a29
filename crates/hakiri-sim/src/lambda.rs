//! AWS Lambda's Runtime API on loopback, and the sandbox around a function: it is frozen between invocations, killed soon
//! after its deadline, and started anew after it died.
//!
//! One invocation at a time, as in a sandbox of the platform; several at once are several sandboxes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::process::signal;

/// How long a function may take to ask for its first invocation.
const INIT: Duration = Duration::from_secs(30);
/// How long after its deadline a function is killed. The platform does it at once, and this machine may stall for longer
/// than a short deadline leaves to whoever keeps it: a test that means the deadline looks at when the answer came.
const LATE: Duration = Duration::from_secs(3);
/// Every path of the API begins so.
const PREFIX: &str = "/2018-06-01/runtime/";

/// What became of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The function's answer.
    Answered(String),
    /// The function's error, or that it cannot start: type and the whole body.
    Failed(String, String),
    /// The process ended without an answer.
    Exited,
    /// It had not answered at its deadline, nor soon after, and was killed.
    TimedOut,
}

/// A sandbox with a function in it.
#[derive(Debug)]
pub struct Function {
    root: TempDir,
    program: PathBuf,
    variables: Vec<(String, String)>,
    /// Whether the process is stopped when it has nothing to do.
    freezes: bool,
    address: String,
    shared: Arc<Shared>,
    child: Mutex<Option<Child>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What the function is to do next: id, deadline in milliseconds since 1970, event.
    next: Option<(String, u128, String)>,
    /// The invocation under way.
    current: Option<String>,
    outcome: Option<Outcome>,
    /// Whether the function waits for an invocation.
    waiting: bool,
    invocations: u64,
    /// Counts the processes: what an earlier one asked for is answered no more.
    processes: u64,
    log: String,
}

impl Function {
    /// With the program under the name `bootstrap`, and these files of `project/` beside it; nothing is started yet.
    /// The process sees these variables and no others of this one's.
    ///
    /// # Panics
    /// When a folder cannot be made.
    pub fn new(program: &Path, project: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let root = tempfile::Builder::new().prefix("hakiri-lambda").tempdir().unwrap();
        for (path, text) in project {
            let path = root.path().join("task/project").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir_all(root.path().join("tmp")).unwrap();
        let bootstrap = root.path().join("task/bootstrap");
        std::fs::create_dir_all(bootstrap.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(program, &bootstrap).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared: Arc<Shared> = Arc::default();
        let of_server = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = of_server.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self { root, program: bootstrap, variables, freezes: true, address, shared, child: Mutex::new(None) }
    }

    /// Where its code lies, to be changed before it starts.
    pub fn task(&self) -> PathBuf {
        self.root.path().join("task")
    }

    /// The one folder that the platform lets it write to.
    pub fn tmp(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    /// Sets a variable for processes that start from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(n, _)| n != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// What its processes wrote to their streams.
    pub fn log(&self) -> String {
        self.state().log.clone()
    }

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.lock().unwrap().as_ref().map(Child::id)
    }

    /// SIGKILL; the next invocation starts another process.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a new process; how long it took until it asked for its first invocation.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(&self) -> Duration {
        self.kill();
        let begun = Instant::now();
        self.launch();
        let mut state = self.state();
        while !state.waiting {
            assert!(begun.elapsed() < INIT, "the function does not start:\n{}", state.log);
            (state, _) = self.shared.changed.wait_timeout(state, Duration::from_millis(20)).unwrap();
        }
        begun.elapsed()
    }

    /// Asks for something and waits for what becomes of it.
    ///
    /// # Panics
    /// When the function neither starts nor ends.
    pub fn invoke(&self, event: &str, timeout: Duration) -> Outcome {
        self.begin(event, timeout);
        self.wait()
    }

    /// The process, while it runs.
    fn alive(&self) -> Option<u32> {
        let mut child = self.child.lock().unwrap();
        child.as_mut().and_then(|c| c.try_wait().unwrap().is_none().then(|| c.id()))
    }

    /// Asks for something. [`wait`](Self::wait) has the outcome.
    ///
    /// # Panics
    /// When something is under way already.
    pub fn begin(&self, event: &str, timeout: Duration) {
        {
            let mut state = self.state();
            assert!(state.current.is_none() && state.next.is_none(), "a sandbox does one thing at a time");
            state.invocations += 1;
            let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + timeout;
            state.next = Some((format!("invocation-{}", state.invocations), deadline.as_millis(), event.to_owned()));
            state.outcome = None;
        }
        let alive = self.alive();
        match alive {
            Some(pid) => signal("CONT", &[pid]),
            None => self.launch(),
        }
        self.shared.changed.notify_all();
    }

    fn launch(&self) {
        {
            let mut state = self.state();
            (state.waiting, state.processes) = (false, state.processes + 1);
        }
        *self.child.lock().unwrap() = Some(self.spawn());
        self.shared.changed.notify_all();
    }

    /// Waits for what becomes of what was begun.
    ///
    /// # Panics
    /// When the function neither starts nor ends.
    pub fn wait(&self) -> Outcome {
        let begun = Instant::now();
        loop {
            let (outcome, deadline, taken) = {
                let state = self.state();
                let (state, _) = self.shared.changed.wait_timeout(state, Duration::from_millis(20)).unwrap();
                let deadline = state.next.as_ref().map(|(_, deadline, _)| *deadline);
                (state.outcome.clone(), deadline, state.current.clone())
            };
            if let Some(outcome) = outcome {
                self.end(&outcome);
                return outcome;
            }
            let ended = {
                let mut child = self.child.lock().unwrap();
                child.as_mut().is_none_or(|c| c.try_wait().unwrap().is_some())
            };
            if ended {
                // It may have answered in its last moment.
                std::thread::sleep(Duration::from_millis(50));
                let outcome = self.state().outcome.clone().unwrap_or(Outcome::Exited);
                self.end(&outcome);
                return outcome;
            }
            assert!(taken.is_some() || begun.elapsed() < INIT, "the function does not start:\n{}", self.log());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            if deadline.is_some_and(|deadline| now > deadline + LATE.as_millis()) {
                self.kill();
                // It may have answered since we looked.
                let outcome = self.state().outcome.clone().unwrap_or(Outcome::TimedOut);
                self.end(&outcome);
                return outcome;
            }
        }
    }

    /// After an outcome: forgets the invocation, and freezes the process once it asks for the next.
    fn end(&self, outcome: &Outcome) {
        {
            let mut state = self.state();
            (state.next, state.current, state.outcome) = (None, None, None);
        }
        let lives = matches!(outcome, Outcome::Answered(_) | Outcome::Failed(..));
        let Some(pid) = self.pid().filter(|_| lives && self.freezes) else { return };
        let begun = Instant::now();
        while !self.state().waiting && begun.elapsed() < INIT {
            if self.child.lock().unwrap().as_mut().is_none_or(|c| c.try_wait().unwrap().is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        signal("STOP", &[pid]);
    }

    fn spawn(&self) -> Child {
        let mut child = Command::new(&self.program)
            .env_clear()
            .envs(self.variables.iter().map(|(n, v)| (n, v)))
            .env("AWS_LAMBDA_RUNTIME_API", &self.address)
            .env("LAMBDA_TASK_ROOT", self.task())
            .env("TMPDIR", self.tmp())
            .current_dir(self.task())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let shared = self.shared.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    shared.state.lock().unwrap().log.push_str(&format!("{line}\n"));
                }
            });
        }
        child
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One request of the function's.
fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    let Some((method, path, headers, body)) = read(&mut reader) else { return };
    let mut answer = |status: &str, more: &str, body: &str| {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n", body.len());
        let _ = out.write_all(head.as_bytes()).and_then(|()| out.write_all(body.as_bytes()));
    };
    let rest = path.strip_prefix(PREFIX).unwrap_or_default();
    match (method.as_str(), rest.split('/').collect::<Vec<_>>().as_slice()) {
        ("GET", ["invocation", "next"]) => {
            let Some((id, deadline, event)) = next(shared) else { return };
            let more = format!(
                "lambda-runtime-aws-request-id: {id}\r\nlambda-runtime-deadline-ms: {deadline}\r\n\
                 content-type: application/json\r\n"
            );
            answer("200 OK", &more, &event);
        }
        ("POST", ["invocation", id, "response"]) => match settle(shared, id, Outcome::Answered(body)) {
            true => answer("202 Accepted", "", ""),
            false => answer("403 Forbidden", "", ""),
        },
        ("POST", ["invocation", id, "error"]) => {
            let kind = headers.get("lambda-runtime-function-error-type").cloned().unwrap_or_default();
            match settle(shared, id, Outcome::Failed(kind, body)) {
                true => answer("202 Accepted", "", ""),
                false => answer("403 Forbidden", "", ""),
            }
        }
        ("POST", ["init", "error"]) => {
            let kind = headers.get("lambda-runtime-function-error-type").cloned().unwrap_or_default();
            shared.state.lock().unwrap().outcome = Some(Outcome::Failed(kind, body));
            shared.changed.notify_all();
            answer("202 Accepted", "", "");
        }
        _ => answer("404 Not Found", "", ""),
    }
}

/// Waits until there is an invocation; none for a process that is gone by then.
fn next(shared: &Shared) -> Option<(String, u128, String)> {
    let mut state = shared.state.lock().unwrap();
    state.waiting = true;
    shared.changed.notify_all();
    let process = state.processes;
    loop {
        if state.processes != process {
            return None;
        }
        if state.current.is_none()
            && state.outcome.is_none()
            && let Some(next) = state.next.clone()
        {
            state.waiting = false;
            state.current = Some(next.0.clone());
            return Some(next);
        }
        state = shared.changed.wait(state).unwrap();
    }
}

fn settle(shared: &Shared, id: &str, outcome: Outcome) -> bool {
    let mut state = shared.state.lock().unwrap();
    let known = state.current.as_deref() == Some(id) && state.outcome.is_none();
    if known {
        state.outcome = Some(outcome);
        shared.changed.notify_all();
    }
    known
}

type Read = (String, String, BTreeMap<String, String>, String);

fn read(reader: &mut BufReader<TcpStream>) -> Option<Read> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, headers, String::from_utf8_lossy(&body).into_owned()))
}
