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

/// The codes of refused access: any other failure proves nothing of a permission.
const REFUSED: [&str; 5] = ["HK0115", "HK0204", "HK0205", "HK0308", "HK0404"];
/// What only a write of more than a hundred items needs.
const OF_LARGE_WRITES: [&str; 2] = ["dynamodb:ConditionCheckItem", "dynamodb:DeleteItem"];
/// Pipelines of an API with a secret, of files in somebody else's bucket, and of so many tables that their commit is a
/// large write.
const KINDS: [(&str, usize); 3] = [("api", 26), ("files", 6), ("many", 6)];
/// How long the words of a process that failed may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The tables of the last kind.
const TABLES: usize = 104;

/// A pipeline for each permission that is taken away, so that none waits for what another one left.
fn pipelines() -> String {
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
    for n in 0..KINDS[2].1 {
        let table = |t: usize| format!("m{n}_{t} = {{ path = \"s3://{BUCKET}/permissions/*.csv\" }}");
        let tables: Vec<String> = (0..TABLES).map(table).collect();
        out += &format!(
            "[[pipeline]]\nid = \"many{n}\"\nschedule = \"every 1m\"\n\
             source = {{ connector = \"file\", config = {{ tables = {{ {} }} }} }}\n",
            tables.join(", ")
        );
    }
    out
}

/// How the run of a pipeline went, once it is known: what was said of it when it went wrong.
fn outcome(lines: &[Value], pipeline: &str) -> Option<Result<(), String>> {
    let task = format!("task:{pipeline}");
    let tables = if pipeline.starts_with(KINDS[2].0) { TABLES } else { 1 };
    for line in lines {
        if line["part"] == task.as_str() && line["event"] == "exited" && line["code"] != 0 {
            let of_task = lines.iter().filter(|l| l["part"] == task.as_str()).filter_map(|l| l["text"].as_str());
            return Some(Err(of_task.collect::<Vec<_>>().join("\n")));
        }
        let Some(text) = line["text"].as_str() else { continue };
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        if said["pipeline"] != pipeline {
            continue;
        }
        let next = said["next"].as_str().unwrap_or_default();
        let wrong = next.starts_with("error")
            || said["op"] == "step" && (next.starts_with("wait ") || next.starts_with("fail "))
            || said["level"] == "error"
            || said["message"] == "run committed" && said["tables"] != tables;
        if wrong {
            return Some(Err(text.to_owned()));
        }
        if said["op"] == "commit" && next == "begin" {
            return Some(Ok(()));
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

/// A deployment, and somebody who may change its roles.
struct Deployment {
    dev: Dev,
    ready: Value,
    administrator: Administrator,
    /// How many pipelines of each kind have run.
    begun: [usize; KINDS.len()],
}

impl Deployment {
    fn new(project: &Project, api: &Api) -> Self {
        let secrets = [("API_URL", api.url.clone())];
        let mut dev = Dev::start(project, "aws", &["--ticks", "0"], &borrowed(&secrets));
        let ready = dev.wait_for("ready", BOUND);
        let administrator = Administrator::new(ready["url"].as_str().unwrap());
        Self { dev, ready, administrator, begun: [0; KINDS.len()] }
    }

    /// The name of a role of the template.
    fn role(&self, of: &str) -> String {
        self.ready["roles"][of].as_str().unwrap_or_else(|| panic!("no {of}: {}", self.ready)).to_owned()
    }

    /// One run of the next pipeline of a kind; what was said of it when it went wrong.
    fn run(&mut self, kind: usize, compute: &str) -> Result<(), String> {
        let pipeline = format!("{}{}", KINDS[kind].0, self.begun[kind]);
        self.begun[kind] += 1;
        assert!(self.begun[kind] <= KINDS[kind].1, "more runs than pipelines of {}", KINDS[kind].0);
        start_anew(&self.dev);
        let before = self.dev.lines().len();
        let input = json!({ "pipeline": pipeline, "wake": FIRST, "compute": compute });
        let execution = self.administrator.ask(&json!({ "start": self.ready["outputs"]["Machine"], "input": input }));
        let (since, mut failed) = (Instant::now(), None);
        let outcome = loop {
            if let Some(outcome) = outcome(&self.dev.lines()[before..], &pipeline) {
                break outcome;
            }
            let state = self.administrator.ask(&json!({ "look": execution }));
            if let Some(why) = state["failed"].get(0).map(Value::to_string) {
                // What a process said of it comes another way, and may still be on it.
                let late = failed.get_or_insert_with(Instant::now).elapsed() > PATIENCE;
                if late || REFUSED.iter().any(|code| why.contains(code)) {
                    break Err(why);
                }
            }
            assert!(since.elapsed() < BOUND, "{pipeline} on {compute}: {state}\n{}", self.dev.last());
            std::thread::sleep(Duration::from_millis(50));
        };
        self.administrator.ask(&json!({ "stop": execution }));
        outcome
    }
}

#[test]
fn aws_every_permission_of_function_and_task_is_needed() {
    let api = Api::start(api::paged(records(1), 50));
    let project = Project::new(&format!("{}\n[deploy.aws]\nfargate = [\"api0\", \"files0\"]\n", pipelines()));
    let mut deployment = Deployment::new(&project, &api);
    let url = deployment.ready["url"].as_str().unwrap();
    put(url, BUCKET, "permissions/1.csv", b"id,n\n1,a\n", &Keys::local());
    let mut unneeded = Vec::new();
    for (role, compute) in [("FunctionRole", "lambda"), ("TaskRole", "fargate")] {
        let role = deployment.role(role);
        // With all of it nothing breaks, or what follows would say nothing.
        for (kind, (name, _)) in KINDS.iter().enumerate() {
            deployment.run(kind, compute).unwrap_or_else(|why| panic!("{name} on {compute}: {why}"));
        }
        let all = deployment.administrator.ask(&json!({ "list": role }));
        let mut all = all.as_array().unwrap().clone();
        // These last and in their order: what a large write laid aside is removed by itself or else by the next one, which
        // is the only one to fail; and the one that could not check for its note leaves such things behind.
        all.sort_by_key(|one| OF_LARGE_WRITES.iter().position(|action| one[2] == *action));
        for one in &all {
            let (policy, action, resource) = (&one[0], one[2].as_str().unwrap(), one[3].to_string());
            if NOT_ENFORCED.contains(&action) {
                continue;
            }
            let is_read = resource.contains(&format!(":{BUCKET}/")) || resource.contains(&format!(":{BUCKET}\""));
            let kind = if OF_LARGE_WRITES.contains(&action) { 2 } else { usize::from(is_read) };
            deployment.administrator.ask(&json!({ "remove": [role, policy, one[1], action] }));
            let outcome = deployment.run(kind, compute);
            deployment.administrator.ask(&json!({ "restore": [role, policy] }));
            match outcome {
                Ok(()) => unneeded.push(format!("{compute}: {action} on {resource}")),
                Err(why) => {
                    assert!(REFUSED.iter().any(|code| why.contains(code)), "{compute} without {action}: {why}");
                    // Nothing but the commit is a large write, and steps that are in each other's way prove nothing.
                    assert!(kind != 2 || why.contains(r#""op":"commit""#), "{compute} without {action}: {why}");
                }
            }
        }
    }
    let [of_api, of_files, _] = deployment.begun;
    assert!(of_api > 17 && of_files == 6, "{:?}", deployment.begun);
    assert!(unneeded.is_empty(), "a run does not miss these:\n{}", unneeded.join("\n"));
}

/// What else the role of a task has where the catalog is a database of the deployment's own: each secret that it may read.
/// That it may log in by IAM (`rds-db:connect`) is nothing that the stand-in asks for.
#[test]
fn aws_a_task_with_a_database_needs_each_of_its_secrets() {
    let api = Api::start(api::paged(records(1), 50));
    let project = Project::new(&format!("{}\n[deploy.aws]\ncatalog = \"postgres\"\n", pipelines()));
    let mut deployment = Deployment::new(&project, &api);
    let role = deployment.role("TaskRole");
    let all = deployment.administrator.ask(&json!({ "list": role }));
    let is_of_secrets = |one: &&Value| one[2] == "secretsmanager:GetSecretValue";
    let one = all.as_array().unwrap().iter().find(is_of_secrets).unwrap_or_else(|| panic!("{all}"));
    let secrets = one[3].as_array().unwrap();
    assert_eq!(secrets.len(), 2, "that of the deployment, and that of the database's administrator: {one}");
    for secret in secrets {
        deployment.administrator.ask(&json!({ "narrow": [role, one[0], one[1], secret] }));
        let why = deployment.run(0, "fargate").expect_err(&format!("a run without {secret}"));
        assert!(REFUSED.iter().any(|code| why.contains(code)), "{why}");
        deployment.administrator.ask(&json!({ "restore": [role, one[0]] }));
    }
    deployment.run(0, "fargate").unwrap();
    // The administrator's is for the first login alone, which makes the user of all others.
    let administrators = secrets.iter().find(|secret| secret.as_str().unwrap().contains("database")).unwrap();
    deployment.administrator.ask(&json!({ "narrow": [role, one[0], one[1], administrators] }));
    deployment.run(0, "fargate").unwrap();
}
