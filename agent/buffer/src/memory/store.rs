//! Storing: what the sink does not take goes to disk.
//!
//! 1. Files are written, synced, renamed and their folder synced before an ack of theirs is released. What fails on the
//!    way leaves the segments where they were.
//! 2. A segment that is settled or divided while it is being written is not safe on disk and not needed there: its part
//!    is never named by a checkpoint.
//! 3. A sink that sends a segment goes on sending it; only its ack is another from then on.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;

use super::disk::{Disk, removed};
use super::{Duty, MemoryTier, OnDisk, STORED_AFTER, Slot, Waiting, WhenFull};
use crate::ack::Posting;
use crate::disk::format::{MAX_PARTS, Packed, Packer, PartSource};
use crate::disk::{DiskFile, DiskStore, StoreError};

/// While one segment is old enough to be stored, so are those of at least this age: fewer and larger files.
const ALONG_AFTER: Duration = Duration::from_secs(2);
/// When the agent ends, what is older than this is stored.
const STORED_AFTER_AT_THE_END: Duration = Duration::from_secs(1);
/// While memory is too full, all of it is stored so often.
const PRESSED_EVERY: Duration = Duration::from_millis(100);
const COLLAPSED_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// The same trouble is told so often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A file, and what lies in its parts.
type Written = (Arc<DiskFile>, Vec<Arc<Slot>>);

/// How storing went so far. Locked while it goes on.
#[derive(Default)]
pub(super) struct Storing {
    not_before: Option<Instant>,
    pause: Duration,
    said: Option<Instant>,
    /// Whether the disk said no the last time, for another reason than that it is full.
    is_broken: bool,
    /// When all was stored the last time because memory was too full.
    pressed: Option<Instant>,
    collapsed: Option<Instant>,
    /// Files of which all that waits was dropped, to make room.
    condemned: Vec<Arc<DiskFile>>,
}

impl MemoryTier {
    /// The disk behind it.
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.get()
    }

    /// Stores what waited for too long, and drops what may not wait. To be called several times a second, and whenever
    /// [`MemoryTier::on_pressed`] says so. Blocks.
    pub fn store_old(&self) {
        let Some(disk) = self.disk.get() else { return };
        let now = Instant::now();
        let (oldest, along) = {
            let mut state = self.lock();
            let is_pressed = std::mem::take(&mut state.is_pressed) || self.is_too_full(&state);
            state.is_urgent = false;
            match (is_pressed && disk.with_storing(|storing| storing.may_press(now)), state.closed) {
                (true, _) => (Duration::ZERO, Duration::ZERO),
                (false, true) => (STORED_AFTER_AT_THE_END, Duration::ZERO),
                (false, false) => (STORED_AFTER, ALONG_AFTER),
            }
        };
        if let Some(max_age) = self.policy().max_age {
            self.drop_too_old(max_age);
        }
        disk.with_storing(|storing| self.make_room(disk, &mut storing.condemned, storing.is_broken));
        self.store(oldest, along, false);
        if disk.with_storing(|storing| storing.may_collapse(now)) {
            self.collapse();
        }
    }

    /// Stores everything: the agent ends. Blocks.
    pub fn store_all(&self) {
        self.store(Duration::ZERO, Duration::ZERO, true);
    }

    pub(super) fn store(&self, oldest: Duration, along: Duration, hurried: bool) {
        let Some(disk) = self.disk.get() else { return };
        let mut storing = disk.storing.lock().unwrap_or_else(PoisonError::into_inner);
        disk.store.tidy();
        let now = Instant::now();
        if !hurried && storing.not_before.is_some_and(|not_before| now < not_before) {
            return;
        }
        let slots = self.unsafe_slots(oldest, along, now);
        if slots.is_empty() {
            return;
        }
        let (files, trouble) = write(disk, &slots);
        match &trouble {
            None => (storing.not_before, storing.pause, storing.is_broken) = (None, Duration::ZERO, false),
            Some(error) => storing.note(disk, error, now, self.policy().when_full),
        }
        if !files.is_empty() {
            self.hand_over(&files);
            self.let_go(&files);
        }
    }

    /// The segments in memory that only their source keeps safe, oldest first, if one of them is old enough.
    fn unsafe_slots(&self, oldest: Duration, along: Duration, now: Instant) -> Vec<Arc<Slot>> {
        let state = self.lock();
        let waiting = state.queue.iter().chain(state.held.values().flatten());
        let in_memory = waiting.filter_map(|waiting| match waiting {
            Waiting::Memory(slot) => Some(slot),
            Waiting::Disk(_) | Waiting::File(_) => None,
        });
        let age = |slot: &Slot| now.saturating_duration_since(slot.arrived);
        let mut is_time = false;
        let mut slots = Vec::new();
        for slot in in_memory.chain(state.leased.values()) {
            if (slot.is_urgent || age(slot) >= along) && matches!(*slot.duty(), Duty::Source(_)) {
                is_time |= slot.is_urgent || age(slot) >= oldest;
                slots.push(Arc::clone(slot));
            }
        }
        drop(state);
        if !is_time {
            slots.clear();
        }
        slots.sort_by_key(|slot| (slot.place, slot.number));
        slots
    }

    /// Releases the acks of what is on disk now.
    fn hand_over(&self, files: &[Written]) {
        for (file, slots) in files {
            let mut needless = 0;
            for (part, slot) in (0_u8..).zip(slots) {
                if !self.hand_over_part(file, part, slot) {
                    needless |= 1 << part;
                }
            }
            if needless != 0 {
                file.forget(needless);
            }
        }
    }

    fn hand_over_part(&self, file: &Arc<DiskFile>, part: u8, slot: &Slot) -> bool {
        let moving = self.ledger.moving();
        let (account, amount) = (&slot.account, slot.amount);
        let mut duty = slot.duty();
        let ack = match std::mem::replace(&mut *duty, Duty::Done) {
            Duty::Source(ack) => ack,
            other => {
                *duty = other;
                return false;
            }
        };
        let late = ack.late();
        late.post(removed(account, amount, file, part));
        *duty = Duty::Disk(OnDisk { ack: late, file: Arc::clone(file), part, places: None });
        drop(duty);
        account.leave_memory(amount);
        file.enter(account, amount);
        file.note_stored(amount);
        ack.post(Posting::Stored { account: Arc::clone(account), amount, file: Arc::clone(file), part });
        drop(moving);
        ack.release();
        true
    }

    /// Gives the memory back of what is on disk now and not at the sink.
    fn let_go(&self, files: &[Written]) {
        let stored: HashSet<u64> =
            files.iter().flat_map(|(_, slots)| slots).map(|slot| slot.number).collect();
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut freed = 0;
        for (waiting, is_held) in (state.queue.iter_mut().map(|waiting| (waiting, false)))
            .chain(state.held.values_mut().flatten().map(|waiting| (waiting, true)))
        {
            let Waiting::Memory(slot) = waiting else { continue };
            if !stored.contains(&slot.number) {
                continue;
            }
            let Some(stub) = slot.stub() else { continue };
            let (before, after) = (slot.memory, stub.memory());
            *waiting = Waiting::Disk(stub);
            freed += before;
            state.used = (state.used + after).saturating_sub(before);
            if is_held {
                state.held_memory = (state.held_memory + after).saturating_sub(before);
            }
        }
        drop(guard);
        if freed > 0 {
            self.tell_room();
        }
    }
}

/// Writes segments into files, as far as they fit, and makes these safe.
fn write(disk: &Disk, slots: &[Arc<Slot>]) -> (Vec<Written>, Option<StoreError>) {
    let store = &disk.store;
    let mut files = Vec::new();
    let mut trouble = None;
    let mut packed = match Packing::new(slots) {
        Ok(packing) => packing,
        Err(error) => return (files, Some(StoreError::TooLarge(error))),
    };
    loop {
        let group = match packed.next(store.file_bytes()) {
            Ok(Some(group)) => group,
            Ok(None) => break,
            Err(error) => {
                trouble = Some(StoreError::TooLarge(error));
                break;
            }
        };
        match write_group(store, group, &mut files) {
            Ok(()) => {}
            Err(error) => {
                trouble = Some(error);
                break;
            }
        }
    }
    if files.is_empty() {
        return (files, trouble);
    }
    if let Err(error) = store.sync() {
        // Whether they survive a power failure is not known, so they are not there.
        for (file, _) in &files {
            file.forget(u64::MAX);
        }
        return (Vec::new(), Some(error));
    }
    (files, trouble)
}

/// Writes segments that are to share a file; into several where the bound is near.
fn write_group(store: &Arc<DiskStore>, group: Group<'_>, files: &mut Vec<Written>) -> Result<(), StoreError> {
    let Group { mut slots, packed } = group;
    let mut parts = packed.as_slice();
    let mut count = parts.len();
    while !parts.is_empty() {
        let (first, rest) = parts.split_at_checked(count).unwrap_or((parts, &[]));
        match store.write(first) {
            Ok(file) => {
                let (written, behind) = slots.split_at_checked(first.len()).unwrap_or((slots, &[]));
                files.push((file, written.to_vec()));
                (slots, parts) = (behind, rest);
            }
            // The last file within the bound takes fewer.
            Err(StoreError::Full | StoreError::TooLarge(_)) if first.len() > 1 => count = first.len() / 2,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Segments, packed one by one and gathered until a file is full.
struct Packing<'a> {
    packer: Packer,
    rest: &'a [Arc<Slot>],
    /// What did not fit into the last file.
    carried: Option<Packed<'a>>,
}

/// Segments that share a file.
struct Group<'a> {
    slots: &'a [Arc<Slot>],
    packed: Vec<Packed<'a>>,
}

impl<'a> Packing<'a> {
    fn new(slots: &'a [Arc<Slot>]) -> io::Result<Packing<'a>> {
        Ok(Packing { packer: Packer::new()?, rest: slots, carried: None })
    }

    /// The segments of the next file, which is to have so many bytes at the most; at least one.
    fn next(&mut self, most: u64) -> io::Result<Option<Group<'a>>> {
        let mut packed: Vec<Packed<'a>> = Vec::new();
        let mut bytes = 0;
        for slot in self.rest {
            if packed.len() == MAX_PARTS {
                break;
            }
            let part = match self.carried.take() {
                Some(carried) => carried,
                None => self.packer.pack(slot.source())?,
            };
            bytes += part.bytes();
            if bytes > most && !packed.is_empty() {
                self.carried = Some(part);
                break;
            }
            packed.push(part);
        }
        let (slots, rest) = self.rest.split_at_checked(packed.len()).unwrap_or((self.rest, &[]));
        self.rest = rest;
        Ok((!packed.is_empty()).then_some(Group { slots, packed }))
    }
}

// === impl Storing ===

impl Storing {
    /// There is room again: nothing is waited for.
    pub(super) fn forget_pause(&mut self) {
        if !self.is_broken {
            (self.not_before, self.pause) = (None, Duration::ZERO);
        }
    }

    /// Small files for every single segment would help nobody.
    fn may_press(&mut self, now: Instant) -> bool {
        let is_due = self.pressed.is_none_or(|last| now.saturating_duration_since(last) >= PRESSED_EVERY);
        if is_due {
            self.pressed = Some(now);
        }
        is_due
    }

    fn may_collapse(&mut self, now: Instant) -> bool {
        let is_due = self.collapsed.is_none_or(|last| now.saturating_duration_since(last) >= COLLAPSED_EVERY);
        if is_due {
            self.collapsed = Some(now);
        }
        is_due
    }

    fn note(&mut self, disk: &Disk, error: &StoreError, now: Instant, when_full: WhenFull) {
        self.is_broken = !matches!(error, StoreError::Full);
        // Who drops the oldest has room again as soon as their files are gone.
        let longest = match (self.is_broken, when_full) {
            (false, WhenFull::DropOldest) => FIRST_PAUSE,
            _ => LAST_PAUSE,
        };
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, longest);
        self.not_before = Some(now + self.pause.mul_f64(rand::rng().random_range(0.5..1.0)));
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < SAY_EVERY) {
            return;
        }
        self.said = Some(now);
        let sink = disk.sink();
        match error {
            StoreError::Full if when_full == WhenFull::DropOldest => {
                tracing::warn!(%sink, "the sink's disk buffer is full; the oldest events are dropped to make room");
            }
            StoreError::Full => {
                let bound = disk.store.bound();
                tracing::warn!(%sink, bound, "the sink's disk buffer is full; what waits stays in memory, and reading stops when that is full; see to the sink, or raise disk in its buffer");
            }
            StoreError::Io { .. } | StoreError::TooLarge(_) => {
                tracing::error!(%sink, %error, "the sink's disk buffer cannot be written; what waits stays in memory and is tried again; free some space or see to the disk");
            }
        }
    }
}

impl Slot {
    fn source(&self) -> PartSource<'_> {
        PartSource {
            pipeline: self.account.pipeline(),
            amount: self.amount,
            documents: &self.documents,
            targets: &self.targets,
        }
    }
}
