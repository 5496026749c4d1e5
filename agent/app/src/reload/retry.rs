//! When something that was refused is tried again.

use std::time::{Duration, SystemTime};

use rand::Rng as _;
use tokio::time::Instant;

/// After the first refusal.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// The next try.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    at: Instant,
    pause: Duration,
}

// === impl Retry ===

impl Retry {
    /// After another refusal, twice as long as the last time.
    pub fn behind(before: Option<Retry>) -> Retry {
        let pause = before.map_or(FIRST, |before| (before.pause * 2).min(LONGEST));
        // Not all nodes at once.
        let jitter = rand::rng().random_range(0.8..1.2);
        Retry { at: Instant::now() + pause.mul_f64(jitter), pause }
    }

    /// When it is.
    pub fn time(self) -> SystemTime {
        SystemTime::now() + self.at.saturating_duration_since(Instant::now())
    }
}

/// Returns when it is time; never where nothing is to be tried again.
pub async fn wait(retry: Option<Retry>) {
    match retry {
        Some(retry) => tokio::time::sleep_until(retry.at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut retry = None;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let next = Retry::behind(retry);
            let after = next.at.saturating_duration_since(Instant::now());
            assert!(after <= next.pause.mul_f64(1.2) && after >= next.pause.mul_f64(0.5), "{after:?}");
            pauses.push(next.pause.as_secs());
            retry = Some(next);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
