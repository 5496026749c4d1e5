//! How fast messages may come, in bytes a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What may come at once after a pause, in seconds' worth.
const BURST: Duration = Duration::from_secs(1);

/// Lets bytes pass at a rate. Who is too fast waits, which holds up its connection and nobody's bytes.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    /// When what was let through so far is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    /// At least one byte a second.
    pub fn new(bytes_per_second: u64) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), paid: Mutex::default() }
    }

    /// Waits until so many bytes may pass.
    pub async fn wait(&self, bytes: usize) {
        let price = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let until = {
            let now = Instant::now();
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let from = paid.unwrap_or(now).max(now.checked_sub(BURST).unwrap_or(now));
            *paid = from.checked_add(price);
            from
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_behind_a_first_burst() {
        let pace = Pace::new(1_000);
        let begun = Instant::now();
        let mut took = Vec::new();
        for _ in 0..4 {
            pace.wait(500).await;
            took.push(begun.elapsed().as_millis());
        }
        assert_eq!(took, [0, 500, 1_000, 1_500]);
        // A pause saves up a second's worth and no more.
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..3 {
            pace.wait(1_000).await;
        }
        assert_eq!(begun.elapsed().as_millis(), 1_000);
    }
}
