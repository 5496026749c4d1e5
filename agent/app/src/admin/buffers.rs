//! `GET /api/buffers`: how full the sinks' buffers are. `POST /api/buffers/SINK/drop` and `…/replay`: what is taken out of
//! one and put back into it; for those only who may read the agent's data folder.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use weir_buffer::ledger::Amount;
use weir_buffer::line;
use weir_buffer::memory::MemoryTier;

use super::Token;
use super::routes::off_the_reactor;
use super::trusted::Trusted;
use crate::state::AgentState;

/// What is put back at once.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The buffer of one sink.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BufferStatus {
    /// The sink.
    pub sink: String,
    /// Bytes of documents in memory, with the room set aside for more.
    pub memory_used: u64,
    /// The most that it may be.
    pub memory_bound: u64,
    /// Bytes of files; absent without a disk.
    pub disk_used: Option<u64>,
    /// The most that it may be.
    pub disk_bound: Option<u64>,
    /// How full all of it is, from 0 to 1: what stages are told.
    pub pressure: f32,
    /// Seconds since when the oldest waits.
    pub oldest_seconds: Option<u64>,
}

/// What was dropped or put back.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Changed {
    /// How much.
    pub amount: Amount,
}

/// The paths.
pub fn routes(token: Token) -> Router<Arc<AgentState>> {
    Router::new()
        .route("/api/buffers", get(all))
        .route("/api/buffers/{sink}/drop", post(drop_all))
        .route("/api/buffers/{sink}/replay", post(replay))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(Extension(token))
}

async fn all(State(state): State<Arc<AgentState>>) -> Json<Vec<BufferStatus>> {
    let view = state.view();
    Json(view.sinks.iter().map(|(sink, _, buffer)| status(sink, buffer)).collect())
}

fn status(sink: &str, buffer: &MemoryTier) -> BufferStatus {
    let store = buffer.disk().map(|disk| disk.store());
    let age = |since| SystemTime::now().duration_since(since).map_or(0, |age| age.as_secs());
    BufferStatus {
        sink: sink.to_owned(),
        memory_used: buffer.used(),
        memory_bound: buffer.bound(),
        disk_used: store.map(|store| store.used()),
        disk_bound: store.map(|store| store.bound()),
        pressure: buffer.pressure(),
        oldest_seconds: buffer.oldest().map(age),
    }
}

fn buffer(state: &AgentState, sink: &str) -> Option<Arc<MemoryTier>> {
    let view = state.view();
    let found = view.sinks.iter().find(|(name, ..)| name == sink)?;
    Some(Arc::clone(&found.2))
}

fn unknown(sink: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("no sink is called {sink:?}\n")).into_response()
}

async fn drop_all(_: Trusted, State(state): State<Arc<AgentState>>, Path(sink): Path<String>) -> Response {
    let Some(buffer) = buffer(&state, &sink) else { return unknown(&sink) };
    let dropped = off_the_reactor(move || buffer.give_up_all()).await;
    dropped.map(|amount| Json(Changed { amount })).into_response()
}

async fn replay(
    _: Trusted,
    State(state): State<Arc<AgentState>>,
    Path(sink): Path<String>,
    lines: Bytes,
) -> Response {
    let Some(buffer) = buffer(&state, &sink) else { return unknown(&sink) };
    match off_the_reactor(move || put_back(&buffer, &lines)).await {
        Ok(Ok(amount)) => Json(Changed { amount }).into_response(),
        Ok(Err(reason)) => (StatusCode::UNPROCESSABLE_ENTITY, reason).into_response(),
        Err(status) => status.into_response(),
    }
}

/// Puts lines of an export back; an error says what is wrong. Blocks.
pub fn put_back(buffer: &MemoryTier, lines: &[u8]) -> Result<Amount, String> {
    let mut sum = Amount::default();
    for line::Gathered { pipeline, documents, targets } in line::read(lines)? {
        sum += buffer.put_back(&pipeline, documents, targets).map_err(|error| error.to_string())?;
    }
    Ok(sum)
}
