//! The demo's API over HTTP/1.1: on 127.0.0.1 only, on a port that the system chooses, until it is dropped.
//!
//! It counts what it served, so that the demo can show from the API's side that a second run read only what changed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hakiri_core::codes::Code;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::feed::{Feed, Revision};

/// The running API.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    feed: Mutex<Feed>,
    requests: AtomicU64,
    records: AtomicU64,
}

/// What the API served since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Requests answered, wrong ones included.
    pub requests: u64,
    /// Records in the answers.
    pub records: u64,
}

impl Served {
    /// What was served since an earlier count.
    pub fn since(self, earlier: Self) -> Self {
        Self { requests: self.requests - earlier.requests, records: self.records - earlier.records }
    }
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// `HK0005` when no port can be opened.
    pub async fn start(feed: Feed) -> Result<Self> {
        let io = |e: std::io::Error| Error::new(Code::Io, format!("cannot open a local port for the demo's API: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let shared =
            Arc::new(Shared { feed: Mutex::new(feed), requests: AtomicU64::new(0), records: AtomicU64::new(0) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it served so far.
    pub fn served(&self) -> Served {
        Served {
            requests: self.shared.requests.load(Ordering::SeqCst),
            records: self.shared.records.load(Ordering::SeqCst),
        }
    }

    /// How many records it has.
    pub fn records(&self) -> usize {
        self.shared.feed().count()
    }

    /// Revises some records; see [`Feed::revise`].
    ///
    /// # Errors
    /// As [`Feed::revise`].
    pub fn revise(&self, now: Instant) -> Result<Vec<Revision>> {
        self.shared.feed().revise(now)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The connections' tasks belong to this one.
        self.accepting.abort();
    }
}

impl Shared {
    fn feed(&self) -> MutexGuard<'_, Feed> {
        // Poisoned only by a panic inside of the feed, whose records are whole between any two statements.
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, method: &Method, path: &str, query: &str) -> (StatusCode, String) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let wrong = |status, what: &str| (status, serde_json::json!({ "error": what }).to_string());
        if path != "/events" {
            return wrong(StatusCode::NOT_FOUND, "there is only /events");
        }
        if method != Method::GET {
            return wrong(StatusCode::METHOD_NOT_ALLOWED, "use GET");
        }
        match self.feed().page(query) {
            Ok(page) => {
                self.records.fetch_add(page.records, Ordering::SeqCst);
                (StatusCode::OK, page.body)
            }
            Err(what) => wrong(StatusCode::BAD_REQUEST, &what),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that went away before it was accepted is its peer's business.
                let Ok((stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| respond(Arc::clone(&shared), request));
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn respond(
    shared: Arc<Shared>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (status, body) =
        shared.answer(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// One request as bytes, the whole answer as text.
    async fn ask(server: &Server, line: &str) -> std::io::Result<String> {
        let mut stream = tokio::net::TcpStream::connect(server.address).await?;
        stream.write_all(format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    #[tokio::test]
    async fn it_answers_counts_and_ends() {
        let server = Server::start(Feed::shipped().unwrap()).await.unwrap();
        assert!(server.base_url().starts_with("http://127.0.0.1:"));
        let ok = ask(&server, "GET /events?limit=3").await.unwrap();
        assert!(
            ok.starts_with("HTTP/1.1 200")
                && ok.contains("content-type: application/json")
                && ok.contains("\"total\":1707")
        );
        assert!(ask(&server, "GET /events?limit=0").await.unwrap().starts_with("HTTP/1.1 400"));
        assert!(ask(&server, "POST /events").await.unwrap().starts_with("HTTP/1.1 405"));
        assert!(ask(&server, "GET /").await.unwrap().starts_with("HTTP/1.1 404"));
        let first = server.served();
        assert_eq!(first, Served { requests: 4, records: 3 });
        server.revise(Instant::from_millis(1_800_000_000_000)).unwrap();
        ask(&server, "GET /events?updated_since=2020-01-01T00:00:00Z").await.unwrap();
        assert_eq!(server.served().since(first), Served { requests: 1, records: 6 });

        let address = server.address;
        drop(server);
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(address).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the port is still open");
    }
}
