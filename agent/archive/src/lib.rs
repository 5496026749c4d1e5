//! The archive: events of one cluster in an object store, by namespace and hour, as NDJSON that `zstdcat` and `jq` read.
//!
//! ```text
//! PREFIX/CLUSTER/NAMESPACE/YYYY/MM/DD/HH/NODE-FIRSTTIME-SHA256PREFIX.ndjson.zst    data: key, object, line
//! PREFIX/CLUSTER/NAMESPACE/YYYY/MM/DD/HH/NODE.PART.index.json                      what NODE wrote there: index
//! ```
//!
//! A data object is zstd frames of about 1 MiB of lines each, and a footer that zstd's tools pass over: where each frame
//! lies, its times, and a filter for each indexed field. A line is `{"_id":"…","_time":…,"_source":{…}}`, the document byte
//! for byte. The index has for each data object its counts, times, SHA-256, and the values of fields, counted one by one or
//! as a filter: small, since it is written again with each object, while the filters of frames stay with the object.
//! The formats to the byte are in docs/FORMATS.md.
//!
//! 1. An event counts as delivered when its object is stored and an index names it: [`Archive`], which states how much
//!    memory it takes.
//! 2. Each object can be repeated: the key of a data object follows from its content, an index is written only in the place
//!    of what was read. A second writer of the same name costs tries, and nothing else.
//! 3. The archive may hold an event several times, after a failure or a crash: all copies have the same id and time and lie
//!    in the same namespace and hour, where [`Reader`] drops all but one.
//! 4. Indices and filters only save reading: no event is missed without them, nor because of them.
//! 5. What is damaged is named, and costs itself: a frame its events, an index the time to read footers.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod bloom;
mod fields;
pub mod index;
pub mod key;
mod lifecycle;
pub mod line;
mod metrics;
pub mod object;
mod reader;
mod settings;
mod writer;

pub use lifecycle::{LifecycleError, lifecycle};
pub use metrics::Metrics;
pub use reader::{
    Chunk, Condition, Cursor, CursorError, Damage, DamageKind, Event, HourSummary, MAX_DAMAGES,
    MAX_REMEMBERED, Outcome, ReadError, Reader, Replay, Selection, Survey,
};
pub use settings::{Settings, SettingsError};
pub use writer::Archive;

#[cfg(test)]
mod tests;
