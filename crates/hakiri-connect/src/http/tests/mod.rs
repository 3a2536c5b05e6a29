//! The engine against a real server on a real socket, which says exactly the bytes a test wants.

mod fuzz;
mod pages;
mod places;
mod redirects;
mod send;
mod shapes;
mod trees;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use async_trait::async_trait;
use futures::StreamExt as _;
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use hakiri_core::plan::PlannedStep;
use hakiri_core::secret::{Secret, Secrets};
use hakiri_core::source::{Cancel, Connector, Message, Progress, Rows, SourceContext, SourceStep, TableRequest};
use hakiri_core::time::{Clock, Instant};
use hakiri_core::window::Window;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::HttpConnector;
use super::client::Patience;
use super::resolve::{Lookup, SystemLookup};

/// The tests' now: 2023-11-14T22:13:20Z.
const NOW: i64 = 1_700_000_000_000;
const CANARY: &str = "s3cr3t-canary";

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
struct Asked {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Asked {
    fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.param(name)?.parse().ok()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What the server says. `cut` leaves off that many bytes of what was announced.
#[derive(Debug, Clone)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: usize,
}

fn reply(status: u16, body: &[u8]) -> Reply {
    Reply { status, headers: vec![], body: body.to_vec(), cut: 0 }
}

fn ok(body: &Value) -> Reply {
    reply(200, body.to_string().as_bytes()).with("content-type", "application/json")
}

impl Reply {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// One parameter of every request.
    fn params(&self, name: &str) -> Vec<String> {
        self.asked().iter().map(|a| a.param(name).unwrap_or("-").to_owned()).collect()
    }

    fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|a| a.path).collect()
    }
}

/// Serves one answer per request; the closure gets the request and how many came before it.
async fn serve(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, answer) = (asked.clone(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (log, answer) = (log.clone(), answer.clone());
            tokio::spawn(async move {
                let Some(request) = receive(&mut socket).await else {
                    return;
                };
                let count = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len() - 1
                };
                let reply = answer(&request, count);
                let mut out = format!(
                    "HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {}\r\n",
                    reply.status,
                    reply.body.len()
                )
                .into_bytes();
                for (name, value) in &reply.headers {
                    out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&reply.body[..reply.body.len() - reply.cut]);
                let _ = socket.write_all(&out).await;
                let _ = socket.shutdown().await;
            });
        }
    });
    Server { port, asked }
}

async fn receive(socket: &mut tokio::net::TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> =
        lines.filter_map(|l| l.split_once(':')).map(|(k, v)| (k.to_lowercase(), v.trim().to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    let body = String::from_utf8(bytes[head_end + 4..].to_vec()).unwrap();
    Some(Asked { method, path: path.to_owned(), query, headers, body })
}

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Instant {
        Instant::from_millis(NOW)
    }
}

/// Answers every name with the same addresses.
struct Says(Vec<IpAddr>);

#[async_trait]
impl Lookup for Says {
    async fn lookup(&self, _host: &str) -> std::result::Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.clone())
    }
}

fn ctx() -> SourceContext {
    let secret = |name: &str, value: &str| (name.to_owned(), Secret::new(value));
    SourceContext {
        project_dir: "/nowhere".into(),
        temp_dir: "/nowhere".into(),
        secrets: Secrets::new([
            secret("TOKEN", CANARY),
            secret("USER", "me"),
            secret("GITHUB_TOKEN", CANARY),
            secret("PAYMENTS_KEY", CANARY),
            secret("TRACKER_KEY", CANARY),
        ]),
        buckets: None,
        clock: Arc::new(FixedClock),
        cancel: Cancel::default(),
        batch_rows: 2,
    }
}

/// Waits that do not keep a test waiting.
fn quick() -> Patience {
    Patience { hiccups: vec![1, 1], no_hint: vec![1, 1], rate_limit: 5_000 }
}

fn connector(config: Value) -> Result<HttpConnector> {
    let config = crate::registry::parse_config("http", &config)?;
    HttpConnector::with(config, Arc::new(SystemLookup::default()), quick())
}

/// A source with one resource `r` on `/r`, and further settings of the resource.
fn one(server: &Server, resource: Value) -> Value {
    let mut r = json!({ "path": "/r" });
    r.as_object_mut().unwrap().extend(resource.as_object().unwrap().clone());
    json!({ "base_url": server.url(), "allow_private": true, "resources": { "r": r } })
}

fn request(name: &str, window: Window, incremental: Option<&str>) -> TableRequest {
    TableRequest {
        name: name.into(),
        window,
        cursor: None,
        spec: Default::default(),
        primary_key: vec![],
        incremental: incremental.map(str::to_owned),
    }
}

/// What a read gave.
#[derive(Debug, Default)]
struct Given {
    /// Table and record.
    rows: Vec<(String, String)>,
    rejected: Vec<String>,
    progress: Progress,
    error: Option<Error>,
}

impl Given {
    /// The field `id` of every row.
    fn ids(&self) -> Vec<String> {
        self.rows.iter().map(|(_, row)| serde_json::from_str::<Value>(row).unwrap()["id"].to_string()).collect()
    }

    fn ok(self) -> Self {
        assert!(self.error.is_none(), "{:?}", self.error);
        self
    }

    fn code(&self) -> Code {
        self.error.as_ref().unwrap_or_else(|| panic!("no error, but {:?}", self.rows)).code()
    }
}

async fn plan(source: &HttpConnector, tables: &[TableRequest]) -> Result<Vec<SourceStep>> {
    source.plan(tables, Instant::from_millis(NOW), &ctx()).await
}

async fn read(source: &HttpConnector, step: &SourceStep, ctx: &SourceContext) -> Given {
    // The way through text is the way through the catalog.
    let text = serde_json::to_string(&step.source).unwrap();
    assert!(!text.contains(CANARY));
    let planned =
        PlannedStep { index: 0, name: step.name.clone(), source: serde_json::from_str(&text).unwrap(), tables: vec![] };
    let mut given = Given::default();
    let mut stream = source.read(&planned, None, ctx).await.unwrap();
    while let Some(message) = stream.next().await {
        assert!(given.error.is_none(), "something after an error");
        match message {
            Ok(Message::Rows { stream, rows: Rows::Json(batch) }) => {
                assert!(batch.num_rows() <= ctx.batch_rows);
                let column = batch.column(0).as_string::<i64>();
                given
                    .rows
                    .extend(column.iter().map(|row| (step.tables[stream as usize].clone(), row.unwrap().to_owned())));
            }
            Ok(Message::Rejected { reason, .. }) => given.rejected.push(reason),
            Ok(Message::Progress(progress)) => given.progress = progress,
            Ok(Message::Checkpoint(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => given.error = Some(error),
        }
    }
    if let Some(error) = &given.error {
        assert!(!format!("{error:?} {}", error.hint()).contains(CANARY), "{error:?}");
    }
    given
}

/// Reads everything of the one resource `r`.
async fn run(config: Value) -> Given {
    run_table(config, request("r", Window::Everything, None)).await
}

async fn run_table(config: Value, table: TableRequest) -> Given {
    let source = connector(config).unwrap();
    let steps = plan(&source, &[table]).await.unwrap();
    read(&source, &steps[0], &ctx()).await
}

/// Records with the ids of a range.
fn records(ids: std::ops::Range<usize>) -> Value {
    ids.map(|id| json!({ "id": id })).collect()
}
