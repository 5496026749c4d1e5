//! Where a file is: on the disk, in a store of objects, or in both for a moment; and whose events lie in it.
//!
//! 1. The accounts say where events lie, and so does the file: both change under one lock, so that the ledger never has
//!    an event in two tiers or in none.
//! 2. A file is read from the disk as long as it is there.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{DiskFile, StoredParts};
use crate::ledger::{Account, Amount};

/// Where a file lies in a store of objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPlace {
    /// The object's key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// When the file was written, in seconds since the Unix epoch.
    pub written: u64,
    /// From whom it was taken over; `None` where this agent brought it there itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<TakenFrom>,
}

/// The agent from whom an object was taken over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TakenFrom {
    /// What its keys begin with, slash included.
    pub folder: String,
    /// The epoch under which that was done.
    pub epoch: u64,
}

/// An object as an agent has it. The same one may come back to an agent from whom it was taken: then it has it anew, and
/// who takes it the second time has nothing to do with who took it first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The object's key.
    pub key: String,
    /// From whom it was taken over; `None` where the agent brought it there itself.
    pub taken_from: Option<TakenFrom>,
}

/// Where a file's bytes are.
#[derive(Debug, Default)]
pub(super) struct Residence {
    is_on_disk: bool,
    object: Option<ObjectPlace>,
    /// What lies in it that is not settled, by account.
    holds: Vec<(Arc<Account>, Amount)>,
    is_over: bool,
    /// Another agent has it.
    is_handed_over: bool,
}

// === impl ObjectPlace ===

impl ObjectPlace {
    /// When the file was written.
    pub fn written(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.written)
    }

    /// The object, as the agent has it that it is the place of.
    pub fn held(&self) -> Held {
        Held { key: self.key.clone(), taken_from: self.taken_from.clone() }
    }
}

// === impl Held ===

impl Held {
    /// One that the agent brought there itself.
    pub fn own(key: &str) -> Held {
        Held { key: key.to_owned(), taken_from: None }
    }
}

// === impl Residence ===

impl Residence {
    /// A file on the disk, and in a store too if an earlier run brought it there.
    pub fn on_disk(object: Option<ObjectPlace>) -> Residence {
        Residence { is_on_disk: true, object, ..Residence::default() }
    }

    /// A file in a store.
    pub fn elsewhere(object: ObjectPlace) -> Residence {
        Residence { object: Some(object), ..Residence::default() }
    }

    /// The number that its key has.
    pub fn number(&self) -> Option<u64> {
        super::number_in_key(&self.object.as_ref()?.key)
    }

    /// Nobody needs it any more: whether it is on the disk, where else, and whether it is to be removed there.
    pub fn end(&mut self) -> (bool, Option<ObjectPlace>, bool) {
        self.is_over = true;
        (std::mem::take(&mut self.is_on_disk), self.object.take(), !self.is_handed_over)
    }
}

// === impl DiskFile ===

impl DiskFile {
    /// Events that lie in it from now on. The caller holds [`crate::ledger::Ledger::moving`] where others look on.
    pub fn enter(&self, account: &Arc<Account>, amount: Amount) {
        let mut residence = self.residence();
        match &residence.object {
            None => account.enter_disk(amount),
            Some(_) => account.enter_object(amount),
        }
        match residence.holds.iter_mut().find(|(known, _)| Arc::ptr_eq(known, account)) {
            Some((_, sum)) => *sum += amount,
            None => residence.holds.push((Arc::clone(account), amount)),
        }
    }

    /// Events that nobody is to find in it any more.
    pub fn leave(&self, account: &Arc<Account>, amount: Amount) {
        let mut residence = self.residence();
        match &residence.object {
            None => account.leave_disk(amount),
            Some(_) => account.leave_object(amount),
        }
        if let Some((_, sum)) = residence.holds.iter_mut().find(|(known, _)| Arc::ptr_eq(known, account)) {
            *sum -= amount;
        }
    }

    /// Takes note that another agent has it, and removes it.
    pub(crate) fn note_handed_over(&self) {
        self.residence().is_handed_over = true;
    }

    /// Whether another agent has it, as far as is known.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.residence().is_handed_over
    }

    /// Whether it holds no event that is not settled.
    pub(crate) fn holds_nothing(&self) -> bool {
        let residence = self.residence();
        !residence.holds.is_empty() && residence.holds.iter().all(|(_, amount)| amount.is_nothing())
    }

    /// Whether all that it holds is named here.
    pub(crate) fn is_all_in(&self, stored: &StoredParts) -> bool {
        let residence = self.residence();
        let (mut held, mut named) = (Amount::default(), Amount::default());
        residence.holds.iter().for_each(|(_, amount)| held += *amount);
        stored.accounts.values().for_each(|amount| named += *amount);
        held == named
    }

    /// Where it lies in a store of objects, if it does.
    pub fn place(&self) -> Option<ObjectPlace> {
        self.residence().object.clone()
    }

    /// Whether it lies on the disk and nowhere else.
    pub(super) fn is_on_disk_only(&self) -> bool {
        let residence = self.residence();
        residence.is_on_disk && residence.object.is_none() && !residence.is_over
    }

    /// Whether it lies in a store of objects and not on the disk.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let residence = self.residence();
        !residence.is_on_disk && residence.object.is_some()
    }

    /// Takes note that it lies in a store of objects now. False where nobody needs it any more.
    pub fn move_to(&self, place: ObjectPlace) -> bool {
        let mut residence = self.residence();
        if residence.is_over || self.needed.load(Ordering::Acquire) == 0 {
            return false;
        }
        for (account, amount) in &residence.holds {
            account.leave_disk(*amount);
            account.enter_object(*amount);
        }
        residence.object = Some(place);
        true
    }

    /// Takes it from the disk when no checkpoint says that it is there. Blocks.
    pub fn leave_the_disk(&self) {
        {
            let mut residence = self.residence();
            if residence.object.is_none() || !std::mem::take(&mut residence.is_on_disk) {
                return;
            }
        }
        self.store.lock().files -= 1;
        self.store.remove(&self.store.path(self.number), self.bytes);
    }

    /// Its path or its key.
    pub(super) fn whereabouts(&self) -> PathBuf {
        let residence = self.residence();
        match &residence.object {
            Some(object) if !residence.is_on_disk => PathBuf::from(&object.key),
            _ => self.store.path(self.number),
        }
    }

    /// Reads from wherever it is, if no other agent has it.
    pub(super) fn read_bytes(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let (is_on_disk, place) = {
            let residence = self.residence();
            (residence.is_on_disk, residence.object.clone())
        };
        let objects = self.store.objects();
        if let Some(objects) = &objects {
            objects.admit(self.written_as, place.as_ref())?;
        }
        let Some(place) = place.filter(|_| !is_on_disk) else {
            let read = self.store.file_system.read(&self.store.path(self.number), offset, length);
            // It may have left the disk just now.
            return match read {
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_elsewhere() => {
                    self.read_bytes(offset, length)
                }
                read => read,
            };
        };
        let Some(objects) = objects else {
            return Err(io::Error::other(
                "it lies in an object store, and the buffer has none now; give it its object_store again",
            ));
        };
        objects.read(&place, offset, length)
    }

    pub(super) fn residence(&self) -> MutexGuard<'_, Residence> {
        self.residence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
