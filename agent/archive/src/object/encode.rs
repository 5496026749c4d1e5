//! Making data objects of documents.

use std::io;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use weir_buffer::segment::Documents;
use weir_event::identity::EventId;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::footer::write_footer;
use super::{Frame, Table};
use crate::bloom::{Bloom, MAX_BITS, ValueHash};
use crate::fields::Finder;
use crate::index::{Entry, FieldIndex};
use crate::key::{self, Hour};
use crate::line::Line;
use crate::settings::Settings;

/// Bits of a frame's filter before it is folded: 8 KiB, for 6,553 distinct values.
const FRAME_BITS: u64 = 1 << 16;
/// All filters of an object's frames take no more; frames behind that have none, so they are always read.
const MAX_FILTER_BYTES: usize = 16 * 1024 * 1024;

/// A data object, ready to be stored.
#[derive(Debug)]
pub struct Encoded {
    /// Its content.
    pub bytes: Vec<u8>,
    /// What the index says of it.
    pub entry: Entry,
}

/// Makes one data object of all these documents, which are of one namespace and hour.
///
/// # Errors
///
/// What zstd says, which is that there is no memory; that there are no documents; or that one is too large.
pub fn encode(
    documents: &[Arc<Documents>],
    namespace: &str,
    hour: Hour,
    settings: &Settings,
) -> io::Result<Encoded> {
    let events = sorted(documents);
    let mut encoder = Encoder::new(settings)?;
    for (time, id, document) in &events {
        encoder.push(Line { id: *id, time: *time, document })?;
    }
    encoder.finish(namespace, hour)
}

/// In the order in which they are written, none twice.
fn sorted(documents: &[Arc<Documents>]) -> Vec<(i64, EventId, &[u8])> {
    let all = documents.iter().flat_map(|documents| documents.iter());
    let mut events: Vec<_> = all.map(|(record, document)| (record.time, record.id, document)).collect();
    events.sort_unstable();
    events.dedup_by(|later, before| later.0 == before.0 && later.1 == before.1);
    events
}

struct Encoder<'a> {
    settings: &'a Settings,
    compressor: Compressor<'static>,
    finder: Finder,
    bytes: Vec<u8>,
    /// Lines of the frame that is open.
    raw: Vec<u8>,
    events: u64,
    first: i64,
    last: i64,
    frame_filters: Vec<Bloom>,
    fields: Vec<FieldValues>,
    filters: Vec<u8>,
    frames: Vec<Frame>,
}

/// Values of one field in the whole object.
struct FieldValues {
    index: FieldIndex,
    filter: Bloom,
}

// === impl Encoder ===

impl<'a> Encoder<'a> {
    fn new(settings: &'a Settings) -> io::Result<Encoder<'a>> {
        let mut compressor = Compressor::new(settings.level)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        let fields = settings.index_fields.iter();
        let finder = Finder::new(fields.clone().map(String::as_str)).map_err(io::Error::other)?;
        let values =
            || FieldValues { index: FieldIndex::Values(Default::default()), filter: Bloom::new(MAX_BITS) };
        Ok(Encoder {
            settings,
            compressor,
            finder,
            bytes: Vec::new(),
            raw: Vec::new(),
            events: 0,
            first: 0,
            last: 0,
            frame_filters: fields.clone().map(|_| Bloom::new(FRAME_BITS)).collect(),
            fields: fields.map(|_| values()).collect(),
            filters: Vec::new(),
            frames: Vec::new(),
        })
    }

    fn push(&mut self, line: Line<'_>) -> io::Result<()> {
        let wanted = Line::most_bytes(line.document.len());
        if wanted > super::MAX_FRAME_RAW {
            return Err(io::Error::other(format!(
                "a document of {} bytes is too large",
                line.document.len()
            )));
        }
        if !self.raw.is_empty() && self.raw.len() + wanted > self.settings.frame_bytes {
            self.close_frame()?;
        }
        if self.events == 0 {
            self.first = line.time;
        }
        (self.events, self.last) = (self.events + 1, line.time);
        line.write(&mut self.raw);
        let (filters, fields) = (&mut self.frame_filters, &mut self.fields);
        self.finder.find(line.document, |field, value| {
            let hash = ValueHash::of(value);
            if let (Some(filter), Some(field)) = (filters.get_mut(field), fields.get_mut(field)) {
                filter.insert(hash);
                field.filter.insert(hash);
                field.index.count(value);
            }
        });
        Ok(())
    }

    fn close_frame(&mut self) -> io::Result<()> {
        let packed = self.compressor.compress(&self.raw)?;
        let filters = self.frame_filters.iter_mut().map(|filter| {
            let folded = filter.folded();
            filter.clear();
            if self.filters.len() + folded.len() > MAX_FILTER_BYTES {
                return None;
            }
            let place = (self.filters.len() as u64, folded.len() as u64);
            self.filters.extend_from_slice(&folded);
            Some(place)
        });
        self.frames.push(Frame {
            offset: self.bytes.len() as u64,
            bytes: packed.len() as u64,
            raw_bytes: self.raw.len() as u64,
            events: self.events,
            first: self.first,
            last: self.last,
            filters: filters.collect(),
        });
        self.bytes.extend_from_slice(&packed);
        self.raw.clear();
        self.events = 0;
        Ok(())
    }

    fn finish(mut self, namespace: &str, hour: Hour) -> io::Result<Encoded> {
        if self.events > 0 {
            self.close_frame()?;
        }
        let (Some(first), Some(last)) = (self.frames.first(), self.frames.last()) else {
            return Err(io::Error::other("there are no events to store"));
        };
        let table = Table {
            version: 1,
            cluster: self.settings.cluster.clone(),
            namespace: namespace.to_owned(),
            hour: hour.text(),
            node: self.settings.node.clone(),
            events: self.frames.iter().map(|frame| frame.events).sum(),
            raw_bytes: self.frames.iter().map(|frame| frame.raw_bytes).sum(),
            first: first.first,
            last: last.last,
            fields: self.settings.index_fields.clone(),
            frames: self.frames,
        };
        let footer_offset = self.bytes.len() as u64;
        write_footer(&table, &self.filters, &mut self.bytes)?;
        let sha256 = hex(&Sha256::digest(&self.bytes));
        let fields = self.fields.into_iter().map(|field| field.index.or_filter(&field.filter));
        let entry = Entry {
            name: key::data_name(&self.settings.node, table.first, &sha256),
            bytes: self.bytes.len() as u64,
            raw_bytes: table.raw_bytes,
            events: table.events,
            first: table.first,
            last: table.last,
            sha256,
            frames: table.frames.len() as u64,
            footer: footer_offset,
            fields: table.fields.iter().cloned().zip(fields).collect(),
        };
        Ok(Encoded { bytes: self.bytes, entry })
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
