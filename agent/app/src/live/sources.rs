//! The sources that run, each on a thread of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_config::{Config, Errors, Name, SourceKind};
use weir_event::batch::ArenaPool;
use weir_pipeline::checkpoint::Checkpoints;
use weir_pipeline::source::{Mode, Source, SourceContext, SourceMetrics, Stop};
use weir_pipeline::workers::Workers;
use weir_tail::{
    Files, FilesSettings, Format, Joining, KubernetesLogs, KubernetesLogsSettings, Multiline, OwnPod, Preset,
    ReadFrom,
};

use super::{ByName, Difference, one};

/// A source looks so often whether it is to stop that it needs more only when its disk does not answer.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// All sources that run.
pub struct Sources {
    mode: Mode,
    checkpoints: Arc<Checkpoints>,
    running: ByName<Running>,
}

struct Running {
    spec: Spec,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<SourceMetrics>,
}

/// Everything that a source is made of. How its events are parsed is the pipelines' business.
#[derive(Clone, Debug, PartialEq)]
struct Spec {
    source: weir_config::Source,
    cluster: String,
    node: String,
}

/// The sources of the next generation, ready to run.
pub struct Prepared {
    specs: ByName<Spec>,
    built: ByName<Box<dyn Source>>,
    difference: Difference,
}

// === impl Sources ===

impl Sources {
    pub fn new(mode: Mode, checkpoints: Arc<Checkpoints>) -> Sources {
        Sources { mode, checkpoints, running: BTreeMap::new() }
    }

    /// Makes what is new or changed.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, Errors> {
        let mut specs = BTreeMap::new();
        for (name, source) in &config.sources {
            // A source that leads nowhere is not read: nobody could say what became of its events.
            if config.pipelines.values().any(|pipeline| pipeline.from.contains(name)) {
                specs.insert(name.to_string(), Spec::of(config, source));
            }
        }
        let difference = Difference::between(&self.running, &specs, |running, spec| running.spec == *spec);
        let mut built = BTreeMap::new();
        for (name, source) in &config.sources {
            if difference.added.contains(&**name) || difference.changed.contains(&**name) {
                built.insert(name.to_string(), build(config, name, source)?);
            }
        }
        Ok(Prepared { specs, built, difference })
    }

    /// Stops those that are removed or changed. Their batches are on their way.
    pub fn stop_changed(&mut self, prepared: &Prepared, workers: &Workers) {
        let names = prepared.difference.removed.iter().chain(&prepared.difference.changed);
        let leaving: Vec<(&String, Running)> =
            names.filter_map(|name| Some((name, self.running.remove(name)?))).collect();
        for (name, source) in &leaving {
            workers.close_source(name);
            source.tell_to_end();
        }
        join(leaving.into_iter().map(|(name, source)| (name.clone(), source)).collect());
    }

    /// Starts those that are new or changed. One that takes the place of another goes on where that one ended.
    pub fn start(&mut self, prepared: Prepared, workers: &Workers) {
        let Prepared { mut specs, built, .. } = prepared;
        for (name, source) in built {
            let Some(spec) = specs.remove(&name) else { continue };
            let (stop, metrics) = (Stop::default(), Arc::<SourceMetrics>::default());
            let context = SourceContext {
                name: name.as_str().into(),
                cluster: spec.cluster.as_str().into(),
                node: spec.node.as_str().into(),
                mode: self.mode,
                outlet: workers.outlet(&name),
                arenas: ArenaPool::new(),
                checkpoints: Arc::clone(&self.checkpoints),
                stop: stop.clone(),
                metrics: Arc::clone(&metrics),
            };
            let thread = std::thread::Builder::new().name(format!("src-{name}"));
            match thread.spawn(move || source.run(context)) {
                Ok(thread) => {
                    self.running.insert(name, Running { spec, stop, thread: Some(thread), metrics });
                }
                Err(error) => {
                    tracing::error!(source = name, %error, "cannot start the source; it is not read until a reload");
                }
            }
        }
    }

    /// Says of sources that ended though nobody told them to.
    pub fn tell_failures(&mut self) {
        if self.mode == Mode::Once {
            return;
        }
        for (name, source) in &mut self.running {
            if let Some(thread) = source.thread.take_if(|thread| thread.is_finished())
                && thread.join().is_err()
            {
                tracing::error!(
                    source = name,
                    "a source failed; what it had not sent is read at the next start"
                );
            }
        }
    }

    /// What tells one run of a source from another.
    #[cfg(test)]
    pub fn metrics_of(&self, name: &str) -> Option<Arc<SourceMetrics>> {
        Some(Arc::clone(&self.running.get(name)?.metrics))
    }

    pub fn views(&self) -> Vec<(String, Arc<SourceMetrics>)> {
        self.running.iter().map(|(name, source)| (name.clone(), Arc::clone(&source.metrics))).collect()
    }

    pub fn have_ended(&self) -> bool {
        self.running.values().all(Running::has_ended)
    }

    /// Tells all to end, and waits a moment.
    pub fn stop_all(&mut self) {
        for source in self.running.values() {
            source.tell_to_end();
        }
        join(std::mem::take(&mut self.running).into_iter().collect());
    }
}

/// Waits until these have ended, or have had enough time for it. One whose disk does not answer is left to itself: it
/// cannot send any more.
fn join(mut leaving: Vec<(String, Running)>) {
    let since = Instant::now();
    while since.elapsed() < STOP_PATIENCE && !leaving.iter().all(|(_, source)| source.has_ended()) {
        std::thread::sleep(LOOK_EVERY);
    }
    for (name, source) in &mut leaving {
        match source.thread.take_if(|thread| thread.is_finished()).map(JoinHandle::join) {
            Some(Err(_)) => {
                tracing::error!(
                    source = name,
                    "a source failed; what it had not sent is read at the next start"
                );
            }
            None if source.thread.is_some() => {
                tracing::warn!(source = name, "the source does not end; it is left to itself");
            }
            _ => {}
        }
    }
}

// === impl Running ===

impl Running {
    fn tell_to_end(&self) {
        self.stop.stop();
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

// === impl Spec ===

impl Spec {
    fn of(config: &Config, source: &weir_config::Source) -> Spec {
        let source =
            weir_config::Source { parser: weir_config::Parser::Json, time_field: None, ..source.clone() };
        Spec { source, cluster: config.cluster.clone(), node: config.node.clone() }
    }
}

// === impl Prepared ===

impl Prepared {
    pub fn difference(&self) -> Difference {
        self.difference.clone()
    }
}

// === making them ===

fn build(config: &Config, name: &Name, source: &weir_config::Source) -> Result<Box<dyn Source>, Errors> {
    let read_from = match source.read_from {
        weir_config::ReadFrom::Beginning => ReadFrom::Beginning,
        weir_config::ReadFrom::End => ReadFrom::End,
    };
    let globs = |globs: &[weir_config::Glob]| globs.iter().map(|glob| glob.as_str().to_owned()).collect();
    let linger = source.linger;
    let built: Result<Box<dyn Source>, _> = match &source.kind {
        SourceKind::KubernetesLogs(kind) => KubernetesLogs::new(KubernetesLogsSettings {
            path: kind.path.clone(),
            exclude_namespaces: globs(&kind.exclude_namespaces),
            exclude_pods: globs(&kind.exclude_pods),
            own_pod: own_pod(),
            read_from,
            linger,
            max_held_bytes: source.max_held_bytes.bytes(),
            max_held_age: source.max_held_age,
            multiline: source.multiline.as_ref().map(multiline),
        })
        .map(|source| Box::new(source) as Box<dyn Source>),
        SourceKind::File(kind) => Files::new(FilesSettings {
            include: globs(&kind.include),
            exclude: globs(&kind.exclude),
            format: match kind.format {
                weir_config::FileFormat::Cri => Format::Cri,
                weir_config::FileFormat::Json => Format::Json,
                weir_config::FileFormat::Text => Format::Text,
            },
            read_from,
            linger,
            max_held_bytes: source.max_held_bytes.bytes(),
            max_held_age: source.max_held_age,
            multiline: source.multiline.as_ref().map(multiline),
        })
        .map(|source| Box::new(source) as Box<dyn Source>),
    };
    built.map_err(|error| one(config, &["sources", name], error.to_string()))
}

fn multiline(multiline: &weir_config::Multiline) -> Multiline {
    let preset = |preset: &weir_config::Preset| match preset {
        weir_config::Preset::Java => Preset::Java,
        weir_config::Preset::Python => Preset::Python,
        weir_config::Preset::Go => Preset::Go,
        weir_config::Preset::Dotnet => Preset::Dotnet,
    };
    Multiline {
        joining: match &multiline.joining {
            weir_config::Joining::Presets(presets) => Joining::Presets(presets.iter().map(preset).collect()),
            weir_config::Joining::Start(pattern) => Joining::Start(pattern.as_str().to_owned()),
        },
        timeout: multiline.timeout,
        max_lines: multiline.max_lines,
        max_bytes: usize::try_from(multiline.max_bytes.bytes()).unwrap_or(usize::MAX),
    }
}

/// The agent's own pod, where the manifest of its DaemonSet says so (downward API).
fn own_pod() -> Option<OwnPod> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Some(OwnPod { namespace: variable("POD_NAMESPACE")?, name: variable("POD_NAME")? })
}
