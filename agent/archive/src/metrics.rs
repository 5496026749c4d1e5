//! What an archive counts beside [`weir_pipeline::sink::SinkMetrics`].

use std::sync::atomic::AtomicU64;

/// Counts of one archive's writer.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Data objects stored and indexed.
    pub objects: AtomicU64,
    /// Their bytes.
    pub object_bytes: AtomicU64,
    /// Bytes of their lines.
    pub raw_bytes: AtomicU64,
    /// Events that came twice within an object and are in it once.
    pub duplicates: AtomicU64,
    /// Writes of an index that another writer came before, done again.
    pub conflicts: AtomicU64,
    /// Groups that gather events now.
    pub open_groups: AtomicU64,
    /// Bytes of memory of everything that is not stored yet: open, closed and under way.
    pub memory: AtomicU64,
}
