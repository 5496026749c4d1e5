//! Native histograms of targets (Prometheus, "Native Histograms": protobuf exposition; model/histogram: `Validate`).

use crate::proto::client;
use crate::proto::write_v2::{BucketSpan, Count, Histogram, ResetHint, ZeroCount};

/// Schemas of exponential buckets.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// Whether a histogram has native parts. One without spans, zero threshold and zero count is a classic one.
pub(super) fn is_native(histogram: &client::Histogram) -> bool {
    !histogram.positive_span.is_empty()
        || !histogram.negative_span.is_empty()
        || histogram.zero_threshold() > 0.0
        || histogram.zero_count() > 0
}

/// The native parts as remote write holds them. `timestamp` and `start_timestamp` are in milliseconds, 0 where unknown.
///
/// # Errors
///
/// Buckets that do not fit to the spans, to the count or to any schema; Prometheus refuses them all when it stores them.
pub(super) fn convert(
    from: &client::Histogram,
    may_fall: bool,
    timestamp: i64,
    start_timestamp: i64,
) -> Result<Histogram, &'static str> {
    let is_float = from.sample_count_float() > 0.0 || from.zero_count_float() > 0.0;
    let mut histogram = Histogram {
        sum: from.sample_sum(),
        schema: from.schema(),
        zero_threshold: from.zero_threshold(),
        negative_spans: from.negative_span.clone(),
        positive_spans: from.positive_span.clone(),
        reset_hint: if may_fall { ResetHint::Gauge as i32 } else { ResetHint::Unspecified as i32 },
        timestamp,
        start_timestamp,
        ..Histogram::default()
    };
    if is_float {
        histogram.count = Some(Count::Float(from.sample_count_float()));
        histogram.zero_count = Some(ZeroCount::Float(from.zero_count_float()));
        histogram.negative_counts.clone_from(&from.negative_count);
        histogram.positive_counts.clone_from(&from.positive_count);
    } else {
        histogram.count = Some(Count::Int(from.sample_count()));
        histogram.zero_count = Some(ZeroCount::Int(from.zero_count()));
        histogram.negative_deltas.clone_from(&from.negative_delta);
        histogram.positive_deltas.clone_from(&from.positive_delta);
    }
    check(&histogram)?;
    Ok(histogram)
}

fn check(histogram: &Histogram) -> Result<(), &'static str> {
    if !SCHEMAS.contains(&histogram.schema) {
        return Err("a native histogram with a schema that does not exist");
    }
    let (positive, negative) = match histogram.count {
        Some(Count::Float(_)) => (histogram.positive_counts.len(), histogram.negative_counts.len()),
        _ => (histogram.positive_deltas.len(), histogram.negative_deltas.len()),
    };
    check_spans(&histogram.positive_spans, positive)?;
    check_spans(&histogram.negative_spans, negative)?;
    match (histogram.count, histogram.zero_count) {
        (Some(Count::Float(count)), Some(ZeroCount::Float(zero))) => {
            let buckets = histogram.positive_counts.iter().chain(&histogram.negative_counts);
            if buckets.chain([&count, &zero]).any(|count| *count < 0.0) {
                return Err("a native histogram with a negative count");
            }
        }
        (Some(Count::Int(count)), Some(ZeroCount::Int(zero))) => {
            let sum = add_deltas(&histogram.positive_deltas)?
                .wrapping_add(add_deltas(&histogram.negative_deltas)?)
                .wrapping_add(zero);
            // Observations that are not numbers are counted, and in no bucket.
            if sum > count || (sum < count && !histogram.sum.is_nan()) {
                return Err("a native histogram whose buckets do not add up to its count");
            }
        }
        _ => {}
    }
    Ok(())
}

fn check_spans(spans: &[BucketSpan], buckets: usize) -> Result<(), &'static str> {
    if spans.iter().skip(1).any(|span| span.offset < 0) {
        return Err("a native histogram with spans that overlap");
    }
    let needed: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if needed != buckets as u64 {
        return Err("a native histogram with more or less buckets than its spans");
    }
    Ok(())
}

/// How many observations the buckets hold together.
fn add_deltas(deltas: &[i64]) -> Result<u64, &'static str> {
    let (mut bucket, mut sum) = (0_i64, 0_u64);
    for delta in deltas {
        bucket = bucket.wrapping_add(*delta);
        sum = sum.wrapping_add(
            u64::try_from(bucket).map_err(|_| "a native histogram with a negative count in a bucket")?,
        );
    }
    Ok(sum)
}
