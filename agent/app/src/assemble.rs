//! The agent, put together: the one place where sources, pipelines, buffers and sinks meet.
//!
//!     Source ─Batch→ Workers: [Stage]* → encode ─Segment→ MemoryTier ─Segment→ Sink ─Receipt→ Ack → Checkpoint
//!
//! Everything is made and connected before anything runs; an error leaves nothing behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use weir_buffer::ledger::Ledger;
use weir_buffer::memory::MemoryTier;
use weir_config::{Config, Errors, Name, SourceKind};
use weir_event::batch::ArenaPool;
use weir_event::edit::Compiled;
use weir_event::parse::{Parser, RegexParser};
use weir_event::sheet::OnFault;
use weir_event::transform::Transform;
use weir_host::{OnError, Plugin};
use weir_pipeline::Intake;
use weir_pipeline::checkpoint::Checkpoints;
use weir_pipeline::pipeline::{FaultPolicy, Output, Pipeline, Stage};
use weir_pipeline::sink::SinkMetrics;
use weir_pipeline::source::{Mode, Source, SourceContext, SourceMetrics, Stop};
use weir_pipeline::workers::Workers;
use weir_tail::{
    Files, FilesSettings, Format, Joining, KubernetesLogs, KubernetesLogsSettings, Multiline, OwnPod, Preset,
    ReadFrom,
};

use crate::buffers;
use crate::plugins::Plugins;
use crate::sinks::{self, Built};
use crate::state::{AgentState, PipelineView, Readiness};

/// Memory of the dead letters of one pipeline that wait to be written.
const DEAD_LETTER_BOUND: u64 = 4 * 1024 * 1024;

/// A sink that is ready to be driven.
pub struct Driven {
    /// Its name in the configuration.
    pub name: String,
    /// The sink.
    pub sink: Built,
    /// Its buffer.
    pub buffer: Arc<MemoryTier>,
    /// What its driver counts.
    pub metrics: Arc<SinkMetrics>,
}

/// A source that is ready to run.
pub struct Ready {
    /// The source.
    pub source: Box<dyn Source>,
    /// What it runs with.
    pub context: SourceContext,
}

/// An agent that is ready to run.
pub struct Agent {
    /// The sources.
    pub sources: Vec<Ready>,
    /// The workers; they run already and wait for batches.
    pub workers: Workers,
    /// The sinks, those of the dead letters too.
    pub sinks: Vec<Driven>,
    /// What the admin address shows.
    pub state: Arc<AgentState>,
}

/// Puts an agent together. The checkpoints are open, the plugins loaded.
pub fn assemble(
    config: &Config,
    plugins: &Plugins,
    checkpoints: &Arc<Checkpoints>,
    mode: Mode,
    stop: &Stop,
) -> Result<Agent, Errors> {
    let ledger = restored_ledger(checkpoints);
    let mut sinks = BTreeMap::new();
    for (name, wanted) in &config.sinks {
        let sink = sinks::build(name, wanted, &config.data_dir)
            .map_err(|error| one(config, &["sinks", name], error.to_string()))?;
        let buffer = buffers::build(config, name, wanted, checkpoints, &ledger)
            .map_err(|error| one(config, &["sinks", name, "buffer"], error.to_string()))?;
        sinks.insert(name.to_string(), driven(name, sink, buffer));
    }
    buffers::keep_orphans(config, checkpoints, &ledger);
    let mut dead_letters = Vec::new();
    let (mut pipelines, mut time_fields) = (Vec::new(), Vec::new());
    for (name, pipeline) in &config.pipelines {
        let dead = dead_letter_sink(config, name, &ledger)?;
        let parts = Parts { config, plugins, sinks: &sinks, ledger: &ledger };
        let (built, times) = build_pipeline(&parts, name, pipeline, &dead)?;
        pipelines.push(Arc::new(built));
        time_fields.push(times);
        dead_letters.push(dead);
    }
    let workers = Workers::start(pipelines, ledger.clone(), checkpoints.clone(), config.workers.get())
        .map_err(|error| one(config, &["workers"], format!("cannot start the workers: {error}")))?;
    let sources = build_sources(config, &workers, &time_fields, checkpoints, mode, stop)?;
    let state = Arc::new(AgentState {
        started: std::time::SystemTime::now(),
        config_hash: config.hash.clone(),
        ledger,
        sources: sources.iter().map(|s| (s.context.name.to_string(), s.context.metrics.clone())).collect(),
        sinks: sinks.values().map(|s| (s.name.clone(), s.metrics.clone(), s.buffer.clone())).collect(),
        opensearch: sinks
            .values()
            .filter_map(|s| Some((s.name.clone(), s.sink.opensearch.clone()?)))
            .collect(),
        plugins: plugins.values().cloned().collect(),
        pipelines: config.pipelines.iter().map(|(name, pipeline)| view(name, pipeline)).collect(),
        health: workers.health(),
        readiness: Readiness::default(),
    });
    let sinks = sinks.into_values().chain(dead_letters).collect();
    Ok(Agent { sources, workers, sinks, state })
}

/// The accounts as the last run left them.
fn restored_ledger(checkpoints: &Checkpoints) -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::default());
    for (pipeline, sink, counts) in checkpoints.counts() {
        ledger.account(&pipeline, &sink).restore(counts);
    }
    ledger
}

// === pipelines ===

/// What pipelines are built of.
struct Parts<'a> {
    config: &'a Config,
    plugins: &'a Plugins,
    sinks: &'a BTreeMap<String, Driven>,
    ledger: &'a Ledger,
}

/// By source: where the pipeline's compiled plans have the time of its events.
type TimeFields = BTreeMap<String, u16>;

fn build_pipeline(
    parts: &Parts<'_>,
    name: &Name,
    pipeline: &weir_config::Pipeline,
    dead: &Driven,
) -> Result<(Pipeline, TimeFields), Errors> {
    let Parts { config, plugins, sinks, ledger } = *parts;
    let mut stages = Vec::new();
    for stage in &pipeline.stages {
        match stage {
            weir_config::Stage::Plugin(plugin) => {
                stages.extend(plugins.get(plugin).map(|loaded| plugin_stage(plugin, loaded)));
            }
            #[cfg(feature = "bench-native")]
            weir_config::Stage::BenchW1 => stages.push(bench_stage()),
        }
    }
    let plans: Vec<_> = stages.iter().map(|stage| &stage.plan).collect();
    let times: Vec<_> = pipeline
        .from
        .iter()
        .filter_map(|source| Some((source, config.sources.get(source)?.time_field.as_deref()?)))
        .collect();
    let paths: Vec<_> = times.iter().map(|(_, path)| *path).collect();
    let (compiled, fields) = Compiled::with_times(&plans, &paths)
        .map_err(|error| one(config, &["pipelines", name, "stages"], error.to_string()))?;
    let time_fields = times.iter().map(|(source, _)| source.to_string()).zip(fields).collect();
    let mut outputs = Vec::new();
    for sink in &pipeline.to {
        let (Some(driven), Some(wanted)) = (sinks.get(&**sink), config.sinks.get(&**sink)) else { continue };
        outputs.push(Output {
            buffer: driven.buffer.clone(),
            account: ledger.account(name, sink),
            route: driven.sink.route.clone(),
            best_effort: wanted.best_effort,
        });
    }
    let pipeline = Pipeline {
        name: (**name).into(),
        stages,
        compiled,
        outputs,
        dead_letters: Output {
            buffer: dead.buffer.clone(),
            account: weir_buffer::ledger::Account::new(name, "dead letters"),
            route: None,
            best_effort: false,
        },
        weight: u32::from(pipeline.weight),
    };
    Ok((pipeline, time_fields))
}

fn plugin_stage(name: &Name, plugin: &Arc<Plugin>) -> Stage {
    let on_fault = match plugin.on_error() {
        OnError::Pass => FaultPolicy::Handle(OnFault::Pass),
        OnError::Drop => FaultPolicy::Handle(OnFault::Drop),
        OnError::DeadLetter => FaultPolicy::Handle(OnFault::DeadLetter),
        OnError::Hold => FaultPolicy::Hold,
    };
    let instances = Arc::clone(plugin);
    Stage {
        name: (**name).into(),
        plan: plugin.plan().clone(),
        on_fault,
        make: Box::new(move || Box::new(instances.instance()) as Box<dyn Transform>),
    }
}

#[cfg(feature = "bench-native")]
fn bench_stage() -> Stage {
    use crate::bench_w1::BenchW1;
    Stage {
        name: "bench_w1".into(),
        plan: BenchW1::new().plan().clone(),
        on_fault: FaultPolicy::Handle(OnFault::Pass),
        make: Box::new(|| Box::new(BenchW1::new())),
    }
}

fn stage_name(stage: &weir_config::Stage) -> String {
    match stage {
        weir_config::Stage::Plugin(name) => name.to_string(),
        #[cfg(feature = "bench-native")]
        weir_config::Stage::BenchW1 => "bench_w1".to_owned(),
    }
}

fn view(name: &Name, pipeline: &weir_config::Pipeline) -> PipelineView {
    let names = |names: &[Name]| names.iter().map(Name::to_string).collect();
    let stages = pipeline.stages.iter().map(stage_name).collect();
    PipelineView {
        name: name.to_string(),
        sources: names(&pipeline.from),
        stages,
        sinks: names(&pipeline.to),
    }
}

// === sinks ===

fn driven(name: &str, sink: Built, buffer: Arc<MemoryTier>) -> Driven {
    Driven { name: name.to_owned(), sink, buffer, metrics: Arc::default() }
}

/// Dead letters of a pipeline lie in a file of mode 0600 in the data directory.
fn dead_letter_sink(config: &Config, pipeline: &Name, ledger: &Arc<Ledger>) -> Result<Driven, Errors> {
    let path = config.data_dir.join("dead-letters").join(format!("{pipeline}.ndjson"));
    let sink = weir_config::Sink {
        best_effort: false,
        buffer: None,
        kind: weir_config::SinkKind::File(weir_config::FileSink { path, rotate: None }),
    };
    let name = format!("{pipeline} dead letters");
    let sink = sinks::build(&name, &sink, &config.data_dir)
        .map_err(|error| one(config, &["data_dir"], format!("cannot keep dead letters: {error}")))?;
    Ok(driven(&name, sink, MemoryTier::new(DEAD_LETTER_BOUND, Arc::clone(ledger))))
}

// === sources ===

fn build_sources(
    config: &Config,
    workers: &Workers,
    time_fields: &[TimeFields],
    checkpoints: &Arc<Checkpoints>,
    mode: Mode,
    stop: &Stop,
) -> Result<Vec<Ready>, Errors> {
    let mut sources = Vec::new();
    for (name, source) in &config.sources {
        let mut to = Vec::new();
        for (index, pipeline) in config.pipelines.values().enumerate() {
            if pipeline.from.contains(name) {
                let parser = parser(config.parser(pipeline, source))
                    .map_err(|error| one(config, &["sources", name, "parse"], error))?;
                let time_field = time_fields.get(index).and_then(|fields| fields.get(&**name)).copied();
                to.push((index, Arc::new(Intake { parser, time_field })));
            }
        }
        // A source that leads nowhere is not read: nobody could say what became of its events.
        if to.is_empty() {
            continue;
        }
        let context = SourceContext {
            name: (**name).into(),
            cluster: config.cluster.as_str().into(),
            node: config.node.as_str().into(),
            mode,
            outlet: workers.outlet(name, to),
            arenas: ArenaPool::new(),
            checkpoints: Arc::clone(checkpoints),
            stop: stop.clone(),
            metrics: Arc::<SourceMetrics>::default(),
        };
        sources.push(Ready { source: build_source(config, name, source)?, context });
    }
    Ok(sources)
}

fn build_source(
    config: &Config,
    name: &Name,
    source: &weir_config::Source,
) -> Result<Box<dyn Source>, Errors> {
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

fn parser(parser: &weir_config::Parser) -> Result<Parser, String> {
    Ok(match parser {
        weir_config::Parser::Auto => Parser::Auto,
        weir_config::Parser::Json => Parser::Json,
        weir_config::Parser::Logfmt => Parser::Logfmt,
        weir_config::Parser::Klog => Parser::Klog,
        weir_config::Parser::None => Parser::None,
        weir_config::Parser::Regex(pattern) => {
            let parser = RegexParser::new(pattern.as_str()).map_err(|error| error.to_string())?;
            Parser::Regex(Box::new(parser))
        }
    })
}

fn one(config: &Config, path: &[&str], message: String) -> Errors {
    Errors(vec![config.error_at(path, message, None)])
}

/// Makes the data directory, for the agent alone.
pub fn create_data_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
