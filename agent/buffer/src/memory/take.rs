//! Taking: which segment leaves next.
//!
//! 1. Oldest first, nothing leaves before what came before it, wherever that lies.
//! 2. Newest first, what is in memory only leaves before what lies on disk. Of every four bytes one is replayed, while
//!    there are both, so that neither waits for the other's end.
//! 3. What comes back from disk does so within the replay rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::read::ReadOutcome;
use super::{Duty, Lease, MemoryTier, Order, Slot, State, Waiting};

/// Longest wait for a word that something has changed.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long a sink that had nothing to do lets segments gather: waking its thread costs as much as some of them take.
const GATHERED_FOR: Duration = Duration::from_millis(4);
/// For one byte that is replayed so many fresh ones leave, while there are both.
const FRESH_PER_REPLAYED: u64 = 3;

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns {
    /// Bytes that left since both were waiting.
    fresh: u64,
    replayed: u64,
    /// Nothing is read from disk before.
    replay_not_before: Option<Instant>,
}

/// The oldest of what is held.
#[derive(Debug)]
pub enum Held {
    /// This.
    Segment(Lease),
    /// It lies on a disk that does not give it back for now.
    NotNow,
    /// There is none.
    Nothing,
}

/// What [`MemoryTier::take`] does next.
enum Next {
    Take(Lease),
    /// The entry with this number is to be read first.
    Read(u64),
    WaitForRoom,
    /// For what arrives, but no longer than this.
    Wait(Duration),
    WaitForMore,
    End,
}

impl MemoryTier {
    /// The next segment; `None` once the buffer is closed and empty. Cancel-safe. For one caller at a time.
    pub async fn take(self: &Arc<Self>) -> Option<Lease> {
        loop {
            let next = self.next();
            match next {
                Next::Take(lease) => return Some(lease),
                Next::Read(number) => {
                    if let ReadOutcome::Failed(pause) = self.read(number).await {
                        tokio::time::sleep(pause).await;
                    }
                }
                Next::WaitForRoom => {
                    let _ = tokio::time::timeout(PATIENCE, self.room_made.notified()).await;
                }
                Next::Wait(pause) => {
                    let _ = tokio::time::timeout(pause, self.arrived.notified()).await;
                }
                Next::WaitForMore => {
                    self.arrived.notified().await;
                    self.gather().await;
                }
                Next::End => return None,
            }
        }
    }

    /// Lets more come behind what came just now: whoever takes it up is woken once for all of it.
    async fn gather(&self) {
        if !self.lock().closed {
            tokio::time::sleep(GATHERED_FOR).await;
        }
    }

    fn next(self: &Arc<Self>) -> Next {
        let policy = self.policy();
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.queue.is_empty() {
            return if state.closed { Next::End } else { Next::WaitForMore };
        }
        let fresh = match policy.order {
            Order::OldestFirst => None,
            Order::NewestFirst => state.fresh(),
        };
        // Where there are not both, nobody saves up turns.
        let Some(fresh) = fresh.filter(|at| *at > 0) else {
            (state.turns.fresh, state.turns.replayed) = (0, 0);
            return self.replay(state, policy.replay_rate.is_some());
        };
        if state.turns.fresh >= state.turns.replayed.saturating_mul(FRESH_PER_REPLAYED).max(1) {
            match self.replay(state, policy.replay_rate.is_some()) {
                Next::Take(lease) => {
                    state.turns.replayed += lease.documents().ndjson.len().max(1) as u64;
                    return Next::Take(lease);
                }
                Next::Read(number) => return Next::Read(number),
                // It cannot come now: the fresh go on.
                _ => {}
            }
        }
        let wanted = state.queue.get(fresh).map_or(0, Waiting::memory);
        if self.has_enough(state, wanted) {
            return Next::WaitForRoom;
        }
        let Some(Waiting::Memory(slot)) = state.queue.remove(fresh) else { return Next::WaitForMore };
        state.turns.fresh += slot.documents.ndjson.len().max(1) as u64;
        Next::Take(self.lease(state, slot))
    }

    /// What is first in the queue.
    fn replay(self: &Arc<Self>, state: &mut State, has_rate: bool) -> Next {
        let (number, wanted) = match state.queue.front() {
            None => return Next::WaitForMore,
            Some(Waiting::Memory(slot)) if self.has_enough(state, slot.memory) => return Next::WaitForRoom,
            Some(Waiting::Memory(_)) => {
                let Some(Waiting::Memory(slot)) = state.queue.pop_front() else { return Next::WaitForMore };
                return Next::Take(self.lease(state, slot));
            }
            Some(Waiting::Disk(stub)) => (stub.number, stub.wanted),
            Some(Waiting::File(file)) => (file.number, 0),
        };
        if let Some(not_before) = state.turns.replay_not_before.filter(|_| has_rate && wanted > 0) {
            let left = not_before.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Next::Wait(left.min(PATIENCE));
            }
        }
        if self.has_enough(state, wanted) || (state.leased_memory > 0 && state.used + wanted > self.bound()) {
            return Next::WaitForRoom;
        }
        Next::Read(number)
    }

    /// Whether the sink has so much in its hands that this is to wait. What it holds takes memory also when it is on
    /// disk; one that fails must leave some to those that read.
    fn has_enough(&self, state: &State, more: u64) -> bool {
        let has_disk = self.disk.get().is_some();
        has_disk && state.leased_memory > 0 && state.leased_memory + more > self.bound() / 2
    }

    pub(super) fn lease(self: &Arc<Self>, state: &mut State, slot: Arc<Slot>) -> Lease {
        state.leased_memory += slot.memory;
        state.leased.insert(slot.number, Arc::clone(&slot));
        Lease::new(slot, Arc::clone(self))
    }

    /// The oldest of what is held under this key, read back where it lies on disk. Waits for no disk that does not
    /// answer. Cancel-safe.
    pub async fn take_held(self: &Arc<Self>, key: &str) -> Held {
        loop {
            let number = {
                let mut state = self.lock();
                match state.held.get(key).and_then(|lane| lane.front()) {
                    None => return Held::Nothing,
                    Some(Waiting::Memory(_)) => {
                        return match state.pop_held(key) {
                            Some(slot) => Held::Segment(self.lease(&mut state, slot)),
                            None => Held::Nothing,
                        };
                    }
                    Some(Waiting::Disk(stub)) => stub.number,
                    Some(Waiting::File(file)) => file.number,
                }
            };
            match self.read(number).await {
                ReadOutcome::Done => {}
                ReadOutcome::Failed(_) | ReadOutcome::Stalled => return Held::NotNow,
            }
        }
    }
}

// === impl State ===

impl State {
    /// Where the first begins of those behind which only such wait that lie in memory alone.
    fn fresh(&self) -> Option<usize> {
        let is_fresh = |waiting: &Waiting| match waiting {
            Waiting::Memory(slot) => matches!(*slot.duty(), Duty::Source(_)),
            Waiting::Disk(_) | Waiting::File(_) => false,
        };
        let count = self.queue.iter().rev().take_while(|waiting| is_fresh(waiting)).count();
        (count > 0).then(|| self.queue.len() - count)
    }
}

// === impl Turns ===

impl Turns {
    /// Notes what was read from disk.
    pub fn note_replayed(&mut self, bytes: u64, rate: u64) {
        let now = Instant::now();
        let from = self.replay_not_before.map_or(now, |not_before| not_before.max(now));
        self.replay_not_before = Some(from + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64));
    }
}
