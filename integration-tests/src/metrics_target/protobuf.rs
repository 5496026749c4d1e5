//! The protobuf format: messages `io.prometheus.client.MetricFamily`, each behind its length.

use std::collections::BTreeMap;

use super::families::{Exemplar, Family, Labels, Native, SCHEMA, Value, ZERO_THRESHOLD};

/// Numbers of `MetricType`.
const COUNTER: u64 = 0;
const GAUGE: u64 = 1;
const SUMMARY: u64 = 2;
const HISTOGRAM: u64 = 4;

/// A message as it is written.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

/// All families.
pub fn delimited(families: &[Family], time: i64) -> Vec<u8> {
    let mut body = Writer::default();
    for family in families {
        let message = family_message(family, time);
        body.varint(message.0.len() as u64);
        body.0.extend_from_slice(&message.0);
    }
    body.0
}

fn family_message(family: &Family, time: i64) -> Writer {
    let kind = match family.metrics.first().map(|(_, value)| value) {
        Some(Value::Counter(..)) => COUNTER,
        Some(Value::Summary(..)) => SUMMARY,
        Some(Value::Histogram(..) | Value::Native(_)) => HISTOGRAM,
        Some(Value::Gauge(_)) | None => GAUGE,
    };
    let name = if kind == COUNTER { format!("{}_total", family.name) } else { family.name.to_owned() };
    let mut message = Writer::default();
    message.text(1, &name);
    message.text(2, family.help);
    message.number(3, kind);
    for (labels, value) in &family.metrics {
        message.message(4, &metric(labels, value, time));
    }
    message
}

fn metric(labels: &Labels, value: &Value, time: i64) -> Writer {
    let mut metric = Writer::default();
    for (name, value) in labels {
        metric.message(1, &pair(name, value));
    }
    let mut inner = Writer::default();
    let number = match value {
        Value::Gauge(value) => {
            inner.double(1, *value);
            2
        }
        Value::Counter(value, exemplar) => {
            inner.double(1, *value);
            if let Some(exemplar) = exemplar {
                inner.message(2, &exemplar_message(exemplar, time));
            }
            3
        }
        Value::Summary(count, sum, quantiles) => {
            inner.number(1, *count);
            inner.double(2, *sum);
            for (quantile, value) in quantiles {
                let mut message = Writer::default();
                message.double(1, *quantile);
                message.double(2, *value);
                inner.message(3, &message);
            }
            4
        }
        Value::Histogram(sum, buckets) => {
            classic(&mut inner, *sum, buckets, time);
            7
        }
        Value::Native(histogram) => {
            native(&mut inner, histogram, time);
            7
        }
    };
    metric.message(number, &inner);
    metric.number(6, time as u64);
    metric
}

fn classic(inner: &mut Writer, sum: f64, buckets: &[(f64, u64, Option<Exemplar>)], time: i64) {
    inner.number(1, buckets.last().map_or(0, |(_, count, _)| *count));
    inner.double(2, sum);
    for (bound, count, exemplar) in buckets {
        let mut bucket = Writer::default();
        bucket.number(1, *count);
        bucket.double(2, *bound);
        if let Some(exemplar) = exemplar {
            bucket.message(3, &exemplar_message(exemplar, time));
        }
        inner.message(3, &bucket);
    }
}

fn native(inner: &mut Writer, histogram: &Native, time: i64) {
    inner.number(1, histogram.count());
    inner.double(2, histogram.sum);
    inner.number(5, zigzag(i64::from(SCHEMA)));
    inner.double(6, ZERO_THRESHOLD);
    inner.number(7, histogram.zero);
    let (spans, deltas) = spans(&histogram.buckets);
    for (offset, length) in spans {
        let mut span = Writer::default();
        span.number(1, zigzag(i64::from(offset)));
        span.number(2, length);
        inner.message(12, &span);
    }
    let mut packed = Writer::default();
    for delta in deltas {
        packed.varint(zigzag(delta));
    }
    inner.message(13, &packed);
    for exemplar in &histogram.exemplars {
        inner.message(16, &exemplar_message(exemplar, time));
    }
}

/// Runs of neighbouring buckets, each as the gap before it and its length; and each count less the one before it.
fn spans(buckets: &BTreeMap<i32, u64>) -> (Vec<(i32, u64)>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<(i32, u64)>, Vec<i64>) = Default::default();
    let (mut next, mut before) = (0, 0);
    for (index, count) in buckets {
        match spans.last_mut() {
            Some((_, length)) if *index == next => *length += 1,
            _ => spans.push((index - next, 1)),
        }
        next = index + 1;
        deltas.push(*count as i64 - before);
        before = *count as i64;
    }
    (spans, deltas)
}

fn exemplar_message(exemplar: &Exemplar, time: i64) -> Writer {
    let mut message = Writer::default();
    message.message(1, &pair("trace_id", &exemplar.trace_id));
    message.double(2, exemplar.value);
    let mut timestamp = Writer::default();
    timestamp.number(1, time.div_euclid(1000) as u64);
    timestamp.number(2, time.rem_euclid(1000) as u64 * 1_000_000);
    message.message(3, &timestamp);
    message
}

fn pair(name: &str, value: &str) -> Writer {
    let mut pair = Writer::default();
    pair.text(1, name);
    pair.text(2, value);
    pair
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

// === impl Writer ===

impl Writer {
    fn varint(&mut self, value: u64) {
        let mut left = value;
        while left >= 0x80 {
            self.0.push(left as u8 | 0x80);
            left >>= 7;
        }
        self.0.push(left as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, field: u64, value: &str) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Writer) {
        self.varint(field << 3 | 2);
        self.varint(message.0.len() as u64);
        self.0.extend_from_slice(&message.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_span() {
        let buckets = BTreeMap::from([(-2, 3), (-1, 1), (4, 2)]);
        assert_eq!(spans(&buckets), (vec![(-2, 2), (4, 1)], vec![3, -2, 1]));
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }
}
