//! Waiting for something, never longer than it may take.

use std::thread;
use std::time::{Duration, Instant};

/// What takes longer than this does not happen. Generous: tests share few processors.
pub const PATIENCE: Duration = Duration::from_secs(15);

const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOK_SELDOM: Duration = Duration::from_millis(100);

/// Waits until `is_so`.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    let mut is_so = is_so;
    until_some(what, || is_so().then_some(()));
}

/// Waits until there is something, and returns it.
#[track_caller]
pub fn until_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    let mut look = look;
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s in vain: {what}", PATIENCE.as_secs());
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits until `is_so`, for what takes its time elsewhere.
#[track_caller]
pub fn until_within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < end, "waited {} s in vain: {what}", limit.as_secs());
        thread::sleep(LOOK_SELDOM);
    }
}
