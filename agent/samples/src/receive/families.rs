//! What families of metrics are, as senders say.
//!
//! A 1.0 request says it now and then, apart from the samples; it is remembered by the families' names. A 2.0 request says
//! it with every series; equal families are kept once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twox_hash::XxHash3_64;
use weir_event::stream::Family;

use crate::proto::prometheus::MetricType;

/// Families that are remembered at the most; with texts of usual lengths that takes a few MiB.
pub const MAX_FAMILIES: usize = 10_000;
/// A family with a longer name is none.
pub(super) const MAX_NAME_BYTES: usize = 512;
/// What is said about families is cut to so many bytes.
const MAX_HELP_BYTES: usize = 1024;
const MAX_UNIT_BYTES: usize = 128;

/// What the series of a family have behind its name, and of which types.
const SUFFIXES: [(&str, &[&str]); 8] = [
    ("_bucket", &["histogram", "gaugehistogram"]),
    ("_count", &["histogram", "summary"]),
    ("_sum", &["histogram", "summary"]),
    ("_gcount", &["gaugehistogram"]),
    ("_gsum", &["gaugehistogram"]),
    ("_total", &["counter"]),
    ("_created", &["counter", "histogram", "summary"]),
    ("_info", &["info"]),
];

/// The families that one source knows.
#[derive(Debug, Default)]
pub struct Families(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// As 1.0 requests said.
    named: HashMap<String, Arc<Family>>,
    /// As 2.0 requests said, by the hash of all their texts.
    shared: HashMap<u64, Arc<Family>>,
}

// === impl Families ===

impl Families {
    /// Remembers a family for series that come without metadata. When there are [`MAX_FAMILIES`], no others are.
    pub fn remember(&self, name: &str, kind: u64, unit: &str, help: &str) {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return;
        }
        let (unit, help) = (cut(unit, MAX_UNIT_BYTES), cut(help, MAX_HELP_BYTES));
        let mut known = self.lock();
        if known.named.get(name).is_some_and(|family| is(family, name, kind_name(kind), unit, help)) {
            return;
        }
        if known.named.len() < MAX_FAMILIES || known.named.contains_key(name) {
            known.named.insert(name.to_owned(), family(name, kind_name(kind), unit, help));
        }
    }

    /// The family that a metric belongs to, by what was remembered.
    pub fn of_metric(&self, metric: &str) -> Option<Arc<Family>> {
        let known = self.lock();
        if let Some(family) = known.named.get(metric) {
            return Some(Arc::clone(family));
        }
        let by_suffix = |(suffix, kinds): &(&str, &[&str])| {
            let family = known.named.get(metric.strip_suffix(suffix)?)?;
            kinds.contains(&family.kind.as_str()).then(|| Arc::clone(family))
        };
        SUFFIXES.iter().find_map(by_suffix)
    }

    /// Whether nothing was remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().named.is_empty()
    }

    /// The family of a metric whose series says what it is.
    pub(super) fn shared(&self, metric: &str, kind: u64, unit: &str, help: &str) -> Arc<Family> {
        let (name, kind) = (name_of(metric, kind_name(kind)), kind_name(kind));
        let (unit, help) = (cut(unit, MAX_UNIT_BYTES), cut(help, MAX_HELP_BYTES));
        let mut hash = XxHash3_64::oneshot(name.as_bytes());
        for text in [kind, unit, help] {
            hash = XxHash3_64::oneshot_with_seed(hash, text.as_bytes());
        }
        let mut known = self.lock();
        if let Some(family) = known.shared.get(&hash)
            && is(family, name, kind, unit, help)
        {
            return Arc::clone(family);
        }
        let family = family(name, kind, unit, help);
        // It comes again with the next request.
        if known.shared.len() >= MAX_FAMILIES {
            known.shared.clear();
        }
        known.shared.insert(hash, Arc::clone(&family));
        family
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A metric's name without what its type adds to that of its family. Of counters nobody can tell.
fn name_of<'a>(metric: &'a str, kind: &str) -> &'a str {
    if kind == "counter" || kind == "info" {
        return metric;
    }
    let stripped = SUFFIXES.iter().filter(|(_, kinds)| kinds.contains(&kind));
    let mut stripped = stripped.filter_map(|(suffix, _)| metric.strip_suffix(suffix));
    stripped.find(|name| !name.is_empty()).unwrap_or(metric)
}

/// A type's name in OpenMetrics.
fn kind_name(kind: u64) -> &'static str {
    let kind = i32::try_from(kind).ok().and_then(|kind| MetricType::try_from(kind).ok());
    match kind.unwrap_or(MetricType::Unknown) {
        MetricType::Unknown => "unknown",
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::GaugeHistogram => "gaugehistogram",
        MetricType::Summary => "summary",
        MetricType::Info => "info",
        MetricType::StateSet => "stateset",
    }
}

fn family(name: &str, kind: &str, unit: &str, help: &str) -> Arc<Family> {
    Arc::new(Family { name: name.into(), kind: kind.into(), unit: unit.into(), help: help.into() })
}

fn is(family: &Family, name: &str, kind: &str, unit: &str, help: &str) -> bool {
    (&*family.name, &*family.kind, &*family.unit, &*family.help) == (name, kind, unit, help)
}

fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}
