//! What the admin address answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use weir_buffer::ledger::Statement;

use super::page;
use crate::metrics;
use crate::state::AgentState;

/// Nothing from elsewhere, and no script at all: what an event wrote into a name cannot run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The version of the text format is part of its type.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Shared = State<Arc<AgentState>>;

#[derive(Serialize)]
struct LedgerAnswer {
    accounts: Vec<Statement>,
}

/// All of it.
pub fn routes(state: Arc<AgentState>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/ledger", get(ledger))
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

async fn page(State(state): Shared) -> Response {
    let html = off_the_reactor(move || page::draw(&state)).await;
    html.map(axum::response::Html).into_response()
}

async fn nothing_here() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "not found; there are /, /healthz, /readyz, /metrics and /api/ledger\n")
}

/// A snapshot of the ledger waits for the workers to be between two batches.
async fn off_the_reactor<T: Send + 'static>(
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
