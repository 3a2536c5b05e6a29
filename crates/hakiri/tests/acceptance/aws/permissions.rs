//! Least privilege (G5): whatever is taken away from the role of the function, or of a task, breaks a run; and with all of it
//! nothing is missing, which every other test here shows. The stand-in enforces both roles; those of the machine and the
//! Scheduler it does not, which the tests of the generator look at (`deploy_aws`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BOUND, borrowed};
use crate::support::Project;
use crate::support::api::{self, Api};
use crate::support::bucket::{Keys, put};
use crate::support::dev::{Dev, kill};
use crate::support::server::wait_for;
use crate::support::sources::{BUCKET, FIRST, records};

/// What the stand-in does not ask a role for: it writes the logs of functions by itself.
const NOT_ENFORCED: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];

/// Somebody who may change roles.
struct Administrator {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Administrator {
    fn new(url: &str) -> Self {
        let tools = std::env::var("HAKIRI_TEST_AWS_TOOLS")
            .expect("HAKIRI_TEST_AWS_TOOLS is not set: run the tests with ./x test");
        let mut command = Command::new(format!("{tools}/bin/python"));
        command.args(["-c", include_str!("roles.py"), url]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    fn ask(&mut self, what: &Value) -> Value {
        writeln!(self.to, "{what}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{what}: {e}: {line}"))
    }
}

impl Drop for Administrator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What only a catalog with records above 400 KB, or a plan of more than a hundred of them, needs: its own tests
/// (`hakiri-catalog`, `dynamodb`) write such.
const OF_LARGE_RECORDS: [&str; 2] = ["dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"];
/// Pipelines of an API with a secret, and of files in somebody else's bucket.
const KINDS: [(&str, usize); 2] = [("api", 24), ("files", 5)];

/// A pipeline for each permission that is taken away, so that none waits for what another one left.
fn manifest() -> String {
    let mut out = String::new();
    for n in 0..KINDS[0].1 {
        let one = api::manifest("${API_URL}", "");
        out +=
            &one.replace("id = \"api\"", &format!("id = \"api{n}\"\nschedule = \"every 1m\"\nsecrets = [\"API_URL\"]"));
    }
    for n in 0..KINDS[1].1 {
        out += &format!(
            "[[pipeline]]\nid = \"files{n}\"\nschedule = \"every 1m\"\n\
             source = {{ connector = \"file\", config = {{ path = \"s3://{BUCKET}/permissions/*.csv\", table = \"rows{n}\" }} }}\n"
        );
    }
    format!("{out}\n[deploy.aws]\nfargate = [\"api0\", \"files0\"]\n")
}

/// Whether the run of a pipeline went wrong, once it is known.
fn outcome(lines: &[Value], pipeline: &str) -> Option<bool> {
    let of = |text: &str| {
        let line: Value = serde_json::from_str(text).ok()?;
        (line["pipeline"] == pipeline).then_some(line)
    };
    let task = format!("task:{pipeline}");
    for line in lines {
        if line["part"] == task.as_str() && line["event"] == "exited" && line["code"] != 0 {
            return Some(true);
        }
        let Some(said) = line["text"].as_str().and_then(of) else { continue };
        let next = said["next"].as_str().unwrap_or_default();
        if next.starts_with("error")
            || said["op"] == "step" && (next == "wait" || next == "fail")
            || said["level"] == "error"
        {
            return Some(true);
        }
        if said["message"] == "run committed" && said["tables"] != 1 {
            return Some(true);
        }
        if said["op"] == "commit" && next == "begin" {
            return Some(false);
        }
    }
    None
}

/// Functions keep what they have read: the next one reads it again.
fn start_anew(dev: &Dev) {
    let exited = || dev.events("exited").into_iter().map(|l| l["pid"].clone()).collect::<Vec<_>>();
    let there = exited();
    let alive: Vec<Value> =
        dev.events("started").into_iter().map(|l| l["pid"].clone()).filter(|p| !there.contains(p)).collect();
    alive.iter().filter_map(Value::as_i64).for_each(kill);
    wait_for("the functions to be gone", BOUND, || alive.iter().all(|pid| exited().contains(pid)).then_some(()));
}

#[test]
fn aws_every_permission_of_function_and_task_is_needed() {
    let api = Api::start(api::paged(records(1), 50));
    let project = Project::new(&manifest());
    let secrets = [("API_URL", api.url.clone())];
    let mut dev = Dev::start(&project, "aws", &["--ticks", "0"], &borrowed(&secrets));
    let ready = dev.wait_for("ready", BOUND);
    let url = ready["url"].as_str().unwrap();
    put(url, BUCKET, "permissions/1.csv", b"id,n\n1,a\n", &Keys::local());
    let mut administrator = Administrator::new(url);
    let (mut unneeded, mut next) = (Vec::new(), [0; KINDS.len()]);
    for (role, compute) in [("FunctionRole", "lambda"), ("TaskRole", "fargate")] {
        let role = ready["roles"][role].as_str().unwrap_or_else(|| panic!("{ready}")).to_owned();
        let all = administrator.ask(&json!({ "list": role }));
        for one in all.as_array().unwrap() {
            let (policy, action, resource) = (&one[0], one[2].as_str().unwrap(), one[3].to_string());
            if NOT_ENFORCED.contains(&action) || OF_LARGE_RECORDS.contains(&action) {
                continue;
            }
            let is_read = resource.contains(&format!(":{BUCKET}/")) || resource.contains(&format!(":{BUCKET}\""));
            let kind = usize::from(is_read);
            let pipeline = format!("{}{}", KINDS[kind].0, next[kind]);
            next[kind] += 1;
            assert!(next[kind] <= KINDS[kind].1, "more permissions than pipelines");
            administrator.ask(&json!({ "remove": [role, policy, one[1], action] }));
            start_anew(&dev);
            let before = dev.lines().len();
            let input = json!({ "pipeline": pipeline, "wake": FIRST, "compute": compute });
            let execution = administrator.ask(&json!({ "start": ready["outputs"]["Machine"], "input": input }));
            let since = Instant::now();
            let broken = loop {
                if let Some(broken) = outcome(&dev.lines()[before..], &pipeline) {
                    break broken;
                }
                let state = administrator.ask(&json!({ "look": execution }));
                if let Some(why) = state["failed"].get(0) {
                    println!("{compute} without {action}: {why}");
                    break true;
                }
                assert!(since.elapsed() < Duration::from_secs(60), "{action} of {compute}: {state}\n{}", dev.last());
                std::thread::sleep(Duration::from_millis(50));
            };
            administrator.ask(&json!({ "stop": execution }));
            administrator.ask(&json!({ "restore": [role, policy] }));
            if !broken {
                unneeded.push(format!("{compute}: {action} on {resource}"));
            }
        }
    }
    assert!(next[0] > 15 && next[1] == 4, "{next:?}");
    assert!(unneeded.is_empty(), "a run does not miss these:\n{}", unneeded.join("\n"));
}
