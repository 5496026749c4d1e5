//! Documents of samples: what lies in a segment for one sample.
//!
//! A document is a message `prometheus.TimeSeries` of remote write 1.0 (prompb/types.proto) with one point, in this order:
//!
//! | field | what |
//! |---|---|
//! | 1 `labels` | a [`LabelSet`] |
//! | 2 `samples` | one `Sample`: `value` (always written), `timestamp` in ms, and as its field 3 `start_timestamp` in ms where it is known, as in remote write 2.0 |
//! | 4 `histograms` | in its place, one `Histogram`; its field 17 is `start_timestamp`, as in remote write 2.0 |
//! | 3 `exemplars` | any number of `Exemplar` |
//!
//! So the labels, which are most of it, are sent in remote write 1.0 as they lie there.

use crate::labels::{self, LabelSet};
use crate::varint;

/// Field 2 of `TimeSeries`, with a length.
pub(crate) const SAMPLE_TAG: u8 = 0x12;
/// Field 3 of `TimeSeries`, with a length.
pub(crate) const EXEMPLAR_TAG: u8 = 0x1a;
/// Field 4 of `TimeSeries`, with a length.
pub(crate) const HISTOGRAM_TAG: u8 = 0x22;
/// Field 1 of `Sample`, eight bytes.
const VALUE_TAG: u8 = 0x09;
/// Field 2 of `Sample`, a varint.
const TIMESTAMP_TAG: u8 = 0x10;
/// Field 3 of `Sample`, a varint.
const START_TAG: u8 = 0x18;
/// Field 15 of `Histogram`, a varint.
const HISTOGRAM_TIMESTAMP_TAG: u8 = 0x78;

/// The value of a sample that says that its series has ended (Prometheus, model/value: `StaleNaN`).
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// One sample with everything that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Document<'a> {
    /// Its series.
    pub labels: LabelSet<'a>,
    /// What was measured.
    pub point: Point<'a>,
    /// Its exemplars: fields `exemplars` of `prometheus.TimeSeries`, one behind the other.
    pub exemplars: &'a [u8],
}

/// What was measured at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Point<'a> {
    /// A number.
    Float {
        /// Milliseconds since the Unix epoch.
        timestamp: i64,
        /// The number.
        value: f64,
        /// When its counter began, in milliseconds since the Unix epoch; 0 where nobody knows.
        start_timestamp: i64,
    },
    /// A native histogram.
    Histogram {
        /// Milliseconds since the Unix epoch.
        timestamp: i64,
        /// The message `Histogram` with its timestamps.
        message: &'a [u8],
    },
}

/// The bytes are not a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the document of a sample")]
pub struct Malformed;

// === impl Document ===

impl<'a> Document<'a> {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Bytes that are none.
    pub fn read(bytes: &'a [u8]) -> Result<Document<'a>, Malformed> {
        let (labels, rest) = split_labels(bytes)?;
        let (tag, rest) = rest.split_first().ok_or(Malformed)?;
        let (message, exemplars) = varint::read_bytes(rest).ok_or(Malformed)?;
        let point = match *tag {
            SAMPLE_TAG => read_sample(message)?,
            HISTOGRAM_TAG => Point::Histogram { timestamp: histogram_timestamp(message)?, message },
            _ => return Err(Malformed),
        };
        Ok(Document { labels: LabelSet::new(labels), point, exemplars })
    }

    /// Appends it to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.labels.bytes());
        match self.point {
            Point::Float { timestamp, value, start_timestamp } => {
                write_sample(out, timestamp, value, start_timestamp);
            }
            Point::Histogram { message, .. } => {
                out.push(HISTOGRAM_TAG);
                varint::write(out, message.len() as u64);
                out.extend_from_slice(message);
            }
        }
        out.extend_from_slice(self.exemplars);
    }
}

impl Point<'_> {
    /// Milliseconds since the Unix epoch.
    pub fn timestamp(&self) -> i64 {
        match self {
            Point::Float { timestamp, .. } | Point::Histogram { timestamp, .. } => *timestamp,
        }
    }
}

/// The labels that a document begins with, and the rest.
///
/// # Errors
///
/// A label whose length leads beyond the end.
pub fn split_labels(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut rest = bytes;
    while let Some(label) = rest.strip_prefix(&[labels::LABEL_TAG]) {
        rest = varint::read_bytes(label).ok_or(Malformed)?.1;
    }
    bytes.split_at_checked(bytes.len() - rest.len()).ok_or(Malformed)
}

/// Appends the field `samples` with one sample; a `start_timestamp` of 0 is left out.
#[inline]
pub fn write_sample(out: &mut Vec<u8>, timestamp: i64, value: f64, start_timestamp: i64) {
    let mut length = 10 + varint::len(timestamp as u64);
    if start_timestamp != 0 {
        length += 1 + varint::len(start_timestamp as u64);
    }
    out.extend_from_slice(&[SAMPLE_TAG, length as u8, VALUE_TAG]);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
    out.push(TIMESTAMP_TAG);
    varint::write(out, timestamp as u64);
    if start_timestamp != 0 {
        out.push(START_TAG);
        varint::write(out, start_timestamp as u64);
    }
}

/// Appends the field `exemplars` with one exemplar; a `timestamp` of 0 is left out.
pub fn write_exemplar(out: &mut Vec<u8>, labels: LabelSet<'_>, value: f64, timestamp: i64) {
    let mut length = labels.bytes().len() + 9;
    if timestamp != 0 {
        length += 1 + varint::len(timestamp as u64);
    }
    out.push(EXEMPLAR_TAG);
    varint::write(out, length as u64);
    out.extend_from_slice(labels.bytes());
    // Field 2 of `Exemplar`, eight bytes.
    out.push(0x11);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
    if timestamp != 0 {
        // Field 3 of `Exemplar`, a varint.
        out.push(0x18);
        varint::write(out, timestamp as u64);
    }
}

fn read_sample(message: &[u8]) -> Result<Point<'_>, Malformed> {
    let rest = message.strip_prefix(&[VALUE_TAG]).ok_or(Malformed)?;
    let (value, rest) = rest.split_first_chunk::<8>().ok_or(Malformed)?;
    let rest = rest.strip_prefix(&[TIMESTAMP_TAG]).ok_or(Malformed)?;
    let (timestamp, rest) = varint::read(rest).ok_or(Malformed)?;
    let start = match rest.strip_prefix(&[START_TAG]) {
        Some(rest) => varint::read(rest).ok_or(Malformed)?.0,
        None => 0,
    };
    let (timestamp, start_timestamp) = (timestamp as i64, start as i64);
    Ok(Point::Float { timestamp, value: f64::from_bits(u64::from_le_bytes(*value)), start_timestamp })
}

/// The field `timestamp` of a message `Histogram`.
fn histogram_timestamp(mut message: &[u8]) -> Result<i64, Malformed> {
    let mut timestamp = 0;
    while !message.is_empty() {
        let is_timestamp = message.first() == Some(&HISTOGRAM_TIMESTAMP_TAG);
        let (tag, rest) = varint::read(message).ok_or(Malformed)?;
        message = match tag & 7 {
            0 => {
                let (number, rest) = varint::read(rest).ok_or(Malformed)?;
                if is_timestamp {
                    timestamp = number as i64;
                }
                rest
            }
            1 => rest.get(8..).ok_or(Malformed)?,
            2 => varint::read_bytes(rest).ok_or(Malformed)?.1,
            5 => rest.get(4..).ok_or(Malformed)?,
            _ => return Err(Malformed),
        };
    }
    Ok(timestamp)
}

/// The value of a stale marker.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN)
}

/// Whether a value is a stale marker.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::labels::LabelsBuilder;
    use crate::proto::prometheus::TimeSeries;
    use crate::proto::write_v2;

    fn labels(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = LabelsBuilder::new();
        pairs.iter().for_each(|(name, value)| builder.push(name, value));
        let mut out = Vec::new();
        builder.finish(&mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn a_sample_comes_back(value: u64, timestamp: i64, start_timestamp: i64, exemplar: bool) {
            let value = f64::from_bits(value);
            let (set, mut exemplars) = (labels(&[("__name__", "up"), ("job", "a")]), Vec::new());
            if exemplar {
                write_exemplar(&mut exemplars, LabelSet::new(&labels(&[("trace_id", "7")])), 0.5, timestamp);
            }
            let point = Point::Float { timestamp, value, start_timestamp };
            let document = Document { labels: LabelSet::new(&set), point, exemplars: &exemplars };
            let mut bytes = Vec::new();
            document.write(&mut bytes);
            let read = Document::read(&bytes).unwrap();
            prop_assert_eq!((read.labels, read.exemplars), (document.labels, document.exemplars));
            let Point::Float { timestamp: at, value: got, start_timestamp: start } = read.point else { panic!() };
            prop_assert_eq!((at, got.to_bits(), start), (timestamp, value.to_bits(), start_timestamp));
            let message = TimeSeries::decode(&bytes[..]).unwrap();
            prop_assert_eq!(message.samples[0].value.to_bits(), value.to_bits());
            prop_assert_eq!(message.samples[0].timestamp, timestamp);
            prop_assert_eq!(message.exemplars.len(), usize::from(exemplar));
            let (_, rest) = split_labels(&bytes).unwrap();
            let sample = write_v2::Sample::decode(&rest[2..2 + rest[1] as usize]).unwrap();
            prop_assert_eq!(sample.start_timestamp, start_timestamp);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = Document::read(&bytes);
        }
    }

    #[test]
    fn a_histogram_comes_back() {
        let histogram = write_v2::Histogram { sum: 1.5, timestamp: 1_700_000_000_123, ..Default::default() };
        let (set, message) = (labels(&[("__name__", "h")]), histogram.encode_to_vec());
        let point = Point::Histogram { timestamp: histogram.timestamp, message: &message };
        let document = Document { labels: LabelSet::new(&set), point, exemplars: &[] };
        let mut bytes = Vec::new();
        document.write(&mut bytes);
        assert_eq!(Document::read(&bytes), Ok(document));
        assert_eq!(TimeSeries::decode(&bytes[..]).unwrap().histograms[0].sum, 1.5);
    }
}
