//! Signs requests, sends them, and sends again what may be sent again.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::DateTime;
use hakiri_core::catalog::{CatalogError, CatalogResult};
use hakiri_core::time::Instant;
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::HttpRequest;
use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use super::error::{Failure, Target, Verdict, never, odd, pause, spread};
use super::{Options, Settings};

/// The largest answer that is read (P7): 16 MB of items, and what JSON adds to them.
const ANSWER: usize = 96 << 20;

/// The largest answer that is read when it is no success. One to a transaction has a reason for each action.
const PROBLEM: usize = 256 << 10;

/// An answer.
pub(super) struct Answer {
    body: Vec<u8>,
    /// The clock of who answered, to the second.
    date: Option<Instant>,
}

impl Answer {
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> CatalogResult<T> {
        // The parser's own message may quote what is stored (P8).
        serde_json::from_slice(&self.body).map_err(|_| odd())
    }

    pub(super) fn date(&self) -> CatalogResult<Instant> {
        let none = || never("the answer has no date, which leases go by: is it DynamoDB?".to_owned());
        self.date.ok_or_else(none)
    }
}

/// Why a write did not go well.
pub(super) enum Refused {
    /// A condition does not hold; nothing was done.
    Unmet,
    /// Anything else.
    Failed(CatalogError),
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(rename = "CancellationReasons", default)]
    reasons: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(rename = "Code", default)]
    code: String,
}

pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    target: Target,
    credentials: AwsCredentialProvider,
    /// Differs from one client to the other.
    seed: String,
    sent: AtomicU64,
}

impl Client {
    pub(super) fn new(settings: &Settings, seed: &str, options: &Options) -> CatalogResult<Self> {
        let url = address(settings)?;
        let mut builder = reqwest::Client::builder()
            // A write must never be sent twice by the library.
            .retry(reqwest::retry::never())
            .redirect(Policy::none())
            .user_agent(concat!("hakiri/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect)
            .timeout(options.patience)
            // Shorter than what lies in between keeps an idle connection, so that a write meets none that is dead.
            .pool_idle_timeout(Duration::from_secs(20))
            .tcp_keepalive(Duration::from_secs(15));
        if loopback(&url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|_| never("the HTTP client cannot be made".to_owned()))?;
        let target = Target {
            endpoint: url.as_str().trim_end_matches('/').to_owned(),
            table: settings.table.clone(),
            region: settings.region.clone(),
        };
        let credentials = settings.credentials.clone();
        Ok(Self { http, url, target, credentials, seed: seed.to_owned(), sent: AtomicU64::new(0) })
    }

    pub(super) fn table(&self) -> &str {
        &self.target.table
    }

    /// A request that changes nothing, or that may happen any number of times.
    pub(super) async fn read(&self, operation: &str, body: &Value) -> CatalogResult<Answer> {
        let mut attempt = 0;
        loop {
            let verdict = match self.once(operation, body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.target.judge(failure),
            };
            let Some(pause) = pause(&verdict, attempt, self.salt()) else {
                return Err(match verdict {
                    Verdict::Busy(e) | Verdict::Refused(e) => e,
                    Verdict::Open { reason, .. } => CatalogError::Unavailable { reason, retry_after: 5 },
                    Verdict::Unmet => odd(),
                });
            };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// A write: sent again only where the answer says that nothing was done.
    pub(super) async fn write(&self, operation: &str, body: &Value) -> Result<Answer, Refused> {
        let mut attempt = 0;
        loop {
            let verdict = match self.once(operation, body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.target.judge(failure),
            };
            match (verdict, attempt) {
                (Verdict::Unmet, _) => return Err(Refused::Unmet),
                (Verdict::Refused(e), _) => return Err(Refused::Failed(e)),
                (Verdict::Open { reason, .. }, _) => return Err(Refused::Failed(CatalogError::OutcomeUnknown(reason))),
                (verdict @ Verdict::Busy(_), attempt) => match pause(&verdict, attempt, self.salt()) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => {
                        let Verdict::Busy(e) = verdict else { return Err(Refused::Failed(odd())) };
                        return Err(Refused::Failed(e));
                    }
                },
            }
            attempt += 1;
        }
    }

    /// Waits for about so long.
    pub(super) async fn wait(&self, millis: u64) {
        tokio::time::sleep(spread(millis, self.salt())).await;
    }

    fn salt(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.seed, std::process::id(), self.sent.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
        hasher.finish()
    }

    async fn once(&self, operation: &str, body: &Value) -> Result<Answer, Failure> {
        let credential = self.credentials.get_credential().await.map_err(|_| {
            // Its message may hold what an endpoint of credentials answered.
            let reason = "there are no credentials for AWS, or where they come from does not answer".to_owned();
            Failure::Unsent(CatalogError::Unavailable { reason, retry_after: 5 })
        })?;
        let request = self.signed(operation, body, &credential).map_err(Failure::Unsent)?;
        let response = self.http.execute(request).await.map_err(|e| self.failed(&e))?;
        let status = response.status();
        let date = response.headers().get(DATE).and_then(|v| v.to_str().ok()).and_then(instant);
        if status == reqwest::StatusCode::OK {
            let body = self.body(response, ANSWER).await?;
            return Ok(Answer { body, date });
        }
        let body = self.body(response, PROBLEM).await.unwrap_or_default();
        let (code, reasons) = problem(&body);
        Err(Failure::Answered { status: status.as_u16(), code, reasons })
    }

    fn signed(&self, operation: &str, body: &Value, credential: &AwsCredential) -> CatalogResult<reqwest::Request> {
        // The signer takes for granted that a header can hold these.
        let sendable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !sendable(&credential.key_id) || !credential.token.as_deref().is_none_or(sendable) {
            return Err(never("the credentials for AWS hold characters that cannot be sent".to_owned()));
        }
        let unsendable = |_| never("a request cannot be made".to_owned());
        let mut request: HttpRequest = http::Request::post(self.url.as_str())
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header(CONTENT_TYPE, "application/x-amz-json-1.0")
            .body(body.to_string().into())
            .map_err(unsendable)?;
        AwsAuthorizer::new(credential, "dynamodb", &self.target.region).authorize(&mut request, None);
        let (parts, body) = request.into_parts();
        let bytes = body.as_bytes().cloned().unwrap_or_default();
        let request = http::Request::from_parts(parts, reqwest::Body::from(bytes));
        reqwest::Request::try_from(request).map_err(|_| never("a request cannot be made".to_owned()))
    }

    /// The body of an answer, of bounded size also where it was compressed.
    async fn body(&self, mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(&e))? {
            if body.len() + chunk.len() > limit {
                let reason = format!("the answer of {} is larger than {limit} bytes", self.target.endpoint);
                return Err(Failure::Unreadable(never(reason)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, e: &reqwest::Error) -> Failure {
        let place = &self.target.endpoint;
        if e.is_connect() || e.is_builder() {
            let reason = format!("{place} cannot be reached: {}", deepest(e));
            return Failure::Unsent(CatalogError::Unavailable { reason, retry_after: 5 });
        }
        if e.is_timeout() {
            return Failure::Silent(format!("{place} does not answer in time"));
        }
        Failure::Lost(format!("the connection to {place} broke: {}", deepest(e)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.target).finish()
    }
}

/// The name of the exception and the reasons of an answer that is no success; nothing that could be anything else.
fn problem(body: &[u8]) -> (String, Vec<String>) {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else { return (String::new(), Vec::new()) };
    let name = |text: &str| -> String {
        let text = text.rsplit('#').next().unwrap_or_default();
        if text.len() <= 60 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            text.to_owned()
        } else {
            String::new()
        }
    };
    (name(&problem.kind), problem.reasons.iter().map(|reason| name(&reason.code)).collect())
}

/// The instant of a header `date`.
fn instant(text: &str) -> Option<Instant> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| Instant::from_millis(date.timestamp_millis()))
}

/// Where requests go. What is wrong is told without quoting it: a password may stand in it.
fn address(settings: &Settings) -> CatalogResult<Url> {
    let Settings { region, endpoint, table, .. } = settings;
    let plain = |text: &str, also: &str| {
        !text.is_empty() && text.len() <= 255 && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    if !plain(region, "-") {
        return Err(never("the region is not one of AWS: it is like eu-central-1".to_owned()));
    }
    if !plain(table, "-_.") {
        return Err(never("the table's name is none that DynamoDB takes".to_owned()));
    }
    let Some(endpoint) = endpoint else {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        return Url::parse(&format!("https://dynamodb.{region}.{domain}/")).map_err(|_| odd());
    };
    let parsed = Url::parse(endpoint).map_err(|_| never("the endpoint of DynamoDB is not a URL".to_owned()))?;
    let plain = parsed.username().is_empty() && parsed.password().is_none();
    let bare = parsed.path() == "/" && parsed.query().is_none() && parsed.fragment().is_none();
    if !matches!(parsed.scheme(), "http" | "https") || !plain || !bare {
        return Err(never("the endpoint of DynamoDB must be like https://HOST:PORT and no more".to_owned()));
    }
    Ok(parsed)
}

/// Whether an address is this machine itself, where no proxy stands in between.
fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The innermost cause; the outer ones repeat the URL.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut here = error;
    while let Some(next) = here.source() {
        here = next;
    }
    here.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(region: &str, endpoint: Option<&str>) -> Settings {
        Settings {
            table: "hakiri".to_owned(),
            project: "shop".to_owned(),
            region: region.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            credentials: super::super::credentials("AKIDEXAMPLE", "sekrit-0123456789", Some("sekrit-token")),
        }
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_without_being_quoted() {
        for (region, endpoint) in [
            ("eu-west-1", "nowhere"),
            ("eu-west-1", "ftp://d.example"),
            ("eu-west-1", "https://me:pa55@d.example"),
            ("eu-west-1", "https://d.example/?x=pa55"),
            ("eu-west-1", "https://d.example/pa55"),
            ("pa55.example/", "https://d.example"),
            ("", "https://d.example"),
        ] {
            let said = format!("{:?}", address(&settings(region, Some(endpoint))).unwrap_err());
            assert!(!said.contains("pa55"), "{said}");
        }
        let at = |region: &str| address(&settings(region, None)).unwrap().to_string();
        assert_eq!(at("eu-central-1"), "https://dynamodb.eu-central-1.amazonaws.com/");
        assert_eq!(at("cn-north-1"), "https://dynamodb.cn-north-1.amazonaws.com.cn/");
        address(&settings("x", Some("http://127.0.0.1:4566"))).unwrap();
    }

    #[test]
    fn nothing_shows_a_secret() {
        let client = Client::new(&settings("eu-west-1", None), "x", &Options::default()).unwrap();
        assert!(!format!("{client:?}{:?}", settings("eu-west-1", None)).contains("sekrit"));
        let (code, reasons) =
            problem(br#"{"__type":"a.b#Some stored text","CancellationReasons":[{"Code":"x y"},{}]}"#);
        assert_eq!((code.as_str(), reasons), ("", vec![String::new(), String::new()]));
        let bad = AwsCredential { key_id: "a\nb".to_owned(), secret_key: "sekrit".to_owned(), token: None };
        assert!(!format!("{:?}", client.signed("GetItem", &json!({}), &bad).unwrap_err()).contains("sekrit"));
    }

    #[test]
    fn a_request_is_signed_with_its_body_and_its_operation() {
        let client = Client::new(&settings("eu-west-1", None), "x", &Options::default()).unwrap();
        let credential = AwsCredential {
            key_id: "AKIDEXAMPLE".to_owned(),
            secret_key: "sekrit-0123456789".to_owned(),
            token: Some("sekrit-token".to_owned()),
        };
        let request = client.signed("GetItem", &json!({ "a": 1 }), &credential).unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        assert_eq!(header("x-amz-target"), "DynamoDB_20120810.GetItem");
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
