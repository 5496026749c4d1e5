//! Taps: somebody looks at events on their way through the pipelines of a living agent.
//!
//! 1. While nobody looks, a batch costs one relaxed load.
//! 2. Who looks holds nothing up. So many events and bytes are looked at in each tenth of a second, and what finds no
//!    room in the queue to who looks is left out. Both are counted.
//! 3. Where only some events are wanted, more are looked at than are shown; and those of streams that cannot be wanted
//!    are not looked at, and count for nothing.
//! 4. A tap knows pipelines and stages by their names, and so outlives generations.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio::sync::mpsc;
use weir_event::batch::Batch;
use weir_event::identity::EventId;
use weir_event::stream::Stream;
use weir_event::transform::ReasonClass;

use crate::pipeline::{FaultPolicy, Pipeline};

mod looking;

pub(crate) use looking::{At, Looking, Place};

/// So many may look at once.
pub const MOST_TAPS: usize = 4;

/// What is shown, and what is looked at, is bounded in each of these.
const WINDOW: Duration = Duration::from_millis(100);
const EVENTS_IN_WINDOW: u64 = 200;
/// Of the events as they were read. One larger event is looked at in a window of its own.
const BYTES_IN_WINDOW: u64 = 512 << 10;
/// The same of what is looked at to find what is wanted: each takes a few microseconds of a worker.
const LOOKED_AT_IN_WINDOW: u64 = 1_000;
const BYTES_LOOKED_AT_IN_WINDOW: u64 = 2 << 20;
/// What waits for who looks.
const QUEUE: usize = 1_024;
const QUEUE_BYTES: u64 = 4 << 20;

/// Where events are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// As they were read, before any stage.
    Source,
    /// Behind the stage of this name, with what it did.
    Stage(String),
    /// At their end in the pipeline, wherever that is: behind the last stage, or where a stage dropped them.
    End,
}

/// Which events somebody wants to see.
pub trait Wanted: std::fmt::Debug + Send + Sync {
    /// Whether one of this stream may be. Asked once for a batch, before anything is made of its events.
    fn may_be_of(&self, stream: &Stream) -> bool;

    /// Whether the one with this document is.
    fn is(&self, document: &[u8]) -> bool;
}

/// What somebody wants to see.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Events of this pipeline; `None` for all.
    pub pipeline: Option<String>,
    /// Where.
    pub after: After,
    /// Which share of them, by chance: 0 to 1.
    pub share: f64,
    /// Which of that share; `None` for all.
    pub only: Option<Arc<dyn Wanted>>,
    /// Whether the text as it was read is wanted too.
    pub with_text: bool,
}

/// An event that was looked at.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// What became of it there.
    pub verdict: Verdict,
    /// Its id.
    pub id: EventId,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// Where it came from.
    pub stream: Arc<Stream>,
    /// A stage made it, of the event with this stream.
    pub is_made: bool,
    /// The document: as it came to the stage that dropped it, else as it is behind where it was looked at.
    pub document: Vec<u8>,
    /// The text as it was read; absent where nobody wants it, and for an event that a stage made.
    pub text: Option<Vec<u8>>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was read.
    Read,
    /// It goes on.
    Kept,
    /// A stage dropped it.
    Dropped {
        /// The stage.
        stage: Arc<str>,
        /// The reason's name.
        reason: String,
        /// How it is booked.
        class: ReasonClass,
    },
    /// A stage could not handle it.
    Failed {
        /// The stage.
        stage: Arc<str>,
        /// What is done then.
        policy: FaultPolicy,
    },
}

/// What was looked at, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that passed by, of the share and the streams that are wanted.
    pub passed: u64,
    /// Not looked at, or wanted and not shown, because there were too many in too short a time.
    pub beyond_rate: u64,
    /// Looked at, and left out because who looks was too slow.
    pub too_slow: u64,
}

/// All who look.
#[derive(Debug, Default)]
pub struct Taps {
    count: AtomicUsize,
    watches: RwLock<Vec<Arc<Watch>>>,
}

/// One who looks. Dropping it ends that.
#[derive(Debug)]
pub struct Tap {
    taps: Arc<Taps>,
    watch: Arc<Watch>,
    sightings: mpsc::Receiver<Sighting>,
}

/// So many look already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_TAPS} taps are open already; end one of them")]
pub struct TooMany;

/// What the workers know of one who looks.
#[derive(Debug)]
struct Watch {
    wish: Wish,
    queue: mpsc::Sender<Sighting>,
    queued_bytes: AtomicU64,
    shown: Mutex<Window>,
    looked_at: Mutex<Window>,
    passed: AtomicU64,
    beyond_rate: AtomicU64,
    too_slow: AtomicU64,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    events: u64,
    bytes: u64,
    most_events: u64,
    most_bytes: u64,
}

// === impl Taps ===

impl Taps {
    /// Somebody looks from now on.
    pub fn open(self: &Arc<Self>, wish: Wish) -> Result<Tap, TooMany> {
        let (queue, sightings) = mpsc::channel(QUEUE);
        let watch = Arc::new(Watch {
            wish,
            queue,
            queued_bytes: AtomicU64::new(0),
            shown: Mutex::new(Window::new(EVENTS_IN_WINDOW, BYTES_IN_WINDOW)),
            looked_at: Mutex::new(Window::new(LOOKED_AT_IN_WINDOW, BYTES_LOOKED_AT_IN_WINDOW)),
            passed: AtomicU64::new(0),
            beyond_rate: AtomicU64::new(0),
            too_slow: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let mut watches = self.watches.write().unwrap_or_else(PoisonError::into_inner);
        if watches.len() >= MOST_TAPS {
            return Err(TooMany);
        }
        watches.push(Arc::clone(&watch));
        self.count.store(watches.len(), Ordering::Relaxed);
        Ok(Tap { taps: Arc::clone(self), watch, sightings })
    }

    /// How many look.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Who looks at a batch in a pipeline, with the events that each looks at; `None` where nobody does.
    pub(crate) fn looking(&self, pipeline: &Pipeline, batch: &Batch) -> Option<Looking> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let watches = self.watches.read().unwrap_or_else(PoisonError::into_inner);
        let of_pipeline = |watch: &&Arc<Watch>| {
            !watch.closed.load(Ordering::Relaxed)
                && watch.wish.pipeline.as_deref().is_none_or(|name| *name == *pipeline.name)
        };
        Looking::of(watches.iter().filter(of_pipeline), pipeline, batch)
    }

    fn close(&self, watch: &Arc<Watch>) {
        let mut watches = self.watches.write().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|other| !Arc::ptr_eq(other, watch));
        self.count.store(watches.len(), Ordering::Relaxed);
    }
}

// === impl Tap ===

impl Tap {
    /// The next event.
    pub async fn next(&mut self) -> Option<Sighting> {
        let sighting = self.sightings.recv().await?;
        self.watch.queued_bytes.fetch_sub(sighting.bytes(), Ordering::Relaxed);
        Some(sighting)
    }

    /// What was looked at so far.
    pub fn counts(&self) -> Counts {
        Counts {
            passed: self.watch.passed.load(Ordering::Relaxed),
            beyond_rate: self.watch.beyond_rate.load(Ordering::Relaxed),
            too_slow: self.watch.too_slow.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.watch.closed.store(true, Ordering::Relaxed);
        self.taps.close(&self.watch);
    }
}

// === impl Sighting ===

impl Sighting {
    fn bytes(&self) -> u64 {
        (self.document.len() + self.text.as_ref().map_or(0, Vec::len)) as u64
    }
}

// === impl Watch ===

impl Watch {
    /// The rows of a batch that are to be looked at.
    fn choose(&self, batch: &Batch) -> Vec<u32> {
        let may_be_wanted: Vec<bool> = match &self.wish.only {
            Some(only) => batch.streams().iter().map(|stream| only.may_be_of(stream)).collect(),
            None => Vec::new(),
        };
        let mut chosen = Vec::new();
        let (mut passed, mut beyond) = (0, 0);
        let mut rng = rand::rng();
        let window = if self.wish.only.is_some() { &self.looked_at } else { &self.shown };
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        window.turn(Instant::now());
        for (index, row) in batch.rows().iter().enumerate() {
            if may_be_wanted.get(row.stream as usize) == Some(&false) {
                continue;
            }
            if self.wish.share < 1.0 && !rng.random_bool(self.wish.share.max(0.0)) {
                continue;
            }
            passed += 1;
            match window.take(u64::from(row.content.len)) {
                true => chosen.push(index as u32),
                false => beyond += 1,
            }
        }
        drop(window);
        self.passed.fetch_add(passed, Ordering::Relaxed);
        self.beyond_rate.fetch_add(beyond, Ordering::Relaxed);
        chosen
    }

    /// Hands events over as far as there is room. Never waits.
    fn offer(&self, sightings: impl Iterator<Item = Sighting>) {
        for sighting in sightings {
            if let Some(only) = &self.wish.only {
                if !only.is(&sighting.document) {
                    continue;
                }
                let mut window = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                window.turn(Instant::now());
                if !window.take(sighting.bytes()) {
                    self.beyond_rate.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            }
            let bytes = sighting.bytes();
            let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
            let has_room = queued == 0 || queued.saturating_add(bytes) <= QUEUE_BYTES;
            if !has_room || self.queue.try_send(sighting).is_err() {
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.too_slow.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

// === impl Window ===

impl Window {
    fn new(most_events: u64, most_bytes: u64) -> Window {
        Window { began: Instant::now(), events: 0, bytes: 0, most_events, most_bytes }
    }

    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.began) >= WINDOW {
            *self = Window { began: now, events: 0, bytes: 0, ..*self };
        }
    }

    fn take(&mut self, bytes: u64) -> bool {
        let is_full = self.events >= self.most_events
            || (self.events > 0 && self.bytes.saturating_add(bytes) > self.most_bytes);
        if !is_full {
            self.events += 1;
            self.bytes = self.bytes.saturating_add(bytes);
        }
        !is_full
    }
}

#[cfg(test)]
mod tests;
