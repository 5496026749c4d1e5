//! Stages of pipelines of samples, and those that make samples of events, checked.

use std::time::Duration;

/// A rule of relabelling, as the engine takes it. What an action does not take has its default.
pub use weir_samples::relabel::{Action as RelabelAction, Rule as RelabelRule};

/// Watches how many series there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cardinality {
    /// What it is called in metrics. No two guards of a pipeline have the same.
    pub name: String,
    /// Labels whose values together make a group; at least one, none twice.
    pub by: Vec<String>,
    /// Series that a group may have; at least 1.
    pub limit: u32,
    /// What becomes of series beyond that.
    pub on_limit: OnLimit,
    /// A series of which nothing came for so long does not count any more.
    pub window: Duration,
}

/// What becomes of series beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// They are reported.
    Report,
    /// They are reported, and their samples are dropped and counted.
    Cut,
}

/// Makes metrics of events.
#[derive(Clone, Debug, PartialEq)]
pub struct LogToMetric {
    /// How often samples are made.
    pub interval: Duration,
    /// Series of the stage; at least 1.
    pub max_series: u32,
    /// What is counted; at least one. No name is there twice in a pipeline.
    pub metrics: Vec<LogMetric>,
}

/// A metric made of events.
#[derive(Clone, Debug, PartialEq)]
pub struct LogMetric {
    /// Its name.
    pub name: String,
    /// What it says; empty where nobody said.
    pub help: String,
    /// Labels from fields, in the order of their names: the label's name and the field's path. No name is also an
    /// attribute's.
    pub labels: Vec<(String, String)>,
    /// Labels from attributes of the stream; none twice.
    pub attributes: Vec<StreamAttribute>,
    /// What is counted.
    pub kind: LogMetricKind,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum LogMetricKind {
    /// Events.
    Counter,
    /// Events by the value of a field.
    Histogram {
        /// The field's path.
        field: String,
        /// Upper bounds, ascending and finite, without `+Inf`; 1 to 64.
        buckets: Vec<f64>,
    },
}

/// An attribute of a stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamAttribute {
    /// The source's name.
    Source,
    /// Kubernetes namespace.
    Namespace,
    /// Pod name.
    Pod,
    /// Container name.
    Container,
    /// Pod uid.
    Uid,
    /// `stdout` or `stderr`.
    Stream,
    /// The file's path.
    Path,
    /// What the sender calls it.
    Tag,
}

// === impl StreamAttribute ===

impl StreamAttribute {
    /// Its name, which is also that of the label.
    pub fn name(self) -> &'static str {
        match self {
            StreamAttribute::Source => "source",
            StreamAttribute::Namespace => "namespace",
            StreamAttribute::Pod => "pod",
            StreamAttribute::Container => "container",
            StreamAttribute::Uid => "uid",
            StreamAttribute::Stream => "stream",
            StreamAttribute::Path => "path",
            StreamAttribute::Tag => "tag",
        }
    }
}
