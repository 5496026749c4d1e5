//! The writer: from the buffer to the object store, in groups by namespace and hour.
//!
//! 1. A lease is divided by namespace and hour, and each part gathers in its group. A group is closed when its object
//!    would have `max_object_bytes`, when it is `max_object_age` old, when nothing more comes, and the largest first when
//!    open groups take more memory than they may, or the buffer has something that finds no room.
//! 2. A part is delivered when the object with its documents is stored and in the index, never before. What was not
//!    delivered when the agent ended comes again, in other groups: the archive may hold an event twice then, and its
//!    readers drop what has the same id and time.
//! 3. Objects are made and stored off the reactor, [`Settings::uploads`] at a time; one group of a namespace and hour at
//!    a time, since they share an index. While the store fails, one is tried at a time, with pauses.
//! 4. A try is never repeated before it has ended: the store bounds its time, and threads do not pile up.
//! 5. When another driver is to go on, what is not under way is given back at once; what is under way is waited for, and
//!    given back if it fails.
//!
//! Memory. What is leased counts to the buffer's bound until it is delivered. Open groups hold the smaller of
//! `max_open_bytes` and a quarter of the bound; everything together, closed and under way too, stops taking at half of the
//! bound. So `max_open_bytes` of 64 MiB is used with a buffer of 256 MiB; with the default buffer of 16 MiB open groups
//! have 4 MiB, and objects are small. Beside the buffer each upload takes, for an object of `n` raw bytes, 48 bytes for
//! each event to sort them, a frame, and twice the compressed object; and 272 KiB for each indexed field.

mod closing;
pub(crate) mod group;
pub(crate) mod store;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use weir_buffer::memory::{Lease, MemoryTier};
use weir_buffer::object::ObjectStore;
use weir_pipeline::sink::{Drive, Driving, SinkMetrics};

use self::closing::LOOK;
use self::group::{Group, GroupKey, partition};
use self::store::{Attempt, Store};
use crate::metrics::Metrics;
use crate::settings::{Settings, SettingsError};

/// After the agent said that it goes: how long what is under way may take.
const LAST_ANSWERS: Duration = Duration::from_millis(1500);
/// After another driver was named: how long what is under way may take. What still is then may be stored twice.
const HAND_OVER: Duration = Duration::from_secs(60);
/// Pause after the first failure; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// How many bytes an object has for each byte of documents, before one was made.
const FIRST_RATIO: f64 = 0.15;

/// The sink `s3`: an archive that one agent writes to.
pub struct Archive {
    store: Arc<Store>,
}

/// An archive at work on one buffer.
struct Driver {
    store: Arc<Store>,
    name: String,
    buffer: Arc<MemoryTier>,
    totals: Arc<SinkMetrics>,
    give_up: watch::Receiver<bool>,
    retire: watch::Receiver<bool>,
    open: BTreeMap<GroupKey, Group>,
    /// To be stored.
    closed: Vec<Group>,
    uploading: HashMap<Id, Group>,
    tasks: JoinSet<Attempt>,
    /// Bytes of an object for each byte of documents, as it was of late.
    ratio: f64,
    /// Tries that failed one after the other.
    failures: u32,
    /// While tries fail, none before.
    next_try: Instant,
    /// Since when something waits in the buffer and nothing comes.
    starved: Option<Instant>,
    is_closed: bool,
    is_given_up: bool,
    is_retired: bool,
    /// When what is under way is left to itself.
    ends: Option<Instant>,
}

// === impl Archive ===

impl Archive {
    /// An archive in this store.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub fn new(
        settings: Settings,
        store: Arc<dyn ObjectStore>,
        metrics: Arc<Metrics>,
    ) -> Result<Archive, SettingsError> {
        settings.check()?;
        Ok(Archive { store: Arc::new(Store { settings, store, metrics }) })
    }
}

impl Drive for Archive {
    fn drive(self: Box<Self>, driving: Driving) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Driver::new(self.store, driving).run())
    }
}

// === impl Driver ===

impl Driver {
    fn new(store: Arc<Store>, driving: Driving) -> Driver {
        let Driving { name, buffer, metrics: totals, give_up, retire } = driving;
        let now = Instant::now();
        Driver {
            store,
            name,
            buffer,
            totals,
            give_up,
            retire,
            open: BTreeMap::new(),
            closed: Vec::new(),
            uploading: HashMap::new(),
            tasks: JoinSet::new(),
            ratio: FIRST_RATIO,
            failures: 0,
            next_try: now,
            starved: None,
            is_closed: false,
            is_given_up: false,
            is_retired: false,
            ends: None,
        }
    }

    async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.close_due(now);
            self.launch(now);
            self.show();
            if self.is_done(now) {
                break;
            }
            let wake = self.next_wake(now);
            let wants_more = self.wants_more();
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.finish(ended),
                () = told(&mut self.give_up), if !self.is_given_up => {
                    self.is_given_up = true;
                    self.ends = Some(Instant::now() + LAST_ANSWERS);
                }
                () = told(&mut self.retire), if !self.is_retired => self.hand_over(),
                lease = self.buffer.take(), if wants_more => {
                    self.starved = None;
                    match lease {
                        Some(lease) => self.intake(lease),
                        None => self.is_closed = true,
                    }
                }
                () = tokio::time::sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
        self.end();
    }

    // --- taking ---

    fn wants_more(&self) -> bool {
        !self.is_closed && self.ends.is_none() && self.memory() < self.buffer.bound() / 2
    }

    /// Bytes of memory of everything that is not delivered yet.
    fn memory(&self) -> u64 {
        let groups = self.closed.iter().chain(self.uploading.values());
        self.open_memory() + groups.map(Group::memory).sum::<u64>()
    }

    fn open_memory(&self) -> u64 {
        self.open.values().map(Group::memory).sum()
    }

    fn intake(&mut self, lease: Lease) {
        if lease.documents().records.is_empty() {
            lease.delivered();
            return;
        }
        let now = Instant::now();
        for (key, lease) in partition(lease) {
            self.open.entry(key).or_insert_with_key(|key| Group::new(key.clone(), now)).push(lease);
        }
    }

    // --- storing ---

    fn launch(&mut self, now: Instant) {
        while self.ends.is_none() && self.tasks.len() < self.allowed(now) {
            let is_free = |group: &Group| self.uploading.values().all(|other| other.key != group.key);
            let due = self.closed.iter().enumerate().filter(|(_, group)| group.due <= now && is_free(group));
            let Some((at, _)) = due.min_by_key(|(_, group)| (group.due, group.since)) else { return };
            let group = self.closed.swap_remove(at);
            let (store, key) = (Arc::clone(&self.store), group.key.clone());
            let (documents, encoded) = (group.documents(), group.encoded.clone());
            let task = self.tasks.spawn_blocking(move || store.run(&key, &documents, encoded));
            self.uploading.insert(task.id(), group);
        }
    }

    /// How many objects may be under way.
    fn allowed(&self, now: Instant) -> usize {
        match self.failures {
            0 => self.store.settings.uploads.max(1),
            _ => usize::from(self.next_try <= now),
        }
    }

    fn finish(&mut self, ended: Result<(Id, Attempt), JoinError>) {
        let (id, attempt) = match ended {
            Ok((id, attempt)) => (id, Ok(attempt)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(mut group) = self.uploading.remove(&id) else { return };
        match attempt {
            Ok(Attempt { encoded: Some(encoded), result: Ok(()) }) => {
                let (bytes, raw) = (encoded.entry.bytes, encoded.entry.raw_bytes);
                self.succeeded(bytes, raw, group.events().saturating_sub(encoded.entry.events));
                self.deliver(group);
            }
            Ok(attempt) => {
                group.encoded = attempt.encoded;
                let error = attempt.result.err().map(|error| error.to_string());
                self.failed(group, &error.unwrap_or_else(|| "no object was made".into()));
            }
            Err(error) => self.failed(group, &format!("storing was ended: {error}")),
        }
    }

    fn succeeded(&mut self, bytes: u64, raw_bytes: u64, duplicates: u64) {
        let metrics = &self.store.metrics;
        metrics.objects.fetch_add(1, Ordering::Relaxed);
        metrics.object_bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics.raw_bytes.fetch_add(raw_bytes, Ordering::Relaxed);
        metrics.duplicates.fetch_add(duplicates, Ordering::Relaxed);
        if raw_bytes > 0 {
            self.ratio = (self.ratio * 3.0 + bytes as f64 / raw_bytes as f64) / 4.0;
        }
        if self.failures > 0 {
            tracing::info!(sink = %self.name, "the sink takes documents again");
        }
        self.failures = 0;
    }

    fn deliver(&self, group: Group) {
        for lease in group.leases {
            let documents = lease.documents();
            self.totals.segments.fetch_add(1, Ordering::Relaxed);
            self.totals.events.fetch_add(documents.records.len() as u64, Ordering::Relaxed);
            self.totals.bytes.fetch_add(documents.ndjson.len() as u64, Ordering::Relaxed);
            lease.delivered();
        }
    }

    fn failed(&mut self, mut group: Group, error: &str) {
        let now = Instant::now();
        self.totals.retries.fetch_add(1, Ordering::Relaxed);
        if self.failures == 0 {
            tracing::warn!(sink = %self.name, %error, "the sink does not take documents; trying again");
        }
        self.next_try = now + pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        group.due = now + pause(group.tries);
        group.tries = group.tries.saturating_add(1);
        if !self.is_retired {
            self.closed.push(group);
        }
    }

    // --- ending ---

    /// Another driver is to go on: what is dropped here goes back to its place in the buffer.
    fn hand_over(&mut self) {
        self.is_retired = true;
        self.ends = self.ends.or(Some(Instant::now() + HAND_OVER));
        self.open.clear();
        self.closed.clear();
    }

    fn is_done(&self, now: Instant) -> bool {
        match self.ends {
            Some(ends) => now >= ends || self.tasks.is_empty(),
            None => self.is_empty(),
        }
    }

    /// Nothing is left, and nothing comes.
    fn is_empty(&self) -> bool {
        self.is_closed && self.open.is_empty() && self.closed.is_empty() && self.uploading.is_empty()
    }

    fn end(mut self) {
        let undelivered = self.open.len() + self.closed.len() + self.uploading.len();
        let is_kept = self.open.values().chain(&self.closed).chain(self.uploading.values());
        let is_kept = is_kept.flat_map(|group| &group.leases).all(Lease::is_kept);
        let is_retired = self.is_retired;
        (self.failures, self.uploading) = (if is_retired { 0 } else { self.failures }, HashMap::new());
        self.tasks.detach_all();
        self.open.clear();
        self.closed.clear();
        self.show();
        // What waits in the buffer is undelivered as well, when nobody takes it.
        if !is_retired && (undelivered > 0 || !self.is_closed) {
            self.totals.abandoned.store(1, Ordering::Relaxed);
            let stay = match is_kept {
                true => "they stay in its disk buffer",
                false => "they are read again at the next start",
            };
            tracing::error!(sink = %self.name, "stopped with undelivered documents; {stay}");
        }
    }

    fn show(&self) {
        self.totals.failing.store(u64::from(self.failures > 0), Ordering::Relaxed);
        self.totals.trying.store(u64::from(!self.uploading.is_empty()), Ordering::Relaxed);
        let metrics = &self.store.metrics;
        metrics.open_groups.store(self.open.len() as u64, Ordering::Relaxed);
        metrics.memory.store(self.memory(), Ordering::Relaxed);
    }

    /// The next moment at which something may be done that cannot be done now.
    fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.ends.is_some() {
            return self.ends;
        }
        let oldest = self.open.values().map(|group| group.since).min();
        let aged = oldest.map(|since| since + self.store.settings.max_object_age);
        let look = (!self.open.is_empty()).then(|| now + LOOK);
        let waiting = self.closed.iter().map(|group| group.due.max(self.next_try));
        [aged, look].into_iter().flatten().chain(waiting).filter(|at| *at > now).min()
    }
}

/// The pause behind so many failures and one, jittered.
fn pause(failures: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LAST_PAUSE);
    pause.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// Returns when this says true, which it never does when nobody is left to say it.
async fn told(of: &mut watch::Receiver<bool>) {
    if of.wait_for(|told| *told).await.is_err() {
        std::future::pending().await
    }
}
