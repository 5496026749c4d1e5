//! How fast: requests at once (additive increase, multiplicative decrease), and pauses after failures.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

/// Pause after the first failure; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
pub(crate) const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Answers that come so soon after one that made the limit smaller are about the same moment.
const ONE_MOMENT: Duration = Duration::from_secs(1);

/// A pause after so many failures in a row, jittered so that agents do not come back together.
pub(crate) fn pause(failures: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1u32 << failures.min(16)).min(LAST_PAUSE);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// How many requests may be under way.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: f64,
    most: usize,
    last_cut: Option<Instant>,
}

impl Pace {
    /// Begins with one: an agent that starts beside many others does not meet OpenSearch with all it has, nor does it
    /// read back into memory what lies on its disk while nobody may be there to take it.
    pub fn new(most: usize) -> Pace {
        Pace { limit: 1.0, most: most.max(1), last_cut: None }
    }

    /// Requests that may be under way.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// A request was answered without a word of being busy: one more for each full round.
    pub fn went_well(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(self.most as f64);
    }

    /// OpenSearch said that it is busy.
    pub fn was_busy(&mut self, now: Instant) {
        if self.last_cut.is_some_and(|cut| now.duration_since(cut) < ONE_MOMENT) {
            return;
        }
        self.last_cut = Some(now);
        self.limit = (self.limit / 2.0).max(1.0);
    }
}

/// Whether requests arrive at all. While they do not, one at a time is tried.
#[derive(Debug, Default)]
pub(crate) struct Link {
    failures: u32,
    next: Option<Instant>,
    whatever_is_sent: bool,
}

impl Link {
    /// Whether the last request failed as a whole.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether the last request failed for a cause that cannot lie in what it held.
    pub fn fails_whatever_is_sent(&self) -> bool {
        self.whatever_is_sent
    }

    /// When the next request may be sent; `None` is at any time.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// A request was answered.
    pub fn went_well(&mut self) {
        *self = Link::default();
    }

    /// A request failed as a whole. Those that were under way with it do not make the pause longer.
    pub fn failed(&mut self, now: Instant, at_least: Option<Duration>) {
        self.whatever_is_sent = false;
        self.pause(now, at_least);
    }

    /// The same, and any other request would have failed too.
    pub fn failed_whatever_is_sent(&mut self, now: Instant) {
        self.whatever_is_sent = true;
        self.pause(now, None);
    }

    fn pause(&mut self, now: Instant, at_least: Option<Duration>) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        let wait = pause(self.failures).max(at_least.unwrap_or_default()).min(LAST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.next = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_grows_slowly_and_halves_once_a_moment() {
        let mut pace = Pace::new(8);
        assert_eq!(pace.limit(), 1);
        for _ in 0..100 {
            pace.went_well();
        }
        assert_eq!(pace.limit(), 8);
        let now = Instant::now();
        pace.was_busy(now);
        pace.was_busy(now);
        assert_eq!(pace.limit(), 4);
        for second in 1..9 {
            pace.was_busy(now + Duration::from_secs(second));
        }
        assert_eq!(pace.limit(), 1);
        pace.went_well();
        assert_eq!(pace.limit(), 2);
    }

    #[test]
    fn pauses_grow_to_their_cap_and_differ() {
        for failures in 0..40 {
            let wait = pause(failures);
            let full = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LAST_PAUSE);
            assert!(wait >= full / 2 && wait <= full, "{failures}: {wait:?}");
        }
        assert!((0..20).any(|_| pause(3) != pause(3)));
    }

    #[test]
    fn failures_of_one_moment_count_once() {
        let (mut link, now) = (Link::default(), Instant::now());
        link.failed(now, None);
        let next = link.next();
        link.failed(now, None);
        assert_eq!(link.next(), next);
        link.failed(now + LAST_PAUSE, Some(Duration::from_secs(3600)));
        assert_eq!(link.next(), Some(now + LAST_PAUSE * 2));
        link.went_well();
        assert!(!link.is_failing() && link.next().is_none());
    }
}
