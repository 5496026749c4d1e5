//! The memory tier: a bounded queue of segments in front of one sink.
//!
//! 1. The bound is in bytes of memory and counts what is queued, what the sink holds, and what workers reserved for
//!    batches that they are encoding.
//! 2. A reservation is refused when it does not fit, unless the tier is empty: a segment larger than the bound must
//!    still pass.
//! 3. Segments leave in the order in which they came. One is counted until its [`Lease`] is settled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ledger::{Account, Entry, Ledger};
use crate::segment::{Documents, Segment};

/// Memory of a sink without `buffer:`.
pub const DEFAULT_BOUND: u64 = 16 * 1024 * 1024;

/// A bounded queue of segments in front of one sink, with the accounts of all pipelines that lead there.
pub struct MemoryTier {
    bound: u64,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    arrived: Notify,
    /// Told whenever room was made.
    room: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Segment, Arc<Account>)>,
    used: u64,
    closed: bool,
}

/// A segment that the sink works on.
pub struct Lease {
    segment: Segment,
    account: Arc<Account>,
    tier: Arc<MemoryTier>,
    memory: u64,
}

// === impl MemoryTier ===

impl MemoryTier {
    /// An empty tier that holds `bound` bytes.
    pub fn new(bound: u64, ledger: Arc<Ledger>) -> Arc<MemoryTier> {
        Arc::new(MemoryTier {
            bound,
            ledger,
            state: Mutex::default(),
            arrived: Notify::new(),
            room: Mutex::default(),
        })
    }

    /// Sets who is told when room was made.
    pub fn on_room(&self, tell: Arc<dyn Fn() + Send + Sync>) {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    }

    /// Sets `bytes` aside, or says that they do not fit now.
    pub fn reserve(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        if state.used > 0 && state.used + bytes > self.bound {
            return false;
        }
        state.used += bytes;
        true
    }

    /// Gives a reservation back, without telling anybody: for who looks for room itself.
    pub fn unreserve(&self, reserved: u64) {
        let mut state = self.lock();
        state.used = state.used.saturating_sub(reserved);
    }

    /// Queues a segment in place of a reservation. The caller holds [`Ledger::moving`], and looks for room again
    /// itself where the segment is smaller than the reservation.
    pub fn push(&self, segment: Segment, account: &Arc<Account>, reserved: u64) {
        account.enter_memory(segment.amount);
        let memory = segment.documents.memory();
        let mut state = self.lock();
        state.used = (state.used + memory).saturating_sub(reserved);
        state.queue.push_back((segment, Arc::clone(account)));
        drop(state);
        self.arrived.notify_one();
    }

    /// The next segment; `None` once the tier is closed and empty. Cancel-safe. For one caller at a time.
    pub async fn take(self: &Arc<Self>) -> Option<Lease> {
        loop {
            {
                let mut state = self.lock();
                if let Some((segment, account)) = state.queue.pop_front() {
                    let memory = segment.documents.memory();
                    return Some(Lease { segment, account, tier: Arc::clone(self), memory });
                }
                if state.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Nothing will be pushed any more; [`MemoryTier::take`] ends when the queue is empty.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Bytes in use, reservations included.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Bytes that it may hold.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// How full it is, from 0 to 1.
    pub fn pressure(&self) -> f32 {
        (self.used() as f32 / self.bound as f32).min(1.0)
    }

    fn tell_room(&self) {
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tell) = room {
            tell();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("MemoryTier")
            .field("bound", &self.bound)
            .field("used", &state.used)
            .field("segments", &state.queue.len())
            .finish_non_exhaustive()
    }
}

// === impl Lease ===

impl Lease {
    /// The documents to deliver.
    pub fn documents(&self) -> &Arc<Documents> {
        &self.segment.documents
    }

    /// Every document is in the sink.
    pub fn delivered(self) {
        self.settle(Entry::Delivered);
    }

    /// Books all documents as `entry` and releases the batch's ack.
    pub fn settle(self, entry: Entry) {
        let Lease { segment, account, tier, memory } = self;
        let Segment { documents, amount, ack } = segment;
        drop(documents);
        {
            let _moving = tier.ledger.moving();
            account.leave_memory(amount);
            ack.book(&account, entry, amount);
        }
        ack.release();
        {
            let mut state = tier.lock();
            state.used = state.used.saturating_sub(memory);
        }
        tier.tell_room();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::ack::{Ack, Acknowledge, Posting};
    use crate::ledger::Amount;

    #[derive(Default)]
    struct Safe(AtomicU32);

    impl Acknowledge for Safe {
        fn acknowledge(&self, _: u64, safe: bool, _: Vec<Posting>) {
            self.0.fetch_add(u32::from(safe), Ordering::SeqCst);
        }

        fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
    }

    fn segment(bytes: usize, acks: &Arc<Safe>) -> Segment {
        let documents = Documents { ndjson: Vec::with_capacity(bytes), ..Documents::default() };
        Segment {
            documents: Arc::new(documents),
            amount: Amount::one(bytes as u64),
            ack: Ack::new(0, acks.clone()),
        }
    }

    #[test]
    fn the_bound_counts_reserved_queued_and_leased() {
        let ledger = Arc::new(Ledger::default());
        let account = ledger.account("p", "s");
        let tier = MemoryTier::new(100, ledger);
        let acks = Arc::new(Safe::default());
        assert!(tier.reserve(60));
        assert!(!tier.reserve(60));
        tier.push(segment(40, &acks), &account, 60);
        assert_eq!(tier.used(), 40);
        assert!(tier.reserve(60));
        tier.unreserve(60);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lease = runtime.block_on(tier.take()).unwrap();
        assert_eq!(tier.used(), 40);
        lease.delivered();
        assert_eq!(tier.used(), 0);
        assert_eq!(acks.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_segment_larger_than_the_bound_passes_an_empty_tier() {
        let tier = MemoryTier::new(100, Arc::new(Ledger::default()));
        assert!(tier.reserve(500));
        assert!(!tier.reserve(1));
    }

    #[test]
    fn a_closed_tier_is_emptied_first() {
        let ledger = Arc::new(Ledger::default());
        let account = ledger.account("p", "s");
        let tier = MemoryTier::new(100, ledger);
        tier.push(segment(1, &Arc::new(Safe::default())), &account, 0);
        tier.close();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(tier.take()).is_some());
        assert!(runtime.block_on(tier.take()).is_none());
    }
}
