//! Dropping: what waited for too long, the oldest where the buffer is full and may drop, and what somebody gave up.
//! Everything that is dropped is counted, with the reason.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Disk, Duty, MemoryTier, OnDisk, Slot, State, Stub, Waiting, WhenFull};
use crate::disk::DiskFile;
use crate::ledger::{Amount, Entry};
use crate::presence::Use;

/// Why events are dropped that waited for longer than `max_age`.
const TOO_OLD: &str = "too_old";
/// Why the oldest events are dropped where `when_full` says so.
const BUFFER_FULL: &str = "buffer_full";
/// Why events are dropped that somebody gave up by hand.
const GIVEN_UP: &str = "given_up";

impl MemoryTier {
    /// Drops everything that waits, wherever it lies; what is at the sink stays. Says how much that was. Blocks.
    pub fn give_up_all(&self) -> Amount {
        // What another agent has is not this one's to give up.
        if let Some(objects) = self.disk.get().and_then(|disk| disk.store.objects()) {
            objects.wait_for_start();
        }
        let moving = self.ledger.moving();
        let mut state = self.lock();
        let mut dropped: Vec<Waiting> = Vec::new();
        while let Some(waiting) = state.pop_oldest(|_| true) {
            dropped.push(waiting);
        }
        drop(state);
        let amount = self.drop_entries(dropped, GIVEN_UP);
        drop(moving);
        self.tell_room();
        amount
    }

    /// Drops what waited for longer than it may.
    pub(super) fn drop_too_old(&self, max_age: Duration) {
        let Some(oldest) = SystemTime::now().checked_sub(max_age) else { return };
        // Of whom the events are is to be known first.
        let is_known = |waiting: &Waiting| waiting.file().is_none_or(|file| file.known_use().is_some());
        self.drop_while(TOO_OLD, |waiting, _| waiting.since() < oldest && is_known(waiting));
    }

    /// Keeps an eighth of the disk free by dropping what lies there for longest, where that is allowed, and makes room
    /// in memory where the disk takes nothing.
    pub(super) fn make_room(&self, disk: &Disk, condemned: &mut Vec<Arc<DiskFile>>, is_broken: bool) {
        condemned.retain(|file| file.is_there());
        if self.policy().when_full != WhenFull::DropOldest {
            self.lock().refused = 0;
            return;
        }
        let bound = disk.store.bound();
        // What the sink has in its hands stays, and so does its file.
        let at_sink = self.files_at_sink();
        let goes = |file: &Arc<DiskFile>| !at_sink.iter().any(|other| Arc::ptr_eq(other, file));
        let going: u64 = condemned.iter().filter(|file| goes(file)).map(|file| file.bytes()).sum();
        let mut excess = disk.store.used().saturating_sub(going).saturating_sub(bound - bound / 8);
        let mut last: Option<Arc<DiskFile>> = None;
        let is_excessive = excess > 0;
        let drop_next = |file: &Arc<DiskFile>| {
            // All that waits of a file goes, or none of it: only whole files make room.
            if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, file)) {
                return true;
            }
            if excess == 0 {
                return false;
            }
            if goes(file) {
                excess = excess.saturating_sub(file.bytes());
            }
            condemned.push(Arc::clone(file));
            last = Some(Arc::clone(file));
            true
        };
        if is_excessive {
            self.drop_on_disk_while(BUFFER_FULL, drop_next);
        }
        let refused = std::mem::take(&mut self.lock().refused);
        if is_broken && refused > 0 {
            let bound = self.bound();
            self.drop_memory_while(BUFFER_FULL, |state| state.used > 0 && state.used + refused > bound);
        }
    }

    /// The files of what the sink works on.
    fn files_at_sink(&self) -> Vec<Arc<DiskFile>> {
        let state = self.lock();
        let file = |slot: &Arc<Slot>| match &*slot.duty() {
            Duty::Disk(on_disk) => Some(Arc::clone(&on_disk.file)),
            Duty::Source(_) | Duty::Done => None,
        };
        state.leased.values().filter_map(file).collect()
    }

    /// Drops, oldest first, as long as this says so of the next.
    fn drop_while(&self, reason: &'static str, mut wanted: impl FnMut(&Waiting, &State) -> bool) {
        let moving = self.ledger.moving();
        let mut state = self.lock();
        let mut dropped = Vec::new();
        loop {
            let is_wanted = state.oldest_waiting().is_some_and(|oldest| wanted(oldest, &state));
            let Some(waiting) = state.pop_oldest(|_| is_wanted) else { break };
            dropped.push(waiting);
        }
        drop(state);
        self.say_dropped(dropped, reason);
        drop(moving);
    }

    /// Drops what lies on the disk, oldest first, as long as this says so of the next file. What lies in an object store
    /// takes no room there, and stays.
    fn drop_on_disk_while(&self, reason: &'static str, mut wanted: impl FnMut(&Arc<DiskFile>) -> bool) {
        let moving = self.ledger.moving();
        let mut state = self.lock();
        let mut files: Vec<(u64, u64, Arc<DiskFile>)> = Vec::new();
        for waiting in state.queue.iter().chain(state.held.values().flatten()) {
            let Some(file) = waiting.file() else { continue };
            if file.place().is_none() {
                files.push((waiting.place(), waiting.number(), Arc::clone(file)));
            }
        }
        files.sort_by_key(|(place, number, _)| (*place, *number));
        let mut dropped = Vec::new();
        for (_, number, file) in files {
            if !wanted(&file) {
                break;
            }
            let Some((waiting, spot)) = state.remove(number) else { continue };
            // An empty lane is none.
            state.insert(spot, Vec::new());
            dropped.push(waiting);
        }
        drop(state);
        self.say_dropped(dropped, reason);
        drop(moving);
    }

    /// Drops what lies in memory alone, oldest first, as long as there is too much of it.
    fn drop_memory_while(&self, reason: &'static str, is_too_much: impl Fn(&State) -> bool) {
        let moving = self.ledger.moving();
        let mut state = self.lock();
        let mut dropped = Vec::new();
        let mut at = 0;
        while is_too_much(&state) {
            let Some(waiting) = state.queue.get(at) else { break };
            if !matches!(waiting, Waiting::Memory(_)) {
                at += 1;
                continue;
            }
            let Some(waiting) = state.queue.remove(at) else { break };
            state.used = state.used.saturating_sub(waiting.memory());
            dropped.push(waiting);
        }
        drop(state);
        self.say_dropped(dropped, reason);
        drop(moving);
    }

    fn say_dropped(&self, dropped: Vec<Waiting>, reason: &'static str) {
        if dropped.is_empty() {
            return;
        }
        let sink = self.disk.get().map_or("", |disk| disk.sink()).to_owned();
        let Amount { events, bytes } = self.drop_entries(dropped, reason);
        if events > 0 {
            tracing::warn!(%sink, events, bytes, reason, "events of the buffer are dropped");
        }
        self.tell_room();
    }

    /// Books entries that are out of the queue as dropped. The caller holds [`crate::ledger::Ledger::moving`].
    fn drop_entries(&self, entries: Vec<Waiting>, reason: &str) -> Amount {
        let mut sum = Amount::default();
        for waiting in entries {
            let others = waiting.file().filter(|file| file.known_use() == Some(Use::HandedOver));
            let entry = match others {
                // It is not this agent's any more, and nothing of it is dropped.
                Some(file) => {
                    file.note_handed_over();
                    Entry::HandedOver
                }
                None => {
                    sum += waiting.amount();
                    Entry::Dropped(reason.into())
                }
            };
            match waiting {
                Waiting::Memory(slot) => {
                    let duty = slot.take_duty();
                    let ack = match duty {
                        Duty::Source(ack) => {
                            slot.account.leave_memory(slot.amount);
                            ack
                        }
                        Duty::Disk(OnDisk { ack, file, .. }) => {
                            file.leave(&slot.account, slot.amount);
                            ack
                        }
                        Duty::Done => continue,
                    };
                    ack.book(&slot.account, entry, slot.amount);
                    ack.release();
                }
                Waiting::Disk(Stub { amount, account, on_disk: OnDisk { ack, file, .. }, .. }) => {
                    file.leave(&account, amount);
                    ack.book(&account, entry, amount);
                    ack.release();
                }
                Waiting::File(adopted) => {
                    if let Some(disk) = self.disk.get() {
                        let handle = (adopted.file.number(), Some(&adopted.file));
                        disk.book_parts(&self.ledger, handle, adopted.live, &adopted.amounts, &entry);
                    }
                }
            }
        }
        sum
    }
}

// === impl State ===

impl State {
    fn oldest_waiting(&self) -> Option<&Waiting> {
        let fronts = self.held.values().filter_map(VecDeque::front);
        fronts.chain(self.queue.front()).min_by_key(|waiting| (waiting.place(), waiting.number()))
    }

    /// Takes out what waits for longest, if it is wanted.
    fn pop_oldest(&mut self, is_wanted: impl FnOnce(&Waiting) -> bool) -> Option<Waiting> {
        let number = self.oldest_waiting().filter(|oldest| is_wanted(oldest))?.number();
        if self.queue.front().is_some_and(|front| front.number() == number) {
            let waiting = self.queue.pop_front()?;
            self.used = self.used.saturating_sub(waiting.memory());
            return Some(waiting);
        }
        let (waiting, spot) = self.remove(number)?;
        // An empty lane is none.
        self.insert(spot, Vec::new());
        Some(waiting)
    }
}

impl Disk {
    /// What its files may be dropped for, and how the last try to write one went.
    pub(super) fn with_storing<T>(&self, act: impl FnOnce(&mut super::store::Storing) -> T) -> T {
        act(&mut self.storing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
