//! The cardinality guard: counts the series of each group of samples, says which groups have too many, and cuts what is new
//! where a configuration wants that.
//!
//! A group is all samples with the same values of some labels: `job` and `instance` for a target, `namespace` for a
//! namespace. All workers count into one state; each has a [`Stage`] that leads there.
//!
//! 1. A series counts while it came within the last window (default 1 h), and for at most a sixth of a window longer: time goes
//!    in ticks of a sixth.
//! 2. Up to the limit of its group a series is known by its 64-bit hash, and counts are exact. A series beyond the limit goes
//!    into a sketch (HyperLogLog, 1,024 registers, ±3.3 % at one standard deviation), and [`GroupView::is_exact`] says so. One
//!    that was beyond the limit and found a place later counts twice until a window has passed.
//! 3. [`OnLimit::Cut`] drops only samples of series that are not known. A known series goes on whatever comes, until it stays
//!    away for a window; then its place is free. A stale marker of a known series goes on like every sample.
//! 4. Nobody is cut for want of the guard's own memory. Groups beyond [`Settings::max_groups`] are counted together in one
//!    that is never over its limit; series beyond [`Settings::max_series`] are estimated.
//! 5. A group that goes over its limit, and one that comes back, is told of once, and not for each sample. It comes back when
//!    the series that it has, those beyond the limit among them, are within the limit again at the beginning of a tick.
//! 6. The state is in memory: after a restart of the agent the first series that come are the known ones.
//!
//! # Memory
//!
//! A known series takes 9 bytes in a table that is 60 % to 80 % full: 11 to 15 bytes, and for the moment in which the table
//! grows, the table twice. A group takes about 500 bytes, and up to 7 KiB more while it is over its limit. A metric's name
//! takes about 100 bytes.

mod group;
mod groups;
mod guard;
mod names;
mod shared;
mod sketch;
mod stage;
mod table;

pub use guard::{Crossing, GroupView, Guard, NameView, Notify, OnLimit, Settings, Snapshot};
pub use stage::Stage;

/// Ticks of a window.
const TICKS: u64 = 6;
/// Ticks whose series count: those of a window, and the one that is not over.
const RING: usize = TICKS as usize + 1;

/// The place of a tick in rings.
fn place(tick: u64) -> usize {
    (tick % RING as u64) as usize
}

#[cfg(test)]
mod tests;
