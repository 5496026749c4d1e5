//! Stubs of one file that wait side by side become one entry again, as after a start: what waits on disk for long takes
//! next to no memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::disk::AdoptedFile;
use super::{MemoryTier, OnDisk, Stub, Waiting};

impl MemoryTier {
    /// Puts files in the place of their stubs, where nothing else needs these: their batches are settled, so what
    /// becomes of their events may be booked at any time.
    pub(super) fn collapse(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let before: u64 = state.queue.iter().map(Waiting::memory).sum();
        let mut queue = VecDeque::with_capacity(state.queue.len());
        let mut run: Vec<Stub> = Vec::new();
        for waiting in std::mem::take(&mut state.queue) {
            match waiting {
                Waiting::Disk(stub) if stub.may_collapse() => {
                    if run.first().is_some_and(|first| !first.is_beside(&stub)) {
                        close(&mut run, &mut queue);
                    }
                    run.push(stub);
                }
                other => {
                    close(&mut run, &mut queue);
                    queue.push_back(other);
                }
            }
        }
        close(&mut run, &mut queue);
        let after: u64 = queue.iter().map(Waiting::memory).sum();
        state.queue = queue;
        state.used = (state.used + after).saturating_sub(before);
        drop(guard);
        if after < before {
            self.tell_room();
        }
    }
}

fn close(run: &mut Vec<Stub>, queue: &mut VecDeque<Waiting>) {
    if run.len() < 2 {
        queue.extend(run.drain(..).map(Waiting::Disk));
        return;
    }
    let Some(first) = run.first() else { return };
    let mut adopted = AdoptedFile {
        number: first.number,
        place: first.place,
        file: Arc::clone(&first.on_disk.file),
        live: 0,
        amounts: BTreeMap::new(),
        since: Some(first.since),
        failures: 0,
    };
    // Their acks are dropped and not released: what they say of the file is said anew when it is read.
    for Stub { amount, account, on_disk: OnDisk { part, .. }, .. } in run.drain(..) {
        adopted.live |= 1 << part;
        *adopted.amounts.entry(account.pipeline().to_owned()).or_default() += amount;
    }
    queue.push_back(Waiting::File(adopted));
}

// === impl Stub ===

impl Stub {
    fn may_collapse(&self) -> bool {
        self.on_disk.places.is_none() && self.failures == 0 && self.on_disk.ack.is_settled()
    }

    fn is_beside(&self, other: &Stub) -> bool {
        Arc::ptr_eq(&self.on_disk.file, &other.on_disk.file)
    }
}
