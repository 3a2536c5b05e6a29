//! One request in the JSON protocol of AWS: `POST /` with the operation in a header, signed, its answer bounded.

use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use hakiri_core::time::Instant;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::credentials::Credentials;
use crate::place::{self, Place};

/// How a service is spoken to.
#[derive(Debug)]
pub struct Protocol {
    /// The first part of its host's name, and what requests are signed for.
    pub service: &'static str,
    /// What stands before the operation in `x-amz-target`.
    pub target: &'static str,
    /// The version of the protocol.
    pub version: &'static str,
    /// The largest answer that is read (P7), in bytes.
    pub answer: usize,
}

/// The largest answer that is read when it is no success: one to a transaction has a reason for each action.
const PROBLEM: usize = 256 << 10;

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For a request, with its answer.
    pub request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(20) }
    }
}

/// An answer that says that it went well. Its text is never shown: it may be what is stored, or a secret (P8).
pub struct Answer {
    body: Vec<u8>,
    date: Option<Instant>,
}

impl Answer {
    /// The answer as JSON; none where it is of another form. The parser's own message may quote it (P8).
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The clock of who answered, to the second.
    pub fn date(&self) -> Option<Instant> {
        self.date
    }
}

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was never sent. `lasting`: trying again will not help.
    Unsent {
        /// Why.
        reason: String,
        /// Whether it stays so.
        lasting: bool,
    },
    /// It was sent, in part at least, and no whole answer came: the connection broke.
    Lost(String),
    /// It was sent, and no answer came in time.
    Silent(String),
    /// It was answered by something else than success.
    Answered(Problem),
    /// It was answered by success, but the answer is too large.
    Unreadable(String),
}

/// An answer that is no success.
#[derive(Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: u16,
    /// The name of the exception, if the answer has one.
    pub code: String,
    /// The whole of it, which is not for showing.
    body: Vec<u8>,
}

impl Problem {
    /// Of a status and a body.
    pub fn new(status: u16, body: Vec<u8>) -> Self {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "__type")]
            kind: String,
        }
        let code = serde_json::from_slice::<Named>(&body).map(|named| name(&named.kind)).unwrap_or_default();
        Self { status, code, body }
    }

    /// What else it says, as JSON.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Problem({} {})", self.status, self.code)
    }
}

/// What can only be the name of an exception or of a reason; empty for anything else, which could be what is stored.
pub fn name(text: &str) -> String {
    let text = text.rsplit('#').next().unwrap_or_default();
    if text.len() <= 60 && text.bytes().all(|b| b.is_ascii_alphanumeric()) { text.to_owned() } else { String::new() }
}

/// A service at its place.
pub struct Service {
    protocol: &'static Protocol,
    http: reqwest::Client,
    url: Url,
    region: String,
    credentials: Credentials,
}

impl Service {
    /// Makes a client; sends nothing.
    ///
    /// # Errors
    /// What is wrong with region or endpoint, without quoting it.
    pub fn new(
        protocol: &'static Protocol,
        place: &Place,
        credentials: Credentials,
        patience: Patience,
    ) -> Result<Self, String> {
        let url = place::address(protocol.service, place)?;
        let mut builder = reqwest::Client::builder()
            // Nothing must ever be sent twice by the library.
            .retry(reqwest::retry::never())
            .redirect(Policy::none())
            .user_agent(concat!("hakiri/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .timeout(patience.request)
            // Shorter than what lies in between keeps an idle connection, so that a write meets none that is dead.
            .pool_idle_timeout(Duration::from_secs(20))
            .tcp_keepalive(Duration::from_secs(15));
        if place::loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|_| "the HTTP client cannot be made".to_owned())?;
        Ok(Self { protocol, http, url, region: place.region.clone(), credentials })
    }

    /// Where requests go, for messages.
    pub fn endpoint(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// What requests are signed for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Sends one request, once.
    ///
    /// # Errors
    /// What is known of it; nothing in it quotes a secret or what is stored.
    pub async fn call(&self, operation: &str, body: &Value) -> Result<Answer, Failure> {
        let credential = self.credentials.get().await.map_err(|reason| Failure::Unsent { reason, lasting: false })?;
        let request = self
            .signed(operation, body, &credential)
            .ok_or_else(|| Failure::Unsent { reason: "a request cannot be made".to_owned(), lasting: true })?;
        let response = self.http.execute(request).await.map_err(|e| self.failed(&e))?;
        let status = response.status();
        let date = response.headers().get(DATE).and_then(|v| v.to_str().ok()).and_then(instant);
        if status == reqwest::StatusCode::OK {
            return Ok(Answer { body: self.body(response, self.protocol.answer).await?, date });
        }
        let body = self.body(response, PROBLEM).await.unwrap_or_default();
        Err(Failure::Answered(Problem::new(status.as_u16(), body)))
    }

    fn signed(&self, operation: &str, body: &Value, credential: &AwsCredential) -> Option<reqwest::Request> {
        let Protocol { service, target, version, .. } = self.protocol;
        let mut request: HttpRequest = http::Request::post(self.url.as_str())
            .header("x-amz-target", format!("{target}.{operation}"))
            .header(CONTENT_TYPE, format!("application/x-amz-json-{version}"))
            .body(body.to_string().into())
            .ok()?;
        AwsAuthorizer::new(credential, service, &self.region).authorize(&mut request, None);
        let (parts, body) = request.into_parts();
        let bytes = body.as_bytes().cloned().unwrap_or_default();
        let request = http::Request::from_parts(parts, reqwest::Body::from(bytes));
        reqwest::Request::try_from(request).ok()
    }

    /// The body of an answer, of bounded size also where it was compressed.
    async fn body(&self, mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(&e))? {
            if body.len() + chunk.len() > limit {
                let reason = format!("the answer of {} is larger than {limit} bytes", self.endpoint());
                return Err(Failure::Unreadable(reason));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, e: &reqwest::Error) -> Failure {
        let place = self.endpoint();
        if e.is_connect() || e.is_builder() {
            return Failure::Unsent { reason: format!("{place} cannot be reached: {}", deepest(e)), lasting: false };
        }
        if e.is_timeout() {
            return Failure::Silent(format!("{place} does not answer in time"));
        }
        Failure::Lost(format!("the connection to {place} broke: {}", deepest(e)))
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({} in {})", self.endpoint(), self.region)
    }
}

/// The instant of a header `date`.
fn instant(text: &str) -> Option<Instant> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| Instant::from_millis(date.timestamp_millis()))
}

/// The innermost cause; the outer ones repeat the URL.
fn deepest(error: &reqwest::Error) -> String {
    let mut here: &(dyn std::error::Error + 'static) = error;
    while let Some(next) = here.source() {
        here = next;
    }
    here.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TABLES: Protocol =
        Protocol { service: "dynamodb", target: "DynamoDB_20120810", version: "1.0", answer: 1 << 20 };

    fn credential() -> AwsCredential {
        AwsCredential {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret_key: "sekrit-0123456789".to_owned(),
            token: Some("sekrit-token".to_owned()),
        }
    }

    fn service() -> Service {
        let place = Place { region: "eu-west-1".to_owned(), endpoint: None };
        Service::new(&TABLES, &place, Credentials::fixed(credential()), Patience::default()).unwrap()
    }

    #[test]
    fn nothing_shows_a_secret() {
        let problem =
            Problem::new(400, br#"{"__type":"a.b#Some stored text","CancellationReasons":[{"Code":"x y"}]}"#.to_vec());
        assert_eq!(
            (problem.code.as_str(), name("x y"), name("a#Throttling")),
            ("", String::new(), "Throttling".to_owned())
        );
        let shown = format!("{problem:?}{:?}", service());
        assert!(!shown.contains("stored") && !shown.contains("sekrit"), "{shown}");
    }

    #[test]
    fn a_request_is_signed_with_its_body_and_its_operation() {
        let request = service().signed("GetItem", &json!({ "a": 1 }), &credential()).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!(header("x-amz-target"), "DynamoDB_20120810.GetItem");
        assert_eq!(header("content-type"), "application/x-amz-json-1.0");
        assert_eq!(request.body().unwrap().as_bytes().unwrap(), br#"{"a":1}"#);
        let authorization = header("authorization");
        assert!(authorization.contains("/eu-west-1/dynamodb/aws4_request, SignedHeaders="), "{authorization}");
        for signed in
            ["content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "x-amz-target"]
        {
            assert!(authorization.contains(signed), "{authorization}");
        }
    }

    #[test]
    fn a_date_is_an_instant() {
        assert_eq!(instant("Fri, 15 Jan 2027 08:00:00 GMT").map(Instant::millis), Some(1_800_000_000_000));
        assert_eq!(instant("yesterday"), None);
    }
}
