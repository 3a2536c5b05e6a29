//! A world of sources for a deployment and a laptop: three pipelines, what they read, and what a source does before it answers
//! well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::api::{self, Api, Request, Response};
use super::pg::Db;
use super::{Project, files_below, sha256};

/// The first tick.
pub const FIRST: &str = "2026-11-27T00:00:00Z";
/// The bucket that files are read from, of the test's own S3 server and of each stand-in.
pub const BUCKET: &str = "hakiri-test";

/// Three pipelines on a minute's schedule: an API, a database, and files in a bucket.
fn manifest(inbox: &str, deploy: &str) -> String {
    format!(
        r#"
[[pipeline]]
id = "api"
schedule = "every 1m"
catch_up = "each"
secrets = ["API_URL"]
source = {{ connector = "http", config = {{ base_url = "${{API_URL}}", allow_private = true, resources = {{ items = {{ path = "/items", records = "data", primary_key = ["id"], paginate = {{ page = {{ param = "page" }} }} }} }} }} }}
[pipeline.table.items]
incremental = "updated_at"

[[pipeline]]
id = "db"
schedule = "every 1m"
catch_up = "each"
secrets = ["DB_URL"]
tables = ["orders"]
source = {{ connector = "postgres", config = {{ url = "${{DB_URL}}" }} }}
[pipeline.table.orders]
incremental = "updated_at"
chunk_rows = 50

[[pipeline]]
id = "files"
schedule = "every 1m"
catch_up = "each"
source = {{ connector = "file", config = {{ path = "s3://{BUCKET}/{inbox}/*.csv", table = "rows" }} }}

{deploy}
"#
    )
}

pub fn minute(n: u32, second: u32) -> String {
    format!("2026-11-27T00:{n:02}:{second:02}Z")
}

/// Records of an API, some for each minute.
pub fn records(minutes: u32) -> Vec<Value> {
    let of = |m: u32, k: u32| json!({ "id": m * 10 + k, "name": format!("ü{m}"), "updated_at": minute(m, k) });
    (0..minutes).flat_map(|m| (0..7).map(move |k| of(m, k))).collect()
}

/// A world of sources, with the same answers for everybody.
pub struct Sources {
    pub api: Api,
    pub db: Db,
    pub inbox: String,
}

impl Sources {
    /// Of so many minutes; each answer of the API takes some time.
    pub fn new(minutes: u32, slow: Duration) -> Self {
        let pages = api::paged(records(minutes), 50);
        let api = Api::start(move |request: &Request| {
            std::thread::sleep(slow);
            pages(request)
        });
        let db = Db::new("create table orders (id bigint primary key, amount numeric(10,2), updated_at timestamptz)");
        db.connection.sql(&format!(
            "insert into orders select m * 100 + k, k * 1.5, timestamptz '{FIRST}' + m * interval '1 minute' + k * interval '200 ms' \
             from generate_series(0, {}) m, generate_series(0, 99) k",
            minutes - 1
        ));
        let inbox = format!("inbox-{}-{}", std::process::id(), db.name);
        Self { api, db, inbox }
    }

    /// A project on them, with what `deploy` says of a target.
    pub fn project(&self, deploy: &str) -> Project {
        Project::new(&manifest(&self.inbox, deploy))
    }

    /// What they need to be told.
    pub fn secrets(&self) -> Vec<(&'static str, String)> {
        vec![("API_URL", self.api.url.clone()), ("DB_URL", self.db.url())]
    }
}

/// The files of the inbox, the `n`th time.
pub fn file(n: u32) -> (String, String) {
    (format!("{n:03}.csv"), format!("id,n\n{n},a\n{},b\n", n + 1000))
}

/// What `hakiri run` makes of the ticks, here in a folder.
pub fn reference(sources: &Sources, from: u32, ticks: u32, project: &Project) {
    let endpoint = std::env::var("HAKIRI_TEST_S3").expect("HAKIRI_TEST_S3 is not set: run the tests with ./x test");
    for n in from..from + ticks {
        let mut command = project.command(&["run", "--tick", &minute(n, 0)]);
        command.envs(sources.secrets()).env("AWS_ENDPOINT_URL", &endpoint);
        let ran: crate::support::Ran = command.output().unwrap().into();
        ran.expect(0);
    }
}

/// The files by their hashes, but the marker, which names its catalog.
pub fn here(project: &Project) -> BTreeMap<String, String> {
    let files = files_below(&project.store(), &project.store()).into_iter();
    let files = files.filter(|f| f != "_hakiri.json" && !f.starts_with(".tmp/"));
    files.map(|f| (f.clone(), sha256(&std::fs::read(project.store().join(&f)).unwrap()))).collect()
}

/// Compares and says what differs by name.
#[track_caller]
pub fn assert_same(here: &BTreeMap<String, String>, there: &BTreeMap<String, String>) {
    let missing: Vec<_> = here.keys().filter(|f| !there.contains_key(*f)).collect();
    let more: Vec<_> = there.keys().filter(|f| !here.contains_key(*f)).collect();
    let other: Vec<_> = here.iter().filter(|(f, h)| there.get(*f).is_some_and(|t| t != *h)).map(|(f, _)| f).collect();
    assert!(
        missing.is_empty() && more.is_empty() && other.is_empty(),
        "missing: {missing:#?}\nmore: {more:#?}\nother bytes: {other:#?}"
    );
}

/// Those files that commits name: strays of attempts that were killed are `gc`'s.
pub fn named(files: &BTreeMap<String, String>, by: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    files.iter().filter(|(f, _)| by.contains_key(*f)).map(|(f, h)| (f.clone(), h.clone())).collect()
}

/// What a source does before it answers well, by request of its first page.
pub struct Script {
    pub name: &'static str,
    pub faults: &'static [(u16, Option<&'static str>)],
    /// How long its first answer takes.
    pub slow: Duration,
}

pub const SCRIPTS: [Script; 6] = [
    Script { name: "no fault", faults: &[], slow: Duration::ZERO },
    Script { name: "rate limited", faults: &[(429, Some("1")), (429, Some("2"))], slow: Duration::ZERO },
    Script { name: "unavailable twice", faults: &[(503, None); 2], slow: Duration::ZERO },
    Script { name: "gone", faults: &[(404, None); 8], slow: Duration::ZERO },
    Script { name: "refused", faults: &[(401, None); 8], slow: Duration::ZERO },
    // Longer than `hakiri worker` lets a request wait: the next one joins the step.
    Script { name: "slow", faults: &[], slow: Duration::from_secs(22) },
];

/// An API that follows a script, for one project alone.
pub fn scripted(script: &Script) -> Api {
    let (asked, faults, slow) = (Arc::new(AtomicUsize::new(0)), script.faults, script.slow);
    let pages = api::paged(records(1), 50);
    Api::start(move |request| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(if n == 0 { slow } else { Duration::ZERO });
        match faults.get(n) {
            Some((status, after)) => {
                let answer = Response::text(*status, "text/plain", "fault");
                after.map_or(answer.clone(), |after| answer.header("retry-after", after))
            }
            None => pages(request),
        }
    })
}

/// The answers of each step's calls, in order, from log lines.
pub fn traces<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let (Some(op), Some(next)) = (line["op"].as_str(), line["next"].as_str()) else { continue };
        if op == "step" {
            out.entry(format!("{} {}", line["run"], line["step_index"])).or_default().push(next.to_owned());
        }
    }
    out
}
