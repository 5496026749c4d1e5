//! The disk behind a buffer: what an earlier run left there, and how it comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::ack::{Ack, Acknowledge, Posting};
use crate::disk::filesystem::FileSystem;
use crate::disk::format::Header;
use crate::disk::{DiskFile, DiskStore, Opened, StoreError, StoredParts, Unnamed};
use crate::ledger::{Account, Amount, Entry, Ledger};

use super::relocate::Relocating;
use super::store::Storing;
use super::{OnDisk, Stub, Waiting};

/// Why events are lost that a checkpoint names and whose file is gone.
const FILE_MISSING: &str = "buffer_file_missing";

/// Where a sink's segments lie on disk, and within which bound.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// The sink's name.
    pub sink: String,
    /// The folder, for this sink alone.
    pub folder: PathBuf,
    /// Bytes of all its files together.
    pub bound: u64,
    /// What becomes of files that the checkpoints do not name.
    pub unnamed: Unnamed,
    /// The number that the next file has at least.
    pub next_file: u64,
}

/// The disk behind a buffer.
pub struct Disk {
    pub(super) store: Arc<DiskStore>,
    pub(super) adopted: Vec<AdoptedFile>,
    /// What becomes of what an earlier run left is booked here: its batches are safe.
    direct: Arc<dyn Acknowledge>,
    sink: String,
    pub(super) storing: Mutex<Storing>,
    pub(super) relocating: Mutex<Relocating>,
    /// Whether the checkpoints name all that is safe.
    pub(super) knows_all: bool,
}

/// A file that an earlier run left.
pub(super) struct AdoptedFile {
    pub number: u64,
    pub place: u64,
    pub file: Arc<DiskFile>,
    /// The parts that still hold events, one bit each.
    pub live: u64,
    /// What lies in them, by pipeline.
    pub amounts: BTreeMap<String, Amount>,
    /// Since when its events wait, where that is known better than by when it was written.
    pub since: Option<SystemTime>,
    /// Reads that failed.
    pub failures: u32,
}

// === impl Disk ===

impl Disk {
    /// Opens a sink's folder and takes over what the checkpoints name. Reads no file. What is named and not there is
    /// booked as lost.
    pub fn open(
        settings: &DiskSettings,
        named: BTreeMap<u64, StoredParts>,
        ledger: &Ledger,
        direct: Arc<dyn Acknowledge>,
        file_system: Arc<dyn FileSystem>,
    ) -> Result<Disk, StoreError> {
        let DiskSettings { sink, folder, bound, unnamed, next_file } = settings;
        let opened = DiskStore::open(sink, folder, *bound, &named, *unnamed, file_system)?;
        let Opened { store, files, missing, unnamed: count } = opened;
        store.count_from(*next_file);
        if count > 0 {
            tracing::info!(%sink, files = count, "files of the buffer were not safe yet when the agent ended; their events are read again");
        }
        let mut disk = Disk {
            store,
            adopted: Vec::new(),
            direct,
            sink: sink.clone(),
            storing: Mutex::default(),
            relocating: Mutex::default(),
            knows_all: *unnamed == Unnamed::Remove,
        };
        let mut named = named;
        for number in missing {
            let Some(StoredParts { parts, accounts, .. }) = named.remove(&number) else { continue };
            tracing::error!(%sink, file = format!("{number:016x}"), "a file of the buffer is gone; its events are lost");
            for (pipeline, amount) in &accounts {
                ledger.account(pipeline, sink).enter_disk(*amount);
            }
            disk.lose(ledger, (number, None), parts, &accounts, FILE_MISSING);
        }
        for (file, live) in files {
            let Some(StoredParts { accounts: amounts, .. }) = named.remove(&file.number()) else { continue };
            for (pipeline, amount) in &amounts {
                file.enter(&ledger.account(pipeline, sink), *amount);
            }
            // An earlier run brought it to the store of objects and ended before it left the disk.
            if file.place().is_some() {
                disk.post_moved(&file);
            }
            disk.adopted.push(AdoptedFile {
                number: 0,
                place: 0,
                file,
                live,
                amounts,
                since: None,
                failures: 0,
            });
        }
        Ok(disk)
    }

    /// The files.
    pub fn store(&self) -> &Arc<DiskStore> {
        &self.store
    }

    /// A share for events that come from no source any more: what becomes of them is counted at once.
    pub(super) fn direct_ack(&self) -> Ack {
        Ack::new(0, Arc::clone(&self.direct))
    }

    /// The sink's name.
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// Books what lies in parts of a file as lost.
    pub(super) fn lose(
        &self,
        ledger: &Ledger,
        (file, handle): (u64, Option<&Arc<DiskFile>>),
        parts: u64,
        amounts: &BTreeMap<String, Amount>,
        reason: &str,
    ) {
        self.book_parts(ledger, (file, handle), parts, amounts, &Entry::Lost(reason.into()));
    }

    /// Books what lies in parts of a file, and that nobody needs them any more.
    pub(super) fn book_parts(
        &self,
        ledger: &Ledger,
        (file, handle): (u64, Option<&Arc<DiskFile>>),
        parts: u64,
        amounts: &BTreeMap<String, Amount>,
        entry: &Entry,
    ) {
        if amounts.is_empty() && parts != 0 {
            // Parts without events: what is left of a segment that was divided can be none.
            let (account, amount) = (Account::new("", &self.sink), Amount::default());
            let ack = self.direct_ack();
            ack.post(Posting::Removed { account, amount, file, parts, handle: handle.cloned() });
            ack.release();
        }
        let mut parts = parts;
        for (pipeline, amount) in amounts {
            let account = ledger.account(pipeline, &self.sink);
            let ack = Ack::new(0, Arc::clone(&self.direct));
            match handle {
                Some(file) => file.leave(&account, *amount),
                None => account.leave_disk(*amount),
            }
            ack.book(&account, entry.clone(), *amount);
            // The parts go with the first of the accounts; whose they were was in the header.
            let parts = std::mem::take(&mut parts);
            let amount = *amount;
            ack.post(Posting::Removed { account, amount, file, parts, handle: handle.cloned() });
            ack.release();
        }
    }

    /// Says in the checkpoints that a file lies in the store of objects.
    pub(super) fn post_moved(&self, file: &Arc<DiskFile>) {
        let ack = Ack::new(0, Arc::clone(&self.direct));
        ack.post(Posting::Moved { sink: Arc::from(self.sink.as_str()), file: Arc::clone(file) });
        ack.release();
    }

    /// The segments of a file that an earlier run left, and what of it the header does not know.
    pub(super) fn expand(
        &self,
        adopted: &AdoptedFile,
        header: &Header,
        ledger: &Ledger,
        mut number: impl FnMut() -> u64,
    ) -> (Vec<Waiting>, u64, BTreeMap<String, Amount>) {
        let mut left = adopted.amounts.clone();
        let mut unknown = adopted.live;
        let mut stubs = Vec::new();
        for (index, part) in (0_u8..).zip(&header.parts) {
            let bit = 1 << index;
            if adopted.live & bit == 0 {
                continue;
            }
            unknown &= !bit;
            if let Some(left) = left.get_mut(&part.pipeline) {
                *left -= part.amount;
            }
            let account = ledger.account(&part.pipeline, &self.sink);
            let ack = Ack::new(0, Arc::clone(&self.direct));
            ack.post(removed(&account, part.amount, &adopted.file, index));
            stubs.push(Waiting::Disk(Stub {
                number: number(),
                place: adopted.place,
                amount: part.amount,
                account,
                wanted: part.memory(),
                since: adopted.since.unwrap_or_else(|| adopted.file.written()),
                on_disk: OnDisk { ack, file: Arc::clone(&adopted.file), part: index, places: None },
                failures: 0,
            }));
        }
        left.retain(|_, amount| *amount != Amount::default());
        (stubs, unknown, left)
    }
}

// === impl AdoptedFile ===

impl AdoptedFile {
    pub fn amount(&self) -> Amount {
        let mut sum = Amount::default();
        for amount in self.amounts.values() {
            sum += *amount;
        }
        sum
    }
}

/// Says that nobody needs a part any more.
pub(super) fn removed(account: &Arc<Account>, amount: Amount, file: &Arc<DiskFile>, part: u8) -> Posting {
    Posting::Removed {
        account: Arc::clone(account),
        amount,
        file: file.number(),
        parts: 1 << part,
        handle: Some(Arc::clone(file)),
    }
}
