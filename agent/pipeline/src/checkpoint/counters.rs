//! The durable totals of what stages count in events.
//!
//! 1. A total moves with the position behind the events that were counted, in one transaction: what is read again after a
//!    crash was not counted yet, what is not read again was.
//! 2. What is shown to anybody is what the last file that was written says, never what the next one will: a restart finds
//!    at least that, so no counter ever falls.
//! 3. No stage has more series than it may ([`Metrics::max_series`]). That is seen to here, where what there is survives
//!    restarts: a label set that comes when there is no room is counted in the one series of all such.
//! 4. All of them together stay well below what the file may have ([`MAX_BYTES`]), else no restart could read it.
//! 5. Totals of a metric that no pipeline has any more go when the agent says which there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_event::tally::{Counted, LabelValues, Metric, Metrics, Tally, Total};

use super::Checkpoints;

/// What the series may take in the file: where they take more, none comes in.
const MAX_BYTES: usize = 24 * 1024 * 1024;
/// What a series takes beside its labels and buckets, by rule of thumb, and what a number takes at the most.
const SERIES_BYTES: usize = 80;
const NUMBER_BYTES: usize = 21;

/// The totals of all metrics. A copy costs nothing until one of the two changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Counters {
    pipelines: Arc<BTreeMap<String, Totals>>,
    /// What the series take in the file, at the most.
    bytes: usize,
}

/// The totals of one pipeline's metrics, by [`Metric::key`].
type Totals = BTreeMap<String, MetricTotals>;

/// The totals of one metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricTotals {
    /// By the values of its labels.
    pub series: BTreeMap<LabelValues, Total>,
    /// Of all label sets for which there was no room.
    pub overflow: Option<Total>,
    /// How many events had no number where one should have been observed.
    pub skipped: u64,
}

/// As it stands in the file.
type Written = BTreeMap<String, BTreeMap<String, WrittenTotals>>;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WrittenTotals {
    series: Vec<WrittenSeries>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overflow: Option<WrittenSeries>,
    #[serde(skip_serializing_if = "is_zero")]
    skipped: u64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WrittenSeries {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    buckets: Vec<u64>,
    /// As text: a number in JSON may come back with another last digit.
    #[serde(skip_serializing_if = "String::is_empty")]
    sum: String,
}

// === impl Counters ===

impl Counters {
    /// Whether nothing was ever counted.
    pub fn is_empty(&self) -> bool {
        self.pipelines.is_empty()
    }

    /// The totals of a pipeline's metric; `None` where none of its events was ever counted.
    pub fn totals(&self, pipeline: &str, metric: &Metric) -> Option<&MetricTotals> {
        self.pipelines.get(pipeline)?.get(metric.key())
    }

    /// How many series a stage has, without those of what had no room.
    pub fn series_of(&self, of: &Metrics) -> usize {
        let totals = of.metrics().iter().filter_map(|metric| self.totals(of.pipeline(), metric));
        totals.map(|totals| totals.series.len()).sum()
    }

    /// Adds what was counted in a batch.
    pub(super) fn add(&mut self, tally: &Tally) {
        let of = &tally.of;
        let mut room = of.max_series().saturating_sub(self.series_of(of));
        let mut has_overflowed = false;
        let Some(totals) = entry(Arc::make_mut(&mut self.pipelines), of.pipeline()) else { return };
        for Counted { metric, labels, total } in &tally.counted {
            let Some(metric) = of.metrics().get(*metric) else { continue };
            let Some(totals) = entry(totals, metric.key()) else { continue };
            let known = labels.as_ref().and_then(|labels| totals.series.get_mut(&**labels));
            match (known, labels) {
                (Some(known), _) => known.add(total),
                (None, Some(labels)) if room > 0 && self.bytes < MAX_BYTES => {
                    room -= 1;
                    self.bytes += bytes(labels, total);
                    totals.series.insert(LabelValues::clone(labels), total.clone());
                }
                (None, labels) => {
                    has_overflowed |= labels.is_some();
                    totals.overflow.get_or_insert_with(|| metric.nothing()).add(total);
                }
            }
        }
        for (metric, skipped) in of.metrics().iter().zip(&tally.skipped).filter(|(_, skipped)| **skipped > 0)
        {
            if let Some(totals) = entry(totals, metric.key()) {
                totals.skipped += skipped;
            }
        }
        if has_overflowed {
            of.close(|| {
                let all = |metric: &Metric| {
                    let totals = totals.get(metric.key());
                    totals.map(|totals| totals.series.keys().cloned().collect()).unwrap_or_default()
                };
                of.metrics().iter().map(all).collect()
            });
        }
    }

    /// Forgets what is not among these; whether there was anything.
    fn keep(&mut self, wanted: &[Arc<Metrics>]) -> bool {
        let keys =
            wanted.iter().flat_map(|of| of.metrics().iter().map(|metric| (of.pipeline(), metric.key())));
        let wanted: BTreeSet<(&str, &str)> = keys.collect();
        let is_wanted = |pipeline: &str, key: &str| wanted.contains(&(pipeline, key));
        let mut all = self.pipelines.iter();
        if all.all(|(pipeline, totals)| totals.keys().all(|key| is_wanted(pipeline, key))) {
            return false;
        }
        Arc::make_mut(&mut self.pipelines).retain(|pipeline, totals| {
            totals.retain(|key, _| is_wanted(pipeline, key));
            !totals.is_empty()
        });
        self.bytes = bytes_of_all(&self.pipelines);
        true
    }
}

/// What a series takes in the file, at the most.
fn bytes(labels: &[String], total: &Total) -> usize {
    let escaped = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    let label = |label: &String| label.bytes().map(escaped).sum::<usize>() + 3;
    let numbers = match total {
        Total::Events(_) => 1,
        Total::Numbers { buckets, .. } => buckets.len(),
    };
    SERIES_BYTES + labels.iter().map(label).sum::<usize>() + numbers * NUMBER_BYTES
}

fn bytes_of_all(pipelines: &BTreeMap<String, Totals>) -> usize {
    let series = pipelines.values().flat_map(BTreeMap::values).flat_map(|totals| &totals.series);
    series.map(|(labels, total)| bytes(labels, total)).sum()
}

/// The entry with this name, which is made where there is none.
fn entry<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> Option<&'a mut T> {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), T::default());
    }
    map.get_mut(name)
}

impl Checkpoints {
    /// What stages counted, as the checkpoint on disk says: a restart at any time from now on finds at least that.
    pub fn durable_counters(&self) -> Counters {
        self.lock().durable_counters.clone()
    }

    /// Forgets what was counted for metrics that are not among these. To be called at a start and behind each reload, with
    /// what all pipelines count, when no other pipelines get new batches. Becomes durable with the next save.
    pub fn keep_counters(&self, wanted: &[Arc<Metrics>]) {
        let mut guard = self.lock();
        if guard.state.counters.keep(wanted) {
            guard.version += 1;
        }
    }
}

// === the written form ===

impl From<Counters> for Written {
    fn from(counters: Counters) -> Written {
        let totals = |(key, totals): (&String, &MetricTotals)| (key.clone(), WrittenTotals::from(totals));
        let pipeline =
            |(name, metrics): (&String, &Totals)| (name.clone(), metrics.iter().map(totals).collect());
        counters.pipelines.iter().map(pipeline).collect()
    }
}

impl TryFrom<Written> for Counters {
    type Error = String;

    fn try_from(written: Written) -> Result<Counters, String> {
        let mut counters = BTreeMap::new();
        for (pipeline, metrics) in written {
            let mut totals = Totals::new();
            for (key, metric) in metrics {
                totals.insert(key, metric.read()?);
            }
            counters.insert(pipeline, totals);
        }
        let bytes = bytes_of_all(&counters);
        Ok(Counters { pipelines: Arc::new(counters), bytes })
    }
}

impl From<&MetricTotals> for WrittenTotals {
    fn from(totals: &MetricTotals) -> WrittenTotals {
        WrittenTotals {
            series: totals.series.iter().map(|(labels, total)| WrittenSeries::new(labels, total)).collect(),
            overflow: totals.overflow.as_ref().map(|total| WrittenSeries::new(&[], total)),
            skipped: totals.skipped,
        }
    }
}

impl WrittenTotals {
    fn read(self) -> Result<MetricTotals, String> {
        let mut series = BTreeMap::new();
        for mut one in self.series {
            let labels = std::mem::take(&mut one.labels);
            series.insert(labels.into(), one.total()?);
        }
        let overflow = self.overflow.map(WrittenSeries::total).transpose()?;
        Ok(MetricTotals { series, overflow, skipped: self.skipped })
    }
}

impl WrittenSeries {
    fn new(labels: &[String], total: &Total) -> WrittenSeries {
        let labels = labels.to_vec();
        match total {
            Total::Events(events) => {
                WrittenSeries { labels, events: Some(*events), ..WrittenSeries::default() }
            }
            Total::Numbers { buckets, sum } => {
                WrittenSeries { labels, events: None, buckets: buckets.to_vec(), sum: format!("{sum:?}") }
            }
        }
    }

    fn total(self) -> Result<Total, String> {
        if let Some(events) = self.events {
            return Ok(Total::Events(events));
        }
        let sum = self.sum.parse().map_err(|_| format!("{:?} is not the sum of numbers", self.sum))?;
        Ok(Total::Numbers { buckets: self.buckets.into(), sum })
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
