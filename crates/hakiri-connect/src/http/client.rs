//! One guarded HTTP client: every request of a source, its tokens and its redirects pass through here.
//!
//! Contract: no proxy from the environment; redirects by hand, on the same host only; no private address unless the
//! manifest allows it; every body capped, counted after decompression; hiccups and short waits are sat out in place,
//! so that one 502 does not restart a read of 500 pages, and everything longer goes back to the engine, which
//! can wait without holding a worker. Errors name method, address and path template, never a query, a value or a secret.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Kind, Result};
use hakiri_core::secret::{Secret, Secrets};
use hakiri_core::source::SourceContext;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::sync::Mutex;
use url::Url;

use super::address;
use super::answer;
use super::auth::{self, Token};
use super::compile::Site;
use super::config::Auth;
pub use super::patience::{Patience, Spent};
use super::patience::{pause, until_cancelled};
use super::resolve::{Guarded, Lookup, PrivateName};

/// How many redirects one request may follow.
const MAX_REDIRECTS: usize = 5;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(15);
/// The largest answer of a token endpoint, in bytes.
const TOKEN_BYTES: u64 = 1 << 20;

/// One request, ready but for credentials.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers besides credentials.
    pub headers: HeaderMap,
    /// The body of a POST.
    pub body: Option<Vec<u8>>,
    /// Statuses that are handed back instead of becoming an error.
    pub accept: &'a [u16],
    /// Whether a member `errors` of the answer is an error, whatever the status.
    pub graphql: bool,
    /// What stands in messages.
    pub label: &'a str,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status: of success (the body is then JSON, but for 204), or one of [`Call::accept`].
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Vec<u8>,
    /// Where it came from in the end.
    pub url: Url,
}

/// The client of one source.
pub struct Client {
    http: OnceLock<reqwest::Client>,
    lookup: Arc<dyn Lookup>,
    auth: Option<Auth>,
    auth_optional: bool,
    allow_private: bool,
    timeout: Duration,
    max_bytes: u64,
    interval_millis: i64,
    next_slot: AtomicI64,
    patience: Patience,
    token: Mutex<Option<Token>>,
    tokens_made: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// A client for a site. Nothing is opened before the first request.
    pub fn new(site: &Site, lookup: Arc<dyn Lookup>, patience: Patience) -> Self {
        Self {
            http: OnceLock::new(),
            lookup,
            auth: site.config.auth.clone(),
            auth_optional: site.config.auth_optional,
            allow_private: site.config.allow_private,
            timeout: Duration::from_millis(site.timeout_millis),
            max_bytes: site.max_bytes,
            interval_millis: site.interval_millis,
            next_slot: AtomicI64::new(0),
            patience,
            token: Mutex::new(None),
            tokens_made: AtomicU64::new(0),
        }
    }

    /// Sends a request and reads the answer, sitting out what passes soon.
    ///
    /// # Errors
    /// `HK0404`, `HK0501` to `HK0503`, `HK0507` to `HK0510`.
    pub async fn send(&self, call: &Call<'_>, ctx: &SourceContext, spent: &mut Spent) -> Result<Answer> {
        let (mut hiccups, mut blind) = (self.patience.hiccups.iter(), self.patience.no_hint.iter());
        let mut renewed = false;
        loop {
            let made = self.tokens_made.load(Ordering::SeqCst);
            let error = match until_cancelled(ctx, self.attempt(call, ctx, spent)).await {
                Ok(answer) if answer.status == 204 || call.accept.contains(&answer.status) => return Ok(answer),
                Ok(answer) if (200..300).contains(&answer.status) => match flaw(call, &answer, ctx) {
                    None => return Ok(answer),
                    Some(error) => error,
                },
                Ok(answer) if answer.status == 401 && !renewed && matches!(self.auth, Some(Auth::Oauth2(_))) => {
                    renewed = true;
                    self.expire(made).await;
                    continue;
                }
                Ok(answer) => {
                    let fetched = self.fetched().await;
                    let quote = |text: &str| fetched.redact(&ctx.secrets.redact(text));
                    answer::failure(answer.status, &answer.headers, &answer.body, ctx.clock.now(), &quote)
                }
                Err(error) => error,
            };
            let wait = match error.kind() {
                Kind::Transient => hiccups.next().copied(),
                Kind::RateLimited { seconds } => {
                    let wait = if seconds == 0 { blind.next().copied() } else { Some(seconds.saturating_mul(1_000)) };
                    let wait = wait.filter(|wait| spent.waited.saturating_add(*wait) <= self.patience.rate_limit);
                    spent.waited += wait.unwrap_or(0);
                    wait
                }
                _ => None,
            };
            match wait {
                Some(wait) => {
                    tracing::debug!(code = %error.code(), wait_ms = wait, at = call.label, "trying a request again");
                    pause(ctx, Duration::from_millis(wait)).await?;
                }
                None => return Err(error.at(call.label)),
            }
        }
    }

    /// One attempt with its redirects.
    async fn attempt(&self, call: &Call<'_>, ctx: &SourceContext, spent: &mut Spent) -> Result<Answer> {
        let auth = self.auth.as_ref().filter(|auth| !self.auth_optional || auth::available(auth, &ctx.secrets));
        let token = match auth {
            Some(Auth::Oauth2(_)) => Some(self.token(ctx, spent).await?),
            _ => None,
        };
        let mut url = call.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = call.headers.clone();
            headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
            let mut target = url.clone();
            if let Some(auth) = auth {
                auth::apply(auth, token.as_deref(), &mut target, &mut headers, &ctx.secrets)?;
            }
            let answer =
                self.exchange(&call.method, target, headers, call.body.clone(), self.max_bytes, ctx, spent).await?;
            let Some(location) = redirect(&answer) else {
                return Ok(answer);
            };
            if call.method == Method::POST && !matches!(answer.status, 307 | 308) {
                return Err(Error::new(
                    Code::HttpRedirect,
                    format!("a POST was redirected with status {}", answer.status),
                ));
            }
            url = self.follow(&url, &location)?;
        }
        Err(Error::new(Code::HttpRedirect, format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Checks a URL that the API gave (a redirect, a next page) against the one it was given for.
    ///
    /// # Errors
    /// `HK0508` for a private address, `HK0509` for another host or less protection.
    pub fn follow(&self, from: &Url, to: &str) -> Result<Url> {
        let next =
            from.join(to).map_err(|_| Error::new(Code::HttpRedirect, "the API gave a URL that cannot be read"))?;
        address::gate(&next, self.allow_private)?;
        let host = next.host_str().unwrap_or_default().to_owned();
        if next.host() != from.host() {
            return Err(Error::new(Code::HttpRedirect, format!("the API leads to another host, {host}")));
        }
        let upgraded = from.scheme() == "http" && next.scheme() == "https";
        if from.scheme() == "https" && next.scheme() == "http" {
            return Err(Error::new(Code::HttpRedirect, format!("the API leads from https to http on {host}")));
        }
        if !upgraded && next.port_or_known_default() != from.port_or_known_default() {
            return Err(Error::new(Code::HttpRedirect, format!("the API leads to another port of {host}")));
        }
        Ok(next)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, from two callers that share nothing else")]
    async fn exchange(
        &self,
        method: &Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
        max_bytes: u64,
        ctx: &SourceContext,
        spent: &mut Spent,
    ) -> Result<Answer> {
        address::gate(&url, self.allow_private)?;
        self.pace(ctx).await?;
        spent.requests += 1;
        let mut request = self.http()?.request(method.clone(), url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut response = request.send().await.map_err(|e| unreachable(&e, &host, &ctx.secrets))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let too_large = || Error::new(Code::HttpTooLarge, format!("the answer is larger than {max_bytes} bytes"));
        if response.content_length().is_some_and(|length| length > max_bytes) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    spent.bytes += chunk.len() as u64;
                    if (body.len() + chunk.len()) as u64 > max_bytes {
                        return Err(too_large());
                    }
                    body.extend_from_slice(&chunk);
                }
                Err(e) if e.is_timeout() => {
                    return Err(Error::new(Code::HttpUnavailable, "time ran out in the middle of the answer"));
                }
                Err(_) => {
                    return Err(Error::new(
                        Code::HttpTruncated,
                        format!("the answer ended early, after {} bytes", body.len()),
                    ));
                }
            }
        }
        Ok(Answer { status, headers, body, url })
    }

    fn http(&self) -> Result<&reqwest::Client> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = guarded(self.lookup.clone(), self.allow_private, self.timeout)?;
        Ok(self.http.get_or_init(|| http))
    }

    /// Keeps the distance between requests that the manifest asks for.
    async fn pace(&self, ctx: &SourceContext) -> Result<()> {
        if self.interval_millis == 0 {
            return Ok(());
        }
        let now = ctx.clock.now().millis();
        let turn = |next: i64| Some(next.max(now).saturating_add(self.interval_millis));
        let mine =
            self.next_slot.fetch_update(Ordering::SeqCst, Ordering::SeqCst, turn).map_or(now, |next| next.max(now));
        pause(ctx, Duration::from_millis(mine.saturating_sub(now).unsigned_abs())).await
    }

    /// A text without any secret, those that were fetched included.
    pub async fn redact(&self, text: &str, ctx: &SourceContext) -> String {
        self.fetched().await.redact(&ctx.secrets.redact(text))
    }

    /// The OAuth tokens there are.
    async fn fetched(&self) -> Secrets {
        let kept = self.token.lock().await;
        let tokens = kept.iter().flat_map(|token| [Some(&token.access), token.refresh.as_ref()]).flatten();
        Secrets::new(tokens.enumerate().map(|(n, token)| (format!("TOKEN_{n}"), Secret::new(token.clone()))))
    }

    /// The OAuth token, fetched if there is none or it is about to expire. Steps that run at once wait for one fetch.
    async fn token(&self, ctx: &SourceContext, spent: &mut Spent) -> Result<String> {
        let Some(Auth::Oauth2(oauth)) = &self.auth else {
            return Ok(String::new());
        };
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| token.until > ctx.clock.now()) {
            return Ok(token.access.clone());
        }
        let rotated = kept.as_ref().and_then(|token| token.refresh.clone());
        let url = Url::parse(&ctx.secrets.resolve_text(&oauth.token_url)?)
            .map_err(|_| Error::new(Code::SourceConfig, "auth.oauth2.token_url: not a URL"))?;
        let (body, headers) = auth::token_request(oauth, rotated.as_deref(), &ctx.secrets)?;
        let answer = self.exchange(&Method::POST, url, headers, Some(body), TOKEN_BYTES, ctx, spent).await?;
        match answer.status {
            200..300 => {}
            408 | 425 | 429 | 500..600 => {
                return Err(answer::failure(answer.status, &answer.headers, b"", ctx.clock.now(), &|_| String::new()));
            }
            300..400 => return Err(Error::new(Code::HttpRedirect, "the token endpoint leads elsewhere")),
            status => return Err(auth::token_failure(status, &answer.body)),
        }
        let mut token = auth::token_answer(answer::json(&answer.headers, &answer.body)?, ctx.clock.now())?;
        token.refresh = token.refresh.or(rotated);
        let access = token.access.clone();
        *kept = Some(token);
        self.tokens_made.fetch_add(1, Ordering::SeqCst);
        Ok(access)
    }

    /// Forgets the token, unless another step has already renewed it since.
    async fn expire(&self, made: u64) {
        let mut kept = self.token.lock().await;
        if self.tokens_made.load(Ordering::SeqCst) <= made.max(1)
            && let Some(token) = kept.as_mut()
        {
            token.until = hakiri_core::time::Instant::from_millis(i64::MIN);
        }
    }
}

/// The HTTP client behind every request: no proxy from the environment, no redirect by itself, no private address that is
/// not allowed.
///
/// # Errors
/// `HK0001` when the library cannot make one.
pub(super) fn guarded(lookup: Arc<dyn Lookup>, allow_private: bool, timeout: Duration) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(Guarded::new(lookup, allow_private)))
        .user_agent(concat!("hakiri/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT.min(timeout))
        .timeout(timeout)
        .build()
        .map_err(|e| Error::new(Code::Internal, format!("the HTTP client cannot be made: {}", deepest(&e))))
}

/// What is wrong with an answer of success. Looked for here, so that a body that was cut off, or a GraphQL API that is
/// busy, is asked again like any other hiccup.
fn flaw(call: &Call<'_>, answer: &Answer, ctx: &SourceContext) -> Option<Error> {
    match answer::json(&answer.headers, &answer.body) {
        Err(error) => Some(error),
        Ok(root) if call.graphql => answer::graphql_failure(root, &|text| ctx.secrets.redact(text)),
        Ok(_) => None,
    }
}

fn redirect(answer: &Answer) -> Option<String> {
    let status = StatusCode::from_u16(answer.status).ok()?;
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    answer.headers.get(LOCATION)?.to_str().ok().map(str::to_owned)
}

/// The error for a request that had no answer.
pub(super) fn unreachable(error: &reqwest::Error, host: &str, secrets: &Secrets) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(here) = cause {
        if here.is::<PrivateName>() {
            return address::private(host);
        }
        cause = here.source();
    }
    if error.is_timeout() {
        return Error::new(Code::HttpUnavailable, format!("{host} did not answer in time"));
    }
    let why = secrets.redact(&deepest(error));
    if error.is_builder() {
        return Error::new(Code::SourceConfig, format!("the request cannot be made: {why}"));
    }
    if why.contains("no records found") || why.contains("NXDomain") {
        return Error::new(Code::HttpUnavailable, format!("the name {host} is not known"))
            .with_hint("check base_url and the network");
    }
    Error::new(Code::HttpUnavailable, format!("no answer from {host}: {why}"))
}

/// The innermost cause: the outer ones repeat the URL, which may hold secrets.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut here = error;
    while let Some(next) = here.source() {
        here = next;
    }
    let text = here.to_string();
    if text.contains("://") { "the connection failed".to_owned() } else { text }
}
