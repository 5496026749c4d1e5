//! How long to wait before the next child.

use std::time::Duration;

use rand::Rng as _;

/// How long to wait before the next child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// After the first failure; twice as long after each further one.
    pub first: Duration,
    /// At the longest.
    pub longest: Duration,
    /// While there is no `journalctl`.
    pub missing: Duration,
}

/// Pauses that grow.
#[derive(Debug)]
pub(crate) struct Pause {
    pace: Pace,
    failures: u32,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            missing: Duration::from_secs(60),
        }
    }
}

// === impl Pause ===

impl Pause {
    pub(crate) fn new(pace: Pace) -> Pause {
        Pause { pace, failures: 0 }
    }

    /// How often it failed since it last went well.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes that it went well.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Notes a failure, and says how long to wait after it.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let longer = 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        jittered(self.pace.first.saturating_mul(longer).min(self.pace.longest))
    }

    /// How long to wait for a `journalctl` that is not there.
    pub(crate) fn while_missing(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        jittered(self.pace.missing)
    }
}

/// All nodes of a cluster may fail at once, and must not all try again at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew() {
        let mut pause = Pause::new(Pace::default());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let expected = Duration::from_secs(seconds);
            let found = pause.after_failure();
            assert!(found >= expected / 2 && found <= expected, "{found:?} for {expected:?}");
        }
        pause.reset();
        assert!(pause.after_failure() <= Duration::from_secs(1));
    }
}
