//! Relocating: files that the disk has no room for go to the store of objects.
//!
//! 1. An object is there before the ledger and the checkpoints say so, and a file leaves the disk when no checkpoint
//!    says any more that it is there: whatever ends the agent in between, each event is in one of the two.
//! 2. Nothing waits for it but who calls: the sink goes on, and so does storing as long as the disk has room.
//! 3. Before anything else, what an earlier run brought there and nobody names is removed.
//! 4. Only what the checkpoint names goes there: who comes back to find an object taken over knows that it was its own,
//!    and reads no source again for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};

use super::MemoryTier;
use super::disk::Disk;
use crate::disk::{DiskFile, Held, ObjectPlace, Objects, StoredParts};
use crate::object::{ObjectError, ObjectErrorKind};

/// Files that are brought there at the same time; each takes its bytes of memory.
const AT_ONCE: usize = 3;
/// Files that one call moves: then the checkpoints are written, and the disk has room.
const MOST_PER_CALL: usize = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// The same trouble is told so often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// How much is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// When three quarters of the disk are full: so much that half of it is free.
    HighWater,
    /// Everything.
    Everything,
}

/// What a call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relocated {
    /// Files moved.
    pub files: usize,
    /// Whether more is to be moved, now.
    pub has_more: bool,
    /// Whether it is too early for some of it: the store has not heard of this agent yet, or no checkpoint names a file.
    pub is_early: bool,
}

/// How relocating went so far.
#[derive(Default)]
pub(super) struct Relocating {
    has_swept: bool,
    not_before: Option<Instant>,
    pause: Duration,
    said: Option<Instant>,
}

impl MemoryTier {
    /// Moves files to the store of objects, if there is one, as many as the goal wants, and as `named` says that the
    /// checkpoint on the disk names them. The checkpoints are to be saved behind it, twice, so that they leave the disk.
    /// Removes objects that nobody needs. Blocks, within bounds.
    pub fn relocate(&self, goal: Goal, named: &dyn Fn() -> BTreeMap<u64, StoredParts>) -> Relocated {
        let nothing = Relocated::default();
        let Some(disk) = self.disk.get() else { return nothing };
        let Some(objects) = disk.store.objects() else { return nothing };
        let mut relocating = disk.relocating.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if relocating.not_before.is_some_and(|not_before| now < not_before) {
            return nothing;
        }
        // Whose the objects are is to be known first.
        if !objects.is_sure() {
            return Relocated { is_early: objects.is_starting(), ..nothing };
        }
        let (done, trouble) = self.relocate_now(disk, &objects, (goal, named), &mut relocating.has_swept);
        match trouble {
            None => (relocating.not_before, relocating.pause) = (None, Duration::ZERO),
            Some(error) => relocating.note(disk, &error, now),
        }
        done
    }

    /// There is room on the disk again: what did not fit is tried at once.
    pub fn note_room_on_disk(&self) {
        if let Some(disk) = self.disk.get() {
            disk.storing.lock().unwrap_or_else(PoisonError::into_inner).forget_pause();
        }
    }

    fn relocate_now(
        &self,
        disk: &Disk,
        objects: &Objects,
        (goal, named): (Goal, &dyn Fn() -> BTreeMap<u64, StoredParts>),
        has_swept: &mut bool,
    ) -> (Relocated, Option<ObjectError>) {
        let mut done = Relocated::default();
        if let Err(error) = remove_unneeded(disk, objects) {
            return (done, Some(error));
        }
        if !*has_swept {
            if let Err(error) = sweep(disk, objects) {
                return (done, Some(error));
            }
            *has_swept = true;
        }
        let store = &disk.store;
        let rest = match goal {
            Goal::HighWater if store.used() <= store.bound() / 4 * 3 => return (done, None),
            Goal::HighWater => store.bound() / 2,
            Goal::Everything => 0,
        };
        let mut files = store.to_move(rest);
        if !files.is_empty() {
            let (named, all) = (named(), files.len());
            files.retain(|file| named.get(&file.number()).is_some_and(|stored| file.is_all_in(stored)));
            done.is_early = files.len() < all;
        }
        if files.is_empty() {
            return (done, None);
        }
        done.has_more = files.len() > MOST_PER_CALL;
        files.truncate(MOST_PER_CALL);
        let trouble = Mutex::new(None);
        let is_over = AtomicBool::new(false);
        let (queue, count) = (Mutex::new(files.into_iter()), Mutex::new(0));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(file) = next else { return };
                        match self.move_file(disk, objects, &file) {
                            Ok(()) => *count.lock().unwrap_or_else(PoisonError::into_inner) += 1,
                            Err(error) => {
                                is_over.store(true, Ordering::Relaxed);
                                *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            }
                        }
                    }
                });
            }
        });
        done.files = count.into_inner().unwrap_or_else(PoisonError::into_inner);
        let trouble = trouble.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.has_more &= trouble.is_none();
        (done, trouble)
    }

    fn move_file(&self, disk: &Disk, objects: &Objects, file: &Arc<DiskFile>) -> Result<(), ObjectError> {
        let store = &disk.store;
        if objects.max_bytes().is_some_and(|most| store.in_objects().0 + file.bytes() > most) {
            let message = "the sink's objects have max_size bytes; the disk's bound holds".to_owned();
            return Err(ObjectError { kind: ObjectErrorKind::Refused, message });
        }
        let bytes = store.whole(file).map_err(|error| ObjectError {
            kind: ObjectErrorKind::Retry,
            message: format!("cannot read a file of the disk buffer: {error}"),
        })?;
        if bytes.len() as u64 != file.bytes() {
            // It has gone meanwhile, or is damaged: who reads it will say so.
            return Ok(());
        }
        let place = place(objects.folder(), file, &bytes);
        if let Err(error) = objects.put(&place.key, bytes) {
            // It may be there all the same, and the file may be delivered before the next try.
            if !store.note_stray(&place.key) {
                store.put_back_unneeded([place.held()]);
            }
            return Err(error);
        }
        let moving = self.ledger.moving();
        if store.moved(file, place) {
            disk.post_moved(file);
        }
        drop(moving);
        Ok(())
    }
}

/// Removes the objects that nobody needs any more.
fn remove_unneeded(disk: &Disk, objects: &Objects) -> Result<(), ObjectError> {
    let mut unneeded = disk.store.take_unneeded().into_iter();
    while let Some(held) = unneeded.next() {
        if let Err(error) = objects.delete(&held) {
            disk.store.put_back_unneeded(std::iter::once(held).chain(unneeded));
            return Err(error);
        }
    }
    Ok(())
}

/// Removes what an earlier run of this agent brought there and no checkpoint names.
fn sweep(disk: &Disk, objects: &Objects) -> Result<(), ObjectError> {
    if !disk.knows_all {
        tracing::warn!(
            sink = disk.sink(),
            folder = objects.folder(),
            "the checkpoints are older than the buffer: objects that they do not name are left where they are"
        );
        return Ok(());
    }
    let named: BTreeSet<String> = disk.store.held().into_iter().map(|held| held.key).collect();
    let mut after = None;
    loop {
        let listing = objects.store().list(objects.folder(), after.as_deref(), false)?;
        for (key, _) in &listing.objects {
            if !named.contains(key) && !disk.store.note_stray(key) {
                objects.delete(&Held::own(key))?;
                tracing::info!(sink = disk.sink(), key, "removed an object that no checkpoint names");
            }
        }
        after = listing.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Where a file goes: its key says when and as what it was written, and what is in it.
fn place(folder: &str, file: &DiskFile, bytes: &[u8]) -> ObjectPlace {
    let written = file.written().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let second = i64::try_from(written).ok().and_then(|second| Timestamp::from_second(second).ok());
    let hour = second.unwrap_or_default().strftime("%Y/%m/%d/%H");
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let number = file.number();
    let key = format!("{folder}{hour}/{number:016x}-{hash}.seg");
    ObjectPlace { key, bytes: bytes.len() as u64, written, taken_from: None }
}

// === impl Relocating ===

impl Relocating {
    fn note(&mut self, disk: &Disk, error: &ObjectError, now: Instant) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        self.not_before = Some(now + self.pause.mul_f64(rand::rng().random_range(0.5..1.0)));
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < SAY_EVERY) {
            return;
        }
        self.said = Some(now);
        let sink = disk.sink();
        tracing::error!(%sink, %error, "nothing can be moved to the object store; the disk buffer holds what it may, and it is tried again");
    }
}
