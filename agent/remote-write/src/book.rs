//! Leases under way, and what became of their samples.
//!
//! 1. A lease is settled when every sample of it has its end, wherever its shards were: delivered or dropped.
//! 2. What is booked for a lease adds up to its amount.
//! 3. A receiver says how many samples of a request it did not take, not which. The first of the request are booked as
//!    those: samples before others of their series are what is refused most.

use std::collections::BTreeMap;

use weir_buffer::ledger::{Amount, Entry};
use weir_buffer::memory::Lease;

use crate::batch::{Batch, Piece};
use crate::reason::Reason;

/// The leases that are not settled.
#[derive(Default)]
pub(crate) struct Books {
    open: BTreeMap<u64, Open>,
    next: u64,
    memory: u64,
}

/// A lease of which some samples have no end yet.
struct Open {
    lease: Lease,
    left: usize,
    delivered: Amount,
    dropped: BTreeMap<Reason, Amount>,
}

/// What became of a request's samples.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// What is delivered.
    pub delivered: Amount,
    /// What is dropped.
    pub dropped: BTreeMap<Reason, u64>,
    /// Leases that are settled by it.
    pub leases: u64,
}

// === impl Books ===

impl Books {
    /// Takes a lease and gives it a number.
    pub fn open(&mut self, lease: Lease) -> u64 {
        let number = self.next;
        self.next += 1;
        self.memory += lease.memory();
        let left = lease.documents().records.len();
        self.open
            .insert(number, Open { lease, left, delivered: Amount::default(), dropped: BTreeMap::new() });
        number
    }

    /// Whether there is no lease.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes of memory of all leases.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// Samples without an end.
    pub fn pending(&self) -> u64 {
        self.open.values().map(|open| open.left as u64).sum()
    }

    /// Whether all that is here survives the end of the agent.
    pub fn is_kept(&self) -> bool {
        self.open.values().all(|open| open.lease.is_kept())
    }

    /// Every sample of the batch has its end: those at the positions of `skipped` and so many others as `drops` says are
    /// dropped, the rest is delivered.
    pub fn end(&mut self, batch: &Batch, skipped: &[(u32, Reason)], drops: &[(Reason, u64)]) -> Ends {
        let mut ends = Ends::default();
        let mut skipped = skipped.iter().peekable();
        let drops = drops.iter().flat_map(|(reason, count)| std::iter::repeat_n(*reason, *count as usize));
        let mut drops = drops.peekable();
        let mut position = 0;
        for piece in &batch.pieces {
            let Some(open) = self.open.get_mut(&piece.lease) else { continue };
            let is_delivered = drops.peek().is_none() && skipped.peek().is_none();
            if is_delivered {
                let amount = open.amount_of(piece);
                open.delivered += amount;
                ends.delivered += amount;
            }
            for record in piece.records().filter(|_| !is_delivered) {
                let amount = Amount::one(u64::from(record.bytes));
                let skip = skipped.next_if(|(at, _)| *at == position);
                position += 1;
                match skip.map(|(_, reason)| *reason).or_else(|| drops.next()) {
                    None => {
                        open.delivered += amount;
                        ends.delivered += amount;
                    }
                    Some(reason) => {
                        *open.dropped.entry(reason).or_default() += amount;
                        *ends.dropped.entry(reason).or_default() += 1;
                    }
                }
            }
            open.left = open.left.saturating_sub(piece.samples());
            if open.left == 0
                && let Some(open) = self.open.remove(&piece.lease)
            {
                ends.leases += 1;
                self.memory = self.memory.saturating_sub(open.lease.memory());
                open.settle();
            }
        }
        ends
    }

    /// Ends with samples left, those of `rest`: what has its end is booked, what has none goes back to its place.
    pub fn give_back<'a>(self, rest: impl Iterator<Item = &'a Piece>) {
        let mut without: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for piece in rest {
            without.entry(piece.lease).or_default().extend(piece.indices());
        }
        for (number, mut open) in self.open {
            if open.left == open.lease.documents().records.len() {
                continue;
            }
            let mut has_end = vec![true; open.lease.documents().records.len()];
            for pick in without.get(&number).into_iter().flatten() {
                if let Some(has_end) = has_end.get_mut(*pick) {
                    *has_end = false;
                }
            }
            let (ended, rest) = open.lease.divide(&has_end);
            drop(rest);
            (open.lease, open.left) = (ended, 0);
            open.settle();
        }
    }
}

// === impl Open ===

impl Open {
    /// What a piece of the lease amounts to.
    fn amount_of(&self, piece: &Piece) -> Amount {
        let whole = self.lease.amount();
        // Documents that are counted elsewhere have no amount, and are counted here all the same.
        if piece.is_whole() && whole != Amount::default() {
            return whole;
        }
        let bytes = piece.records().map(|record| u64::from(record.bytes)).sum();
        Amount { events: piece.samples() as u64, bytes }
    }

    fn settle(self) {
        // Documents that are counted elsewhere book nothing here.
        if self.lease.amount() == Amount::default() {
            return self.lease.settle(Vec::new());
        }
        let dropped = self.dropped.into_iter();
        let dropped = dropped.map(|(reason, amount)| (Entry::Dropped(reason.name().into()), amount));
        let delivered = Some((Entry::Delivered, self.delivered)).filter(|(_, amount)| amount.events > 0);
        self.lease.settle(delivered.into_iter().chain(dropped).collect());
    }
}
