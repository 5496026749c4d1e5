//! The time, handed to the engine with each step, so that tests can hand it another.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    /// Since the source started; never goes back.
    pub elapsed: Duration,
    /// Nanoseconds since the Unix epoch.
    pub wall: i64,
}

/// The real clocks.
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { elapsed: self.start.elapsed(), wall: i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX) }
    }
}
