//! The buffer in front of one sink: a bounded queue of segments in memory, and files for what the sink does not take.
//!
//! 1. The memory's bound is in bytes and counts what is queued, what the sink holds, what workers reserved for batches
//!    that they are encoding, and what the buffer keeps to find a segment on disk.
//! 2. A reservation is refused when it does not fit, unless the memory is empty: a segment larger than the bound must
//!    still pass. With a disk, memory within its bound counts as empty where only what the sink holds is in it, and what
//!    the buffer keeps to find segments on disk: neither makes room while the sink takes nothing, and the disk is there
//!    for just that.
//! 3. Segments leave in the order in which they came, wherever they lie. One is counted until its [`Lease`] is settled;
//!    a lease that is dropped goes back to its place.
//! 4. Several leases may be out at once, and a lease can be divided. What a sink cannot bring to one of its places for
//!    now is held here under that place's key; it counts as before, and its acks stay with it.
//! 5. With a disk, what is older than [`STORED_AFTER`] is written there, wherever it is: queued, held, or at the sink.
//!    Its ack is released then; what becomes of it later is booked with a late share, so it becomes durable after that.
//! 6. Reading back waits for room in memory, of which a part is kept free for it, unless nothing else is out.
//! 7. While the sink takes nothing, what is beyond the high-water mark is stored at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::ack::Ack;
use crate::disk::DiskFile;
use crate::ledger::{Account, Amount, Ledger};
use crate::segment::{Contents, Documents, Segment, Targets};

mod adopt;
mod collapse;
mod discard;
mod disk;
mod lease;
mod policy;
mod put_back;
mod read;
mod relocate;
mod store;
mod take;
mod waiting;

pub use adopt::{Inheritance, Inherited};
pub use disk::{Disk, DiskSettings};
pub use lease::Lease;
pub use policy::{Order, Policy, WhenFull};
pub use put_back::PutBackError;
pub use relocate::{Goal, Relocated};
pub use take::Held;

/// Memory of a sink without `buffer:`.
pub const DEFAULT_BOUND: u64 = 16 * 1024 * 1024;
/// What is older than this is written to disk, where there is one, so that it lies there within 5 s.
pub const STORED_AFTER: Duration = Duration::from_secs(4);
/// A sink that has taken nothing for so long is not waited for when memory fills.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// What a segment on disk takes of memory: its entry in the queue and its share of an ack.
const STUB_BYTES: u64 = 256;
/// A read that takes longer is not waited for any more. It goes on.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// The queue of segments in front of one sink, with the accounts of all pipelines that lead there.
pub struct MemoryTier {
    bound: AtomicU64,
    policy: Mutex<Policy>,
    read_patience: Duration,
    ledger: Arc<Ledger>,
    /// Once there is one, it stays.
    disk: OnceLock<Disk>,
    state: Mutex<State>,
    arrived: Notify,
    /// For who reads from disk.
    room_made: Notify,
    reading: tokio::sync::Mutex<Option<read::Reading>>,
    /// Told whenever room was made.
    room: Mutex<Option<Tell>>,
    /// Told when something is to be stored now.
    pressed: Mutex<Option<Tell>>,
}

/// Tells somebody something.
type Tell = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    /// The next number of a slot or a stub, and the next place in the order.
    next: u64,
    queue: VecDeque<Waiting>,
    /// By the key of the place that takes nothing for now, oldest first.
    held: BTreeMap<Arc<str>, VecDeque<Waiting>>,
    held_memory: u64,
    /// What the sink works on.
    leased: BTreeMap<u64, Arc<Slot>>,
    leased_memory: u64,
    used: u64,
    /// So much is held that it is to be stored at once.
    is_pressed: bool,
    /// Something waits that is to be stored at once, whatever the sink does.
    is_urgent: bool,
    /// The largest reservation that found no room since the last look.
    refused: u64,
    /// When the sink last brought something to its end, or began to have something to do.
    progress: Option<Instant>,
    turns: take::Turns,
    closed: bool,
}

/// A segment in memory.
struct Slot {
    number: u64,
    /// Its place in the order; what was one once has the same.
    place: u64,
    documents: Arc<Documents>,
    targets: Targets,
    amount: Amount,
    account: Arc<Account>,
    memory: u64,
    arrived: Instant,
    since: SystemTime,
    /// To be stored at once.
    is_urgent: bool,
    /// Locked last: nobody who holds it waits for another lock.
    duty: Mutex<Duty>,
}

/// What keeps a segment safe.
enum Duty {
    /// The place it was read from: its ack is out.
    Source(Ack),
    /// A file.
    Disk(OnDisk),
    /// It has become something else, or nobody needs it any more.
    Done,
}

/// Where a segment lies on disk.
struct OnDisk {
    /// What becomes of it is booked here.
    ack: Ack,
    file: Arc<DiskFile>,
    part: u8,
    /// Which documents of the part they are; `None` for all.
    places: Option<Vec<u32>>,
}

/// A segment that waits.
enum Waiting {
    Memory(Arc<Slot>),
    Disk(Stub),
    File(disk::AdoptedFile),
}

/// A segment that lies on disk only.
struct Stub {
    number: u64,
    place: u64,
    amount: Amount,
    account: Arc<Account>,
    /// What it takes once it is read.
    wanted: u64,
    since: SystemTime,
    on_disk: OnDisk,
    /// Reads that failed.
    failures: u32,
}

// === impl MemoryTier ===

impl MemoryTier {
    /// An empty buffer that holds `bound` bytes in memory and nothing on disk.
    pub fn new(bound: u64, ledger: Arc<Ledger>) -> Arc<MemoryTier> {
        MemoryTier::with_disk(bound, ledger, None)
    }

    /// A buffer with what an earlier run left on its disk.
    pub fn with_disk(bound: u64, ledger: Arc<Ledger>, disk: Option<Disk>) -> Arc<MemoryTier> {
        let tier = MemoryTier {
            bound: AtomicU64::new(bound),
            policy: Mutex::default(),
            read_patience: READ_PATIENCE,
            ledger,
            disk: OnceLock::new(),
            state: Mutex::default(),
            arrived: Notify::new(),
            room_made: Notify::new(),
            reading: tokio::sync::Mutex::default(),
            room: Mutex::default(),
            pressed: Mutex::default(),
        };
        if let Some(disk) = disk {
            tier.put_disk(disk);
        }
        Arc::new(tier)
    }

    /// Puts a disk behind it, with what an earlier run left there. One that has a disk keeps that.
    pub fn put_disk(&self, mut disk: Disk) {
        let adopted = std::mem::take(&mut disk.adopted);
        if self.disk.set(disk).is_err() {
            return;
        }
        let mut state = self.lock();
        adopted.into_iter().for_each(|file| state.queue_file(file));
        drop(state);
        self.arrived.notify_one();
    }

    /// Gives the memory another bound. What lies beyond it leaves in its turn.
    pub fn set_bound(&self, bound: u64) {
        self.bound.store(bound, Ordering::Relaxed);
        self.tell_room();
    }

    /// Sets who is told when room was made.
    pub fn on_room(&self, tell: Arc<dyn Fn() + Send + Sync>) {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    }

    /// Sets who is told when something is to be stored now: who calls [`MemoryTier::store_old`].
    pub fn on_pressed(&self, tell: Arc<dyn Fn() + Send + Sync>) {
        *self.pressed.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell);
    }

    /// Sets `bytes` aside, or says that they do not fit now.
    pub fn reserve(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        // While segments wait on disk a quarter is theirs to be read into.
        let bound = match state.queue.front() {
            Some(Waiting::Disk(_) | Waiting::File(_)) => self.bound() / 4 * 3,
            _ => self.bound(),
        };
        if state.used + bytes > bound && !self.is_empty(&state) {
            let is_first = state.refused == 0;
            state.refused = state.refused.max(bytes);
            let is_pressed = is_first && self.disk.get().is_some() && self.is_too_full(&state);
            drop(state);
            if is_pressed {
                self.tell_pressed();
            }
            return false;
        }
        state.used += bytes;
        true
    }

    /// Sets `bytes` aside, whether they fit or not: for what must not wait, and is bounded elsewhere.
    pub fn reserve_beyond(&self, bytes: u64) {
        self.lock().used += bytes;
    }

    /// Gives a reservation back, without telling anybody: for who looks for room itself.
    pub fn unreserve(&self, reserved: u64) {
        let mut state = self.lock();
        state.used = state.used.saturating_sub(reserved);
    }

    /// Queues a segment in place of a reservation. The caller holds [`Ledger::moving`], and looks for room again
    /// itself where the segment is smaller than the reservation.
    pub fn push(&self, segment: Segment, account: &Arc<Account>, reserved: u64) {
        self.enqueue(segment, account, reserved, false);
    }

    /// As [`MemoryTier::push`], of what its source does not keep: it is stored at once where there is a disk.
    pub fn push_urgent(&self, segment: Segment, account: &Arc<Account>, reserved: u64) {
        self.enqueue(segment, account, reserved, true);
    }

    fn enqueue(&self, segment: Segment, account: &Arc<Account>, reserved: u64, is_urgent: bool) {
        account.enter_memory(segment.amount);
        if self.disk.get().is_some() {
            // So that the account has a line for the disk before anything lies there.
            account.enter_disk(Amount::default());
        }
        let mut state = self.lock();
        let place = state.next;
        let Segment { documents, targets, amount, ack } = segment;
        let number = state.number();
        let mut slot = Slot::new(number, place, (documents, targets, amount), account, Duty::Source(ack));
        slot.is_urgent = is_urgent;
        if state.queue.is_empty() && state.leased.is_empty() {
            state.progress = Some(slot.arrived);
        }
        state.used = (state.used + slot.memory).saturating_sub(reserved);
        state.queue.push_back(Waiting::Memory(Arc::new(slot)));
        state.is_urgent |= is_urgent;
        let is_pressed = self.disk.get().is_some() && (is_urgent || self.is_too_full(&state));
        drop(state);
        self.arrived.notify_one();
        if is_pressed {
            self.tell_pressed();
        }
    }

    /// Whether nothing is in memory that could leave it before the sink takes something.
    fn is_empty(&self, state: &State) -> bool {
        // What is kept to find segments grows with each that passes; beyond the bound none does.
        if self.disk.get().is_none() || state.used > self.bound() {
            return state.used == 0;
        }
        let waiting = state.queue.iter().chain(state.held.values().flatten());
        let stubs = waiting.filter(|waiting| !matches!(waiting, Waiting::Memory(_))).map(Waiting::memory);
        state.used <= state.leased_memory + stubs.sum::<u64>()
    }

    /// Whether memory is beyond its high-water mark and the sink does nothing about it.
    fn is_too_full(&self, state: &State) -> bool {
        let is_stuck = state.progress.is_some_and(|progress| progress.elapsed() > STUCK_AFTER);
        is_stuck && (state.refused > 0 || state.used > self.bound() / 2)
    }

    /// Keeps what its place does not take for now, behind what is held for it already.
    pub fn hold(&self, key: Arc<str>, lease: Lease) {
        let slot = lease.hand_over();
        let mut state = self.lock();
        state.end_lease(&slot);
        let waiting = state.at_rest(slot);
        state.held_memory += waiting.memory();
        state.held.entry(key).or_default().push_back(waiting);
        // What is held is not under way: on disk it takes no memory from the others.
        state.is_pressed |= self.disk.get().is_some() && state.held_memory > self.bound() / 4;
    }

    /// Puts everything that is held under this key back into the queue, in its old order: the place takes documents
    /// again. What lies on disk is read in its turn, so memory stays within its bound.
    pub fn release_held(&self, key: &str) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(lane) = state.held.remove(key) else { return };
        for waiting in lane {
            state.held_memory = state.held_memory.saturating_sub(waiting.memory());
            let at = state.queue.partition_point(|other| other.place() <= waiting.place());
            state.queue.insert(at, waiting);
        }
        drop(guard);
        self.arrived.notify_one();
    }

    /// What is held, by key.
    pub fn held(&self) -> Vec<(Arc<str>, Amount)> {
        let state = self.lock();
        let sum = |lane: &VecDeque<Waiting>| {
            let mut sum = Amount::default();
            for waiting in lane {
                sum += waiting.amount();
            }
            sum
        };
        state.held.iter().map(|(key, lane)| (Arc::clone(key), sum(lane))).collect()
    }

    /// Bytes of memory in use by what is held.
    pub fn held_memory(&self) -> u64 {
        self.lock().held_memory
    }

    /// Nothing will be pushed any more; [`MemoryTier::take`] ends when the queue is empty.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
        self.room_made.notify_one();
    }

    /// What is pushed from now on is waited for again, after a [`MemoryTier::close`].
    pub fn open_again(&self) {
        self.lock().closed = false;
    }

    /// How many entries wait for the sink: segments, and files that are not looked into yet.
    pub fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// Bytes of memory in use, reservations included.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Bytes of memory that it may hold.
    pub fn bound(&self) -> u64 {
        self.bound.load(Ordering::Relaxed)
    }

    /// How full it is, memory and disk together, from 0 to 1.
    pub fn pressure(&self) -> f32 {
        let store = self.disk.get().map(|disk| &disk.store);
        let on_disk = store.map_or((0, 0), |store| (store.used(), store.bound()));
        let (used, bound) = (self.used() + on_disk.0, self.bound() + on_disk.1);
        (used as f32 / bound as f32).min(1.0)
    }

    /// Since when the oldest segment waits, wherever it is.
    pub fn oldest(&self) -> Option<SystemTime> {
        let state = self.lock();
        let waiting = state.queue.iter().chain(state.held.values().flatten());
        let waiting = waiting.map(Waiting::since);
        waiting.chain(state.leased.values().map(|slot| slot.since)).min()
    }

    fn tell_room(&self) {
        self.room_made.notify_one();
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tell) = room {
            tell();
        }
    }

    fn tell_pressed(&self) {
        let pressed = self.pressed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tell) = pressed {
            tell();
        }
    }

    /// A lease that nobody settled: back to its place.
    fn give_back(&self, slot: Arc<Slot>) {
        let mut state = self.lock();
        state.end_lease(&slot);
        let waiting = state.at_rest(slot);
        let at = state.queue.partition_point(|other| other.place() < waiting.place());
        state.queue.insert(at, waiting);
        drop(state);
        self.arrived.notify_one();
        self.room_made.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("MemoryTier")
            .field("bound", &self.bound())
            .field("used", &state.used)
            .field("segments", &state.queue.len())
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// A file that an earlier run or another agent left: behind what waits.
    fn queue_file(&mut self, mut file: disk::AdoptedFile) {
        file.number = self.number();
        file.place = file.number;
        self.used += STUB_BYTES;
        self.queue.push_back(Waiting::File(file));
    }

    fn end_lease(&mut self, slot: &Slot) {
        if self.leased.remove(&slot.number).is_some() {
            self.leased_memory = self.leased_memory.saturating_sub(slot.memory);
        }
    }

    /// A segment that the sink does not work on any more: where it lies on disk, memory is not needed for it.
    fn at_rest(&mut self, slot: Arc<Slot>) -> Waiting {
        match slot.stub() {
            Some(stub) => {
                self.used = (self.used + stub.memory()).saturating_sub(slot.memory);
                Waiting::Disk(stub)
            }
            None => Waiting::Memory(slot),
        }
    }

    /// The oldest that is held under this key, where it lies in memory.
    fn pop_held(&mut self, key: &str) -> Option<Arc<Slot>> {
        let lane = self.held.get_mut(key)?;
        let Some(Waiting::Memory(slot)) = lane.pop_front_if(|first| matches!(first, Waiting::Memory(_)))
        else {
            return None;
        };
        if lane.is_empty() {
            self.held.remove(key);
        }
        self.held_memory = self.held_memory.saturating_sub(slot.memory);
        Some(slot)
    }

    /// Takes the entry with this number out of its place.
    fn remove(&mut self, number: u64) -> Option<(Waiting, Spot)> {
        for (key, lane) in &mut self.held {
            if let Some(at) = lane.iter().position(|waiting| waiting.number() == number) {
                let waiting = lane.remove(at)?;
                let spot = Spot { key: Some(Arc::clone(key)), at };
                let memory = waiting.memory();
                self.held_memory = self.held_memory.saturating_sub(memory);
                self.used = self.used.saturating_sub(memory);
                return Some((waiting, spot));
            }
        }
        let at = self.queue.iter().position(|waiting| waiting.number() == number)?;
        let waiting = self.queue.remove(at)?;
        self.used = self.used.saturating_sub(waiting.memory());
        Some((waiting, Spot { key: None, at }))
    }

    /// Puts entries in the place of one that was removed just now.
    fn insert(&mut self, spot: Spot, entries: Vec<Waiting>) {
        let memory: u64 = entries.iter().map(Waiting::memory).sum();
        self.used += memory;
        let queue = match spot.key {
            None => &mut self.queue,
            Some(key) => {
                if entries.is_empty() && self.held.get(&key).is_some_and(VecDeque::is_empty) {
                    self.held.remove(&key);
                    return;
                }
                self.held_memory += memory;
                self.held.entry(key).or_default()
            }
        };
        for (offset, entry) in entries.into_iter().enumerate() {
            queue.insert((spot.at + offset).min(queue.len()), entry);
        }
    }
}

/// Where an entry waited: in the lane of a key or in the queue, and at which index.
struct Spot {
    key: Option<Arc<str>>,
    at: usize,
}

// === impl Slot ===

impl Slot {
    fn new(
        number: u64,
        place: u64,
        (documents, targets, amount): Contents,
        account: &Arc<Account>,
        duty: Duty,
    ) -> Slot {
        let memory = documents.memory() + targets.memory();
        Slot {
            number,
            place,
            documents,
            targets,
            amount,
            account: Arc::clone(account),
            memory,
            arrived: Instant::now(),
            since: SystemTime::now(),
            is_urgent: false,
            duty: Mutex::new(duty),
        }
    }

    /// One that is made of another is as old as that.
    fn take_after(&mut self, old: &Slot) {
        (self.arrived, self.since, self.is_urgent) = (old.arrived, old.since, old.is_urgent);
    }

    fn duty(&self) -> MutexGuard<'_, Duty> {
        self.duty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_duty(&self) -> Duty {
        std::mem::replace(&mut *self.duty(), Duty::Done)
    }

    /// What is left when the documents are let go; `None` for what does not lie on disk.
    fn stub(&self) -> Option<Stub> {
        let mut duty = self.duty();
        let on_disk = match std::mem::replace(&mut *duty, Duty::Done) {
            Duty::Disk(on_disk) => on_disk,
            other => {
                *duty = other;
                return None;
            }
        };
        Some(Stub {
            number: self.number,
            place: self.place,
            amount: self.amount,
            account: Arc::clone(&self.account),
            wanted: self.memory,
            since: self.since,
            on_disk,
            failures: 0,
        })
    }
}

#[cfg(test)]
mod tests;
