//! Stages on disk that work on samples, or make them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use crate::types::{FieldPath, LabelName, MetricLabel, MetricName, Name, PlainText, PrometheusDuration};

/// Watches how many series there are in each group of them, such as those of one target or one namespace.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cardinality {
    /// What it is called in metrics and alerts; no two of a pipeline have the same. Default: the names in `by`, with
    /// commas between them.
    pub name: Option<Text<Name>>,
    /// Labels whose values together make a group.
    #[schemars(length(min = 1), extend("default" = ["job", "instance"]))]
    pub by: Option<Vec<Text<LabelName>>>,
    /// Series that a group may have.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 10000))]
    pub limit: Option<u32>,
    /// What becomes of series beyond that.
    #[schemars(extend("default" = "report"))]
    pub on_limit: Option<OnLimit>,
    /// A series of which nothing came for so long does not count any more; from 1m to 7d.
    #[schemars(extend("default" = "1h"))]
    pub window: Option<Text<PrometheusDuration>>,
}

/// What becomes of series beyond a limit.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnLimit {
    /// They are counted, and go on.
    Report,
    /// They are counted, and their samples are dropped.
    Cut,
}

/// Makes metrics of the events that come to this stage; all of them go on. Counters live as long as the agent's `data_dir`.
/// A pipeline of samples takes them by `from: [PIPELINE.metrics]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogToMetric {
    /// How often samples are made; from 1s to 1h.
    #[schemars(extend("default" = "15s"))]
    pub interval: Option<Text<PrometheusDuration>>,
    /// Series of all metrics of the stage together, a histogram being one.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 2000))]
    pub max_series: Option<u32>,
    /// The metrics.
    #[schemars(length(min = 1))]
    pub metrics: Vec<LogMetric>,
}

/// A metric that is made of events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum LogMetric {
    Counter(LogCounter),
    Histogram(LogHistogram),
}

/// Counts events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogCounter {
    /// The metric's name, which should end in `_total`; no two metrics of a pipeline have the same.
    pub name: Text<MetricName>,
    /// What it says.
    pub help: Option<Text<PlainText>>,
    /// Labels whose values are those of fields: the label's name, and the field's path.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub labels: BTreeMap<Text<MetricLabel>, Text<FieldPath>>,
    /// Labels whose values say where an event comes from; they are called the same.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub attributes: Vec<StreamAttribute>,
}

/// Counts events by the value of a field: a classic histogram.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogHistogram {
    /// The metric's name, without `_bucket`, `_sum` or `_count`; no two metrics of a pipeline have the same.
    pub name: Text<MetricName>,
    /// The field's path. Events in which it is no number are not counted.
    pub field: Text<FieldPath>,
    /// Upper bounds of the buckets, ascending, without infinity; 64 at the most.
    #[schemars(length(min = 1))]
    pub buckets: Vec<f64>,
    /// What it says.
    pub help: Option<Text<PlainText>>,
    /// Labels whose values are those of fields: the label's name, and the field's path.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub labels: BTreeMap<Text<MetricLabel>, Text<FieldPath>>,
    /// Labels whose values say where an event comes from; they are called the same.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub attributes: Vec<StreamAttribute>,
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StreamAttribute {
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
    /// `stdout` or `stderr`, for container logs.
    Stream,
    /// The file's path, for the source `file`.
    Path,
    /// What the sender calls it, for the source `forward`.
    Tag,
}
