//! The thread that brings files of buffers to their object stores, and removes what was delivered from there.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use weir_buffer::disk::StoredParts;
use weir_buffer::memory::{Goal, MemoryTier};
use weir_pipeline::checkpoint::Checkpoints;

/// How often to look whether something is to be moved or removed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Moves files while the agent runs.
pub struct Mover {
    shared: Arc<Shared>,
}

struct Shared {
    checkpoints: Arc<Checkpoints>,
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[derive(Default)]
struct State {
    buffers: Vec<Arc<MemoryTier>>,
    /// How often everything was asked to be moved, and how often it was tried since.
    asked: u64,
    done: u64,
    has_ended: bool,
}

/// What is left of the buffers' disks after everything was asked to go to the object stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drained {
    /// Whether there is an object store at all.
    pub has_object_store: bool,
    /// Bytes that still lie on the disk before an object store.
    pub disk_bytes: u64,
    /// Bytes that lie in object stores.
    pub object_bytes: u64,
}

// === impl Mover ===

impl Mover {
    /// Starts it with nothing to look after.
    pub fn start(checkpoints: Arc<Checkpoints>) -> io::Result<Mover> {
        let shared = Arc::new(Shared {
            checkpoints,
            state: Mutex::default(),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        // Nobody waits for it longer than its patience at the end: a store that hangs holds nothing up.
        thread::Builder::new().name("mover".to_owned()).spawn(move || of_thread.work())?;
        Ok(Mover { shared })
    }

    /// From now on it looks after these, as far as they have an object store.
    pub fn look_after(&self, buffers: Vec<Arc<MemoryTier>>) {
        self.shared.lock().buffers = buffers;
        self.shared.changed.notify_all();
    }

    /// What asks for everything to be moved.
    pub fn drain(&self) -> Drain {
        Drain(Arc::clone(&self.shared))
    }

    /// Ends it, after it has tried to move everything where `patience` is more than nothing.
    pub fn finish(self, patience: Duration) {
        if patience > Duration::ZERO {
            self.drain().everything(patience);
        }
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        let until = Instant::now() + LOOK_EVERY;
        let mut state = self.shared.lock();
        while !state.has_ended && Instant::now() < until {
            state = self.shared.wait(state, LOOK_EVERY);
        }
    }
}

/// Asks for everything to be moved.
#[derive(Clone)]
pub struct Drain(Arc<Shared>);

// === impl Drain ===

impl Drain {
    /// Stores what lies in memory, then moves everything on disk to the object stores, and returns when that was tried,
    /// or after this time. Blocks.
    pub fn everything(&self, patience: Duration) -> Drained {
        let buffers: Vec<_> = {
            let state = self.0.lock();
            state.buffers.iter().filter(|buffer| has_objects(buffer)).cloned().collect()
        };
        if !buffers.is_empty() {
            buffers.iter().for_each(|buffer| buffer.store_all());
            let until = Instant::now() + patience;
            let mut state = self.0.lock();
            state.asked += 1;
            let asked = state.asked;
            self.0.changed.notify_all();
            while state.done < asked && !state.has_ended {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state = self.0.wait(state, left);
            }
        }
        let mut drained = Drained { has_object_store: !buffers.is_empty(), ..Drained::default() };
        for disk in buffers.iter().filter_map(|buffer| buffer.disk()) {
            drained.disk_bytes += disk.store().used();
            drained.object_bytes += disk.store().in_objects().0;
        }
        drained
    }
}

fn has_objects(buffer: &MemoryTier) -> bool {
    buffer.disk().is_some_and(|disk| disk.store().objects().is_some())
}

// === impl Shared ===

impl Shared {
    fn work(&self) {
        while !self.is_over.load(Ordering::Acquire) {
            let (buffers, asked, is_asked) = {
                let state = self.lock();
                (state.buffers.clone(), state.asked, state.asked > state.done)
            };
            let goal = if is_asked { Goal::Everything } else { Goal::HighWater };
            let (mut has_more, mut is_early) = (false, false);
            for buffer in buffers.iter().filter(|buffer| has_objects(buffer)) {
                let moved = buffer.relocate(goal, &|| self.named(buffer));
                has_more |= moved.has_more;
                is_early |= moved.is_early;
                if moved.files > 0 {
                    self.free(buffer);
                }
            }
            drop(buffers);
            let mut state = self.lock();
            if is_asked && !has_more && !is_early {
                state.done = asked;
                self.changed.notify_all();
            }
            let is_idle = is_early || state.asked == state.done;
            if !has_more && is_idle && !self.is_over.load(Ordering::Acquire) {
                drop(self.wait(state, LOOK_EVERY));
            }
        }
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// What of a buffer stands in the checkpoint on the disk.
    fn named(&self, buffer: &MemoryTier) -> BTreeMap<u64, StoredParts> {
        let sink = buffer.disk().map(|disk| disk.sink());
        sink.map(|sink| self.checkpoints.durably_stored(sink)).unwrap_or_default()
    }

    /// Files leave the disk when neither the checkpoints nor those before them say that they are there.
    fn free(&self, buffer: &MemoryTier) {
        for _ in 0..2 {
            // What cannot be written is said by who writes it every second; the files stay until then.
            if self.checkpoints.save().is_err() {
                return;
            }
        }
        buffer.note_room_on_disk();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, patience: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
    }
}
