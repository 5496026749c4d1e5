//! The ledger: the account of what became of every event, per pipeline and sink.
//!
//! read + created = delivered + sampled + dropped + dead-lettered + lost + buffered + in flight, in events and in
//! bytes. Bytes are those of the event as it was read (of the document for an event that a stage made), in every
//! state, so that the sums can balance.
//!
//! Terminal states are counted here. What is in flight and what is buffered is measured where it lies, by the
//! pipeline and the buffer, and not derived from the other numbers: that is what makes the balance a check. Every
//! move of events from one state to the next holds [`Ledger::moving`]; a snapshot waits for moves to end.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

/// A number of events and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Events.
    pub events: u64,
    /// Bytes as they were read.
    pub bytes: u64,
}

impl Amount {
    /// One event of so many bytes.
    pub fn one(bytes: u64) -> Amount {
        Amount { events: 1, bytes }
    }

    /// Whether it is none at all.
    pub fn is_nothing(&self) -> bool {
        *self == Amount::default()
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.events += other.events;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Amount) {
        self.events = self.events.saturating_sub(other.events);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// How events are booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Taken over from a source.
    Read,
    /// Made by a stage.
    Created,
    /// The sink has it.
    Delivered,
    /// Left out on purpose by a sampler; the reason as `stage.reason`.
    Sampled(Arc<str>),
    /// Filtered out by a stage.
    Dropped(Arc<str>),
    /// Written to the dead letters.
    DeadLettered(Arc<str>),
    /// Gone for good.
    Lost(Arc<str>),
}

/// What was counted for one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Taken over from sources.
    pub read: Amount,
    /// Made by stages.
    pub created: Amount,
    /// The sink has them.
    pub delivered: Amount,
    /// By reason.
    pub sampled: BTreeMap<String, Amount>,
    /// By reason.
    pub dropped: BTreeMap<String, Amount>,
    /// By reason.
    pub dead_lettered: BTreeMap<String, Amount>,
    /// By reason.
    pub lost: BTreeMap<String, Amount>,
}

impl Counts {
    /// Books an amount.
    pub fn book(&mut self, entry: &Entry, amount: Amount) {
        match entry {
            Entry::Read => self.read += amount,
            Entry::Created => self.created += amount,
            Entry::Delivered => self.delivered += amount,
            Entry::Sampled(reason) => add(&mut self.sampled, reason, amount),
            Entry::Dropped(reason) => add(&mut self.dropped, reason, amount),
            Entry::DeadLettered(reason) => add(&mut self.dead_lettered, reason, amount),
            Entry::Lost(reason) => add(&mut self.lost, reason, amount),
        }
    }

    /// Everything that came in.
    pub fn incoming(&self) -> Amount {
        let mut sum = self.read;
        sum += self.created;
        sum
    }

    /// Everything in a terminal state.
    pub fn settled(&self) -> Amount {
        let mut sum = self.delivered;
        for reasons in [&self.sampled, &self.dropped, &self.dead_lettered, &self.lost] {
            for amount in reasons.values() {
                sum += *amount;
            }
        }
        sum
    }
}

/// The account of one pipeline and sink.
#[derive(Debug)]
pub struct Account {
    pipeline: String,
    sink: String,
    counts: Mutex<Counts>,
    in_flight: Mutex<Amount>,
    memory: Mutex<Amount>,
    disk: Mutex<Amount>,
    has_disk: AtomicBool,
    object: Mutex<Amount>,
    has_object: AtomicBool,
}

/// An account at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name.
    pub sink: String,
    /// The terminal states.
    #[serde(flatten)]
    pub counts: Counts,
    /// In the sink's buffer, by tier.
    pub buffered: BTreeMap<String, Amount>,
    /// Between the source and the buffer.
    pub in_flight: Amount,
    /// Whether both sides are equal.
    pub balanced: bool,
}

/// All accounts.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Mutex<Vec<Arc<Account>>>,
    gate: RwLock<()>,
}

// === impl Account ===

impl Account {
    /// An empty account.
    pub fn new(pipeline: &str, sink: &str) -> Arc<Account> {
        Arc::new(Account {
            pipeline: pipeline.into(),
            sink: sink.into(),
            counts: Mutex::default(),
            in_flight: Mutex::default(),
            memory: Mutex::default(),
            disk: Mutex::default(),
            has_disk: AtomicBool::new(false),
            object: Mutex::default(),
            has_object: AtomicBool::new(false),
        })
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// The sink's name.
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// Starts from what an earlier run left.
    pub fn restore(&self, counts: Counts) {
        *lock(&self.counts) = counts;
    }

    pub(crate) fn book(&self, entry: &Entry, amount: Amount) {
        lock(&self.counts).book(entry, amount);
    }

    /// Events that entered the pipeline.
    pub fn enter_flight(&self, amount: Amount) {
        *lock(&self.in_flight) += amount;
    }

    /// Events that left the pipeline, for the buffer or a terminal state.
    pub fn leave_flight(&self, amount: Amount) {
        *lock(&self.in_flight) -= amount;
    }

    pub(crate) fn enter_memory(&self, amount: Amount) {
        *lock(&self.memory) += amount;
    }

    pub(crate) fn leave_memory(&self, amount: Amount) {
        *lock(&self.memory) -= amount;
    }

    /// Events that lie in the sink's disk buffer, from an earlier run too.
    pub fn enter_disk(&self, amount: Amount) {
        self.has_disk.store(true, Ordering::Relaxed);
        *lock(&self.disk) += amount;
    }

    /// Events that are not on disk any more, or that somebody else is about to find there.
    pub fn leave_disk(&self, amount: Amount) {
        *lock(&self.disk) -= amount;
    }

    /// Events that lie in the sink's object store, from an earlier run too.
    pub fn enter_object(&self, amount: Amount) {
        self.has_object.store(true, Ordering::Relaxed);
        *lock(&self.object) += amount;
    }

    /// Events that are not in the object store any more.
    pub fn leave_object(&self, amount: Amount) {
        *lock(&self.object) -= amount;
    }

    fn statement(&self) -> Statement {
        let counts = self.counts();
        let (memory, disk, in_flight) = (*lock(&self.memory), *lock(&self.disk), *lock(&self.in_flight));
        let mut right = counts.settled();
        right += memory;
        right += disk;
        let object = *lock(&self.object);
        right += object;
        right += in_flight;
        let mut buffered = BTreeMap::from([("memory".to_owned(), memory)]);
        // A sink without a disk buffer has no such line; one that has it keeps it when it is empty.
        if self.has_disk.load(Ordering::Relaxed) {
            buffered.insert("disk".to_owned(), disk);
        }
        if self.has_object.load(Ordering::Relaxed) {
            buffered.insert("object".to_owned(), object);
        }
        let balanced = counts.incoming() == right;
        Statement {
            pipeline: self.pipeline.clone(),
            sink: self.sink.clone(),
            counts,
            buffered,
            in_flight,
            balanced,
        }
    }
}

// === impl Ledger ===

impl Ledger {
    /// The account of a pipeline and sink, made where there is none.
    pub fn account(&self, pipeline: &str, sink: &str) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        if let Some(found) = accounts.iter().find(|a| a.pipeline == pipeline && a.sink == sink) {
            return Arc::clone(found);
        }
        let account = Account::new(pipeline, sink);
        accounts.push(Arc::clone(&account));
        account
    }

    /// Held while events move from one state to the next.
    pub fn moving(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All accounts at one moment between moves.
    pub fn statements(&self) -> Vec<Statement> {
        let accounts = lock(&self.accounts).clone();
        let _still = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        accounts.iter().map(|account| account.statement()).collect()
    }
}

fn add(reasons: &mut BTreeMap<String, Amount>, reason: &str, amount: Amount) {
    match reasons.get_mut(reason) {
        Some(sum) => *sum += amount,
        None => {
            reasons.insert(reason.to_owned(), amount);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_balances_only_when_every_event_is_somewhere() {
        let ledger = Ledger::default();
        let account = ledger.account("p", "s");
        let two = Amount { events: 2, bytes: 20 };
        account.book(&Entry::Read, two);
        assert!(!ledger.statements()[0].balanced);
        account.enter_flight(two);
        assert!(ledger.statements()[0].balanced);
        account.leave_flight(Amount::one(5));
        account.book(&Entry::Sampled("sampler.debug".into()), Amount::one(5));
        account.leave_flight(Amount::one(15));
        account.enter_memory(Amount::one(15));
        assert!(ledger.statements()[0].balanced);
        account.leave_memory(Amount::one(15));
        assert!(!ledger.statements()[0].balanced);
        account.book(&Entry::Delivered, Amount::one(15));
        assert!(ledger.statements()[0].balanced);
    }

    #[test]
    fn an_account_is_the_same_for_the_same_names() {
        let ledger = Ledger::default();
        assert!(Arc::ptr_eq(&ledger.account("p", "s"), &ledger.account("p", "s")));
        assert!(!Arc::ptr_eq(&ledger.account("p", "s"), &ledger.account("p", "t")));
    }
}
