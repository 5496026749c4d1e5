//! What waits, wherever it lies: the same questions to all of it.

use std::sync::Arc;
use std::time::SystemTime;

use super::{STUB_BYTES, Stub, Waiting};
use crate::disk::DiskFile;
use crate::ledger::Amount;

// === impl Waiting ===

impl Waiting {
    pub(super) fn number(&self) -> u64 {
        match self {
            Waiting::Memory(slot) => slot.number,
            Waiting::Disk(stub) => stub.number,
            Waiting::File(file) => file.number,
        }
    }

    pub(super) fn place(&self) -> u64 {
        match self {
            Waiting::Memory(slot) => slot.place,
            Waiting::Disk(stub) => stub.place,
            Waiting::File(file) => file.place,
        }
    }

    /// The file that it waits to be read from.
    pub(super) fn file(&self) -> Option<&Arc<DiskFile>> {
        match self {
            Waiting::Memory(_) => None,
            Waiting::Disk(stub) => Some(&stub.on_disk.file),
            Waiting::File(file) => Some(&file.file),
        }
    }

    pub(super) fn amount(&self) -> Amount {
        match self {
            Waiting::Memory(slot) => slot.amount,
            Waiting::Disk(stub) => stub.amount,
            Waiting::File(file) => file.amount(),
        }
    }

    pub(super) fn memory(&self) -> u64 {
        match self {
            Waiting::Memory(slot) => slot.memory,
            Waiting::Disk(stub) => stub.memory(),
            Waiting::File(_) => STUB_BYTES,
        }
    }

    pub(super) fn since(&self) -> SystemTime {
        match self {
            Waiting::Memory(slot) => slot.since,
            Waiting::Disk(stub) => stub.since,
            Waiting::File(file) => file.since.unwrap_or_else(|| file.file.written()),
        }
    }
}

// === impl Stub ===

impl Stub {
    pub(super) fn memory(&self) -> u64 {
        let places = self.on_disk.places.as_ref().map_or(0, |places| places.capacity() * size_of::<u32>());
        STUB_BYTES + places as u64
    }
}
