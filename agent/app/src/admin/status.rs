//! `GET /api/status`: everything that the agent counts, at one moment, for `weir top` and for programs. It has no events
//! and no secrets.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use weir_buffer::ledger::Statement;
use weir_host::Cause;

use crate::metrics::process;
use crate::reload::{self, Outcome};
use crate::state::{AgentState, PipelineView, View};

/// The agent at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// In the configuration.
    pub cluster: String,
    /// In the configuration.
    pub node: String,
    /// The generation that runs.
    pub generation: u64,
    /// Whether the last reload was rejected.
    pub rejected: bool,
    /// `ready`, or why it is not.
    pub state: String,
    /// Since its start.
    pub up_seconds: f64,
    /// CPU time of the process so far.
    pub cpu_seconds: f64,
    /// In RAM.
    pub memory_bytes: u64,
    /// What `memory` in the configuration says.
    pub memory_bound_bytes: u64,
    /// Threads that bring batches through pipelines.
    pub workers: u64,
    /// How many look at events right now.
    pub taps: u64,
    /// How they hang together.
    pub pipelines: Vec<PipelineStatus>,
    /// The ledger.
    pub accounts: Vec<Statement>,
    /// The sources.
    pub sources: Vec<SourceStatus>,
    /// The sinks, with those that were taken away and still have something.
    pub sinks: Vec<SinkStatus>,
    /// The plugins.
    pub plugins: Vec<PluginStatus>,
}

/// A pipeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PipelineStatus {
    /// Its name.
    pub pipeline: String,
    /// Where it reads.
    pub sources: Vec<String>,
    /// Its stages, in order.
    pub stages: Vec<String>,
    /// Where it leads.
    pub sinks: Vec<String>,
    /// The stage because of which it stands still.
    pub held_by: Option<String>,
}

/// A source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub source: String,
    /// Events handed on.
    pub events: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files followed now.
    pub files: u64,
    /// Files or folders that could not be opened or read.
    pub errors: u64,
    /// Where it listens; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Connections that are open there.
    #[serde(default)]
    pub connections: u64,
}

/// A sink and the buffer in front of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name.
    pub sink: String,
    /// `ok`, `failing`, `unauthorized` or `given_up`.
    pub state: String,
    /// Documents delivered.
    pub documents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Deliveries that failed and were tried again.
    pub retries: u64,
    /// In the buffer's memory.
    pub memory_bytes: u64,
    /// The most that it may be.
    pub memory_bound_bytes: u64,
    /// In the buffer's files; absent where it has none.
    pub disk_bytes: Option<u64>,
    /// The most that it may be.
    pub disk_bound_bytes: Option<u64>,
    /// In the buffer's object store; absent where it has none.
    #[serde(default)]
    pub object_bytes: Option<u64>,
    /// Events that wait for indices that take nothing.
    pub held_events: u64,
    /// Age of the oldest that waits.
    pub oldest_seconds: f64,
}

/// A plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginStatus {
    /// Its name in the configuration.
    pub plugin: String,
    /// Of its manifest.
    pub version: String,
    /// `healthy`, `degraded`, `half_open` or `quarantined`.
    pub state: String,
    /// Events handed to it.
    pub events: u64,
    /// CPU time that it cost.
    pub cpu_seconds: f64,
    /// Faults, of all causes.
    pub faults: u64,
    /// Events that it could not handle.
    pub failed_events: u64,
    /// Of its instances.
    pub memory_bytes: u64,
    /// What went wrong last.
    pub last_fault: Option<String>,
}

/// The agent now. Waits for the workers to be between two batches.
pub fn of(state: &AgentState) -> Status {
    let view = state.view();
    let reload::Status { generation, last_reload, .. } = state.reloads.status();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: view.cluster.clone(),
        node: view.node.clone(),
        generation,
        rejected: last_reload.is_some_and(|last| last.outcome == Outcome::Rejected),
        state: state.readiness.reason().unwrap_or("ready").to_owned(),
        up_seconds: state.started.elapsed().unwrap_or_default().as_secs_f64(),
        cpu_seconds: process::cpu_seconds(),
        memory_bytes: process::resident_bytes(),
        memory_bound_bytes: view.memory,
        workers: view.workers as u64,
        taps: state.taps.count() as u64,
        pipelines: pipelines(state, &view),
        accounts: state.ledger.statements(),
        sources: sources(&view),
        sinks: sinks(&view),
        plugins: plugins(&view),
    }
}

fn pipelines(state: &AgentState, view: &View) -> Vec<PipelineStatus> {
    let held = state.health.held();
    let one = |PipelineView { name, sources, stages, sinks }: &PipelineView| PipelineStatus {
        pipeline: name.clone(),
        sources: sources.clone(),
        stages: stages.clone(),
        sinks: sinks.clone(),
        held_by: held.iter().find(|(pipeline, _)| **pipeline == **name).map(|(_, stage)| stage.to_string()),
    };
    view.pipelines.iter().map(one).collect()
}

fn sources(view: &View) -> Vec<SourceStatus> {
    let sources = view.sources.iter().map(|(name, metrics)| SourceStatus {
        source: name.clone(),
        events: metrics.events.load(Relaxed),
        bytes: metrics.bytes.load(Relaxed),
        files: metrics.files.load(Relaxed),
        errors: metrics.errors.load(Relaxed),
        listen: metrics.receiving.address.get().copied(),
        connections: metrics.receiving.connections.load(Relaxed),
    });
    sources.collect()
}

fn sinks(view: &View) -> Vec<SinkStatus> {
    let unauthorized = |name: &str| {
        let of_name = view.opensearch.iter().find(|(sink, _)| sink == name);
        of_name.is_some_and(|(_, of)| of.metrics.unauthorized.load(Relaxed) > 0)
    };
    let sinks = view.sinks.iter().map(|(name, metrics, buffer)| SinkStatus {
        sink: name.clone(),
        state: match (metrics.abandoned.load(Relaxed), metrics.failing.load(Relaxed)) {
            (0, _) if unauthorized(name) => "unauthorized",
            (0, 0) => "ok",
            (0, _) => "failing",
            _ => "given_up",
        }
        .to_owned(),
        documents: metrics.events.load(Relaxed),
        bytes: metrics.bytes.load(Relaxed),
        retries: metrics.retries.load(Relaxed),
        memory_bytes: buffer.used(),
        memory_bound_bytes: buffer.bound(),
        disk_bytes: buffer.disk().map(|disk| disk.store().used()),
        disk_bound_bytes: buffer.disk().map(|disk| disk.store().bound()),
        object_bytes: buffer.disk().and_then(|disk| {
            let store = disk.store();
            store.objects().map(|_| store.in_objects().0)
        }),
        held_events: buffer.held().iter().map(|(_, amount)| amount.events).sum(),
        oldest_seconds: buffer
            .oldest()
            .and_then(|since| since.elapsed().ok())
            .unwrap_or_default()
            .as_secs_f64(),
    });
    sinks.collect()
}

fn plugins(view: &View) -> Vec<PluginStatus> {
    let plugins = view.plugins.iter().map(|plugin| {
        let metrics = plugin.metrics();
        PluginStatus {
            plugin: plugin.name().to_owned(),
            version: plugin.manifest().version.clone(),
            state: plugin.standing().name().to_owned(),
            events: metrics.rows(),
            cpu_seconds: metrics.cpu().as_secs_f64(),
            faults: Cause::ALL.into_iter().map(|cause| metrics.faults(cause)).sum(),
            failed_events: metrics.suspects(),
            memory_bytes: metrics.memory_bytes(),
            last_fault: plugin.last_fault().map(|fault| format!("{}: {}", fault.cause, fault.detail)),
        }
    });
    plugins.collect()
}
