//! The gate between connections, which wait, and the source's thread, which works.
//!
//! 1. Memory for messages is bounded: who has no room for one does not read it. What a connection holds of a message and
//!    what waits here count together, until the message is in a batch.
//! 2. A message is taken once: one that is sent again while it is on its way, or within [`WINDOW`] after it was safe, is
//!    answered without being read again.
//! 3. Nothing is forgotten while its sender waits: a message ends as safe or as not safe.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use weir_pipeline::source::SourceMetrics;

use crate::intake::{Intake, NotSafe, Parcel, Refusal, Safe};
use crate::pace::Pace;
use crate::window::{Known, Window};

/// Memory is given out in pieces of so many bytes; a message takes at least one, which bounds how many can wait.
const PIECE_BYTES: usize = 1024;

/// What connections share.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    memory: Arc<Semaphore>,
    pieces: usize,
    pace: Option<Pace>,
    queue: Mutex<Queue>,
    /// For the source's thread.
    arrived: Condvar,
    window: Arc<Mutex<Window>>,
    metrics: Arc<SourceMetrics>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Arrived>,
    is_closed: bool,
}

/// A message that was decoded, for the source's thread.
pub(crate) struct Arrived {
    pub parcel: Parcel,
    /// Released when all of it is durable.
    pub duty: Duty,
    /// Held until all of it is in a batch.
    pub room: Room,
}

/// The memory that a message takes.
pub struct Room(#[expect(dead_code, reason = "what it holds goes with it")] OwnedSemaphorePermit);

/// The duty to make a message safe, in shares like that of a batch: with the last share its sender is answered, and a
/// share that is dropped without release says that it is not safe.
pub(crate) struct Duty {
    message: Arc<Pending>,
    released: bool,
}

struct Pending {
    left: AtomicU64,
    window: Arc<Mutex<Window>>,
    key: Option<u64>,
    answer: Mutex<Option<oneshot::Sender<()>>>,
}

// === impl Gate ===

impl Gate {
    /// A gate with so much memory for messages.
    pub fn new(memory: usize, bytes_per_second: Option<u64>, metrics: Arc<SourceMetrics>) -> Gate {
        let pieces = memory.div_ceil(PIECE_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Gate(Arc::new(Shared {
            memory: Arc::new(Semaphore::new(pieces)),
            pieces,
            pace: bytes_per_second.map(Pace::new),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            window: Arc::default(),
            metrics,
        }))
    }

    /// The messages that wait, in the order in which they came; waits for one, but not for long. `None` when there is
    /// none.
    pub(crate) fn next(&self, patience: Duration) -> Option<Arrived> {
        let queue = self.0.lock();
        let waits = |queue: &mut Queue| queue.messages.is_empty() && !queue.is_closed;
        let waited = self.0.arrived.wait_timeout_while(queue, patience, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.messages.pop_front()
    }

    /// Takes no more messages; those that wait are not safe.
    pub(crate) fn close(&self) {
        let mut queue = self.0.lock();
        queue.is_closed = true;
        let left = std::mem::take(&mut queue.messages);
        drop(queue);
        self.0.memory.close();
        drop(left);
    }

    pub(crate) fn metrics(&self) -> &SourceMetrics {
        &self.0.metrics
    }
}

impl Intake for Gate {
    type Room = Room;

    async fn room(&self, bytes: usize) -> Result<Room, NotSafe> {
        if let Some(pace) = &self.0.pace {
            pace.wait(bytes).await;
        }
        let pieces = bytes.div_ceil(PIECE_BYTES).clamp(1, self.0.pieces) as u32;
        let permit = Arc::clone(&self.0.memory).acquire_many_owned(pieces).await;
        permit.map(Room).map_err(|_| NotSafe)
    }

    fn push(&self, parcel: Parcel, room: Room) -> Safe {
        let (answer, answered) = oneshot::channel();
        let safe = async move { answered.await.map_err(|_| NotSafe) };
        let shared = &self.0;
        shared.metrics.receiving.messages.fetch_add(1, Ordering::Relaxed);
        let known = match parcel.key() {
            Some(key) => shared.window().meet(key, Instant::now(), answer),
            None => Known::No(answer),
        };
        let Known::No(answer) = known else {
            shared.metrics.receiving.repeated.fetch_add(1, Ordering::Relaxed);
            return Box::pin(safe);
        };
        let duty = Duty::new(parcel.key(), answer, &shared.window);
        if parcel.is_empty() {
            duty.release();
            return Box::pin(safe);
        }
        let mut queue = shared.lock();
        // What comes too late is dropped with its duty, behind the lock.
        let late = if queue.is_closed {
            Some((parcel, duty))
        } else {
            queue.messages.push_back(Arrived { parcel, duty, room });
            None
        };
        drop(queue);
        drop(late);
        shared.arrived.notify_one();
        Box::pin(safe)
    }

    fn count(&self, what: Refusal, events: u64) {
        self.0.metrics.receiving.refuse(what, events.max(1));
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Duty ===

impl Duty {
    fn new(key: Option<u64>, answer: oneshot::Sender<()>, window: &Arc<Mutex<Window>>) -> Duty {
        let (left, window) = (AtomicU64::new(1), Arc::clone(window));
        let message = Pending { left, window, key, answer: Mutex::new(Some(answer)) };
        Duty { message: Arc::new(message), released: false }
    }

    /// Another share.
    pub fn share(&self) -> Duty {
        self.message.left.fetch_add(1, Ordering::Relaxed);
        Duty { message: Arc::clone(&self.message), released: false }
    }

    /// This share's part is durable.
    pub fn release(mut self) {
        self.released = true;
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        let pending = &self.message;
        if !self.released {
            pending.end(false);
        }
        if pending.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            pending.end(true);
        }
    }
}

impl Pending {
    /// The first end holds.
    fn end(&self, safe: bool) {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(answer) = answer else { return };
        let waiting = self.key.map(|key| {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.end(key, safe, Instant::now())
        });
        if safe {
            for answer in waiting.into_iter().flatten().chain([answer]) {
                // Nobody may be left to hear it.
                let _ = answer.send(());
            }
        }
    }
}
