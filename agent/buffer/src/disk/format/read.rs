//! Reading: whatever the bytes are, what is whole comes back and nothing else.

use std::io;
use std::sync::Arc;

use weir_event::identity::EventId;
use weir_event::stream::Stream;
use zstd::bulk::Decompressor;

use super::{
    FIELD_BYTES, FRAME_BYTES, Header, HeaderError, HeaderText, MAGIC, MARK, MAX_HEADER_BYTES, MAX_PART_BYTES,
    MAX_PARTS, MAX_RUN_BYTES, NO_STREAM, NO_TARGET, PREFIX_BYTES, PartContent, PartHeader, PartText,
    RECORD_BYTES, RUN_BYTES, StreamText, salt, version_1,
};
use crate::ledger::Amount;
use crate::segment::{Documents, Record, Targets};

const fn damaged(what: &'static str) -> HeaderError {
    HeaderError::Damaged(what)
}

// === impl Header ===

impl Header {
    /// Reads a file's header through `read(offset, length)`.
    pub fn read(read: impl Fn(u64, usize) -> io::Result<Vec<u8>>) -> Result<Header, HeaderError> {
        let prefix = read(0, PREFIX_BYTES)?;
        if prefix.starts_with(&version_1::MAGIC) {
            return version_1::header(read);
        }
        let rest = prefix.strip_prefix(&MAGIC).ok_or(damaged("it does not begin as a segment does"))?;
        let (number, rest) = rest.split_first_chunk::<8>().ok_or(damaged("it is cut off"))?;
        let (checksum, lengths) = rest.split_first_chunk::<4>().ok_or(damaged("it is cut off"))?;
        let (length, unpacked) = lengths.split_first_chunk::<4>().ok_or(damaged("it is cut off"))?;
        let unpacked = <[u8; 4]>::try_from(unpacked).map_err(|_| damaged("it is cut off"))?;
        let (length, unpacked) = (u32::from_be_bytes(*length), u32::from_be_bytes(unpacked));
        if length > MAX_HEADER_BYTES || unpacked > MAX_HEADER_BYTES {
            return Err(damaged("its length is out of bounds"));
        }
        let frame = read(PREFIX_BYTES as u64, length as usize)?;
        if frame.len() != length as usize {
            return Err(damaged("it is cut off"));
        }
        let found = crc32c::crc32c_append(crc32c::crc32c(number), lengths);
        if crc32c::crc32c_append(found, &frame) != u32::from_be_bytes(*checksum) {
            return Err(damaged("its checksum is another"));
        }
        let text = unpack(&mut Decompressor::new()?, &frame, unpacked);
        let text = text.ok_or(damaged("its checksum is right, but it cannot be unpacked"))?;
        let records_at = PREFIX_BYTES as u64 + u64::from(length);
        Header::parse(Some(u64::from_be_bytes(*number)), &text, records_at)
            .ok_or(damaged("its checksum is right, its content is not; was it written by a newer version?"))
    }

    pub(super) fn parse(number: Option<u64>, text: &[u8], records_at: u64) -> Option<Header> {
        let text: HeaderText<'_> = serde_json::from_slice(text).ok()?;
        let streams = text.streams.into_iter().map(StreamText::stream).collect::<Option<Vec<_>>>()?;
        let targets: Vec<Arc<str>> = text.targets.iter().map(|name| Arc::from(&**name)).collect();
        let is_first_version = number.is_none();
        let part = |part: PartText<'_>| {
            records_at.checked_add(part.start)?.checked_add(part.length)?;
            let of_stream = |index: &u32| streams.get(*index as usize).map(Arc::clone);
            let of_target = |index: &u16| targets.get(*index as usize).map(Arc::clone);
            let (of_streams, of_targets) = match is_first_version {
                true => (streams.clone(), targets.clone()),
                false => (
                    part.streams.iter().map(of_stream).collect::<Option<Vec<Arc<Stream>>>>()?,
                    part.targets.iter().map(of_target).collect::<Option<Vec<_>>>()?,
                ),
            };
            let unpacked = if is_first_version { part.length } else { part.unpacked };
            (unpacked <= MAX_PART_BYTES).then_some(PartHeader {
                pipeline: part.pipeline.into(),
                amount: Amount { events: part.events, bytes: part.bytes },
                records: part.records,
                start: part.start,
                length: part.length,
                unpacked,
                streams: of_streams,
                targets: of_targets,
            })
        };
        let parts = text.parts.into_iter().map(part).collect::<Option<Vec<_>>>()?;
        (parts.len() <= MAX_PARTS).then_some(Header { number, sink: text.sink.into(), parts, records_at })
    }

    /// Reads a part's documents through `read(offset, length)`; those whose place is in `which` where it is given.
    pub fn part(
        &self,
        number: u64,
        index: u8,
        which: Option<&[u32]>,
        read: impl Fn(u64, usize) -> io::Result<Vec<u8>>,
    ) -> io::Result<PartContent> {
        let Some(part) = self.parts.get(index as usize) else {
            return Ok(PartContent { is_damaged: true, ..PartContent::empty() });
        };
        let length = usize::try_from(part.length).unwrap_or(usize::MAX);
        let bytes = read(self.records_at + part.start, length)?;
        let mut content = PartContent::empty();
        content.documents.streams.clone_from(&part.streams);
        content.targets.names.clone_from(&part.targets);
        let mut taking = Taking { part, which, next_place: 0, content };
        match self.number {
            None => version_1::records(&bytes, salt(number, index), &mut taking),
            Some(_) => runs(&bytes, salt(number, index), &mut taking)?,
        }
        let Taking { next_place, mut content, .. } = taking;
        content.is_damaged |= next_place != part.records || bytes.len() != length;
        if content.targets.of.is_empty() {
            content.targets.names.clear();
        }
        Ok(content)
    }
}

impl PartContent {
    fn empty() -> PartContent {
        PartContent {
            documents: Documents::default(),
            targets: Targets::default(),
            places: Vec::new(),
            is_damaged: false,
        }
    }
}

// === runs ===

/// A part while its records are taken, in the order of their places.
pub(super) struct Taking<'a> {
    pub part: &'a PartHeader,
    pub which: Option<&'a [u32]>,
    /// Places only go up: no record comes twice, whatever the disk gives back.
    pub next_place: u32,
    pub content: PartContent,
}

struct FoundRun<'b> {
    first: u32,
    count: u32,
    unpacked: u32,
    frame: &'b [u8],
    /// Where the next one begins.
    end: usize,
}

fn runs(bytes: &[u8], salt: u32, taking: &mut Taking<'_>) -> io::Result<()> {
    let mut decompressor = Decompressor::new()?;
    if taking.which.is_none() {
        taking.reserve(taking.part.unpacked);
    }
    let (mut at, mut left) = (0, taking.part.unpacked);
    while at < bytes.len() {
        let run = run_at(bytes, at, salt).filter(|run| {
            let end = run.first.checked_add(run.count);
            let is_in_place =
                run.first >= taking.next_place && end.is_some_and(|end| end <= taking.part.records);
            is_in_place && u64::from(run.unpacked) <= left
        });
        let unpacked = run.and_then(|run| Some((unpack(&mut decompressor, run.frame, run.unpacked)?, run)));
        let Some((unpacked, run)) = unpacked else {
            taking.content.is_damaged = true;
            at = next_mark(bytes, at + 1);
            continue;
        };
        left -= u64::from(run.unpacked);
        at = run.end;
        taking.content.is_damaged |= run.first != taking.next_place;
        taking.next_place = run.first + run.count;
        records(&unpacked, run.first, run.count, taking);
    }
    Ok(())
}

/// Where the next mark is, or the end.
pub(super) fn next_mark(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let mark = rest.windows(MARK.len()).position(|window| *window == MARK);
    mark.map_or(bytes.len(), |mark| from + mark)
}

fn run_at(bytes: &[u8], at: usize, salt: u32) -> Option<FoundRun<'_>> {
    let rest = bytes.get(at..)?.strip_prefix(&MARK)?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let (fields, rest) = rest.split_first_chunk::<20>()?;
    if crc32c::crc32c_append(salt, fields) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let mut numbers =
        fields.chunks_exact(4).filter_map(|four| Some(u32::from_be_bytes(four.try_into().ok()?)));
    let mut next = || numbers.next();
    let (length, unpacked, first, count, checksum) = (next()?, next()?, next()?, next()?, next()?);
    let frame = rest.get(..length as usize)?;
    let is_whole = unpacked <= MAX_RUN_BYTES && crc32c::crc32c(frame) == checksum;
    is_whole.then_some(FoundRun { first, count, unpacked, frame, end: at + RUN_BYTES + frame.len() })
}

/// What was packed, if it is as long as it should be.
fn unpack(decompressor: &mut Decompressor<'_>, frame: &[u8], unpacked: u32) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(unpacked as usize);
    decompressor.decompress_to_buffer(frame, &mut bytes).ok()?;
    (bytes.len() == unpacked as usize).then_some(bytes)
}

pub(super) fn records(bytes: &[u8], first: u32, count: u32, taking: &mut Taking<'_>) {
    let mut rest = bytes;
    for place in first..first + count {
        let Some((length, checksum, behind)) = framed(rest) else { break };
        let Some((body, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            break;
        };
        rest = behind;
        if crc32c::crc32c_append(crc32c::crc32c(length), body) != u32::from_be_bytes(*checksum) {
            taking.content.is_damaged = true;
        } else {
            taking.take(place, body);
        }
    }
    taking.content.is_damaged |= !rest.is_empty();
}

fn framed(bytes: &[u8]) -> Option<(&[u8; 4], &[u8; 4], &[u8])> {
    debug_assert_eq!(FRAME_BYTES, 8);
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    Some((length, checksum, rest))
}

// === impl Taking ===

impl Taking<'_> {
    /// Makes room for records of so many bytes.
    pub fn reserve(&mut self, unpacked: u64) {
        let unpacked = usize::try_from(unpacked).unwrap_or(usize::MAX);
        let records = (self.part.records as usize).min(unpacked / RECORD_BYTES);
        let documents = &mut self.content.documents;
        documents.ndjson.reserve_exact(unpacked - records * (RECORD_BYTES - 1));
        documents.records.reserve_exact(records);
    }

    /// Takes a record whose checksum is right, if it is wanted.
    pub fn take(&mut self, place: u32, body: &[u8]) {
        let Some((record, target, document)) = fields(body) else {
            self.content.is_damaged = true;
            return;
        };
        let PartContent { documents, targets, places, is_damaged } = &mut self.content;
        let is_known = (record.stream as usize) < documents.streams.len() || record.stream == NO_STREAM;
        let has_target = target != NO_TARGET;
        let is_target = match has_target {
            true => (target as usize) < targets.names.len(),
            false => targets.of.is_empty(),
        };
        if !is_known || !is_target || (has_target && targets.of.len() != documents.records.len()) {
            *is_damaged = true;
            return;
        }
        if self.which.is_some_and(|which| which.binary_search(&place).is_err()) {
            return;
        }
        documents.ndjson.extend_from_slice(document);
        let end = documents.ndjson.len() as u32;
        documents.ndjson.push(b'\n');
        documents.records.push(Record { end, ..record });
        places.push(place);
        if has_target {
            targets.of.push(target);
        }
    }
}

fn fields(body: &[u8]) -> Option<(Record, u16, &[u8])> {
    debug_assert_eq!(FIELD_BYTES, 38);
    let (id, body) = body.split_first_chunk::<20>()?;
    let (time, body) = body.split_first_chunk::<8>()?;
    let (stream, body) = body.split_first_chunk::<4>()?;
    let (target, body) = body.split_first_chunk::<2>()?;
    let (read, document) = body.split_first_chunk::<4>()?;
    let record = Record {
        id: EventId(*id),
        time: i64::from_be_bytes(*time),
        stream: u32::from_be_bytes(*stream),
        bytes: u32::from_be_bytes(*read),
        end: 0,
    };
    Some((record, u16::from_be_bytes(*target), document))
}
