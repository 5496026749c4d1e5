//! The state that all workers share.
//!
//! Locks are taken in this order, and none twice: groups, one group, names. `notify` is called without any.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::TICKS;
use super::group::{Group, Seen};
use super::groups::{Cell, Groups};
use super::guard::{Crossing, GroupView, NameView, Notify, OnLimit, Settings, Snapshot};
use super::names::Names;
use crate::labels::LabelSet;

/// What all workers count into.
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// The labels by which groups are made, in the order in which a label set has them.
    pub(super) names_in_order: Vec<String>,
    /// All groups that found no place.
    pub(super) overflow: Arc<Cell>,
    notify: Notify,
    /// Nanoseconds.
    tick_length: i64,
    /// What hashes are mixed with, so that nobody can choose labels whose hashes lie close together in a table.
    secret: (u64, u64),
    groups: Mutex<Groups>,
    names: Mutex<Names>,
    /// Series that are known, over all groups.
    known: AtomicUsize,
    /// What groups counted that are no more.
    gone: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    samples: AtomicU64,
    cut: AtomicU64,
}

/// A sample, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    pub(super) labels: LabelSet<'a>,
    pub(super) hash: u64,
    pub(super) tick: u64,
}

// === impl Shared ===

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, notify: Notify) -> Shared {
        let mut names_in_order = settings.group_by.clone();
        names_in_order.sort();
        names_in_order.dedup();
        let random = RandomState::new();
        let tick_length = settings.window.as_nanos() / u128::from(TICKS);
        Shared {
            names_in_order,
            overflow: Arc::new(Cell::new(&[])),
            notify,
            tick_length: i64::try_from(tick_length).unwrap_or(i64::MAX).max(1),
            secret: (random.hash_one(0), random.hash_one(1) | 1),
            groups: Mutex::new(Groups::new(settings.max_groups)),
            names: Mutex::new(Names::new(settings.max_names)),
            known: AtomicUsize::new(0),
            gone: Counts::default(),
            settings,
        }
    }

    /// The tick of a time, and from when to when it is.
    pub(super) fn tick(&self, now: i64) -> (u64, Range<i64>) {
        let tick = now.max(0) / self.tick_length;
        let start = tick * self.tick_length;
        (tick.unsigned_abs(), start..start.saturating_add(self.tick_length))
    }

    /// The group with this key, a new one where there is none; `None` where there is no place for it.
    pub(super) fn cell(&self, key: &[u8]) -> Option<Arc<Cell>> {
        let mut groups = self.groups();
        if let Some(cell) = groups.get(key) {
            return Some(cell.clone());
        }
        groups.add(key)
    }

    /// Begins a tick, of which each worker tells: the first goes on to it with all groups, so that those that nothing comes of
    /// any more give their places back.
    pub(super) fn begin(&self, tick: u64) {
        let mut groups = self.groups();
        if groups.swept >= tick {
            return;
        }
        let mut crossings = Vec::new();
        self.sweep(&mut groups, tick, &mut crossings);
        drop(groups);
        self.advance(&self.overflow, &mut self.overflow.lock(), tick);
        crossings.iter().for_each(|crossing| (self.notify)(crossing));
    }

    /// Counts a sample of this group; false where it is cut.
    #[inline]
    pub(super) fn count(
        &self,
        cell: &Arc<Cell>,
        mut group: MutexGuard<'_, Group>,
        sample: Sample<'_>,
    ) -> bool {
        let is_overflow = Arc::ptr_eq(cell, &self.overflow);
        let back =
            if group.tick() < sample.tick { self.advance(cell, &mut group, sample.tick) } else { None };
        let key = (sample.hash ^ self.secret.0).wrapping_mul(self.secret.1);
        let seen = group.look(key, self.settings.limit, || self.take_room());
        if seen == Seen::Again && back.is_none() {
            return true;
        }
        let (mut passes, mut over) = (true, None);
        if seen == Seen::OverLimit && !is_overflow {
            passes = self.settings.on_limit == OnLimit::Report;
            group.cut += u64::from(!passes);
            if !std::mem::replace(&mut group.is_over, true) {
                over = Some(self.crossing(cell, &group));
            }
        }
        let tick = group.tick();
        drop(group);
        match seen {
            Seen::New => self.names().touch(sample.labels.metric(), tick, None),
            Seen::FirstInTick(before) => self.names().touch(sample.labels.metric(), tick, Some(before)),
            _ => {}
        }
        back.iter().chain(&over).for_each(|crossing| (self.notify)(crossing));
        passes
    }

    pub(super) fn snapshot(&self, top: usize, now: i64) -> Snapshot {
        let (tick, _) = self.tick(now);
        let mut crossings = Vec::new();
        let mut groups = self.groups();
        self.sweep(&mut groups, tick, &mut crossings);
        let cells: Vec<Arc<Cell>> = groups.iter().cloned().collect();
        // What is no more is in `gone` from here on, and what goes from here on is in `cells`.
        let (samples, cut) =
            (self.gone.samples.load(Ordering::Relaxed), self.gone.cut.load(Ordering::Relaxed));
        let mut snapshot =
            Snapshot { groups_total: groups.len() as u64, samples, cut, ..Snapshot::default() };
        drop(groups);
        for cell in &cells {
            let view = self.view(cell, &cell.lock(), &mut snapshot);
            snapshot.groups.push(view);
        }
        snapshot.groups.sort_by(|one, other| {
            other
                .series
                .cmp(&one.series)
                .then(other.samples.cmp(&one.samples))
                .then_with(|| one.labels.cmp(&other.labels))
        });
        snapshot.groups.truncate(top);
        let mut overflow = self.overflow.lock();
        self.advance(&self.overflow, &mut overflow, tick);
        let view = self.view(&self.overflow, &overflow, &mut snapshot);
        snapshot.overflow = (view.samples > 0).then_some(view);
        drop(overflow);
        let mut names = self.names();
        names.advance(tick);
        let (top_names, others) = names.top(top);
        drop(names);
        snapshot.names = top_names.into_iter().map(|(name, series)| NameView { name, series }).collect();
        snapshot.series_of_other_names = others;
        crossings.iter().for_each(|crossing| (self.notify)(crossing));
        snapshot
    }

    /// What a group counted; adds it to the sums.
    fn view(&self, cell: &Arc<Cell>, group: &Group, sums: &mut Snapshot) -> GroupView {
        let is_overflow = Arc::ptr_eq(cell, &self.overflow);
        let view = GroupView {
            labels: if is_overflow { Vec::new() } else { self.labels(cell) },
            series: group.series(),
            is_exact: group.is_exact(),
            samples: group.samples,
            cut: group.cut,
            is_over: group.is_over,
        };
        sums.series += view.series;
        sums.samples += view.samples;
        sums.cut += view.cut;
        sums.groups_over += u64::from(view.is_over);
        sums.bytes += group.table.bytes() as u64;
        view
    }

    /// Goes on to a tick with all groups, and removes those whose window has passed.
    fn sweep(&self, groups: &mut Groups, tick: u64, crossings: &mut Vec<Crossing>) {
        groups.swept = tick.max(groups.swept);
        groups.retain(|cell| {
            let mut group = cell.lock();
            crossings.extend(self.advance(cell, &mut group, tick));
            // One that was just made has no series yet, and its first sample is on its way.
            if !group.is_idle() || group.samples == 0 {
                return true;
            }
            group.is_removed = true;
            self.gone.samples.fetch_add(group.samples, Ordering::Relaxed);
            self.gone.cut.fetch_add(group.cut, Ordering::Relaxed);
            false
        });
    }

    /// Goes on to a tick with a group, and says where it came back under its limit by that.
    fn advance(&self, cell: &Arc<Cell>, group: &mut Group, tick: u64) -> Option<Crossing> {
        if tick <= group.tick() {
            return None;
        }
        let gone = group.advance(tick);
        self.known.fetch_sub(gone, Ordering::Relaxed);
        if !group.is_over || group.series() > self.settings.limit as u64 {
            return None;
        }
        group.is_over = false;
        Some(self.crossing(cell, group))
    }

    /// Whether one more series may be known, which it is then.
    fn take_room(&self) -> bool {
        let most = self.settings.max_series;
        self.known
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| (known < most).then_some(known + 1))
            .is_ok()
    }

    fn crossing(&self, cell: &Arc<Cell>, group: &Group) -> Crossing {
        let limit = self.settings.limit as u64;
        Crossing { labels: self.labels(cell), series: group.series(), limit, is_over: group.is_over }
    }

    /// A group's labels in the order of the settings.
    fn labels(&self, cell: &Cell) -> Vec<(String, String)> {
        let values = cell.values();
        let value = |name: &String| {
            let at = self.names_in_order.iter().position(|known| known == name);
            at.and_then(|at| values.get(at)).cloned().unwrap_or_default()
        };
        self.settings.group_by.iter().map(|name| (name.clone(), value(name))).collect()
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
