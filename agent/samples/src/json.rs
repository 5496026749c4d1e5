//! Documents of samples as JSON, for people and for sinks that write lines: one object without a line break.
//!
//! `{"@timestamp":"2026-01-02T03:04:05.678000000Z","metric":"up","labels":{"job":"a"},"value":1}`. A value that JSON does not know
//! is a string (`"NaN"`, `"+Inf"`, `"-Inf"`); the marker at the end of a series is `"value":null,"stale":true`; a native
//! histogram has `histogram` in the place of `value`.

use prost::Message as _;
use weir_event::json::write_string;
use weir_event::time::write_rfc3339;

use crate::document::{Document, Point, is_stale};
use crate::labels::METRIC_NAME;
use crate::proto::write_v2::{BucketSpan, Count, Histogram, ZeroCount};

/// Nanoseconds of a millisecond.
const MILLISECOND: i64 = 1_000_000;

/// Appends the object.
pub fn write_json(document: &Document<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"@timestamp\":\"");
    write_rfc3339(out, document.point.timestamp().saturating_mul(MILLISECOND));
    out.extend_from_slice(b"\",\"metric\":");
    write_string(out, document.labels.metric());
    out.extend_from_slice(b",\"labels\":{");
    let mut is_first = true;
    for (name, value) in document.labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.push(b'}');
    match document.point {
        Point::Float { value, .. } => write_value(value, out),
        Point::Histogram { message, .. } => match Histogram::decode(message) {
            Ok(histogram) => write_histogram(&histogram, out),
            Err(_) => out.extend_from_slice(b",\"histogram\":null"),
        },
    }
    out.push(b'}');
}

fn write_value(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"value\":");
    match is_stale(value) {
        true => out.extend_from_slice(b"null,\"stale\":true"),
        false => write_number(value, out),
    }
}

fn write_number(value: f64, out: &mut Vec<u8>) {
    let text = match value {
        value if value.is_nan() => "\"NaN\"".to_owned(),
        f64::INFINITY => "\"+Inf\"".to_owned(),
        f64::NEG_INFINITY => "\"-Inf\"".to_owned(),
        value if value.abs() < 1e15 && value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:e}"),
    };
    out.extend_from_slice(text.as_bytes());
}

fn write_histogram(histogram: &Histogram, out: &mut Vec<u8>) {
    let mut member = |name: &str, value: f64| {
        out.extend_from_slice(name.as_bytes());
        write_number(value, out);
    };
    let count = match histogram.count {
        Some(Count::Int(count)) => count as f64,
        Some(Count::Float(count)) => count,
        None => 0.0,
    };
    let zero = match histogram.zero_count {
        Some(ZeroCount::Int(count)) => count as f64,
        Some(ZeroCount::Float(count)) => count,
        None => 0.0,
    };
    member(",\"histogram\":{\"count\":", count);
    member(",\"sum\":", histogram.sum);
    member(",\"schema\":", f64::from(histogram.schema));
    member(",\"zero_threshold\":", histogram.zero_threshold);
    member(",\"zero_count\":", zero);
    let negative = (&histogram.negative_deltas[..], &histogram.negative_counts[..]);
    let positive = (&histogram.positive_deltas[..], &histogram.positive_counts[..]);
    write_buckets(",\"negative\":[", &histogram.negative_spans, negative, out);
    write_buckets(",\"positive\":[", &histogram.positive_spans, positive, out);
    out.push(b'}');
}

/// The buckets as pairs of index and count, behind what the list begins with.
fn write_buckets(name: &str, spans: &[BucketSpan], (deltas, counts): (&[i64], &[f64]), out: &mut Vec<u8>) {
    let mut sum: i64 = 0;
    let absolute = deltas.iter().map(|delta| {
        sum = sum.wrapping_add(*delta);
        sum as f64
    });
    let counts: Vec<f64> = if deltas.is_empty() { counts.to_vec() } else { absolute.collect() };
    if counts.is_empty() {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    let mut counts = counts.into_iter().peekable();
    let mut index: i64 = 0;
    let mut is_first = true;
    for span in spans {
        index += i64::from(span.offset);
        for _ in 0..span.length {
            // A span may say more than there is: what there is bounds the loop.
            let Some(count) = counts.next() else { break };
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            out.extend_from_slice(format!("[{index},").as_bytes());
            write_number(count, out);
            out.push(b']');
            index += 1;
        }
        if counts.peek().is_none() {
            break;
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::stale_nan;
    use crate::labels::{LabelSet, LabelsBuilder};

    fn json(point: Point<'_>) -> serde_json::Value {
        let mut builder = LabelsBuilder::new();
        builder.push("__name__", "up");
        builder.push("job", "a\"b");
        let mut labels = Vec::new();
        builder.finish(&mut labels).unwrap();
        let mut out = Vec::new();
        write_json(&Document { labels: LabelSet::new(&labels), point, exemplars: &[] }, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_number_is_a_number_where_json_has_one() {
        let of = |value: f64| json(Point::Float { timestamp: 1_700_000_000_123, value, start_timestamp: 0 });
        let object = of(1.5);
        assert_eq!(object["@timestamp"], "2023-11-14T22:13:20.123000000Z");
        assert_eq!((&object["metric"], &object["labels"]["job"]), (&"up".into(), &"a\"b".into()));
        for value in [0.0, -3.0, 1e300, 0.1, 12_345_678.9] {
            assert_eq!(of(value)["value"].as_f64(), Some(value));
        }
        assert_eq!(of(f64::NAN)["value"], "NaN");
        assert_eq!(of(f64::INFINITY)["value"], "+Inf");
        assert_eq!(of(stale_nan())["stale"], true);
    }

    #[test]
    fn a_histogram_is_an_object() {
        let histogram = Histogram {
            count: Some(Count::Int(6)),
            sum: 2.5,
            positive_spans: vec![
                BucketSpan { offset: 1, length: 2 },
                BucketSpan { offset: 3, length: u32::MAX },
            ],
            positive_deltas: vec![1, 1, 1],
            ..Histogram::default()
        };
        let message = histogram.encode_to_vec();
        let object = json(Point::Histogram { timestamp: 0, message: &message });
        assert_eq!(object["histogram"]["count"], 6);
        assert_eq!(object["histogram"]["positive"].to_string(), "[[1,1],[2,2],[6,3]]");
    }
}
