//! Reading frames of data objects.

use std::io;

use zstd::bulk::Decompressor;

use super::Frame;
use crate::line::Line;

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// There are fewer bytes than there were.
    #[error("it has {found} bytes, and {expected} were written")]
    Length {
        /// What there is.
        found: usize,
        /// What there should be.
        expected: u64,
    },
    /// It is not what was packed.
    #[error("it cannot be unpacked: {0}")]
    Unpack(#[source] io::Error),
    /// Unpacked, it is not what was packed.
    #[error("unpacked it has {found} bytes, and {expected} were written")]
    RawLength {
        /// What there is.
        found: usize,
        /// What there should be.
        expected: u64,
    },
    /// It holds something else than events.
    #[error("its line {0} is no event")]
    Line(u64),
    /// It holds another number of events.
    #[error("it has {found} events, and {expected} were written")]
    Events {
        /// What there is.
        found: u64,
        /// What there should be.
        expected: u64,
    },
}

/// Unpacks a frame: its lines, proved to be as many events as were written. zstd checks the content's checksum.
///
/// # Errors
///
/// See [`FrameError`].
pub fn decode_frame(frame: &Frame, packed: &[u8]) -> Result<Vec<u8>, FrameError> {
    if packed.len() as u64 != frame.bytes {
        return Err(FrameError::Length { found: packed.len(), expected: frame.bytes });
    }
    let wanted = usize::try_from(frame.raw_bytes).unwrap_or(usize::MAX).min(super::MAX_FRAME_RAW);
    let raw = Decompressor::new().and_then(|mut decompressor| decompressor.decompress(packed, wanted));
    let raw = raw.map_err(FrameError::Unpack)?;
    if raw.len() as u64 != frame.raw_bytes {
        return Err(FrameError::RawLength { found: raw.len(), expected: frame.raw_bytes });
    }
    let mut events = 0;
    for line in lines(&raw) {
        events += 1;
        Line::parse(line).ok_or(FrameError::Line(events))?;
    }
    if events != frame.events {
        return Err(FrameError::Events { found: events, expected: frame.events });
    }
    Ok(raw)
}

/// The lines of an unpacked frame, without their newlines.
pub(crate) fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    raw.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}
