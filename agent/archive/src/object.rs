//! Data objects: events of one hour and namespace, as zstd that every tool reads, in frames that can be read alone.
//!
//! 1. A data object is one or more zstd frames, each with its length and checksum, and behind them one skippable frame,
//!    the footer. `zstdcat` prints the events.
//! 2. Events are in the order of time, then id; none is there twice. A frame holds whole lines.
//! 3. Content follows from the events, the settings and the version of zstd alone: nothing of when or how often.
//! 4. The footer says where each frame lies and what it may hold, so that an object can be searched without an index.

mod decode;
mod encode;
mod footer;

use serde::{Deserialize, Serialize};

pub(crate) use self::decode::lines;
pub use self::decode::{FrameError, decode_frame};
pub(crate) use self::encode::hex;
pub use self::encode::{Encoded, encode};
pub use self::footer::{FOOTER_GUESS, Footer, FooterError, TRAILER_BYTES};

/// The largest data object that is read, in bytes.
pub const MAX_OBJECT_BYTES: u64 = 512 * 1024 * 1024;
/// The largest frame that is written and read, in raw bytes: what the largest event needs and a frame before it.
pub const MAX_FRAME_RAW: usize = 64 * 1024 * 1024;
/// The largest footer that is read, in bytes.
pub const MAX_FOOTER_BYTES: usize = 64 * 1024 * 1024;
/// Most frames of an object.
pub const MAX_FRAMES: usize = 65_536;

/// What the footer says of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// 1.
    pub version: u32,
    /// The cluster.
    pub cluster: String,
    /// The namespace; empty where events have none.
    pub namespace: String,
    /// The hour, as `2023-11-14T22`.
    pub hour: String,
    /// Who wrote it.
    pub node: String,
    /// How many events.
    pub events: u64,
    /// Bytes of its lines.
    pub raw_bytes: u64,
    /// Time of the first event, nanoseconds since the Unix epoch.
    pub first: i64,
    /// Time of the last event.
    pub last: i64,
    /// The fields that filters are of, in their order.
    pub fields: Vec<String>,
    /// The frames, in their order.
    pub frames: Vec<Frame>,
}

/// A frame of a data object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Where it begins in the object.
    pub offset: u64,
    /// Its bytes there.
    pub bytes: u64,
    /// Its bytes as it is unpacked.
    pub raw_bytes: u64,
    /// How many events.
    pub events: u64,
    /// Time of the first event.
    pub first: i64,
    /// Time of the last event.
    pub last: i64,
    /// For each of the fields where its filter lies among the footer's, and its bytes. None: anything may be in the
    /// frame. Bytes of 0: no value is.
    pub filters: Vec<Option<(u64, u64)>>,
}
