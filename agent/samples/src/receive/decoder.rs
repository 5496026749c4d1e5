//! From the bytes of a request to its rows.

use std::sync::Arc;

use weir_event::batch::MAX_EVENT_BYTES;
use weir_event::stream::Family;

use super::exemplars::Waiting;
use super::families::Families;
use super::label_list::LabelList;
use super::report::{Reason, Report};
use super::rows::Samples;
use super::wire::{Fault, Fields, Value};
use super::{histogram, v1, v2};
use crate::document::{HISTOGRAM_TAG, write_sample};
use crate::labels::LabelSet;
use crate::varint;

/// Which message a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest` of remote write 1.0.
    V1,
    /// `io.prometheus.write.v2.Request` of remote write 2.0.
    V2,
}

/// Decodes requests of one source.
#[derive(Debug)]
pub struct Decoder {
    external: Vec<(String, String)>,
    families: Families,
}

/// What a request decoded to.
#[derive(Debug)]
pub struct Decoded {
    /// What was taken of it.
    pub samples: Samples,
    /// What became of all of it.
    pub report: Report,
}

/// A request cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not the message.
    #[error("the body is no {message}: {what}")]
    Malformed {
        /// Which message.
        message: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It takes more memory than a request may.
    #[error("the samples of the request take more than {limit} bytes of memory; send fewer samples at once")]
    TooLarge {
        /// How many they may take.
        limit: usize,
    },
}

/// What differs between versions.
pub(super) trait Dialect<'a> {
    /// The field `exemplars` of a series.
    const EXEMPLARS: u32;
    /// The field `histograms` of a series.
    const HISTOGRAMS: u32;
    /// Whether the specification says what exemplars and histograms are: then a series must have samples or histograms, and
    /// not both, and a sample may have a start time.
    const KNOWS_ALL: bool;

    /// Takes the field `labels` or `labels_refs`.
    fn label(&self, value: Value<'a>, labels: &mut LabelList<'a>) -> Result<(), Fault>;

    /// The family of a metric as an index of `families` plus one; 0 for none.
    fn family(
        &mut self,
        metric: &'a str,
        metadata: Option<&'a [u8]>,
        families: &mut Vec<Arc<Family>>,
    ) -> Result<u32, Fault>;
}

/// Reads the series of one request.
pub(super) struct Reader<'a, D> {
    dialect: D,
    external: &'a [(String, String)],
    samples: Samples,
    report: Report,
    waiting: Waiting<'a>,
    labels: LabelList<'a>,
    /// The exemplars of the series that is being read.
    exemplars: Vec<&'a [u8]>,
}

/// What a series holds, before anything of it is written.
#[derive(Clone, Copy, Debug, Default)]
struct Outline<'a> {
    samples: u64,
    histograms: u64,
    metadata: Option<&'a [u8]>,
    reason: Option<Reason>,
}

// === impl Version ===

impl Version {
    /// The full name of its message.
    pub fn message(self) -> &'static str {
        match self {
            Version::V1 => "prometheus.WriteRequest",
            Version::V2 => "io.prometheus.write.v2.Request",
        }
    }
}

// === impl Decoder ===

impl Decoder {
    /// A decoder that adds these labels where a series has none of their names; those without a value are left out.
    pub fn new(external: impl IntoIterator<Item = (String, String)>) -> Decoder {
        let external = external.into_iter().filter(|(name, value)| !name.is_empty() && !value.is_empty());
        Decoder { external: external.collect(), families: Families::default() }
    }

    /// What is known of families so far.
    pub fn families(&self) -> &Families {
        &self.families
    }

    /// Decodes the unpacked body of a request, which takes at most about `limit` bytes of memory then.
    ///
    /// # Errors
    ///
    /// Bytes that are not the message, and requests that would take more. What a sender can do nothing else about is in the
    /// report.
    pub fn decode(&self, version: Version, body: &[u8], limit: usize) -> Result<Decoded, DecodeError> {
        let samples = Samples::new(limit);
        let decoded = match version {
            Version::V1 => v1::decode(body, &self.families, &self.external, samples),
            Version::V2 => v2::decode(body, &self.families, &self.external, samples),
        };
        let message = version.message();
        decoded.map_err(|fault| match fault {
            Fault::Broken(what) => DecodeError::Malformed { message, what },
            Fault::TooLarge => DecodeError::TooLarge { limit },
            // Readers of series report these.
            Fault::Refused(_) => DecodeError::Malformed { message, what: "it breaks a rule" },
        })
    }
}

// === impl Reader ===

impl<'a, D: Dialect<'a>> Reader<'a, D> {
    pub(super) fn new(dialect: D, external: &'a [(String, String)], samples: Samples) -> Reader<'a, D> {
        Reader {
            dialect,
            external,
            samples,
            report: Report::default(),
            waiting: Waiting::default(),
            labels: LabelList::default(),
            exemplars: Vec::new(),
        }
    }

    /// Takes a message `TimeSeries`.
    pub(super) fn series(&mut self, message: &'a [u8]) -> Result<(), Fault> {
        let outline = self.outline(message)?;
        let is_empty = outline.samples + outline.histograms == 0;
        let reason = match outline.reason {
            Some(reason) => Err(Fault::Refused(reason)),
            None if is_empty && self.exemplars.is_empty() && !D::KNOWS_ALL => return Ok(()),
            None if is_empty && self.exemplars.is_empty() => Err(Fault::Refused(Reason::NoSamples)),
            None if outline.samples > 0 && outline.histograms > 0 && D::KNOWS_ALL => {
                Err(Fault::Refused(Reason::Mixed))
            }
            None => self.take(message, &outline),
        };
        match reason {
            Err(Fault::Refused(reason)) => {
                let counts = (outline.samples + outline.histograms, self.exemplars.len() as u64);
                self.report.refuse(reason, self.labels.metric(), counts);
                Ok(())
            }
            other => other,
        }
    }

    /// What was taken, when all series were.
    pub(super) fn finish(mut self) -> Result<Decoded, Fault> {
        if !self.waiting.is_empty() {
            self.waiting.give(&mut self.samples, &mut self.report, D::KNOWS_ALL);
        }
        Ok(Decoded { samples: self.samples, report: self.report })
    }

    /// Reads the labels of a series, and counts the rest.
    fn outline(&mut self, message: &'a [u8]) -> Result<Outline<'a>, Fault> {
        self.labels.clear();
        self.exemplars.clear();
        let mut outline = Outline::default();
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.read()? {
            if field == 1 {
                if outline.reason.is_some() {
                    continue;
                }
                match self.dialect.label(value, &mut self.labels) {
                    Err(Fault::Refused(reason)) => outline.reason = Some(reason),
                    other => other?,
                }
            } else if field == 2 {
                value.bytes()?;
                outline.samples += 1;
            } else if field == D::HISTOGRAMS {
                value.bytes()?;
                outline.histograms += 1;
            } else if field == D::EXEMPLARS {
                self.exemplars.push(value.bytes()?);
                if size_of_val(&self.exemplars[..]) > self.samples.left() {
                    return Err(Fault::TooLarge);
                }
            } else if field == 5 && D::KNOWS_ALL {
                outline.metadata = Some(value.bytes()?);
            }
        }
        Ok(outline)
    }

    /// Writes a series of which nothing is wrong so far. What is refused here was not written.
    fn take(&mut self, message: &'a [u8], outline: &Outline<'a>) -> Result<(), Fault> {
        let metric = self.labels.metric();
        let family = self.dialect.family(metric, outline.metadata, &mut self.samples.families)?;
        let start = self.samples.text.len();
        self.labels.write_series(self.external, &mut self.samples.text)?;
        let labels_end = self.samples.text.len();
        let series = match self.exemplars.is_empty() {
            true => 0,
            false => LabelSet::new(self.samples.text.get(start..labels_end).unwrap_or_default()).hash(),
        };
        self.points(message, labels_end - start, metric)?;
        self.samples.end_series(start, labels_end, family)?;
        for index in 0..self.exemplars.len() {
            self.exemplar(index, (series, metric))?;
        }
        Ok(())
    }

    /// Writes the samples and histograms of a series whose labels have so many bytes.
    fn points(&mut self, message: &'a [u8], labels: usize, metric: &str) -> Result<(), Fault> {
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.read()? {
            if field == 2 {
                let timestamp = write_point::<D>(&mut self.samples.text, value.bytes()?)?;
                self.samples.end_point(timestamp)?;
                self.report.samples += 1;
            } else if field == D::HISTOGRAMS {
                let message = value.bytes()?;
                let checked = match labels + message.len() > MAX_EVENT_BYTES {
                    true => Err(Fault::Refused(Reason::TooLong)),
                    false => histogram::check(message),
                };
                match checked {
                    Ok(timestamp) => {
                        self.samples.text.push(HISTOGRAM_TAG);
                        varint::write(&mut self.samples.text, message.len() as u64);
                        self.samples.text.extend_from_slice(message);
                        self.samples.end_point(timestamp)?;
                        self.report.histograms += 1;
                    }
                    Err(Fault::Refused(reason)) => self.report.refuse(reason, metric, (1, 0)),
                    Err(fault) => return Err(fault),
                }
            }
        }
        Ok(())
    }

    fn exemplar(&mut self, index: usize, series: (u64, &'a str)) -> Result<(), Fault> {
        let Some(message) = self.exemplars.get(index) else { return Ok(()) };
        match read_exemplar(&self.dialect, message, &mut self.labels, series, &mut self.waiting) {
            Err(Fault::Refused(reason)) => self.report.refuse(reason, series.1, (0, 1)),
            other => other?,
        }
        if self.waiting.bytes() > self.samples.left() { Err(Fault::TooLarge) } else { Ok(()) }
    }
}

/// Appends a message `Sample` as a document has it, and returns its timestamp.
#[inline]
fn write_point<'a, D: Dialect<'a>>(out: &mut Vec<u8>, message: &[u8]) -> Result<i64, Fault> {
    let (mut value, mut timestamp, mut start_timestamp) = (0.0, 0, 0);
    let mut fields = Fields::new(message);
    while let Some((field, held)) = fields.read()? {
        match field {
            1 => value = held.double()?,
            2 => timestamp = held.number()? as i64,
            3 if D::KNOWS_ALL => start_timestamp = held.number()? as i64,
            _ => {}
        }
    }
    write_sample(out, timestamp, value, start_timestamp);
    Ok(timestamp)
}

fn read_exemplar<'a, D: Dialect<'a>>(
    dialect: &D,
    message: &'a [u8],
    labels: &mut LabelList<'a>,
    series: (u64, &'a str),
    waiting: &mut Waiting<'a>,
) -> Result<(), Fault> {
    let (mut value, mut timestamp) = (0.0, 0);
    labels.clear();
    let mut fields = Fields::new(message);
    while let Some((field, held)) = fields.read()? {
        match field {
            1 => dialect.label(held, labels)?,
            2 => value = held.double()?,
            3 => timestamp = held.number()? as i64,
            _ => {}
        }
    }
    waiting.add(series, labels, value, timestamp)
}
