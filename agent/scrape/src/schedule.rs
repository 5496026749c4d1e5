//! When a target is scraped.
//!
//! 1. The first time at once. Then at times that depend on nothing but the target and its interval, so that targets are
//!    spread over the interval and stay where they are through a restart (Prometheus, scrape: `offset`).
//! 2. Never again while the scrape before is under way. A time that was missed by it is made up for once.
//! 3. A scrape that begins within 2 ms of its time, or 1 % of its interval, is said to be at that time, so that timestamps
//!    are evenly spaced and pack well (Prometheus, scrape: `ScrapeTimestampTolerance`).

use std::sync::Arc;
use std::time::Duration;

/// Largest difference between a scrape and its timestamp.
const TOLERANCE_NS: i64 = 2_000_000;
/// Shorter intervals are taken for this.
const SHORTEST_NS: i64 = 1_000_000;

/// How often a target is scraped, and how long that may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) class: Arc<str>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// The first time after `after` at which a target with this hash is to be scraped; in nanoseconds since the Unix epoch.
pub(crate) fn next_time(after: i64, interval: Duration, hash: u64) -> i64 {
    let interval = nanoseconds(interval);
    let offset = (hash % interval.unsigned_abs()) as i64;
    let passed = after.saturating_sub(offset).rem_euclid(interval);
    after.saturating_add(interval - passed)
}

/// The next time after the one at `last`, when it is `now`; and how many were missed for good.
pub(crate) fn following_time(last: i64, now: i64, interval: Duration, hash: u64) -> (i64, u64) {
    let next = next_time(last, interval, hash);
    if next > now {
        return (next, 0);
    }
    let step = nanoseconds(interval);
    let missed = (now - next) / step;
    (next + missed * step, missed.unsigned_abs())
}

/// What a scrape that begins `now` and was due at `due` is said to be at.
pub(crate) fn aligned(now: i64, due: i64, interval: Duration) -> i64 {
    let tolerance = TOLERANCE_NS.min(nanoseconds(interval) / 100);
    if (0..=tolerance).contains(&(now - due)) { due } else { now }
}

fn nanoseconds(interval: Duration) -> i64 {
    i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX / 4).max(SHORTEST_NS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_an_interval_apart_and_depend_on_nothing_else(
            after in 1_600_000_000_000_000_000_i64..1_900_000_000_000_000_000,
            interval in 1_u64..100_000,
            hash: u64,
        ) {
            let interval = Duration::from_millis(interval);
            let step = interval.as_nanos() as i64;
            let next = next_time(after, interval, hash);
            prop_assert!(next > after && next - after <= step);
            prop_assert_eq!(next_time(next, interval, hash), next + step);
            prop_assert_eq!(next_time(next - 1, interval, hash), next);
            prop_assert_eq!(next.rem_euclid(step), (hash % step as u64) as i64);
        }
    }

    #[test]
    fn a_time_that_was_missed_is_made_up_for_once() {
        let second = Duration::from_secs(1);
        let at = |ms: i64| ms * 1_000_000;
        assert_eq!(following_time(at(1_000), at(1_500), second, 0), (at(2_000), 0));
        assert_eq!(following_time(at(1_000), at(2_000), second, 0), (at(2_000), 0));
        assert_eq!(following_time(at(1_000), at(2_100), second, 0), (at(2_000), 0));
        assert_eq!(following_time(at(1_000), at(4_100), second, 0), (at(4_000), 2));
    }

    #[test]
    fn small_delays_do_not_show() {
        let at = |us: i64| us * 1_000;
        let cases = [(10, 0), (10, 2_000), (10, 2_001), (10, -1), (1, 0), (1, 2_000)];
        let cases = cases.into_iter().chain([(0, 500), (0, 1_001)]);
        let wanted = [0, 0, 2_001, -1, 0, 0, 500, 1_001];
        for ((seconds, late), wanted) in cases.zip(wanted) {
            let interval = Duration::from_secs(seconds).max(Duration::from_millis(20));
            assert_eq!(aligned(at(1_000_000 + late), at(1_000_000), interval), at(1_000_000 + wanted));
        }
    }
}
