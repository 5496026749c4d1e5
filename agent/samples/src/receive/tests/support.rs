//! Requests as a test writes them, in both versions, and rows as a test reads them.

use prost::Message as _;

use crate::document::Document;
use crate::labels::LabelSet;
use crate::proto::prometheus::{self, TimeSeries, WriteRequest};
use crate::proto::write_v2::{self, Histogram, Request};
use crate::receive::{Decoded, Decoder, Report, Samples, Version};

pub const LIMIT: usize = 1 << 20;

pub type Labels = Vec<(String, String)>;

/// A series of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub labels: Labels,
    /// Timestamp in milliseconds, and value.
    pub samples: Vec<(i64, f64)>,
    pub histograms: Vec<Histogram>,
    /// Labels, value, timestamp in milliseconds.
    pub exemplars: Vec<(Labels, f64, i64)>,
}

/// Texts of a 2.0 request.
#[derive(Default)]
pub struct Symbols(pub Vec<String>);

impl Symbols {
    pub fn new() -> Symbols {
        Symbols(vec![String::new()])
    }

    pub fn refer(&mut self, text: &str) -> u32 {
        let known = self.0.iter().position(|symbol| symbol == text);
        let at = known.unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        at as u32
    }

    pub fn labels(&mut self, labels: &Labels) -> Vec<u32> {
        labels.iter().flat_map(|(name, value)| [self.refer(name), self.refer(value)]).collect()
    }
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A series with one sample.
pub fn series(pairs: &[(&str, &str)]) -> Series {
    Series { labels: labels(pairs), samples: vec![(1_000, 1.5)], ..Series::default() }
}

/// A histogram of whole numbers: two buckets of 2 and 3, and 1 in the zero bucket.
pub fn histogram(timestamp: i64) -> Histogram {
    Histogram {
        count: Some(write_v2::Count::Int(6)),
        sum: 9.5,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: Some(write_v2::ZeroCount::Int(1)),
        positive_spans: vec![write_v2::BucketSpan { offset: -2, length: 2 }],
        positive_deltas: vec![2, 1],
        timestamp,
        ..Histogram::default()
    }
}

pub fn v1_series(series: &Series) -> TimeSeries {
    let labels = |labels: &Labels| {
        let label =
            |(name, value): &(String, String)| prometheus::Label { name: name.clone(), value: value.clone() };
        labels.iter().map(label).collect::<Vec<_>>()
    };
    let exemplar = |(pairs, value, timestamp): &(Labels, f64, i64)| prometheus::Exemplar {
        labels: labels(pairs),
        value: *value,
        timestamp: *timestamp,
    };
    let sample = |&(timestamp, value): &(i64, f64)| prometheus::Sample { value, timestamp };
    TimeSeries {
        labels: labels(&series.labels),
        samples: series.samples.iter().map(sample).collect(),
        exemplars: series.exemplars.iter().map(exemplar).collect(),
        histograms: series.histograms.clone(),
    }
}

pub fn v2_series(series: &Series, symbols: &mut Symbols) -> write_v2::TimeSeries {
    let sample = |&(timestamp, value): &(i64, f64)| write_v2::Sample { value, timestamp, start_timestamp: 0 };
    let exemplar = |(labels, value, timestamp): &(Labels, f64, i64)| write_v2::Exemplar {
        labels_refs: symbols.labels(labels),
        value: *value,
        timestamp: *timestamp,
    };
    write_v2::TimeSeries {
        exemplars: series.exemplars.iter().map(exemplar).collect(),
        labels_refs: symbols.labels(&series.labels),
        samples: series.samples.iter().map(sample).collect(),
        histograms: series.histograms.clone(),
        metadata: None,
    }
}

pub fn body(version: Version, series: &[Series]) -> Vec<u8> {
    match version {
        Version::V1 => {
            let timeseries = series.iter().map(v1_series).collect();
            WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
        }
        Version::V2 => {
            let mut symbols = Symbols::new();
            let timeseries = series.iter().map(|series| v2_series(series, &mut symbols)).collect();
            Request { symbols: symbols.0, timeseries }.encode_to_vec()
        }
    }
}

pub fn decoder() -> Decoder {
    Decoder::new([("cluster".to_owned(), "c1".to_owned()), ("node".to_owned(), String::new())])
}

/// What a request becomes, without external labels.
pub fn decode(version: Version, series: &[Series]) -> Decoded {
    Decoder::new([]).decode(version, &body(version, series), LIMIT).unwrap()
}

/// The documents of all rows, each looked through.
pub fn documents(samples: &Samples) -> Vec<TimeSeries> {
    let documents = samples.rows().map(|row| {
        let mut bytes = Vec::new();
        row.write(&mut bytes);
        assert_eq!(bytes.len(), row.bytes());
        let document = Document::read(&bytes).unwrap();
        assert_eq!(document.labels, LabelSet::new(row.labels));
        assert_eq!((document.labels.hash(), document.exemplars), (row.series, row.exemplars));
        assert_eq!(document.point.timestamp().saturating_mul(1_000_000), row.time);
        let names: Vec<&str> = document.labels.iter().map(|(name, _)| name).collect();
        assert!(names.is_sorted_by(|one, other| one < other) && !document.labels.metric().is_empty());
        assert!(row.family.is_none_or(|family| (family as usize) < samples.families().len()));
        TimeSeries::decode(&bytes[..]).unwrap()
    });
    documents.collect()
}

/// The texts of all rows: their labels.
pub fn texts(samples: &Samples) -> Vec<String> {
    samples.rows().map(|row| LabelSet::new(row.labels).to_string()).collect()
}

/// Samples, histograms and exemplars that were taken.
pub fn written(report: &Report) -> (u64, u64, u64) {
    (report.samples, report.histograms, report.exemplars)
}
