//! The routes over a real listener and a real catalog: who gets in, and what they get.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hakiri_core::catalog::{Kind, PageRequest, Record, RunReport, RunStatus, TableReport};
use hakiri_core::codes::Code;
use hakiri_core::id::RunId;
use hakiri_core::source::Cancel;
use hakiri_engine::engine::{Events as _, Silent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::cli::GlobalArgs;
use crate::world::{Access, World};

const TOKEN: &str = "correct horse battery staple";

#[derive(Debug)]
struct Process {
    engine: Arc<Engine>,
    stopping: AtomicBool,
    troubles: Vec<Trouble>,
}

impl Host for Process {
    fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn troubles(&self) -> Vec<Trouble> {
        self.troubles.clone()
    }
}

/// A served project, one run of whose pipelines succeeded and one failed.
struct Site {
    address: SocketAddr,
    process: Arc<Process>,
    metrics: Arc<Metrics>,
    _dir: tempfile::TempDir,
}

const MANIFEST: &str = r#"
[project]
name = "shop"
[[pipeline]]
id = "good"
schedule = "every 1h"
source = { connector = "file", config = { path = "good.csv" } }
[[pipeline]]
id = "bad"
source = { connector = "file", config = { path = "bad.jsonl" } }
[[pipeline]]
id = "new"
source = { connector = "file", config = { path = "good.csv" } }
"#;

impl Site {
    async fn start(token: Option<&str>) -> Self {
        Self::with(token, Vec::new()).await
    }

    async fn with(token: Option<&str>, troubles: Vec<Trouble>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hakiri.toml"), MANIFEST).unwrap();
        std::fs::write(dir.path().join("good.csv"), "id,name\n1,a\n2,b\n").unwrap();
        std::fs::write(dir.path().join("bad.jsonl"), "[1]\n").unwrap();
        let global = GlobalArgs {
            project: Some(dir.path().to_owned()),
            env: None,
            json: false,
            quiet: true,
            memory: 64 << 20,
            threads: None,
            log_format: None,
        };
        let loaded = crate::world::load(&global).unwrap();
        let metrics = Arc::new(Metrics::new(Instant::from_millis(0)));
        let world = World::open(&global, &loaded, Access::Write, metrics.clone(), Cancel::default()).await.unwrap();
        for pipeline in ["good", "bad"] {
            let tick = world.now();
            let manual = Some(hakiri_core::ops::Manual { tick: Some(tick), full: false });
            let ran = crate::commands::run::run_one(&world, &pipeline.parse().unwrap(), tick, manual).await.unwrap();
            assert_eq!(ran[0].status, if pipeline == "good" { RunStatus::Succeeded } else { RunStatus::Failed });
        }
        let process = Arc::new(Process { engine: Arc::new(world.engine), stopping: AtomicBool::new(false), troubles });
        let token = token.map(Secret::new);
        let (listener, listening) = listen::bind("127.0.0.1:0".parse().unwrap(), token.as_ref()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(HttpState::new(process.clone(), metrics.clone(), token, listening));
        tokio::spawn(listen::serve(listener, router(state), std::future::pending()));
        Self { address, process, metrics, _dir: dir }
    }

    /// One request; status, head, body.
    async fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, String, String) {
        let host = if headers.to_ascii_lowercase().contains("host:") {
            String::new()
        } else {
            format!("host: {}\r\n", self.address)
        };
        let request = format!(
            "{line} HTTP/1.1\r\n{host}{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(&format!("GET {path}"), "", "").await
    }
}

#[tokio::test]
async fn the_page_says_what_failed_why_and_what_to_do_and_links_to_it() {
    let site = Site::start(None).await;
    let (status, head, page) = site.get("/").await;
    assert_eq!(status, 200);
    for expected in [
        "1 of 3 pipelines needs attention",
        "HK0605",
        "What to do",
        "/errors/HK0605",
        "/pipelines/bad",
        "never ran",
        "every 1h",
    ] {
        assert!(page.contains(expected), "`{expected}` is not in {page}");
    }
    for header in [
        "content-security-policy: default-src 'none'",
        "cache-control: no-store",
        "x-frame-options: deny",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(header), "{head}");
    }
    assert!(!page.contains("<script"));
    let run = page.split("/runs/bad/").nth(1).unwrap().split('"').next().unwrap();
    let (status, _, page) = site.get(&format!("/runs/bad/{run}")).await;
    assert!(status == 200 && page.contains("Steps") && page.contains("HK0605"), "{page}");
    let (status, _, page) = site.get("/pipelines/good").await;
    assert!(status == 200 && page.contains("good_good") && page.contains("version 1"), "{page}");
    assert!(site.get("/errors/HK0605").await.2.contains("Why it happens"));
}

#[tokio::test]
async fn what_is_not_there_is_said_and_never_echoed_as_markup() {
    let site = Site::start(None).await;
    for path in [
        "/x",
        "/pipelines/%3Cscript%3E",
        "/runs/good/run-x",
        "/runs/good/run-01HF7YAT000EHSQYTMAS6Z17BF",
        "/errors/HK9999",
        "/pipelines/good?before=x",
    ] {
        let (status, _, page) = site.get(path).await;
        assert!(status == 404 && !page.contains("<script"), "{path}: {status} {page}");
    }
    assert_eq!(site.ask("DELETE /", "", "").await.0, 405);
    assert_eq!(site.ask("GET /", "content-type: x\r\n", &"x".repeat(20_000)).await.0, 413);
}

#[tokio::test]
async fn status_json_is_the_view_model() {
    let site = Site::start(None).await;
    let (_, _, body) = site.get("/status.json").await;
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let states: Vec<_> = json["pipelines"].as_array().unwrap().iter().map(|p| p["state"].as_str().unwrap()).collect();
    assert_eq!((states, json["format"].as_u64()), (vec!["idle", "failed", "never_ran"], Some(1)));
    assert_eq!(json["pipelines"][1]["problems"][0]["docs"], "docs/errors/HK0605.md");
}

#[tokio::test]
async fn without_a_token_only_loopback_names_are_answered() {
    let site = Site::start(None).await;
    let port = site.address.port();
    assert_eq!(site.ask("GET /", &format!("host: localhost:{port}\r\n"), "").await.0, 200);
    for host in ["evil.example".to_owned(), format!("evil.example:{port}"), "localhost".to_owned()] {
        for path in ["/", "/status.json", "/metrics", "/healthz"] {
            let (status, _, body) = site.ask(&format!("GET {path}"), &format!("host: {host}\r\n"), "").await;
            assert!(status == 421 && !body.contains("good"), "{host}{path}");
        }
    }
    let (status, _, _) =
        site.ask(&format!("GET http://evil.example:{port}/"), &format!("host: localhost:{port}\r\n"), "").await;
    assert_eq!(status, 421, "the name in the request line counts too");
    assert_eq!(site.ask("GET /", "origin: http://evil.example\r\n", "").await.0, 403);
}

#[tokio::test]
async fn with_a_token_every_route_but_health_needs_it_or_a_session() {
    let site = Site::start(Some(TOKEN)).await;
    for path in ["/", "/pipelines/good", "/runs/good/x", "/errors", "/status.json", "/metrics", "/nothing"] {
        let (status, head, body) = site.get(path).await;
        assert!(status == 401 && head.contains("www-authenticate: bearer") && !body.contains("good"), "{path}: {body}");
    }
    assert_eq!((site.get("/healthz").await.0, site.get("/readyz").await.0), (200, 200));
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    assert_eq!(site.ask("GET /", &bearer(TOKEN), "").await.0, 200);
    assert_eq!(site.ask("GET /", &bearer("correct horse battery stapl"), "").await.0, 401);
    assert!(site.ask("GET /", "accept: text/html\r\n", "").await.2.contains("type=\"password\""));

    let (status, _, page) = site.ask("POST /login", "", "token=wrong").await;
    assert!(status == 401 && page.contains("That is not the token"));
    let (status, _, _) = site.ask("POST /login", "origin: http://evil.example\r\n", "token=x").await;
    assert_eq!(status, 403);
    let (status, head, _) = site.ask("POST /login", "", "token=correct+horse+battery+staple").await;
    assert!(status == 303 && head.contains("httponly; samesite=strict") && !head.contains("horse"), "{head}");
    let cookie = head.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap();
    assert_eq!(site.ask("GET /", &format!("cookie: a=b; {cookie}\r\n"), "").await.0, 200);
    assert_eq!(site.ask("GET /", &format!("cookie: {cookie}0\r\n"), "").await.0, 401);
}

#[tokio::test]
async fn a_process_about_to_end_is_alive_and_not_ready() {
    let site = Site::start(None).await;
    assert_eq!(site.get("/readyz").await.0, 200);
    site.process.stopping.store(true, Ordering::SeqCst);
    let (status, _, body) = site.get("/readyz").await;
    assert_eq!((status, body.as_str()), (503, "shutting down\n"));
    assert_eq!(site.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn metrics_count_what_happened_and_show_how_things_stand() {
    let site = Site::start(None).await;
    site.metrics.held(&"good".parse().unwrap(), 5);
    let (_, head, text) = site.get("/metrics").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    for line in [
        "hakiri_runs_total{pipeline=\"good\",status=\"succeeded\"} 1",
        "hakiri_runs_total{pipeline=\"bad\",status=\"failed\"} 1",
        "hakiri_ticks_committed_total{pipeline=\"good\"} 1",
        "hakiri_rows_written_total{pipeline=\"good\"} 2",
        "hakiri_tables_failed_total{pipeline=\"bad\"} 1",
        "hakiri_step_attempts_total{pipeline=\"good\"} 1",
        "hakiri_step_failures_total{pipeline=\"bad\"} 1",
        "hakiri_lease_waits_total{pipeline=\"good\"} 1",
        "hakiri_pipeline_state{pipeline=\"new\",state=\"never_ran\"} 1.0",
        "hakiri_pipeline_overdue_seconds{pipeline=\"good\"} 0.0",
        "hakiri_catalog_up 1",
        "hakiri_build_info{version=",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "# EOF",
    ] {
        assert!(text.contains(line), "`{line}` is not in\n{text}");
    }
}

#[tokio::test]
async fn an_error_that_no_run_has_is_shown_with_its_pipeline_and_the_process() {
    let failure = |code: Code, text: &str| hakiri_core::Error::new(code, text).to_failure();
    let troubles = vec![
        Trouble {
            pipeline: Some("good".parse().unwrap()),
            failure: failure(Code::SecretMissing, "the secret X has no value"),
        },
        Trouble { pipeline: None, failure: failure(Code::ManifestSyntax, "line 3 of the new manifest") },
    ];
    let site = Site::with(None, troubles).await;
    let (_, _, page) = site.get("/").await;
    for expected in
        ["HK0112", "the secret X has no value", "a run could not be started", "line 3 of the new manifest", "2 of 3"]
    {
        assert!(page.contains(expected), "`{expected}`");
    }
}

#[tokio::test]
async fn a_request_that_never_ends_holds_nobody_else_up() {
    let site = Site::start(None).await;
    let mut slow = TcpStream::connect(site.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let quick = tokio::time::timeout(Duration::from_secs(5), site.get("/healthz")).await.unwrap();
    assert_eq!(quick.0, 200);
}

#[tokio::test]
async fn old_runs_are_a_page_away() {
    let site = Site::start(None).await;
    let catalog = &site.process.engine.catalog;
    let page =
        PageRequest { kind: Kind::Run, prefix: vec!["good".to_owned()], after: None, limit: 1, newest_first: true };
    let run = match &catalog.list(&page).await.unwrap().entries[0].1 {
        Record::Run(record) => record.report.run.clone(),
        _ => panic!("no run"),
    };
    let (status, _, page) = site.get(&format!("/pipelines/good?before={run}")).await;
    assert!(status == 200 && page.contains("There are no older ones"), "{page}");
}

#[test]
fn a_run_without_a_commit_is_no_committed_tick() {
    let metrics = Metrics::new(Instant::from_millis(0));
    let report = RunReport {
        pipeline: "p".parse().unwrap(),
        run: "run-01HF7YAT000EHSQYTMAS6Z17BF".parse::<RunId>().unwrap(),
        tick: Instant::from_millis(0),
        seq: None,
        status: RunStatus::Failed,
        started: Instant::from_millis(0),
        ended: None,
        tables: Vec::<TableReport>::new(),
    };
    metrics.run_ended(&report);
    Silent.run_ended(&report);
    let status = Status {
        format: 1,
        project: "p".to_owned(),
        version: None,
        env: None,
        hakiri: "0",
        at: Instant::from_millis(0),
        catalog: crate::status::CatalogStatus { adapter: None, error: None },
        pipelines: Vec::new(),
    };
    let text = metrics.scrape(&status).unwrap();
    assert!(
        text.contains("hakiri_runs_total{pipeline=\"p\",status=\"failed\"} 1")
            && !text.contains("ticks_committed_total{")
    );
}
