//! Closing groups: which of them become objects now.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

use super::Driver;
use super::group::{Group, GroupKey};

/// How often is looked whether the buffer has something that finds no room.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// No segment is larger, unless it is one event.
const LARGE_SEGMENT: u64 = 4 * 1024 * 1024;
/// More namespaces and hours do not gather at the same time; the oldest goes first.
const MAX_OPEN_GROUPS: usize = 4_096;

// === impl Driver ===

impl Driver {
    pub(super) fn close_due(&mut self, now: Instant) {
        let is_last = self.is_closed;
        let settings = &self.store.settings;
        let (ratio, most, age) = (self.ratio, settings.max_object_bytes as f64, settings.max_object_age);
        let is_due =
            |group: &Group| is_last || group.raw_bytes as f64 * ratio >= most || now >= group.since + age;
        let due: Vec<GroupKey> =
            self.open.values().filter(|group| is_due(group)).map(|group| group.key.clone()).collect();
        due.iter().for_each(|key| self.close(key, now));
        let mut memory = self.open_memory();
        while memory > self.open_bound() || self.open.len() > MAX_OPEN_GROUPS {
            let by_memory = memory > self.open_bound();
            let Some(closed) = self.close_one(by_memory, now) else { break };
            memory = memory.saturating_sub(closed);
        }
        self.close_for_room(now);
    }

    /// The memory that open groups may have.
    fn open_bound(&self) -> u64 {
        self.store.settings.max_open_bytes.min(self.buffer.bound() / 4)
    }

    /// What lies on disk comes only where there is room for it: if something waits and does not come, the largest group
    /// makes room.
    fn close_for_room(&mut self, now: Instant) {
        let is_full = self.buffer.used() + LARGE_SEGMENT > self.buffer.bound() / 2;
        if self.buffer.waiting() == 0 || !is_full || !self.wants_more() {
            self.starved = None;
            return;
        }
        if now >= *self.starved.get_or_insert(now) + LOOK {
            self.starved = None;
            self.close_one(true, now);
        }
    }

    /// Closes the group with the most memory, or the oldest one; says what memory that has.
    fn close_one(&mut self, by_memory: bool, now: Instant) -> Option<u64> {
        let groups = self.open.values();
        let group = match by_memory {
            true => groups.max_by_key(|group| (group.memory(), Reverse(group.since))),
            false => groups.min_by_key(|group| group.since),
        }?;
        let (key, memory) = (group.key.clone(), group.memory());
        self.close(&key, now);
        Some(memory)
    }

    fn close(&mut self, key: &GroupKey, now: Instant) {
        if let Some(mut group) = self.open.remove(key) {
            group.due = now;
            self.closed.push(group);
        }
    }
}
