//! What the sink counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What came of a document that was sent, once for each answer about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// It is in its index.
    Created,
    /// It was there already: an earlier try had arrived.
    Existed,
    /// OpenSearch is busy.
    Throttled,
    /// OpenSearch could not do it now.
    Unavailable,
    /// Refused for its mapping; its field is renamed and it is sent once more.
    Repaired,
    /// Its index takes nothing for now.
    Held,
    /// It will never be taken.
    DeadLettered,
    /// The answer was missing or did not fit the request.
    Unknown,
}

impl ItemOutcome {
    /// All of them, in the order in which they are shown.
    pub const ALL: [ItemOutcome; 8] = [
        ItemOutcome::Created,
        ItemOutcome::Existed,
        ItemOutcome::Throttled,
        ItemOutcome::Unavailable,
        ItemOutcome::Repaired,
        ItemOutcome::Held,
        ItemOutcome::DeadLettered,
        ItemOutcome::Unknown,
    ];

    /// As it is written in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ItemOutcome::Created => "created",
            ItemOutcome::Existed => "existed",
            ItemOutcome::Throttled => "throttled",
            ItemOutcome::Unavailable => "unavailable",
            ItemOutcome::Repaired => "repaired",
            ItemOutcome::Held => "held",
            ItemOutcome::DeadLettered => "dead_lettered",
            ItemOutcome::Unknown => "unknown",
        }
    }
}

/// What the sink counts, beside what every driver counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests that OpenSearch answered with a list of items.
    pub requests_answered: AtomicU64,
    /// Requests that failed as a whole.
    pub requests_failed: AtomicU64,
    /// Requests that were split because they were too large.
    pub requests_split: AtomicU64,
    /// Bytes of requests as they were sent.
    pub sent_bytes: AtomicU64,
    /// Requests that may be under way at once now.
    pub concurrency: AtomicU64,
    /// Requests under way.
    pub in_flight: AtomicU64,
    /// 1 while OpenSearch does not accept who the agent is.
    pub unauthorized: AtomicU64,
    items: [AtomicU64; ItemOutcome::ALL.len()],
}

impl Metrics {
    /// Documents with this outcome.
    pub fn items(&self, outcome: ItemOutcome) -> u64 {
        self.items.get(outcome as usize).map_or(0, |items| items.load(Ordering::Relaxed))
    }

    pub(crate) fn count_items(&self, outcome: ItemOutcome, count: u64) {
        if let Some(items) = self.items.get(outcome as usize) {
            items.fetch_add(count, Ordering::Relaxed);
        }
    }
}
