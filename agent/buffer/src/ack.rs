//! Acks: the answer that a batch is safe.
//!
//! 1. Everything derived of a batch carries an [`Ack`]; splitting one makes another share.
//! 2. A batch is safe when every share was released. A share that is dropped without release (an error path, a
//!    panic, a shutdown) marks the batch unsafe: its range is then read again, never skipped.
//! 3. What the ledger learns about the batch is kept with it until then, so that it becomes durable in the same
//!    transaction as the position behind the batch. What is learnt on a [`Ack::late`] share becomes durable then or
//!    later, never before: else a batch that is read again would be counted twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_event::tally::Tally;

use crate::disk::{DiskFile, StoredParts};
use crate::ledger::{Account, Amount, Entry};
use crate::presence::Adoption;

/// Who hears that a batch is safe.
pub trait Acknowledge: Send + Sync {
    /// Called once per batch, from any thread, when its last share is gone. `safe` says whether all were released.
    fn acknowledge(&self, sequence: u64, safe: bool, entries: Vec<Posting>);

    /// Called once for each [`Ack::late`] share that was released, before or after its batch is safe.
    fn acknowledge_late(&self, sequence: u64, entries: Vec<Posting>);

    /// Whether the batch is settled: what becomes of its events may be booked at any time, by anybody.
    fn is_settled(&self, _sequence: u64) -> bool {
        false
    }
}

/// A line of a batch's own account.
#[derive(Clone, Debug)]
pub enum Posting {
    /// Something became of events.
    Booked {
        /// Where it is booked.
        account: Arc<Account>,
        /// As what.
        entry: Entry,
        /// How much.
        amount: Amount,
    },
    /// Events lie safely in a part of a file of the sink's disk buffer.
    Stored {
        /// Whose events they are.
        account: Arc<Account>,
        /// How much.
        amount: Amount,
        /// The file, wherever it is by then.
        file: Arc<DiskFile>,
        /// The part's index.
        part: u8,
    },
    /// A file lies in the store of objects now.
    Moved {
        /// Whose buffer it belongs to.
        sink: Arc<str>,
        /// The file, to be told when no checkpoint says any more that it lies on the disk.
        file: Arc<DiskFile>,
    },
    /// A file of another agent belongs to this one's buffer now.
    Adopted {
        /// Whose buffer.
        sink: Arc<str>,
        /// The file, as one of this agent's.
        file: Arc<DiskFile>,
        /// What lies in it, and where it is.
        stored: StoredParts,
    },
    /// A stage counted events of the batch.
    Counted(Tally),
    /// An agent is being taken over, or was.
    Adoption(Adoption),
    /// Nothing is left of what was taken over.
    AdoptionOver(Adoption),
    /// Nobody needs parts of a file any more: what became of the events in them is booked beside.
    Removed {
        /// Whose events they were.
        account: Arc<Account>,
        /// How much.
        amount: Amount,
        /// The file's number.
        file: u64,
        /// The parts, one bit each.
        parts: u64,
        /// The file itself, to be told when no checkpoint names the parts any more; `None` where there is none.
        handle: Option<Arc<DiskFile>>,
    },
}

/// One share of the duty to make a batch safe.
pub struct Ack {
    batch: Arc<Batch>,
    released: bool,
}

struct Batch {
    sequence: u64,
    to: Arc<dyn Acknowledge>,
    lost_a_share: AtomicBool,
    entries: Mutex<Vec<Posting>>,
}

// === impl Ack ===

impl Ack {
    /// The first share of the batch with this sequence number.
    pub fn new(sequence: u64, to: Arc<dyn Acknowledge>) -> Ack {
        let batch =
            Batch { sequence, to, lost_a_share: AtomicBool::new(false), entries: Mutex::new(Vec::new()) };
        Ack { batch: Arc::new(batch), released: false }
    }

    /// Another share.
    #[must_use]
    pub fn share(&self) -> Ack {
        Ack { batch: Arc::clone(&self.batch), released: false }
    }

    /// A share that the batch does not wait for.
    #[must_use]
    pub fn late(&self) -> Ack {
        Ack::new(self.batch.sequence, Arc::new(Late(Arc::clone(&self.batch.to))))
    }

    /// This share's part is in a terminal state or lies durably somewhere else.
    pub fn release(mut self) {
        self.released = true;
    }

    /// Books what became of events of this batch: at once in the account, and durably with the batch.
    pub fn book(&self, account: &Arc<Account>, entry: Entry, amount: Amount) {
        if amount == Amount::default() {
            return;
        }
        account.book(&entry, amount);
        self.post(Posting::Booked { account: Arc::clone(account), entry, amount });
    }

    /// Notes what a stage counted in events of this batch, to become durable with it.
    pub fn count(&self, tally: Tally) {
        self.post(Posting::Counted(tally));
    }

    /// Whether its batch, or the one that it is late for, is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.batch.to.is_settled(self.batch.sequence)
    }

    /// Notes something that is to become durable with the batch.
    pub(crate) fn post(&self, posting: Posting) {
        self.batch.entries.lock().unwrap_or_else(PoisonError::into_inner).push(posting);
    }
}

/// Hears of a share that the batch does not wait for.
struct Late(Arc<dyn Acknowledge>);

impl Acknowledge for Late {
    fn acknowledge(&self, sequence: u64, safe: bool, entries: Vec<Posting>) {
        if safe {
            self.0.acknowledge_late(sequence, entries);
        }
    }

    fn acknowledge_late(&self, sequence: u64, entries: Vec<Posting>) {
        self.0.acknowledge_late(sequence, entries);
    }

    fn is_settled(&self, sequence: u64) -> bool {
        self.0.is_settled(sequence)
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if !self.released {
            self.batch.lost_a_share.store(true, Ordering::Release);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let safe = !self.lost_a_share.load(Ordering::Acquire);
        let entries = std::mem::take(self.entries.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.to.acknowledge(self.sequence, safe, entries);
    }
}

impl std::fmt::Debug for Ack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ack").field("sequence", &self.batch.sequence).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(u64, bool, usize)>>);

    impl Acknowledge for Heard {
        fn acknowledge(&self, sequence: u64, safe: bool, entries: Vec<Posting>) {
            self.0.lock().unwrap().push((sequence, safe, entries.len()));
        }

        fn acknowledge_late(&self, sequence: u64, entries: Vec<Posting>) {
            self.0.lock().unwrap().push((sequence + LATE, true, entries.len()));
        }
    }

    /// Tells late shares apart.
    const LATE: u64 = 100;

    fn heard(act: impl FnOnce(Ack)) -> Vec<(u64, bool, usize)> {
        let heard = Arc::new(Heard::default());
        act(Ack::new(7, heard.clone()));
        let got = heard.0.lock().unwrap();
        got.clone()
    }

    #[test]
    fn safe_when_every_share_was_released() {
        let got = heard(|ack| {
            let other = ack.share();
            ack.release();
            other.release();
        });
        assert_eq!(got, [(7, true, 0)]);
    }

    #[test]
    fn a_dropped_share_makes_the_batch_unsafe() {
        let got = heard(|ack| {
            drop(ack.share());
            ack.release();
        });
        assert_eq!(got, [(7, false, 0)]);
    }

    #[test]
    fn nothing_waits_for_a_late_share() {
        let account = Account::new("p", "s");
        let got = heard(|ack| {
            let (late, dropped) = (ack.late(), ack.late());
            ack.release();
            drop(dropped);
            late.book(&account, Entry::Delivered, Amount::one(9));
            late.release();
        });
        assert_eq!(got, [(7, true, 0), (7 + LATE, true, 1)]);
    }

    #[test]
    fn what_was_booked_comes_back_with_the_batch() {
        let account = Account::new("p", "s");
        let got = heard(|ack| {
            ack.book(&account, Entry::Delivered, Amount { events: 2, bytes: 9 });
            ack.book(&account, Entry::Delivered, Amount::default());
            ack.release();
        });
        assert_eq!(got, [(7, true, 1)]);
        assert_eq!(account.counts().delivered, Amount { events: 2, bytes: 9 });
    }
}
