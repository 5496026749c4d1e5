//! Messages `MetricFamily`: read one metric at a time, as the series that the text format would have.
//!
//! 1. Nothing of a message counts as read until all its series were given; then its end is ([`Item::Nothing`]).
//! 2. A series' text is written here: as in the text format, labels in the order of the message.
//! 3. Sub-messages are small ([`MAX_METRIC_BYTES`]), for in memory they take many times as much.

use std::borrow::Cow;

use prost::Message as _;

use super::exemplar::{Exemplar, milliseconds};
use super::wire::{Fields, Malformed, Value};
use super::{ExpositionError, HistogramSeries, Item, Kind, Known, Next, Series, Settings, float, native};
use crate::proto::client::{self, MetricType};
use crate::varint;

/// Largest metric of a message. Empty buckets of two bytes each take some hundred times as much when they are decoded.
const MAX_METRIC_BYTES: usize = 1 << 20;
/// Longest length before a message, as in Prometheus.
const MAX_LENGTH_BYTES: usize = 5;

/// The messages of a body.
#[derive(Debug, Default)]
pub(super) struct Families {
    step: Step,
    family: Family,
    metric: Metric,
    /// The series' text, and one blank behind it.
    text: Vec<u8>,
}

/// Where in a message reading stands.
#[derive(Clone, Copy, Debug, Default)]
enum Step {
    #[default]
    Begin,
    Unit,
    Type,
    /// A metric comes next.
    Metric,
    /// This series of the metric comes next.
    Series(usize),
}

/// What was found.
#[derive(Clone, Copy, Debug)]
enum Found {
    Help,
    Unit,
    Type,
    Series(Point),
    Histogram,
    /// The end of a message that is so long.
    Message(usize),
    More,
    End,
}

/// What the message says of its family.
#[derive(Debug, Default)]
struct Family {
    name: String,
    help: String,
    unit: String,
    kind: Kind,
    /// Length of the message, with the length before it.
    length: usize,
    /// Where in it the next field stands that may be a metric.
    at: usize,
}

/// One metric.
#[derive(Debug, Default)]
struct Metric {
    /// As they stand between braces, in the text format.
    labels: Vec<u8>,
    timestamp: i64,
    gauge: client::Gauge,
    counter: client::Counter,
    summary: client::Summary,
    untyped: client::Untyped,
    histogram: client::Histogram,
}

/// A series of a metric.
#[derive(Clone, Copy, Debug)]
struct Point {
    value: f64,
    suffix: &'static str,
    /// The label that tells it from the metric's other series.
    label: Option<(&'static str, f64)>,
    /// The bucket whose exemplar is the series'.
    bucket: Option<usize>,
}

// === impl Families ===

impl Families {
    pub(super) fn next<'a>(
        &'a mut self,
        input: &'a [u8],
        at_end: bool,
        settings: &Settings,
        known: &mut impl Known,
    ) -> Result<Next<'a>, ExpositionError> {
        let found = self.advance(input, at_end, settings)?;
        let family = Cow::Borrowed(self.family.name.as_str());
        let item = match found {
            Found::End => return Ok(Next::End),
            Found::More => return Ok(Next::More),
            Found::Message(length) => return Ok(Next::Item(Item::Nothing, length)),
            Found::Help => Item::Help { family, text: Cow::Borrowed(&self.family.help) },
            Found::Unit => Item::Unit { family, unit: Cow::Borrowed(&self.family.unit) },
            Found::Type => Item::Type { family, kind: self.family.kind },
            Found::Series(point) => Item::Series(self.series(point, known)),
            Found::Histogram => Item::Histogram(Box::new(self.histogram(known)?)),
        };
        Ok(Next::Item(item, 0))
    }

    fn advance(&mut self, input: &[u8], at_end: bool, settings: &Settings) -> Result<Found, ExpositionError> {
        loop {
            match self.step {
                Step::Begin => return self.begin(input, at_end, settings.limit),
                Step::Unit => {
                    self.step = Step::Type;
                    if !self.family.unit.is_empty() {
                        return Ok(Found::Unit);
                    }
                }
                Step::Type => {
                    self.step = Step::Metric;
                    return Ok(Found::Type);
                }
                Step::Metric => {
                    if !self.read_metric(input)? {
                        self.step = Step::Begin;
                        return Ok(Found::Message(self.family.length));
                    }
                    self.step = Step::Series(0);
                    if settings.native_histograms && self.is_native() {
                        let has_classic = !self.metric.histogram.bucket.is_empty();
                        if !(has_classic && settings.always_scrape_classic_histograms) {
                            self.step = Step::Metric;
                        }
                        self.write_text("", None);
                        return Ok(Found::Histogram);
                    }
                }
                Step::Series(index) => match self.metric.point(self.family.kind, index) {
                    Some(point) => {
                        self.step = Step::Series(index + 1);
                        self.write_text(point.suffix, point.label);
                        return Ok(Found::Series(point));
                    }
                    None => self.step = Step::Metric,
                },
            }
        }
    }

    fn is_native(&self) -> bool {
        matches!(self.family.kind, Kind::Histogram | Kind::GaugeHistogram)
            && native::is_native(&self.metric.histogram)
    }

    /// Reads what a message says of its family.
    fn begin(&mut self, input: &[u8], at_end: bool, limit: usize) -> Result<Found, ExpositionError> {
        if input.is_empty() {
            return Ok(if at_end { Found::End } else { Found::More });
        }
        let incomplete = if at_end { Err(ExpositionError::Truncated) } else { Ok(Found::More) };
        let prefix = input.get(..MAX_LENGTH_BYTES).unwrap_or(input);
        let Some((length, rest)) = varint::read(prefix) else {
            return if prefix.len() < MAX_LENGTH_BYTES {
                incomplete
            } else {
                Err(invalid("a message without a length before it", ""))
            };
        };
        let head = prefix.len() - rest.len();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(ExpositionError::TooLarge { limit });
        }
        let Some(message) = input.get(head..head + length) else { return incomplete };
        self.family.length = head + length;
        self.family.at = head;
        if !self.family.read(message)? {
            return Ok(Found::Message(self.family.length));
        }
        self.step = Step::Unit;
        Ok(Found::Help)
    }

    /// Reads the next metric, if there is one.
    fn read_metric(&mut self, input: &[u8]) -> Result<bool, ExpositionError> {
        let message = input.get(self.family.at..self.family.length).unwrap_or_default();
        let mut fields = Fields(message);
        while let Some(field) = fields.next() {
            let Ok((number, value)) = field else { return Err(self.malformed()) };
            if let (4, Value::Bytes(metric)) = (number, value) {
                self.family.at = self.family.length - fields.0.len();
                if metric.len() > MAX_METRIC_BYTES {
                    return Err(ExpositionError::TooLarge { limit: MAX_METRIC_BYTES });
                }
                self.metric.clear();
                return match self.metric.read(metric) {
                    Ok(()) => Ok(true),
                    Err(what) => Err(invalid(what, &self.family.name)),
                };
            }
        }
        Ok(false)
    }

    fn malformed(&self) -> ExpositionError {
        invalid(MALFORMED, &self.family.name)
    }

    fn series<'a>(&'a self, point: Point, known: &mut impl Known) -> Series<'a> {
        let exemplar = match point.bucket {
            Some(bucket) => {
                self.metric.histogram.bucket.get(bucket).and_then(|bucket| bucket.exemplar.as_ref())
            }
            None if self.family.kind == Kind::Counter => self.metric.counter.exemplar.as_ref(),
            None => None,
        };
        let (text, recognised) = self.recognise(known);
        Series {
            text,
            recognised,
            value: point.value,
            timestamp: self.timestamp(),
            start_timestamp: self.start_timestamp(),
            exemplar: exemplar.map(Exemplar::of_message),
            kind: self.family.kind,
        }
    }

    fn histogram<'a>(&'a self, known: &mut impl Known) -> Result<HistogramSeries<'a>, ExpositionError> {
        let from = &self.metric.histogram;
        let (text, recognised) = self.recognise(known);
        let may_fall = self.family.kind == Kind::GaugeHistogram;
        let histogram = native::convert(from, may_fall, self.metric.timestamp, self.start_timestamp())
            .map_err(|what| invalid(what, &self.family.name))?;
        let of_buckets = from.bucket.iter().filter_map(|bucket| bucket.exemplar.as_ref());
        let exemplars: Vec<&client::Exemplar> = match from.exemplars.is_empty() {
            true => of_buckets.collect(),
            false => from.exemplars.iter().collect(),
        };
        // Prometheus wants a time with each exemplar of a native histogram, so that it can tell them apart.
        let exemplars = exemplars.into_iter().map(Exemplar::of_message);
        let exemplars = exemplars.filter(|exemplar| exemplar.timestamp.is_some()).collect();
        let timestamp = self.timestamp();
        Ok(HistogramSeries { text, recognised, timestamp, histogram, exemplars, kind: self.family.kind })
    }

    fn timestamp(&self) -> Option<i64> {
        (self.metric.timestamp != 0).then_some(self.metric.timestamp)
    }

    fn start_timestamp(&self) -> i64 {
        let time = match self.family.kind {
            Kind::Counter => self.metric.counter.created_timestamp.as_ref(),
            Kind::Summary => self.metric.summary.created_timestamp.as_ref(),
            Kind::Histogram | Kind::GaugeHistogram => self.metric.histogram.created_timestamp.as_ref(),
            _ => None,
        };
        time.map_or(0, milliseconds)
    }

    fn recognise(&self, known: &mut impl Known) -> (&[u8], bool) {
        let text = self.text.strip_suffix(b" ").unwrap_or(&self.text);
        (text, known.recognise(&self.text) == Some(text.len()))
    }

    fn write_text(&mut self, suffix: &str, label: Option<(&str, f64)>) {
        let name = &self.family.name;
        let out = &mut self.text;
        out.clear();
        let is_plain = is_plain(name);
        if is_plain {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
        }
        if !is_plain || label.is_some() || !self.metric.labels.is_empty() {
            out.push(b'{');
            if !is_plain {
                out.push(b'"');
                write_escaped(out, name);
                out.extend_from_slice(suffix.as_bytes());
                out.extend_from_slice(b"\",");
            }
            out.extend_from_slice(&self.metric.labels);
            if let Some((name, number)) = label {
                let mut value = String::with_capacity(24);
                float::write_canonical(&mut value, number);
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"=\"");
                out.extend_from_slice(value.as_bytes());
                out.push(b'"');
            }
            out.push(b'}');
        }
        out.push(b' ');
    }
}

const MALFORMED: &str = "a message is not a MetricFamily";

fn invalid(what: &'static str, family: &str) -> ExpositionError {
    ExpositionError::InvalidMessage { what, family: family.to_owned() }
}

// === impl Family ===

impl Family {
    /// Reads everything but the metrics. Whether there is one: a family without any is not looked at further.
    fn read(&mut self, message: &[u8]) -> Result<bool, ExpositionError> {
        let (mut name, mut help, mut unit): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let (mut kind, mut has_metric) = (MetricType::Counter as i32, false);
        for field in Fields(message) {
            match field {
                Ok((1, Value::Bytes(text))) => name = text,
                Ok((2, Value::Bytes(text))) => help = text,
                Ok((3, Value::Varint(number))) => kind = number as i32,
                Ok((4, Value::Bytes(_))) => has_metric = true,
                Ok((5, Value::Bytes(text))) => unit = text,
                Ok((1..=5, _)) | Err(Malformed) => return Err(invalid(MALFORMED, "")),
                Ok(_) => {}
            }
        }
        if !has_metric {
            return Ok(false);
        }
        let name = std::str::from_utf8(name).map_err(|_| invalid("a metric's name is not UTF-8", ""))?;
        if name.is_empty() {
            return Err(invalid("a metric's name is empty", ""));
        }
        replace(&mut self.name, name);
        let help = std::str::from_utf8(help).map_err(|_| invalid("a help text is not UTF-8", name))?;
        replace(&mut self.help, help);
        replace(&mut self.unit, &String::from_utf8_lossy(unit));
        self.kind = match MetricType::try_from(kind) {
            Ok(MetricType::Counter) => Kind::Counter,
            Ok(MetricType::Gauge) => Kind::Gauge,
            Ok(MetricType::Summary) => Kind::Summary,
            Ok(MetricType::Untyped) => Kind::Unknown,
            Ok(MetricType::Histogram) => Kind::Histogram,
            Ok(MetricType::GaugeHistogram) => Kind::GaugeHistogram,
            Err(_) => return Err(invalid("a type that does not exist", name)),
        };
        Ok(true)
    }
}

// === impl Metric ===

impl Metric {
    fn clear(&mut self) {
        self.labels.clear();
        self.timestamp = 0;
        self.gauge.clear();
        self.counter.clear();
        self.summary.clear();
        self.untyped.clear();
        self.histogram.clear();
    }

    fn read(&mut self, message: &[u8]) -> Result<(), &'static str> {
        for field in Fields(message) {
            let merged = match field {
                Ok((1, Value::Bytes(label))) => {
                    self.read_label(label)?;
                    Ok(())
                }
                Ok((2, Value::Bytes(bytes))) => self.gauge.merge(bytes),
                Ok((3, Value::Bytes(bytes))) => self.counter.merge(bytes),
                Ok((4, Value::Bytes(bytes))) => self.summary.merge(bytes),
                Ok((5, Value::Bytes(bytes))) => self.untyped.merge(bytes),
                Ok((6, Value::Varint(number))) => {
                    self.timestamp = number as i64;
                    Ok(())
                }
                Ok((7, Value::Bytes(bytes))) => self.histogram.merge(bytes),
                Ok((1..=7, _)) | Err(Malformed) => return Err(MALFORMED),
                Ok(_) => Ok(()),
            };
            merged.map_err(|_| MALFORMED)?;
        }
        Ok(())
    }

    fn read_label(&mut self, message: &[u8]) -> Result<(), &'static str> {
        let (mut name, mut value): (Option<&[u8]>, &[u8]) = (None, b"");
        for field in Fields(message) {
            match field {
                Ok((1, Value::Bytes(b""))) => return Err("a label's name is empty"),
                Ok((1, Value::Bytes(text))) => name = Some(text),
                Ok((2, Value::Bytes(text))) => value = text,
                Ok((1 | 2, _)) | Err(Malformed) => return Err(MALFORMED),
                Ok(_) => {}
            }
        }
        let name =
            std::str::from_utf8(name.unwrap_or_default()).map_err(|_| "a label's name is not UTF-8")?;
        let value = std::str::from_utf8(value).map_err(|_| "a label's value is not UTF-8")?;
        if value.is_empty() {
            return Ok(());
        }
        if name.is_empty() {
            return Err("a label's name is empty");
        }
        self.write_label(name, value);
        Ok(())
    }

    fn write_label(&mut self, name: &str, value: &str) {
        let out = &mut self.labels;
        if is_plain(name) && !name.contains(':') {
            out.extend_from_slice(name.as_bytes());
        } else {
            out.push(b'"');
            write_escaped(out, name);
            out.push(b'"');
        }
        out.extend_from_slice(b"=\"");
        write_escaped(out, value);
        out.extend_from_slice(b"\",");
    }

    /// A series of the metric, in the order in which Prometheus reads them.
    fn point(&self, kind: Kind, index: usize) -> Option<Point> {
        let point = |value, suffix| Point { value, suffix, label: None, bucket: None };
        match kind {
            Kind::Summary => self.summary_point(index),
            Kind::Histogram | Kind::GaugeHistogram => self.histogram_point(index),
            _ if index > 0 => None,
            Kind::Counter => Some(point(self.counter.value(), "")),
            Kind::Gauge => Some(point(self.gauge.value(), "")),
            _ => Some(point(self.untyped.value(), "")),
        }
    }

    fn summary_point(&self, index: usize) -> Option<Point> {
        let point = |value, suffix| Point { value, suffix, label: None, bucket: None };
        Some(match index {
            0 => point(self.summary.sample_count() as f64, "_count"),
            1 => point(self.summary.sample_sum(), "_sum"),
            index => {
                let quantile = self.summary.quantile.get(index - 2)?;
                Point { label: Some(("quantile", quantile.quantile())), ..point(quantile.value(), "") }
            }
        })
    }

    fn histogram_point(&self, index: usize) -> Option<Point> {
        let histogram = &self.histogram;
        let point = |value, suffix| Point { value, suffix, label: None, bucket: None };
        let either = |float: f64, whole: u64| if float == 0.0 { whole as f64 } else { float };
        let count = either(histogram.sample_count_float(), histogram.sample_count());
        let Some(index) = index.checked_sub(2) else {
            return Some(if index == 0 {
                point(count, "_count")
            } else {
                point(histogram.sample_sum(), "_sum")
            });
        };
        let previous = index.checked_sub(1).and_then(|previous| histogram.bucket.get(previous));
        let is_behind = index > histogram.bucket.len();
        if is_behind || previous.is_some_and(|bucket| bucket.upper_bound() == f64::INFINITY) {
            return None;
        }
        let (value, bound, bucket) = match histogram.bucket.get(index) {
            Some(bucket) => {
                let value = either(bucket.cumulative_count_float(), bucket.cumulative_count());
                (value, bucket.upper_bound(), Some(index))
            }
            None => (count, f64::INFINITY, None),
        };
        Some(Point { label: Some(("le", bound)), bucket, ..point(value, "_bucket") })
    }
}

fn replace(text: &mut String, with: &str) {
    text.clear();
    text.push_str(with);
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    use super::cursor::{begins_name, is_in_name};
    name.bytes().next().is_some_and(begins_name) && name.bytes().all(is_in_name)
}

fn write_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
}
