//! The living agent: the one place where sources, pipelines, buffers and sinks meet.
//!
//!     Source ─Batch→ Workers: [Stage]* → encode ─Segment→ MemoryTier ─Segment→ Sink ─Receipt→ Ack → Checkpoint
//!
//! 1. What outlives a generation lives here: the workers, the ledger, the checkpoints, every sink with its buffer by its
//!    name, every source by its name. A generation says what they do.
//! 2. [`Live::change`] is the start as well as every reload: first everything new is made and tried, and an error leaves
//!    all as it was; then it is put to work. What is the same in both generations is not touched.
//! 3. A sink that was taken away goes on until its buffer is empty and no batch can reach it any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_buffer::ledger::Ledger;
use weir_config::{Config, Errors};
use weir_pipeline::checkpoint::Checkpoints;
use weir_pipeline::sink::SinkMetrics;
use weir_pipeline::source::Mode;
use weir_pipeline::workers::{Routing, Workers};

use crate::mover::Drain;
use crate::plugins::{Loaded, Plugins};
use crate::state::{AgentState, View};

mod difference;
mod pipelines;
mod sinks;
mod sources;

pub use difference::Difference;
pub use pipelines::Explainable;
use pipelines::Pipelines;
use sinks::Sinks;
use sources::Sources;

/// The agent's parts.
pub struct Live {
    checkpoints: Arc<Checkpoints>,
    workers: Workers,
    sinks: Sinks,
    pipelines: Pipelines,
    sources: Sources,
    state: Arc<AgentState>,
    is_over: bool,
}

/// What an agent is born with.
pub struct Surroundings {
    /// Positions and durable counts.
    pub checkpoints: Arc<Checkpoints>,
    /// Where the drivers of the sinks run.
    pub runtime: tokio::runtime::Handle,
    /// Whether it goes on for ever.
    pub mode: Mode,
}

/// What a change did, by the names in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Changes {
    /// Of the sources.
    pub sources: Difference,
    /// Of the pipelines.
    pub pipelines: Difference,
    /// Of the sinks.
    pub sinks: Difference,
    /// Of the plugins.
    pub plugins: Difference,
}

/// Whether new pipelines are tried out with a few events before they are put to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// They are: another generation runs, and a plugin that handles nothing must not take its place.
    Yes,
    /// They are not: there is nothing better.
    No,
}

// === impl Live ===

impl Live {
    /// An agent that does nothing yet.
    pub fn new(config: &Config, surroundings: Surroundings) -> std::io::Result<Live> {
        let Surroundings { checkpoints, runtime, mode } = surroundings;
        let ledger = restored_ledger(&checkpoints);
        let workers = Workers::start(Arc::clone(&ledger), Arc::clone(&checkpoints), config.workers.get())?;
        let state = Arc::new(AgentState::new(Arc::clone(&ledger), workers.health(), workers.taps()));
        state.set_checkpoints(Arc::clone(&checkpoints));
        let sinks = Sinks::new(runtime, Arc::clone(&checkpoints), ledger)?;
        let sources = Sources::new(mode, Arc::clone(&checkpoints));
        Ok(Live {
            checkpoints,
            workers,
            sinks,
            pipelines: Pipelines::default(),
            sources,
            state,
            is_over: false,
        })
    }

    /// What the admin address shows.
    pub fn state(&self) -> Arc<AgentState> {
        Arc::clone(&self.state)
    }

    /// Puts a configuration and its plugins in the place of those that there were. Blocks.
    pub fn change(
        &mut self,
        config: &Config,
        before: &Plugins,
        plugins: &Plugins,
        trial: Trial,
    ) -> Result<Changes, Errors> {
        if self.is_over {
            return Err(one(config, &[], "the agent is stopping".to_owned()));
        }
        let sinks = self.sinks.prepare(config)?;
        let pipelines = self.pipelines.prepare(config, plugins, &sinks, self.sinks.ledger(), trial)?;
        let sources = self.sources.prepare(config, |pipeline| pipelines.counting(pipeline))?;
        self.admit(config, &sinks)?;
        self.workers
            .resize(config.workers.get())
            .map_err(|error| one(config, &["workers"], format!("cannot start the workers: {error}")))?;

        // From here on nothing fails.
        let changes = Changes {
            sources: sources.difference(),
            pipelines: pipelines.difference(),
            sinks: sinks.difference(),
            plugins: Difference::of_shared(before, plugins),
        };
        self.sources.stop_changed(&sources, &self.workers);
        self.sinks.start(sinks);
        plugins.values().for_each(Loaded::take_up_shadow);
        self.workers.route(Routing { pipelines: pipelines.all(), sources: pipelines.routes() });
        self.checkpoints.keep_counters(&pipelines.all_counting());
        self.pipelines = pipelines.into_running();
        self.sources.start(sources, &self.workers);
        self.sinks.tidy(&self.workers);
        self.state.show(self.view(config, plugins));
        Ok(changes)
    }

    /// What waits for sinks that were taken away takes memory beside the new ones.
    fn admit(&self, config: &Config, sinks: &sinks::Prepared) -> Result<(), Errors> {
        let waiting = self.sinks.memory_of_orphans(sinks);
        let needed = config.planned_memory.bytes().saturating_add(waiting);
        if waiting == 0 || needed <= config.memory.bytes() {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let message = format!(
            "{} MiB are too little: the configuration may take {} MiB, and {} MiB wait for sinks that it does not have any more; reload again when they are delivered, or raise memory",
            config.memory.bytes() >> 20,
            mib(config.planned_memory.bytes()),
            mib(waiting),
        );
        Err(one(config, &["memory"], message))
    }

    /// Pipelines that hold a batch try again.
    pub fn retry_held(&self) {
        self.workers.retry_held();
    }

    /// Sees to what ends by itself. To be called now and then.
    pub fn tidy(&mut self) {
        self.sources.tell_failures();
        if self.sinks.tidy(&self.workers) {
            let (sinks, opensearch) = self.sinks.views();
            let (archives, remote_writes) = (self.sinks.archives(), self.sinks.remote_writes());
            let view = (*self.state.view()).clone();
            self.state.show(View { sinks, opensearch, archives, remote_writes, ..view });
        }
    }

    fn view(&self, config: &Config, plugins: &Plugins) -> View {
        let (sinks, opensearch) = self.sinks.views();
        View {
            config_hash: config.hash.clone(),
            sources: self.sources.views(),
            sinks,
            opensearch,
            archives: self.sinks.archives(),
            plugins: plugins.values().map(|loaded| Arc::clone(&loaded.plugin)).collect(),
            shadows: plugins.values().filter_map(|loaded| loaded.candidate.clone()).collect(),
            pipelines: config
                .pipelines
                .iter()
                .map(|(name, pipeline)| pipelines::view(name, pipeline))
                .collect(),
            remote_writes: self.sinks.remote_writes(),
            scrapes: self.sources.scrapes(),
            guards: self.pipelines.guards(),
            explainable: self.pipelines.explainable(),
            memory: config.memory.bytes(),
            workers: config.workers.get(),
            cluster: config.cluster.clone(),
            node: config.node.clone(),
        }
    }

    /// What asks for everything on disk to go to the object stores.
    pub fn drain(&self) -> Option<Drain> {
        self.sinks.drain()
    }

    /// Whether the disks are to be emptied when the agent is stopped.
    pub fn drains_on_stop(&self) -> bool {
        self.sinks.drains_on_stop()
    }

    // --- the end ---

    /// What the sinks count: those that there are, and those that were taken away.
    pub fn sink_metrics(&self) -> Vec<Arc<SinkMetrics>> {
        self.sinks.metrics()
    }

    /// Whether all sources have ended by themselves.
    pub fn sources_have_ended(&self) -> bool {
        self.sources.have_ended()
    }

    /// Tells the sources to end and waits a moment for that; nothing can be changed any more. Blocks.
    pub fn stop_sources(&mut self) {
        self.is_over = true;
        self.sources.stop_all();
    }

    /// Lets the workers finish what they have, and closes the buffers behind them. The names of pipelines that hold a
    /// batch. Blocks.
    pub fn finish_workers(&mut self, patience: Duration) -> Vec<Arc<str>> {
        let held = self.workers.health().held().into_iter().map(|(pipeline, _)| pipeline).collect();
        self.workers.finish(patience);
        self.sinks.close();
        held
    }

    /// Says true when sinks are to give up what they cannot deliver.
    pub fn give_up(&self) -> watch::Sender<bool> {
        self.sinks.give_up()
    }

    /// Whether every sink has delivered everything, or given up.
    pub fn sinks_have_ended(&self) -> bool {
        self.sinks.have_ended()
    }

    /// Ends the sinks whatever they do, and brings what is left to disk and into the checkpoints. Blocks.
    pub fn finish(&mut self) -> Result<(), weir_pipeline::checkpoint::CheckpointError> {
        self.sinks.finish();
        self.checkpoints.save()?;
        // What was delivered last leaves the disk only when the checkpoint before this one does not name it either.
        self.checkpoints.save()
    }
}

/// The accounts as the last run left them.
fn restored_ledger(checkpoints: &Checkpoints) -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::default());
    for (pipeline, sink, counts) in checkpoints.counts() {
        ledger.account(&pipeline, &sink).restore(counts);
    }
    ledger
}

fn one(config: &Config, path: &[&str], message: String) -> Errors {
    Errors(vec![config.error_at(path, message, None)])
}

/// Every name with what it is compared by.
type ByName<T> = BTreeMap<String, T>;

#[cfg(test)]
mod tests;
