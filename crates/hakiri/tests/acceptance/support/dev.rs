//! `hakiri dev` under test: its stream of lines, its processes, its bucket.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::Project;
use super::server::{read_to_the_end, wait_for};

/// A local run of a deployment; killed when dropped.
pub struct Dev {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    errors: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

impl Dev {
    /// `hakiri dev TARGET` with these arguments, and these secrets in its environment.
    #[track_caller]
    pub fn start(project: &Project, target: &str, args: &[&str], secrets: &[(&str, &str)]) -> Self {
        let mut all = vec!["--json", "dev", target];
        all.extend(args);
        let mut command = project.command(&all);
        command.env("HAKIRI_LOG", "warn,hakiri=info,hakiri_engine::ops=debug").envs(secrets.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, errors): (Arc<Mutex<Vec<Value>>>, Arc<Mutex<String>>) = Default::default();
        let (to, stdout) = (lines.clone(), BufReader::new(child.stdout.take().unwrap()));
        let of_stdout = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A refusal is one document over several lines, and shows in what was said on stderr as well.
                let line = serde_json::from_str(&line).unwrap_or_else(|_| Value::String(line));
                to.lock().unwrap().push(line);
            }
        });
        let (to, stderr) = (errors.clone(), BufReader::new(child.stderr.take().unwrap()));
        let of_stderr = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                to.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self { child, lines, errors, readers: [of_stdout, of_stderr] }
    }

    /// Waits, once it has ended, for what it said last.
    fn hear_the_rest(&self) {
        read_to_the_end(&self.readers.each_ref());
    }

    /// Everything said so far.
    pub fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    /// The lines of an event.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|l| l["event"] == event).collect()
    }

    /// The last lines, for a failure.
    pub fn last(&self) -> String {
        let lines = self.lines();
        let shown: Vec<String> = lines.iter().rev().take(40).rev().map(Value::to_string).collect();
        format!("{}\n{}", shown.join("\n"), self.errors.lock().unwrap())
    }

    /// Waits for an event; the first line of it.
    #[track_caller]
    pub fn wait_for(&mut self, event: &str, bound: Duration) -> Value {
        wait_for(event, bound, || {
            if let Some(found) = self.events(event).into_iter().next() {
                return Some(found);
            }
            if let Some(ended) = self.child.try_wait().unwrap() {
                self.hear_the_rest();
                assert!(!self.events(event).is_empty(), "it ended ({ended}) before `{event}`:\n{}", self.last());
            }
            None
        })
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends by itself, which must be a success; all that was said.
    #[track_caller]
    pub fn finish(mut self, bound: Duration) -> Vec<Value> {
        let started = std::time::Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < bound, "not done within {bound:?}:\n{}", self.last());
            std::thread::sleep(Duration::from_millis(50));
        };
        self.hear_the_rest();
        assert!(status.success(), "{status}:\n{}", self.last());
        self.lines()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// SIGKILL.
pub fn kill(pid: i64) {
    let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
}
