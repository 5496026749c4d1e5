//! The series of a request of 2.0 (prompb/io/prometheus/write/v2/types.proto).

use std::sync::Arc;

use weir_event::stream::Stream;
use weir_samples::document::{Document, Point, write_sample};
use weir_samples::labels::LabelSet;
use weir_samples::wire::{self, Exemplars};

use super::Options;
use super::symbols::{Refs, Symbols};

/// Field 5 of `Request`, with a length.
const SERIES_TAG: u8 = 0x2a;
/// Field 1 of `TimeSeries` and of `Exemplar`, packed.
const REFS_TAG: u8 = 0x0a;
/// Field 3 of `TimeSeries`, with a length.
const HISTOGRAM_TAG: u8 = 0x1a;
/// Field 4 of `TimeSeries`, with a length.
const EXEMPLAR_TAG: u8 = 0x22;
/// Field 5 of `TimeSeries`, with a length.
const METADATA_TAG: u8 = 0x2a;
/// Field 2 of `Exemplar`, eight bytes.
const VALUE_TAG: u8 = 0x11;
/// Field 3 of `Exemplar`, a varint.
const TIMESTAMP_TAG: u8 = 0x18;

/// Memory that is used again.
#[derive(Default)]
pub(super) struct Scratch {
    refs: Vec<u8>,
    pub(super) point: Vec<u8>,
    exemplar: Vec<u8>,
}

/// Writes the series of one request.
pub(super) struct Writer<'a, 'm> {
    symbols: Symbols<'a>,
    message: &'m mut Vec<u8>,
    series: &'m mut Vec<u8>,
    scratch: &'m mut Scratch,
    options: Options,
    /// The labels of the document before, in order: what follows it has most of them.
    before: Vec<(&'a [u8], Refs)>,
    /// The stream of the document before, and its metadata as it is written.
    metadata: (Option<&'a Arc<Stream>>, Vec<u8>),
}

// === impl Writer ===

impl<'a, 'm> Writer<'a, 'm> {
    /// Symbols are appended to `message`, series to `series`.
    pub fn new(
        message: &'m mut Vec<u8>,
        series: &'m mut Vec<u8>,
        scratch: &'m mut Scratch,
        options: Options,
    ) -> Writer<'a, 'm> {
        let symbols = Symbols::new(message);
        Writer {
            symbols,
            message,
            series,
            scratch,
            options,
            before: Vec::new(),
            metadata: (None, Vec::new()),
        }
    }

    /// Appends a document and says how many exemplars it has; `None` if its labels are none.
    pub fn write(&mut self, document: &Document<'a>, stream: Option<&'a Arc<Stream>>) -> Option<u64> {
        self.scratch.refs.clear();
        self.labels(document.labels)?;
        self.scratch.point.clear();
        match document.point {
            Point::Float { timestamp, value, start_timestamp } => {
                write_sample(&mut self.scratch.point, timestamp, value, start_timestamp);
            }
            Point::Histogram { message, .. } => {
                let point = &mut self.scratch.point;
                point.push(HISTOGRAM_TAG);
                wire::write_varint(point, message.len() as u64);
                point.extend_from_slice(message);
            }
        }
        let exemplars = if self.options.exemplars { self.exemplars(document) } else { 0 };
        if self.options.metadata {
            self.look_at(stream);
        }
        let (refs, point, metadata) = (&self.scratch.refs, &self.scratch.point, &self.metadata.1);
        let refs_len = 1 + wire::varint_len(refs.len() as u64) + refs.len();
        self.series.push(SERIES_TAG);
        wire::write_varint(self.series, (refs_len + point.len() + metadata.len()) as u64);
        self.series.push(REFS_TAG);
        wire::write_varint(self.series, refs.len() as u64);
        self.series.extend_from_slice(refs);
        self.series.extend_from_slice(point);
        self.series.extend_from_slice(metadata);
        Some(exemplars)
    }

    /// The document's labels as references.
    fn labels(&mut self, labels: LabelSet<'a>) -> Option<()> {
        let mut rest = labels.bytes();
        let mut index = 0;
        while !rest.is_empty() {
            let (label, more) = wire::split_label(rest)?;
            rest = more;
            let known = self.before.get(index).filter(|(before, _)| *before == label);
            let refs = match known {
                Some((_, refs)) => *refs,
                None => {
                    let refs = self.symbols.label(self.message, label)?;
                    match self.before.get_mut(index) {
                        Some(before) => *before = (label, refs),
                        None => self.before.push((label, refs)),
                    }
                    refs
                }
            };
            index += 1;
            write_refs(&mut self.scratch.refs, refs);
        }
        Some(())
    }

    /// Appends the document's exemplars to its point. One without a time has that of its sample: 2.0 wants one
    /// ("Exemplars").
    fn exemplars(&mut self, document: &Document<'a>) -> u64 {
        let mut count = 0;
        for exemplar in Exemplars::new(document.exemplars) {
            self.scratch.refs_of(&mut self.symbols, self.message, exemplar.labels);
            let time = if exemplar.timestamp == 0 { document.point.timestamp() } else { exemplar.timestamp };
            let Scratch { point, exemplar: refs, .. } = &mut *self.scratch;
            let refs_len = match refs.len() {
                0 => 0,
                len => 1 + wire::varint_len(len as u64) + len,
            };
            let time_len = if time == 0 { 0 } else { 1 + wire::varint_len(time as u64) };
            point.push(EXEMPLAR_TAG);
            wire::write_varint(point, (refs_len + 9 + time_len) as u64);
            if refs_len > 0 {
                point.push(REFS_TAG);
                wire::write_varint(point, refs.len() as u64);
                point.extend_from_slice(refs);
            }
            point.push(VALUE_TAG);
            point.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
            if time != 0 {
                point.push(TIMESTAMP_TAG);
                wire::write_varint(point, time as u64);
            }
            count += 1;
        }
        count
    }

    /// Makes the metadata of a stream, unless it is that of the document before.
    fn look_at(&mut self, stream: Option<&'a Arc<Stream>>) {
        let is_same = match (stream, self.metadata.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        let bytes = &mut self.metadata.1;
        bytes.clear();
        self.metadata.0 = stream;
        let Some(family) = stream.and_then(|stream| stream.attributes().family.as_deref()) else { return };
        let number = wire::metric_type(&family.kind) as u64;
        let help = self.symbols.text(self.message, family.help.as_bytes());
        let unit = self.symbols.text(self.message, family.unit.as_bytes());
        let fields = [(0x08, number), (0x18, u64::from(help)), (0x20, u64::from(unit))];
        let fields = || fields.into_iter().filter(|(_, number)| *number != 0);
        let length: usize = fields().map(|(_, number)| 1 + wire::varint_len(number)).sum();
        bytes.push(METADATA_TAG);
        wire::write_varint(bytes, length as u64);
        for (tag, number) in fields() {
            bytes.push(tag);
            wire::write_varint(bytes, number);
        }
    }
}

// === impl Scratch ===

impl Scratch {
    /// The references of an exemplar's labels.
    fn refs_of<'a>(&mut self, symbols: &mut Symbols<'a>, out: &mut Vec<u8>, labels: LabelSet<'a>) {
        self.exemplar.clear();
        let mut rest = labels.bytes();
        while let Some((label, more)) = wire::split_label(rest) {
            rest = more;
            if let Some(refs) = symbols.label(out, label) {
                write_refs(&mut self.exemplar, refs);
            }
        }
    }
}

#[inline]
fn write_refs(out: &mut Vec<u8>, (name, value): Refs) {
    wire::write_varint(out, u64::from(name));
    wire::write_varint(out, u64::from(value));
}
