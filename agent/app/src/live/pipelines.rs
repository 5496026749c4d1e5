//! The pipelines: what each is made of, and which are the same in two generations.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_buffer::ledger::Ledger;
use weir_buffer::segment::Route as Places;
use weir_config::{Carries, Config, Durability, Errors, Name};
use weir_event::edit::Compiled;
use weir_event::parse::{Parser, RegexParser};
use weir_event::sheet::OnFault;
use weir_event::tally::Metrics;
use weir_event::transform::Transform;
use weir_host::{OnError, Plugin};
use weir_pipeline::Intake;
use weir_pipeline::pipeline::{FaultPolicy, Output, Pipeline, Purpose, Stage};
use weir_pipeline::samples::SampleStep;
use weir_pipeline::shadow::Slot;
use weir_pipeline::workers::Route;

use super::sinks::{self, Face, dead_letters_of};
use super::{ByName, Difference, Trial, one};
use crate::plugins::Plugins;
use crate::state::{GuardView, PipelineView};

mod steps;

pub use steps::Counting;

/// The pipelines of a generation.
#[derive(Default)]
pub struct Pipelines {
    running: ByName<Running>,
}

#[derive(Clone)]
struct Running {
    spec: Spec,
    pipeline: Arc<Pipeline>,
    /// By source, how its events are taken up.
    intakes: BTreeMap<Name, Arc<Intake>>,
    /// What its stages count in events.
    counting: Vec<Counting>,
    /// What its steps watch.
    guards: Vec<GuardView>,
}

/// Everything that a pipeline is made of.
#[derive(Clone)]
struct Spec {
    pipeline: weir_config::Pipeline,
    plugins: Vec<(Arc<Plugin>, Arc<Slot>)>,
    /// Of each source what the pipeline has to do with.
    sources: Vec<(Name, weir_config::Parser, Option<String>)>,
    outputs: Vec<Way>,
}

/// To a sink.
#[derive(Clone)]
struct Way {
    face: Face,
    best_effort: bool,
}

/// By name, a pipeline and how it takes up the events of each of its sources.
pub type Explainable = BTreeMap<String, (Arc<Pipeline>, BTreeMap<Name, Arc<Intake>>)>;

/// The pipelines of the next generation.
pub struct Prepared {
    pipelines: ByName<Running>,
    difference: Difference,
}

// === impl Pipelines ===

impl Pipelines {
    /// The pipelines that run, with what they take up from each source.
    pub fn explainable(&self) -> Explainable {
        let of = |running: &Running| (Arc::clone(&running.pipeline), running.intakes.clone());
        self.running.iter().map(|(name, running)| (name.clone(), of(running))).collect()
    }

    /// What stages watch in samples.
    pub fn guards(&self) -> Vec<GuardView> {
        self.running.values().flat_map(|running| running.guards.iter().cloned()).collect()
    }

    /// What tells a pipeline from another of its name.
    #[cfg(test)]
    pub fn pipeline(&self, name: &str) -> Option<Arc<Pipeline>> {
        Some(Arc::clone(&self.running.get(name)?.pipeline))
    }

    /// Makes what is new or changed, and tries it out.
    pub fn prepare(
        &self,
        config: &Config,
        plugins: &Plugins,
        sinks: &sinks::Prepared,
        ledger: &Ledger,
        trial: Trial,
    ) -> Result<Prepared, Errors> {
        let specs: BTreeMap<&Name, Spec> = config
            .pipelines
            .keys()
            .filter_map(|name| Some((name, Spec::of(config, plugins, sinks, name)?)))
            .collect();
        let by_name: ByName<&Spec> = specs.iter().map(|(name, spec)| (name.to_string(), spec)).collect();
        let difference =
            Difference::between(&self.running, &by_name, |running, spec| running.spec.is_same(spec));
        let mut pipelines = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, spec) in specs {
            let kept = self.running.get(&**name).filter(|_| difference.kept.contains(&**name));
            if let Some(kept) = kept {
                pipelines.insert(name.to_string(), kept.clone());
                continue;
            }
            let Some(dead_letters) = sinks.face(&dead_letters_of(name)) else { continue };
            let built = build(config, name, spec, dead_letters, ledger)?;
            if trial == Trial::Yes {
                if let Err(stage) = built.pipeline.try_out() {
                    errors.push(unfit(config, &stage, &built.spec.plugins));
                }
                built.spec.plugins.iter().for_each(|(plugin, _)| plugin.rest());
            }
            pipelines.insert(name.to_string(), built);
        }
        if errors.is_empty() { Ok(Prepared { pipelines, difference }) } else { Err(Errors(errors)) }
    }
}

/// A plugin that cannot handle ordinary events.
fn unfit(config: &Config, stage: &str, plugins: &[(Arc<Plugin>, Arc<Slot>)]) -> weir_config::Error {
    let plugin = plugins.iter().map(|(plugin, _)| plugin).find(|plugin| plugin.name() == stage);
    let fault = plugin.and_then(|plugin| plugin.last_fault());
    let why = fault.map(|fault| format!(": {}: {}", fault.cause.name(), fault.detail)).unwrap_or_default();
    let message = format!("fails on the ordinary events that it was tried out with{why}");
    config.error_at(&["plugins", stage], message, None)
}

// === impl Prepared ===

impl Prepared {
    pub fn difference(&self) -> Difference {
        self.difference.clone()
    }

    pub fn all(&self) -> Vec<Arc<Pipeline>> {
        self.pipelines.values().map(|running| Arc::clone(&running.pipeline)).collect()
    }

    /// By source, where its batches go.
    pub fn routes(&self) -> BTreeMap<Arc<str>, Vec<Route>> {
        let mut routes: BTreeMap<Arc<str>, Vec<Route>> = BTreeMap::new();
        for Running { pipeline, intakes, spec, .. } in self.pipelines.values() {
            for (source, intake) in intakes {
                let route = Route { pipeline: Arc::clone(pipeline), intake: Arc::clone(intake) };
                routes.entry((**source).into()).or_default().push(route);
            }
            for counted in &spec.pipeline.from_metrics {
                let route = Route { pipeline: Arc::clone(pipeline), intake: Arc::default() };
                routes.entry(metrics_of(counted).into()).or_default().push(route);
            }
        }
        routes
    }

    /// What the stages of a pipeline count.
    pub fn counting(&self, name: &str) -> Vec<Counting> {
        self.pipelines.get(name).map(|running| running.counting.clone()).unwrap_or_default()
    }

    /// What the stages of all pipelines count.
    pub fn all_counting(&self) -> Vec<Arc<Metrics>> {
        let all = self.pipelines.values().flat_map(|running| &running.counting);
        all.map(|(metrics, _)| Arc::clone(metrics)).collect()
    }

    pub fn into_running(self) -> Pipelines {
        Pipelines { running: self.pipelines }
    }
}

// === impl Spec ===

impl Spec {
    fn of(config: &Config, plugins: &Plugins, sinks: &sinks::Prepared, name: &Name) -> Option<Spec> {
        let pipeline = config.pipelines.get(name)?;
        let plugin = |stage: &weir_config::Stage| match stage {
            weir_config::Stage::Plugin(plugin) => {
                let loaded = plugins.get(plugin)?;
                Some((Arc::clone(&loaded.plugin), Arc::clone(&loaded.slot)))
            }
            _ => None,
        };
        let source = |source: &Name| {
            let of = config.sources.get(source)?;
            Some((source.clone(), config.parser(pipeline, of).clone(), of.time_field.clone()))
        };
        let way = |sink: &Name| {
            Some(Way { face: sinks.face(sink)?, best_effort: config.sinks.get(sink)?.best_effort })
        };
        Some(Spec {
            pipeline: pipeline.clone(),
            plugins: pipeline.stages.iter().filter_map(plugin).collect(),
            sources: pipeline.from.iter().filter_map(source).collect(),
            outputs: pipeline.to.iter().filter_map(way).collect(),
        })
    }

    fn is_same(&self, other: &Spec) -> bool {
        let same_plugins = self.plugins.len() == other.plugins.len()
            && self.plugins.iter().zip(&other.plugins).all(|((one, _), (other, _))| Arc::ptr_eq(one, other));
        let same_outputs = self.outputs.len() == other.outputs.len()
            && self.outputs.iter().zip(&other.outputs).all(|(one, other)| one.is_same(other));
        self.pipeline == other.pipeline && self.sources == other.sources && same_plugins && same_outputs
    }
}

// === impl Way ===

impl Way {
    fn is_same(&self, other: &Way) -> bool {
        let places = |way: &Way| way.face.route.as_ref().map(|route| Arc::as_ptr(route).cast::<()>());
        Arc::ptr_eq(&self.face.buffer, &other.face.buffer)
            && places(self) == places(other)
            && self.best_effort == other.best_effort
    }
}

// === making them ===

fn build(
    config: &Config,
    name: &Name,
    spec: Spec,
    dead_letters: Face,
    ledger: &Ledger,
) -> Result<Running, Errors> {
    let mut plugins = spec.plugins.iter();
    let (mut stages, mut counting) = (Vec::new(), Vec::new());
    for stage in &spec.pipeline.stages {
        match stage {
            weir_config::Stage::Plugin(name) => {
                stages.extend(plugins.next().map(|(plugin, slot)| plugin_stage(name, plugin, slot)));
            }
            weir_config::Stage::LogToMetric(settings) => {
                let counted = steps::counting(name, settings);
                stages.push(steps::counting_stage(stage.name(), &counted.0));
                counting.push(counted);
            }
            #[cfg(feature = "bench-native")]
            weir_config::Stage::BenchW1 => stages.push(bench_stage()),
            // Those of samples are made below.
            _ => {}
        }
    }
    let (samples, guards) = samples(config, name, &spec.pipeline)?;
    let plans: Vec<_> = stages.iter().map(|stage| &stage.plan).collect();
    let times: Vec<_> =
        spec.sources.iter().filter_map(|(source, _, path)| Some((source, path.as_deref()?))).collect();
    let paths: Vec<_> = times.iter().map(|(_, path)| *path).collect();
    let (compiled, fields) = Compiled::with_times(&plans, &paths)
        .map_err(|error| one(config, &["pipelines", name, "stages"], error.to_string()))?;
    let time_fields: BTreeMap<&Name, u16> = times.iter().map(|(source, _)| *source).zip(fields).collect();
    let mut intakes = BTreeMap::new();
    for (source, wanted, _) in &spec.sources {
        let parser = parser(wanted).map_err(|error| one(config, &["sources", source, "parse"], error))?;
        let time_field = time_fields.get(source).copied();
        intakes.insert(source.clone(), Arc::new(Intake { parser, time_field }));
    }
    let outputs = spec.pipeline.to.iter().zip(&spec.outputs).map(|(sink, way)| Output {
        buffer: Arc::clone(&way.face.buffer),
        account: ledger.account(name, sink),
        route: way.face.route.clone() as Option<Arc<dyn Places>>,
        best_effort: way.best_effort,
        is_urgent: spec.pipeline.durability == Durability::Always,
    });
    let pipeline = Pipeline {
        name: (**name).into(),
        outputs: outputs.collect(),
        stages,
        compiled,
        samples,
        dead_letters: Output {
            buffer: dead_letters.buffer,
            account: weir_buffer::ledger::Account::new(name, "dead letters"),
            route: None,
            best_effort: false,
            is_urgent: false,
        },
        weight: u32::from(spec.pipeline.weight),
    };
    Ok(Running { spec, pipeline: Arc::new(pipeline), intakes, counting, guards })
}

/// The steps of a pipeline of samples, and what they watch; none for one of events.
fn samples(
    config: &Config,
    name: &Name,
    pipeline: &weir_config::Pipeline,
) -> Result<(Option<Vec<SampleStep>>, Vec<GuardView>), Errors> {
    if config.carries(pipeline) == Carries::Events {
        return Ok((None, Vec::new()));
    }
    let (mut made, mut guards) = (Vec::new(), Vec::new());
    for stage in &pipeline.stages {
        let Some(step) = steps::step(stage) else { continue };
        let step = step.map_err(|error| one(config, &["pipelines", name, "stages"], error))?;
        if let (Some(guard), weir_config::Stage::Cardinality(settings)) = (step.guard, stage) {
            let (pipeline, limit) = (name.to_string(), u64::from(settings.limit));
            guards.push(GuardView { pipeline, name: settings.name.clone(), limit, guard });
        }
        made.push(step.step);
    }
    Ok((Some(made), guards))
}

/// The name of the source that a pipeline's metrics come from. No source in a configuration can have it.
pub fn metrics_of(pipeline: &str) -> String {
    format!("{pipeline}.metrics")
}

fn plugin_stage(name: &Name, plugin: &Arc<Plugin>, slot: &Arc<Slot>) -> Stage {
    let on_fault = match plugin.on_error() {
        OnError::Pass => FaultPolicy::Handle(OnFault::Pass),
        OnError::Drop => FaultPolicy::Handle(OnFault::Drop),
        OnError::DeadLetter => FaultPolicy::Handle(OnFault::DeadLetter),
        OnError::Hold => FaultPolicy::Hold,
    };
    let (instances, asked) = (Arc::clone(plugin), Arc::clone(plugin));
    Stage {
        name: (**name).into(),
        plan: plugin.plan().clone(),
        on_fault,
        make: Box::new(move |purpose| {
            let instance = match purpose {
                Purpose::Work => instances.instance(),
                Purpose::Trial => instances.instance_on_trial(),
            };
            Box::new(instance) as Box<dyn Transform>
        }),
        is_unwell: Box::new(move || asked.is_unwell()),
        shadow: Arc::clone(slot),
    }
}

#[cfg(feature = "bench-native")]
fn bench_stage() -> Stage {
    use crate::bench_w1::BenchW1;
    Stage {
        name: "bench_w1".into(),
        plan: BenchW1::new().plan().clone(),
        on_fault: FaultPolicy::Handle(OnFault::Pass),
        make: Box::new(|_| Box::new(BenchW1::new())),
        is_unwell: Box::new(|| false),
        shadow: Arc::default(),
    }
}

/// How a pipeline hangs together.
pub fn view(name: &Name, pipeline: &weir_config::Pipeline) -> PipelineView {
    let names = |names: &[Name]| names.iter().map(Name::to_string).collect::<Vec<_>>();
    let stages = pipeline.stages.iter().map(stage_name).collect();
    let metrics = pipeline.from_metrics.iter().map(|name| metrics_of(name));
    PipelineView {
        name: name.to_string(),
        sources: names(&pipeline.from).into_iter().chain(metrics).collect(),
        stages,
        sinks: names(&pipeline.to),
    }
}

/// As the ledger and taps name it.
fn stage_name(stage: &weir_config::Stage) -> String {
    match stage {
        weir_config::Stage::Cardinality(guard) => guard.name.clone(),
        stage => stage.name().to_owned(),
    }
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
