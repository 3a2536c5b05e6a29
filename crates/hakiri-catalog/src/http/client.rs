//! Sends requests and notes what came of them.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hakiri_core::catalog::{CatalogError, CatalogResult};
use hakiri_core::secret::Secret;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use url::{Host, Url};

use super::Options;
use super::error::Failure;
use super::protocol::{self, HEADER, PROTOCOL, Request};

/// The largest body that is sent: the object takes no larger one.
const REQUEST: usize = 32 << 20;

/// The largest answer that is read (P7): the object's own limit, and what JSON adds to it.
const ANSWER: usize = 96 << 20;

/// The largest answer that is read when it is no success.
const PROBLEM: usize = 64 << 10;

/// How long to wait before a read is sent again whose connection broke.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// The most characters that are shown of a message of the other side's.
const MESSAGE: usize = 300;

pub(super) struct Client {
    http: reqwest::Client,
    /// The address without a slash at its end. Nothing in it is secret.
    place: String,
    token: Option<Secret>,
}

impl Client {
    pub(super) fn new(url: &str, token: Option<Secret>, options: &Options) -> CatalogResult<Self> {
        let url = address(url, token.is_some())?;
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static(PROTOCOL));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| never("the catalog's token holds characters that cannot be sent".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder()
            // A write must never be sent twice by the library.
            .retry(reqwest::retry::never())
            .redirect(Policy::none())
            .default_headers(headers)
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
        Ok(Self { http, place: url.as_str().trim_end_matches('/').to_owned(), token })
    }

    /// Sends a request that may be sent again: a few times, where the connection breaks.
    pub(super) async fn read(&self, request: Request) -> Result<Vec<u8>, Failure> {
        for pause in PAUSES {
            match self.once(&request).await {
                Err(Failure::Lost(_)) => tokio::time::sleep(pause).await,
                other => return other,
            }
        }
        self.once(&request).await
    }

    /// Sends a request once.
    pub(super) async fn once(&self, request: &Request) -> Result<Vec<u8>, Failure> {
        if request.body.len() > REQUEST {
            let reason = format!(
                "a request of {} bytes is larger than the {REQUEST} that the catalog takes",
                request.body.len()
            );
            return Err(Failure::Unsent(never(reason)));
        }
        let url = format!("{}/v1/{}", self.place, request.method);
        let sent = self.http.post(url).body(request.body.clone()).send().await;
        let response = sent.map_err(|e| self.failed(&e))?;
        let status = response.status();
        let headers = response.headers();
        let retry_after = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        let json = headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
        if status == reqwest::StatusCode::OK {
            let body = self.body(response, ANSWER).await?;
            if !json {
                let reason = format!("what answers at {} is no catalog: check the address", self.place);
                return Err(Failure::Unreadable(never(reason)));
            }
            return Ok(body);
        }
        let body = self.body(response, PROBLEM).await.unwrap_or_default();
        let problem = protocol::problem(&body).map(|mut problem| {
            problem.message = self.shown(&problem.message);
            problem
        });
        Err(Failure::Answered { status: status.as_u16(), retry_after, problem, place: self.place.clone() })
    }

    /// The body of an answer, of bounded size also where it was compressed.
    async fn body(&self, mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(&e))? {
            if body.len() + chunk.len() > limit {
                let reason = format!("the answer of {} is larger than {limit} bytes", self.place);
                return Err(Failure::Unreadable(never(reason)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, e: &reqwest::Error) -> Failure {
        let place = &self.place;
        if e.is_connect() || e.is_builder() {
            let reason = format!("{place} cannot be reached: {}", deepest(e));
            return Failure::Unsent(CatalogError::Unavailable { reason, retry_after: 5 });
        }
        if e.is_timeout() {
            return Failure::Silent(format!("{place} does not answer in time"));
        }
        Failure::Lost(format!("the connection to {place} broke: {}", deepest(e)))
    }

    /// A message of the other side's, as far as it may be shown: it could be anybody who answers.
    fn shown(&self, message: &str) -> String {
        match &self.token {
            Some(token) if message.contains(token.expose()) => "it quotes the token".to_owned(),
            _ => message.chars().filter(|c| !c.is_control()).take(MESSAGE).collect(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.place).finish()
    }
}

/// A URL as one that may be used. What is wrong is told without quoting it: a password may stand in it.
fn address(url: &str, token: bool) -> CatalogResult<Url> {
    let parsed = Url::parse(url).map_err(|_| never("the catalog's address is not a URL".to_owned()))?;
    let secure = match parsed.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err(never("the catalog's address does not begin with https:// or http://".to_owned())),
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(never("the catalog's address holds a user or password: give the token apart from it".to_owned()));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(never("the catalog's address has a part behind ? or #, which it must not".to_owned()));
    }
    if token && !secure && !loopback(&parsed) {
        return Err(never("a token is sent over https:// only, where nobody on the way can read it".to_owned()));
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

/// For what will not pass by itself.
fn never(reason: String) -> CatalogError {
    CatalogError::Unavailable { reason, retry_after: 0 }
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
    use super::*;

    fn says(url: &str, token: bool) -> String {
        match address(url, token) {
            Err(CatalogError::Unavailable { reason, retry_after: 0 }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_without_being_quoted() {
        for (url, token, expected) in [
            ("nowhere", false, "not a URL"),
            ("ftp://w.example", false, "https://"),
            ("https://me:pa55@w.example/catalog", true, "apart"),
            ("https://w.example/?token=pa55", true, "behind"),
            ("https://w.example/#pa55", false, "behind"),
            ("http://w.example/catalog", true, "https:// only"),
        ] {
            let said = says(url, token);
            assert!(said.contains(expected) && !said.contains("pa55"), "{said}");
        }
        for (url, token) in [
            ("http://catalog.hakiri", false),
            ("https://w.example/catalog/", true),
            ("http://[::1]:87/x", true),
            ("http://localhost:1", true),
        ] {
            address(url, token).unwrap();
        }
    }

    #[test]
    fn a_client_does_not_show_its_token_and_neither_does_what_it_shows_of_others() {
        let token = "sekrit-token-0123";
        let client = Client::new("https://w.example/catalog/", Some(Secret::new(token)), &Options::default()).unwrap();
        assert_eq!(format!("{client:?}"), "Client(\"https://w.example/catalog\")");
        assert_eq!(client.shown(&format!("no {token}")), "it quotes the token");
        assert_eq!(client.shown("a\u{1b}[31m\nb"), "a[31mb");
        assert_eq!(client.shown(&"x".repeat(1000)).len(), MESSAGE);
        let refused = Client::new("https://w.example", Some(Secret::new("two\nlines")), &Options::default());
        assert!(!format!("{refused:?}").contains("lines"));
    }
}
