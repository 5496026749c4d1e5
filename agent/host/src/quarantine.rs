//! When a plugin that keeps failing is not asked any more.
//!
//! ```text
//!              3 batches in a row with a fault            5 in a row of which half or more was left
//!   healthy ----------------------------------> degraded -----------------------------------------> quarantined
//!      ^                                         |    ^                                               |     ^
//!      +-----------------------------------------+    |                                     pause over|     | half or
//!              16 in a row without a fault            |  less than half was left                      v     | more left
//!                                                     +------------------------------------------- half open
//! ```
//!
//! 1. What counts is how much of a batch the plugin could not handle: one bad event in each batch costs tries, but the
//!    others are handled, and keeping them from the plugin would do more damage than it does.
//! 2. In quarantine every event meets `on_error` at once, which costs nothing.
//! 3. Half open, one batch of one worker is tried. Pauses double, up to a limit, until the plugin is healthy again.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;

const DEGRADED_AFTER: u32 = 3;
const HEALTHY_AFTER: u32 = 16;
const QUARANTINED_AFTER: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LAST_PAUSE: Duration = Duration::from_secs(300);
/// A try that did not come back for this long was lost with its worker.
const LOST_TRY: Duration = Duration::from_secs(60);

/// How far a plugin is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is asked for every batch.
    #[default]
    Healthy,
    /// It is asked, and failed lately.
    Degraded,
    /// It is not asked: every event meets its `on_error`.
    Quarantined,
    /// It is asked for one batch, to see whether it works again.
    HalfOpen,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Ask the plugin.
    Ask,
    /// Do not.
    Refuse,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// Whether the first try failed.
    pub(crate) faulty: bool,
    /// How many rows it had.
    pub(crate) rows: u32,
    /// How many of them the plugin could not handle.
    pub(crate) suspects: u32,
}

/// A change of standing, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) to: Standing,
    /// How long nobody is asked, in quarantine.
    pub(crate) pause: Duration,
}

/// The standing of one plugin, over all its instances.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// Healthy, and the last batch was without a fault: what is asked for every batch, without a lock.
    calm: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    standing: Standing,
    /// Batches in a row with a fault.
    faulty: u32,
    /// Batches in a row without one.
    clean: u32,
    /// Batches in a row of which half or more was left.
    failed: u32,
    /// The last pause; zero when it was healthy since.
    pause: Duration,
    /// Until when nobody is asked; half open: until when the try may take.
    until: Option<Instant>,
    quarantines: u64,
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine { calm: AtomicBool::new(true), state: Mutex::default() }
    }
}

// === impl Standing ===

impl Standing {
    /// All of them, from the best on.
    pub const ALL: [Standing; 4] =
        [Standing::Healthy, Standing::Degraded, Standing::HalfOpen, Standing::Quarantined];

    /// The label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Healthy => "healthy",
            Standing::Degraded => "degraded",
            Standing::HalfOpen => "half_open",
            Standing::Quarantined => "quarantined",
        }
    }
}

// === impl Report ===

impl Report {
    fn has_failed(&self) -> bool {
        self.suspects > 0 && self.suspects >= self.rows.div_ceil(2)
    }
}

// === impl Quarantine ===

impl Quarantine {
    pub(crate) fn standing(&self) -> Standing {
        self.lock().standing
    }

    /// How often the plugin came here.
    pub(crate) fn quarantines(&self) -> u64 {
        self.lock().quarantines
    }

    /// Whether the plugin is asked for a batch. Who asks it must [`Quarantine::note`] what came of it.
    pub(crate) fn admit(&self, now: Instant) -> (Admission, Option<Change>) {
        if self.calm.load(Relaxed) {
            return (Admission::Ask, None);
        }
        let mut state = self.lock();
        match state.standing {
            Standing::Healthy | Standing::Degraded => (Admission::Ask, None),
            Standing::Quarantined | Standing::HalfOpen if state.until.is_some_and(|until| now < until) => {
                (Admission::Refuse, None)
            }
            Standing::Quarantined | Standing::HalfOpen => {
                state.until = Some(now + LOST_TRY);
                (Admission::Ask, state.turn(Standing::HalfOpen))
            }
        }
    }

    /// Whether the next batch may use up all of its tries: it is asked for it, and failed lately.
    pub(crate) fn is_unwell(&self, now: Instant) -> bool {
        if self.calm.load(Relaxed) {
            return false;
        }
        let state = self.lock();
        match state.standing {
            Standing::Healthy => false,
            Standing::Degraded | Standing::HalfOpen => true,
            Standing::Quarantined => state.until.is_none_or(|until| now >= until),
        }
    }

    /// Takes note of what came of a batch.
    pub(crate) fn note(&self, report: Report, now: Instant) -> Option<Change> {
        let is_clean = !report.faulty && report.suspects == 0;
        if is_clean && self.calm.load(Relaxed) {
            return None;
        }
        let jitter = rand::rng().random_range(0.8..1.2);
        let mut state = self.lock();
        let change = state.note(report, is_clean, now, jitter);
        self.calm.store(state.standing == Standing::Healthy && is_clean, Relaxed);
        change
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn note(&mut self, report: Report, is_clean: bool, now: Instant, jitter: f64) -> Option<Change> {
        let in_a_row = |count: u32, goes_on: bool| if goes_on { count.saturating_add(1) } else { 0 };
        self.clean = in_a_row(self.clean, is_clean);
        self.faulty = in_a_row(self.faulty, !is_clean);
        self.failed = in_a_row(self.failed, report.has_failed());
        match self.standing {
            Standing::Healthy | Standing::Degraded if self.failed >= QUARANTINED_AFTER => {
                self.close(now, jitter)
            }
            Standing::Healthy if self.faulty >= DEGRADED_AFTER => self.turn(Standing::Degraded),
            Standing::Degraded if self.clean >= HEALTHY_AFTER => {
                self.pause = Duration::ZERO;
                self.turn(Standing::Healthy)
            }
            Standing::HalfOpen if report.has_failed() => self.close(now, jitter),
            Standing::HalfOpen => {
                self.until = None;
                self.turn(Standing::Degraded)
            }
            // Batches that were under way when it was quarantined change nothing.
            Standing::Healthy | Standing::Degraded | Standing::Quarantined => None,
        }
    }

    fn close(&mut self, now: Instant, jitter: f64) -> Option<Change> {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        let pause = self.pause.mul_f64(jitter);
        self.until = Some(now + pause);
        self.failed = 0;
        self.quarantines += 1;
        self.standing = Standing::Quarantined;
        Some(Change { to: Standing::Quarantined, pause })
    }

    fn turn(&mut self, standing: Standing) -> Option<Change> {
        if self.standing == standing {
            return None;
        }
        self.standing = standing;
        Some(Change { to: standing, pause: Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Report = Report { faulty: false, rows: 512, suspects: 0 };
    /// One bad event, found among the others.
    const POISONED: Report = Report { faulty: true, rows: 512, suspects: 1 };
    const FAILED: Report = Report { faulty: true, rows: 512, suspects: 512 };

    /// A plugin in simulated time, asked for one batch after another.
    struct Scene {
        quarantine: Quarantine,
        now: Instant,
        asked: u64,
    }

    impl Scene {
        fn new() -> Scene {
            Scene { quarantine: Quarantine::default(), now: Instant::now(), asked: 0 }
        }

        fn batches(&mut self, count: u32, report: Report) -> Standing {
            for _ in 0..count {
                if self.quarantine.admit(self.now).0 == Admission::Ask {
                    self.asked += 1;
                    self.quarantine.note(report, self.now);
                }
            }
            self.quarantine.standing()
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    #[test]
    fn one_bad_event_in_each_batch_degrades_and_does_no_more() {
        let mut scene = Scene::new();
        assert_eq!(scene.batches(2, POISONED), Standing::Healthy);
        assert_eq!(scene.batches(1, POISONED), Standing::Degraded);
        assert!(scene.quarantine.is_unwell(scene.now));
        assert_eq!(scene.batches(10_000, POISONED), Standing::Degraded);
        assert_eq!(scene.batches(HEALTHY_AFTER - 1, CLEAN), Standing::Degraded);
        assert_eq!(scene.batches(1, CLEAN), Standing::Healthy);
        assert!(!scene.quarantine.is_unwell(scene.now));
        assert_eq!(scene.asked, 3 + 10_000 + u64::from(HEALTHY_AFTER));
    }

    #[test]
    fn a_fault_now_and_then_changes_nothing() {
        let mut scene = Scene::new();
        for _ in 0..1_000 {
            assert_eq!(scene.batches(2, FAILED), Standing::Healthy);
            assert_eq!(scene.batches(1, CLEAN), Standing::Healthy);
        }
        assert_eq!(scene.quarantine.quarantines(), 0);
    }

    #[test]
    fn who_fails_is_asked_less_and_less_often_and_at_last_again() {
        let mut scene = Scene::new();
        assert_eq!(scene.batches(1_000, FAILED), Standing::Quarantined);
        assert_eq!(scene.asked, u64::from(QUARANTINED_AFTER), "nobody was asked in quarantine");
        // In an hour, at pauses of 10, 20, 40, 80, 160 s and then 300 s, each a fifth more or less.
        for _ in 0..3_600 {
            scene.pass(1);
            assert_eq!(scene.batches(10, FAILED), Standing::Quarantined);
        }
        let tries = scene.asked - u64::from(QUARANTINED_AFTER);
        assert!((12..=20).contains(&tries), "{tries} tries");
        assert_eq!(scene.quarantine.quarantines(), 1 + tries);

        scene.pass(400);
        assert_eq!(scene.batches(1, CLEAN), Standing::Degraded);
        assert_eq!(scene.batches(HEALTHY_AFTER, CLEAN), Standing::Healthy);
        // The pauses begin anew.
        scene.batches(QUARANTINED_AFTER, FAILED);
        scene.pass(13);
        assert_eq!(scene.batches(1, CLEAN), Standing::Degraded);
    }

    #[test]
    fn one_try_at_a_time_and_a_lost_one_is_made_again() {
        let mut scene = Scene::new();
        scene.batches(QUARANTINED_AFTER, FAILED);
        assert!(!scene.quarantine.is_unwell(scene.now), "who is not asked costs nothing");
        scene.pass(13);
        assert!(scene.quarantine.is_unwell(scene.now));
        assert_eq!(scene.quarantine.admit(scene.now).0, Admission::Ask);
        assert_eq!(scene.quarantine.standing(), Standing::HalfOpen);
        assert!(scene.quarantine.is_unwell(scene.now));
        assert_eq!(scene.quarantine.admit(scene.now).0, Admission::Refuse);
        // Its worker never came back.
        scene.pass(61);
        assert_eq!(scene.quarantine.admit(scene.now).0, Admission::Ask);
        assert!(scene.quarantine.note(CLEAN, scene.now).is_some());
        assert_eq!(scene.quarantine.standing(), Standing::Degraded);
    }

    #[test]
    fn a_batch_under_way_ends_no_quarantine() {
        let mut scene = Scene::new();
        scene.batches(QUARANTINED_AFTER, FAILED);
        assert_eq!(scene.quarantine.note(CLEAN, scene.now), None);
        assert_eq!(scene.quarantine.standing(), Standing::Quarantined);
        assert_eq!(scene.quarantine.admit(scene.now).0, Admission::Refuse);
    }
}
