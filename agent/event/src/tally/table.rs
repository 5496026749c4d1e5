//! The series of one metric that a worker has met, and what it counts of them in the batch at hand.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};

use twox_hash::XxHash3_64;

use super::{Counted, LabelValues, Measure, Metric, Total};

/// Ends each value in a key. No text in UTF-8 has it.
pub(super) const END: u8 = 0xff;
/// The series of all label sets that there is no room for.
pub(super) const OVERFLOW: u32 = 0;

/// Label sets by number, and what the batch at hand adds to each. Nothing is allocated for a label set that is known.
pub(super) struct Table {
    /// By hash; where two keys have one hash, the second lies at the next number that is free.
    places: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    /// The hashes differ from process to process, so that nobody can write logs whose hashes are the same.
    seed: u64,
    /// The first is [`OVERFLOW`].
    series: Vec<Series>,
    /// Counts of each series, one behind the other.
    counts: Vec<u64>,
    sums: Vec<f64>,
    /// Counts of one series.
    width: usize,
    is_histogram: bool,
    touched: Vec<u32>,
}

#[derive(Default)]
struct Series {
    key: Box<[u8]>,
    labels: Option<LabelValues>,
    is_touched: bool,
}

/// A hasher for what is a hash already.
#[derive(Default)]
struct AsItIs(u64);

// === impl Table ===

impl Table {
    /// An empty table for a metric.
    pub fn new(metric: &Metric) -> Table {
        let (width, is_histogram) = match metric.measure() {
            Measure::Events => (1, false),
            Measure::Field { bounds, .. } => (bounds.len() + 1, true),
        };
        let mut table = Table {
            places: HashMap::default(),
            seed: RandomState::new().hash_one(0),
            series: Vec::new(),
            counts: Vec::new(),
            sums: Vec::new(),
            width,
            is_histogram,
            touched: Vec::new(),
        };
        table.clear();
        table
    }

    /// Forgets all label sets.
    pub fn clear(&mut self) {
        self.places.clear();
        self.series.clear();
        self.counts.clear();
        self.sums.clear();
        self.touched.clear();
        self.push(Box::default(), None);
    }

    /// How many label sets it knows.
    pub fn len(&self) -> usize {
        self.series.len() - 1
    }

    /// The series with this key: the values of the labels, [`END`] behind each.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Result<u32, u64> {
        let mut place = XxHash3_64::oneshot_with_seed(self.seed, key);
        while let Some(number) = self.places.get(&place) {
            if self.series.get(*number as usize).is_some_and(|series| *series.key == *key) {
                return Ok(*number);
            }
            place = place.wrapping_add(1);
        }
        Err(place)
    }

    /// Adds the series with this key at the place that [`Table::find`] said.
    pub fn add(&mut self, key: &[u8], place: u64) -> u32 {
        let values = key.split(|byte| *byte == END);
        let mut values: Vec<String> =
            values.map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        // Behind the last end.
        values.pop();
        let number = self.push(key.into(), Some(values.into()));
        self.places.insert(place, number);
        number
    }

    /// Adds a series by its labels.
    pub fn know(&mut self, labels: &LabelValues) {
        let mut key = Vec::new();
        for value in labels.iter() {
            key.extend_from_slice(value.as_bytes());
            key.push(END);
        }
        if let Err(place) = self.find(&key) {
            let number = self.push(key.into(), Some(LabelValues::clone(labels)));
            self.places.insert(place, number);
        }
    }

    fn push(&mut self, key: Box<[u8]>, labels: Option<LabelValues>) -> u32 {
        self.series.push(Series { key, labels, is_touched: false });
        self.counts.resize(self.counts.len() + self.width, 0);
        self.sums.push(0.0);
        self.series.len() as u32 - 1
    }

    /// Counts one more in a bucket of a series; `number` is added to its sum.
    #[inline]
    pub fn count(&mut self, series: u32, bucket: usize, number: f64) {
        let index = series as usize;
        if let Some(known) = self.series.get_mut(index)
            && !known.is_touched
        {
            known.is_touched = true;
            self.touched.push(series);
        }
        if let Some(count) = self.counts.get_mut(index * self.width + bucket) {
            *count += 1;
        }
        if self.is_histogram
            && let Some(sum) = self.sums.get_mut(index)
        {
            *sum += number;
        }
    }

    /// Takes what was counted since the last time.
    pub fn take(&mut self, metric: usize, out: &mut Vec<Counted>) {
        let touched = std::mem::take(&mut self.touched);
        out.reserve(touched.len());
        for series in &touched {
            let index = *series as usize;
            let Some(known) = self.series.get_mut(index) else { continue };
            known.is_touched = false;
            let labels = known.labels.clone();
            let first = index * self.width;
            let Some(counts) = self.counts.get_mut(first..first + self.width) else { continue };
            let sum = self.sums.get_mut(index).map(std::mem::take).unwrap_or_default();
            let total = match (self.is_histogram, &*counts) {
                (false, [events]) => Total::Events(*events),
                _ => Total::Numbers { buckets: (&*counts).into(), sum },
            };
            counts.fill(0);
            out.push(Counted { metric, labels, total });
        }
        self.touched = touched;
        self.touched.clear();
    }
}

// === impl AsItIs ===

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
