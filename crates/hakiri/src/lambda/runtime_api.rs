//! The four requests of Lambda's Runtime API, on the loopback address that the platform names: HTTP without TLS, one
//! request at a time.
//!
//! Why not a crate for it: it would turn on features of crates that everything else here shares, for four requests.

use bytes::Bytes;
use hakiri_core::codes::Code;
use hakiri_core::time::Instant;
use hakiri_core::{Error, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The version of the API, in every path.
const VERSION: &str = "2018-06-01";
/// The header with what kind of error it is.
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// What the platform asks for.
#[derive(Debug)]
pub struct Invocation {
    /// Its name, for the answer and the log.
    pub id: String,
    /// When the process is killed if it has not answered, by the machine's clock.
    pub deadline: Option<Instant>,
    /// The event.
    pub event: Bytes,
}

/// See the module.
#[derive(Debug)]
pub struct RuntimeApi {
    /// `host:port`.
    address: String,
}

impl RuntimeApi {
    /// At the address that the environment gives.
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// Waits for the next invocation, however long that takes: the process is frozen meanwhile.
    ///
    /// # Errors
    /// `HK0005` when the platform does not answer as it should.
    pub async fn next(&self) -> Result<Invocation> {
        let (head, event) = self.ask(Method::GET, "invocation/next", None, &Value::Null).await?;
        let header = |name: &str| text(&head, name);
        let id = header("lambda-runtime-aws-request-id")
            .ok_or_else(|| Error::new(Code::Io, "the Runtime API names no invocation"))?;
        let deadline = header("lambda-runtime-deadline-ms").and_then(|ms| ms.parse().ok()).map(Instant::from_millis);
        Ok(Invocation { id, deadline, event })
    }

    /// Answers an invocation.
    ///
    /// # Errors
    /// `HK0005` when the platform does not take it.
    pub async fn answer(&self, id: &str, answer: &Value) -> Result<()> {
        self.ask(Method::POST, &format!("invocation/{id}/response"), None, answer).await.map(drop)
    }

    /// Answers an invocation with an error.
    ///
    /// # Errors
    /// `HK0005` when the platform does not take it.
    pub async fn fail(&self, id: &str, kind: &str, message: &str) -> Result<()> {
        self.error(&format!("invocation/{id}/error"), kind, message).await
    }

    /// Says that the process cannot work at all.
    ///
    /// # Errors
    /// `HK0005` when the platform does not take it.
    pub async fn fail_to_start(&self, kind: &str, message: &str) -> Result<()> {
        self.error("init/error", kind, message).await
    }

    async fn error(&self, path: &str, kind: &str, message: &str) -> Result<()> {
        let body = json!({ "errorType": kind, "errorMessage": message, "stackTrace": [] });
        self.ask(Method::POST, path, Some(kind), &body).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, kind: Option<&str>, body: &Value) -> Result<(HeaderMap, Bytes)> {
        let failed = |e: &dyn std::fmt::Display| Error::new(Code::Io, format!("the Runtime API, {path}: {e}"));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/{VERSION}/runtime/{path}"))
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json");
        if let Some(kind) = kind {
            request = request.header(ERROR_TYPE, kind);
        }
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = request.body(Full::new(body)).map_err(|e| failed(&e))?;
        // A connection of its own for each: one that was kept while the process was frozen may be dead.
        let stream = TcpStream::connect(&self.address).await.map_err(|e| failed(&e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        let exchange = async {
            let response: Response<_> = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            drop(sender);
            Ok::<_, hyper::Error>((head, body))
        };
        let (answered, _) = tokio::join!(exchange, connection);
        let (head, body) = answered.map_err(|e| failed(&e))?;
        if head.status.is_success() {
            return Ok((head.headers, body));
        }
        if !path.ends_with("next") && head.status.is_client_error() {
            // One that came too late, say: the next invocation is another one.
            tracing::warn!(status = %head.status, "the platform did not take the answer");
            return Ok((head.headers, body));
        }
        Err(failed(&head.status))
    }
}

fn text(head: &HeaderMap, name: &str) -> Option<String> {
    head.get(name)?.to_str().ok().map(str::to_owned)
}
