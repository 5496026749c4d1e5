//! The memory tier: a bounded queue of segments in front of one sink.
//!
//! 1. The bound is in bytes of memory and counts what is queued, what the sink holds, and what workers reserved for
//!    batches that they are encoding.
//! 2. A reservation is refused when it does not fit, unless the tier is empty: a segment larger than the bound must
//!    still pass.
//! 3. Segments leave in the order in which they came. One is counted until its [`Lease`] is settled.
//! 4. Several leases may be out at once, and a lease can be divided. What a sink cannot bring to one of its places for
//!    now is held here under that place's key; it counts as before, and its acks stay with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ledger::{Account, Amount, Entry, Ledger};
use crate::segment::{Documents, Segment, Targets};

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
    /// By the key of the place that takes nothing for now, oldest first.
    held: BTreeMap<Arc<str>, VecDeque<Held>>,
    held_memory: u64,
    used: u64,
    closed: bool,
}

/// A lease without its way back to the tier, which it would keep alive.
struct Held {
    segment: Segment,
    account: Arc<Account>,
    memory: u64,
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
        let memory = segment.memory();
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
                    let memory = segment.memory();
                    return Some(Lease { segment, account, tier: Arc::clone(self), memory });
                }
                if state.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Keeps what its place does not take for now, behind what is held for it already.
    pub fn hold(&self, key: Arc<str>, lease: Lease) {
        let Lease { segment, account, memory, .. } = lease;
        let mut state = self.lock();
        state.held_memory += memory;
        state.held.entry(key).or_default().push_back(Held { segment, account, memory });
    }

    /// The oldest of what is held under this key.
    pub fn take_held(self: &Arc<Self>, key: &str) -> Option<Lease> {
        let mut state = self.lock();
        let lane = state.held.get_mut(key)?;
        let Held { segment, account, memory } = lane.pop_front()?;
        if lane.is_empty() {
            state.held.remove(key);
        }
        state.held_memory = state.held_memory.saturating_sub(memory);
        drop(state);
        Some(Lease { segment, account, tier: Arc::clone(self), memory })
    }

    /// What is held, by key.
    pub fn held(&self) -> Vec<(Arc<str>, Amount)> {
        let state = self.lock();
        let sum = |lane: &VecDeque<Held>| {
            let mut sum = Amount::default();
            for held in lane {
                sum += held.segment.amount;
            }
            sum
        };
        state.held.iter().map(|(key, lane)| (Arc::clone(key), sum(lane))).collect()
    }

    /// Bytes in use by what is held.
    pub fn held_memory(&self) -> u64 {
        self.lock().held_memory
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

    /// Where they go.
    pub fn targets(&self) -> &Targets {
        &self.segment.targets
    }

    /// What the ledger books for them.
    pub fn amount(&self) -> Amount {
        self.segment.amount
    }

    /// The account of its pipeline and sink.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Every document is in the sink.
    pub fn delivered(self) {
        let amount = self.segment.amount;
        self.settle(vec![(Entry::Delivered, amount)]);
    }

    /// Books what became of the documents and releases the batch's ack. The entries together must be the lease's
    /// [`Lease::amount`]; where they are not, the account does not balance any more.
    pub fn settle(self, entries: Vec<(Entry, Amount)>) {
        let Lease { segment, account, tier, memory } = self;
        let Segment { documents, amount, ack, .. } = segment;
        drop(documents);
        {
            let _moving = tier.ledger.moving();
            account.leave_memory(amount);
            for (entry, amount) in entries {
                ack.book(&account, entry, amount);
            }
        }
        ack.release();
        {
            let mut state = tier.lock();
            state.used = state.used.saturating_sub(memory);
        }
        tier.tell_room();
    }

    /// Puts other bytes in the place of the documents, one for each: a sink that had to change some for its place keeps
    /// them so. What the ledger books stays.
    pub fn replace(&mut self, documents: Documents) {
        debug_assert_eq!(documents.records.len(), self.segment.documents.records.len());
        self.segment.documents = Arc::new(documents);
        let memory = self.segment.memory();
        let mut state = self.tier.lock();
        state.used = (state.used + memory).saturating_sub(self.memory);
        self.memory = memory;
    }

    /// The same with the places to which they go.
    pub fn redirect(&mut self, targets: Targets) {
        self.segment.targets = targets;
        let memory = self.segment.memory();
        let mut state = self.tier.lock();
        state.used = (state.used + memory).saturating_sub(self.memory);
        self.memory = memory;
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// Two leases of its documents: those for which `which` says true, and the rest. Each has a share of the ack, so
    /// that the batch is safe when both are settled.
    #[must_use]
    pub fn divide(self, which: &[bool]) -> (Lease, Lease) {
        let Lease { segment, account, tier, memory } = self;
        let (chosen, rest) = segment.divide(which);
        let lease = |segment: Segment| {
            let memory = segment.memory();
            Lease { segment, account: Arc::clone(&account), tier: Arc::clone(&tier), memory }
        };
        let (chosen, rest) = (lease(chosen), lease(rest));
        {
            let mut state = tier.lock();
            state.used = (state.used + chosen.memory + rest.memory).saturating_sub(memory);
        }
        tier.tell_room();
        (chosen, rest)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use weir_event::identity::EventId;

    use crate::ack::{Ack, Acknowledge, Posting};
    use crate::segment::Record;

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
            targets: Targets::default(),
            amount: Amount::one(bytes as u64),
            ack: Ack::new(0, acks.clone()),
        }
    }

    /// Documents with their own index for text, each read from 10 bytes more than the one before.
    fn numbered(count: u32, acks: &Arc<Safe>) -> Segment {
        let mut documents = Documents::default();
        for index in 0..count {
            documents.ndjson.extend_from_slice(index.to_string().as_bytes());
            let (end, bytes) = (documents.ndjson.len() as u32, 10 * index);
            documents.records.push(Record { id: EventId([0; 20]), time: 0, stream: 0, bytes, end });
            documents.ndjson.push(b'\n');
        }
        let of = (0..count).map(|index| (index % 2) as u16).collect();
        let targets = Targets { names: vec!["even".into(), "odd".into()], of };
        let amount = documents.amount();
        Segment { documents: Arc::new(documents), targets, amount, ack: Ack::new(0, acks.clone()) }
    }

    fn take(tier: &Arc<MemoryTier>) -> Lease {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(tier.take()).unwrap()
    }

    fn texts(lease: &Lease) -> Vec<(String, String)> {
        let documents = lease.documents().iter().enumerate();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        documents.map(|(i, (_, bytes))| (text(bytes), lease.targets().name(i).unwrap().to_string())).collect()
    }

    #[test]
    fn parts_are_settled_apart_and_the_batch_is_safe_with_the_last() {
        let ledger = Arc::new(Ledger::default());
        let account = ledger.account("p", "s");
        let tier = MemoryTier::new(1 << 20, Arc::clone(&ledger));
        let acks = Arc::new(Safe::default());
        let segment = numbered(4, &acks);
        segment.ack.book(&account, Entry::Read, segment.amount);
        tier.push(segment, &account, 0);
        let (chosen, rest) = take(&tier).divide(&[false, true, false, true]);
        assert_eq!(texts(&chosen), [("1".into(), "odd".into()), ("3".into(), "odd".into())]);
        assert_eq!(texts(&rest), [("0".into(), "even".into()), ("2".into(), "even".into())]);
        assert_eq!(chosen.amount(), Amount { events: 2, bytes: 40 });
        assert_eq!(tier.used(), chosen.memory + rest.memory);
        assert!(ledger.statements()[0].balanced);
        rest.settle(vec![
            (Entry::Delivered, Amount::one(0)),
            (Entry::DeadLettered("mapping".into()), Amount::one(20)),
        ]);
        assert!(ledger.statements()[0].balanced);
        assert_eq!(acks.0.load(Ordering::SeqCst), 0);
        chosen.delivered();
        assert_eq!(acks.0.load(Ordering::SeqCst), 1);
        assert_eq!(tier.used(), 0);
        let statement = &ledger.statements()[0];
        assert_eq!(statement.counts.delivered, Amount { events: 3, bytes: 40 });
        assert!(statement.balanced);
    }

    #[test]
    fn a_part_that_is_the_whole_is_not_copied() {
        let ledger = Arc::new(Ledger::default());
        let account = ledger.account("p", "s");
        let tier = MemoryTier::new(1 << 20, ledger);
        let acks = Arc::new(Safe::default());
        tier.push(numbered(2, &acks), &account, 0);
        let lease = take(&tier);
        let documents = Arc::clone(lease.documents());
        let (all, none) = lease.divide(&[true, true]);
        assert!(Arc::ptr_eq(all.documents(), &documents));
        assert_eq!(none.amount(), Amount::default());
        none.delivered();
        let (none, all) = all.divide(&[]);
        assert!(Arc::ptr_eq(all.documents(), &documents));
        none.delivered();
        assert_eq!(acks.0.load(Ordering::SeqCst), 0);
        all.delivered();
        assert_eq!((acks.0.load(Ordering::SeqCst), tier.used()), (1, 0));
    }

    #[test]
    fn what_is_held_counts_and_comes_back_oldest_first() {
        let ledger = Arc::new(Ledger::default());
        let account = ledger.account("p", "s");
        let tier = MemoryTier::new(1 << 20, ledger);
        let acks = Arc::new(Safe::default());
        for count in [2, 3] {
            tier.push(numbered(count, &acks), &account, 0);
            let lease = take(&tier);
            tier.hold("logs".into(), lease);
        }
        assert_eq!(tier.held(), [("logs".into(), Amount { events: 5, bytes: 40 })]);
        assert_eq!(tier.used(), tier.held_memory());
        assert!(tier.take_held("other").is_none());
        for events in [2, 3] {
            let lease = tier.take_held("logs").unwrap();
            assert_eq!(lease.amount().events, events);
            lease.delivered();
        }
        assert!(tier.held().is_empty() && tier.take_held("logs").is_none());
        assert_eq!((tier.used(), tier.held_memory(), acks.0.load(Ordering::SeqCst)), (0, 0, 2));
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
