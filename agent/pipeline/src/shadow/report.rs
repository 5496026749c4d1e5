//! What comparing found: counts, and a few events that were treated differently.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use weir_event::transform::ReasonClass;

/// Of each kind of difference, the last few.
const SAMPLES: usize = 5;
/// Of a text; what is longer is cut.
const MAX_TEXT_BYTES: usize = 4096;
/// Of the events that were made of one.
const MAX_EVENTS: usize = 4;

/// How an event was treated by the candidate, against how it was treated by the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The same.
    Same,
    /// The stage keeps it, the candidate drops it.
    KeptToDropped,
    /// The stage drops it, the candidate keeps it.
    DroppedToKept,
    /// Both drop it, for different reasons.
    Reason,
    /// Both keep it, and it comes out differently.
    Edits,
    /// They make different events of it.
    Events,
    /// The candidate cannot handle it.
    Faulted,
    /// The stage cannot handle it, so there is nothing to compare with.
    LiveFaulted,
}

/// Why a batch that was due was not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// Batches waited for a worker.
    Queue,
    /// The batch before was still being compared, or the thread rested.
    Busy,
    /// It is larger than what is kept for comparing.
    Large,
}

/// How a stage and its candidate compare. Counts begin at zero with the candidate.
#[derive(Debug, Default)]
pub struct Counts {
    compared: AtomicU64,
    skipped: [AtomicU64; Skipped::ALL.len()],
    events: [AtomicU64; Difference::ALL.len()],
    samples: Mutex<VecDeque<Sample>>,
}

/// An event that was treated differently.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How.
    pub difference: Difference,
    /// Nanoseconds since the Unix epoch: the event's time.
    pub time: i64,
    /// The event as both were handed it: a JSON object, cut after 4 KiB.
    pub event: String,
    /// What the stage did.
    pub live: Treatment,
    /// What the candidate did.
    pub candidate: Treatment,
}

/// What was made of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// Why it was dropped, and how that is booked.
    pub dropped: Option<(String, ReasonClass)>,
    /// Whether it could not be handled.
    pub faulted: bool,
    /// What was kept of it: a JSON object, cut after 4 KiB.
    pub kept: Option<String>,
    /// The first events that were made of it.
    pub events: Vec<String>,
}

// === impl Difference ===

impl Difference {
    /// All of them.
    pub const ALL: [Difference; 8] = [
        Difference::Same,
        Difference::KeptToDropped,
        Difference::DroppedToKept,
        Difference::Reason,
        Difference::Edits,
        Difference::Events,
        Difference::Faulted,
        Difference::LiveFaulted,
    ];

    /// The label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Difference::Same => "same",
            Difference::KeptToDropped => "kept_to_dropped",
            Difference::DroppedToKept => "dropped_to_kept",
            Difference::Reason => "other_reason",
            Difference::Edits => "other_edits",
            Difference::Events => "other_events",
            Difference::Faulted => "faulted",
            Difference::LiveFaulted => "live_faulted",
        }
    }

    /// Whether the event would come out differently with the candidate in the stage's place.
    pub fn is_different(self) -> bool {
        !matches!(self, Difference::Same | Difference::LiveFaulted)
    }
}

// === impl Skipped ===

impl Skipped {
    /// All of them.
    pub const ALL: [Skipped; 3] = [Skipped::Queue, Skipped::Busy, Skipped::Large];

    /// The label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Skipped::Queue => "queue",
            Skipped::Busy => "busy",
            Skipped::Large => "large",
        }
    }
}

// === impl Counts ===

impl Counts {
    /// Batches that were compared.
    pub fn compared(&self) -> u64 {
        self.compared.load(Relaxed)
    }

    /// Batches that were due and not compared.
    pub fn skipped(&self, why: Skipped) -> u64 {
        self.skipped.get(why as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Events that were treated like this.
    pub fn events(&self, difference: Difference) -> u64 {
        self.events.get(difference as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// All events that were compared.
    pub fn all_events(&self) -> u64 {
        Difference::ALL.into_iter().map(|difference| self.events(difference)).sum()
    }

    /// Those that would come out differently.
    pub fn different_events(&self) -> u64 {
        let different = Difference::ALL.into_iter().filter(|difference| difference.is_different());
        different.map(|difference| self.events(difference)).sum()
    }

    /// The last events of each kind that were treated differently, the oldest first.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn skip(&self, why: Skipped) {
        if let Some(count) = self.skipped.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Books a batch.
    pub(super) fn note(&self, events: [u64; Difference::ALL.len()], samples: Vec<Sample>) {
        for (count, more) in self.events.iter().zip(events) {
            count.fetch_add(more, Relaxed);
        }
        self.compared.fetch_add(1, Relaxed);
        let mut kept = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in samples {
            let of_kind = |other: &Sample| other.difference == sample.difference;
            if kept.iter().filter(|other| of_kind(other)).count() >= SAMPLES
                && let Some(oldest) = kept.iter().position(of_kind)
            {
                kept.remove(oldest);
            }
            kept.push_back(sample);
        }
    }
}

// === impl Treatment ===

impl Treatment {
    pub(super) fn with_events<'a>(mut self, events: impl Iterator<Item = &'a [u8]>) -> Treatment {
        self.events = events.take(MAX_EVENTS).map(text).collect();
        self
    }
}

/// A JSON object as it is kept in a sample.
pub(super) fn text(bytes: &[u8]) -> String {
    match bytes.get(..MAX_TEXT_BYTES) {
        None => String::from_utf8_lossy(bytes).into_owned(),
        Some(cut) => String::from_utf8_lossy(cut).into_owned() + "…",
    }
}
