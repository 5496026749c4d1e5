//! Lanes: one for each index that takes nothing for now. Its documents wait in the buffer under its name, and one
//! parcel of them is sent now and then to see whether it takes them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::pace::pause;

/// The indices that take nothing for now.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<Arc<str>, Lane>,
}

#[derive(Debug)]
struct Lane {
    tries: u32,
    /// When to look again; `None` while somebody looks.
    next: Option<Instant>,
}

/// A lane's first pause is longer than a request's: what closed an index takes a while.
const FIRST_TRIES: u32 = 3;

// === impl Lanes ===

impl Lanes {
    /// Whether every index takes documents.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Whether this index takes nothing for now.
    pub fn has(&self, index: &str) -> bool {
        self.lanes.contains_key(index)
    }

    /// Its name as it is known here.
    pub fn key(&self, index: &str) -> Option<Arc<str>> {
        self.lanes.get_key_value(index).map(|(key, _)| Arc::clone(key))
    }

    /// An index refused documents for now; says whether that is new.
    pub fn close(&mut self, index: &Arc<str>, now: Instant) -> bool {
        if self.has(index) {
            return false;
        }
        self.lanes
            .insert(Arc::clone(index), Lane { tries: FIRST_TRIES, next: Some(now + pause(FIRST_TRIES)) });
        true
    }

    /// The index takes documents again; says whether it had not.
    pub fn open(&mut self, index: &str) -> bool {
        self.lanes.remove(index).is_some()
    }

    /// Indices to look after now. Each is given once; [`Lanes::still_closed`] or [`Lanes::open`] must follow.
    pub fn due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        for (index, lane) in &mut self.lanes {
            if lane.next.is_some_and(|next| next <= now) {
                lane.next = None;
                due.push(Arc::clone(index));
            }
        }
        due
    }

    /// The index was looked after, and takes nothing still.
    pub fn still_closed(&mut self, index: &str, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.tries = lane.tries.saturating_add(1);
            lane.next = Some(now + pause(lane.tries));
        }
    }

    /// When to look after the next one.
    pub fn next(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.next).min()
    }
}
