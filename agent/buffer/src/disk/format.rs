//! The segment file: what lies in it and how it is read back. Byte for byte it is described in docs/FORMATS.md.
//!
//! 1. A file holds up to [`MAX_PARTS`] parts. A part is a segment as it lay in memory: it has its own account and its
//!    own place in the acks of its batch, and it is adopted, read and removed apart from the others.
//! 2. The records of a part lie in runs, each compressed by itself. Before each run lies a mark, and a checksum that
//!    covers in which file, in which part and at which place it belongs: what a disk gives back of an older file is no
//!    run here. Within a run each record has a checksum of its own.
//! 3. What is damaged costs its run and no other: reading goes on at the next mark that begins a whole run.
//! 4. Nothing that a file claims is believed before its checksum, and nothing is unpacked beyond a bound.
//! 5. The length of a file is known before its first byte is written.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_event::stream::{Attributes, Family, Stream};

use crate::ledger::Amount;
use crate::segment::{Documents, Record, Targets};

mod read;
mod version_1;
mod write;

pub(super) use write::Layout;
pub use write::{Packed, Packer};

/// Parts of one file: as many as a word has bits, so that a file's live parts are one number.
pub const MAX_PARTS: usize = 64;

const MAGIC: [u8; 8] = *b"weirSG02";
/// Magic, number, checksum, and the lengths of the header, packed and unpacked.
const PREFIX_BYTES: usize = 28;
/// A header that is longer when it is unpacked is damaged.
const MAX_HEADER_BYTES: u32 = 32 * 1024 * 1024;
/// Begins a run. Two of its bytes occur in no UTF-8.
const MARK: [u8; 4] = [0xff, b'w', 0xfe, b'r'];
/// Mark, checksum, lengths packed and unpacked, first place, count, checksum of what is packed.
const RUN_BYTES: usize = 28;
/// A run is closed when it has so many bytes unpacked: what damage costs, and what is packed well.
const RUN_TARGET_BYTES: usize = 128 * 1024;
/// A run that is longer when it is unpacked is damaged.
const MAX_RUN_BYTES: u32 = 256 * 1024 * 1024;
/// A part that is longer when it is unpacked is damaged.
const MAX_PART_BYTES: u64 = 512 * 1024 * 1024;
/// Length and checksum of a record.
const FRAME_BYTES: usize = 8;
/// Id, time, stream, target and bytes as read.
const FIELD_BYTES: usize = 38;
/// What a record takes beside its document, unpacked.
const RECORD_BYTES: usize = FRAME_BYTES + FIELD_BYTES;
/// The stream of a document whose stream is not known.
const NO_STREAM: u32 = u32::MAX;
/// The target of a document of a sink with only one place.
const NO_TARGET: u16 = u16::MAX;

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
pub(crate) struct StreamText<'a> {
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
    #[serde(skip_serializing_if = "str::is_empty")]
    tag: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<FamilyText<'a>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct FamilyText<'a> {
    name: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    help: Cow<'a, str>,
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
    /// Its records' bytes when they are unpacked. Not in version 1, like what follows.
    #[serde(default)]
    unpacked: u64,
    /// Indices in the file's streams and targets; those of records are indices in these.
    #[serde(default)]
    streams: Vec<u32>,
    #[serde(default)]
    targets: Vec<u16>,
}

/// A file's header as it was read.
#[derive(Debug)]
pub struct Header {
    /// The file's number; files of version 1 do not say it.
    pub number: Option<u64>,
    /// The sink's name.
    pub sink: String,
    /// The parts.
    pub parts: Vec<PartHeader>,
    /// Where records begin.
    records_at: u64,
}

/// What the header says of a part.
#[derive(Clone, Debug)]
pub struct PartHeader {
    /// The pipeline whose account it belongs to.
    pub pipeline: String,
    /// What the ledger has booked for it.
    pub amount: Amount,
    records: u32,
    start: u64,
    length: u64,
    unpacked: u64,
    streams: Vec<Arc<Stream>>,
    targets: Vec<Arc<str>>,
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

// === impl PartHeader ===

impl PartHeader {
    /// How many records it holds.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Bytes of its records on disk.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that its documents take in memory.
    pub fn memory(&self) -> u64 {
        let records = u64::from(self.records);
        let beside = (size_of::<Record>() + 1).saturating_sub(RECORD_BYTES) as u64;
        self.unpacked.saturating_add(records.saturating_mul(beside))
    }
}

// === impl StreamText ===

impl StreamText<'_> {
    pub(crate) fn of(stream: &Stream) -> StreamText<'static> {
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
            tag: text(&a.tag),
            family: a.family.as_ref().map(|family| FamilyText {
                name: text(&family.name),
                kind: text(&family.kind),
                unit: text(&family.unit),
                help: text(&family.help),
            }),
        }
    }

    /// Whether the stream has samples.
    pub(crate) fn is_of_samples(&self) -> bool {
        self.family.is_some()
    }

    pub(crate) fn stream(self) -> Option<Arc<Stream>> {
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
            tag: self.tag.into(),
            family: self.family.map(|family| {
                Box::new(Family {
                    name: family.name.into(),
                    kind: family.kind.into(),
                    unit: family.unit.into(),
                    help: family.help.into(),
                })
            }),
        };
        Some(Stream::new(attributes, incarnation))
    }
}

/// What the checksum of a run (in version 1: of a record) begins with.
fn salt(number: u64, part: u8) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_be_bytes()), &[part])
}

#[cfg(test)]
mod tests;
