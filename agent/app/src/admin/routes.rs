//! What the admin address answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use weir_buffer::ledger::Statement;

use super::{Token, buffers, explain, page, plugins, replay, series, shadow, status, tap};
use crate::metrics;
use crate::reload::{Attempt, Busy, Outcome, Status, Trigger};
use crate::state::AgentState;

/// Nothing from elsewhere, and no script at all: what an event wrote into a name cannot run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The version of the text format is part of its type.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long somebody who asked for a reload waits for what becomes of it. It goes on behind that.
const RELOAD_PATIENCE: Duration = Duration::from_secs(60);
/// How long somebody who asked for a drain waits for it.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);
/// What browsers say of themselves when a page sends a request.
const OF_BROWSERS: [&str; 3] = ["origin", "sec-fetch-site", "sec-fetch-mode"];

type Shared = State<Arc<AgentState>>;

#[derive(Serialize)]
struct LedgerAnswer {
    accounts: Vec<Statement>,
}

/// What became of a reload, and which generation runs now.
#[derive(Serialize)]
struct ReloadAnswer {
    generation: u64,
    config_hash: String,
    #[serde(flatten)]
    attempt: Attempt,
}

/// A reload of which nothing is known, and which generation runs now.
#[derive(Serialize)]
struct NoReload {
    generation: u64,
    config_hash: String,
    outcome: &'static str,
    reason: &'static str,
}

/// All of it.
pub fn routes(state: Arc<AgentState>, token: Token) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/ledger", get(ledger))
        .route("/api/status", get(whole_status))
        .route("/api/series", get(series_report))
        .route("/api/generation", get(generation))
        .route("/api/plugins", get(running_plugins))
        .route("/api/reload", post(reload))
        .route("/api/drain", post(drain))
        .merge(buffers::routes(Token::clone(&token)))
        .merge(explain::routes(Token::clone(&token)))
        .merge(replay::routes(Token::clone(&token)))
        .merge(shadow::routes(Token::clone(&token)))
        .merge(tap::routes(token))
        .fallback(nothing_here)
        .layer(map_response(protect))
        .with_state(state)
}

/// The process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The agent does its work, or why not.
async fn readyz(State(state): Shared) -> Response {
    match state.readiness.reason() {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn metrics(State(state): Shared) -> Response {
    let text = off_the_reactor(move || metrics::render(&state)).await;
    text.map(|text| ([(header::CONTENT_TYPE, METRICS_TYPE)], text)).into_response()
}

async fn ledger(State(state): Shared) -> Response {
    let statements = off_the_reactor(move || state.ledger.statements()).await;
    statements.map(|accounts| axum::Json(LedgerAnswer { accounts })).into_response()
}

/// Everything that is counted.
async fn whole_status(State(state): Shared) -> Response {
    off_the_reactor(move || status::of(&state)).await.map(axum::Json).into_response()
}

/// The targets, metrics and groups with the most series.
async fn series_report(State(state): Shared, Query(question): Query<series::Question>) -> Response {
    let report = off_the_reactor(move || series::report(&state.view(), &question)).await;
    report.map(axum::Json).into_response()
}

/// Which generation runs, and what became of the last reload.
async fn generation(State(state): Shared) -> axum::Json<Status> {
    axum::Json(state.reloads.status())
}

/// Which plugins run, and where their artefacts were had.
async fn running_plugins(State(state): Shared) -> axum::Json<plugins::PluginsAnswer> {
    axum::Json(plugins::answer(&state.view()))
}

/// Reloads, and says what came of it: 200 where the configuration on disk runs now, 422 with the reasons where it does
/// not.
async fn reload(State(state): Shared, headers: HeaderMap) -> Response {
    if let Some(refusal) = refuse_browsers(&headers) {
        return refusal;
    }
    let asked = match state.reloads.ask(Trigger::Api) {
        Ok(asked) => asked,
        Err(Busy::Others) => {
            return no_reload(&state, StatusCode::CONFLICT, "other reloads are waiting; ask again later");
        }
        Err(Busy::NotRunning) => {
            let reason = "the agent starts, stops or runs only once: nothing is reloaded";
            return no_reload(&state, StatusCode::SERVICE_UNAVAILABLE, reason);
        }
    };
    match tokio::time::timeout(RELOAD_PATIENCE, asked).await {
        Ok(Ok((attempt, Status { generation, config_hash, .. }))) => {
            let status = match attempt.outcome {
                Outcome::Reloaded | Outcome::Unchanged => StatusCode::OK,
                Outcome::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
            };
            (status, axum::Json(ReloadAnswer { generation, config_hash, attempt })).into_response()
        }
        Ok(Err(_)) => no_reload(&state, StatusCode::SERVICE_UNAVAILABLE, "the agent stops"),
        Err(_) => no_reload(
            &state,
            StatusCode::GATEWAY_TIMEOUT,
            "it goes on; GET /api/generation says what comes of it",
        ),
    }
}

/// Brings what waits on disk to the object stores: 200 with what is left when that was tried, 409 where there is none.
async fn drain(State(state): Shared, headers: HeaderMap) -> Response {
    if let Some(refusal) = refuse_browsers(&headers) {
        return refusal;
    }
    let Some(drain) = state.drain().cloned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the agent starts; ask again later\n").into_response();
    };
    match off_the_reactor(move || drain.everything(DRAIN_PATIENCE)).await {
        Ok(drained) if drained.has_object_store => axum::Json(drained).into_response(),
        Ok(_) => (StatusCode::CONFLICT, "no buffer has an object store\n").into_response(),
        Err(status) => status.into_response(),
    }
}

/// No page that somebody looks at is to reach an agent on the same machine.
fn refuse_browsers(headers: &HeaderMap) -> Option<Response> {
    let is_browser = OF_BROWSERS.iter().any(|name| headers.contains_key(*name));
    is_browser.then(|| (StatusCode::FORBIDDEN, "requests of browsers are not taken here\n").into_response())
}

fn no_reload(state: &AgentState, status: StatusCode, reason: &'static str) -> Response {
    let Status { generation, config_hash, .. } = state.reloads.status();
    let answer = NoReload { generation, config_hash, outcome: "unknown", reason };
    (status, axum::Json(answer)).into_response()
}

async fn page(State(state): Shared) -> Response {
    let html = off_the_reactor(move || page::draw(&state)).await;
    html.map(axum::response::Html).into_response()
}

async fn nothing_here() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "not found; there are /, /healthz, /readyz, /metrics, /api/ledger, /api/status, /api/series, /api/generation, /api/plugins, /api/plugins/NAME/shadow, /api/reload, /api/drain, /api/buffers, /api/replay/SINK, /api/explain and /api/tap\n",
    )
}

/// A snapshot of the ledger waits for the workers to be between two batches.
pub(super) async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StatusCode> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
