//! What the admin address shows of a running agent.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use weir_buffer::ledger::Ledger;
use weir_buffer::memory::MemoryTier;
use weir_host::Plugin;
use weir_pipeline::checkpoint::Checkpoints;
use weir_pipeline::sink::SinkMetrics;
use weir_pipeline::source::SourceMetrics;
use weir_pipeline::tap::Taps;
use weir_pipeline::workers::Health;
use weir_samples::cardinality::Guard;

use crate::live::Explainable;
use crate::mover::Drain;
use crate::reload::Reloads;
use crate::shadows::Candidate;
use crate::sinks::OpenSearchView;

/// What the admin address shows.
pub struct AgentState {
    /// When the agent started.
    pub started: SystemTime,
    /// The accounts.
    pub ledger: Arc<Ledger>,
    /// What went wrong with pipelines.
    pub health: Arc<Health>,
    /// Where events can be looked at on their way.
    pub taps: Arc<Taps>,
    /// Whether it does its work.
    pub readiness: Readiness,
    /// Which configuration runs, and what became of others.
    pub reloads: Reloads,
    view: RwLock<Arc<View>>,
    drain: OnceLock<Drain>,
    checkpoints: OnceLock<Arc<Checkpoints>>,
}

/// The parts of the generation that runs, and what is left of those before.
#[derive(Clone, Default)]
pub struct View {
    /// The configuration's hash.
    pub config_hash: String,
    /// By name.
    pub sources: Vec<(String, Arc<SourceMetrics>)>,
    /// By name; with the buffer in front of each.
    pub sinks: Vec<(String, Arc<SinkMetrics>, Arc<MemoryTier>)>,
    /// What sinks of the kind `opensearch` count beside that, by name.
    pub opensearch: Vec<(String, OpenSearchView)>,
    /// What sinks of the kind `s3` count beside that, by name.
    pub archives: Vec<(String, Arc<weir_archive::Metrics>)>,
    /// All plugins that are loaded.
    pub plugins: Vec<Arc<Plugin>>,
    /// Who may take their places.
    pub shadows: Vec<Arc<Candidate>>,
    /// How they hang together.
    pub pipelines: Vec<PipelineView>,
    /// What sinks of the kind `remote_write` count beside what every sink does, by name.
    pub remote_writes: Vec<(String, Arc<weir_remote_write::Metrics>)>,
    /// What sources of the kind `scrape` count and know, by name.
    pub scrapes: Vec<(String, Arc<weir_scrape::ScrapeMetrics>)>,
    /// What stages watch in samples.
    pub guards: Vec<GuardView>,
    /// The pipelines themselves, to be asked what becomes of an event.
    pub explainable: Explainable,
    /// What `memory` in the configuration says, in bytes.
    pub memory: u64,
    /// How many workers there are.
    pub workers: usize,
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
}

/// A stage that watches how many series there are.
#[derive(Clone)]
pub struct GuardView {
    /// The pipeline that it stands in.
    pub pipeline: String,
    /// What it is called there.
    pub name: String,
    /// The series that a group of it may have.
    pub limit: u64,
    /// What it knows.
    pub guard: Guard,
}

/// A pipeline by the names of its parts.
#[derive(Clone, Debug)]
pub struct PipelineView {
    /// Its name.
    pub name: String,
    /// Where it reads.
    pub sources: Vec<String>,
    /// Its stages, in order.
    pub stages: Vec<String>,
    /// Where it leads.
    pub sinks: Vec<String>,
}

// === impl AgentState ===

impl AgentState {
    /// Of an agent that does nothing yet.
    pub fn new(ledger: Arc<Ledger>, health: Arc<Health>, taps: Arc<Taps>) -> AgentState {
        AgentState {
            started: SystemTime::now(),
            ledger,
            health,
            taps,
            readiness: Readiness::default(),
            reloads: Reloads::default(),
            view: RwLock::default(),
            drain: OnceLock::new(),
            checkpoints: OnceLock::new(),
        }
    }

    /// What asks for everything on disk to go to the object stores, once the agent runs.
    pub fn drain(&self) -> Option<&Drain> {
        self.drain.get()
    }

    /// Says what asks for it.
    pub fn set_drain(&self, drain: Drain) {
        let _ = self.drain.set(drain);
    }

    /// Positions and what is on disk, of an agent that lives.
    pub fn checkpoints(&self) -> Option<&Arc<Checkpoints>> {
        self.checkpoints.get()
    }

    /// Says where they are.
    pub fn set_checkpoints(&self, checkpoints: Arc<Checkpoints>) {
        let _ = self.checkpoints.set(checkpoints);
    }

    /// The parts as they are now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows other parts from now on.
    pub fn show(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }
}

/// Whether the agent does its work.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// The sources run.
    pub fn set_ready(&self) {
        self.0.store(1, Ordering::Release);
    }

    /// The agent is stopping.
    pub fn set_draining(&self) {
        self.0.store(2, Ordering::Release);
    }

    /// Why the agent is not ready; `None` when it is.
    pub fn reason(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Acquire) {
            1 => None,
            2 => Some("draining"),
            _ => Some("starting"),
        }
    }
}
