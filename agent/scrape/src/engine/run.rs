//! The task of one target: scrapes it when it is time, and ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use weir_pipeline::source::Mode;

use super::{Scraped, Shared, TargetState, Work};
use crate::ingest::{Counts, ReadSettings, ScrapeError, Staged};
use crate::metrics::{Failure, Health, TargetStatus};
use crate::report::Report;
use crate::schedule::{aligned, following_time, next_time};
use crate::settings::Job;
use crate::target::Target;

/// No longer sleep than this, since the clock may be set, and a profile begin or end.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
const NS_PER_MS: i64 = 1_000_000;

/// What a task is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Scrape.
    Run,
    /// The target is gone: wait, then end its series.
    End,
    /// Another goes on with its series.
    HandOver,
}

/// Scrapes one target.
pub(crate) struct Scraper {
    pub(super) shared: Arc<Shared>,
    pub(super) target: Arc<Target>,
    pub(super) job: Job,
    pub(super) read: ReadSettings,
    status: Arc<TargetStatus>,
    orders: watch::Receiver<Order>,
}

/// What came of asking a target.
pub(super) struct Outcome {
    pub(super) result: Result<Staged, ScrapeError>,
    /// What was counted up to a failure.
    pub(super) counts: Counts,
    pub(super) bytes: u64,
}

// === impl Scraper ===

impl Scraper {
    pub(super) fn new(
        shared: Arc<Shared>,
        target: Arc<Target>,
        job: &Job,
        status: Arc<TargetStatus>,
        orders: watch::Receiver<Order>,
    ) -> Scraper {
        let read = ReadSettings {
            honor_timestamps: job.honor_timestamps,
            native_histograms: job.native_histograms,
            always_scrape_classic_histograms: job.always_scrape_classic_histograms,
            sample_limit: job.sample_limit,
        };
        // Lists of targets may be long, and are of no use here.
        let job = Job { groups: Vec::new(), files: Vec::new(), servers: Vec::new(), ..job.clone() };
        Scraper { shared, target, job, read, status, orders }
    }

    /// Scrapes until it is told otherwise; then returns what it knows of its series, if another goes on with them.
    pub(super) async fn run(
        mut self,
        before: Option<JoinHandle<Option<Box<TargetState>>>>,
    ) -> Option<Box<TargetState>> {
        let known = match before {
            Some(before) => before.await.ok().flatten(),
            None => None,
        };
        let mut state = match known {
            Some(state) => state,
            None => self.shared.new_state(&self.target, &self.job)?,
        };
        let mut due = self.shared.clock.now();
        let mut is_first = true;
        loop {
            if !self.wait_until(&mut due, is_first).await {
                return self.end(state, due).await;
            }
            state = self.scrape(state, due).await?;
            if self.shared.mode == Mode::Once {
                return None;
            }
            let (now, interval) = (self.shared.clock.now(), self.interval());
            let missed;
            (due, missed) = following_time(due, now, interval, self.target.hash);
            self.shared.metrics.skipped.fetch_add(missed, Ordering::Relaxed);
            is_first = false;
        }
    }

    /// Waits until it is time, by the clock and by the profile that holds then; false when there is something else to do.
    async fn wait_until(&mut self, due: &mut i64, is_first: bool) -> bool {
        let mut interval = self.interval();
        loop {
            if *self.orders.borrow() != Order::Run {
                return false;
            }
            let now = self.shared.clock.now();
            let current = self.interval();
            if current != interval && !is_first {
                interval = current;
                *due = next_time(now, interval, self.target.hash);
            }
            // A clock that was set back would let it wait for long.
            if !is_first && *due - now > 2 * nanoseconds(interval) {
                *due = next_time(now, interval, self.target.hash);
            }
            if *due <= now {
                return true;
            }
            let left = Duration::from_nanos((*due - now).unsigned_abs()).min(LONGEST_SLEEP);
            tokio::select! {
                () = sleep(left) => {}
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return false;
                    }
                }
            }
        }
    }

    /// How often the target is scraped now.
    fn interval(&self) -> Duration {
        let pace = &self.target.pace;
        let now = self.shared.clock.now();
        self.shared.profiles.interval(&pace.class, now).unwrap_or(pace.interval)
    }

    /// Scrapes once; `None` when the source ends.
    async fn scrape(&self, mut state: Box<TargetState>, due: i64) -> Option<Box<TargetState>> {
        let permit = self.shared.permits.acquire().await.ok()?;
        let interval = self.interval();
        let limit = self.target.pace.timeout.min(interval);
        let now = self.shared.clock.now();
        // Never twice at the same time, also when the clock is set back a little.
        let time = (aligned(now, due, interval) / NS_PER_MS).max(state.cache.last_time.saturating_add(1));
        let started = Instant::now();
        state.cache.begin();
        let outcome = match self.shared.forced_error(&self.target) {
            Some(error) => Outcome { result: Err(error), counts: Counts::default(), bytes: 0 },
            None => match timeout(limit, self.fetch(&mut state, limit, time)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let message = format!("no whole answer within {} s", limit.as_secs_f64());
                    let error = ScrapeError { failure: Failure::Timeout, message };
                    Outcome { result: Err(error), counts: Counts::default(), bytes: 0 }
                }
            },
        };
        let duration = started.elapsed();
        let Outcome { result, counts, bytes } = outcome;
        self.count(&counts, bytes);
        let (staged, error) = match result {
            Ok(staged) => (Some(staged), None),
            Err(error) => {
                state.cache.roll_back();
                self.shared.metrics.fail(error.failure);
                (None, Some(error))
            }
        };
        self.tell(&error, (now, duration, interval), &counts, bytes);
        let report = Report { time, is_up: error.is_none(), duration, counts };
        let (back, returned) = oneshot::channel();
        let (track_timestamps, status) = (self.job.track_timestamps_staleness, Arc::clone(&self.status));
        let scraped = Scraped { state, staged, report, track_timestamps, status, back };
        let is_taken = self.shared.hand_over(Work::Scraped(Box::new(scraped))).await;
        drop(permit);
        if is_taken { returned.await.ok() } else { None }
    }

    /// Counts a scrape.
    fn count(&self, counts: &Counts, bytes: u64) {
        self.shared.metrics.count_scrape(counts);
        self.shared.metrics.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.source.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes how the target is, and says it where that has changed.
    fn tell(
        &self,
        error: &Option<ScrapeError>,
        (time, duration, interval): (i64, Duration, Duration),
        counts: &Counts,
        bytes: u64,
    ) {
        let health = if error.is_none() { Health::Up } else { Health::Down };
        let message = error.as_ref().map(|error| error.message.clone());
        let mut before = Health::Unknown;
        self.status.change(|snapshot| {
            before = snapshot.health;
            (snapshot.health, snapshot.last_error) = (health, message.clone());
            (snapshot.last_scrape, snapshot.last_duration) = (time, duration);
            (snapshot.interval, snapshot.bytes) = (interval, bytes);
            (snapshot.samples, snapshot.samples_after_relabelling) =
                (counts.scraped, counts.after_relabelling);
        });
        let (job, instance) = (&*self.job.name, self.target.labels().get("instance").unwrap_or_default());
        match (&message, before) {
            (Some(error), Health::Unknown | Health::Up) => {
                tracing::warn!(job, instance, error, "a target cannot be scraped");
            }
            (None, Health::Down) => tracing::info!(job, instance, "the target is scraped again"),
            _ => {}
        }
    }

    /// The target is gone: its series end unless another goes on with them.
    async fn end(mut self, mut state: Box<TargetState>, due: i64) -> Option<Box<TargetState>> {
        if state.cache.last_time == i64::MIN {
            return Some(state);
        }
        let (interval, hash) = (self.interval(), self.target.hash);
        let until = next_time(due, interval, hash).saturating_add(nanoseconds(interval) / 10);
        loop {
            if *self.orders.borrow() == Order::HandOver {
                return Some(state);
            }
            let left = until - self.shared.clock.now();
            if left <= 0 {
                break;
            }
            tokio::select! {
                () = sleep(Duration::from_nanos(left.unsigned_abs()).min(LONGEST_SLEEP)) => {}
                // The source ends: nothing becomes stale.
                changed = self.orders.changed() => if changed.is_err() { return None },
            }
        }
        let time = (due / NS_PER_MS).max(state.cache.last_time.saturating_add(1));
        state.cache.begin();
        self.shared.hand_over(Work::Ended(state, time)).await;
        None
    }
}

fn nanoseconds(interval: Duration) -> i64 {
    i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX / 4)
}
