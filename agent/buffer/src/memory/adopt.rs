//! What another agent left: objects that are taken into a buffer as files that lie elsewhere.
//!
//! 1. All that belongs together becomes durable together: what is taken, what of it is reported as lost, and that it is
//!    done.
//! 2. Nothing of it is delivered before that.

use std::sync::Arc;

use super::MemoryTier;
use super::disk::AdoptedFile;
use crate::ack::{Ack, Acknowledge, Posting};
use crate::disk::{ObjectPlace, StoredParts};
use crate::ledger::{Amount, Entry};
use crate::presence::Adoption;

/// Why events are lost that lay on the disk of an agent that is gone.
const DISK: &str = "disk";

/// What is taken over from one agent.
pub struct Inheritance {
    ack: Ack,
    waiting: Vec<(Arc<MemoryTier>, AdoptedFile)>,
}

/// What was taken over, and is to be delivered once it is durable.
pub struct Inherited(Vec<(Arc<MemoryTier>, AdoptedFile)>);

// === impl Inheritance ===

impl Inheritance {
    /// Says what is to be taken over, before anything is.
    pub fn begin(checkpoints: &Arc<dyn Acknowledge>, adoption: Adoption) {
        let ack = Ack::new(0, Arc::clone(checkpoints));
        ack.post(Posting::Adoption(adoption));
        ack.release();
    }

    /// Says that nothing is left of it.
    pub fn end(checkpoints: &Arc<dyn Acknowledge>, adoption: Adoption) {
        let ack = Ack::new(0, Arc::clone(checkpoints));
        ack.post(Posting::AdoptionOver(adoption));
        ack.release();
    }

    /// Nothing yet.
    pub fn new(checkpoints: Arc<dyn Acknowledge>) -> Inheritance {
        Inheritance { ack: Ack::new(0, checkpoints), waiting: Vec::new() }
    }

    /// Takes an object for a sink, with what lies in it. A buffer without a disk takes none.
    pub fn take(&mut self, tier: &Arc<MemoryTier>, place: ObjectPlace, stored: StoredParts) {
        let Some(disk) = tier.disk() else { return };
        let StoredParts { parts: live, accounts: amounts, .. } = stored;
        let moving = tier.ledger.moving();
        let file = disk.store().adopt(place, live);
        for (pipeline, amount) in &amounts {
            let account = tier.ledger.account(pipeline, disk.sink());
            self.ack.book(&account, Entry::Adopted, *amount);
            file.enter(&account, *amount);
        }
        drop(moving);
        let accounts = amounts.clone();
        let stored = StoredParts { parts: live, accounts, object: file.place() };
        self.ack.post(Posting::Adopted { sink: disk.sink().into(), file: Arc::clone(&file), stored });
        let file = AdoptedFile { number: 0, place: 0, file, live, amounts, since: None, failures: 0 };
        self.waiting.push((Arc::clone(tier), file));
    }

    /// Books what lay on the disk that is gone.
    pub fn lose(&mut self, tier: &MemoryTier, pipeline: &str, amount: Amount) {
        let Some(disk) = tier.disk() else { return };
        let _moving = tier.ledger.moving();
        let account = tier.ledger.account(pipeline, disk.sink());
        self.ack.book(&account, Entry::Adopted, amount);
        self.ack.book(&account, Entry::Lost(DISK.into()), amount);
    }

    /// It is in: durable with the next write of the checkpoints.
    pub fn commit(self, adoption: Adoption) -> Inherited {
        self.ack.post(Posting::Adoption(adoption));
        self.ack.release();
        Inherited(self.waiting)
    }
}

// === impl Inherited ===

impl Inherited {
    /// Queues it behind what waits.
    pub fn deliver(self) {
        for (tier, file) in self.0 {
            tier.lock().queue_file(file);
            tier.arrived.notify_one();
        }
    }
}
