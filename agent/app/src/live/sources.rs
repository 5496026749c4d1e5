//! The sources that run, each on a thread of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_config::{Config, Errors, SourceKind};
use weir_event::batch::ArenaPool;
use weir_journal::{Fields, Journal, JournalSettings, Priority};
use weir_pipeline::checkpoint::Checkpoints;
use weir_pipeline::log_metrics::LogMetrics;
use weir_pipeline::source::{Mode, Source, SourceContext, SourceMetrics, Stop};
use weir_pipeline::workers::Workers;
use weir_scrape::ScrapeMetrics;
use weir_tail::{
    Files, FilesSettings, Format, Joining, KubernetesLogs, KubernetesLogsSettings, Multiline, OwnPod, Preset,
    ReadFrom,
};

use super::pipelines::{Counting, metrics_of};
use super::{ByName, Difference, one};

mod receiving;
mod scraping;

use receiving::Listeners;

/// A source looks so often whether it is to stop that it needs more only when its disk does not answer.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// All sources that run.
pub struct Sources {
    mode: Mode,
    checkpoints: Arc<Checkpoints>,
    running: ByName<Running>,
    listeners: Listeners,
}

struct Running {
    spec: Spec,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    metrics: Arc<SourceMetrics>,
    scrape: Option<Arc<ScrapeMetrics>>,
}

/// Everything that a source is made of. How its events are parsed is the pipelines' business.
#[derive(Clone, Debug)]
struct Spec {
    what: What,
    cluster: String,
    node: String,
}

/// Where its batches come from.
#[derive(Clone, Debug)]
enum What {
    /// As it is configured.
    Configured(Box<weir_config::Source>),
    /// What a pipeline counts.
    Metrics(Vec<Counting>),
}

/// A source that is ready to run.
struct Built {
    source: Box<dyn Source>,
    scrape: Option<Arc<ScrapeMetrics>>,
}

/// The sources of the next generation, ready to run.
pub struct Prepared {
    specs: ByName<Spec>,
    built: ByName<Built>,
    difference: Difference,
    listeners: Listeners,
}

// === impl Sources ===

impl Sources {
    pub fn new(mode: Mode, checkpoints: Arc<Checkpoints>) -> Sources {
        Sources { mode, checkpoints, running: BTreeMap::new(), listeners: Listeners::default() }
    }

    /// Makes what is new or changed.
    pub fn prepare(
        &self,
        config: &Config,
        counting: impl Fn(&str) -> Vec<Counting>,
    ) -> Result<Prepared, Errors> {
        let mut specs = BTreeMap::new();
        for (name, source) in &config.sources {
            // A source that leads nowhere is not read: nobody could say what became of its events.
            if config.pipelines.values().any(|pipeline| pipeline.from.contains(name)) {
                specs.insert(name.to_string(), Spec::of(config, source));
            }
        }
        for name in config.pipelines.values().flat_map(|pipeline| &pipeline.from_metrics) {
            specs.insert(metrics_of(name), Spec::of_metrics(config, counting(name)));
        }
        let difference =
            Difference::between(&self.running, &specs, |running, spec| running.spec.is_same(spec));
        let mut built = BTreeMap::new();
        let mut listeners = self.listeners.next(config);
        for (name, spec) in &specs {
            if difference.added.contains(&**name) || difference.changed.contains(&**name) {
                built.insert(name.clone(), spec.build(config, name, &mut listeners)?);
            }
        }
        Ok(Prepared { specs, built, difference, listeners })
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
        let Prepared { mut specs, built, listeners, .. } = prepared;
        self.listeners = listeners;
        for (name, Built { source, scrape }) in built {
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
                    self.running.insert(name, Running { spec, stop, thread: Some(thread), metrics, scrape });
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

    /// What those that scrape count.
    pub fn scrapes(&self) -> Vec<(String, Arc<ScrapeMetrics>)> {
        let scrapes = |(name, source): (&String, &Running)| Some((name.clone(), source.scrape.clone()?));
        self.running.iter().filter_map(scrapes).collect()
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
        Spec::new(config, What::Configured(Box::new(source)))
    }

    fn of_metrics(config: &Config, counting: Vec<Counting>) -> Spec {
        Spec::new(config, What::Metrics(counting))
    }

    fn new(config: &Config, what: What) -> Spec {
        Spec { what, cluster: config.cluster.clone(), node: config.node.clone() }
    }

    fn is_same(&self, other: &Spec) -> bool {
        let is_same = match (&self.what, &other.what) {
            (What::Configured(one), What::Configured(other)) => one == other,
            (What::Metrics(one), What::Metrics(other)) => {
                let same = |((one, every), (other, often)): (&Counting, &Counting)| {
                    Arc::ptr_eq(one, other) && every == often
                };
                one.len() == other.len() && one.iter().zip(other).all(same)
            }
            _ => false,
        };
        is_same && self.cluster == other.cluster && self.node == other.node
    }

    fn build(&self, config: &Config, name: &str, listeners: &mut Listeners) -> Result<Built, Errors> {
        match &self.what {
            What::Configured(source) => build(config, name, source, listeners),
            What::Metrics(counting) => {
                Ok(Built { source: Box::new(LogMetrics::new(counting.clone())), scrape: None })
            }
        }
    }
}

// === impl Prepared ===

impl Prepared {
    pub fn difference(&self) -> Difference {
        self.difference.clone()
    }
}

// === making them ===

fn build(
    config: &Config,
    name: &str,
    source: &weir_config::Source,
    listeners: &mut Listeners,
) -> Result<Built, Errors> {
    let mut scrape = None;
    let built: Result<Box<dyn Source>, String> = match &source.kind {
        SourceKind::KubernetesLogs(kind) => kubernetes_logs(kind),
        SourceKind::File(kind) => files(kind),
        SourceKind::Journald(kind) => journald(kind),
        SourceKind::Forward(kind) => receiving::forward(kind, config, listeners),
        SourceKind::Otlp(kind) => receiving::otlp(kind, listeners),
        SourceKind::RemoteWrite(kind) => receiving::remote_write(kind, config, listeners),
        SourceKind::Scrape(kind) => scraping::scrape(kind).map(|(source, metrics)| {
            scrape = Some(metrics);
            Box::new(source) as Box<dyn Source>
        }),
    };
    let source = built.map_err(|error| one(config, &["sources", name], error))?;
    Ok(Built { source, scrape })
}

fn kubernetes_logs(kind: &weir_config::KubernetesLogs) -> Result<Box<dyn Source>, String> {
    let following = &kind.following;
    let source = KubernetesLogs::new(KubernetesLogsSettings {
        path: kind.path.clone(),
        exclude_namespaces: globs(&kind.exclude_namespaces),
        exclude_pods: globs(&kind.exclude_pods),
        own_pod: own_pod(),
        read_from: read_from(following),
        linger: following.linger,
        max_held_bytes: following.max_held_bytes.bytes(),
        max_held_age: following.max_held_age,
        multiline: following.multiline.as_ref().map(multiline),
    });
    Ok(Box::new(source.map_err(|error| error.to_string())?))
}

fn files(kind: &weir_config::FileSource) -> Result<Box<dyn Source>, String> {
    let following = &kind.following;
    let source = Files::new(FilesSettings {
        include: globs(&kind.include),
        exclude: globs(&kind.exclude),
        format: match kind.format {
            weir_config::FileFormat::Cri => Format::Cri,
            weir_config::FileFormat::Json => Format::Json,
            weir_config::FileFormat::Text => Format::Text,
        },
        read_from: read_from(following),
        linger: following.linger,
        max_held_bytes: following.max_held_bytes.bytes(),
        max_held_age: following.max_held_age,
        multiline: following.multiline.as_ref().map(multiline),
    });
    Ok(Box::new(source.map_err(|error| error.to_string())?))
}

fn journald(kind: &weir_config::JournaldSource) -> Result<Box<dyn Source>, String> {
    let priorities = [
        Priority::Emergency,
        Priority::Alert,
        Priority::Critical,
        Priority::Error,
        Priority::Warning,
        Priority::Notice,
        Priority::Informational,
        Priority::Debug,
    ];
    let source = Journal::new(JournalSettings {
        units: kind.units.clone(),
        identifiers: kind.identifiers.clone(),
        kernel: kind.kernel,
        priority: kind.priority.and_then(|priority| priorities.get(usize::from(priority)).copied()),
        directory: kind.directory.clone(),
        namespace: kind.namespace.clone(),
        read_from: match kind.read_from {
            weir_config::ReadFrom::Beginning => weir_journal::ReadFrom::Beginning,
            weir_config::ReadFrom::End => weir_journal::ReadFrom::End,
        },
        linger: kind.linger,
        fields: if kind.all_fields { Fields::All } else { Fields::Known },
        extra_fields: kind.extra_fields.clone(),
        ..JournalSettings::default()
    });
    Ok(Box::new(source.map_err(|error| error.to_string())?))
}

fn globs(globs: &[weir_config::Glob]) -> Vec<String> {
    globs.iter().map(|glob| glob.as_str().to_owned()).collect()
}

fn read_from(following: &weir_config::Following) -> ReadFrom {
    match following.read_from {
        weir_config::ReadFrom::Beginning => ReadFrom::Beginning,
        weir_config::ReadFrom::End => ReadFrom::End,
    }
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
