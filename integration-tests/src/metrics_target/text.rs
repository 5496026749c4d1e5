//! The two text formats: Prometheus' 0.0.4 and OpenMetrics 1.0.0. Native histograms have no place in them.

use std::fmt::Write as _;

use super::families::{Exemplar, Family, Labels, Value};

/// The classic format, with timestamps in milliseconds.
pub fn classic(families: &[Family], time: i64) -> Vec<u8> {
    let writer = Writer { time: time.to_string(), in_metadata: "_total", exemplars: false };
    writer.write(families).into_bytes()
}

/// OpenMetrics, with timestamps in seconds, exemplars, and its end.
pub fn openmetrics(families: &[Family], time: i64) -> Vec<u8> {
    let time = format!("{}.{:03}", time.div_euclid(1000), time.rem_euclid(1000));
    let writer = Writer { time, in_metadata: "", exemplars: true };
    let mut text = writer.write(families);
    text.push_str("# EOF\n");
    text.into_bytes()
}

struct Writer {
    time: String,
    /// What stands behind a counter's name in the lines above its samples.
    in_metadata: &'static str,
    exemplars: bool,
}

/// One line's worth.
#[derive(Clone, Copy)]
struct Point<'a> {
    /// The label that tells the samples of one histogram or summary apart.
    last: Option<(&'static str, f64)>,
    value: f64,
    exemplar: Option<&'a Exemplar>,
}

// === impl Writer ===

impl Writer {
    fn write(&self, families: &[Family]) -> String {
        let mut text = String::new();
        for family in families {
            let Some((_, value)) = family.metrics.first() else { continue };
            let (kind, suffix) = match value {
                Value::Counter(..) => ("counter", self.in_metadata),
                Value::Gauge(_) => ("gauge", ""),
                Value::Summary(..) => ("summary", ""),
                Value::Histogram(..) => ("histogram", ""),
                Value::Native(_) => continue,
            };
            let (name, help) = (format!("{}{suffix}", family.name), self.escaped(family.help));
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in &family.metrics {
                self.metric(&mut text, family.name, labels, value);
            }
        }
        text
    }

    fn metric(&self, text: &mut String, name: &str, labels: &Labels, value: &Value) {
        let plain = |value: f64| Point { last: None, value, exemplar: None };
        let mut sample = |suffix: &str, point: Point<'_>| {
            self.sample(text, &format!("{name}{suffix}"), labels, point);
        };
        match value {
            Value::Counter(value, exemplar) => {
                sample("_total", Point { exemplar: exemplar.as_ref(), ..plain(*value) });
            }
            Value::Gauge(value) => sample("", plain(*value)),
            Value::Summary(count, sum, quantiles) => {
                for (quantile, value) in quantiles {
                    sample("", Point { last: Some(("quantile", *quantile)), ..plain(*value) });
                }
                sample("_sum", plain(*sum));
                sample("_count", plain(*count as f64));
            }
            Value::Histogram(sum, buckets) => {
                for (bound, count, exemplar) in buckets {
                    let last = Some(("le", *bound));
                    sample("_bucket", Point { last, value: *count as f64, exemplar: exemplar.as_ref() });
                }
                let count = buckets.last().map_or(0, |(_, count, _)| *count);
                sample("_sum", plain(*sum));
                sample("_count", plain(count as f64));
            }
            Value::Native(_) => {}
        }
    }

    fn sample(&self, text: &mut String, name: &str, labels: &Labels, point: Point<'_>) {
        let mut pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        pairs.extend(point.last.map(|(name, value)| format!("{name}=\"{}\"", self.bound(value))));
        text.push_str(name);
        if !pairs.is_empty() {
            let _ = write!(text, "{{{}}}", pairs.join(","));
        }
        let _ = write!(text, " {} {}", number(point.value), self.time);
        if let Some(exemplar) = point.exemplar.filter(|_| self.exemplars) {
            let (trace, value) = (&exemplar.trace_id, number(exemplar.value));
            let _ = write!(text, " # {{trace_id=\"{trace}\"}} {value} {}", self.time);
        }
        text.push('\n');
    }

    /// OpenMetrics writes bounds as numbers with a point.
    fn bound(&self, value: f64) -> String {
        if self.exemplars && value.is_finite() && value.fract() == 0.0 {
            return format!("{value:.1}");
        }
        number(value)
    }

    fn escaped(&self, help: &str) -> String {
        let escaped = help.replace('\\', "\\\\").replace('\n', "\\n");
        if self.exemplars { escaped.replace('"', "\\\"") } else { escaped }
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}
