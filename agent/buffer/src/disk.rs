//! The disk tier: files of segments in a folder of one sink.
//!
//! 1. A file is written under another name, synced, renamed, and its folder synced, before anything that lies in it is
//!    called safe. A file that is there under its own name is whole.
//! 2. Which parts of which files hold events is said by the checkpoints alone, in one transaction with positions and
//!    counts. A file that they do not name is not read: its events are read again where they came from.
//! 3. A file goes only when no checkpoint that may still be read names it.
//! 4. The bound is exact: what is there, what is being written, and what was put aside as damaged counts to the byte.
//! 5. A start lists the folder and reads no file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::ledger::Amount;

mod aside;
pub mod filesystem;
pub mod format;
pub mod inspect;
mod objects;
mod residence;

use aside::ASIDE;
use filesystem::{FileSystem, Found};
use format::{Header, HeaderError, Layout, MAX_PARTS, Packed, PartContent};
pub(crate) use objects::HandedOver;
pub use objects::{ObjectMetrics, Objects};
use residence::Residence;
pub use residence::{Held, ObjectPlace, TakenFrom};

/// A file is closed when it has so many bytes, or an eighth of the bound.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// What is behind the number in a file's name, and in the name of one that is not finished.
const SUFFIX: &str = ".seg";
const UNFINISHED_SUFFIX: &str = ".new";
/// What happened to a store since the start.
#[derive(Debug, Default)]
pub struct DiskMetrics {
    /// Files written.
    pub files: AtomicU64,
    /// Files that could not be written.
    pub write_errors: AtomicU64,
    /// Reads that failed.
    pub read_errors: AtomicU64,
    /// Files in which something was damaged.
    pub damaged: AtomicU64,
    /// Reads that were not answered in time.
    pub stalled_reads: AtomicU64,
    /// Events that were written.
    pub stored_events: AtomicU64,
    /// Their bytes as they were read from their source.
    pub stored_bytes: AtomicU64,
    /// Events that were read back.
    pub replayed_events: AtomicU64,
    /// Their bytes as they were read from their source.
    pub replayed_bytes: AtomicU64,
}

/// The files of one sink.
pub struct DiskStore {
    sink: String,
    folder: PathBuf,
    file_system: Arc<dyn FileSystem>,
    bound: AtomicU64,
    state: Mutex<State>,
    /// Where files go that the disk has no room for.
    objects: RwLock<Option<Arc<Objects>>>,
    /// What it counts.
    pub metrics: DiskMetrics,
}

#[derive(Default)]
struct State {
    /// The number of the next file.
    next: u64,
    /// Bytes of all files that are there or being written.
    used: u64,
    files: u64,
    /// All files that somebody needs, here or in the store of objects.
    known: BTreeMap<u64, Weak<DiskFile>>,
    /// Bytes and number of those that lie in the store of objects.
    object_bytes: u64,
    object_files: u64,
    /// Objects that nobody needs any more.
    unneeded: Vec<Held>,
    /// Objects that may be there of files on the disk, by number. They are not removed before their file goes: a removal that
    /// arrives late would take what was brought there under the same key meanwhile.
    strays: BTreeMap<u64, BTreeSet<String>>,
    /// Files that nobody needs any more and that could not be removed yet, with their bytes.
    leftover: Vec<(PathBuf, u64)>,
    /// The header that was read last.
    header: Option<(u64, Arc<Header>)>,
}

/// A file with events in it.
pub struct DiskFile {
    store: Arc<DiskStore>,
    number: u64,
    /// The number that stands in it: another agent's, where it was taken over.
    written_as: u64,
    bytes: u64,
    written: SystemTime,
    /// The parts that somebody needs, one bit each.
    needed: AtomicU64,
    is_damaged: AtomicBool,
    /// Where its bytes are, and whose events lie in it. Nobody who holds it waits for anything but an account.
    residence: Mutex<Residence>,
}

/// What a checkpoint says of a file: which parts hold events, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredParts {
    /// The parts, one bit each; hexadecimal where it is text.
    #[serde(with = "hexadecimal")]
    pub parts: u64,
    /// What lies in them, by pipeline.
    pub accounts: BTreeMap<String, Amount>,
    /// Where the file is, if not on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectPlace>,
}

/// What becomes of files that the checkpoints do not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// They are removed: their events are read again.
    Remove,
    /// They are put aside: these checkpoints do not know all that was safe.
    PutAside,
}

/// What a start found.
pub struct Opened {
    /// The store.
    pub store: Arc<DiskStore>,
    /// The files that the checkpoints name, oldest first, each with its live parts.
    pub files: Vec<(Arc<DiskFile>, u64)>,
    /// Numbers of files that the checkpoints name and that are not there.
    pub missing: Vec<u64>,
    /// How many files were there that the checkpoints do not name.
    pub unnamed: usize,
}

/// Why segments were not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// They do not fit within the bound.
    #[error("the disk buffer is full")]
    Full,
    /// They are more than a file can hold.
    #[error("cannot write segments of the buffer: {0}")]
    TooLarge(io::Error),
    /// The file system said no.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

/// Why a part could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system said no.
    #[error("cannot read {path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// Nothing of the file can be used.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

// === impl DiskStore ===

impl DiskStore {
    /// Opens the folder of a sink, and makes it where there is none. `named` is what the checkpoints say, by file
    /// number.
    pub fn open(
        sink: &str,
        folder: &Path,
        bound: u64,
        named: &BTreeMap<u64, StoredParts>,
        unnamed: Unnamed,
        file_system: Arc<dyn FileSystem>,
    ) -> Result<Opened, StoreError> {
        let aside = folder.join(ASIDE);
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::Io { action, path, error }
        };
        file_system.create_folder(folder).map_err(io("make the folder", folder))?;
        let found = file_system.list(folder).map_err(io("list the folder", folder))?;
        let put_aside = match file_system.list(&aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(io("list the folder", &aside))?,
        };
        let store = Arc::new(DiskStore {
            sink: sink.to_owned(),
            folder: folder.to_owned(),
            file_system,
            bound: AtomicU64::new(bound),
            state: Mutex::default(),
            objects: RwLock::default(),
            metrics: DiskMetrics::default(),
        });
        let mut state = State { used: put_aside.iter().map(|found| found.bytes).sum(), ..State::default() };
        let numbers = put_aside.iter().filter_map(|found| number(&found.name)).chain(named.keys().copied());
        state.next = numbers.max().map_or(0, |most| most.saturating_add(1));
        let (mut files, mut aside, mut count) = (Vec::new(), Vec::new(), 0);
        let mut missing: BTreeSet<u64> = named.keys().copied().collect();
        for Found { name, bytes, modified } in found {
            let known = number(&name).and_then(|number| Some((number, named.get(&number)?)));
            if let Some((number, stored)) = known {
                missing.remove(&number);
                (state.used, state.files) = (state.used + bytes, state.files + 1);
                let residence = Residence::on_disk(stored.object.clone());
                files.push(store.file((number, bytes, modified), stored.parts, residence));
            } else if name.ends_with(SUFFIX) || name.ends_with(UNFINISHED_SUFFIX) {
                let number = number(&name);
                state.next = state.next.max(number.map_or(0, |number| number.saturating_add(1)));
                state.used += bytes;
                count += usize::from(name.ends_with(SUFFIX));
                match number.filter(|_| unnamed == Unnamed::PutAside && name.ends_with(SUFFIX)) {
                    Some(number) => aside.push((number, bytes)),
                    None => state.leftover.push((folder.join(&name), bytes)),
                }
            }
        }
        for number in missing.clone() {
            let Some(stored) = named.get(&number) else { continue };
            let Some(place) = stored.object.clone() else { continue };
            missing.remove(&number);
            let residence = Residence::elsewhere(place.clone());
            files.push(store.file((number, place.bytes, place.written()), stored.parts, residence));
        }
        files.sort_by_key(|(file, _)| file.number);
        for (file, _) in &files {
            state.known.insert(file.number, Arc::downgrade(file));
            if let Some(place) = file.place() {
                (state.object_bytes, state.object_files) =
                    (state.object_bytes + place.bytes, state.object_files + 1);
            }
        }
        *store.lock() = state;
        store.tidy();
        for (number, bytes) in aside {
            store.take_away(number, bytes, true);
        }
        Ok(Opened { store, files, missing: missing.into_iter().collect(), unnamed: count })
    }

    /// Bytes that a file may have, unless a single segment has more.
    pub fn file_bytes(&self) -> u64 {
        FILE_BYTES.min(self.bound() / 8)
    }

    /// Writes a file of these parts, at most [`MAX_PARTS`]. It is not safe before [`DiskStore::sync`].
    pub fn write(self: &Arc<Self>, parts: &[Packed<'_>]) -> Result<Arc<DiskFile>, StoreError> {
        let layout = Layout::new(&self.sink, parts).map_err(StoreError::TooLarge)?;
        let number = {
            let mut state = self.lock();
            if state.used.saturating_add(layout.bytes) > self.bound() {
                return Err(StoreError::Full);
            }
            state.used += layout.bytes;
            state.next += 1;
            state.next - 1
        };
        let unfinished = self.folder.join(format!("{number:016x}{UNFINISHED_SUFFIX}"));
        match self.write_file(number, &layout, &unfinished) {
            Ok(()) => {
                let needed = all_parts(parts.len());
                let what = (number, layout.bytes, SystemTime::now());
                let (file, _) = self.file(what, needed, Residence::on_disk(None));
                let mut state = self.lock();
                state.files += 1;
                state.known.insert(number, Arc::downgrade(&file));
                drop(state);
                self.metrics.files.fetch_add(1, Ordering::Relaxed);
                Ok(file)
            }
            Err(error) => {
                self.metrics.write_errors.fetch_add(1, Ordering::Relaxed);
                self.remove(&unfinished, layout.bytes);
                Err(error)
            }
        }
    }

    /// A file by its number, its length and when it was written, with its live parts.
    fn file(
        self: &Arc<Self>,
        (number, bytes, written): (u64, u64, SystemTime),
        needed: u64,
        residence: Residence,
    ) -> (Arc<DiskFile>, u64) {
        let file = DiskFile {
            store: Arc::clone(self),
            number,
            written_as: residence.number().unwrap_or(number),
            bytes,
            written,
            needed: AtomicU64::new(needed),
            is_damaged: AtomicBool::new(false),
            residence: Mutex::new(residence),
        };
        (Arc::new(file), needed)
    }

    fn write_file(&self, number: u64, layout: &Layout<'_>, unfinished: &Path) -> Result<(), StoreError> {
        let io = |action| move |error| StoreError::Io { action, path: unfinished.to_owned(), error };
        let mut file = self.file_system.create(unfinished).map_err(io("create"))?;
        layout.write(number, |bytes| file.write(bytes)).map_err(io("write"))?;
        file.sync().map_err(io("sync"))?;
        drop(file);
        self.file_system.rename(unfinished, &self.path(number)).map_err(io("rename"))
    }

    /// Makes the files that were written safe. Called once for several.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file_system.sync_folder(&self.folder).map_err(|error| {
            self.metrics.write_errors.fetch_add(1, Ordering::Relaxed);
            StoreError::Io { action: "sync the folder", path: self.folder.clone(), error }
        })
    }

    /// Tries again to remove what could not be removed.
    pub fn tidy(&self) {
        let leftover = std::mem::take(&mut self.lock().leftover);
        for (path, bytes) in leftover {
            self.remove(&path, bytes);
        }
    }

    /// Bytes of its files.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Bytes that its files may have.
    pub fn bound(&self) -> u64 {
        self.bound.load(Ordering::Relaxed)
    }

    /// Sets another bound. Files beyond it stay until nobody needs them.
    pub fn set_bound(&self, bound: u64) {
        self.bound.store(bound, Ordering::Relaxed);
    }

    /// How many files it has.
    pub fn files(&self) -> u64 {
        self.lock().files
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:016x}{SUFFIX}"))
    }

    /// Removes a file; its bytes count until it is gone.
    fn remove(&self, path: &Path, bytes: u64) {
        let removed = match self.file_system.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        let mut state = self.lock();
        match removed {
            Ok(()) => state.used = state.used.saturating_sub(bytes),
            Err(_) => state.leftover.push((path.to_owned(), bytes)),
        }
    }

    /// Files have this number at least from now on.
    pub fn count_from(&self, number: u64) {
        let mut state = self.lock();
        state.next = state.next.max(number);
    }

    /// Takes a file away that nobody needs; one on the disk that is damaged is kept aside.
    fn retire(&self, file: &DiskFile) {
        let (is_here, place, is_ours) = file.residence().end();
        let mut state = self.lock();
        state.known.remove(&file.number);
        let strays = state.strays.remove(&file.number).unwrap_or_default();
        // Under the same number an earlier run may have brought other bytes there, which have another key.
        let others = strays.into_iter().filter(|key| place.as_ref().is_none_or(|place| place.key != *key));
        state.unneeded.extend(others.map(|key| Held::own(&key)));
        if let Some(place) = place {
            state.object_bytes = state.object_bytes.saturating_sub(place.bytes);
            state.object_files = state.object_files.saturating_sub(1);
            if is_ours {
                state.unneeded.push(place.held());
            }
        }
        if is_here {
            state.files -= 1;
            drop(state);
            self.take_away(file.number, file.bytes, file.is_damaged.load(Ordering::Relaxed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore")
            .field("folder", &self.folder)
            .field("bound", &self.bound())
            .finish_non_exhaustive()
    }
}

// === impl DiskFile ===

impl DiskFile {
    /// Its number: later files have higher ones.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When it was written.
    pub fn written(&self) -> SystemTime {
        self.written
    }

    /// What it says of its parts. Blocks.
    pub fn header(&self) -> Result<Arc<Header>, ReadError> {
        let header = self.read_header();
        self.note(header.as_ref().err());
        header
    }

    fn read_header(&self) -> Result<Arc<Header>, ReadError> {
        if let Some((known, header)) = &self.store.lock().header
            && *known == self.number
        {
            return Ok(Arc::clone(header));
        }
        let path = self.whereabouts();
        let read = Header::read(|offset, length| self.read_bytes(offset, length));
        let header = Arc::new(read.map_err(|error| match error {
            HeaderError::Io(error) => ReadError::Io { path, error },
            HeaderError::Damaged(reason) => ReadError::Damaged { path, reason: reason.to_owned() },
        })?);
        if header.number.is_some_and(|found| found != self.written_as) {
            let path = self.whereabouts();
            return Err(ReadError::Damaged { path, reason: "it is another file's".to_owned() });
        }
        self.store.lock().header = Some((self.number, Arc::clone(&header)));
        Ok(header)
    }

    /// Reads a part; of its documents those whose place is in `which`, where it is given. Blocks.
    pub fn read(&self, part: u8, which: Option<&[u32]>) -> Result<PartContent, ReadError> {
        let header = self.header()?;
        let read = |offset, length| self.read_bytes(offset, length);
        let content = header.part(self.written_as, part, which, read);
        let content = content.map_err(|error| ReadError::Io { path: self.whereabouts(), error });
        self.note(content.as_ref().err());
        if content.as_ref().is_ok_and(|content| content.is_damaged) {
            self.note_damage();
        }
        content
    }

    /// Takes note of parts (one bit each) that no checkpoint names any more; the file goes with the last of them.
    /// Blocks.
    pub fn forget(&self, parts: u64) {
        let before = self.needed.fetch_and(!parts, Ordering::AcqRel);
        if before != 0 && before & !parts == 0 {
            self.store.retire(self);
        }
    }

    /// Whether somebody needs a part of it.
    pub fn is_there(&self) -> bool {
        self.needed.load(Ordering::Acquire) != 0
    }

    /// Counts what lies in it safely.
    pub fn note_stored(&self, amount: Amount) {
        let metrics = &self.store.metrics;
        metrics.stored_events.fetch_add(amount.events, Ordering::Relaxed);
        metrics.stored_bytes.fetch_add(amount.bytes, Ordering::Relaxed);
    }

    /// Counts what was read back.
    pub fn note_replayed(&self, amount: Amount) {
        let metrics = &self.store.metrics;
        metrics.replayed_events.fetch_add(amount.events, Ordering::Relaxed);
        metrics.replayed_bytes.fetch_add(amount.bytes, Ordering::Relaxed);
    }

    /// Says that nothing of the file can be used, so that it is kept aside.
    pub fn note_damage(&self) {
        if !self.is_damaged.swap(true, Ordering::Relaxed) {
            self.store.metrics.damaged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note(&self, error: Option<&ReadError>) {
        match error {
            Some(ReadError::Io { .. }) => {
                self.store.metrics.read_errors.fetch_add(1, Ordering::Relaxed);
            }
            Some(ReadError::Damaged { .. }) => self.note_damage(),
            None => {}
        }
    }
}

impl std::fmt::Debug for DiskFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskFile")
            .field("number", &self.number)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// A number as text, so that every reader of JSON has all of its bits.
mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}

/// A bit for each of the first parts.
pub fn all_parts(count: usize) -> u64 {
    match count {
        0 => 0,
        count => u64::MAX >> (MAX_PARTS - count.min(MAX_PARTS)),
    }
}

/// The number in an object's key.
pub(crate) fn number_in_key(key: &str) -> Option<u64> {
    let (digits, _) = key.rsplit_once('/')?.1.split_once('-')?;
    u64::from_str_radix(digits, 16).ok()
}

/// The number in a finished or unfinished file's name.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).or_else(|| name.strip_suffix(UNFINISHED_SUFFIX))?;
    let is_number = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_number.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests;
