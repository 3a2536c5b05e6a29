//! The client of a service that speaks S3, for stores in buckets and for sources in them: one set of time-outs and retries,
//! one reading of what the service says.

use std::error::Error as _;
use std::time::Duration;

use hakiri_core::codes::Code;
use hakiri_core::{Error, Result};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::S3Settings;

/// One request with its body: 64 MiB at 4 Mbit/s and a little.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(150);
/// All tries of one request by the client. A step's own retries come on top (`05`).
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

/// Makes a client; no request.
pub(super) fn connect(settings: &S3Settings) -> Result<AmazonS3> {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(10), base: 2.0 };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(settings.region.as_deref().unwrap_or("us-east-1"))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(
            ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(Duration::from_secs(10)),
        )
        .with_retry(RetryConfig { backoff, max_retries: 5, retry_timeout: RETRY_TIMEOUT })
        .with_allow_http(settings.allow_http);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    if let (Some(id), Some(secret)) = (&settings.access_key_id, &settings.secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
    }
    if let Some(token) = &settings.session_token {
        builder = builder.with_token(token.expose());
    }
    if let Some(credentials) = &settings.credentials {
        builder = builder.with_credentials(credentials.clone());
    }
    builder.build().map_err(|_| {
        Error::new(Code::ManifestValue, format!("the bucket `{}` cannot be used with these settings", settings.bucket))
            .with_hint("check the bucket's name, the endpoint's URL and that both parts of the access key are set")
    })
}

/// A 404 of the bucket, not of a key: it never passes, and nothing may be concluded about keys.
pub(super) fn lacks_bucket(e: &object_store::Error) -> bool {
    e.to_string().contains("NoSuchBucket")
}

pub(super) fn http_kind(e: &object_store::Error) -> Option<HttpErrorKind> {
    let mut source = e.source();
    while let Some(inner) = source {
        if let Some(http) = inner.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        source = inner.source();
    }
    None
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Denied,
    NoBucket,
    Unavailable,
}

/// What a failure means, and one line about it without the answer's body, which may quote what was signed and by whom.
pub(super) fn fault(e: &object_store::Error) -> (Fault, String) {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    let text = e.to_string();
    let said =
        between(&text, "<Code>", "</Code>").filter(|c| c.len() < 60).map(|c| format!(" ({c})")).unwrap_or_default();
    // Listings fail without a kind of their own.
    let status = between(&text, "status code: ", " ").map(|s| s.trim_end_matches(':'));
    let fault = match e {
        PermissionDenied { .. } | Unauthenticated { .. } => Fault::Denied,
        NotFound { .. } => Fault::NoBucket,
        _ if matches!(status, Some("401" | "403")) => Fault::Denied,
        _ if status == Some("404") && lacks_bucket(e) => Fault::NoBucket,
        _ => Fault::Unavailable,
    };
    let line = match (fault, http_kind(e), status) {
        (Fault::Denied, ..) => format!("the bucket refused access{said}"),
        (Fault::NoBucket, ..) => format!("the bucket was not found{said}"),
        (_, Some(HttpErrorKind::Connect | HttpErrorKind::Request), _) => "no connection to the bucket".to_owned(),
        (_, Some(HttpErrorKind::Timeout), _) => "the bucket did not answer in time".to_owned(),
        (_, Some(_), _) => "the bucket's answer broke off".to_owned(),
        (_, None, Some(status)) => format!("the bucket answered {status}{said}"),
        (_, None, None) => format!("the bucket did not answer as expected{said}"),
    };
    (fault, line)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_that_is_refused_is_told_from_one_that_failed() {
        for (answer, expected, said) in [
            ("403 Forbidden: <Code>AccessDenied</Code>", Fault::Denied, "the bucket refused access (AccessDenied)"),
            ("404 Not Found: <Code>NoSuchBucket</Code>", Fault::NoBucket, "the bucket was not found (NoSuchBucket)"),
            ("404 Not Found: <html>", Fault::Unavailable, "the bucket answered 404"),
            ("500 Oops: ", Fault::Unavailable, "the bucket answered 500"),
        ] {
            let source = format!("Server returned non-2xx status code: {answer}").into();
            let e = object_store::Error::Generic { store: "S3", source };
            assert_eq!(fault(&e), (expected, said.to_owned()));
        }
    }
}
