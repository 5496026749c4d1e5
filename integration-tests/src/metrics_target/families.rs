//! What the target exposes at each step, before it is written in a format.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Upper bounds of the classic histograms; +Inf is behind them.
const BOUNDS: [f64; 7] = [0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5];
/// Buckets of the native histograms grow by the eighth root of two.
pub const SCHEMA: i32 = 3;
/// Values up to it are counted as zero.
pub const ZERO_THRESHOLD: f64 = 1e-3;
/// Counters begin anew with this probability at each step.
const RESET: f64 = 0.01;
/// Where they begin, as if they had counted before anybody looked. Prometheus takes it that a counter which is near zero
/// began a moment ago, and Thanos, which takes resets out before, knows nothing of that: their rates would differ.
const FIRST_COUNT: u64 = 500;

/// Labels in the order of their names.
pub type Labels = Vec<(&'static str, String)>;

/// Series with one name.
#[derive(Clone, Debug)]
pub struct Family {
    /// Without the suffixes of its samples.
    pub name: &'static str,
    /// What it is, in words.
    pub help: &'static str,
    /// Its series.
    pub metrics: Vec<(Labels, Value)>,
}

/// What a series has at one moment.
#[derive(Clone, Debug)]
pub enum Value {
    /// It only grows, but for resets.
    Counter(f64, Option<Exemplar>),
    /// It is what it is.
    Gauge(f64),
    /// Count, sum, and pairs of a quantile and its value.
    Summary(u64, f64, Vec<(f64, f64)>),
    /// A classic histogram: sum, and pairs of an upper bound and a cumulative count with an exemplar.
    Histogram(f64, Vec<(f64, u64, Option<Exemplar>)>),
    /// There only in the protobuf format.
    Native(Native),
}

/// An observation that is kept as an example.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// Its only label, `trace_id`.
    pub trace_id: String,
    /// What was observed.
    pub value: f64,
}

/// A native histogram.
#[derive(Clone, Debug, Default)]
pub struct Native {
    /// Of all observations.
    pub sum: f64,
    /// Observations near zero.
    pub zero: u64,
    /// Counts by the index of the bucket.
    pub buckets: BTreeMap<i32, u64>,
    /// The newest.
    pub exemplars: Vec<Exemplar>,
}

/// A classic histogram as it grows.
#[derive(Clone, Debug)]
struct Classic {
    sum: f64,
    /// Not cumulative; the last is that of +Inf.
    counts: [u64; BOUNDS.len() + 1],
}

/// The state behind the target.
#[derive(Debug)]
pub struct Walk {
    random: StdRng,
    number: u64,
    requests: BTreeMap<(&'static str, &'static str), f64>,
    rooms: BTreeMap<&'static str, f64>,
    latencies: BTreeMap<&'static str, Classic>,
    calls: BTreeMap<&'static str, (u64, f64)>,
    sizes: BTreeMap<&'static str, Native>,
    versions: BTreeMap<&'static str, u32>,
}

// === impl Walk ===

impl Walk {
    /// The beginning of the walk that this seed names.
    pub fn new(seed: u64) -> Walk {
        let paths = ["/cart", "/pay"];
        let codes = ["200", "404", "500"];
        let pairs =
            paths.iter().flat_map(|path| codes.iter().map(move |code| ((*path, *code), FIRST_COUNT as f64)));
        Walk {
            random: StdRng::seed_from_u64(seed),
            number: 0,
            requests: pairs.collect(),
            rooms: BTreeMap::from([("attic", 28.0), ("broken", 0.0), ("hall", 19.5)]),
            latencies: paths.iter().map(|path| (*path, Classic::new())).collect(),
            calls: ["cart/add", "pay/charge"].into_iter().map(|method| (method, (0, 0.0))).collect(),
            sizes: ["in", "out"].into_iter().map(|way| (way, Native::default())).collect(),
            versions: ["a", "b", "c"].into_iter().map(|pod| (pod, 1)).collect(),
        }
    }

    /// Everything at the next step.
    pub fn step(&mut self) -> Vec<Family> {
        let mut families = vec![
            self.requests(),
            self.rooms(),
            self.latencies(),
            self.calls(),
            self.sizes(),
            self.versions(),
        ];
        let gauge = |value: u64| vec![(Labels::new(), Value::Gauge(value as f64))];
        // A series that comes, goes, and comes again.
        if self.number % 120 >= 60 {
            families.push(Family { name: "walk_sometimes", help: "Comes and goes.", metrics: gauge(1) });
        }
        families.push(Family {
            name: "walk_step",
            help: "The number of the step.",
            metrics: gauge(self.number),
        });
        self.number += 1;
        families
    }

    fn requests(&mut self) -> Family {
        let mut metrics = Vec::new();
        for ((path, code), count) in &mut self.requests {
            if self.random.random_bool(RESET) {
                *count = FIRST_COUNT as f64;
            }
            *count += f64::from(self.random.random_range(0..40_u32));
            let exemplar = exemplar(&mut self.random, 1.0);
            let labels = vec![("code", (*code).to_owned()), ("path", (*path).to_owned())];
            metrics.push((labels, Value::Counter(*count, exemplar)));
        }
        Family { name: "walk_requests", help: "Requests that were answered.", metrics }
    }

    fn rooms(&mut self) -> Family {
        let mut metrics = Vec::new();
        for (room, temperature) in &mut self.rooms {
            *temperature += self.random.random_range(-0.5..0.5);
            let value = match (*room, self.number % 10) {
                ("broken", 0..3) => f64::NAN,
                ("broken", 3) => f64::INFINITY,
                ("broken", 4) => f64::NEG_INFINITY,
                _ => *temperature,
            };
            metrics.push((vec![("room", (*room).to_owned())], Value::Gauge(value)));
        }
        Family { name: "walk_temperature_celsius", help: "How warm \"it\" is,\nor C:\\ is.", metrics }
    }

    fn latencies(&mut self) -> Family {
        let mut metrics = Vec::new();
        for (route, histogram) in &mut self.latencies {
            if self.random.random_bool(RESET) {
                *histogram = Classic::new();
            }
            let mut exemplars = vec![None; BOUNDS.len() + 1];
            for _ in 0..self.random.random_range(0..20) {
                let value = observation(&mut self.random, 0.08);
                let at = BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len());
                histogram.sum += value;
                histogram.counts[at] += 1;
                exemplars[at] = exemplar(&mut self.random, value).or(exemplars[at].take());
            }
            let mut total = 0;
            let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
            let buckets = bounds.zip(histogram.counts).zip(exemplars).map(|((bound, count), exemplar)| {
                total += count;
                (bound, total, exemplar)
            });
            let value = Value::Histogram(histogram.sum, buckets.collect());
            metrics.push((vec![("route", (*route).to_owned())], value));
        }
        Family { name: "walk_latency_seconds", help: "How long answers took.", metrics }
    }

    fn calls(&mut self) -> Family {
        let mut metrics = Vec::new();
        for (method, (count, sum)) in &mut self.calls {
            let new = self.random.random_range(0..5_u32);
            *count += u64::from(new);
            *sum += f64::from(new) * self.random.random_range(0.01..0.2);
            let mut quantiles = Vec::new();
            for quantile in [0.5, 0.9, 0.99] {
                // Who has seen nothing for a while knows no quantile.
                let value = if new == 0 { f64::NAN } else { quantile * self.random.random_range(0.1..0.3) };
                quantiles.push((quantile, value));
            }
            metrics.push((vec![("method", (*method).to_owned())], Value::Summary(*count, *sum, quantiles)));
        }
        Family { name: "walk_rpc_seconds", help: "How long calls took.", metrics }
    }

    fn sizes(&mut self) -> Family {
        let mut metrics = Vec::new();
        for (way, histogram) in &mut self.sizes {
            if self.random.random_bool(RESET) {
                *histogram = Native::default();
            }
            histogram.exemplars.clear();
            for _ in 0..self.random.random_range(1..20) {
                let value = observation(&mut self.random, 800.0);
                histogram.observe(if self.random.random_bool(0.05) { 0.0 } else { value });
                histogram.exemplars.extend(exemplar(&mut self.random, value));
            }
            histogram.exemplars.truncate(1);
            metrics.push((vec![("way", (*way).to_owned())], Value::Native(histogram.clone())));
        }
        Family { name: "walk_size_bytes", help: "How large messages were.", metrics }
    }

    fn versions(&mut self) -> Family {
        let mut metrics = Vec::new();
        for (pod, version) in &mut self.versions {
            if self.random.random_bool(0.05) {
                *version = *version % 3 + 1;
            }
            metrics.push((vec![("pod", (*pod).to_owned())], Value::Gauge(f64::from(*version))));
        }
        Family { name: "walk_version", help: "What runs.", metrics }
    }
}

// === impl Classic ===

impl Classic {
    fn new() -> Classic {
        Classic { sum: FIRST_COUNT as f64, counts: [FIRST_COUNT; BOUNDS.len() + 1] }
    }
}

// === impl Native ===

impl Native {
    fn observe(&mut self, value: f64) {
        self.sum += value;
        if value <= ZERO_THRESHOLD {
            self.zero += 1;
            return;
        }
        let index = (value.log2() * f64::from(1 << SCHEMA)).ceil() as i32;
        *self.buckets.entry(index).or_default() += 1;
    }

    /// All observations.
    pub fn count(&self) -> u64 {
        self.zero + self.buckets.values().sum::<u64>()
    }
}

/// Most are near `middle`, some are far above.
fn observation(random: &mut StdRng, middle: f64) -> f64 {
    let exponent: f64 = (0..6).map(|_| random.random_range(-1.0..1.0)).sum();
    middle * exponent.exp()
}

fn exemplar(random: &mut StdRng, value: f64) -> Option<Exemplar> {
    let trace_id = format!("{:032x}", random.random::<u128>());
    random.random_bool(0.2).then_some(Exemplar { trace_id, value })
}
