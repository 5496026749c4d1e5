//! The order of acks: positions move batch by batch in the order of sending.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_buffer::ack::{Acknowledge, Posting};

use super::{Checkpoints, Progress};

/// The batches of one source that are on their way, in the order in which it sent them.
pub struct AckQueue {
    source: String,
    checkpoints: Arc<Checkpoints>,
    state: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    /// Sequence number of the first entry of `progress`.
    first: u64,
    progress: VecDeque<Vec<Progress>>,
    /// Batches that are safe but have one before them that is not.
    safe: HashMap<u64, Vec<Posting>>,
    /// What is known of batches beside, that are not settled themselves.
    late: HashMap<u64, Vec<Posting>>,
}

impl AckQueue {
    /// An empty queue for a source.
    pub fn new(source: &str, checkpoints: Arc<Checkpoints>) -> Arc<AckQueue> {
        Arc::new(AckQueue { source: source.to_owned(), checkpoints, state: Mutex::default() })
    }

    /// Notes a batch that is sent; its ack comes back with the number returned.
    pub fn sent(&self, progress: Vec<Progress>) -> u64 {
        let mut pending = self.lock();
        pending.progress.push_back(progress);
        pending.first + pending.progress.len() as u64 - 1
    }

    /// How many batches are not settled.
    pub fn outstanding(&self) -> usize {
        self.lock().progress.len()
    }

    /// How far the batches that are not settled bring their files, in the order of sending.
    pub fn under_way(&self) -> Vec<Progress> {
        self.lock().progress.iter().flatten().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acknowledge for AckQueue {
    /// An unsafe batch stays in the queue for ever: no position passes it, and a restart reads it again.
    fn acknowledge(&self, sequence: u64, safe: bool, entries: Vec<Posting>) {
        if !safe {
            return;
        }
        let mut guard = self.lock();
        guard.safe.insert(sequence, entries);
        loop {
            let first = guard.first;
            let Some(mut entries) = guard.safe.remove(&first) else { break };
            entries.extend(guard.late.remove(&first).unwrap_or_default());
            let progress = guard.progress.pop_front().unwrap_or_default();
            guard.first += 1;
            self.checkpoints.settle(&self.source, progress, entries);
        }
    }

    fn acknowledge_late(&self, sequence: u64, entries: Vec<Posting>) {
        let mut guard = self.lock();
        if sequence < guard.first {
            self.checkpoints.settle_counts(entries);
        } else {
            guard.late.entry(sequence).or_default().extend(entries);
        }
    }

    fn is_settled(&self, sequence: u64) -> bool {
        sequence < self.lock().first
    }
}

/// For events whose batch is safe since an earlier run: what becomes of them is counted at once.
impl Acknowledge for Checkpoints {
    fn acknowledge(&self, _: u64, safe: bool, entries: Vec<Posting>) {
        if safe {
            self.settle_counts(entries);
        }
    }

    fn acknowledge_late(&self, _: u64, entries: Vec<Posting>) {
        self.settle_counts(entries);
    }

    fn is_settled(&self, _: u64) -> bool {
        true
    }
}
