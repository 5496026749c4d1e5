//! Pauses after failures.

use std::time::Duration;

use rand::Rng as _;

/// Pause after the first failure; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
pub(crate) const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause that a receiver can ask for.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// A pause after so many failures in a row, jittered so that agents do not come back together.
pub(crate) fn pause(failures: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1u32 << failures.min(16)).min(LAST_PAUSE);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// The pause that a receiver asked for, within bounds, and a little more, so that agents do not come back together.
pub(crate) fn asked(retry_after: Duration) -> Duration {
    let asked = retry_after.min(LONGEST_RETRY_AFTER);
    asked + pause(0).min(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_small_grow_to_their_cap_and_differ() {
        for failures in 0..40 {
            let wait = pause(failures);
            let full = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LAST_PAUSE);
            assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?}");
        }
        assert!((0..20).any(|_| pause(3) != pause(3)));
    }

    #[test]
    fn what_is_asked_for_has_a_bound() {
        assert!(asked(Duration::from_secs(86_400)) <= LONGEST_RETRY_AFTER + FIRST_PAUSE);
        assert!(asked(Duration::from_secs(2)) >= Duration::from_secs(2));
        assert_eq!(asked(Duration::ZERO), Duration::ZERO);
    }
}
