//! The order of acks: positions move batch by batch in the order of sending.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_buffer::ack::{Acknowledge, Posting};

use super::{Checkpoints, OnDurable, Progress};

/// The batches of one source that are on their way, in the order in which it sent them.
pub struct AckQueue {
    source: String,
    checkpoints: Arc<Checkpoints>,
    state: Mutex<Pending>,
}

/// What is done when a batch is safe.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// How far it brings the files that it was read from.
    pub progress: Vec<Progress>,
    /// Who hears when it is durable. A batch with this was pushed: nobody can read it again.
    pub on_durable: Option<OnDurable>,
}

#[derive(Default)]
struct Pending {
    /// Sequence number of the first entry of `sent`.
    first: u64,
    sent: VecDeque<Sent>,
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
        self.note(Sent { progress, on_durable: None })
    }

    /// The same for a batch that was pushed and lies in no file.
    pub fn pushed(&self, on_durable: OnDurable) -> u64 {
        self.note(Sent { progress: Vec::new(), on_durable: Some(on_durable) })
    }

    fn note(&self, sent: Sent) -> u64 {
        let mut pending = self.lock();
        pending.sent.push_back(sent);
        pending.first + pending.sent.len() as u64 - 1
    }

    /// How many batches are not settled.
    pub fn outstanding(&self) -> usize {
        self.lock().sent.len()
    }

    /// How far the batches that are not settled bring their files, in the order of sending.
    pub fn under_way(&self) -> Vec<Progress> {
        self.lock().sent.iter().flat_map(|sent| &sent.progress).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Takes from a batch who waits for it, if it was pushed.
    fn give_up(&mut self, sequence: u64) -> Option<OnDurable> {
        let index = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.sent.get_mut(index)?.on_durable.take()
    }
}

impl Acknowledge for AckQueue {
    /// An unsafe batch that was read stays in the queue for ever: no position passes it, and a restart reads it again.
    /// One that was pushed is let go of: its sender hears nothing good of it and sends it again, which is read then. So
    /// nothing of it is counted, unless a sink has it on disk already; what stages counted in its events is not counted
    /// then either.
    fn acknowledge(&self, sequence: u64, safe: bool, mut entries: Vec<Posting>) {
        let mut guard = self.lock();
        if !safe {
            if guard.give_up(sequence).is_none() {
                return;
            }
            if !entries.iter().any(|posting| matches!(posting, Posting::Stored { .. })) {
                entries.clear();
            }
            entries.retain(|posting| !matches!(posting, Posting::Counted(_)));
        }
        guard.safe.insert(sequence, entries);
        loop {
            let first = guard.first;
            let Some(mut entries) = guard.safe.remove(&first) else { break };
            entries.extend(guard.late.remove(&first).unwrap_or_default());
            let sent = guard.sent.pop_front().unwrap_or_default();
            guard.first += 1;
            self.checkpoints.settle(&self.source, sent, entries);
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
