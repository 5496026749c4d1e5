//! `POST /api/tap`: events on their way, one JSON object a line, for as long as somebody reads. For those only who may
//! read the agent's data folder.
//!
//! The workers hand over what they see without ever waiting. Who reads too slowly is told what was left out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Router};
use hyper::body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use weir_event::stream::{ATTRIBUTE_NAMES, Stream};
use weir_event::time::write_rfc3339;
use weir_event::transform::ReasonClass;
use weir_pipeline::tap::{After, Sighting, Tap, Verdict, Wanted, Wish};

use super::Token;
use super::explain::policy_name;
use super::server::{Connection, Streaming};
use super::trusted::Trusted;
use crate::state::{AgentState, View};

mod condition;

pub use condition::Condition;
use condition::Conditions;

/// Names, paths and values.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The most conditions of one tap.
const MAX_CONDITIONS: usize = 16;
/// Lines that wait for the connection.
const LINES: usize = 16;
/// Who takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// So often it is looked whether the pipeline still exists.
const TICK: Duration = Duration::from_millis(250);
/// So often it is said that the agent is there, whatever happens.
const BEATS: u32 = 20;
/// The position before all stages.
const SOURCE: &str = "source";

/// What somebody wants to see.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The pipeline; all where it is left out.
    pub pipeline: Option<String>,
    /// Behind which stage; `source` is before all of them. Left out, events are shown where they end.
    pub after: Option<String>,
    /// What all must hold of a document.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// After so many events it ends.
    pub limit: Option<u64>,
    /// After so many seconds it ends.
    pub seconds: Option<f64>,
    /// Which share of the events, by chance: 0 to 1.
    pub share: Option<f64>,
    /// Whether the text as it was read is wanted.
    #[serde(default)]
    pub text: bool,
}

/// A line of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// An event.
    Event(Box<Event>),
    /// How many there were so far.
    Counts(Counts),
    /// Another generation runs.
    Generation(u64),
    /// Nothing comes behind this.
    End(End),
}

/// An event.
#[derive(Debug, Serialize, Deserialize)]
pub struct Event {
    /// The pipeline.
    pub pipeline: String,
    /// `read`, `kept`, `sampled`, `dropped` or `failed`.
    pub verdict: String,
    /// The stage that did not let it through.
    pub stage: Option<String>,
    /// Why it was sampled or dropped; what is done with what failed.
    pub reason: Option<String>,
    /// Its id.
    pub id: String,
    /// Its time, RFC 3339.
    pub time: String,
    /// Whether a stage made it.
    pub made: bool,
    /// What is known of its stream.
    pub attributes: BTreeMap<String, String>,
    /// The document.
    pub document: Box<RawValue>,
    /// Its text as it was read, where that was asked for and there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
}

/// How many events there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Shown.
    pub shown: u64,
    /// That passed by, of the share and the streams that are wanted.
    pub passed: u64,
    /// Not looked at, or wanted and not shown, because there were too many in too short a time.
    pub beyond_rate: u64,
    /// Left out because the reader was too slow.
    pub too_slow: u64,
}

/// Why nothing more comes.
#[derive(Debug, Serialize, Deserialize)]
pub struct End {
    /// In words.
    pub reason: String,
    /// How many events there were in all.
    pub counts: Counts,
}

/// The path, for who shows the token.
pub fn routes(token: Token) -> Router<Arc<AgentState>> {
    Router::new()
        .route("/api/tap", post(tap))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(Extension(token))
}

async fn tap(
    _: Trusted,
    State(state): State<Arc<AgentState>>,
    Extension(connection): Extension<Connection>,
    Json(question): Json<Question>,
) -> Response {
    if let Err(message) = is_possible(&state.view(), &question) {
        return (StatusCode::UNPROCESSABLE_ENTITY, format!("{message}\n")).into_response();
    }
    let tap = match state.taps.open(wish(&question)) {
        Ok(tap) => tap,
        Err(error) => return (StatusCode::TOO_MANY_REQUESTS, format!("{error}\n")).into_response(),
    };
    let (lines, body) = mpsc::channel(LINES);
    let streaming = connection.stream();
    let pump = Pump { tap, question, state, lines, shown: 0, told: Counts::default() };
    tokio::spawn(pump.run(connection, streaming));
    let body = Body::new(Lines(body));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn wish(question: &Question) -> Wish {
    let after = match question.after.as_deref() {
        None => After::End,
        Some(SOURCE) => After::Source,
        Some(stage) => After::Stage(stage.to_owned()),
    };
    Wish {
        pipeline: question.pipeline.clone(),
        after,
        share: question.share.unwrap_or(1.0),
        only: Conditions::of(&question.conditions).map(|conditions| Arc::new(conditions) as Arc<dyn Wanted>),
        with_text: question.text,
    }
}

/// Whether there are such a pipeline and such a stage; what there is instead.
fn is_possible(view: &View, question: &Question) -> Result<(), String> {
    let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    if question.conditions.len() > MAX_CONDITIONS {
        return Err(format!("there may be {MAX_CONDITIONS} conditions at the most"));
    }
    if question.share.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
        return Err("the share must be above 0, and 1 at the most".to_owned());
    }
    let fits = |name: &str| question.pipeline.as_deref().is_none_or(|wanted| wanted == name);
    let fitting: Vec<_> = view.pipelines.iter().filter(|pipeline| fits(&pipeline.name)).collect();
    if let (Some(name), true) = (&question.pipeline, fitting.is_empty()) {
        let all = list(view.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect());
        return Err(format!("there is no pipeline `{name}`; there are {all}"));
    }
    let Some(after) = question.after.as_deref().filter(|after| *after != SOURCE) else { return Ok(()) };
    if fitting.iter().any(|pipeline| pipeline.stages.iter().any(|stage| stage == after)) {
        return Ok(());
    }
    let stages = fitting.iter().flat_map(|pipeline| &pipeline.stages).map(String::as_str).collect();
    Err(format!("there is no stage `{after}`; there are {SOURCE}, {}", list(stages)))
}

/// From the workers to the connection.
struct Pump {
    tap: Tap,
    question: Question,
    state: Arc<AgentState>,
    lines: mpsc::Sender<Bytes>,
    shown: u64,
    told: Counts,
}

/// Nobody reads any more.
struct Gone;

// === impl Pump ===

impl Pump {
    async fn run(mut self, mut connection: Connection, _streaming: Streaming) {
        let reason = tokio::select! {
            reason = self.pump() => reason,
            () = connection.stopped() => Ok("the agent stops".to_owned()),
        };
        let Ok(reason) = reason else { return };
        let end = End { reason, counts: self.counts() };
        let _ = self.tell(&Line::End(end)).await;
    }

    /// Why it is over.
    async fn pump(&mut self) -> Result<String, Gone> {
        let seconds = self.question.seconds.map(|seconds| seconds.clamp(0.0, 1e9));
        let end = seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut generation = self.state.reloads.status().generation;
        let mut beats: u32 = 0;
        loop {
            let is_over = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = is_over => return Ok("the time is over".to_owned()),
                _ = tick.tick() => {
                    beats = beats.wrapping_add(1);
                    let now = self.state.reloads.status().generation;
                    if now != generation {
                        generation = now;
                        if let Err(gone) = is_possible(&self.state.view(), &self.question) {
                            return Ok(format!("generation {generation} runs now: {gone}"));
                        }
                        self.tell(&Line::Generation(generation)).await?;
                    }
                    if beats.is_multiple_of(BEATS) || self.has_left_out() {
                        self.told = self.counts();
                        self.tell(&Line::Counts(self.told)).await?;
                    }
                }
                sighting = self.tap.next() => {
                    // The agent holds the other end for as long as the tap lives.
                    let Some(sighting) = sighting else { return Ok("the agent stops".to_owned()) };
                    self.shown += 1;
                    self.tell(&Line::Event(Box::new(event(&sighting)))).await?;
                    if self.question.limit.is_some_and(|limit| self.shown >= limit) {
                        return Ok("the limit is reached".to_owned());
                    }
                }
            }
        }
    }

    fn counts(&self) -> Counts {
        let weir_pipeline::tap::Counts { passed, beyond_rate, too_slow } = self.tap.counts();
        Counts { shown: self.shown, passed, beyond_rate, too_slow }
    }

    fn has_left_out(&self) -> bool {
        let Counts { beyond_rate, too_slow, .. } = self.counts();
        (beyond_rate, too_slow) != (self.told.beyond_rate, self.told.too_slow)
    }

    async fn tell(&self, line: &Line) -> Result<(), Gone> {
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        match tokio::time::timeout(PATIENCE, self.lines.send(bytes.into())).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

fn event(sighting: &Sighting) -> Event {
    let (verdict, stage, reason) = match &sighting.verdict {
        Verdict::Read => ("read", None, None),
        Verdict::Kept => ("kept", None, None),
        Verdict::Dropped { stage, reason, class } => {
            let verdict = match class {
                ReasonClass::Sampled => "sampled",
                ReasonClass::Dropped => "dropped",
            };
            (verdict, Some(stage.to_string()), Some(reason.clone()))
        }
        Verdict::Failed { stage, policy } => {
            ("failed", Some(stage.to_string()), Some(policy_name(*policy).to_owned()))
        }
    };
    let mut time = Vec::new();
    write_rfc3339(&mut time, sighting.time);
    let document = String::from_utf8_lossy(&sighting.document).into_owned();
    Event {
        pipeline: sighting.pipeline.to_string(),
        verdict: verdict.to_owned(),
        stage,
        reason,
        id: sighting.id.text(),
        time: String::from_utf8(time).unwrap_or_default(),
        made: sighting.is_made,
        attributes: attributes(&sighting.stream),
        document: RawValue::from_string(document).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        text: sighting.text.as_ref().map(|text| String::from_utf8_lossy(text).into_owned()),
    }
}

fn attributes(stream: &Stream) -> BTreeMap<String, String> {
    let value = |name: &str| Some((name.to_owned(), stream.attribute(name)?.to_owned()));
    ATTRIBUTE_NAMES.iter().filter_map(|name| value(name)).collect()
}

/// A body that grows.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
