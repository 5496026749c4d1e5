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

use super::DiskFile;
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
}

/// Where a file's bytes are.
#[derive(Debug, Default)]
pub(super) struct Residence {
    is_on_disk: bool,
    object: Option<ObjectPlace>,
    /// What lies in it that is not settled, by account.
    holds: Vec<(Arc<Account>, Amount)>,
    is_over: bool,
}

// === impl ObjectPlace ===

impl ObjectPlace {
    /// When the file was written.
    pub fn written(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.written)
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

    /// Nobody needs it any more: whether it is on the disk, and where else.
    pub fn end(&mut self) -> (bool, Option<ObjectPlace>) {
        self.is_over = true;
        (std::mem::take(&mut self.is_on_disk), self.object.take())
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

    /// Reads from wherever it is.
    pub(super) fn read_bytes(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let place = {
            let residence = self.residence();
            residence.object.clone().filter(|_| !residence.is_on_disk)
        };
        let Some(place) = place else {
            let read = self.store.file_system.read(&self.store.path(self.number), offset, length);
            // It may have left the disk just now.
            return match read {
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_elsewhere() => {
                    self.read_bytes(offset, length)
                }
                read => read,
            };
        };
        let Some(objects) = self.store.objects() else {
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
