//! Putting back: events that left the agent by another way, in an export or in a file that was kept aside, wait again.

use super::{Duty, MemoryTier, Waiting};
use crate::ledger::{Amount, Entry};
use crate::segment::{Documents, Segment, Targets};

/// Why events were not put back.
#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    /// There is no disk that would keep them.
    #[error("the sink's buffer has no disk")]
    NoDisk,
    /// There is no room.
    #[error("the sink's buffer is full")]
    Full,
    /// They wait in memory, because the disk does not take them.
    #[error(
        "the disk of the sink's buffer takes nothing for now; the events wait in memory, and are gone should the agent end before it does"
    )]
    NotStored,
}

impl MemoryTier {
    /// Lets events wait again, under their old ids, behind what waits already. Returns when they are stored. Blocks.
    pub fn put_back(
        &self,
        pipeline: &str,
        documents: Documents,
        targets: Targets,
    ) -> Result<Amount, PutBackError> {
        let disk = self.disk.get().ok_or(PutBackError::NoDisk)?;
        let memory = documents.memory() + targets.memory();
        if !self.reserve(memory) {
            return Err(PutBackError::Full);
        }
        let amount = documents.amount();
        let account = self.ledger.account(pipeline, disk.sink());
        let ack = disk.direct_ack();
        {
            let _moving = self.ledger.moving();
            ack.book(&account, Entry::Created, amount);
            let segment = Segment { documents: documents.into(), targets, amount, ack };
            self.push_urgent(segment, &account, memory);
        }
        self.store_old();
        if self.has_urgent() { Err(PutBackError::NotStored) } else { Ok(amount) }
    }

    /// Whether something waits in memory only that is to be on disk.
    fn has_urgent(&self) -> bool {
        let state = self.lock();
        let waiting = state.queue.iter().chain(state.held.values().flatten());
        let in_memory = waiting.filter_map(|waiting| match waiting {
            Waiting::Memory(slot) => Some(slot),
            Waiting::Disk(_) | Waiting::File(_) => None,
        });
        let mut slots = in_memory.chain(state.leased.values());
        slots.any(|slot| slot.is_urgent && matches!(*slot.duty(), Duty::Source(_)))
    }
}
