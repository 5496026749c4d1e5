//! One group: the series that it knows, and what came beyond its limit.

use super::sketch::Sketches;
use super::table::Table;
use super::{RING, TICKS, place};

/// What a group counts.
#[derive(Debug, Default)]
pub(super) struct Group {
    tick: u64,
    pub(super) table: Table,
    beyond: Sketches,
    /// Samples that came.
    pub(super) samples: u64,
    /// Those of them that were cut.
    pub(super) cut: u64,
    pub(super) is_over: bool,
    /// It is no longer among the groups; who still holds it looks for another.
    pub(super) is_removed: bool,
}

/// What a group makes of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It came in this tick already.
    Again,
    /// It is known, and came last in this earlier tick.
    FirstInTick(u64),
    /// It was not known and found a place.
    New,
    /// It is not known, and the group has all series that it may have.
    OverLimit,
    /// It is not known, and the guard has no room to know it.
    NoRoom,
}

// === impl Group ===

impl Group {
    /// Looks at a sample of a series; `has_room` says whether the guard may know one more.
    #[inline]
    pub(super) fn look(&mut self, key: u64, limit: usize, has_room: impl FnOnce() -> bool) -> Seen {
        self.samples += 1;
        let here = place(self.tick);
        match self.table.touch(key, here) {
            Some(before) if before == here => Seen::Again,
            Some(before) => {
                Seen::FirstInTick(self.tick.saturating_sub(((here + RING - before) % RING) as u64))
            }
            None if self.table.len() >= limit => {
                self.beyond.add(key, self.tick);
                Seen::OverLimit
            }
            None if !has_room() => {
                self.beyond.add(key, self.tick);
                Seen::NoRoom
            }
            None => {
                self.table.insert(key, here);
                Seen::New
            }
        }
    }

    /// The tick that it is in.
    pub(super) fn tick(&self) -> u64 {
        self.tick
    }

    /// Goes on to a tick and forgets what came before its window; says how many known series went.
    pub(super) fn advance(&mut self, tick: u64) -> usize {
        if tick <= self.tick {
            return 0;
        }
        let gone = expired(self.tick, tick);
        self.tick = tick;
        self.beyond.forget(gone.clone());
        self.table.forget(gone)
    }

    /// Series that it has.
    pub(super) fn series(&self) -> u64 {
        self.table.len() as u64 + if self.is_exact() { 0 } else { self.beyond.estimate() }
    }

    /// Whether it knows all its series.
    pub(super) fn is_exact(&self) -> bool {
        self.beyond.is_empty()
    }

    /// Whether nothing came within the window.
    pub(super) fn is_idle(&self) -> bool {
        self.table.len() == 0 && self.is_exact()
    }
}

/// The places of the ticks that no longer count when time goes from one tick to another.
pub(super) fn expired(from: u64, to: u64) -> impl Iterator<Item = usize> + Clone {
    // What came `RING` ticks before has the place of the new tick.
    let steps = (to - from).min(TICKS + 1);
    (0..steps).map(move |step| place(to - step))
}
