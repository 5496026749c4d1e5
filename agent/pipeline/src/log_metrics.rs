//! Metrics of logs: the stage `log_to_metric` counts events where it stands in a pipeline, and the pipeline is a source of
//! samples, `PIPELINE.metrics`.
//!
//! The way of a count, and why it is exact through crashes:
//!
//! 1. The stage ([`weir_event::tally::TallyStage`]) counts the events of a batch that have come so far, and changes
//!    nothing of them. What it counted leaves it with the batch's other results. A batch that is held, given up, or met
//!    a fault takes its counts with it, and brings others when it is tried or read again.
//! 2. A worker notes the counts with the batch's ack ([`weir_buffer::ack::Ack::count`]). They come into the checkpoints'
//!    state in the step in which the position moves over the batch, and in no other: a batch that is not safe is read
//!    again at the next start, and was not counted; one that is safe is never read again, and was. A share that nobody
//!    waits for has no part in that. Of a batch that was pushed and got lost nothing is counted: its sender has heard
//!    nothing, and it is counted when it is sent again.
//! 3. The source shows what the checkpoint *on disk* says, not what the next will say. A restart, also after a kill at any
//!    moment, begins with that file or a newer one, whose totals are the same or higher. So what is shown never falls,
//!    and never counts what will be read again. Two things let it begin anew: a metric whose labels or buckets are
//!    changed, which is another one then, and a checkpoint that was damaged on the disk, in whose place the one before
//!    it is used, together with its positions: the totals are those of what was read up to there.
//! 4. Counts are integers and exact. The sum of a histogram is a float: workers add in any order, so its last digits may
//!    differ from those of another order; a restart changes nothing of them.
//! 5. Only work counts: trials, `weir explain` and shadows never ask a stage for its counts, taps only look.
//!
//! A batch is safe when the sinks of all pipelines of its source have it, so what a pipeline counts may be shown later
//! because of another pipeline that waits, never wrongly.

mod exposition;
mod float;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use source::LogMetrics;
use weir_event::tally::{LabelSource, Measure, Metric, Metrics};

/// How often metrics are sent where the configuration says nothing.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(15);
/// How many series a stage may have where the configuration says nothing.
pub const DEFAULT_MAX_SERIES: usize = 2_000;

/// Settings of one stage. Names are checked where the configuration is.
#[derive(Clone, Debug, PartialEq)]
pub struct LogToMetric {
    /// How often its metrics are sent.
    pub interval: Duration,
    /// How many series all its metrics may have together. What comes beyond is counted in one series for each metric,
    /// which has only the label `overflow="true"`.
    pub max_series: usize,
    /// What it counts.
    pub metrics: Vec<LogMetric>,
}

/// Settings of one metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogMetric {
    /// Its name.
    pub name: String,
    /// What it says, for people.
    pub help: String,
    /// What it is.
    pub kind: LogMetricKind,
    /// Names of labels, and the fields of the event whose values they have.
    pub labels: Vec<(String, String)>,
    /// Attributes of the stream, each a label of the same name.
    pub attributes: Vec<String>,
}

/// What a metric of logs is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LogMetricKind {
    /// Counts events.
    #[default]
    Counter,
    /// A classic histogram of a field's numbers.
    Histogram {
        /// The field.
        field: String,
        /// Upper bounds.
        buckets: Vec<f64>,
    },
}

// === impl LogToMetric ===

impl LogToMetric {
    /// What the stage counts in a pipeline; made once for each configuration and shared by the stage's instances
    /// ([`weir_event::tally::TallyStage::new`]), the source and [`crate::checkpoint::Checkpoints::keep_counters`].
    pub fn metrics(&self, pipeline: &str) -> Arc<Metrics> {
        Metrics::new(pipeline, self.max_series, self.metrics.iter().map(LogMetric::metric).collect())
    }
}

impl Default for LogToMetric {
    fn default() -> LogToMetric {
        LogToMetric { interval: DEFAULT_INTERVAL, max_series: DEFAULT_MAX_SERIES, metrics: Vec::new() }
    }
}

// === impl LogMetric ===

impl LogMetric {
    fn metric(&self) -> Metric {
        let measure = match &self.kind {
            LogMetricKind::Counter => Measure::Events,
            LogMetricKind::Histogram { field, buckets } => {
                Measure::Field { path: field.clone(), bounds: buckets.clone() }
            }
        };
        let fields = self.labels.iter().map(|(name, path)| (name.clone(), LabelSource::Field(path.clone())));
        let attributes =
            self.attributes.iter().map(|name| (name.clone(), LabelSource::Attribute(name.clone())));
        Metric::new(&self.name, &self.help, measure, fields.chain(attributes).collect())
    }
}
