//! Leases: segments that the sink works on.

use std::sync::Arc;

use super::{Duty, MemoryTier, OnDisk, Slot};
use crate::ack::Ack;
use crate::ledger::{Account, Amount, Entry};
use crate::segment::{self, Contents, Documents, Targets};

/// A segment that the sink works on. One that is dropped without being settled goes back to its place in the queue.
pub struct Lease {
    slot: Arc<Slot>,
    tier: Arc<MemoryTier>,
    is_over: bool,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(slot: Arc<Slot>, tier: Arc<MemoryTier>) -> Lease {
        Lease { slot, tier, is_over: false }
    }

    /// The documents to deliver.
    pub fn documents(&self) -> &Arc<Documents> {
        &self.slot.documents
    }

    /// Where they go.
    pub fn targets(&self) -> &Targets {
        &self.slot.targets
    }

    /// What the ledger books for them.
    pub fn amount(&self) -> Amount {
        self.slot.amount
    }

    /// The account of its pipeline and sink.
    pub fn account(&self) -> &Arc<Account> {
        &self.slot.account
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        self.slot.memory
    }

    /// Whether its documents survive the end of the agent, here or on the way to the end.
    pub fn is_kept(&self) -> bool {
        self.tier.disk.get().is_some()
    }

    /// Every document is in the sink.
    pub fn delivered(self) {
        let amount = self.slot.amount;
        self.settle(vec![(Entry::Delivered, amount)]);
    }

    /// Books what became of the documents and releases the batch's ack. The entries together must be the lease's
    /// [`Lease::amount`]; where they are not, the account does not balance any more.
    pub fn settle(mut self, entries: Vec<(Entry, Amount)>) {
        self.is_over = true;
        let (slot, account) = (&self.slot, &self.slot.account);
        let book = |ack: &Ack| {
            for (entry, amount) in entries {
                ack.book(account, entry, amount);
            }
        };
        // Under one lock with the question where it lies: a segment that is being stored just now is either here or
        // there.
        let moving = self.tier.ledger.moving();
        let ack = match slot.take_duty() {
            Duty::Source(ack) => {
                account.leave_memory(slot.amount);
                book(&ack);
                Some(ack)
            }
            Duty::Disk(OnDisk { ack, file, .. }) => {
                file.leave(account, slot.amount);
                book(&ack);
                Some(ack)
            }
            Duty::Done => None,
        };
        drop(moving);
        if let Some(ack) = ack {
            ack.release();
        }
        {
            let mut state = self.tier.lock();
            state.end_lease(slot);
            state.used = state.used.saturating_sub(slot.memory);
            state.progress = Some(std::time::Instant::now());
        }
        self.tier.tell_room();
    }

    /// Puts other bytes in the place of the documents, one for each: a sink that had to change some for its place keeps
    /// them so. What the ledger books stays.
    pub fn replace(&mut self, documents: Documents) {
        debug_assert_eq!(documents.records.len(), self.slot.documents.records.len());
        let targets = self.slot.targets.clone();
        self.change(Arc::new(documents), targets);
    }

    /// The same with the places to which they go.
    pub fn redirect(&mut self, targets: Targets) {
        let documents = Arc::clone(&self.slot.documents);
        self.change(documents, targets);
    }

    fn change(&mut self, documents: Arc<Documents>, targets: Targets) {
        let old = &self.slot;
        let mut state = self.tier.lock();
        let mut slot = Slot::new(
            state.number(),
            old.place,
            (documents, targets, old.amount),
            &old.account,
            old.take_duty(),
        );
        slot.take_after(old);
        let slot = Arc::new(slot);
        state.end_lease(old);
        state.used = (state.used + slot.memory).saturating_sub(old.memory);
        state.leased_memory += slot.memory;
        state.leased.insert(slot.number, Arc::clone(&slot));
        drop(state);
        self.slot = slot;
    }

    /// Two leases of its documents: those for which `which` says true, and the rest. Each has a share of the ack, so
    /// that the batch is safe when both are settled.
    #[must_use]
    pub fn divide(mut self, which: &[bool]) -> (Lease, Lease) {
        self.is_over = true;
        let (old, tier) = (&self.slot, &self.tier);
        let is_chosen = |index: usize| which.get(index).copied().unwrap_or(false);
        let duties = old.take_duty().divide(old.documents.records.len(), &is_chosen);
        let contents = (Arc::clone(&old.documents), old.targets.clone(), old.amount);
        let contents = segment::divide(contents, is_chosen);
        let mut state = tier.lock();
        state.end_lease(old);
        state.used = state.used.saturating_sub(old.memory);
        let mut lease = |contents: Contents, duty: Duty| {
            let number = state.number();
            let mut slot = Slot::new(number, old.place, contents, &old.account, duty);
            slot.take_after(old);
            state.used += slot.memory;
            tier.lease(&mut state, Arc::new(slot))
        };
        let pair = (lease(contents.0, duties.0), lease(contents.1, duties.1));
        drop(state);
        tier.tell_room();
        pair
    }

    /// Ends the lease without settling it; its segment is the caller's.
    pub(super) fn hand_over(mut self) -> Arc<Slot> {
        self.is_over = true;
        Arc::clone(&self.slot)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_over {
            self.tier.give_back(Arc::clone(&self.slot));
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("amount", &self.slot.amount).finish_non_exhaustive()
    }
}

// === impl Duty ===

impl Duty {
    /// The duties of two parts: of the documents for which `is_chosen` says true, and of the rest.
    fn divide(self, count: usize, is_chosen: &impl Fn(usize) -> bool) -> (Duty, Duty) {
        match self {
            Duty::Source(ack) => {
                let share = ack.share();
                (Duty::Source(ack), Duty::Source(share))
            }
            Duty::Disk(OnDisk { ack, file, part, places }) => {
                let places = |chosen: bool| {
                    let indices = (0..count).filter(|index| is_chosen(*index) == chosen);
                    let place = |index: usize| match &places {
                        Some(places) => places.get(index).copied(),
                        None => u32::try_from(index).ok(),
                    };
                    Some(indices.filter_map(place).collect())
                };
                let share = ack.share();
                let rest = OnDisk { ack: share, file: Arc::clone(&file), part, places: places(false) };
                (Duty::Disk(OnDisk { ack, file, part, places: places(true) }), Duty::Disk(rest))
            }
            Duty::Done => (Duty::Done, Duty::Done),
        }
    }
}
