//! The segment file: what lies in it and how it is read back. Byte for byte it is described in docs/FORMATS.md.
//!
//! 1. A file holds up to [`MAX_PARTS`] parts. A part is a segment as it lay in memory: it has its own account and its
//!    own place in the acks of its batch, and it is adopted, read and removed apart from the others.
//! 2. Each record has its own checksum, which covers in which file, in which part and at which place it belongs: what a
//!    disk gives back of an older file is no record here.
//! 3. A record that is damaged costs itself and no other: reading goes on at the next mark that a whole record follows.
//! 4. Nothing that a file claims is believed before its checksum, and no memory is taken for more than there is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_event::identity::EventId;
use weir_event::stream::{Attributes, Stream};

use crate::ledger::Amount;
use crate::segment::{Documents, Record, Targets};

/// Parts of one file: as many as a word has bits, so that a file's live parts are one number.
pub const MAX_PARTS: usize = 64;

const MAGIC: [u8; 8] = *b"weirSG01";
/// Magic, checksum and length of the header.
pub(super) const PREFIX_BYTES: u64 = 16;
/// A longer header is damaged.
const MAX_HEADER_BYTES: u64 = 32 * 1024 * 1024;
/// Begins a record. Two of its bytes occur in no UTF-8, so in no document.
const MARK: [u8; 4] = [0xff, b'w', 0xfe, b'r'];
/// Mark, length and checksum.
const FRAME_BYTES: usize = 12;
/// Place, id, time, stream, target and bytes as read.
const FIELD_BYTES: usize = 42;
/// What a record takes beside its document.
pub(super) const RECORD_BYTES: usize = FRAME_BYTES + FIELD_BYTES;
/// The target of a document of a sink with only one place.
const NO_TARGET: u16 = u16::MAX;
/// Written at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// What is to become a part.
#[derive(Clone, Copy, Debug)]
pub struct PartSource<'a> {
    /// The pipeline whose account it belongs to.
    pub pipeline: &'a str,
    /// What the ledger has booked for it.
    pub amount: Amount,
    /// The documents.
    pub documents: &'a Documents,
    /// Where they go.
    pub targets: &'a Targets,
}

/// A file's header as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct HeaderText<'a> {
    sink: Cow<'a, str>,
    streams: Vec<StreamText<'a>>,
    targets: Vec<Cow<'a, str>>,
    parts: Vec<PartText<'a>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct StreamText<'a> {
    incarnation: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    node: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pod: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    container: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stream: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: Cow<'a, str>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PartText<'a> {
    pipeline: Cow<'a, str>,
    events: u64,
    bytes: u64,
    records: u32,
    /// Behind the header.
    start: u64,
    length: u64,
}

/// A file's header as it was read.
#[derive(Debug)]
pub struct Header {
    streams: Vec<Arc<Stream>>,
    targets: Vec<Arc<str>>,
    /// The parts.
    pub parts: Vec<PartHeader>,
    /// Where records begin.
    records_at: u64,
}

/// What the header says of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHeader {
    /// The pipeline whose account it belongs to.
    pub pipeline: String,
    /// What the ledger has booked for it.
    pub amount: Amount,
    records: u32,
    start: u64,
    length: u64,
}

impl PartHeader {
    /// Bytes of its records on disk.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// The documents of a part, as far as they are whole.
#[derive(Debug)]
pub struct PartContent {
    /// The documents.
    pub documents: Documents,
    /// Where they go.
    pub targets: Targets,
    /// For each document its place in the part as it was written.
    pub places: Vec<u32>,
    /// Whether something is missing or damaged.
    pub is_damaged: bool,
}

/// A file that is to be written: all of it is known but for the records' bytes.
pub(super) struct Layout<'a> {
    prefix: Vec<u8>,
    parts: Vec<LaidOut<'a>>,
    /// The length of the file.
    pub bytes: u64,
}

struct LaidOut<'a> {
    source: PartSource<'a>,
    /// Index of each of the part's streams and targets in the file's tables.
    streams: Vec<u32>,
    targets: Vec<u16>,
}

/// Why a header is not one.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not whole.
    #[error("the header is damaged: {0}")]
    Damaged(&'static str),
}

// === writing ===

impl<'a> Layout<'a> {
    /// Lays out a file of at most [`MAX_PARTS`] parts; `None` where the tables would hold more than can be numbered.
    pub fn new(sink: &str, sources: &[PartSource<'a>]) -> Option<Layout<'a>> {
        let mut header = HeaderText {
            sink: sink.into(),
            streams: Vec::new(),
            targets: Vec::new(),
            parts: Vec::with_capacity(sources.len()),
        };
        let mut known_streams: HashMap<*const Stream, u32> = HashMap::new();
        let mut known_targets: HashMap<&str, u16> = HashMap::new();
        let mut parts = Vec::with_capacity(sources.len());
        let mut start = 0;
        for source in sources {
            let mut streams = Vec::with_capacity(source.documents.streams.len());
            for stream in &source.documents.streams {
                let next = u32::try_from(header.streams.len()).ok()?;
                streams.push(*known_streams.entry(Arc::as_ptr(stream)).or_insert_with(|| {
                    header.streams.push(StreamText::of(stream));
                    next
                }));
            }
            let mut targets = Vec::with_capacity(source.targets.names.len());
            for name in &source.targets.names {
                let next = u16::try_from(header.targets.len()).ok().filter(|next| *next != NO_TARGET)?;
                targets.push(*known_targets.entry(name).or_insert_with(|| {
                    header.targets.push((**name).into());
                    next
                }));
            }
            let records = source.documents.records.len();
            // Each document has its newline in memory and none on disk.
            let length = (source.documents.ndjson.len() + records * RECORD_BYTES - records) as u64;
            header.parts.push(PartText {
                pipeline: source.pipeline.into(),
                events: source.amount.events,
                bytes: source.amount.bytes,
                records: u32::try_from(records).ok()?,
                start,
                length,
            });
            start += length;
            parts.push(LaidOut { source: *source, streams, targets });
        }
        let text = serde_json::to_vec(&header).ok().filter(|text| text.len() as u64 <= MAX_HEADER_BYTES)?;
        let length = (text.len() as u32).to_be_bytes();
        let mut prefix = Vec::with_capacity(PREFIX_BYTES as usize + text.len());
        prefix.extend_from_slice(&MAGIC);
        prefix.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(&length), &text).to_be_bytes());
        prefix.extend_from_slice(&length);
        prefix.extend_from_slice(&text);
        let bytes = prefix.len() as u64 + start;
        Some(Layout { prefix, parts, bytes })
    }

    /// Writes the file, in pieces.
    pub fn write(&self, number: u64, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        chunk.extend_from_slice(&self.prefix);
        for (index, part) in self.parts.iter().enumerate() {
            let salt = salt(number, index as u8);
            for (place, (record, document)) in part.source.documents.iter().enumerate() {
                part.append(salt, place, record, document, &mut chunk);
                if chunk.len() >= CHUNK_BYTES {
                    write(&chunk)?;
                    chunk.clear();
                }
            }
        }
        write(&chunk)
    }
}

impl LaidOut<'_> {
    fn append(&self, salt: u32, place: usize, record: &Record, document: &[u8], out: &mut Vec<u8>) {
        let stream = self.streams.get(record.stream as usize).copied().unwrap_or(u32::MAX);
        let target = self.source.targets.of.get(place).and_then(|of| self.targets.get(*of as usize));
        let length = ((FIELD_BYTES + document.len()) as u32).to_be_bytes();
        out.extend_from_slice(&MARK);
        out.extend_from_slice(&length);
        let checksum_at = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(place as u32).to_be_bytes());
        out.extend_from_slice(&record.id.0);
        out.extend_from_slice(&record.time.to_be_bytes());
        out.extend_from_slice(&stream.to_be_bytes());
        out.extend_from_slice(&target.copied().unwrap_or(NO_TARGET).to_be_bytes());
        out.extend_from_slice(&record.bytes.to_be_bytes());
        out.extend_from_slice(document);
        let body = out.get(checksum_at + 4..).unwrap_or_default();
        let checksum = crc32c::crc32c_append(crc32c::crc32c_append(salt, &length), body);
        if let Some(place) = out.get_mut(checksum_at..checksum_at + 4) {
            place.copy_from_slice(&checksum.to_be_bytes());
        }
    }
}

impl StreamText<'_> {
    fn of(stream: &Stream) -> StreamText<'static> {
        let a = stream.attributes();
        let text = |text: &str| Cow::Owned(text.to_owned());
        StreamText {
            incarnation: format!("{:016x}", stream.incarnation()).into(),
            source: text(&a.source),
            cluster: text(&a.cluster),
            node: text(&a.node),
            namespace: text(&a.namespace),
            pod: text(&a.pod),
            container: text(&a.container),
            uid: text(&a.uid),
            stream: text(&a.stream),
            path: text(&a.path),
        }
    }

    fn stream(self) -> Option<Arc<Stream>> {
        let incarnation = u64::from_str_radix(&self.incarnation, 16).ok()?;
        let attributes = Attributes {
            source: self.source.into(),
            cluster: self.cluster.into(),
            node: self.node.into(),
            namespace: self.namespace.into(),
            pod: self.pod.into(),
            container: self.container.into(),
            uid: self.uid.into(),
            stream: self.stream.into(),
            path: self.path.into(),
        };
        Some(Stream::new(attributes, incarnation))
    }
}

/// What a record's checksum begins with.
fn salt(number: u64, part: u8) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_be_bytes()), &[part])
}

// === reading ===

impl Header {
    /// Reads a file's header through `read(offset, length)`.
    pub fn read(read: impl Fn(u64, usize) -> io::Result<Vec<u8>>) -> Result<Header, HeaderError> {
        let damaged = HeaderError::Damaged;
        let prefix = read(0, PREFIX_BYTES as usize)?;
        let rest = prefix.strip_prefix(&MAGIC).ok_or(damaged("it does not begin as a segment does"))?;
        let (checksum, length) = rest.split_first_chunk::<4>().ok_or(damaged("it is cut off"))?;
        let length: &[u8; 4] = length.try_into().map_err(|_| damaged("it is cut off"))?;
        let wanted = u64::from(u32::from_be_bytes(*length));
        if wanted > MAX_HEADER_BYTES {
            return Err(damaged("its length is out of bounds"));
        }
        let text = read(PREFIX_BYTES, wanted as usize)?;
        if text.len() as u64 != wanted {
            return Err(damaged("it is cut off"));
        }
        if crc32c::crc32c_append(crc32c::crc32c(length), &text) != u32::from_be_bytes(*checksum) {
            return Err(damaged("its checksum is another"));
        }
        Header::parse(&text, PREFIX_BYTES + wanted)
            .ok_or(damaged("its checksum is right, its content is not; was it written by a newer version?"))
    }

    fn parse(text: &[u8], records_at: u64) -> Option<Header> {
        let text: HeaderText<'_> = serde_json::from_slice(text).ok()?;
        let streams = text.streams.into_iter().map(StreamText::stream).collect::<Option<Vec<_>>>()?;
        let targets = text.targets.iter().map(|name| Arc::from(&**name)).collect();
        let part = |part: PartText<'_>| {
            records_at.checked_add(part.start)?.checked_add(part.length)?;
            Some(PartHeader {
                pipeline: part.pipeline.into(),
                amount: Amount { events: part.events, bytes: part.bytes },
                records: part.records,
                start: part.start,
                length: part.length,
            })
        };
        let parts = text.parts.into_iter().map(part).collect::<Option<Vec<_>>>()?;
        (parts.len() <= MAX_PARTS).then_some(Header { streams, targets, parts, records_at })
    }

    /// Reads a part's documents through `read(offset, length)`; those whose place is in `which` where it is given.
    pub fn part(
        &self,
        number: u64,
        index: u8,
        which: Option<&[u32]>,
        read: impl Fn(u64, usize) -> io::Result<Vec<u8>>,
    ) -> io::Result<PartContent> {
        let mut content = PartContent {
            documents: Documents { streams: self.streams.clone(), ..Documents::default() },
            targets: Targets::default(),
            places: Vec::new(),
            is_damaged: false,
        };
        let Some(part) = self.parts.get(index as usize) else {
            content.is_damaged = true;
            return Ok(content);
        };
        let length = usize::try_from(part.length).unwrap_or(usize::MAX);
        let bytes = read(self.records_at + part.start, length)?;
        self.decode(&bytes, salt(number, index), part, which, &mut content);
        content.is_damaged |= bytes.len() != length;
        Ok(content)
    }

    fn decode(
        &self,
        bytes: &[u8],
        salt: u32,
        part: &PartHeader,
        which: Option<&[u32]>,
        content: &mut PartContent,
    ) {
        let records = (part.records as usize).min(bytes.len() / RECORD_BYTES);
        let documents = &mut content.documents;
        if which.is_none() {
            documents.ndjson.reserve_exact(bytes.len() - records * (RECORD_BYTES - 1));
            documents.records.reserve_exact(records);
        }
        let (mut at, mut next_place) = (0, 0);
        let mut names: HashMap<u16, u16> = HashMap::new();
        while at < bytes.len() {
            let Some(found) = self.record_at(bytes, at, salt).filter(|found| {
                // Places only go up: no record comes twice, whatever the disk gives back.
                found.place >= next_place && found.place < part.records
            }) else {
                content.is_damaged = true;
                let rest = bytes.get(at + 1..).unwrap_or_default();
                let mark = rest.windows(MARK.len()).position(|window| *window == MARK);
                at = mark.map_or(bytes.len(), |mark| at + 1 + mark);
                continue;
            };
            content.is_damaged |= found.place != next_place;
            next_place = found.place + 1;
            at = found.end;
            if which.is_some_and(|which| which.binary_search(&found.place).is_err()) {
                continue;
            }
            documents.ndjson.extend_from_slice(found.document);
            let end = documents.ndjson.len() as u32;
            documents.ndjson.push(b'\n');
            documents.records.push(Record { end, ..found.record });
            content.places.push(found.place);
            if found.target != NO_TARGET {
                let targets = &mut content.targets;
                let index = names.entry(found.target).or_insert_with(|| {
                    targets.names.extend(self.targets.get(found.target as usize).cloned());
                    (targets.names.len() - 1) as u16
                });
                targets.of.push(*index);
            }
        }
        content.is_damaged |= next_place != part.records;
    }

    fn record_at<'b>(&self, bytes: &'b [u8], at: usize, salt: u32) -> Option<FoundRecord<'b>> {
        let rest = bytes.get(at..)?.strip_prefix(&MARK)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let body = rest.get(..u32::from_be_bytes(*length) as usize)?;
        let sum = crc32c::crc32c_append(crc32c::crc32c_append(salt, length), body);
        if sum != u32::from_be_bytes(*checksum) {
            return None;
        }
        let (place, body) = body.split_first_chunk::<4>()?;
        let (id, body) = body.split_first_chunk::<20>()?;
        let (time, body) = body.split_first_chunk::<8>()?;
        let (stream, body) = body.split_first_chunk::<4>()?;
        let (target, body) = body.split_first_chunk::<2>()?;
        let (read, document) = body.split_first_chunk::<4>()?;
        let (stream, target) = (u32::from_be_bytes(*stream), u16::from_be_bytes(*target));
        let is_known = (stream as usize) < self.streams.len() || stream == u32::MAX;
        if !is_known || (target != NO_TARGET && target as usize >= self.targets.len()) {
            return None;
        }
        let record = Record {
            id: EventId(*id),
            time: i64::from_be_bytes(*time),
            stream,
            bytes: u32::from_be_bytes(*read),
            end: 0,
        };
        let place = u32::from_be_bytes(*place);
        Some(FoundRecord {
            place,
            record,
            target,
            document,
            end: at + FRAME_BYTES + FIELD_BYTES + document.len(),
        })
    }
}

struct FoundRecord<'b> {
    place: u32,
    record: Record,
    target: u16,
    document: &'b [u8],
    /// Where the next one begins.
    end: usize,
}

#[cfg(test)]
mod tests;
