//! What the source counts, and how its targets are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ingest::Counts;

/// Families that are remembered of a target, those with the most series.
pub(crate) const TOP_FAMILIES: usize = 20;

/// Why a scrape failed, or a list of targets could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection, or it broke.
    Connection,
    /// No whole answer in time.
    Timeout,
    /// A status other than 200.
    Status,
    /// A content type of no known format.
    ContentType,
    /// A body that is not what its format says.
    Malformed,
    /// A body that cannot be unpacked.
    Encoding,
    /// A body that is too large.
    BodyLimit,
    /// More samples than may be.
    SampleLimit,
    /// More or longer labels than may be.
    LabelLimit,
    /// Labels that are none after relabelling.
    Labels,
    /// More targets than may be.
    TargetLimit,
    /// A secret or certificate that cannot be read or used.
    Secret,
}

/// How a target was when it was last scraped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape succeeded.
    Up,
    /// The last scrape failed.
    Down,
}

/// What a source of this kind counts.
#[derive(Debug, Default)]
pub struct ScrapeMetrics {
    /// Scrapes, failed ones too.
    pub scrapes: AtomicU64,
    /// Times at which a target was not scraped, because the scrape before was still under way.
    pub skipped: AtomicU64,
    /// Samples handed on, stale markers and the source's own (`up` and so on) too.
    pub samples: AtomicU64,
    /// Stale markers among them.
    pub stale_markers: AtomicU64,
    /// Bytes of bodies, unpacked.
    pub bytes: AtomicU64,
    /// Samples dropped because their series had one of that time already.
    pub duplicates: AtomicU64,
    /// Samples with timestamps of their own dropped because they are older than one sent.
    pub out_of_order: AtomicU64,
    /// Samples dropped because their timestamps are more than 10 minutes ahead.
    pub out_of_bounds: AtomicU64,
    /// Discovered targets that are none: no address, no duration, and so on.
    pub invalid_targets: AtomicU64,
    /// Lists of targets that could not be had.
    pub discovery_failures: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
    targets: Mutex<Vec<Arc<TargetStatus>>>,
}

/// How one target is.
#[derive(Clone, Debug, Default)]
pub struct TargetSnapshot {
    /// Its label `job`.
    pub job: String,
    /// Its label `instance`.
    pub instance: String,
    /// What is asked, without secrets.
    pub url: String,
    /// Its class, if it has one.
    pub class: String,
    /// How often it is scraped now.
    pub interval: Duration,
    /// How it was.
    pub health: Health,
    /// What was wrong with the last scrape.
    pub last_error: Option<String>,
    /// When it was scraped last, in nanoseconds since the Unix epoch; 0 for never.
    pub last_scrape: i64,
    /// How long the last scrape took.
    pub last_duration: Duration,
    /// Series that are known now.
    pub series: u64,
    /// Samples of the last scrape.
    pub samples: u64,
    /// Those among them that were left after relabelling.
    pub samples_after_relabelling: u64,
    /// Bytes of the last body, unpacked.
    pub bytes: u64,
    /// The families of metrics with the most series: names and numbers, the largest first.
    pub top: Vec<(Arc<str>, u64)>,
}

/// Holds the state of a target for those who look.
#[derive(Debug, Default)]
pub(crate) struct TargetStatus(Mutex<TargetSnapshot>);

// === impl Failure ===

impl Failure {
    /// All reasons.
    pub const ALL: [Failure; 12] = [
        Failure::Connection,
        Failure::Timeout,
        Failure::Status,
        Failure::ContentType,
        Failure::Malformed,
        Failure::Encoding,
        Failure::BodyLimit,
        Failure::SampleLimit,
        Failure::LabelLimit,
        Failure::Labels,
        Failure::TargetLimit,
        Failure::Secret,
    ];

    /// As it stands in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Failure::Connection => "connection",
            Failure::Timeout => "timeout",
            Failure::Status => "status",
            Failure::ContentType => "content_type",
            Failure::Malformed => "malformed",
            Failure::Encoding => "encoding",
            Failure::BodyLimit => "body_size_limit",
            Failure::SampleLimit => "sample_limit",
            Failure::LabelLimit => "label_limit",
            Failure::Labels => "labels",
            Failure::TargetLimit => "target_limit",
            Failure::Secret => "secret",
        }
    }
}

// === impl ScrapeMetrics ===

impl ScrapeMetrics {
    /// Scrapes that failed for this reason.
    pub fn failures(&self, failure: Failure) -> u64 {
        self.failures.get(failure as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// How all targets are, in the order of job and instance.
    pub fn targets(&self) -> Vec<TargetSnapshot> {
        let mut targets: Vec<TargetSnapshot> =
            self.list().iter().map(|target| target.0.lock_it().clone()).collect();
        targets.sort_by(|one, other| {
            (&one.job, &one.instance, &one.url).cmp(&(&other.job, &other.instance, &other.url))
        });
        targets
    }

    /// How many targets are in this state.
    pub fn count(&self, health: Health) -> u64 {
        self.list().iter().filter(|target| target.0.lock_it().health == health).count() as u64
    }

    /// How many series are known now.
    pub fn series(&self) -> u64 {
        self.list().iter().map(|target| target.0.lock_it().series).sum()
    }

    pub(crate) fn fail(&self, failure: Failure) {
        if let Some(counter) = self.failures.get(failure as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_scrape(&self, counts: &Counts) {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        self.duplicates.fetch_add(counts.duplicates, Ordering::Relaxed);
        self.out_of_bounds.fetch_add(counts.out_of_bounds, Ordering::Relaxed);
    }

    pub(crate) fn add_target(&self, status: &Arc<TargetStatus>) {
        self.list().push(Arc::clone(status));
    }

    pub(crate) fn remove_target(&self, status: &Arc<TargetStatus>) {
        self.list().retain(|known| !Arc::ptr_eq(known, status));
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<TargetStatus>>> {
        self.targets.lock_it()
    }
}

// === impl TargetStatus ===

impl TargetStatus {
    pub(crate) fn new(snapshot: TargetSnapshot) -> Arc<TargetStatus> {
        Arc::new(TargetStatus(Mutex::new(snapshot)))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut TargetSnapshot)) {
        change(&mut self.0.lock_it());
    }
}

/// Locks, also behind a thread that panicked: what is held are numbers and texts.
trait LockIt<T> {
    fn lock_it(&self) -> MutexGuard<'_, T>;
}

impl<T> LockIt<T> for Mutex<T> {
    fn lock_it(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
