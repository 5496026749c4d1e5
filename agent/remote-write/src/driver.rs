//! The driver: from the buffer to the receiver, one request of each shard at once, until every sample has an end.
//!
//! 1. A series belongs to one shard (its hash modulo their number, which `spread` chooses). A shard has one request
//!    under way, and the next one goes when that has its end; so the samples of a series arrive in the order of the
//!    buffer, whatever fails.
//! 2. A lease is settled when all its samples have their end, in whatever shards they were.
//! 3. What may succeed later is sent again as it is, with pauses; what the receiver refuses for good is dropped and booked
//!    by reason. A wrong configuration, here or there, drops nothing: requests wait for it to be put right.
//! 4. Leases hold at most half of the buffer's memory, but for one that is larger. While nobody is there, nothing more is
//!    taken.
//! 5. When another driver is to go on, requests under way are waited for. What has no end then goes back to its place in
//!    the buffer; of a lease of which some samples have, only the others.

mod answers;
mod families;
mod spread;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use weir_buffer::memory::{Lease, MemoryTier};
use weir_pipeline::sink::{Driving, SinkMetrics};

use self::families::Families;
use self::spread::Spread;
use crate::batch::{Batch, Piece};
use crate::book::Books;
use crate::encode::{Encoded, Encoder, Options};
use crate::exchange::{Answer, Exchange, Failure};
use crate::metrics::Metrics;
use crate::negotiate::{Negotiation, Version};
use crate::settings::Settings;
use crate::shard::{Shard, Whole};

/// After the agent said that it goes: how long requests under way may take to be answered.
const LAST_ANSWERS: Duration = Duration::from_millis(1500);
/// After another driver was named: how long requests under way may take. What still is then may be sent twice.
const HAND_OVER: Duration = Duration::from_secs(60);
/// Encoders that are kept for the next request; each has the memory of a request.
const KEPT_ENCODERS: usize = 1;

/// Brings samples from one buffer to a receiver.
pub(crate) struct Driver {
    settings: Arc<Settings>,
    exchange: Arc<dyn Exchange>,
    metrics: Arc<Metrics>,
    name: String,
    buffer: Arc<MemoryTier>,
    totals: Arc<SinkMetrics>,
    give_up: watch::Receiver<bool>,
    retire: watch::Receiver<bool>,
    encoders: Arc<Encoders>,
    negotiation: Negotiation,
    books: Books,
    shards: Vec<Shard>,
    spread: Spread,
    families: Families,
    tasks: JoinSet<Finished>,
    /// Which shard a task is of.
    under_way: HashMap<Id, usize>,
    /// Nothing is sent before: a receiver asked for it.
    not_before: Instant,
    /// Failures since something was taken.
    failures: u32,
    /// Whatever is sent would fail.
    is_away: bool,
    /// Requests that had their end by an answer.
    answered: u64,
    /// When a refusal was last told.
    told_refusal: Option<Instant>,
    is_closed: bool,
    is_given_up: bool,
    is_retired: bool,
    /// When requests under way are left to themselves.
    ends: Option<Instant>,
}

/// Encoders that nobody uses now.
#[derive(Default)]
struct Encoders(Mutex<Vec<Encoder>>);

/// A request with its answer.
struct Finished {
    version: Version,
    encoded: Arc<Encoded>,
    /// `None` for a request without anything to be sent.
    answer: Option<Result<Answer, Failure>>,
}

// === impl Driver ===

impl Driver {
    pub fn new(
        settings: Arc<Settings>,
        exchange: Arc<dyn Exchange>,
        metrics: Arc<Metrics>,
        driving: Driving,
    ) -> Driver {
        let Driving { name, buffer, metrics: totals, give_up, retire } = driving;
        let now = Instant::now();
        Driver {
            negotiation: Negotiation::new(settings.protocol),
            shards: (0..settings.shards.max(1)).map(|_| Shard::new(&settings, now)).collect(),
            spread: Spread::new(settings.shards.max(1), now),
            settings,
            exchange,
            metrics,
            name,
            buffer,
            totals,
            give_up,
            retire,
            encoders: Arc::default(),
            books: Books::default(),
            families: Families::default(),
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
            not_before: now,
            failures: 0,
            is_away: false,
            answered: 0,
            told_refusal: None,
            is_closed: false,
            is_given_up: false,
            is_retired: false,
            ends: None,
        }
    }

    /// Until the buffer is closed and everything has its end, until the agent gives up, or until another driver is to go
    /// on.
    pub async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.respread(now);
            self.launch(now);
            self.show();
            if self.is_done(now) {
                break;
            }
            let wake = self.next_wake(now);
            let wants_more = self.wants_more();
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.finish(ended, Instant::now());
                }
                () = told(&mut self.give_up), if !self.is_given_up => {
                    self.is_given_up = true;
                    self.ends = Some(Instant::now() + LAST_ANSWERS);
                }
                () = told(&mut self.retire), if !self.is_retired => {
                    self.is_retired = true;
                    self.ends = self.ends.or(Some(Instant::now() + HAND_OVER));
                }
                lease = self.buffer.take(), if wants_more => match lease {
                    Some(lease) => self.intake(lease, Instant::now()),
                    None => self.is_closed = true,
                },
                () = tokio::time::sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
        self.end().await;
    }

    // --- taking ---

    fn wants_more(&self) -> bool {
        if self.is_closed || self.ends.is_some() || self.is_full() {
            return false;
        }
        // What a disk holds is not read back into memory for somebody who is not there, or may not be.
        let is_unproven = self.answered == 0 && !self.tasks.is_empty();
        if !self.books.is_empty() && (self.is_away || is_unproven) {
            return false;
        }
        let mut active = self.shards.iter().take(self.spread.active);
        active.any(|shard| !shard.has_enough(&self.settings))
    }

    /// Leases hold as much memory as they may.
    fn is_full(&self) -> bool {
        self.books.memory() >= self.buffer.bound() / 2
    }

    /// Each sample to its shard.
    fn intake(&mut self, lease: Lease, now: Instant) {
        let documents = Arc::clone(lease.documents());
        if documents.records.is_empty() {
            return lease.delivered();
        }
        if self.settings.metadata {
            self.families.look_at(&documents.streams, now);
        }
        if self.books.is_empty() {
            self.spread.begin(now);
        }
        let number = self.books.open(lease);
        let parts = Piece::new(number, documents, now).spread(self.spread.active);
        for (shard, part) in self.shards.iter_mut().zip(parts) {
            shard.push(part);
        }
    }

    // --- sending ---

    fn launch(&mut self, now: Instant) {
        if self.ends.is_some() {
            return;
        }
        let whole = Whole { is_closed: self.is_closed, is_full: self.is_full() };
        let version = self.negotiation.version(now);
        for (index, shard) in self.shards.iter_mut().enumerate() {
            if !self.spread.is_changing() {
                shard.fill(&self.settings, &whole, self.families.due(), now);
            }
            if self.not_before > now {
                continue;
            }
            let Some(batch) = shard.ready(now) else { continue };
            let known = shard.encoded.clone().filter(|(of, _)| *of == version).map(|(_, encoded)| encoded);
            let request = Request {
                version,
                batch: Arc::clone(batch),
                options: Options {
                    exemplars: self.settings.exemplars,
                    native_histograms: self.settings.native_histograms,
                    metadata: self.settings.metadata,
                },
                known,
            };
            let parts = (Arc::clone(&self.exchange), Arc::clone(&self.encoders), Arc::clone(&self.metrics));
            let task = self.tasks.spawn(exchange(request, parts.0, parts.1, parts.2));
            self.under_way.insert(task.id(), index);
            shard.is_busy = true;
        }
    }

    fn finish(&mut self, ended: Result<(Id, Finished), JoinError>, now: Instant) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(index) = self.under_way.remove(&id) else { return };
        if let Some(shard) = self.shards.get_mut(index) {
            shard.is_busy = false;
        }
        match ended {
            Ok((_, finished)) => self.finished(index, finished, now),
            Err(error) => {
                let error = format!("the request ended by a fault in the agent: {error}");
                self.unanswered(index, &error, now);
            }
        }
    }

    /// The next moment at which something may be done that cannot be done now.
    fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.ends.is_some() {
            return self.ends;
        }
        let idle = self.shards.iter().filter(|shard| !shard.is_busy);
        let next = |shard: &Shard| match shard.batches.is_empty() {
            true => shard.ripe_at(&self.settings),
            false => Some(shard.due),
        };
        idle.filter_map(next).map(|at| at.max(self.not_before)).filter(|at| *at > now).min()
    }

    // --- ending ---

    fn is_empty(&self) -> bool {
        self.is_closed && self.books.is_empty() && self.tasks.is_empty()
    }

    fn is_done(&self, now: Instant) -> bool {
        match self.ends {
            Some(ends) => now >= ends || self.tasks.is_empty(),
            None => self.is_empty(),
        }
    }

    async fn end(mut self) {
        let is_empty = self.is_empty();
        self.tasks.shutdown().await;
        self.under_way.clear();
        if self.is_retired {
            self.failures = 0;
        }
        self.show();
        if !self.is_retired && !is_empty {
            self.totals.abandoned.store(1, Ordering::Relaxed);
            let stay = match self.books.is_kept() {
                true => "they stay in its disk buffer",
                false => "they are read again at the next start",
            };
            tracing::error!(sink = %self.name, "stopped with undelivered samples; {stay}");
        }
        self.metrics.pending.store(0, Ordering::Relaxed);
        self.books.give_back(self.shards.iter().flat_map(Shard::pieces));
    }

    fn show(&self) {
        let in_flight = self.tasks.len() as u64;
        self.totals.failing.store(u64::from(self.failures > 0), Ordering::Relaxed);
        self.totals.trying.store(u64::from(in_flight > 0), Ordering::Relaxed);
        self.metrics.in_flight.store(in_flight, Ordering::Relaxed);
        self.metrics.pending.store(self.books.pending(), Ordering::Relaxed);
    }
}

/// What a task is to send.
struct Request {
    version: Version,
    batch: Arc<Batch>,
    options: Options,
    /// It was made before.
    known: Option<Arc<Encoded>>,
}

/// One request: made off the reactor, sent, and its answer read.
async fn exchange(
    request: Request,
    exchange: Arc<dyn Exchange>,
    encoders: Arc<Encoders>,
    metrics: Arc<Metrics>,
) -> Finished {
    let version = request.version;
    let encoded = match request.known {
        Some(encoded) => encoded,
        None => {
            let making = tokio::task::spawn_blocking(move || {
                encoders.encode(&request.batch, version, request.options)
            });
            match making.await {
                Ok(encoded) => Arc::new(encoded),
                // As if this task had panicked: it has the same end.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    };
    if encoded.sent.points() == 0 {
        return Finished { version, encoded, answer: None };
    }
    metrics.count_request(version, &encoded);
    let answer = exchange.write(version, encoded.body.clone()).await;
    Finished { version, encoded, answer: Some(answer) }
}

// === impl Encoders ===

impl Encoders {
    fn encode(&self, batch: &Batch, version: Version, options: Options) -> Encoded {
        let mut encoder = self.lock().pop().unwrap_or_default();
        encoder.reserve(batch.bytes());
        let encoded = match version {
            Version::V1 => encoder.v1(batch.items(), &batch.families, options),
            Version::V2 => encoder.v2(batch.items(), options),
        };
        let mut kept = self.lock();
        if kept.len() < KEPT_ENCODERS {
            kept.push(encoder);
        }
        encoded
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Encoder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when this says true, which it never does when nobody is left to say it.
async fn told(of: &mut watch::Receiver<bool>) {
    if of.wait_for(|told| *told).await.is_err() {
        std::future::pending().await
    }
}
