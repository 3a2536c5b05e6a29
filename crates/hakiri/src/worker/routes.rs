//! The operations on the wire: contract 1 of `05`, as JSON.
//!
//! A request may say which version of the contract it speaks, in `hakiri-contract`; one that this binary does not know is
//! refused, so that a Worker and an image of different releases never misunderstand each other. An error of an operation
//! is `{"error": …}` with the fields of a failure: 503 with `retry-after` for what may pass, 422 for what will not, 409 for
//! what another run has taken over.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use hakiri_core::codes::Code;
use hakiri_core::error::Kind;
use hakiri_core::{Error, Result, ops};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::operations::Operations;

/// The header with the contract's version.
const CONTRACT: &str = "hakiri-contract";
/// The header with the manifest that an answer goes by.
const BUILD: HeaderName = HeaderName::from_static("hakiri-build");
/// The media type of all answers.
const JSON: &str = "application/json";

type Shared = State<Arc<Operations>>;

/// The routes.
pub(super) fn routes(operations: Arc<Operations>, build: &str) -> Router {
    // An orchestrator that was generated from another manifest does not take this one's word for what is due when.
    let build = HeaderValue::from_str(build).unwrap_or(HeaderValue::from_static(""));
    Router::new()
        .route("/v1/begin", post(begin))
        .route("/v1/step", post(step))
        .route("/v1/commit", post(commit))
        .with_state(operations)
        .layer(axum::middleware::map_response(move |mut response: Response| {
            response.headers_mut().insert(BUILD, build.clone());
            std::future::ready(response)
        }))
}

async fn begin(State(operations): Shared, headers: HeaderMap, body: Bytes) -> Response {
    match request(&headers, &body) {
        Ok(request) => answer(operations.begin(request).await),
        Err(e) => refused(&e),
    }
}

async fn step(State(operations): Shared, headers: HeaderMap, body: Bytes) -> Response {
    match request(&headers, &body) {
        Ok(request) => answer(operations.step(request).await),
        Err(e) => refused(&e),
    }
}

async fn commit(State(operations): Shared, headers: HeaderMap, body: Bytes) -> Response {
    match request(&headers, &body) {
        Ok(request) => answer(operations.commit(request).await),
        Err(e) => refused(&e),
    }
}

/// Reads a request.
fn request<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T> {
    let known = ops::VERSION.to_string();
    if let Some(asked) = headers.get(CONTRACT).filter(|v| v.as_bytes() != known.as_bytes()) {
        let asked: String = asked.to_str().unwrap_or("?").chars().take(20).collect();
        return Err(Error::new(
            Code::WorkerContract,
            format!("the orchestrator speaks version {asked} of the contract, this binary speaks {known}"),
        ));
    }
    serde_json::from_slice(body)
        .map_err(|e| Error::new(Code::WorkerRequest, format!("the request cannot be read: {e}")))
}

fn answer<T: Serialize>(result: Result<T>) -> Response {
    match result {
        Ok(answer) => match serde_json::to_string(&answer) {
            Ok(text) => ([(CONTENT_TYPE, JSON)], text).into_response(),
            Err(e) => failed(&Error::new(Code::Internal, format!("an answer: {e}"))),
        },
        Err(e) => failed(&e),
    }
}

fn failed(e: &Error) -> Response {
    let (status, after) = match e.kind() {
        _ if e.code() == Code::CatalogFenced => (StatusCode::CONFLICT, None),
        Kind::Transient => (StatusCode::SERVICE_UNAVAILABLE, Some(2)),
        Kind::RateLimited { seconds } => (StatusCode::SERVICE_UNAVAILABLE, Some(seconds.max(2))),
        Kind::Interrupted => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
        Kind::AuthExpired | Kind::Permanent | Kind::SchemaIncompatible | Kind::Usage => {
            (StatusCode::UNPROCESSABLE_ENTITY, None)
        }
    };
    let mut response = (status, body(e)).into_response();
    if let Some(seconds) = after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn refused(e: &Error) -> Response {
    (StatusCode::BAD_REQUEST, body(e)).into_response()
}

fn body(e: &Error) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, JSON)], json!({ "error": e.to_failure() }).to_string())
}
