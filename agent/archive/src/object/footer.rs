//! The footer of data objects: a skippable frame, which decoders of zstd pass over.
//!
//! ```text
//!  bytes
//!      4  57 2a 4d 18, what a skippable frame begins with
//!      4  length of what follows, little-endian, as zstd has it
//!         the table, one JSON object
//!         the filters of all frames
//!      4  length of the table
//!      4  length of the filters
//!      8  XXH3 over: the table, the filters, both lengths
//!      8  weirAR01
//! ```
//!
//! It is read from its end, which is the object's: nothing else has to be known.

use std::hash::Hasher as _;
use std::io;

use twox_hash::XxHash3_64;

use super::{Frame, MAX_FOOTER_BYTES, MAX_FRAME_RAW, MAX_FRAMES, Table};
use crate::bloom::{self, ValueHash};

const MAGIC: &[u8; 8] = b"weirAR01";
const SKIPPABLE: [u8; 4] = 0x184D_2A57_u32.to_le_bytes();
const HEAD_BYTES: usize = 8;
/// Bytes of the footer's last part.
pub const TRAILER_BYTES: usize = 24;
/// So much of an object's end is read where nobody knows how long its footer is.
pub const FOOTER_GUESS: usize = 64 * 1024;

/// A footer as it was read.
#[derive(Clone, Debug)]
pub struct Footer {
    /// What is where.
    pub table: Table,
    filters: Vec<u8>,
}

/// Why bytes are no footer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// So many bytes of the object's end are needed.
    #[error("{0} bytes of the end of the object are needed")]
    Needs(usize),
    /// It is damaged, or no data object of an archive at all.
    #[error("the footer is damaged: {0}")]
    Damaged(&'static str),
    /// Written by a later version.
    #[error("the footer has version {0}, and 1 is known; a newer weir can read it")]
    Version(u32),
}

/// Appends the footer of an object.
pub(super) fn write_footer(table: &Table, filters: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let table = serde_json::to_vec(table)?;
    let content = table.len() + filters.len() + TRAILER_BYTES;
    let length = u32::try_from(content).ok().filter(|_| content + HEAD_BYTES <= MAX_FOOTER_BYTES);
    let length =
        length.ok_or_else(|| io::Error::other(format!("a footer of {content} bytes is too large")))?;
    out.extend_from_slice(&SKIPPABLE);
    out.extend_from_slice(&length.to_le_bytes());
    let start = out.len();
    out.extend_from_slice(&table);
    out.extend_from_slice(filters);
    // Both fit, since their sum does.
    out.extend_from_slice(&(table.len() as u32).to_be_bytes());
    out.extend_from_slice(&(filters.len() as u32).to_be_bytes());
    let hash = XxHash3_64::oneshot(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&hash.to_be_bytes());
    out.extend_from_slice(MAGIC);
    Ok(())
}

// === impl Footer ===

impl Footer {
    /// Reads the footer in the last bytes of an object of `object_bytes`.
    ///
    /// # Errors
    ///
    /// See [`FooterError`]; with [`FooterError::Needs`] more of the end is to be read.
    pub fn parse(end: &[u8], object_bytes: u64) -> Result<Footer, FooterError> {
        let damaged = FooterError::Damaged;
        let (body, trailer) = end.split_last_chunk::<TRAILER_BYTES>().ok_or(damaged("it is cut"))?;
        let number = |at: usize| {
            let bytes = trailer.get(at..at + 4).and_then(|bytes| bytes.first_chunk().copied());
            u32::from_be_bytes(bytes.unwrap_or_default()) as usize
        };
        if !trailer.ends_with(MAGIC) {
            return Err(damaged("its magic is missing"));
        }
        let (table_len, filters_len) = (number(0), number(4));
        let content = table_len.saturating_add(filters_len);
        let needed = content.saturating_add(TRAILER_BYTES + HEAD_BYTES);
        if needed > MAX_FOOTER_BYTES || needed as u64 > object_bytes {
            return Err(damaged("it is longer than it can be"));
        }
        let Some(start) = body.len().checked_sub(content).filter(|start| *start >= HEAD_BYTES) else {
            return Err(FooterError::Needs(needed));
        };
        let (_, content) = body.split_at(start);
        let hash = trailer.get(8..16).and_then(|bytes| bytes.first_chunk().copied()).unwrap_or_default();
        let mut hasher = XxHash3_64::new();
        hasher.write(content);
        hasher.write(trailer.get(..8).unwrap_or_default());
        if hasher.finish() != u64::from_be_bytes(hash) {
            return Err(damaged("its checksum is wrong"));
        }
        let (table, filters) = content.split_at_checked(table_len).ok_or(damaged("it is cut"))?;
        let version =
            serde_json::from_slice::<Version>(table).map_err(|_| damaged("its table is no JSON"))?;
        if version.version != 1 {
            return Err(FooterError::Version(version.version));
        }
        let table: Table = serde_json::from_slice(table).map_err(|_| damaged("its table lacks members"))?;
        check(&table, object_bytes - needed as u64)?;
        Ok(Footer { table, filters: filters.to_vec() })
    }

    /// Whether a frame may hold an event whose field has this value. A field without filters admits everything.
    pub fn admits(&self, frame: &Frame, field: &str, value: ValueHash) -> bool {
        let Some(at) = self.table.fields.iter().position(|name| name == field) else { return true };
        let Some(Some((offset, bytes))) = frame.filters.get(at) else { return true };
        let filter = usize::try_from(*offset).ok().zip(usize::try_from(*bytes).ok());
        let filter = filter.and_then(|(offset, bytes)| self.filters.get(offset..offset.checked_add(bytes)?));
        filter.and_then(|filter| bloom::admits(filter, value)).unwrap_or(true)
    }

    /// Bytes of memory that it holds, about.
    pub fn memory(&self) -> usize {
        self.filters.len() + self.table.frames.len() * (size_of::<Frame>() + 24 * self.table.fields.len())
    }
}

#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

/// Frames follow each other from the first byte to the footer.
fn check(table: &Table, frames_end: u64) -> Result<(), FooterError> {
    let damaged = FooterError::Damaged;
    if table.frames.is_empty() || table.frames.len() > MAX_FRAMES {
        return Err(damaged("it has no frames, or too many"));
    }
    let mut offset = 0_u64;
    for frame in &table.frames {
        if frame.offset != offset || frame.bytes == 0 || frame.raw_bytes > MAX_FRAME_RAW as u64 {
            return Err(damaged("its frames do not follow each other"));
        }
        offset = offset.checked_add(frame.bytes).ok_or(damaged("its frames do not follow each other"))?;
    }
    if offset != frames_end {
        return Err(damaged("its frames do not end where it begins"));
    }
    Ok(())
}
