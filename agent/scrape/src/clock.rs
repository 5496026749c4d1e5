//! What time it is, so that tests can say.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    /// The system's.
    #[default]
    System,
    /// Begins at this many nanoseconds since the Unix epoch and goes with the runtime, whose time a test moves.
    #[cfg(test)]
    Runtime(i64, tokio::time::Instant),
}

// === impl Clock ===

impl Clock {
    /// Nanoseconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        match self {
            Clock::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
            }
            #[cfg(test)]
            Clock::Runtime(base, start) => *base + start.elapsed().as_nanos() as i64,
        }
    }
}
