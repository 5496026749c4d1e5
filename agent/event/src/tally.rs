//! Tallies: what a stage counts in the events of a batch, to make metrics of.
//!
//! 1. A tally is the difference that one batch makes. It travels with the batch and becomes durable with it, or never.
//! 2. A series is told by the metric's [`Metric::key`] and the values of its labels, in the order of the labels' names.
//! 3. Counting changes nothing of an event and drops none.
//! 4. How many series a stage may have is decided where its counts are durable, in one place ([`Metrics::close`]): what
//!    workers hold in memory follows.

mod stage;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

pub use stage::TallyStage;

/// Values of labels are cut at this many bytes, at the end of a character.
pub const MAX_VALUE_BYTES: usize = 256;

/// The values of a series' labels, in the order of the labels' names; an empty one is a label that the series has not.
pub type LabelValues = Arc<[String]>;

/// What one stage of one pipeline counts.
#[derive(Debug)]
pub struct Metrics {
    pipeline: Arc<str>,
    max_series: usize,
    metrics: Vec<Metric>,
    /// By metric, all series that there will ever be, once there is no room for another.
    closed: OnceLock<Vec<Vec<LabelValues>>>,
}

/// One metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    name: String,
    help: String,
    measure: Measure,
    /// Sorted by name.
    labels: Vec<(String, LabelSource)>,
    key: String,
}

/// What a metric says of events.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// How many there are.
    Events,
    /// How the numbers of a field are spread.
    Field {
        /// Its dotted path.
        path: String,
        /// Upper bounds of the buckets, ascending; what is beyond the last has a bucket of its own.
        bounds: Vec<f64>,
    },
}

/// Where the value of a label comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelSource {
    /// A field of the event, by its dotted path.
    Field(String),
    /// An attribute of the stream, one of [`crate::stream::ATTRIBUTE_NAMES`].
    Attribute(String),
}

/// What was counted of a series: in a batch, or in all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Total {
    /// So many events.
    Events(u64),
    /// So many numbers in each bucket.
    Numbers {
        /// Each bucket alone, that of what is beyond the last bound at the end.
        buckets: Box<[u64]>,
        /// All numbers together. Adding floats in another order may give another last digit, and workers add in any
        /// order: the counts are exact, this is exact up to rounding.
        sum: f64,
    },
}

/// What a stage counted in the events of one batch.
#[derive(Clone, Debug)]
pub struct Tally {
    /// What it counts.
    pub of: Arc<Metrics>,
    /// Each series at most once.
    pub counted: Vec<Counted>,
    /// By metric, how many events have no number where one should be observed.
    pub skipped: Vec<u64>,
}

/// What was counted of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Which of [`Metrics::metrics`].
    pub metric: usize,
    /// Which of its series; `None` for all those together that there is no room for.
    pub labels: Option<LabelValues>,
    /// What is new.
    pub total: Total,
}

// === impl Metrics ===

impl Metrics {
    /// What a stage of this pipeline counts, with at most `max_series` series in all.
    pub fn new(pipeline: &str, max_series: usize, metrics: Vec<Metric>) -> Arc<Metrics> {
        Arc::new(Metrics { pipeline: pipeline.into(), max_series, metrics, closed: OnceLock::new() })
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// How many series there may be, beside one for each metric that has all others.
    pub fn max_series(&self) -> usize {
        self.max_series
    }

    /// The metrics, in the order of the configuration.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Says that there is no room for another series: by metric those that there are. From then on workers count any
    /// other as one of those without room, and need no memory for it.
    pub fn close(&self, series: impl FnOnce() -> Vec<Vec<LabelValues>>) {
        self.closed.get_or_init(series);
    }

    fn closed(&self) -> Option<&[Vec<LabelValues>]> {
        self.closed.get().map(Vec::as_slice)
    }
}

// === impl Metric ===

impl Metric {
    /// A metric. Bounds may come in any order; infinite ones and doubles are left out.
    pub fn new(name: &str, help: &str, measure: Measure, labels: Vec<(String, LabelSource)>) -> Metric {
        let mut metric =
            Metric { name: name.to_owned(), help: help.to_owned(), measure, labels, key: String::new() };
        if let Measure::Field { bounds, .. } = &mut metric.measure {
            bounds.retain(|bound| bound.is_finite());
            bounds.sort_by(f64::total_cmp);
            bounds.dedup();
        }
        metric.labels.sort_by(|(one, _), (other, _)| one.cmp(other));
        metric.key = metric.make_key();
        metric
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says, for people.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// What it says of events.
    pub fn measure(&self) -> &Measure {
        &self.measure
    }

    /// The names of its labels, sorted, and where their values come from.
    pub fn labels(&self) -> &[(String, LabelSource)] {
        &self.labels
    }

    /// What tells it from other metrics of the pipeline: `name{label,label}`, and behind it the bounds of a histogram:
    /// `[0.1,1]`. A metric whose labels or bounds change is another one and begins at nothing: old counts would not fit.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A total of nothing.
    pub fn nothing(&self) -> Total {
        match &self.measure {
            Measure::Events => Total::Events(0),
            Measure::Field { bounds, .. } => {
                Total::Numbers { buckets: vec![0; bounds.len() + 1].into(), sum: 0.0 }
            }
        }
    }

    fn make_key(&self) -> String {
        let names: Vec<&str> = self.labels.iter().map(|(name, _)| name.as_str()).collect();
        let key = format!("{}{{{}}}", self.name, names.join(","));
        match &self.measure {
            Measure::Events => key,
            Measure::Field { bounds, .. } => {
                let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
                format!("{key}[{}]", bounds.join(","))
            }
        }
    }
}

// === impl Total ===

impl Total {
    /// Adds what is new. Both are of one metric.
    pub fn add(&mut self, new: &Total) {
        match (self, new) {
            (Total::Events(events), Total::Events(more)) => *events += more,
            (Total::Numbers { buckets, sum }, Total::Numbers { buckets: more, sum: added }) => {
                debug_assert_eq!(buckets.len(), more.len());
                for (bucket, more) in buckets.iter_mut().zip(more) {
                    *bucket += more;
                }
                *sum += added;
            }
            _ => debug_assert!(false, "totals of two metrics"),
        }
    }

    /// How many events it has.
    pub fn events(&self) -> u64 {
        match self {
            Total::Events(events) => *events,
            Total::Numbers { buckets, .. } => buckets.iter().sum(),
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.counted.is_empty() && self.skipped.iter().all(|skipped| *skipped == 0)
    }
}
