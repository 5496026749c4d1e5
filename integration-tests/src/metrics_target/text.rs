//! The two text formats: Prometheus' 0.0.4 and OpenMetrics 1.0.0. Native histograms have no place in them.

use std::fmt::Write as _;

use super::families::{Exemplar, Family, Labels, Value};

/// The classic format, with timestamps in milliseconds.
pub fn classic(families: &[Family], time: i64) -> Vec<u8> {
    let writer =
        Writer { time: time.to_string(), counter: "_total", in_metadata: "_total", exemplars: false };
    writer.write(families).into_bytes()
}

/// OpenMetrics, with timestamps in seconds, exemplars, and its end.
pub fn openmetrics(families: &[Family], time: i64) -> Vec<u8> {
    let time = format!("{}.{:03}", time.div_euclid(1000), time.rem_euclid(1000));
    let writer = Writer { time, counter: "_total", in_metadata: "", exemplars: true };
    let mut text = writer.write(families);
    text.push_str("# EOF\n");
    text.into_bytes()
}

struct Writer {
    time: String,
    /// The suffix of a counter's sample.
    counter: &'static str,
    /// The same in the lines above it.
    in_metadata: &'static str,
    exemplars: bool,
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
        match value {
            Value::Counter(value, exemplar) => {
                self.sample(
                    text,
                    &format!("{name}{}", self.counter),
                    labels,
                    None,
                    *value,
                    exemplar.as_ref(),
                );
            }
            Value::Gauge(value) => self.sample(text, name, labels, None, *value, None),
            Value::Summary(count, sum, quantiles) => {
                for (quantile, value) in quantiles {
                    self.sample(text, name, labels, Some(("quantile", *quantile)), *value, None);
                }
                self.sample(text, &format!("{name}_sum"), labels, None, *sum, None);
                self.sample(text, &format!("{name}_count"), labels, None, *count as f64, None);
            }
            Value::Histogram(sum, buckets) => {
                let bucket = format!("{name}_bucket");
                for (bound, count, exemplar) in buckets {
                    self.sample(
                        text,
                        &bucket,
                        labels,
                        Some(("le", *bound)),
                        *count as f64,
                        exemplar.as_ref(),
                    );
                }
                let count = buckets.last().map_or(0, |(_, count, _)| *count);
                self.sample(text, &format!("{name}_sum"), labels, None, *sum, None);
                self.sample(text, &format!("{name}_count"), labels, None, count as f64, None);
            }
            Value::Native(_) => {}
        }
    }

    fn sample(
        &self,
        text: &mut String,
        name: &str,
        labels: &Labels,
        last: Option<(&str, f64)>,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) {
        let mut pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        pairs.extend(last.map(|(name, value)| format!("{name}=\"{}\"", self.bound(value))));
        text.push_str(name);
        if !pairs.is_empty() {
            let _ = write!(text, "{{{}}}", pairs.join(","));
        }
        let _ = write!(text, " {} {}", number(value), self.time);
        if let Some(exemplar) = exemplar.filter(|_| self.exemplars) {
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
