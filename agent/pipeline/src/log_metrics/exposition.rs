//! Totals as samples.

use std::sync::Arc;

use weir_event::batch::{Batch, BatchBuilder};
use weir_event::stream::{Attributes, Family, Stream};
use weir_event::tally::{LabelValues, Measure, Metric, Metrics, Total};
use weir_samples::labels::{LabelSet, LabelsBuilder, METRIC_NAME};
use weir_samples::row::RowWriter;

use super::float::canonical;
use crate::checkpoint::{Counters, MetricTotals};
use crate::source::SourceContext;

/// Its only value says that a series has all label sets for which there was no room.
const OVERFLOW: &str = "overflow";
/// How many events went there.
const OVERFLOW_TOTAL: &str = "weir_log_metric_overflow_total";
const OVERFLOW_HELP: &str =
    "Events whose labels had no series of their own, because the stage had as many as it may.";
/// How many events had no number.
const SKIPPED_TOTAL: &str = "weir_log_metric_skipped_total";
const SKIPPED_HELP: &str = "Events that were not observed, because the field was not a number.";

/// Writes samples into batches.
pub(super) struct Exposition<'a> {
    context: &'a SourceContext,
    /// Milliseconds since the Unix epoch.
    timestamp: i64,
    rows: RowWriter,
    labels: LabelsBuilder,
    bytes: Vec<u8>,
    batch: BatchBuilder,
    stream: Option<Arc<Stream>>,
    /// Those that are full.
    done: Vec<Batch>,
}

/// What a metric counts about itself.
struct Own<'a> {
    name: &'a str,
    help: &'a str,
    /// The metric that it is about.
    metric: &'a Metric,
    value: u64,
}

// === impl Exposition ===

impl<'a> Exposition<'a> {
    /// An empty one, for samples of this time.
    pub fn new(context: &'a SourceContext, timestamp: i64) -> Exposition<'a> {
        Exposition {
            context,
            timestamp,
            rows: RowWriter::default(),
            labels: LabelsBuilder::new(),
            bytes: Vec::new(),
            batch: BatchBuilder::new(context.arenas.take()),
            stream: None,
            done: Vec::new(),
        }
    }

    /// All series of a stage that there are.
    pub fn add(&mut self, of: &Metrics, counters: &Counters) {
        for metric in of.metrics() {
            let Some(totals) = counters.totals(of.pipeline(), metric) else { continue };
            self.add_metric(metric, totals);
            let overflow = totals.overflow.as_ref().map_or(0, Total::events);
            let own =
                [(OVERFLOW_TOTAL, OVERFLOW_HELP, overflow), (SKIPPED_TOTAL, SKIPPED_HELP, totals.skipped)];
            for (name, help, value) in own.into_iter().filter(|(.., value)| *value > 0) {
                self.add_own(of.pipeline(), &Own { name, help, metric, value });
            }
        }
    }

    /// The batches, none of which is empty.
    pub fn finish(mut self) -> Vec<Batch> {
        if self.batch.rows() > 0 {
            self.done.push(self.batch.finish(&self.context.arenas));
        }
        self.done
    }

    fn add_metric(&mut self, metric: &Metric, totals: &MetricTotals) {
        let kind = match metric.measure() {
            Measure::Events => "counter",
            Measure::Field { .. } => "histogram",
        };
        self.begin_family(metric.name(), kind, metric.help());
        for (labels, total) in &totals.series {
            self.add_series(metric, Some(labels), total);
        }
        if let Some(total) = &totals.overflow {
            self.add_series(metric, None, total);
        }
    }

    fn add_series(&mut self, metric: &Metric, labels: Option<&LabelValues>, total: &Total) {
        let name = metric.name();
        match (total, metric.measure()) {
            (Total::Numbers { buckets, sum }, Measure::Field { bounds, .. }) => {
                let mut count = 0;
                let bounds = bounds.iter().copied().chain([f64::INFINITY]);
                for (bound, numbers) in bounds.zip(buckets) {
                    count += numbers;
                    let le = canonical(bound);
                    self.push(metric, labels, (&format!("{name}_bucket"), Some(&le)), count as f64);
                }
                self.push(metric, labels, (&format!("{name}_sum"), None), *sum);
                self.push(metric, labels, (&format!("{name}_count"), None), count as f64);
            }
            _ => self.push(metric, labels, (name, None), total.events() as f64),
        }
    }

    fn push(
        &mut self,
        metric: &Metric,
        labels: Option<&LabelValues>,
        (name, le): (&str, Option<&str>),
        value: f64,
    ) {
        self.labels.clear();
        match labels {
            Some(labels) => {
                for ((name, _), value) in metric.labels().iter().zip(labels.iter()) {
                    self.labels.set(name, value);
                }
            }
            None => self.labels.set(OVERFLOW, "true"),
        }
        if let Some(le) = le {
            self.labels.set("le", le);
        }
        self.push_sample(name, value);
    }

    fn add_own(&mut self, pipeline: &str, own: &Own<'_>) {
        self.begin_family(own.name, "counter", own.help);
        self.labels.clear();
        self.labels.set("pipeline", pipeline);
        self.labels.set("metric", own.metric.name());
        self.push_sample(own.name, own.value as f64);
    }

    /// A sample with the labels at hand and those that all have.
    fn push_sample(&mut self, name: &str, value: f64) {
        self.labels.set(METRIC_NAME, name);
        self.labels.set_default("cluster", &self.context.cluster);
        self.labels.set_default("node", &self.context.node);
        self.bytes.clear();
        // No label is there twice: each was set.
        if self.labels.finish(&mut self.bytes).is_err() {
            return;
        }
        if self.batch.is_full() {
            let next = BatchBuilder::new(self.context.arenas.take());
            let full = std::mem::replace(&mut self.batch, next);
            self.done.push(full.finish(&self.context.arenas));
        }
        let Some(stream) = &self.stream else { return };
        let stream = self.batch.add_stream(stream);
        let labels = LabelSet::new(&self.bytes);
        self.rows.push_float(&mut self.batch, stream, (labels, labels.hash()), (self.timestamp, value));
    }

    fn begin_family(&mut self, name: &str, kind: &str, help: &str) {
        let family = Family {
            name: name.to_owned(),
            kind: kind.to_owned(),
            unit: String::new(),
            help: help.to_owned(),
        };
        let attributes = Attributes {
            source: self.context.name.to_string(),
            cluster: self.context.cluster.to_string(),
            node: self.context.node.to_string(),
            family: Some(Box::new(family)),
            ..Attributes::default()
        };
        self.stream = Some(Stream::new(attributes, 0));
    }
}
