//! What requests hold, read back by other code.

use proptest::prelude::*;
use prost::Message as _;
use weir_event::stream::{Attributes, Family};
use weir_samples::document::{STALE_NAN, stale_nan, write_exemplar};
use weir_samples::labels::{LabelSet, LabelsBuilder};
use weir_samples::proto::{prometheus, write_v2};

use super::*;

const ALL: Options = Options { exemplars: true, native_histograms: true, metadata: true };

/// A sample as it is put in, and as it comes out of either version.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    labels: Vec<(String, String)>,
    value: u64,
    timestamp: i64,
    start_timestamp: i64,
    exemplars: Vec<(Vec<(String, String)>, i64)>,
}

fn write_labels(labels: &[(String, String)]) -> Vec<u8> {
    let mut builder = LabelsBuilder::new();
    labels.iter().for_each(|(name, value)| builder.push(name, value));
    let mut out = Vec::new();
    builder.finish(&mut out).unwrap();
    out
}

impl Plain {
    fn document(&self) -> Vec<u8> {
        let (labels, mut exemplars, mut out) = (write_labels(&self.labels), Vec::new(), Vec::new());
        for (labels, time) in &self.exemplars {
            write_exemplar(&mut exemplars, LabelSet::new(&write_labels(labels)), 2.5, *time);
        }
        let point = Point::Float {
            timestamp: self.timestamp,
            value: f64::from_bits(self.value),
            start_timestamp: self.start_timestamp,
        };
        Document { labels: LabelSet::new(&labels), point, exemplars: &exemplars }.write(&mut out);
        out
    }
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof!["[a-c]{1,2}", "[a-zA-Z_äö.]{1,8}"];
    let value = prop_oneof!["[a-c]{1,2}", "\\PC{1,20}"];
    prop::collection::btree_map(name, value, 0..6).prop_map(|map| map.into_iter().collect())
}

fn plain() -> impl Strategy<Value = Plain> {
    let exemplars = prop::collection::vec((labels(), prop_oneof![Just(0), 1i64..]), 0..3);
    (labels(), any::<u64>(), 1i64.., any::<i64>(), exemplars).prop_map(
        |(mut labels, value, timestamp, start_timestamp, exemplars)| {
            labels.push(("__name__".into(), "m".into()));
            labels.sort();
            Plain { labels, value, timestamp, start_timestamp, exemplars }
        },
    )
}

fn unpack(encoded: &Encoded) -> Vec<u8> {
    let bytes = snap::raw::Decoder::new().decompress_vec(&encoded.body).unwrap();
    assert_eq!(bytes.len(), encoded.unpacked);
    bytes
}

fn pairs_of(request: &write_v2::Request, refs: &[u32]) -> Vec<(String, String)> {
    let symbol = |index: u32| request.symbols[index as usize].clone();
    refs.chunks_exact(2).map(|pair| (symbol(pair[0]), symbol(pair[1]))).collect()
}

/// What both versions say of exemplars: each has a time.
fn timed(plain: &Plain) -> Vec<(Vec<(String, String)>, i64)> {
    let at = |time: i64| if time == 0 { plain.timestamp } else { time };
    plain.exemplars.iter().map(|(labels, time)| (labels.clone(), at(*time))).collect()
}

proptest! {
    #[test]
    fn what_is_put_into_a_request_of_2_0_comes_out(samples in prop::collection::vec(plain(), 0..20)) {
        let documents: Vec<Vec<u8>> = samples.iter().map(Plain::document).collect();
        let mut encoder = Encoder::new();
        for _ in 0..2 {
            let encoded = encoder.v2(documents.iter().map(|document| (&document[..], None)), ALL);
            let request = write_v2::Request::decode(&unpack(&encoded)[..]).unwrap();
            prop_assert_eq!(&request.symbols[0], "");
            let mut symbols = request.symbols.clone();
            symbols.sort();
            symbols.dedup();
            prop_assert_eq!(symbols.len(), request.symbols.len(), "no text is there twice");
            prop_assert_eq!(request.timeseries.len(), samples.len());
            for (series, plain) in request.timeseries.iter().zip(&samples) {
                prop_assert_eq!(series.labels_refs.len() % 2, 0);
                prop_assert!(series.samples.len() == 1 && series.histograms.is_empty());
                let exemplars: Vec<_> = series.exemplars.iter().map(|exemplar| (pairs_of(&request, &exemplar.labels_refs), exemplar.timestamp)).collect();
                prop_assert!(series.exemplars.iter().all(|exemplar| exemplar.value == 2.5));
                let got = Plain {
                    labels: pairs_of(&request, &series.labels_refs),
                    value: series.samples[0].value.to_bits(),
                    timestamp: series.samples[0].timestamp,
                    start_timestamp: series.samples[0].start_timestamp,
                    exemplars,
                };
                prop_assert_eq!(got, Plain { exemplars: timed(plain), ..plain.clone() });
            }
        }
    }

    #[test]
    fn what_is_put_into_a_request_of_1_0_comes_out(samples in prop::collection::vec(plain(), 0..20)) {
        let documents: Vec<Vec<u8>> = samples.iter().map(Plain::document).collect();
        let encoded = Encoder::new().v1(documents.iter().map(|document| (&document[..], None)), &[], ALL);
        let request = prometheus::WriteRequest::decode(&unpack(&encoded)[..]).unwrap();
        prop_assert_eq!(request.timeseries.len(), samples.len());
        let pairs = |labels: &[prometheus::Label]| labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect::<Vec<_>>();
        for (series, plain) in request.timeseries.iter().zip(&samples) {
            let got = Plain {
                labels: pairs(&series.labels),
                value: series.samples[0].value.to_bits(),
                timestamp: series.samples[0].timestamp,
                start_timestamp: 0,
                exemplars: series.exemplars.iter().map(|exemplar| (pairs(&exemplar.labels), exemplar.timestamp)).collect(),
            };
            prop_assert_eq!(got, Plain { exemplars: timed(plain), start_timestamp: 0, ..plain.clone() });
        }
        prop_assert_eq!(encoded.sent.floats, samples.len() as u64);
        prop_assert_eq!(encoded.sent.exemplars, samples.iter().map(|plain| plain.exemplars.len() as u64).sum::<u64>());
    }

    #[test]
    fn any_bytes_are_named_or_sent(documents: Vec<Vec<u8>>) {
        let items = || documents.iter().map(|document| (&document[..], None));
        for encoded in [Encoder::new().v1(items(), &[], ALL), Encoder::new().v2(items(), ALL)] {
            prop_assert_eq!(encoded.sent.points() as usize + encoded.skipped.len(), documents.len());
            unpack(&encoded);
        }
    }
}

#[test]
fn a_stale_marker_keeps_its_bits() {
    let plain = Plain {
        labels: vec![("__name__".into(), "up".into())],
        value: stale_nan().to_bits(),
        timestamp: 7,
        start_timestamp: 0,
        exemplars: Vec::new(),
    };
    let document = plain.document();
    let one = || std::iter::once((&document[..], None));
    let encoded = Encoder::new().v1(one(), &[], ALL);
    let request = prometheus::WriteRequest::decode(&unpack(&encoded)[..]).unwrap();
    assert_eq!(request.timeseries[0].samples[0].value.to_bits(), STALE_NAN);
    let encoded = Encoder::new().v2(one(), ALL);
    let request = write_v2::Request::decode(&unpack(&encoded)[..]).unwrap();
    assert_eq!(request.timeseries[0].samples[0].value.to_bits(), STALE_NAN);
}

#[test]
fn each_series_has_the_metadata_of_its_own_family() {
    let stream = |kind: &str, help: &str, unit: &str| {
        let family = Family { name: "m".into(), kind: kind.into(), help: help.into(), unit: unit.into() };
        Stream::new(Attributes { family: Some(Box::new(family)), ..Attributes::default() }, 0)
    };
    let (a, b) = (stream("counter", "h", "s"), stream("gauge", "", ""));
    let document = Plain {
        labels: vec![("__name__".into(), "m".into())],
        value: 0,
        timestamp: 7,
        start_timestamp: 0,
        exemplars: Vec::new(),
    }
    .document();
    let streams = [Some(&a), Some(&a), Some(&b), None, Some(&a)];
    let encoded = Encoder::new().v2(streams.into_iter().map(|stream| (&document[..], stream)), ALL);
    let request = write_v2::Request::decode(&unpack(&encoded)[..]).unwrap();
    let symbol = |index: u32| request.symbols[index as usize].as_str();
    let got: Vec<_> = request
        .timeseries
        .iter()
        .map(|series| series.metadata.map(|m| (m.r#type, symbol(m.help_ref), symbol(m.unit_ref))))
        .collect();
    let counter = Some((1, "h", "s"));
    assert_eq!(got, [counter, counter, Some((2, "", "")), None, counter]);
}
