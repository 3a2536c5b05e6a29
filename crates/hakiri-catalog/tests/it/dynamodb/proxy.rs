//! Stands before the stand-in, notes each request, and does with it what a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hakiri_sim::aws::shared;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub operation: String,
    pub head: String,
    pub body: Value,
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Passes it on, and the answer back.
    Pass,
    /// Ends the connection: before it is passed on, or instead of passing the answer back.
    CloseBefore,
    CloseAfter,
    /// Passes it on after a while, when nobody waits for the answer any more.
    Late,
    /// Passes it on and answers with this status and no body.
    StatusAfter(u16),
    /// Passes it on and sends half of the answer.
    Torn,
    /// Answers by itself that this exception happened, or that a transaction was given up for this reason.
    Exception(&'static str),
    Reason(&'static str),
    /// Answers with a page that is none of DynamoDB's.
    Page(u16),
    /// Says nothing.
    Hang,
    /// Passes it on when [`Proxy::open`] says so.
    Gate,
    /// Ends the connection, and passes it on when [`Proxy::open`] says so; [`Proxy::arrived`] waits for that.
    Lost,
}

type Rule = Box<dyn FnMut(&Seen) -> Act + Send>;

pub struct Proxy {
    pub url: String,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    seen: Mutex<Vec<Seen>>,
    rule: Mutex<Rule>,
    /// Instead of the date of the stand-in.
    date: Mutex<Option<String>>,
    /// How many requests may go through the gate.
    gate: Semaphore,
    /// How many lost ones have been passed on.
    arrived: Semaphore,
    http: reqwest::Client,
}

impl Proxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            seen: Mutex::default(),
            rule: Mutex::new(Box::new(|_| Act::Pass)),
            date: Mutex::default(),
            gate: Semaphore::new(0),
            arrived: Semaphore::new(0),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { url, state, task }
    }

    /// From now on. The requests seen so far are forgotten.
    pub fn rule(&self, rule: impl FnMut(&Seen) -> Act + Send + 'static) {
        *self.state.rule.lock().unwrap() = Box::new(rule);
        self.state.seen.lock().unwrap().clear();
    }

    /// One act for all requests of one operation.
    pub fn on(&self, operation: &'static str, act: Act) {
        self.rule(move |seen| if seen.operation == operation { act } else { Act::Pass });
    }

    pub fn date(&self, date: Option<&str>) {
        *self.state.date.lock().unwrap() = date.map(str::to_owned);
    }

    /// Lets one request through the gate.
    pub fn open(&self) {
        self.state.gate.add_permits(1);
    }

    /// Until one that was lost has been passed on and answered.
    pub async fn arrived(&self) {
        self.state.arrived.acquire().await.unwrap().forget();
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many requests of an operation there were.
    pub fn count(&self, operation: &str) -> usize {
        self.seen().iter().filter(|seen| seen.operation == operation).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let Some((head, body)) = request(&mut stream).await else { return };
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.map(|line| line.split_once(':').unwrap().1.trim().to_owned())
    };
    let target = header("x-amz-target").unwrap();
    let seen = Seen {
        operation: target.split_once('.').unwrap().1.to_owned(),
        head: head.clone(),
        body: serde_json::from_slice(&body).unwrap(),
    };
    let act = state.rule.lock().unwrap()(&seen);
    state.seen.lock().unwrap().push(seen.clone());
    let authorization = header("authorization").unwrap();
    let pass = async || {
        let request = state.http.post(shared()).header("x-amz-target", &target).header("authorization", &authorization);
        let answer =
            request.header("content-type", "application/x-amz-json-1.0").body(body.clone()).send().await.unwrap();
        let date = state.date.lock().unwrap().clone();
        let date = date.unwrap_or_else(|| answer.headers()["date"].to_str().unwrap().to_owned());
        (answer.status().as_u16(), date, answer.bytes().await.unwrap().to_vec())
    };
    let answer = |status: u16, date: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\ndate: {date}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let now = "Fri, 15 Jan 2027 08:00:00 GMT";
    let bytes = match act {
        Act::CloseBefore => return,
        Act::CloseAfter => {
            pass().await;
            return;
        }
        Act::Late => {
            drop(stream);
            tokio::time::sleep(Duration::from_millis(300)).await;
            pass().await;
            return;
        }
        Act::Lost => {
            drop(stream);
            state.gate.acquire().await.unwrap().forget();
            pass().await;
            state.arrived.add_permits(1);
            return;
        }
        Act::Hang => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
        Act::Pass | Act::Gate => {
            if act == Act::Gate {
                state.gate.acquire().await.unwrap().forget();
            }
            let (status, date, body) = pass().await;
            answer(status, &date, &body)
        }
        Act::StatusAfter(status) => {
            pass().await;
            answer(status, now, b"")
        }
        Act::Torn => {
            let (status, date, body) = pass().await;
            let mut bytes = answer(status, &date, &body);
            bytes.truncate(bytes.len() - body.len().div_ceil(2));
            bytes
        }
        Act::Exception(name) => {
            let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{name}","message":"stored sekrit"}}"#);
            answer(400, now, body.as_bytes())
        }
        Act::Reason(code) => {
            let count = seen.body["TransactItems"].as_array().unwrap().len();
            let mut reasons = vec![serde_json::json!({ "Code": "None" }); count];
            reasons[0] = serde_json::json!({ "Code": code, "Message": "stored sekrit" });
            let body = serde_json::json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "Message": "stored sekrit",
                "CancellationReasons": reasons,
            });
            answer(400, now, body.to_string().as_bytes())
        }
        Act::Page(status) => answer(status, now, b"<h1>stored sekrit</h1>"),
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let lower = head.to_ascii_lowercase();
    let length: usize = lower.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = bytes[end + 4..].to_vec();
    let have = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[have..]).await.ok()?;
    Some((head, body))
}
