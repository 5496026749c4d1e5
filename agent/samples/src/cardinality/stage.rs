//! One worker's way to the guard.

use std::ops::Range;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::groups::{Cell, write_key};
use super::shared::{Sample, Shared};
use crate::labels::LabelSet;
use crate::stage::{Fate, SampleStage};

/// Groups that a worker remembers the way to: samples of one target come together, those of namespaces alternate.
const REMEMBERED: usize = 64;

/// Counts samples, and cuts those that are beyond a limit where that is wanted.
#[derive(Debug)]
pub struct Stage {
    shared: Arc<Shared>,
    key: Vec<u8>,
    remembered: Vec<Option<Arc<Cell>>>,
    tick: u64,
    /// When that tick is, in nanoseconds since the Unix epoch.
    tick_time: Range<i64>,
}

// === impl Stage ===

impl Stage {
    pub(super) fn new(shared: Arc<Shared>) -> Stage {
        Stage { shared, key: Vec::new(), remembered: vec![None; REMEMBERED], tick: 0, tick_time: 0..0 }
    }

    /// Whether a sample goes on.
    fn passes(&mut self, labels: LabelSet<'_>, hash: u64, now: i64) -> bool {
        if !self.tick_time.contains(&now) {
            (self.tick, self.tick_time) = self.shared.tick(now);
            self.shared.begin(self.tick);
        }
        let fits = write_key(labels, &self.shared.names_in_order, &mut self.key);
        loop {
            let place = if fits { self.place() } else { None };
            let known = place.and_then(|at| self.remembered.get(at)).and_then(Option::as_ref);
            let cell = known.unwrap_or(&self.shared.overflow);
            let group = cell.lock();
            if !group.is_removed {
                return self.shared.count(cell, group, Sample { labels, hash, tick: self.tick });
            }
            drop(group);
            if let Some(cell) = place.and_then(|at| self.remembered.get_mut(at)) {
                *cell = None;
            }
        }
    }

    /// Where the group is remembered whose key was written; `None` for one that found no place.
    fn place(&mut self) -> Option<usize> {
        let at = XxHash3_64::oneshot(&self.key) as usize % REMEMBERED;
        let place = self.remembered.get_mut(at)?;
        if place.as_ref().is_none_or(|cell| *cell.key != *self.key) {
            *place = Some(self.shared.cell(&self.key)?);
        }
        Some(at)
    }
}

impl SampleStage for Stage {
    fn look<'a>(&'a mut self, labels: LabelSet<'_>, hash: u64, now: i64) -> Fate<'a> {
        if self.passes(labels, hash, now) { Fate::Keep } else { Fate::Drop(&self.shared.settings.reason) }
    }
}
