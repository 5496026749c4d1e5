//! The index of an hour: which data objects one node wrote for a namespace, and what is in them.
//!
//! ```text
//! {"weir_archive_index":1,"xxh3":"0123456789abcdef","length":"0000001234","index":{…}}
//! ```
//!
//! 1. It is one line of JSON that `jq .index` reads, and its head has a fixed length. `length` is that of the object behind
//!    `"index":`, `xxh3` the hash of it.
//! 2. One node writes it, with the condition that nobody else did meanwhile. What a writer finds in it stays.
//! 3. A part that would pass [`MAX_PART_BYTES`] is left as it is, and the next part begun. So is one that cannot be read.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::bloom::{self, Bloom, ValueHash};

/// A part is not written beyond this, unless one entry alone is larger.
pub const MAX_PART_BYTES: usize = 4 * 1024 * 1024;
/// The largest part that is read: 16 fields whose filters are as large as they can be are below 4 MiB.
pub const MAX_READ_BYTES: u64 = 16 * 1024 * 1024;
/// Distinct values of a field that an entry counts one by one.
pub const MAX_VALUES: usize = 256;
/// Longest value that is counted: with one that is longer, or with more values, the field has a filter.
pub const MAX_VALUE_BYTES: usize = 128;

const HEAD: &[u8] = b"{\"weir_archive_index\":";
const VERSION: u32 = 1;
const HASH: &[u8] = b",\"xxh3\":\"";
const LENGTH: &[u8] = b"\",\"length\":\"";
const INDEX: &[u8] = b"\",\"index\":";
const TAIL: &[u8] = b"}\n";
const LENGTH_DIGITS: usize = 10;

/// A part of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The cluster.
    pub cluster: String,
    /// The namespace; empty where events have none.
    pub namespace: String,
    /// The hour, as `2023-11-14T22`.
    pub hour: String,
    /// Who wrote the objects.
    pub node: String,
    /// Its number among the parts, from 0.
    pub part: u32,
    /// The data objects, in the order in which they were written.
    pub objects: Vec<Entry>,
}

/// A data object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The last part of its key.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of its lines.
    pub raw_bytes: u64,
    /// How many events.
    pub events: u64,
    /// Time of the first event, nanoseconds since the Unix epoch.
    pub first: i64,
    /// Time of the last event.
    pub last: i64,
    /// SHA-256 of the whole object, hexadecimal.
    pub sha256: String,
    /// How many frames; where they lie says the object's footer.
    pub frames: u64,
    /// Where the object's footer begins.
    pub footer: u64,
    /// What is known of the fields' values.
    pub fields: BTreeMap<String, FieldIndex>,
}

/// Values of one field in one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldIndex {
    /// All of them, with how often they are there.
    Values(BTreeMap<String, u64>),
    /// A filter.
    Filter {
        /// About how many distinct values there are.
        distinct: u64,
        /// The bits, in base64; see [`crate::bloom`].
        bits: String,
    },
}

/// Why bytes are no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is damaged.
    #[error("the index is damaged: {0}")]
    Damaged(&'static str),
    /// Written by a later version.
    #[error("the index has version {0}, and 1 is known; a newer weir can read it")]
    Version(u32),
}

// === impl Index ===

impl Index {
    /// As it is stored.
    ///
    /// # Errors
    ///
    /// None that can be; serde's type has one.
    pub fn render(&self) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec(self)?;
        let mut out = HEAD.to_vec();
        out.extend_from_slice(VERSION.to_string().as_bytes());
        out.extend_from_slice(HASH);
        out.extend_from_slice(format!("{:016x}", XxHash3_64::oneshot(&body)).as_bytes());
        out.extend_from_slice(LENGTH);
        out.extend_from_slice(format!("{:0LENGTH_DIGITS$}", body.len()).as_bytes());
        out.extend_from_slice(INDEX);
        out.extend_from_slice(&body);
        out.extend_from_slice(TAIL);
        Ok(out)
    }

    /// Reads what [`Index::render`] made.
    ///
    /// # Errors
    ///
    /// See [`IndexError`].
    pub fn parse(bytes: &[u8]) -> Result<Index, IndexError> {
        let damaged = IndexError::Damaged;
        let rest = bytes.strip_prefix(HEAD).ok_or(damaged("it does not begin like one"))?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (version, rest) = rest.split_at(digits);
        let version: u32 = text(version).parse().map_err(|_| damaged("it has no version"))?;
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        let head = damaged("its head is not whole");
        let (hash, rest) = field(rest, HASH, 16).ok_or(head.clone())?;
        let (length, rest) = field(rest, LENGTH, LENGTH_DIGITS).ok_or(head.clone())?;
        let body = rest.strip_prefix(INDEX).and_then(|rest| rest.strip_suffix(TAIL)).ok_or(head)?;
        if text(length).parse() != Ok(body.len()) {
            return Err(damaged("its length is wrong"));
        }
        if u64::from_str_radix(text(hash), 16) != Ok(XxHash3_64::oneshot(body)) {
            return Err(damaged("its checksum is wrong"));
        }
        serde_json::from_slice(body).map_err(|_| damaged("it lacks members"))
    }
}

fn field<'a>(bytes: &'a [u8], name: &[u8], len: usize) -> Option<(&'a [u8], &'a [u8])> {
    bytes.strip_prefix(name)?.split_at_checked(len)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

// === impl Entry ===

impl Entry {
    /// Whether the object may hold an event whose field has this value. A field that was not indexed admits everything.
    pub fn admits(&self, field: &str, value: &str, hash: ValueHash) -> bool {
        match self.fields.get(field) {
            None => true,
            Some(FieldIndex::Values(values)) => values.contains_key(value),
            Some(FieldIndex::Filter { bits, .. }) => {
                let filter = STANDARD.decode(bits).ok();
                filter.and_then(|filter| bloom::admits(&filter, hash)).unwrap_or(true)
            }
        }
    }
}

// === impl FieldIndex ===

impl FieldIndex {
    /// Counts a value, until there are too many.
    pub(crate) fn count(&mut self, value: &[u8]) {
        let FieldIndex::Values(values) = self else { return };
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= MAX_VALUE_BYTES);
        if let Some(count) = text.and_then(|text| values.get_mut(text)) {
            *count += 1;
            return;
        }
        match text.filter(|_| values.len() < MAX_VALUES) {
            Some(text) => drop(values.insert(text.to_owned(), 1)),
            None => *self = FieldIndex::Filter { distinct: 0, bits: String::new() },
        }
    }

    /// What is stored: the values where they could be counted, the filter of them otherwise.
    pub(crate) fn or_filter(self, filter: &Bloom) -> FieldIndex {
        match self {
            FieldIndex::Values(values) => FieldIndex::Values(values),
            FieldIndex::Filter { .. } => {
                FieldIndex::Filter { distinct: filter.distinct(), bits: STANDARD.encode(filter.folded()) }
            }
        }
    }
}
