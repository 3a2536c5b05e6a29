//! The function of a deployment on the Runtime API of tests, its catalog a database and its store a bucket.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hakiri_sim::lambda::{Function, Outcome};
use serde_json::{Value, json};

use super::bucket::objects;
use super::pg::Db;
use super::{Project, Ran, binary};

/// How long an invocation may take where a test says nothing else.
const TIMEOUT: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where the functions of one project keep what they know.
pub struct Deployment {
    pub catalog: Db,
    endpoint: String,
    bucket: String,
    prefix: String,
    manifest: String,
    variables: Vec<(String, String)>,
}

fn set(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with ./x test"))
}

impl Deployment {
    /// Of a project `test` with this manifest.
    pub fn new(manifest: &str) -> Self {
        let at = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let prefix = format!("lambda-{}-{at}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        Self {
            catalog: Db::new(""),
            endpoint: set("HAKIRI_TEST_S3"),
            bucket: set("HAKIRI_TEST_S3_BUCKET"),
            prefix,
            manifest: format!("[project]\nname = \"test\"\n\n{manifest}"),
            variables: Vec::new(),
        }
    }

    /// With another variable in the environment of its processes.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn store(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut all = vec![
            ("AWS_ENDPOINT_URL_S3".to_owned(), self.endpoint.clone()),
            ("AWS_REGION".to_owned(), "us-east-1".to_owned()),
            ("NO_COLOR".to_owned(), "1".to_owned()),
        ];
        all.extend(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name.to_owned(), set(name))));
        all.extend(self.variables.iter().cloned());
        all
    }

    /// A sandbox of the function.
    pub fn function(&self) -> Lambda {
        let mut variables = self.environment();
        variables.push(("HAKIRI_CATALOG".to_owned(), self.catalog.url()));
        variables.push(("HAKIRI_STORE".to_owned(), self.store()));
        variables.push(("HAKIRI_LOG".to_owned(), "warn,hakiri=info,hakiri_engine::ops=debug".to_owned()));
        let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        Lambda(Function::new(&binary(), &[("hakiri.toml", &self.manifest)], &variables))
    }

    /// A command on this machine on the same catalog and store: a run of a container, or a look at what there is.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let project = Project::new("");
        project.write("hakiri.toml", &self.manifest);
        let mut command = project.command(args);
        command.envs(self.environment());
        // The folder goes when the process that makes this command does.
        std::mem::forget(project);
        command
    }

    /// `hakiri run` with these arguments, on the same catalog and store.
    pub fn run(&self, args: &[&str]) -> Ran {
        let (catalog, store) = (self.catalog.url(), self.store());
        let mut all = vec!["run", "--catalog", &catalog, "--store", &store];
        all.extend(args);
        self.command(&all).output().unwrap().into()
    }

    /// The rows of a query of the store.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Value {
        let store = format!("{}/test", self.store());
        let place = ["query", "--store", &store, "--endpoint", &self.endpoint, "--region", "us-east-1"];
        let ran: Ran = self.command(&[&place[..], &["--format", "json", sql]].concat()).output().unwrap().into();
        ran.expect(0).json()
    }

    /// The files of the tables: path and content.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let all = objects(&self.endpoint, &self.bucket, &self.prefix);
        all.into_iter().filter(|(path, _)| path.starts_with("tables/")).collect()
    }

    /// The paths of what steps have left.
    pub fn steps(&self) -> Vec<String> {
        let all = objects(&self.endpoint, &self.bucket, &self.prefix);
        all.into_iter().map(|(path, _)| path).filter(|path| path.starts_with("steps/")).collect()
    }
}

/// A sandbox.
pub struct Lambda(pub Function);

impl Lambda {
    /// The answer to an event.
    #[track_caller]
    pub fn ask(&self, event: &Value) -> Value {
        self.ask_within(event, TIMEOUT)
    }

    #[track_caller]
    pub fn ask_within(&self, event: &Value, timeout: Duration) -> Value {
        match self.0.invoke(&event.to_string(), timeout) {
            Outcome::Answered(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{event}: {other:?}\n{}", self.0.log()),
        }
    }

    /// Type and message of the error that an event leads to.
    #[track_caller]
    pub fn error(&self, event: &Value) -> (String, String) {
        self.error_within(event, TIMEOUT)
    }

    #[track_caller]
    pub fn error_within(&self, event: &Value, timeout: Duration) -> (String, String) {
        match self.0.invoke(&event.to_string(), timeout) {
            Outcome::Failed(kind, body) => {
                let body: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(body["errorType"], json!(kind));
                (kind, body["errorMessage"].as_str().unwrap().to_owned())
            }
            other => panic!("{event}: {other:?}\n{}", self.0.log()),
        }
    }

    #[track_caller]
    pub fn begin(&self, pipeline: &str, wake: &str) -> Value {
        self.ask(&json!({ "op": "begin", "pipeline": pipeline, "wake": wake, "spent": 0 }))
    }

    /// An operation on a run that was begun.
    pub fn of(op: &str, pipeline: &str, begun: &Value) -> Value {
        json!({ "op": op, "pipeline": pipeline, "run": begun["run"], "epoch": begun["epoch"] })
    }

    pub fn step(pipeline: &str, begun: &Value, step: u64) -> Value {
        let mut request = Self::of("step", pipeline, begun);
        request["step"] = json!(step);
        request
    }

    /// As the state machine does it, one step after the other: until nothing is due.
    #[track_caller]
    pub fn drive(&self, pipeline: &str, wake: &str) {
        loop {
            let begun = self.begin(pipeline, wake);
            match begun["next"].as_str() {
                Some("steps") => {
                    for step in begun["steps"].as_array().unwrap() {
                        self.step_to_its_end(pipeline, &begun, step.as_u64().unwrap());
                    }
                }
                Some("commit") => {}
                Some("wait") => {
                    std::thread::sleep(Duration::from_millis(200));
                    continue;
                }
                _ => return assert_eq!(begun["next"], "nothing", "{begun}"),
            }
            assert_eq!(self.ask(&Self::of("commit", pipeline, &begun)), json!({ "next": "begin" }));
        }
    }

    #[track_caller]
    pub fn step_to_its_end(&self, pipeline: &str, begun: &Value, step: u64) -> Value {
        loop {
            let answer = self.ask(&Self::step(pipeline, begun, step));
            match answer["next"].as_str() {
                Some("wait") => std::thread::sleep(Duration::from_millis(200)),
                Some("again") => {}
                _ => return answer,
            }
        }
    }
}
