//! Several `hakiri serve` on one PostgreSQL catalog and one bucket (Topology 2.5). Each has a loopback address of its own
//! for what it reaches, so that one can be cut off from both while the others go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::Project;
use crate::support::api::{Api, Response};
use crate::support::bucket::{objects, verified};
use crate::support::pg::Db;
use crate::support::proxy::Proxy;
use crate::support::server::{Server, wait_for};

/// How long a lease lasts here: short, so that dying is quick.
const LEASE: Duration = Duration::from_secs(3);

struct Cluster {
    project: Project,
    api: Api,
    prefix: String,
    database: Db,
    nodes: Vec<Node>,
}

/// One server with its cables.
struct Node {
    catalog: Proxy,
    bucket: Proxy,
    server: Option<Server>,
}

fn endpoint() -> String {
    std::env::var("HAKIRI_TEST_S3").expect("HAKIRI_TEST_S3 is not set: run the tests with ./x test")
}

fn bucket() -> String {
    std::env::var("HAKIRI_TEST_S3_BUCKET").expect("HAKIRI_TEST_S3_BUCKET is not set")
}

fn seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// One record for each second since the start, by path: a window left out loses some, one read twice doubles them.
fn clockwork(hold: Arc<AtomicU64>) -> Api {
    let origin = seconds();
    Api::start(move |request| {
        std::thread::sleep(Duration::from_millis(hold.load(Ordering::SeqCst)));
        let since = request.query.get("since").and_then(|s| chrono::DateTime::parse_from_rfc3339(s).ok());
        let from = since.map_or(origin, |s| s.timestamp()).max(origin);
        let at = |s: i64| chrono::DateTime::from_timestamp(s, 0).unwrap().to_rfc3339();
        let data: Vec<Value> = (from..=seconds()).map(|s| json!({ "n": s, "at": at(s) })).collect();
        Response::json(&json!({ "data": data }))
    })
}

impl Cluster {
    fn new(pipelines: usize, every: &str, nodes: usize, hold: Arc<AtomicU64>) -> Self {
        let api = clockwork(hold);
        let prefix = format!("cluster-{}-{}", std::process::id(), seconds());
        let mut manifest = format!(
            "[context]\npath = \"s3://{}/{prefix}\"\nregion = \"us-east-1\"\n[catalog]\nurl = \"${{CATALOG_URL}}\"\n",
            bucket()
        );
        for n in 0..pipelines {
            manifest.push_str(&format!(
                "[[pipeline]]\nid = \"p{n:02}\"\nschedule = \"every {every}\"\n[pipeline.source]\nconnector = \"http\"\n[pipeline.source.config]\nbase_url = \"{}\"\nallow_private = true\n[pipeline.source.config.resources.t]\npath = \"/p{n}\"\nrecords = \"data\"\nincremental = {{ param = \"since\", field = \"at\" }}\n[pipeline.table.t]\nmode = \"append\"\nsettle = \"0s\"\n",
                api.url
            ));
        }
        let database = Db::new("");
        let target = endpoint().trim_start_matches("http://").to_owned();
        let nodes = (0..nodes)
            .map(|n| {
                let host = format!("127.0.0.{}", n + 2);
                Node {
                    catalog: Proxy::start(&host, &database.address()),
                    bucket: Proxy::start(&host, &target),
                    server: None,
                }
            })
            .collect();
        Self { project: Project::new(&manifest), api, prefix, database, nodes }
    }

    fn start(&mut self, n: usize) {
        self.start_with(n, LEASE);
    }

    fn start_with(&mut self, n: usize, lease: Duration) {
        let node = &self.nodes[n];
        let url = self.database.url_at(&node.catalog.address);
        let endpoint = format!("http://{}", node.bucket.address);
        let lease = format!("{}s", lease.as_secs());
        let server = Server::start_with(&self.project, &["--lease", &lease, "--grace", "5s", "--workers", "8"], |c| {
            c.env("CATALOG_URL", url).env("AWS_ENDPOINT_URL_S3", endpoint);
        });
        self.nodes[n].server = Some(server);
    }

    /// A command against catalog and bucket themselves.
    fn hakiri(&self, args: &[&str]) -> crate::support::Ran {
        let mut command = self.project.command(args);
        command.env("CATALOG_URL", self.database.url()).env("AWS_ENDPOINT_URL_S3", endpoint());
        command.output().unwrap().into()
    }

    /// The ended runs of each pipeline, oldest first.
    fn runs(&self) -> BTreeMap<String, Vec<Value>> {
        let all = self.hakiri(&["runs", "--limit", "1000", "--json"]).expect(0).json();
        let mut runs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for run in all["runs"].as_array().unwrap().iter().rev().filter(|r| r["status"] != "running") {
            runs.entry(run["pipeline"].as_str().unwrap().to_owned()).or_default().push(run.clone());
        }
        runs
    }

    /// Each due tick committed once, no row lost or doubled, every committed file as it was committed.
    #[track_caller]
    fn check(&self, pipelines: usize, every: i64, least: usize) -> (usize, usize) {
        let runs = self.runs();
        assert_eq!(runs.len(), pipelines);
        let mut ticks = 0;
        for (pipeline, runs) in &runs {
            let ended: Vec<i64> = runs
                .iter()
                .map(|r| chrono::DateTime::parse_from_rfc3339(r["tick"].as_str().unwrap()).unwrap().timestamp())
                .collect();
            let bad = runs.iter().find(|r| r["status"] != "succeeded");
            assert!(bad.is_none(), "{pipeline}: {bad:?}");
            assert!(ended.len() >= least, "{pipeline}: {} ticks", ended.len());
            for pair in ended.windows(2) {
                assert_eq!(pair[1] - pair[0], every, "{pipeline}: a tick is missing or doubled after {}", pair[0]);
            }
            let seqs: Vec<u64> = runs.iter().filter_map(|r| r["seq"].as_u64()).collect();
            assert!(seqs.windows(2).all(|p| p[1] == p[0] + 1), "{pipeline}: {seqs:?}");
            ticks += ended.len();
            let last = *ended.last().unwrap();
            let sql = format!("select count(*) c, count(distinct n) d, max(n) m, min(n) o from {pipeline}_t");
            let row = self.hakiri(&["query", "--format", "json", &sql]).expect(0).json()[0].clone();
            let (count, distinct) = (row["c"].as_i64().unwrap(), row["d"].as_i64().unwrap());
            assert_eq!(count, distinct, "{pipeline}: rows are doubled");
            assert_eq!(
                (row["m"].as_i64().unwrap() + 1, last - row["o"].as_i64().unwrap()),
                (last, count),
                "{pipeline}"
            );
        }
        (ticks, verified(&objects(&endpoint(), &bucket(), &self.prefix)))
    }
}

/// A small generator with a fixed seed.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Fifteen minutes of ticks every minute, in a minute and a quarter: every five seconds, leases of three.
#[test]
fn three_servers_share_twenty_pipelines_through_deaths_pauses_and_cuts() {
    let time = Duration::from_secs(if std::env::var_os("HAKIRI_LONG").is_some() { 900 } else { 75 });
    let mut cluster = Cluster::new(20, "5s", 3, Arc::default());
    (0..3).for_each(|n| cluster.start(n));
    let mut random = Lcg(7);
    let mut done = [0; 4];
    let started = Instant::now();
    while started.elapsed() < time {
        std::thread::sleep(Duration::from_millis(500 + random.below(1_500)));
        let n = usize::try_from(random.below(3)).unwrap();
        let what = usize::try_from(random.below(4)).unwrap();
        done[what] += 1;
        // Longer than a lease, so that another server takes over what this one believes to have.
        let away = LEASE + Duration::from_millis(500 + random.below(2_500));
        match what {
            0 => {
                cluster.nodes[n].server.take().unwrap().kill();
                cluster.start(n);
            }
            1 => {
                let server = cluster.nodes[n].server.as_ref().unwrap();
                server.signal(19);
                std::thread::sleep(away);
                server.signal(18);
            }
            2 => {
                let node = &cluster.nodes[n];
                node.catalog.cut();
                node.bucket.cut();
                std::thread::sleep(away);
                node.catalog.mend();
                node.bucket.mend();
            }
            _ => {
                // Only one of the two is gone.
                let cable = if random.below(2) == 0 { &cluster.nodes[n].catalog } else { &cluster.nodes[n].bucket };
                cable.cut();
                std::thread::sleep(away);
                cable.mend();
            }
        }
    }
    // Quiet for two leases: the ticks of the troubled time are caught up, and the zombies have had their say.
    std::thread::sleep(LEASE * 3);
    for node in &mut cluster.nodes {
        let (status, _, log) = node.server.take().unwrap().terminate(Duration::from_secs(30));
        assert!(status.success(), "{log}");
    }
    let least = usize::try_from(time.as_secs() / 5).unwrap() - 4;
    let (ticks, files) = cluster.check(20, 5, least);
    println!("{ticks} ticks of 20 pipelines, {files} files; kills, stops, cuts of both and of one: {done:?}");
}

/// A worker dies in the middle of a step: another one has it within one lease.
#[test]
fn work_of_a_dead_server_moves_within_one_lease() {
    let hold = Arc::new(AtomicU64::new(0));
    let mut cluster = Cluster::new(1, "1s", 2, hold.clone());
    // Long against the whole seconds in which waits are told.
    let lease = Duration::from_secs(10);
    cluster.start_with(0, lease);
    wait_for("a commit", Duration::from_secs(60), || (!cluster.runs().is_empty()).then_some(()));
    hold.store(600_000, Ordering::SeqCst);
    let before = cluster.api.count();
    wait_for("a step under way", Duration::from_secs(60), || (cluster.api.count() > before).then_some(()));
    cluster.start_with(1, lease);
    hold.store(0, Ordering::SeqCst);
    let (before, dead) = (cluster.api.count(), Instant::now());
    cluster.nodes[0].server.take().unwrap().kill();
    let took = wait_for("the other server", lease * 10, || (cluster.api.count() > before).then(|| dead.elapsed()));
    println!("taken over after {took:?} with a lease of {lease:?}");
    assert!(took < lease + Duration::from_secs(6), "{took:?}");
    wait_for("further commits", Duration::from_secs(60), || {
        (cluster.runs().values().next().is_some_and(|runs| runs.len() > 5)).then_some(())
    });
    cluster.nodes[1].server.take().unwrap().terminate(Duration::from_secs(30));
    cluster.check(1, 1, 5);
}

/// Steps outlast the lease twice, on several servers that wake for each of them: heartbeats keep them where they are.
#[test]
fn long_steps_are_neither_taken_over_nor_done_twice() {
    let hold = Arc::new(AtomicU64::new(12_000));
    let mut cluster = Cluster::new(2, "15s", 2, hold);
    (0..2).for_each(|n| cluster.start_with(n, Duration::from_secs(5)));
    wait_for("three runs of each", Duration::from_secs(150), || {
        let runs = cluster.runs();
        (runs.len() == 2 && runs.values().all(|runs| runs.len() >= 3)).then_some(())
    });
    for node in &mut cluster.nodes {
        let (status, _, log) = node.server.take().unwrap().terminate(Duration::from_secs(30));
        assert!(status.success(), "{log}");
        assert!(!log.contains("went silent"), "{log}");
    }
    let (asked, ended): (usize, usize) = (cluster.api.count(), cluster.runs().values().map(Vec::len).sum());
    // Those that were under way at the end were asked for too, and once more where the first to end handed them over.
    assert!((ended..=ended + 4).contains(&asked), "{asked} requests for {ended} runs");
    cluster.check(2, 15, 3);
}

/// Windows go by the servers' clocks: one that is two minutes ahead would read rows before they are written.
#[test]
fn a_server_whose_clock_is_wrong_says_so_and_starts_nothing() {
    let mut cluster = Cluster::new(1, "1s", 1, Arc::default());
    let (now, url) = (seconds() * 1_000, cluster.database.url());
    let wrong = Server::start_with(&cluster.project, &[], |c| {
        c.env("CATALOG_URL", url).env("AWS_ENDPOINT_URL_S3", endpoint());
        c.env("HAKIRI_CLOCK", format!("{},{now},1", now + 120_000));
    });
    wait_for("the error", Duration::from_secs(30), || wrong.log().contains("HK0209").then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.api.count(), 0, "{}", wrong.log());
    drop(wrong);
    cluster.start(0);
    wait_for("a commit of the right one", Duration::from_secs(60), || (!cluster.runs().is_empty()).then_some(()));
    cluster.nodes[0].server.take().unwrap().terminate(Duration::from_secs(30));
}
