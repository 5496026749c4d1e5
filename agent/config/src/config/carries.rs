//! What flows through pipelines: events or samples.

use super::{Config, Pipeline, SinkKind, Source, SourceKind, Stage};

/// What a pipeline carries. All of its sources, stages and sinks are for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Log events.
    Events,
    /// Samples of metrics.
    Samples,
}

impl Config {
    /// What a pipeline of this configuration carries.
    pub fn carries(&self, pipeline: &Pipeline) -> Carries {
        let source = pipeline.from.iter().find_map(|name| self.sources.get(name));
        match source {
            Some(source) => source.gives(),
            None if pipeline.from_metrics.is_empty() => Carries::Events,
            None => Carries::Samples,
        }
    }
}

impl Source {
    /// What comes from it.
    pub fn gives(&self) -> Carries {
        match &self.kind {
            SourceKind::KubernetesLogs(_)
            | SourceKind::File(_)
            | SourceKind::Forward(_)
            | SourceKind::Otlp(_)
            | SourceKind::Journald(_) => Carries::Events,
            SourceKind::Scrape(_) | SourceKind::RemoteWrite(_) => Carries::Samples,
        }
    }
}

impl Stage {
    /// What it works on.
    pub fn works_on(&self) -> Carries {
        match self {
            Stage::Plugin(_) | Stage::LogToMetric(_) => Carries::Events,
            Stage::Relabel(_)
            | Stage::DropMetrics(_)
            | Stage::KeepMetrics(_)
            | Stage::DropLabels(_)
            | Stage::Cardinality(_) => Carries::Samples,
            #[cfg(feature = "bench-native")]
            Stage::BenchW1 => Carries::Events,
        }
    }
}

impl SinkKind {
    /// Whether it takes these.
    pub fn takes(&self, what: Carries) -> bool {
        match self {
            SinkKind::File(_) | SinkKind::Console | SinkKind::Blackhole => true,
            SinkKind::OpenSearch(_) | SinkKind::S3(_) => what == Carries::Events,
            SinkKind::RemoteWrite(_) => what == Carries::Samples,
        }
    }
}

impl SourceKind {
    /// What stands under `type`.
    pub fn name(&self) -> &'static str {
        match self {
            SourceKind::KubernetesLogs(_) => "kubernetes_logs",
            SourceKind::File(_) => "file",
            SourceKind::Forward(_) => "forward",
            SourceKind::Otlp(_) => "otlp",
            SourceKind::Journald(_) => "journald",
            SourceKind::Scrape(_) => "scrape",
            SourceKind::RemoteWrite(_) => "remote_write",
        }
    }
}

impl Stage {
    /// What it is called where it is written: its key, or the plugin's name.
    pub fn name(&self) -> &str {
        match self {
            Stage::Plugin(name) => name,
            Stage::LogToMetric(_) => "log_to_metric",
            Stage::Relabel(_) => "relabel",
            Stage::DropMetrics(_) => "drop_metrics",
            Stage::KeepMetrics(_) => "keep_metrics",
            Stage::DropLabels(_) => "drop_labels",
            Stage::Cardinality(_) => "cardinality",
            #[cfg(feature = "bench-native")]
            Stage::BenchW1 => "bench_w1",
        }
    }
}

impl SinkKind {
    /// What stands under `type`.
    pub fn name(&self) -> &'static str {
        match self {
            SinkKind::File(_) => "file",
            SinkKind::Console => "console",
            SinkKind::Blackhole => "blackhole",
            SinkKind::OpenSearch(_) => "opensearch",
            SinkKind::S3(_) => "s3",
            SinkKind::RemoteWrite(_) => "remote_write",
        }
    }
}

impl Pipeline {
    /// Whether it makes metrics of its events, so that others can take them as `NAME.metrics`.
    pub fn makes_metrics(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::LogToMetric(_)))
    }
}
