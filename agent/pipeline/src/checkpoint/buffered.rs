//! What the checkpoints say of the buffers' files: on the disk, in object stores, and taken over from other agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_buffer::disk::StoredParts;
use weir_buffer::ledger::Amount;
use weir_buffer::memory::MemoryTier;
use weir_buffer::presence::{Adoption, Content, SinkContent};

use super::Checkpoints;

impl Checkpoints {
    /// The sinks that have something on disk.
    pub fn sinks_with_stored(&self) -> Vec<String> {
        self.lock().state.buffers.keys().cloned().collect()
    }

    /// What lies on disk before a sink, by file.
    pub fn stored(&self, sink: &str) -> BTreeMap<u64, StoredParts> {
        let guard = self.lock();
        let files = guard.state.buffers.get(sink).into_iter().flatten();
        let number = |key: &str| u64::from_str_radix(key, 16).ok();
        files.filter_map(|(key, stored)| Some((number(key)?, stored.clone()))).collect()
    }

    /// The number that the next file of a sink has at least.
    pub fn next_file(&self, sink: &str) -> u64 {
        self.lock().state.next_files.get(sink).copied().unwrap_or_default()
    }

    /// What lies on disk before a sink, as far as it is written down: what is not is written first. Blocks.
    pub fn durably_stored(&self, sink: &str) -> BTreeMap<u64, StoredParts> {
        let stored = self.stored(sink);
        match self.save() {
            Ok(()) => stored,
            // Who saves every second says so.
            Err(_) => BTreeMap::new(),
        }
    }

    /// What waits, and where, as the manifest in a bucket has it.
    pub fn content<'a>(&self, buffers: impl Iterator<Item = (&'a str, &'a Arc<MemoryTier>)>) -> Content {
        let (adoptions, mut stored) = {
            let guard = self.lock();
            (guard.state.adoptions.clone(), guard.state.buffers.clone())
        };
        let mut sinks = BTreeMap::new();
        for (sink, buffer) in buffers {
            let files = stored.remove(sink).unwrap_or_default();
            // Asked for after the files: what was settled in between stands in both.
            let settled = buffer.disk().map(|disk| disk.store().settled()).unwrap_or_default();
            sinks.insert(sink.to_owned(), SinkContent { files, settled });
        }
        Content { sinks, adoptions }
    }

    /// Which agents were taken over, as far as something of them is left.
    pub fn adoptions(&self) -> Vec<Adoption> {
        self.lock().state.adoptions.clone()
    }

    /// What lies on disk or in an object store before a sink, of one pipeline.
    pub fn stored_of(&self, pipeline: &str, sink: &str) -> Amount {
        self.lock().state.stored(pipeline, sink)
    }

    /// What of it lies in an object store.
    pub fn stored_in_objects_of(&self, pipeline: &str, sink: &str) -> Amount {
        let guard = self.lock();
        let files = guard.state.buffers.get(sink).into_iter().flat_map(BTreeMap::values);
        let mut sum = Amount::default();
        for stored in files.filter(|stored| stored.object.is_some()) {
            sum += stored.accounts.get(pipeline).copied().unwrap_or_default();
        }
        sum
    }
}
