//! Documents as messages of remote write: what whoever sends them needs beside the messages of [`crate::proto`], made
//! without allocating for each sample.

use weir_event::stream::Family;

use crate::document::{Document, Point, SAMPLE_TAG, split_labels, write_exemplar, write_sample};
use crate::labels::LabelSet;
use crate::proto::prometheus::MetricType;
use crate::varint;

/// Field 1 of `WriteRequest`, with a length.
const SERIES_TAG: u8 = 0x0a;
/// Field 3 of `WriteRequest`, with a length.
const METADATA_TAG: u8 = 0x1a;
/// Field 3 of `TimeSeries`, with a length.
const EXEMPLAR_TAG: u8 = 0x1a;
/// Field 4 of `TimeSeries`, with a length.
const HISTOGRAM_TAG: u8 = 0x22;
/// Field 17 of `Histogram`, a varint.
const HISTOGRAM_START_TAG: u64 = 17 << 3;

/// Bytes of the field `samples` with a value and a time that is a varint of six bytes.
const PLAIN_BYTES: usize = 18;
/// Those behind its tag and its length.
const PLAIN_LENGTH: u8 = 16;

/// An exemplar of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// What tells it from others, such as `trace_id`.
    pub labels: LabelSet<'a>,
    /// What was measured.
    pub value: f64,
    /// Milliseconds since the Unix epoch; 0 where nobody said.
    pub timestamp: i64,
}

/// The exemplars of a document, one after the other. It ends early at bytes that are none.
#[derive(Clone, Debug)]
pub struct Exemplars<'a>(&'a [u8]);

// === impl Exemplars ===

impl<'a> Exemplars<'a> {
    /// Those of [`Document::exemplars`].
    pub fn new(bytes: &'a [u8]) -> Exemplars<'a> {
        Exemplars(bytes)
    }
}

impl<'a> Iterator for Exemplars<'a> {
    type Item = Exemplar<'a>;

    fn next(&mut self) -> Option<Exemplar<'a>> {
        let rest = self.0.strip_prefix(&[EXEMPLAR_TAG])?;
        let (message, rest) = varint::read_bytes(rest)?;
        let (labels, message) = split_labels(message).ok()?;
        let (value, message) = message.strip_prefix(&[0x11])?.split_first_chunk::<8>()?;
        let timestamp = match message.strip_prefix(&[0x18]) {
            Some(message) => varint::read(message)?.0 as i64,
            None => 0,
        };
        self.0 = rest;
        Some(Exemplar {
            labels: LabelSet::new(labels),
            value: f64::from_bits(u64::from_le_bytes(*value)),
            timestamp,
        })
    }
}

/// Appends a number as a varint (protobuf.dev, "Encoding").
#[inline]
pub fn write_varint(out: &mut Vec<u8>, number: u64) {
    varint::write(out, number);
}

/// Bytes of a number as a varint.
#[inline]
pub fn varint_len(number: u64) -> usize {
    varint::len(number)
}

/// The label that the bytes begin with, as it lies there, and what follows it.
#[inline]
pub fn split_label(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = varint::read_bytes(bytes.strip_prefix(&[crate::labels::LABEL_TAG])?)?.1;
    bytes.split_at_checked(bytes.len() - rest.len())
}

/// The time, in milliseconds since the Unix epoch, of a document that can be sent in 1.0 as it lies there: a number with
/// nothing beside it, of a time between 1971 and 2109. `None` where that cannot be seen at the document's end. What comes
/// before are its labels, most of the document, from memory that nobody has touched for long: they are not looked at.
#[inline]
pub fn plain(bytes: &[u8]) -> Option<i64> {
    let point = bytes.last_chunk::<PLAIN_BYTES>()?;
    let [SAMPLE_TAG, PLAIN_LENGTH, 0x09, .., 0x10, a, b, c, d, e, f] = *point else { return None };
    let is_number = a & b & c & d & e & 0x80 != 0 && f & 0x80 == 0;
    let [a, b, c, d, e] = [a, b, c, d, e].map(|byte| i64::from(byte & 0x7f));
    let time = a | b << 7 | c << 14 | d << 21 | e << 28 | i64::from(f) << 35;
    is_number.then_some(time)
}

/// Appends the field `timeseries` of a `prometheus.WriteRequest` (remote write 1.0) with such a document.
#[inline]
pub fn write_plain(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(SERIES_TAG);
    varint::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the field `timeseries` of a `prometheus.WriteRequest` (remote write 1.0) with one document: `bytes` are those
/// that `document` was read from. 1.0 knows no start timestamps; an exemplar without a time has that of its sample.
/// Exemplars of a histogram follow as a field `timeseries` of their own, as Prometheus sends them: its receiver looks at
/// the exemplars of a series before its histograms, and would refuse those of a series that is new to it. `scratch` is memory to be used again.
pub fn write_series(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    (bytes, document): (&[u8], &Document<'_>),
    with_exemplars: bool,
) {
    out.push(SERIES_TAG);
    if let Point::Float { start_timestamp: 0, .. } = document.point
        && document.exemplars.is_empty()
    {
        varint::write(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        return;
    }
    scratch.clear();
    match document.point {
        Point::Float { timestamp, value, .. } => write_sample(scratch, timestamp, value, 0),
        Point::Histogram { message, .. } => {
            scratch.push(HISTOGRAM_TAG);
            varint::write(scratch, without_start(message).map(|field| field.len() as u64).sum());
            without_start(message).for_each(|field| scratch.extend_from_slice(field));
        }
    }
    let labels = document.labels.bytes();
    let mut exemplars = Exemplars::new(document.exemplars).filter(|_| with_exemplars).peekable();
    if matches!(document.point, Point::Histogram { .. }) && exemplars.peek().is_some() {
        varint::write(out, (labels.len() + scratch.len()) as u64);
        out.extend_from_slice(labels);
        out.extend_from_slice(scratch);
        scratch.clear();
        out.push(SERIES_TAG);
    }
    for exemplar in exemplars {
        let time = if exemplar.timestamp == 0 { document.point.timestamp() } else { exemplar.timestamp };
        write_exemplar(scratch, exemplar.labels, exemplar.value, time);
    }
    varint::write(out, (labels.len() + scratch.len()) as u64);
    out.extend_from_slice(labels);
    out.extend_from_slice(scratch);
}

/// Appends the field `metadata` of a `prometheus.WriteRequest` (remote write 1.0, prompb/types.proto: `MetricMetadata`).
pub fn write_metadata(out: &mut Vec<u8>, family: &Family) {
    let mut message = Vec::new();
    let number = metric_type(&family.kind) as u64;
    if number != 0 {
        message.push(0x08);
        varint::write(&mut message, number);
    }
    for (tag, text) in [(0x12, &family.name), (0x22, &family.help), (0x2a, &family.unit)] {
        if !text.is_empty() {
            message.push(tag);
            varint::write(&mut message, text.len() as u64);
            message.extend_from_slice(text.as_bytes());
        }
    }
    out.push(METADATA_TAG);
    varint::write(out, message.len() as u64);
    out.extend_from_slice(&message);
}

/// The number of a type of metrics, the same in 1.0 and 2.0.
pub fn metric_type(kind: &str) -> MetricType {
    match kind {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "gaugehistogram" => MetricType::GaugeHistogram,
        "summary" => MetricType::Summary,
        "info" => MetricType::Info,
        "stateset" => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// The fields of a message `Histogram` but its start timestamp; what is not readable is left out.
fn without_start(mut message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fields = std::iter::from_fn(move || {
        let (field, rest) = split_field(message)?;
        message = rest;
        Some(field)
    });
    fields.filter(|field| varint::read(field).is_none_or(|(tag, _)| tag != HISTOGRAM_START_TAG))
}

/// The field that a message begins with, with its tag, and what follows it.
fn split_field(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, rest) = varint::read(message)?;
    let rest = match tag & 7 {
        0 => varint::read(rest)?.1,
        1 => rest.get(8..)?,
        2 => varint::read_bytes(rest)?.1,
        5 => rest.get(4..)?,
        _ => return None,
    };
    message.split_at_checked(message.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::labels::LabelsBuilder;
    use crate::proto::prometheus::WriteRequest;
    use crate::proto::write_v2;

    fn labels(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = LabelsBuilder::new();
        pairs.iter().for_each(|(name, value)| builder.push(name, value));
        let mut out = Vec::new();
        builder.finish(&mut out).unwrap();
        out
    }

    fn written(document: &Document<'_>, with_exemplars: bool) -> WriteRequest {
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        document.write(&mut bytes);
        write_series(&mut out, &mut Vec::new(), (&bytes, document), with_exemplars);
        WriteRequest::decode(&out[..]).unwrap()
    }

    proptest! {
        #[test]
        fn a_series_of_1_0_has_what_its_document_has_but_no_start(
            value: u64,
            timestamp in 1i64..,
            start_timestamp: i64,
            exemplar_times in prop::collection::vec(0i64.., 0..3),
            with_exemplars: bool,
        ) {
            let (set, trace) = (labels(&[("__name__", "up"), ("job", "a")]), labels(&[("trace_id", "7")]));
            let mut exemplars = Vec::new();
            for time in &exemplar_times {
                write_exemplar(&mut exemplars, LabelSet::new(&trace), 0.5, *time);
            }
            let point = Point::Float { timestamp, value: f64::from_bits(value), start_timestamp };
            let document = Document { labels: LabelSet::new(&set), point, exemplars: &exemplars };
            let request = written(&document, with_exemplars);
            let series = &request.timeseries[0];
            prop_assert_eq!(series.labels.len(), 2);
            prop_assert_eq!((series.samples[0].timestamp, series.samples[0].value.to_bits()), (timestamp, value));
            let times: Vec<i64> = series.exemplars.iter().map(|exemplar| exemplar.timestamp).collect();
            let at = |time: &i64| if *time == 0 { timestamp } else { *time };
            let wanted: Vec<i64> = exemplar_times.iter().filter(|_| with_exemplars).map(at).collect();
            prop_assert_eq!(times, wanted);
            let mut plain = Vec::new();
            write_sample(&mut plain, timestamp, f64::from_bits(value), 0);
            let mut out = Vec::new();
            let mut bytes = Vec::new();
            document.write(&mut bytes);
            write_series(&mut out, &mut Vec::new(), (&bytes, &document), false);
            prop_assert!(out.ends_with(&plain), "no field of 2.0 is left in the sample");
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            Exemplars::new(&bytes).count();
            without_start(&bytes).count();
            let _ = split_label(&bytes);
        }
    }

    #[test]
    fn only_a_number_with_nothing_beside_it_is_plain() {
        let (set, trace) = (labels(&[("__name__", "up")]), labels(&[("trace_id", "7")]));
        let now = 1_700_000_000_123;
        let mut exemplar = Vec::new();
        write_exemplar(&mut exemplar, LabelSet::new(&trace), 0.5, now);
        let of = |timestamp, start_timestamp, exemplars: &[u8]| {
            let point = Point::Float { timestamp, value: 1.5, start_timestamp };
            let document = Document { labels: LabelSet::new(&set), point, exemplars };
            let mut bytes = Vec::new();
            document.write(&mut bytes);
            (plain(&bytes), bytes)
        };
        assert_eq!(of(now, 0, &[]).0, Some(now));
        for bytes in
            [of(now, now, &[]), of(now, 7, &[]), of(now, 0, &exemplar), of(7, 0, &[]), of(-1, 0, &[])]
        {
            assert_eq!(bytes.0, None);
        }
        let (mut out, (_, bytes)) = (Vec::new(), of(now, 0, &[]));
        write_plain(&mut out, &bytes);
        assert_eq!(WriteRequest::decode(&out[..]).unwrap().timeseries[0].samples[0].timestamp, now);
    }

    #[test]
    fn exemplars_of_a_histogram_follow_it() {
        let histogram = write_v2::Histogram { sum: 1.5, timestamp: 7, ..Default::default() };
        let (set, trace) = (labels(&[("__name__", "h")]), labels(&[("trace_id", "7")]));
        let (message, mut exemplars) = (histogram.encode_to_vec(), Vec::new());
        write_exemplar(&mut exemplars, LabelSet::new(&trace), 0.5, 6);
        let point = Point::Histogram { timestamp: 7, message: &message };
        let document = Document { labels: LabelSet::new(&set), point, exemplars: &exemplars };
        let request = written(&document, true);
        let [first, second] = &request.timeseries[..] else { panic!("{request:?}") };
        assert_eq!((first.histograms.len(), first.exemplars.len()), (1, 0));
        assert_eq!((second.histograms.len(), second.exemplars.len()), (0, 1));
        assert_eq!(first.labels, second.labels);
        assert_eq!(written(&document, false).timeseries.len(), 1);
    }

    #[test]
    fn a_histogram_loses_its_start_in_1_0_and_nothing_else() {
        let histogram = write_v2::Histogram {
            count: Some(write_v2::Count::Int(7)),
            sum: 1.5,
            schema: 3,
            positive_spans: vec![write_v2::BucketSpan { offset: 1, length: 2 }],
            positive_deltas: vec![3, 1],
            timestamp: 1_700_000_000_123,
            custom_values: vec![0.5],
            start_timestamp: 1_600_000_000_000,
            ..Default::default()
        };
        let (set, message) = (labels(&[("__name__", "h")]), histogram.encode_to_vec());
        let point = Point::Histogram { timestamp: histogram.timestamp, message: &message };
        let document = Document { labels: LabelSet::new(&set), point, exemplars: &[] };
        let got = written(&document, true).timeseries.remove(0).histograms.remove(0);
        assert_eq!(got, write_v2::Histogram { start_timestamp: 0, ..histogram });
    }

    #[test]
    fn metadata_is_what_the_family_says() {
        let family = Family {
            name: "http_requests".into(),
            kind: "counter".into(),
            unit: "requests".into(),
            help: "All of them.".into(),
        };
        let mut out = Vec::new();
        write_metadata(&mut out, &family);
        let metadata = WriteRequest::decode(&out[..]).unwrap().metadata.remove(0);
        assert_eq!(metadata.r#type(), MetricType::Counter);
        assert_eq!(
            (metadata.metric_family_name, metadata.help, metadata.unit),
            (family.name, family.help, family.unit)
        );
        assert_eq!(metric_type("something"), MetricType::Unknown);
    }
}
