//! What each pipeline does, as plain data: the configuration together with what its plugins say they do.

use serde::Serialize;
use weir_config::{
    Bucket, Carries, Config, Durability, FileFormat, JournaldSource, Name, OnLimit, Order, Parser, ScrapeJob,
    Sink, SinkKind, Source, SourceKind, Stage, WhenFull,
};
use weir_event::transform::{Edit, Plan, ReasonClass};
use weir_host::{OnError, Plugin};

use crate::output::shown;
use crate::plugins::Plugins;

/// A pipeline.
#[derive(Debug, Serialize)]
pub struct PipelineView {
    pub name: String,
    /// Its share of the workers.
    pub weight: u8,
    pub durability: &'static str,
    pub sources: Vec<SourceView>,
    pub stages: Vec<StageView>,
    pub sinks: Vec<SinkView>,
}

/// Where events come from.
#[derive(Debug, Serialize)]
pub struct SourceView {
    pub name: String,
    pub r#type: &'static str,
    /// The folder, the patterns of files, or the address that is listened at.
    pub paths: Vec<String>,
    /// How lines that are not JSON objects become events; `null` for what gives samples.
    pub parse: Option<&'static str>,
}

/// A stage.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum StageView {
    /// A plugin in its place.
    Plugin(Box<PluginView>),
    /// One that is built in.
    Native {
        /// What it is called, in the ledger too.
        name: String,
        /// Its key in the configuration.
        r#type: &'static str,
        /// What it does, in a few words.
        what: String,
    },
}

/// A plugin in its place.
#[derive(Debug, Serialize)]
pub struct PluginView {
    pub name: String,
    /// The plugin's own name and version.
    pub plugin: String,
    pub version: String,
    /// SHA-256 of the artefact, in hexadecimal.
    pub digest: String,
    /// The fields that it sees; `*` is the whole event.
    pub reads: Vec<String>,
    /// The attributes of streams that it sees.
    pub attributes: Vec<String>,
    /// The fields that it may write, event by event.
    pub writes: Vec<String>,
    /// What it does to every event, without the values that it sets.
    pub edits: Vec<String>,
    pub drops: Vec<DropView>,
    /// What becomes of events on which it fails.
    pub on_error: &'static str,
    /// Of one instance; there is one for each worker.
    pub memory_bytes: u64,
    /// CPU time of one call.
    pub deadline_seconds: f64,
}

/// A reason for which a plugin drops events.
#[derive(Debug, Serialize)]
pub struct DropView {
    pub reason: String,
    /// `sampled` or `dropped`: how the ledger books it.
    pub booked: &'static str,
}

/// Where events go.
#[derive(Debug, Serialize)]
pub struct SinkView {
    pub name: String,
    pub r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    pub best_effort: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer: Option<BufferView>,
}

/// Where events wait for a sink.
#[derive(Debug, Serialize)]
pub struct BufferView {
    pub name: String,
    pub memory: String,
    pub disk: String,
    pub when_full: &'static str,
    pub order: &'static str,
    /// The bucket and where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_store: Option<String>,
}

/// All pipelines of a valid configuration.
pub fn pipelines(config: &Config, plugins: &Plugins) -> Vec<PipelineView> {
    let pipelines = config.pipelines.iter().map(|(name, pipeline)| {
        let sources = pipeline.from.iter().filter_map(|name| Some((name, config.sources.get(name)?)));
        let sources =
            sources.map(|(name, source)| source_view(name, source, config.parser(pipeline, source)));
        let made = pipeline.from_metrics.iter().map(|name| SourceView {
            name: format!("{name}.metrics"),
            r#type: "log_to_metric",
            paths: vec![format!("of pipeline {name}")],
            parse: None,
        });
        let stages = pipeline.stages.iter().filter_map(|stage| stage_view(stage, plugins));
        let sinks =
            pipeline.to.iter().filter_map(|name| Some(sink_view(name, config.sinks.get(name)?, config)));
        PipelineView {
            name: name.to_string(),
            weight: pipeline.weight,
            durability: match pipeline.durability {
                Durability::OnPressure => "on_pressure",
                Durability::Always => "always",
            },
            sources: sources.chain(made).collect(),
            stages: stages.collect(),
            sinks: sinks.collect(),
        }
    });
    pipelines.collect()
}

/// The plugin of a stage.
pub fn plugin_of<'a>(stage: &'a Stage, plugins: &'a Plugins) -> Option<(&'a Name, &'a Plugin)> {
    match stage {
        Stage::Plugin(name) => plugins.get(name).map(|loaded| (name, &*loaded.plugin)),
        _ => None,
    }
}

/// What a job scrapes, in a few words.
fn scraped(job: &ScrapeJob) -> String {
    let known: Vec<&str> =
        job.static_targets.iter().flat_map(|group| &group.targets).map(String::as_str).collect();
    let lists = job.file_discoveries.len() + job.http_discoveries.len();
    let targets = match (known.len(), lists) {
        (1..=3, 0) => known.join(", "),
        (_, 0) => format!("{} targets", known.len()),
        (0, _) => "targets that are discovered".to_owned(),
        (count, _) => format!("{count} targets, and others that are discovered"),
    };
    format!("{}: {targets}", job.name)
}

fn source_view(name: &Name, source: &Source, parser: &Parser) -> SourceView {
    let (r#type, paths) = match &source.kind {
        SourceKind::KubernetesLogs(logs) => ("kubernetes_logs", vec![shown(&logs.path)]),
        SourceKind::File(files) => {
            let r#type = match files.format {
                FileFormat::Cri => "file (cri)",
                FileFormat::Json => "file (json)",
                FileFormat::Text => "file (text)",
            };
            (r#type, files.include.iter().map(|glob| glob.as_str().to_owned()).collect())
        }
        SourceKind::Forward(forward) => ("forward", vec![forward.listening.listen.to_string()]),
        SourceKind::Journald(journal) => ("journald", journal_matches(journal)),
        SourceKind::Otlp(otlp) => ("otlp", vec![otlp.listening.listen.to_string()]),
        SourceKind::RemoteWrite(write) => ("remote_write", vec![write.listening.listen.to_string()]),
        SourceKind::Scrape(scrape) => ("scrape", scrape.jobs.iter().map(scraped).collect()),
    };
    let parse = (source.gives() == Carries::Events).then(|| parser_name(parser));
    SourceView { name: name.to_string(), r#type, paths, parse }
}

/// What is read of the journal, as matches that `journalctl` would show.
fn journal_matches(journal: &JournaldSource) -> Vec<String> {
    let units = journal.units.iter().map(|unit| format!("unit {unit}"));
    let identifiers = journal.identifiers.iter().map(|identifier| format!("identifier {identifier}"));
    let kernel = journal.kernel.then(|| "the kernel".to_owned());
    let matches: Vec<String> = units.chain(identifiers).chain(kernel).collect();
    if matches.is_empty() { vec!["everything".to_owned()] } else { matches }
}

fn parser_name(parser: &Parser) -> &'static str {
    match parser {
        Parser::Auto => "auto",
        Parser::Json => "json",
        Parser::Logfmt => "logfmt",
        Parser::Klog => "klog",
        Parser::None => "none",
        Parser::Regex(_) => "regex",
    }
}

fn stage_view(stage: &Stage, plugins: &Plugins) -> Option<StageView> {
    let many = |what: &str, count: usize| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let (r#type, what) = match stage {
        Stage::Plugin(_) => {
            let (name, plugin) = plugin_of(stage, plugins)?;
            return Some(StageView::Plugin(Box::new(plugin_view(name, plugin))));
        }
        Stage::LogToMetric(stage) => {
            let names: Vec<&str> = stage.metrics.iter().map(|metric| metric.name.as_str()).collect();
            ("log_to_metric", format!("makes {}", names.join(", ")))
        }
        Stage::Relabel(rules) => ("relabel", many("rule", rules.len())),
        Stage::DropMetrics(patterns) => ("drop_metrics", patterns.join(", ")),
        Stage::KeepMetrics(patterns) => ("keep_metrics", patterns.join(", ")),
        Stage::DropLabels(patterns) => ("drop_labels", patterns.join(", ")),
        Stage::Cardinality(guard) => {
            let then = match guard.on_limit {
                OnLimit::Report => "reported",
                OnLimit::Cut => "cut",
            };
            let by = guard.by.join(", ");
            ("cardinality", format!("{} series for each {by}; what is beyond is {then}", guard.limit))
        }
        #[cfg(feature = "bench-native")]
        Stage::BenchW1 => return None,
    };
    let name = match stage {
        Stage::Cardinality(guard) => guard.name.clone(),
        stage => stage.name().to_owned(),
    };
    Some(StageView::Native { name, r#type, what })
}

fn plugin_view(name: &Name, plugin: &Plugin) -> PluginView {
    let (manifest, plan) = (plugin.manifest(), plugin.plan());
    PluginView {
        name: name.to_string(),
        plugin: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: plugin.digest().to_owned(),
        reads: plan.reads.clone(),
        attributes: plan.attributes.clone(),
        writes: plan.writes.clone(),
        edits: plan.edits.iter().map(describe_edit).collect(),
        drops: drops(plan),
        on_error: match plugin.on_error() {
            OnError::Pass => "pass",
            OnError::Drop => "drop",
            OnError::DeadLetter => "dead_letter",
            OnError::Hold => "hold",
        },
        memory_bytes: plugin.memory_limit(),
        deadline_seconds: plugin.deadline().as_secs_f64(),
    }
}

/// Without the value that is set: it may come from a secret.
fn describe_edit(edit: &Edit) -> String {
    match edit {
        Edit::Remove(path) => format!("remove {path}"),
        Edit::Set(path, _) => format!("set {path}"),
        Edit::Rename(from, to) => format!("rename {from} to {to}"),
        Edit::KeepOnly(paths) => format!("keep only {}", paths.join(", ")),
    }
}

fn drops(plan: &Plan) -> Vec<DropView> {
    let drop = |reason: &weir_event::transform::Reason| DropView {
        reason: reason.name.clone(),
        booked: match reason.class {
            ReasonClass::Sampled => "sampled",
            ReasonClass::Dropped => "dropped",
        },
    };
    plan.reasons.iter().map(drop).collect()
}

fn sink_view(name: &Name, sink: &Sink, config: &Config) -> SinkView {
    let (r#type, path) = match &sink.kind {
        SinkKind::File(file) => ("file", Some(shown(&file.path))),
        SinkKind::Console => ("console", None),
        SinkKind::Blackhole => ("blackhole", None),
        SinkKind::RemoteWrite(sink) => ("remote_write", Some(sink.url.clone())),
        SinkKind::OpenSearch(sink) => ("opensearch", Some(sink.endpoints.join(", "))),
        SinkKind::S3(sink) => {
            let prefix = sink.prefix_in(&config.cluster);
            ("s3", Some(format!("{prefix}/{} in {}", config.cluster, bucket(&sink.bucket))))
        }
    };
    let buffer = sink.buffer.as_ref().and_then(|name| Some((name, config.buffers.get(name)?)));
    let buffer = buffer.map(|(name, buffer)| BufferView {
        name: name.to_string(),
        memory: buffer.memory.to_string(),
        disk: buffer.disk.to_string(),
        when_full: match buffer.when_full {
            WhenFull::Block => "block",
            WhenFull::DropOldest => "drop_oldest",
        },
        order: match buffer.order {
            Order::OldestFirst => "oldest_first",
            Order::NewestFirst => "newest_first",
        },
        object_store: buffer.object_store.as_ref().map(|store| bucket(&store.bucket)),
    });
    SinkView { name: name.to_string(), r#type, path, best_effort: sink.best_effort, buffer }
}

fn bucket(bucket: &Bucket) -> String {
    format!("{} at {}", bucket.name, bucket.endpoint)
}

// === impl StageView ===

impl StageView {
    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            StageView::Plugin(plugin) => &plugin.name,
            StageView::Native { name, .. } => name,
        }
    }
}
