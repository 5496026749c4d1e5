//! Writing: parts are packed one by one, then laid out as a file.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use weir_event::stream::Stream;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use super::{
    FIELD_BYTES, HeaderText, MAGIC, MARK, MAX_HEADER_BYTES, MAX_PART_BYTES, MAX_PARTS, MAX_RUN_BYTES,
    NO_STREAM, NO_TARGET, PREFIX_BYTES, PartSource, PartText, RUN_BYTES, RUN_TARGET_BYTES, StreamText, salt,
};
use crate::segment::{Documents, Record};

/// The fastest level that is not a compromise: log lines shrink to a fifth.
const LEVEL: i32 = 1;
/// Written at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Packs parts, one after the other.
pub struct Packer {
    compressor: Compressor<'static>,
    /// A run is closed when it has so many bytes.
    run_bytes: usize,
    run: Vec<u8>,
    packed: Vec<u8>,
}

/// A part whose records are packed. Its pipeline and the rest it has from its source.
pub struct Packed<'a> {
    source: PartSource<'a>,
    runs: Vec<Run>,
    frames: Vec<u8>,
    unpacked: u64,
}

struct Run {
    first: u32,
    count: u32,
    unpacked: u32,
    length: u32,
    checksum: u32,
}

/// A file that is to be written, but for its number.
pub struct Layout<'a> {
    header: Vec<u8>,
    unpacked_header: u32,
    parts: &'a [Packed<'a>],
    /// The length of the file.
    pub bytes: u64,
}

// === impl Packer ===

impl Packer {
    /// Makes one; it takes about a MiB of memory.
    pub fn new() -> io::Result<Packer> {
        Packer::with_runs_of(RUN_TARGET_BYTES)
    }

    pub(super) fn with_runs_of(run_bytes: usize) -> io::Result<Packer> {
        Ok(Packer { compressor: Compressor::new(LEVEL)?, run_bytes, run: Vec::new(), packed: Vec::new() })
    }

    /// Packs a part.
    pub fn pack<'a>(&mut self, source: PartSource<'a>) -> io::Result<Packed<'a>> {
        let mut part = Packed { source, runs: Vec::new(), frames: Vec::new(), unpacked: 0 };
        let Documents { records, streams, .. } = source.documents;
        let targets = source.targets;
        let has_targets = !targets.names.is_empty() && targets.of.len() == records.len();
        let mut first = 0;
        self.run.clear();
        for (place, (record, document)) in (0_u32..).zip(source.documents.iter()) {
            let is_known = (record.stream as usize) < streams.len();
            let stream = if is_known { record.stream } else { NO_STREAM };
            let target = if has_targets { targets.of.get(place as usize).copied() } else { None };
            append(record, stream, target.unwrap_or(NO_TARGET), document, &mut self.run);
            if self.run.len() >= self.run_bytes {
                self.close(&mut part, first, place + 1 - first)?;
                first = place + 1;
            }
        }
        if !self.run.is_empty() {
            self.close(&mut part, first, records.len() as u32 - first)?;
        }
        if part.unpacked > MAX_PART_BYTES {
            return Err(too_large("a segment", part.unpacked));
        }
        part.frames.shrink_to_fit();
        Ok(part)
    }

    fn close(&mut self, part: &mut Packed<'_>, first: u32, count: u32) -> io::Result<()> {
        let unpacked = u32::try_from(self.run.len()).ok().filter(|bytes| *bytes <= MAX_RUN_BYTES);
        let unpacked = unpacked.ok_or_else(|| too_large("an event", self.run.len() as u64))?;
        pack(&mut self.compressor, &self.run, &mut self.packed)?;
        part.runs.push(Run {
            first,
            count,
            unpacked,
            length: self.packed.len() as u32,
            checksum: crc32c::crc32c(&self.packed),
        });
        part.frames.extend_from_slice(&self.packed);
        part.unpacked += u64::from(unpacked);
        self.run.clear();
        Ok(())
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

fn pack(compressor: &mut Compressor<'_>, bytes: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
    packed.clear();
    packed.reserve(compress_bound(bytes.len()));
    compressor.compress_to_buffer(bytes, packed).map(drop)
}

fn too_large(what: &str, bytes: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("{what} of {bytes} bytes is too large for a file"))
}

pub(super) fn append(record: &Record, stream: u32, target: u16, document: &[u8], out: &mut Vec<u8>) {
    let length = ((FIELD_BYTES + document.len()) as u32).to_be_bytes();
    out.extend_from_slice(&length);
    let checksum_at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&record.id.0);
    out.extend_from_slice(&record.time.to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&target.to_be_bytes());
    out.extend_from_slice(&record.bytes.to_be_bytes());
    out.extend_from_slice(document);
    let body = out.get(checksum_at + 4..).unwrap_or_default();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), body);
    if let Some(place) = out.get_mut(checksum_at..checksum_at + 4) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
}

// === impl Packed ===

impl Packed<'_> {
    /// Bytes of its records in a file.
    pub fn bytes(&self) -> u64 {
        (self.frames.len() + self.runs.len() * RUN_BYTES) as u64
    }
}

impl std::fmt::Debug for Packed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

// === impl Layout ===

impl<'a> Layout<'a> {
    /// Lays out a file of at most [`MAX_PARTS`] parts. Fails where the tables would hold more than can be numbered.
    pub fn new(sink: &str, parts: &'a [Packed<'a>]) -> io::Result<Layout<'a>> {
        if parts.len() > MAX_PARTS {
            return Err(too_large("a group of segments", parts.len() as u64));
        }
        let mut header = HeaderText {
            sink: sink.into(),
            streams: Vec::new(),
            targets: Vec::new(),
            parts: Vec::with_capacity(parts.len()),
        };
        let mut known_streams: HashMap<*const Stream, u32> = HashMap::new();
        let mut known_targets: HashMap<&str, u16> = HashMap::new();
        let mut start = 0;
        for part in parts {
            let PartSource { pipeline, amount, documents, targets } = part.source;
            let mut of_streams = Vec::with_capacity(documents.streams.len());
            for stream in &documents.streams {
                let next = header.streams.len();
                of_streams.push(*known_streams.entry(Arc::as_ptr(stream)).or_insert_with(|| {
                    header.streams.push(StreamText::of(stream));
                    next as u32
                }));
            }
            let mut of_targets = Vec::with_capacity(targets.names.len());
            for name in &targets.names {
                let next = u16::try_from(header.targets.len()).ok().filter(|next| *next != NO_TARGET);
                let next = next.ok_or_else(|| too_large("a table of targets", u64::from(NO_TARGET)))?;
                of_targets.push(*known_targets.entry(name).or_insert_with(|| {
                    header.targets.push((**name).into());
                    next
                }));
            }
            header.parts.push(PartText {
                pipeline: pipeline.into(),
                events: amount.events,
                bytes: amount.bytes,
                records: documents.records.len() as u32,
                start,
                length: part.bytes(),
                unpacked: part.unpacked,
                streams: of_streams,
                targets: of_targets,
            });
            start += part.bytes();
        }
        let text = serde_json::to_vec(&header)?;
        let unpacked_header = u32::try_from(text.len()).ok().filter(|bytes| *bytes <= MAX_HEADER_BYTES);
        let unpacked_header = unpacked_header.ok_or_else(|| too_large("a header", text.len() as u64))?;
        let mut packed = Vec::new();
        pack(&mut Compressor::new(LEVEL)?, &text, &mut packed)?;
        let bytes = (PREFIX_BYTES + packed.len()) as u64 + start;
        Ok(Layout { header: packed, unpacked_header, parts, bytes })
    }

    /// Writes the file, in pieces.
    pub fn write(&self, number: u64, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let number_text = number.to_be_bytes();
        let lengths = [(self.header.len() as u32).to_be_bytes(), self.unpacked_header.to_be_bytes()].concat();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&number_text), &lengths);
        let checksum = crc32c::crc32c_append(checksum, &self.header);
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        chunk.extend_from_slice(&MAGIC);
        chunk.extend_from_slice(&number_text);
        chunk.extend_from_slice(&checksum.to_be_bytes());
        chunk.extend_from_slice(&lengths);
        chunk.extend_from_slice(&self.header);
        for (index, part) in self.parts.iter().enumerate() {
            let salt = salt(number, index as u8);
            let mut frames = part.frames.as_slice();
            for run in &part.runs {
                let (frame, rest) = frames.split_at_checked(run.length as usize).unwrap_or_default();
                frames = rest;
                run.append(salt, frame, &mut chunk);
                if chunk.len() >= CHUNK_BYTES {
                    write(&chunk)?;
                    chunk.clear();
                }
            }
        }
        write(&chunk)
    }
}

impl Run {
    fn append(&self, salt: u32, frame: &[u8], out: &mut Vec<u8>) {
        let numbers = [self.length, self.unpacked, self.first, self.count, self.checksum];
        let fields: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        out.extend_from_slice(&MARK);
        out.extend_from_slice(&crc32c::crc32c_append(salt, &fields).to_be_bytes());
        out.extend_from_slice(&fields);
        out.extend_from_slice(frame);
    }
}
