//! Checks native histograms (prometheus.io/docs/specs/native_histograms, "Data model"): they are passed on as they came,
//! so a broken one would be refused far from whoever sent it.

use super::report::Reason;
use super::wire::{Fault, Fields, Value, signed};

/// The schema of custom buckets.
const CUSTOM: i64 = -53;
/// Schemas of exponential buckets, those among them that readers reduce.
const EXPONENTIAL: std::ops::RangeInclusive<i64> = -4..=52;

/// What is known of a histogram when all of its message was read.
#[derive(Debug, Default)]
struct Histogram {
    timestamp: i64,
    count: Option<u64>,
    float_count: Option<f64>,
    sum: f64,
    schema: i64,
    zero_count: u64,
    float_zero_count: f64,
    zero_threshold: f64,
    negative: Buckets,
    positive: Buckets,
    bounds: usize,
}

/// One side's buckets.
#[derive(Debug, Default)]
struct Buckets {
    spans: u64,
    /// How many the spans say there are.
    spanned: u64,
    /// How many whole numbers and floats there are.
    deltas: u64,
    floats: u64,
    /// The last bucket, and the sum of all.
    last: i64,
    sum: u64,
}

/// Checks the message `Histogram` and returns its timestamp in milliseconds since the Unix epoch.
pub(super) fn check(message: &[u8]) -> Result<i64, Fault> {
    let mut histogram = Histogram::default();
    let mut fields = Fields::new(message);
    let mut bound = f64::NEG_INFINITY;
    while let Some((field, value)) = fields.read()? {
        match field {
            1 => histogram.count = Some(value.number()?),
            2 => histogram.float_count = Some(value.double()?),
            3 => histogram.sum = value.double()?,
            4 => histogram.schema = value.signed()?,
            5 => histogram.zero_threshold = value.double()?,
            6 => histogram.zero_count = value.number()?,
            7 => histogram.float_zero_count = value.double()?,
            8 => histogram.negative.span(value.bytes()?)?,
            9 => histogram.negative.add_deltas(value)?,
            10 => histogram.negative.add_floats(value)?,
            11 => histogram.positive.span(value.bytes()?)?,
            12 => histogram.positive.add_deltas(value)?,
            13 => histogram.positive.add_floats(value)?,
            15 => histogram.timestamp = value.number()? as i64,
            16 => value.each_double(|next| {
                let is_next = next > bound && next < f64::INFINITY;
                bound = next;
                histogram.bounds += 1;
                if is_next { Ok(()) } else { INVALID }
            })?,
            _ => {}
        }
    }
    histogram.finish()
}

const INVALID: Result<(), Fault> = Err(Fault::Refused(Reason::Histogram));

// === impl Histogram ===

impl Histogram {
    fn finish(self) -> Result<i64, Fault> {
        let is_float = self.float_count.is_some() && self.count.is_none();
        let counts = if is_float { self.are_floats() } else { self.are_whole() };
        if counts && self.is_of_schema() {
            return Ok(self.timestamp);
        }
        Err(Fault::Refused(Reason::Histogram))
    }

    fn is_of_schema(&self) -> bool {
        if self.schema != CUSTOM {
            return EXPONENTIAL.contains(&self.schema) && self.bounds == 0;
        }
        let has_zero = self.zero_count > 0 || self.float_zero_count != 0.0 || self.zero_threshold != 0.0;
        let buckets = self.positive.spanned;
        !has_zero && self.negative.spans == 0 && buckets <= self.bounds as u64 + 1
    }

    fn are_floats(&self) -> bool {
        let fit = |buckets: &Buckets| buckets.spanned == buckets.floats && buckets.deltas == 0;
        let is_negative = |count: f64| count < 0.0;
        let is_any = is_negative(self.float_count.unwrap_or_default()) || is_negative(self.float_zero_count);
        fit(&self.negative) && fit(&self.positive) && !is_any
    }

    fn are_whole(&self) -> bool {
        let fit = |buckets: &Buckets| buckets.spanned == buckets.deltas && buckets.floats == 0;
        let in_buckets = self.negative.sum.checked_add(self.positive.sum);
        let in_buckets = in_buckets.and_then(|sum| sum.checked_add(self.zero_count));
        let count = self.count.unwrap_or_default();
        // What is not a number falls into no bucket.
        let is_all = in_buckets.is_some_and(|sum| sum == count || (self.sum.is_nan() && sum < count));
        fit(&self.negative) && fit(&self.positive) && is_all
    }
}

// === impl Buckets ===

impl Buckets {
    fn span(&mut self, message: &[u8]) -> Result<(), Fault> {
        let (mut offset, mut length) = (0, 0);
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.read()? {
            match field {
                1 => offset = value.signed()?,
                2 => length = value.number()?,
                _ => {}
            }
        }
        // Only the first span may begin below.
        if self.spans > 0 && offset < 0 || length > u64::from(u32::MAX) {
            return INVALID;
        }
        self.spans += 1;
        self.spanned = self.spanned.saturating_add(length);
        Ok(())
    }

    fn add_deltas(&mut self, value: Value<'_>) -> Result<(), Fault> {
        value.each_number(|delta| {
            self.deltas += 1;
            let bucket = self.last.checked_add(signed(delta)).filter(|bucket| *bucket >= 0);
            let sum = bucket.and_then(|bucket| self.sum.checked_add(bucket as u64));
            let (Some(bucket), Some(sum)) = (bucket, sum) else { return INVALID };
            (self.last, self.sum) = (bucket, sum);
            Ok(())
        })
    }

    fn add_floats(&mut self, value: Value<'_>) -> Result<(), Fault> {
        value.each_double(|bucket| {
            self.floats += 1;
            if bucket < 0.0 { INVALID } else { Ok(()) }
        })
    }
}
