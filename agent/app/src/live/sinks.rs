//! The sinks that run, each with its buffer. A buffer belongs to its sink's name: whatever becomes of the sink, what
//! waits stays where it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_buffer::ledger::Ledger;
use weir_buffer::memory::MemoryTier;
use weir_buffer::segment::Route;
use weir_config::{Config, DEAD_LETTER_MEMORY, Errors, Name};
use weir_pipeline::checkpoint::Checkpoints;
use weir_pipeline::sink::{Drive, Driving, SinkMetrics};
use weir_pipeline::workers::Workers;

use super::{ByName, Difference, one};
use crate::buffers::{self, Buffers, Wanted};
use crate::mover::Drain;
use crate::sinks::{self, Built, Counts, Names, OpenSearchView};

/// All sinks that run.
pub struct Sinks {
    runtime: Handle,
    give_up: watch::Sender<bool>,
    running: ByName<Running>,
    /// Taken away, but not empty yet.
    orphans: ByName<Running>,
    buffers: Buffers,
}

struct Running {
    spec: Spec,
    face: Face,
    counts: Counts,
    metrics: Arc<SinkMetrics>,
    retire: watch::Sender<bool>,
    /// Ends when the driver has, and those before it.
    driver: JoinHandle<()>,
}

/// Everything that a sink is made of.
#[derive(Clone, Debug, PartialEq)]
struct Spec {
    kind: weir_config::SinkKind,
    /// Of who writes there; empty for kinds of sinks that are not told.
    names: Names,
    wanted: Wanted,
}

/// What a pipeline sees of a sink.
#[derive(Clone)]
pub struct Face {
    /// Where its documents wait.
    pub buffer: Arc<MemoryTier>,
    /// Says where in it each document goes, if it has several places.
    pub route: Option<Arc<dyn Route>>,
}

/// The sinks of the next generation, those of the dead letters too.
pub struct Prepared {
    faces: ByName<Face>,
    specs: ByName<Spec>,
    built: ByName<Built>,
    difference: Difference,
}

/// Dead letters of a pipeline have a sink of their own, whose name no other can have.
pub fn dead_letters_of(pipeline: &Name) -> String {
    format!("{pipeline} dead letters")
}

// === impl Sinks ===

impl Sinks {
    pub fn new(
        runtime: Handle,
        checkpoints: Arc<Checkpoints>,
        ledger: Arc<Ledger>,
    ) -> std::io::Result<Sinks> {
        let buffers = Buffers::start(checkpoints, ledger)?;
        let (running, orphans) = Default::default();
        Ok(Sinks { runtime, give_up: watch::channel(false).0, running, orphans, buffers })
    }

    pub fn ledger(&self) -> &Ledger {
        self.buffers.ledger()
    }

    /// Makes what is new or changed.
    pub fn prepare(&mut self, config: &Config) -> Result<Prepared, Errors> {
        self.buffers.note_orphans(config);
        let specs = specs(config);
        let is_same = |running: &Running, spec: &Spec| running.spec == *spec;
        let difference = Difference::between(&self.running, &specs, is_same);
        let (mut faces, mut built) = (BTreeMap::new(), BTreeMap::new());
        for (name, spec) in &specs {
            let running = self.running.get(name);
            if let Some(running) = running.filter(|running| running.spec == *spec) {
                faces.insert(name.clone(), running.face.clone());
                continue;
            }
            let place: &[&str] = match config.sinks.contains_key(name.as_str()) {
                true => &["sinks", name],
                false => &["data_dir"],
            };
            let mut sink = sinks::build(name, &spec.kind, &spec.names, &config.data_dir)
                .map_err(|error| one(config, place, error.to_string()))?;
            let buffer = self
                .buffers
                .get(config, name, &spec.wanted)
                .map_err(|error| one(config, &[place, &["buffer"][..]].concat(), error.to_string()))?;
            // The same places: what pipelines know of them goes on.
            if let Some(running) = running
                && let (Counts::OpenSearch(old), Counts::OpenSearch(new)) =
                    (&running.counts, &mut sink.counts)
                && spec.has_places_of(&running.spec)
            {
                new.route = Arc::clone(&old.route);
                sink.route = Some(Arc::clone(&old.route) as Arc<dyn Route>);
            }
            faces.insert(name.clone(), Face { buffer, route: sink.route.clone() });
            // Where only the buffer changes, the sink goes on.
            if running.is_none_or(|running| !running.spec.is_sink_of(spec)) {
                built.insert(name.clone(), sink);
            }
        }
        Ok(Prepared { faces, specs, built, difference })
    }

    /// Bytes that wait in memory for sinks that are not in the next generation.
    pub fn memory_of_orphans(&self, prepared: &Prepared) -> u64 {
        let all = self.running.iter().chain(&self.orphans);
        let gone = all.filter(|(name, _)| !prepared.specs.contains_key(*name));
        gone.map(|(_, running)| running.face.buffer.used()).sum()
    }

    /// Starts what is new, lets others go on where a sink changed, and leaves those that are gone to empty themselves.
    pub fn start(&mut self, prepared: Prepared) {
        let Prepared { mut faces, specs, mut built, .. } = prepared;
        let gone: Vec<String> =
            self.running.keys().filter(|name| !specs.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(running) = self.running.remove(&name) {
                tracing::info!(
                    sink = name,
                    bytes = running.face.buffer.used(),
                    "the sink is not configured any more; what waits for it is delivered"
                );
                self.orphans.insert(name, running);
            }
        }
        for (name, spec) in specs {
            let Some(face) = faces.remove(&name) else { continue };
            self.buffers.set_bounds(&name, &spec.wanted);
            let before = self.running.remove(&name).or_else(|| self.orphans.remove(&name));
            let running = match (built.remove(&name), before) {
                (None, Some(running)) => Running { spec, ..running },
                (Some(built), before) => self.drive(&name, spec, face, built, before),
                (None, None) => continue,
            };
            self.running.insert(name, running);
        }
    }

    /// Drives a sink, after the one before it with the same buffer has ended.
    fn drive(&self, name: &str, spec: Spec, face: Face, built: Built, before: Option<Running>) -> Running {
        let Built { driver, route: _, counts } = built;
        let (metrics, before) = match before {
            Some(before) => {
                before.retire.send_replace(true);
                (before.metrics, Some((before.driver, before.retire)))
            }
            None => (Arc::default(), None),
        };
        // It may have been closed behind a sink that was taken away.
        face.buffer.open_again();
        let (retire, retired) = watch::channel(false);
        let driving = Driving {
            name: name.to_owned(),
            buffer: Arc::clone(&face.buffer),
            metrics: Arc::clone(&metrics),
            give_up: self.give_up.subscribe(),
            retire: retired,
        };
        let driver = self.runtime.spawn(take_over(before, driver, driving));
        Running { spec, face, counts, metrics, retire, driver }
    }

    /// Closes the buffers of sinks that nothing leads to any more, and forgets those that are empty; true when there
    /// was one.
    pub fn tidy(&mut self, workers: &Workers) -> bool {
        for running in self.orphans.values() {
            if !workers.lead_to(&running.face.buffer) {
                running.face.buffer.close();
            }
        }
        let ended: Vec<String> = self
            .orphans
            .iter()
            .filter(|(_, running)| running.driver.is_finished())
            .map(|(name, _)| name.clone())
            .collect();
        for name in &ended {
            self.orphans.remove(name);
            self.buffers.forget(name);
            tracing::info!(
                sink = name,
                "everything is delivered that waited for the sink that was taken away"
            );
        }
        !ended.is_empty()
    }

    /// The buffer of a sink that runs, and what tells its driver from others.
    #[cfg(test)]
    pub fn sink(&self, name: &str) -> Option<(Arc<MemoryTier>, tokio::task::Id)> {
        let running = self.running.get(name)?;
        Some((Arc::clone(&running.face.buffer), running.driver.id()))
    }

    fn all(&self) -> impl Iterator<Item = (&String, &Running)> {
        self.running.iter().chain(&self.orphans)
    }

    /// What is shown of them.
    #[allow(clippy::type_complexity)]
    pub fn views(&self) -> (Vec<(String, Arc<SinkMetrics>, Arc<MemoryTier>)>, Vec<(String, OpenSearchView)>) {
        let configured = self.all().filter(|(name, _)| !name.contains(' '));
        let all = configured.map(|(name, running)| {
            (name.clone(), Arc::clone(&running.metrics), Arc::clone(&running.face.buffer))
        });
        let opensearch = |counts: &Counts| match counts {
            Counts::OpenSearch(view) => Some(view.clone()),
            _ => None,
        };
        (all.collect(), self.counts(opensearch))
    }

    /// What sinks of the kind `s3` count.
    pub fn archives(&self) -> Vec<(String, Arc<weir_archive::Metrics>)> {
        self.counts(|counts| match counts {
            Counts::Archive(metrics) => Some(Arc::clone(metrics)),
            _ => None,
        })
    }

    /// What sinks of the kind `remote_write` count.
    pub fn remote_writes(&self) -> Vec<(String, Arc<weir_remote_write::Metrics>)> {
        self.counts(|counts| match counts {
            Counts::RemoteWrite(metrics) => Some(Arc::clone(metrics)),
            _ => None,
        })
    }

    fn counts<T>(&self, of_kind: impl Fn(&Counts) -> Option<T>) -> Vec<(String, T)> {
        self.all().filter_map(|(name, running)| Some((name.clone(), of_kind(&running.counts)?))).collect()
    }

    pub fn metrics(&self) -> Vec<Arc<SinkMetrics>> {
        self.all().map(|(_, running)| Arc::clone(&running.metrics)).collect()
    }

    pub fn give_up(&self) -> watch::Sender<bool> {
        self.give_up.clone()
    }

    /// Nothing comes any more.
    pub fn close(&self) {
        for (_, running) in self.all() {
            running.face.buffer.close();
        }
    }

    pub fn have_ended(&self) -> bool {
        self.all().all(|(_, running)| running.driver.is_finished())
    }

    /// What asks for everything on disk to go to the object stores.
    pub fn drain(&self) -> Option<Drain> {
        self.buffers.drain()
    }

    /// Whether the disks are to be emptied when the agent is stopped.
    pub fn drains_on_stop(&self) -> bool {
        self.buffers.drains_on_stop()
    }

    /// Ends them all; what is left is stored where there is a disk. Blocks.
    pub fn finish(&mut self) {
        for (_, running) in self.all() {
            if !running.driver.is_finished() {
                running.driver.abort();
                running.metrics.abandoned.store(1, Ordering::Relaxed);
            }
        }
        self.buffers.finish();
    }
}

/// One driver of a buffer at a time.
async fn take_over(
    before: Option<(JoinHandle<()>, watch::Sender<bool>)>,
    driver: Box<dyn Drive>,
    driving: Driving,
) {
    if let Some((before, _retire)) = before {
        let _ = before.await;
    }
    // Meanwhile a third may have come.
    if *driving.retire.borrow() {
        return;
    }
    driver.drive(driving).await;
}

/// What the sinks of a configuration are made of.
fn specs(config: &Config) -> ByName<Spec> {
    let mut specs = BTreeMap::new();
    for (name, sink) in &config.sinks {
        let wanted = buffers::wanted(config, sink);
        let spec = Spec { kind: sink.kind.clone(), names: Names::of(&sink.kind, config), wanted };
        specs.insert(name.to_string(), spec);
    }
    // Dead letters of a pipeline lie in a file of mode 0600 in the data directory.
    for pipeline in config.pipelines.keys() {
        let path = config.data_dir.join("dead-letters").join(format!("{pipeline}.ndjson"));
        let kind = weir_config::SinkKind::File(weir_config::FileSink { path, rotate: None });
        let (object_store, policy) = Default::default();
        let wanted = Wanted { memory: DEAD_LETTER_MEMORY.bytes(), disk: None, object_store, policy };
        specs.insert(dead_letters_of(pipeline), Spec { kind, names: Names::default(), wanted });
    }
    specs
}

// === impl Spec ===

impl Spec {
    /// Whether only buffers are different, if anything is.
    fn is_sink_of(&self, other: &Spec) -> bool {
        self.kind == other.kind && self.names == other.names
    }

    /// Whether documents go to the same places in both.
    fn has_places_of(&self, other: &Spec) -> bool {
        match (&self.kind, &other.kind) {
            (weir_config::SinkKind::OpenSearch(one), weir_config::SinkKind::OpenSearch(other)) => {
                one.index == other.index && one.max_indices_per_hour == other.max_indices_per_hour
            }
            _ => false,
        }
    }
}

// === impl Prepared ===

impl Prepared {
    /// What pipelines see of a sink.
    pub fn face(&self, name: &str) -> Option<Face> {
        self.faces.get(name).cloned()
    }

    /// Of the sinks that are configured.
    pub fn difference(&self) -> Difference {
        let mut difference = self.difference.clone();
        let Difference { kept, added, changed, removed } = &mut difference;
        for names in [kept, added, changed, removed] {
            names.retain(|name| !name.contains(' '));
        }
        difference
    }
}
