//! The routes. Each asks for a view and has it rendered; none decides anything.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hakiri_core::Error;
use hakiri_core::codes::Code;
use hakiri_core::id::{PipelineId, RunId};
use maud::Markup;

use super::guard::{MAX_BODY, plain};
use super::{HttpState, auth, metrics, page};
use crate::status::{code_info, gather, run_view};

/// How long a catalog may take to say that it is there.
const READY_PATIENCE: Duration = Duration::from_secs(3);
/// What a wrong token costs.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_millis(700);
/// Runs on a page of them.
const RUNS_A_PAGE: usize = 25;

type Shared = State<Arc<HttpState>>;

pub(super) fn routes(state: Arc<HttpState>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/pipelines/{pipeline}", get(pipeline))
        .route("/runs/{pipeline}/{run}", get(run))
        .route("/errors", get(errors))
        .route("/errors/{code}", get(error))
        .route("/status.json", get(status_json))
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { plain(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(ready))
        .route("/login", get(login_form).post(login))
        .route("/favicon.svg", get(favicon))
        .fallback(nothing)
        .method_not_allowed_fallback(|| async {
            plain(StatusCode::METHOD_NOT_ALLOWED, "this route only answers GET\n")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
}

fn html(status: StatusCode, markup: Markup) -> Response {
    (status, axum::response::Html(markup.into_string())).into_response()
}

/// Whether the address asks for a page that stays as it is.
fn refreshing(query: Option<&str>) -> bool {
    parameter(query, "refresh").as_deref() != Some("off")
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let found = url::form_urlencoded::parse(query?.as_bytes()).find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

async fn index(State(state): Shared, RawQuery(query): RawQuery) -> Response {
    let status = state.status().await;
    let page = page::index::render(&status, &state.process_troubles(), refreshing(query.as_deref()));
    html(StatusCode::OK, page)
}

async fn pipeline(State(state): Shared, Path(id): Path<String>, RawQuery(query): RawQuery) -> Response {
    let status = state.status().await;
    let Some(found) = status.pipelines.iter().find(|p| p.id.as_str() == id) else {
        return missing(&format!("There is no pipeline “{id}”."));
    };
    let before = match parameter(query.as_deref(), "before").map(|text| text.parse::<RunId>()) {
        None => None,
        Some(Ok(run)) => Some(run),
        Some(Err(_)) => return missing("That is not the id of a run."),
    };
    let engine = state.host.engine();
    match gather::runs(&*engine.catalog, &found.id, before.as_ref(), RUNS_A_PAGE).await {
        Ok((runs, more)) => {
            let refresh = before.is_none() && refreshing(query.as_deref());
            html(StatusCode::OK, page::pipeline::render(&status, found, &runs, more, before.is_some(), refresh))
        }
        Err(e) => trouble(&e),
    }
}

async fn run(
    State(state): Shared,
    Path((pipeline, run)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let (Ok(pipeline), Ok(run)) = (pipeline.parse::<PipelineId>(), run.parse::<RunId>()) else {
        return missing("There is no such run.");
    };
    let engine = state.host.engine();
    let now = state.now();
    match run_view::run_view(&*engine.catalog, &pipeline, &run, now).await {
        Ok(Some(view)) => {
            let status = state.status().await;
            html(StatusCode::OK, page::run::render(&status, &view, now, refreshing(query.as_deref())))
        }
        Ok(None) => missing("There is no such run."),
        Err(e) => trouble(&e),
    }
}

async fn errors() -> Response {
    html(StatusCode::OK, page::errors::list())
}

async fn error(Path(code): Path<String>) -> Response {
    match code_info(&code) {
        Some(info) => html(StatusCode::OK, page::errors::one(&info)),
        None => missing("This version has no error of that code."),
    }
}

async fn status_json(State(state): Shared) -> Response {
    match serde_json::to_vec(&*state.status().await) {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(e) => trouble(&Error::new(Code::Internal, format!("the status is no JSON: {e}"))),
    }
}

async fn scrape(State(state): Shared) -> Response {
    let status = state.status().await;
    match state.metrics.scrape(&status) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(e) => trouble(&Error::new(Code::Internal, format!("the metrics cannot be written: {e}"))),
    }
}

/// Whether work can be done here. Says a code and no more: it needs no token.
async fn ready(State(state): Shared) -> Response {
    let not = |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response();
    if state.host.stopping() {
        return not("shutting down".to_owned());
    }
    let engine = state.host.engine();
    let said = |code: Code| not(format!("{code}: {}", code.info().title));
    match tokio::time::timeout(READY_PATIENCE, engine.catalog.info()).await {
        Ok(Ok(_)) => plain(StatusCode::OK, "ready\n"),
        Ok(Err(e)) => said(Error::from(e).code()),
        Err(_) => said(Code::CatalogUnavailable),
    }
}

async fn login_form(State(state): Shared) -> Response {
    match state.token {
        Some(_) => html(StatusCode::OK, page::login::render(None)),
        None => to_index(None),
    }
}

async fn login(State(state): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let Some(token) = &state.token else { return to_index(None) };
    let given = url::form_urlencoded::parse(&body).find(|(key, _)| key == "token").map(|(_, value)| value.into_owned());
    if !given.is_some_and(|given| auth::is_token(token, given.trim())) {
        // Not to hold off who guesses, which the token's length does, but so that logs and processors are not filled.
        tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
        return html(StatusCode::UNAUTHORIZED, page::login::render(Some("That is not the token.")));
    }
    let Some(session) = auth::session(token, state.now()) else {
        return trouble(&Error::new(Code::Internal, "no session can be made"));
    };
    // Only a hint: a proxy that ends TLS says so, and nothing but the cookie's own protection depends on it.
    let secure = headers.get("x-forwarded-proto").is_some_and(|p| p.as_bytes() == b"https");
    to_index(Some(&format!(
        "{}={session}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{}",
        auth::COOKIE,
        auth::SESSION_MS / 1_000,
        if secure { "; Secure" } else { "" }
    )))
}

fn to_index(cookie: Option<&str>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::from_str) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

async fn favicon() -> Response {
    ([(CONTENT_TYPE, "image/svg+xml")], page::FAVICON).into_response()
}

async fn nothing(method: Method, _uri: Uri) -> Response {
    if method == Method::GET {
        missing("There is nothing at this address.")
    } else {
        plain(StatusCode::NOT_FOUND, "not found\n")
    }
}

fn missing(what: &str) -> Response {
    html(StatusCode::NOT_FOUND, page::message("Not found", what))
}

fn trouble(error: &Error) -> Response {
    html(StatusCode::SERVICE_UNAVAILABLE, page::errors::failure(&error.to_failure()))
}
