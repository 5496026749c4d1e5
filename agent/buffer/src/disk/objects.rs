//! The object tier of one sink: where its files go that the disk has no room for.
//!
//! 1. A file goes as it is. Its key says whose it is, when and as which number it was written, and the hash of its
//!    bytes: a repeat writes the same, so an object that is there is a success.
//! 2. What is in the store and not named by a checkpoint is nobody's: it is removed when an agent starts, by its own
//!    agent alone.
//! 3. One object is kept in memory, the one that is being read.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::residence::Residence;
use super::{DiskFile, DiskStore, Held, ObjectPlace};
use crate::object::{ObjectError, ObjectErrorKind, ObjectStore, Put};
use crate::presence::{Presence, Use};

/// A longer object is read piece by piece.
const MAX_WHOLE_BYTES: u64 = 8 * 1024 * 1024;
/// A longer file stays on the disk: it would not go in one request.
pub(crate) const MAX_OBJECT_BYTES: u64 = 64 * 1024 * 1024;

/// What happened to the objects of a sink since the start.
#[derive(Debug, Default)]
pub struct ObjectMetrics {
    /// Files moved there.
    pub moved: AtomicU64,
    /// Their bytes.
    pub moved_bytes: AtomicU64,
    /// Objects removed.
    pub removed: AtomicU64,
    /// Requests that failed, after all their tries.
    pub errors: AtomicU64,
    /// 1 while the last request failed.
    pub failing: AtomicU64,
}

/// Where the files of one sink lie in a store of objects.
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// What the keys of this sink's files begin with, slash included.
    folder: String,
    /// Bytes that its objects may have together.
    max_bytes: Option<u64>,
    last: Mutex<Option<(String, Arc<Vec<u8>>)>>,
    /// Where other agents may take objects over.
    presence: Option<Arc<Presence>>,
    /// What it counts.
    pub metrics: Arc<ObjectMetrics>,
}

/// Another agent has the object.
#[derive(Debug, thiserror::Error)]
#[error("another agent has taken it over")]
pub(crate) struct HandedOver;

// === impl Objects ===

impl Objects {
    /// The objects below `folder`, which ends with a slash.
    pub fn new(store: Arc<dyn ObjectStore>, folder: String, max_bytes: Option<u64>) -> Objects {
        let (last, presence, metrics) = Default::default();
        Objects { store, folder, max_bytes, last, presence, metrics }
    }

    /// The same, where other agents may take objects over.
    #[must_use]
    pub fn shared(self, presence: Arc<Presence>) -> Objects {
        Objects { presence: Some(presence), ..self }
    }

    /// Whether it is not known yet whether objects may be stored.
    pub(crate) fn is_starting(&self) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.is_starting())
    }

    /// Waits until it is known whose the objects are, but not for long. Blocks.
    pub(crate) fn wait_for_start(&self) {
        self.presence.iter().for_each(|presence| presence.wait_for_start());
    }

    /// Whether objects may be stored now.
    pub(crate) fn is_sure(&self) -> bool {
        self.presence.as_ref().is_none_or(|presence| presence.is_sure())
    }

    /// Whether an object may be used.
    pub(crate) fn may_use(&self, held: &Held) -> Result<Use, ObjectError> {
        self.presence.as_ref().map_or(Ok(Use::Own), |presence| presence.may_use(held))
    }

    /// Whose a file is, as far as that is known without asking.
    fn known_use(&self, number: u64, place: Option<&ObjectPlace>) -> Option<Use> {
        let Some(presence) = &self.presence else { return Some(Use::Own) };
        match place {
            Some(place) => presence.known_use(&place.held()),
            None if presence.is_known_as_handed_over(&self.folder, number) => Some(Use::HandedOver),
            None => Some(Use::Own),
        }
    }

    /// Says no where another agent has the file with this number.
    pub(super) fn admit(&self, number: u64, place: Option<&ObjectPlace>) -> io::Result<()> {
        let Some(presence) = &self.presence else { return Ok(()) };
        let is_handed_over = match place {
            Some(place) => presence.may_use(&place.held()).map_err(io::Error::other)? == Use::HandedOver,
            None => presence.is_handed_over(&self.folder, number).map_err(io::Error::other)?,
        };
        if is_handed_over { Err(io::Error::other(HandedOver)) } else { Ok(()) }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// What the keys begin with.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Bytes that its objects may have together.
    pub fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// Stores a file's bytes.
    pub(crate) fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), ObjectError> {
        let length = bytes.len() as u64;
        match self.heard(self.store.put_if_absent(key, bytes))? {
            Put::Stored(_) | Put::Refused => {}
        }
        self.metrics.moved.fetch_add(1, Ordering::Relaxed);
        self.metrics.moved_bytes.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    /// Removes an object, unless another agent has it.
    pub(crate) fn delete(&self, held: &Held) -> Result<(), ObjectError> {
        if self.may_use(held)? == Use::HandedOver {
            return Ok(());
        }
        self.heard(self.store.delete(&held.key))?;
        self.presence.iter().for_each(|presence| presence.forget(held));
        self.metrics.removed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads a piece of an object.
    pub(super) fn read(&self, place: &ObjectPlace, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let is_claimed = || self.may_use(&place.held()).is_ok_and(|found| found == Use::Claimed);
        let failed = |error: ObjectError| match error.kind {
            // Whoever had it before this agent claimed it has delivered and removed it.
            ObjectErrorKind::Missing if is_claimed() => io::Error::other(HandedOver),
            ObjectErrorKind::Missing => io::Error::new(io::ErrorKind::NotFound, error),
            _ => io::Error::other(error),
        };
        if place.bytes > MAX_WHOLE_BYTES {
            return self.heard(self.store.get_range(&place.key, offset, length)).map_err(failed);
        }
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let whole = match known.filter(|(key, _)| *key == place.key) {
            Some((_, whole)) => whole,
            None => {
                let got = self.heard(self.store.get(&place.key, MAX_WHOLE_BYTES)).map_err(failed)?;
                let whole = Arc::new(got.bytes);
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((place.key.clone(), Arc::clone(&whole)));
                whole
            }
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
        let end = start.saturating_add(length).min(whole.len());
        Ok(whole.get(start..end).unwrap_or_default().to_vec())
    }

    /// Lets go of what is kept of an object.
    fn forget(&self, key: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(known, _)| known == key) {
            *last = None;
        }
    }

    /// Takes note of how it went to say there that this agent lives: before that nothing is moved.
    pub fn note_beat(&self, is_heard: bool) {
        self.metrics.failing.store(u64::from(!is_heard), Ordering::Relaxed);
        if !is_heard {
            self.metrics.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn heard<T>(&self, answer: Result<T, ObjectError>) -> Result<T, ObjectError> {
        match &answer {
            Ok(_) => self.metrics.failing.store(0, Ordering::Relaxed),
            Err(error) if error.kind == ObjectErrorKind::Missing => {}
            Err(_) => {
                self.metrics.errors.fetch_add(1, Ordering::Relaxed);
                self.metrics.failing.store(1, Ordering::Relaxed);
            }
        }
        answer
    }
}

// === impl DiskFile ===

impl DiskFile {
    /// Whose the file is, as far as that is known without asking.
    pub(crate) fn known_use(&self) -> Option<Use> {
        match self.store.objects() {
            Some(objects) => objects.known_use(self.written_as, self.place().as_ref()),
            None => Some(Use::Own),
        }
    }
}

// === impl DiskStore ===

impl DiskStore {
    /// Where files go that the disk has no room for.
    pub fn objects(&self) -> Option<Arc<Objects>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets where files go that the disk has no room for.
    pub fn set_objects(&self, objects: Option<Objects>) {
        *self.objects.write().unwrap_or_else(PoisonError::into_inner) = objects.map(Arc::new);
    }

    /// Bytes and number of its files in the store of objects.
    pub fn in_objects(&self) -> (u64, u64) {
        let state = self.lock();
        (state.object_bytes, state.object_files)
    }

    /// The files that are to be moved, oldest first, so that those on the disk alone have at most `rest` bytes.
    pub(crate) fn to_move(&self, rest: u64) -> Vec<Arc<DiskFile>> {
        let known: Vec<Arc<DiskFile>> =
            self.lock().known.values().filter_map(std::sync::Weak::upgrade).collect();
        let mut here: Vec<Arc<DiskFile>> = known
            .into_iter()
            .filter(|file| file.is_on_disk_only() && !file.holds_nothing() && file.bytes <= MAX_OBJECT_BYTES)
            .collect();
        let mut sum: u64 = here.iter().map(|file| file.bytes).sum();
        let count = here.iter().take_while(|file| {
            let is_wanted = sum > rest;
            sum = sum.saturating_sub(file.bytes);
            is_wanted
        });
        let count = count.count();
        here.truncate(count);
        here
    }

    /// A file's bytes, to be moved. Blocks.
    pub(crate) fn whole(&self, file: &DiskFile) -> io::Result<Vec<u8>> {
        let length = usize::try_from(file.bytes).unwrap_or(usize::MAX);
        self.file_system.read(&self.path(file.number), 0, length)
    }

    /// Takes note that a file lies in the store of objects now. False where nobody needs it any more.
    pub(crate) fn moved(&self, file: &DiskFile, place: ObjectPlace) -> bool {
        let (held, bytes) = (place.held(), place.bytes);
        let mut state = self.lock();
        let is_needed = file.move_to(place);
        match is_needed {
            true => {
                state.object_bytes += bytes;
                state.object_files += 1;
            }
            false => state.unneeded.push(held),
        }
        is_needed
    }

    /// Takes note of an object that may be there of a file that is on the disk. False where that file is not needed.
    pub(crate) fn note_stray(&self, key: &str) -> bool {
        let Some(number) = super::number_in_key(key) else { return false };
        let mut state = self.lock();
        let file = state.known.get(&number).and_then(std::sync::Weak::upgrade);
        let is_needed = file.is_some_and(|file| file.is_there() && file.place().is_none());
        if is_needed {
            state.strays.entry(number).or_default().insert(key.to_owned());
        }
        is_needed
    }

    /// Objects that nobody needs any more.
    pub(crate) fn take_unneeded(&self) -> Vec<Held> {
        let unneeded = std::mem::take(&mut self.lock().unneeded);
        if let Some(objects) = self.objects() {
            unneeded.iter().for_each(|held| objects.forget(&held.key));
        }
        unneeded
    }

    /// Notes objects that nobody needs any more and that could not be removed.
    pub(crate) fn put_back_unneeded(&self, unneeded: impl IntoIterator<Item = Held>) {
        self.lock().unneeded.extend(unneeded);
    }

    /// Takes an object of another agent in, as a file of this one.
    pub(crate) fn adopt(self: &Arc<Self>, place: ObjectPlace, parts: u64) -> Arc<DiskFile> {
        let number = {
            let mut state = self.lock();
            state.object_bytes += place.bytes;
            state.object_files += 1;
            state.next += 1;
            state.next - 1
        };
        let what = (number, place.bytes, place.written());
        let (file, _) = self.file(what, parts, Residence::elsewhere(place));
        self.lock().known.insert(number, Arc::downgrade(&file));
        file
    }

    /// What holds nothing any more and is there until it is removed: keys of objects, and numbers of files on the disk, of
    /// which an object may be under way. What another agent has may hold something there.
    pub fn settled(&self) -> Vec<String> {
        let (known, mut settled): (Vec<Arc<DiskFile>>, Vec<String>) = {
            let state = self.lock();
            let known = state.known.values().filter_map(std::sync::Weak::upgrade);
            (known.collect(), state.unneeded.iter().map(|held| held.key.clone()).collect())
        };
        let name = |file: &DiskFile| match file.place() {
            Some(place) => place.key,
            None => format!("{:016x}", file.number()),
        };
        let is_settled = |file: &&Arc<DiskFile>| file.holds_nothing() && !file.is_handed_over();
        settled.extend(known.iter().filter(is_settled).map(|file| name(file)));
        settled
    }

    /// All objects that its files lie in.
    pub fn held(&self) -> BTreeSet<Held> {
        let known: Vec<Arc<DiskFile>> =
            self.lock().known.values().filter_map(std::sync::Weak::upgrade).collect();
        known.iter().filter_map(|file| Some(file.place()?.held())).collect()
    }
}
