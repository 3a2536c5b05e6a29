//! What every request passes before a route sees it, and every answer on its way out.
//!
//! - **Name.** Without a token, what protects a loopback server from the web pages that its user visits is that they
//!   cannot read other origins. A page can point its own name at 127.0.0.1 (DNS rebinding) and then can; its requests name
//!   that host, and are refused. With a token there is nothing to gain: cookies go by name. So the check stands in for a
//!   token, and a proxy with a token may forward any name.
//! - **Origin.** A request that a page of another origin sent is refused whatever it asks.
//! - **Token.** As [`super::auth`] says, for all but what says one word or lets one in.
//! - **Time and size.** A request has as long as [`TIMEOUT`]; its body is read up to [`MAX_BODY`].
//! - **Headers.** Nothing may be run, framed, sniffed, kept or told to others: the page has no script to allow.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, HeaderValue,
    ORIGIN, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};

use super::{HttpState, Listening, auth, page};

/// How long a request may take, its body included.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body of a request, in bytes: a form with a token.
pub const MAX_BODY: usize = 16 * 1024;

/// Routes that need no token.
const OPEN: [&str; 4] = ["/healthz", "/readyz", "/login", "/favicon.svg"];

/// The guard: see the module.
pub async fn guard(State(state): State<Arc<HttpState>>, request: Request, next: Next) -> Response {
    let mut response = match refuse(&state, &request) {
        Some(refused) => refused,
        None => match tokio::time::timeout(TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long\n"),
        },
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers then send `Origin: null` with the login form.
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(page::content_security_policy()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn refuse(state: &HttpState, request: &Request) -> Option<Response> {
    let (headers, path) = (request.headers(), request.uri().path());
    let host = request.uri().authority().map(|a| a.as_str()).or_else(|| text(headers, &HOST));
    if state.token.is_none() && !names_us(host, state.listening) {
        return Some(plain(StatusCode::MISDIRECTED_REQUEST, "this server answers to localhost and 127.0.0.1 only\n"));
    }
    if !same_origin(text(headers, &ORIGIN), host) {
        return Some(plain(StatusCode::FORBIDDEN, "requests from pages of other origins are refused\n"));
    }
    let length = text(headers, &CONTENT_LENGTH).and_then(|l| l.parse::<u64>().ok()).unwrap_or(0);
    if length > MAX_BODY as u64 {
        return Some(plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"));
    }
    if OPEN.contains(&path) || allowed(state, headers) {
        return None;
    }
    Some(unauthorized(request.method(), headers))
}

/// Whether a request brings the token, or the proof that it was known.
fn allowed(state: &HttpState, headers: &HeaderMap) -> bool {
    let Some(token) = &state.token else { return true };
    let bearer = text(headers, &AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if let Some(given) = bearer {
        return auth::is_token(token, given);
    }
    let now = state.now();
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| auth::cookie(value.to_str().ok()?))
        .any(|value| auth::is_session(token, value, now))
}

/// A browser is shown the form, anything else a status it understands.
fn unauthorized(method: &Method, headers: &HeaderMap) -> Response {
    let browser = method == Method::GET
        && headers
            .get(axum::http::header::ACCEPT)
            .and_then(|a| a.to_str().ok())
            .is_some_and(|a| a.contains("text/html"));
    let mut response = if browser {
        (StatusCode::UNAUTHORIZED, Html(page::login::render(None).into_string())).into_response()
    } else {
        plain(StatusCode::UNAUTHORIZED, "a token is needed: send it as `Authorization: Bearer TOKEN`\n")
    };
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whether a host, as a request names it, is this server on its loopback address.
fn names_us(host: Option<&str>, listening: Listening) -> bool {
    if !listening.loopback {
        return false; // never without a token: `listen::bind` sees to it
    }
    let Some(host) = host else { return false };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    port == Some(listening.port)
        && ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a request comes from one of our own pages, or from no page at all.
fn same_origin(origin: Option<&str>, host: Option<&str>) -> bool {
    match origin {
        None => true,
        Some(origin) => {
            origin.split_once("://").is_some_and(|(_, of)| host.is_some_and(|h| h.eq_ignore_ascii_case(of)))
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A short text.
pub fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(axum::http::header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_with_the_port_are_ours() {
        let at = |port, loopback| Listening { port, loopback };
        for host in ["localhost:8320", "LocalHost:8320", "127.0.0.1:8320", "[::1]:8320"] {
            assert!(names_us(Some(host), at(8320, true)), "{host}");
        }
        for host in [
            "evil.example:8320",
            "localhost",
            "localhost:4526",
            "localhost.evil.example:8320",
            "127.0.0.1.evil.example:8320",
            "[::1]",
            "::1:8320",
            "",
            ":8320",
            "localhost:",
        ] {
            assert!(!names_us(Some(host), at(8320, true)), "{host}");
        }
        assert!(names_us(Some("localhost"), at(80, true)) && names_us(Some("[::1]"), at(80, true)));
        assert!(!names_us(None, at(80, true)) && !names_us(Some("localhost:80"), at(80, false)));
    }

    #[test]
    fn pages_of_other_origins_are_told_apart() {
        let host = Some("localhost:8320");
        assert!(same_origin(None, host) && same_origin(Some("http://localhost:8320"), host));
        for other in ["null", "http://evil.example", "http://localhost:80", "https://localhost:8320.evil"] {
            assert!(!same_origin(Some(other), host), "{other}");
        }
    }
}
