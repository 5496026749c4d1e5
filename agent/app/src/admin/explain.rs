//! `POST /api/explain`: what becomes of one event in the generation that runs. It shows what plugins do with an event, and
//! takes one from whoever asks, so it is for those only who may read the agent's data folder.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use weir_event::batch::{Arena, ArenaPool, Batch, BatchBuilder, Flags, MAX_EVENT_BYTES, Row};
use weir_event::sheet::OnFault;
use weir_event::stream::Stream;
use weir_event::transform::ReasonClass;
use weir_pipeline::explain::{Explanation, Fate, Leaving, Step};
use weir_pipeline::pipeline::FaultPolicy;
use weir_plugin_kit::traffic::Event;

use super::Token;
use super::routes::off_the_reactor;
use super::trusted::Trusted;
use crate::state::{AgentState, View};

/// An event in JSON, and a name or two.
const MAX_BODY_BYTES: usize = 2 * MAX_EVENT_BYTES + 64 * 1024;
/// Each has instances of its own for as long as it takes.
const AT_ONCE: usize = 2;

/// What is to be explained.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The pipeline; may be left out where there is only one, or only one reads the source.
    pub pipeline: Option<String>,
    /// The source that the event comes from; may be left out where the pipeline reads only one.
    pub source: Option<String>,
    /// The event's text, or an event as `weir tap --record` writes it.
    pub event: String,
}

/// What becomes of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The generation that says so.
    pub generation: u64,
    /// The pipeline.
    pub pipeline: String,
    /// The source that it was taken to come from.
    pub source: String,
    /// The document before any stage.
    pub document: Box<RawValue>,
    /// The stages, as far as it came.
    pub stages: Vec<StageAnswer>,
    /// What leaves the pipeline.
    pub leaves: Vec<LeavingAnswer>,
}

/// What one stage does.
#[derive(Debug, Serialize, Deserialize)]
pub struct StageAnswer {
    /// Its name.
    pub stage: String,
    /// `kept`, `sampled`, `dropped` or `failed`.
    pub fate: String,
    /// Why it was sampled or dropped; what is done with what failed.
    pub reason: Option<String>,
    /// The documents behind it.
    pub documents: Vec<Box<RawValue>>,
    /// Events that it made.
    pub created: u64,
    /// Edits and events of its answer that were refused.
    pub refused: u64,
    /// How long it took.
    pub microseconds: u64,
}

/// A document at the end.
#[derive(Debug, Serialize, Deserialize)]
pub struct LeavingAnswer {
    /// Its id, if the event lay at the start of a file that nothing is known of.
    pub id: String,
    /// Its time, as the document has it.
    pub document: Box<RawValue>,
    /// Where it goes.
    pub to: Vec<Place>,
}

/// A sink, and the place in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Place {
    /// The sink.
    pub sink: String,
    /// The index, where the sink has several.
    pub index: Option<String>,
}

/// The path, for who shows the token.
pub fn routes(token: Token) -> Router<Arc<AgentState>> {
    Router::new()
        .route("/api/explain", post(explain))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(Extension(Arc::new(tokio::sync::Semaphore::new(AT_ONCE))))
        .layer(Extension(token))
}

async fn explain(
    _: Trusted,
    State(state): State<Arc<AgentState>>,
    Extension(turns): Extension<Arc<tokio::sync::Semaphore>>,
    Json(question): Json<Question>,
) -> Response {
    let Ok(_turn) = turns.try_acquire() else {
        return (StatusCode::TOO_MANY_REQUESTS, "others are explained right now; ask again\n")
            .into_response();
    };
    match off_the_reactor(move || answer(&state, &question)).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(message)) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{message}\n")).into_response(),
        Err(status) => status.into_response(),
    }
}

fn answer(state: &AgentState, question: &Question) -> Result<Answer, String> {
    let view = state.view();
    let (pipeline, source) = choose(&view, question)?;
    let (running, intakes) =
        view.explainable.get(pipeline).ok_or_else(|| format!("pipeline `{pipeline}` does not run"))?;
    if running.samples.is_some() {
        return Err(format!(
            "pipeline `{pipeline}` carries samples of metrics, and an event is explained; weir tap shows samples"
        ));
    }
    let intake = intakes
        .iter()
        .find_map(|(name, intake)| (**name == *source).then_some(intake))
        .ok_or_else(|| format!("pipeline `{pipeline}` does not read source `{source}`"))?;
    let event = Event::parse(&question.event)?;
    let now = nanoseconds(SystemTime::now());
    let batch = batch_of(&event, &view, source, now)?;
    let explanation = running.explain(intake, &batch, now).map_err(|error| error.to_string())?;
    let sinks = view.pipelines.iter().find(|view| view.name == *pipeline).map(|view| view.sinks.as_slice());
    let Explanation { loaded, steps, documents } = explanation;
    Ok(Answer {
        generation: state.reloads.status().generation,
        pipeline: pipeline.to_owned(),
        source: source.to_owned(),
        document: raw(&loaded),
        stages: steps.iter().map(stage_answer).collect(),
        leaves: documents.iter().map(|leaving| leaving_answer(leaving, sinks.unwrap_or_default())).collect(),
    })
}

/// The pipeline and the source that are meant.
fn choose<'a>(view: &'a View, question: &'a Question) -> Result<(&'a str, &'a str), String> {
    let fits = |pipeline: &&crate::state::PipelineView| {
        question.pipeline.as_ref().is_none_or(|name| *name == pipeline.name)
            && question.source.as_ref().is_none_or(|source| pipeline.sources.contains(source))
    };
    let list =
        |names: &mut dyn Iterator<Item = &String>| names.map(String::as_str).collect::<Vec<_>>().join(", ");
    let all = || list(&mut view.pipelines.iter().map(|pipeline| &pipeline.name));
    let mut fitting = view.pipelines.iter().filter(fits);
    let Some(pipeline) = fitting.next() else {
        return Err(match (&question.pipeline, &question.source) {
            (Some(name), None) => format!("there is no pipeline `{name}`; there are {}", all()),
            (None, Some(source)) => {
                format!("no pipeline reads a source `{source}`; the pipelines are {}", all())
            }
            (Some(name), Some(source)) => {
                format!(
                    "there is no pipeline `{name}` that reads a source `{source}`; the pipelines are {}",
                    all()
                )
            }
            (None, None) => "there is no pipeline".to_owned(),
        });
    };
    if fitting.next().is_some() {
        return Err(format!("say which pipeline is meant, with --pipeline: there are {}", all()));
    }
    match (&question.source, pipeline.sources.as_slice()) {
        (Some(source), _) => Ok((&pipeline.name, source)),
        (None, [source]) => Ok((&pipeline.name, source)),
        (None, sources) => Err(format!(
            "say which source it comes from, with --source: pipeline `{}` reads {}",
            pipeline.name,
            list(&mut sources.iter())
        )),
    }
}

fn batch_of(event: &Event, view: &View, source: &str, now: i64) -> Result<Batch, String> {
    if event.text.len() > MAX_EVENT_BYTES {
        return Err(format!("the event has more than {MAX_EVENT_BYTES} bytes"));
    }
    let mut attributes = event.stream_attributes();
    source.clone_into(&mut attributes.source);
    // Those of this agent, where the event does not say others.
    if !event.attributes.contains_key("cluster") {
        attributes.cluster.clone_from(&view.cluster);
    }
    if !event.attributes.contains_key("node") {
        attributes.node.clone_from(&view.node);
    }
    let mut batch = BatchBuilder::new(Arena::default());
    let stream = batch.add_stream(&Stream::new(attributes, 0));
    let content = batch.arena.append(event.text.as_bytes());
    let time = event.time.unwrap_or(now);
    batch.push(Row { content, raw: content, offset: 0, time, stream, flags: Flags::default() });
    Ok(batch.finish(&ArenaPool::new()))
}

fn stage_answer(step: &Step) -> StageAnswer {
    let (fate, reason) = match &step.fate {
        Fate::Kept => ("kept", None),
        Fate::Dropped { reason, class: ReasonClass::Sampled } => ("sampled", Some(reason.clone())),
        Fate::Dropped { reason, class: ReasonClass::Dropped } => ("dropped", Some(reason.clone())),
        Fate::Failed { policy } => ("failed", Some(policy_name(*policy).to_owned())),
    };
    StageAnswer {
        stage: step.stage.to_string(),
        fate: fate.to_owned(),
        reason,
        documents: step
            .documents
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(raw)
            .collect(),
        created: step.created,
        refused: step.refused,
        microseconds: u64::try_from(step.took.as_micros()).unwrap_or(u64::MAX),
    }
}

pub(super) fn policy_name(policy: FaultPolicy) -> &'static str {
    match policy {
        FaultPolicy::Handle(OnFault::Pass) => "pass",
        FaultPolicy::Handle(OnFault::Drop) => "drop",
        FaultPolicy::Handle(OnFault::DeadLetter) => "dead_letter",
        FaultPolicy::Hold => "hold",
    }
}

fn leaving_answer(leaving: &Leaving, sinks: &[String]) -> LeavingAnswer {
    let to = sinks.iter().zip(&leaving.places);
    let place = |(sink, index): (&String, &Option<Arc<str>>)| Place {
        sink: sink.clone(),
        index: index.as_ref().map(ToString::to_string),
    };
    LeavingAnswer { id: leaving.id.text(), document: raw(&leaving.document), to: to.map(place).collect() }
}

/// A document as it stands; `null` where it were no JSON, which it always is.
fn raw(document: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(document).trim_end().to_owned();
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    i64::try_from(since).unwrap_or(i64::MAX)
}
