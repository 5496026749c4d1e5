//! Which events were given already, as long as a copy may come.

use std::collections::BTreeSet;

use weir_event::identity::EventId;

/// Ids that are remembered at the most: about 50 MiB.
pub const MAX_REMEMBERED: usize = 1_000_000;

/// Events that were given, by time.
pub(super) struct Seen {
    events: BTreeSet<(i64, EventId)>,
    bound: usize,
}

// === impl Seen ===

impl Default for Seen {
    fn default() -> Seen {
        Seen::with_bound(MAX_REMEMBERED)
    }
}

impl Seen {
    pub fn with_bound(bound: usize) -> Seen {
        Seen { events: BTreeSet::new(), bound }
    }

    pub fn contains(&self, time: i64, id: EventId) -> bool {
        !self.events.is_empty() && self.events.contains(&(time, id))
    }

    /// Remembers an event. True where the oldest had to be forgotten for it.
    pub fn insert(&mut self, time: i64, id: EventId) -> bool {
        self.events.insert((time, id)) && self.events.len() > self.bound && self.events.pop_first().is_some()
    }

    /// Forgets what is older: no copy of it can come any more.
    pub fn forget_before(&mut self, time: i64) {
        if self.events.first().is_some_and(|(first, _)| *first < time) {
            self.events = self.events.split_off(&(time, EventId([0; 20])));
        }
    }

    pub fn clear(&mut self) {
        self.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::with_bound(2);
        let id = EventId([1; 20]);
        assert!(!seen.insert(1, id) && !seen.insert(2, id) && !seen.insert(2, id));
        assert!(seen.insert(3, id));
        assert!(!seen.contains(1, id) && seen.contains(2, id) && seen.contains(3, id));
        seen.forget_before(3);
        assert!(!seen.contains(2, id) && seen.contains(3, id));
        seen.clear();
        assert!(!seen.contains(3, id));
    }
}
