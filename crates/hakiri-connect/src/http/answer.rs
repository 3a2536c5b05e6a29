//! What an answer means: pure decisions over status, headers and body (`05`, "Errors and retries").

use chrono::DateTime;
use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Kind, Result};
use hakiri_core::time::Instant;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::value::RawValue;

use super::extract;

/// Values above this are instants, below it distances: no API asks to wait for thirty years.
const EPOCH_ABOVE: i64 = 1_000_000_000;
/// How much of an API's own message is quoted, in characters.
const QUOTED: usize = 200;

/// The error of an answer whose status is none of success. `quote` takes secrets out of what the API says.
pub fn failure(status: u16, headers: &HeaderMap, body: &[u8], now: Instant, quote: &dyn Fn(&str) -> String) -> Error {
    let said = message(body).map(|m| format!(": {}", quote(&m))).unwrap_or_default();
    match status {
        429 => limited(status, wait(headers, now)),
        503 => match retry_after(headers, now) {
            Some(seconds) => limited(status, seconds),
            None => Error::new(Code::HttpUnavailable, format!("status {status}{said}")),
        },
        403 if exhausted(headers) || headers.contains_key("retry-after") => limited(status, wait(headers, now)),
        401 | 403 => Error::new(Code::SourceAuth, format!("status {status}{said}")),
        408 | 425 | 500..=599 => Error::new(Code::HttpUnavailable, format!("status {status}{said}")),
        _ => Error::new(Code::HttpStatus, format!("status {status}{said}")),
    }
}

fn limited(status: u16, seconds: u64) -> Error {
    Error::new(Code::HttpRateLimited, format!("status {status}: too many requests"))
        .with_kind(Kind::RateLimited { seconds })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// `Retry-After` in whole seconds from now, given as a number or a date. A date in the past, or anything that cannot
/// be read, is no hint: zero.
fn retry_after(headers: &HeaderMap, now: Instant) -> Option<u64> {
    let text = header(headers, "retry-after")?;
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds);
    }
    Some(DateTime::parse_from_rfc2822(text).map_or(0, |date| until(date.timestamp_millis(), now)))
}

fn until(millis: i64, now: Instant) -> u64 {
    u64::try_from(millis.saturating_sub(now.millis()).saturating_add(999) / 1_000).unwrap_or(0)
}

fn exhausted(headers: &HeaderMap) -> bool {
    ["x-ratelimit-remaining", "ratelimit-remaining", "x-rate-limit-remaining"]
        .iter()
        .any(|name| header(headers, name) == Some("0"))
}

/// The wait that the headers ask for, in seconds; zero where they do not say.
fn wait(headers: &HeaderMap, now: Instant) -> u64 {
    if let Some(seconds) = retry_after(headers, now) {
        return seconds;
    }
    if !exhausted(headers) {
        return 0;
    }
    let reset = ["x-ratelimit-reset", "ratelimit-reset", "x-rate-limit-reset"]
        .iter()
        .find_map(|n| header(headers, n)?.parse::<i64>().ok());
    match reset {
        Some(at) if at > EPOCH_ABOVE => until(at.saturating_mul(1_000), now).max(1),
        Some(seconds) => u64::try_from(seconds).unwrap_or(0),
        None => 0,
    }
}

/// What an API says about an error, in the places where APIs say it.
fn message(body: &[u8]) -> Option<String> {
    let root: &RawValue = serde_json::from_slice(body).ok()?;
    let text =
        ["message", "error.message", "error_description", "error", "detail", "title"].iter().find_map(|path| {
            extract::at(root, path).ok().filter(|raw| extract::kind(raw) == "a text").and_then(extract::scalar)
        })?;
    Some(shortened(&text))
}

fn shortened(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTED).collect();
    clean.trim().trim_end_matches('.').to_owned()
}

/// The JSON of a successful answer.
///
/// # Errors
/// `HK0504` when it is none, `HK0510` when it ends early.
pub fn json<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<&'a RawValue> {
    let content_type: String =
        header(headers, CONTENT_TYPE.as_str()).unwrap_or("none given").chars().take(60).collect();
    let not_json = |why: &str| Error::new(Code::HttpNotJson, format!("{why} (content type: {content_type})"));
    if content_type.starts_with("text/html") || content_type.contains("xhtml") {
        return Err(not_json("the answer is a web page"));
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body)
        .map_err(|e| not_json(&format!("the answer is not valid UTF-8 at byte {}", e.valid_up_to())))?;
    if text.trim().is_empty() {
        return Err(not_json("the answer is empty"));
    }
    serde_json::from_str(text).map_err(|e| {
        if e.is_eof() {
            Error::new(Code::HttpTruncated, format!("the answer's JSON ends in the middle, after {} bytes", text.len()))
        } else {
            not_json(&format!("the answer is not JSON at line {}, column {}", e.line(), e.column()))
        }
    })
}

/// The error that a GraphQL answer carries under status 200.
pub fn graphql_failure(root: &RawValue, quote: &dyn Fn(&str) -> String) -> Option<Error> {
    let errors = extract::items(extract::at(root, "errors").ok()?)?;
    let first = errors.first()?;
    let text = |path: &str| {
        extract::at(first, path).ok().filter(|raw| extract::kind(raw) == "a text").and_then(extract::scalar)
    };
    if ["type", "extensions.code"]
        .iter()
        .filter_map(|p| text(p))
        .any(|t| matches!(t.as_str(), "RATE_LIMITED" | "THROTTLED"))
    {
        return Some(
            Error::new(Code::HttpRateLimited, "the API says that too much was asked for")
                .with_kind(Kind::RateLimited { seconds: 0 }),
        );
    }
    let said = text("message").map_or_else(|| "without a message".to_owned(), |m| quote(&shortened(&m)));
    Some(Error::new(Code::HttpStatus, format!("status 200 with {} GraphQL errors: {said}", errors.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse::<reqwest::header::HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    fn kind(status: u16, pairs: &[(&str, &str)]) -> (Code, Kind) {
        let now = Instant::from_millis(1_445_412_420_500); // Wed, 21 Oct 2015 07:27:00.5 GMT
        let error = failure(status, &headers(pairs), b"", now, &str::to_owned);
        (error.code(), error.kind())
    }

    #[test]
    fn statuses_and_headers_decide_the_kind() {
        let limited = |seconds| (Code::HttpRateLimited, Kind::RateLimited { seconds });
        type Case = (u16, &'static [(&'static str, &'static str)], (Code, Kind));
        let cases: &[Case] = &[
            (400, &[], (Code::HttpStatus, Kind::Permanent)),
            (401, &[], (Code::SourceAuth, Kind::AuthExpired)),
            (401, &[("retry-after", "3")], (Code::SourceAuth, Kind::AuthExpired)),
            (403, &[], (Code::SourceAuth, Kind::AuthExpired)),
            (403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1445412480")], limited(60)),
            (
                403,
                &[("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1445412480")],
                (Code::SourceAuth, Kind::AuthExpired),
            ),
            (403, &[("retry-after", "9")], limited(9)),
            (404, &[], (Code::HttpStatus, Kind::Permanent)),
            (408, &[], (Code::HttpUnavailable, Kind::Transient)),
            (429, &[], limited(0)),
            (429, &[("retry-after", "120")], limited(120)),
            (429, &[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], limited(60)),
            (429, &[("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT")], limited(0)),
            (429, &[("retry-after", "soon")], limited(0)),
            (429, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "30")], limited(30)),
            (500, &[("retry-after", "5")], (Code::HttpUnavailable, Kind::Transient)),
            (502, &[], (Code::HttpUnavailable, Kind::Transient)),
            (503, &[], (Code::HttpUnavailable, Kind::Transient)),
            (503, &[("retry-after", "7")], limited(7)),
        ];
        for (status, pairs, expected) in cases {
            assert_eq!(kind(*status, pairs), *expected, "{status} {pairs:?}");
        }
    }

    #[test]
    fn what_the_api_says_is_quoted_shortly_and_without_secrets() {
        let body = format!(r#"{{"error":{{"message":"bad\n{}"}}}}"#, "x".repeat(500));
        let error = failure(400, &HeaderMap::new(), body.as_bytes(), Instant::from_millis(0), &|t| {
            t.replace("bad", "[secret]")
        });
        assert!(error.message().starts_with("status 400: [secret] xxx"), "{error}");
        assert!(error.message().len() < 230);
    }

    #[test]
    fn bodies_that_are_not_json() {
        let code = |content_type: &str, body: &[u8]| {
            json(&headers(&[("content-type", content_type)]), body).map(|r| r.get().to_owned()).map_err(|e| e.code())
        };
        assert_eq!(code("text/html; charset=utf-8", b"<html>"), Err(Code::HttpNotJson));
        assert_eq!(code("application/json", b"<html>"), Err(Code::HttpNotJson));
        assert_eq!(code("application/json", b""), Err(Code::HttpNotJson));
        assert_eq!(code("application/json", b"[{\"a\":1},{\"a\""), Err(Code::HttpTruncated));
        assert_eq!(code("application/json", b"[1]\xff"), Err(Code::HttpNotJson));
        assert_eq!(code("application/json", b"[1][2]"), Err(Code::HttpNotJson));
        assert_eq!(code("text/plain", b"\xef\xbb\xbf [1] "), Ok("[1]".to_owned()));
    }
}
