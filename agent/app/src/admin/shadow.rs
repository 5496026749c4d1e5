//! `GET /api/plugins/NAME/shadow`: how a plugin's shadow compares with it, with a few events that were treated differently.
//! It shows events, so it is for those only who may read the agent's data folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Json, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_event::transform::ReasonClass;
use weir_host::Plugin;
use weir_pipeline::shadow::{Counts, Difference, Sample, Skipped, Treatment};
use weir_plugin_kit::diff;

use super::Token;
use super::trusted::Trusted;
use crate::shadows::Candidate;
use crate::state::{AgentState, View};

/// How a shadow compares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The generation that says so.
    pub generation: u64,
    /// The plugin.
    pub plugin: String,
    /// `running`, `off` (it kept failing and is asked no more) or `failed` (it could not be loaded).
    pub state: String,
    /// Why it could not be loaded.
    pub error: Option<String>,
    /// Of how many batches it sees a copy.
    pub share: String,
    /// Where the shadow is, as the configuration has it.
    pub reference: String,
    /// What it was compared with.
    pub live: Version,
    /// The shadow; `null` where it could not be loaded.
    pub shadow: Option<Version>,
    /// Batches that were due, by what became of them.
    pub batches: BTreeMap<String, u64>,
    /// Events that were compared.
    pub compared: u64,
    /// Those that would come out differently.
    pub different: u64,
    /// Events by how they were treated.
    pub events: BTreeMap<String, u64>,
    /// What the shadow may see, change or do and the plugin may not.
    pub grown: Vec<String>,
    /// The last events of each kind that were treated differently.
    pub samples: Vec<Sampled>,
}

/// One of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Version {
    /// By its manifest.
    pub name: String,
    /// By its manifest.
    pub version: String,
    /// SHA-256 of the component.
    pub component: String,
    /// The digest of the artefact in its registry; `null` for a file.
    pub digest: Option<String>,
    /// Who signed it.
    pub key: Option<String>,
    /// CPU time that an event took, in nanoseconds; `null` before the first.
    pub nanoseconds: Option<u64>,
    /// The most memory that its instances had together.
    pub memory_peak: u64,
    /// The last fault.
    pub last_fault: Option<String>,
}

/// An event that was treated differently.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sampled {
    /// How.
    pub difference: String,
    /// Its time.
    pub time: String,
    /// As both were handed it. An object; text where it was too long to be kept.
    pub event: Value,
    /// What the plugin did.
    pub live: Value,
    /// What the shadow did.
    pub shadow: Value,
    /// Member by member what is otherwise.
    pub members: Vec<String>,
}

/// The path, for who shows the token.
pub fn routes(token: Token) -> Router<Arc<AgentState>> {
    Router::new().route("/api/plugins/{name}/shadow", get(shadow)).layer(Extension(token))
}

async fn shadow(_: Trusted, State(state): State<Arc<AgentState>>, Path(name): Path<String>) -> Response {
    let view = state.view();
    match find(&view, &name) {
        Ok(candidate) => Json(answer(candidate, state.reloads.status().generation)).into_response(),
        Err(message) => (StatusCode::NOT_FOUND, format!("{message}\n")).into_response(),
    }
}

fn find<'a>(view: &'a View, name: &str) -> Result<&'a Candidate, String> {
    let found = view.shadows.iter().find(|candidate| candidate.name() == name);
    found.map(|candidate| &**candidate).ok_or_else(|| {
        match view.plugins.iter().any(|plugin| plugin.name() == name) {
            true => format!("plugin `{name}` has no shadow; give it one with `shadow:` in the configuration"),
            false => {
                let names: Vec<&str> = view.plugins.iter().map(|plugin| plugin.name()).collect();
                format!("there is no plugin `{name}`; there are: {}", names.join(", "))
            }
        }
    })
}

fn answer(candidate: &Candidate, generation: u64) -> Answer {
    let (live, plugin, shadow) = (candidate.live(), candidate.plugin(), candidate.shadow());
    let none = Counts::default();
    let counts = shadow.as_deref().map_or(&none, |shadow| shadow.counts());
    let skipped = Skipped::ALL.map(|why| (format!("skipped_{}", why.name()), counts.skipped(why)));
    let compared = ("compared".to_owned(), counts.compared());
    Answer {
        generation,
        plugin: candidate.name().to_owned(),
        state: candidate.state().name().to_owned(),
        error: candidate.error().map(str::to_owned),
        share: candidate.share(),
        reference: candidate.reference(),
        live: version(live),
        shadow: plugin.map(|plugin| version(plugin)),
        batches: skipped.into_iter().chain([compared]).collect(),
        compared: counts.all_events(),
        different: counts.different_events(),
        events: Difference::ALL.map(|kind| (kind.name().to_owned(), counts.events(kind))).into(),
        grown: plugin.map(|plugin| diff::grown(live.manifest(), plugin.manifest())).unwrap_or_default(),
        samples: counts.samples().iter().map(sample).collect(),
    }
}

fn version(plugin: &Plugin) -> Version {
    let (manifest, metrics) = (plugin.manifest(), plugin.metrics());
    let provenance = plugin.provenance();
    let rows = u128::from(metrics.rows());
    let nanoseconds = metrics.cpu().as_nanos().checked_div(rows);
    Version {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        component: format!("sha256:{}", plugin.digest()),
        digest: provenance.as_ref().map(|provenance| provenance.digest.clone()),
        key: provenance.as_ref().and_then(|provenance| provenance.key.clone()),
        nanoseconds: nanoseconds.and_then(|nanoseconds| u64::try_from(nanoseconds).ok()),
        memory_peak: metrics.memory_peak_bytes(),
        last_fault: plugin.last_fault().map(|fault| format!("{}: {}", fault.cause, fault.detail)),
    }
}

fn sample(sample: &Sample) -> Sampled {
    let (live, shadow) = (treatment(&sample.live), treatment(&sample.candidate));
    let mut time = Vec::new();
    weir_event::time::write_rfc3339(&mut time, sample.time);
    let mut members = diff::members(&live, &shadow);
    if members.is_empty() {
        members.push("the same members, written differently or in another order".to_owned());
    }
    Sampled {
        difference: sample.difference.name().to_owned(),
        time: String::from_utf8(time).unwrap_or_default(),
        event: object(&sample.event),
        live,
        shadow,
        members,
    }
}

/// As fixtures of plugins have it: `{"keep": {…}}`, `{"drop": "reason"}`, `{"fault": true}`, and `events`.
fn treatment(treatment: &Treatment) -> Value {
    let mut value = match treatment {
        Treatment { faulted: true, .. } => json!({"fault": true}),
        Treatment { kept: Some(kept), .. } => json!({"keep": object(kept)}),
        Treatment { dropped: Some((reason, class)), .. } => {
            let class = match class {
                ReasonClass::Sampled => "sampled",
                ReasonClass::Dropped => "dropped",
            };
            json!({"drop": reason, "booked": class})
        }
        Treatment { dropped: None, .. } => json!({"drop": Value::Null}),
    };
    if let (false, Some(members)) = (treatment.events.is_empty(), value.as_object_mut()) {
        members.insert("events".to_owned(), treatment.events.iter().map(|event| object(event)).collect());
    }
    value
}

/// The object, or its text where that was cut.
fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
