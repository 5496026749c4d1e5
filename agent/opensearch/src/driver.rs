//! The driver: from the buffer to OpenSearch, several requests at once, until every document has an end.
//!
//! 1. A document is in one place at any time: collecting, waiting for its next try, in a request, held for its index,
//!    or on its way to the dead letters. Its lease is settled when it is delivered or a dead letter that is written.
//! 2. Only documents that have to be sent again are, in a smaller request of their own. When nothing is known about a
//!    request, all of it is sent again under the same ids.
//! 3. Documents of an index that takes nothing for now wait in the buffer, without those of other indices. When they
//!    take up half of the buffer, further ones become dead letters.
//! 4. While requests fail as a whole, one at a time is tried, with pauses.
//! 5. A document that fails by itself, for long and often, while others are taken, becomes a dead letter.

mod answers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_buffer::ledger::{Amount, Entry};
use weir_buffer::memory::{Held, Lease, MemoryTier};
use weir_buffer::segment::Targets;
use weir_pipeline::sink::{Driving, SinkMetrics};

use self::answers::position_or_push;
use crate::bulk;
use crate::exchange::Exchange;
use crate::faults::{Faults, Next, is_hopeless};
use crate::lanes::Lanes;
use crate::letters::{self, LetterFile, Verdict};
use crate::metrics::{ItemOutcome, Metrics};
use crate::outcome::{Failure, Fate, Refusal, Why, reason};
use crate::pace::{Link, Pace, pause};
use crate::parcel::{Group, Parcel, Stage, partition};
use crate::repair::{self, Repair};
use crate::route::clean;
use crate::settings::Settings;

/// After the agent said that it goes: how long requests under way may take to be answered.
const LAST_ANSWERS: Duration = Duration::from_millis(1500);
/// A request is never made smaller than this because one was too large.
const LEAST_BYTES: usize = 64 * 1024;
/// The first request has no more: what a disk holds is not read back into memory for somebody who may not be there.
const FIRST_BYTES: usize = 1024 * 1024;
/// A group that is refused as busy is halved down to this many documents.
const LEAST_EVENTS: usize = 256;
/// A group that failed so often while others were answered is halved.
const LONE_FAILURES: u32 = 3;
/// Answers from this size on are read off the reactor.
const LARGE_ANSWER: usize = 64 * 1024;

/// Brings documents from one buffer to OpenSearch.
pub(crate) struct Driver {
    settings: Arc<Settings>,
    exchange: Arc<dyn Exchange>,
    letters: Arc<LetterFile>,
    letter_index: Option<Arc<str>>,
    metrics: Arc<Metrics>,
    name: String,
    buffer: Arc<MemoryTier>,
    totals: Arc<SinkMetrics>,
    give_up: watch::Receiver<bool>,
    retire: watch::Receiver<bool>,
    /// Not sent yet, oldest first.
    collecting: Vec<Parcel>,
    /// To be sent as they are.
    waiting: Vec<Group>,
    letters_waiting: Vec<Letters>,
    letters_fail: u32,
    lanes: Lanes,
    faults: Faults,
    pace: Pace,
    link: Link,
    /// Requests that were answered item by item.
    answered: u64,
    /// Bytes of a request; below the setting after one was too large.
    max_bytes: usize,
    tasks: JoinSet<Finished>,
    requests: usize,
    writing: bool,
    is_closed: bool,
    /// When requests under way are left to themselves.
    ends: Option<Instant>,
}

/// Dead letters on their way to the file.
struct Letters {
    lease: Lease,
    reasons: Vec<&'static str>,
    lines: Arc<Vec<u8>>,
    due: Instant,
}

enum Finished {
    Request {
        group: Group,
        answer: Result<Vec<Vec<Fate>>, Failure>,
        sent_bytes: usize,
    },
    Written {
        letters: Letters,
        result: std::io::Result<()>,
    },
    /// A fault in the agent itself; the documents are unacked.
    Broken,
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
        Driver {
            exchange,
            letters: Arc::new(LetterFile::new(settings.dead_letters.file().clone())),
            letter_index: settings.dead_letters.index().map(|index| clean(index).into()),
            metrics,
            name,
            buffer,
            totals,
            give_up,
            retire,
            collecting: Vec::new(),
            waiting: Vec::new(),
            letters_waiting: Vec::new(),
            letters_fail: 0,
            lanes: Lanes::default(),
            faults: Faults::default(),
            pace: Pace::new(settings.concurrency),
            link: Link::default(),
            answered: 0,
            max_bytes: settings.max_bytes,
            tasks: JoinSet::new(),
            requests: 0,
            writing: false,
            is_closed: false,
            ends: None,
            settings,
        }
    }

    /// Until the buffer is closed and everything has its end, until the agent gives up, or until another driver is to go
    /// on.
    pub async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.launch(now).await;
            self.show();
            if self.is_done(now) {
                break;
            }
            let wake = self.next_wake(now);
            let wants_more = self.wants_more();
            tokio::select! {
                biased;
                Some(finished) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.finish(finished.unwrap_or(Finished::Broken), Instant::now());
                }
                () = stopped(&mut self.give_up, &mut self.retire), if self.ends.is_none() => {
                    self.ends = Some(Instant::now() + LAST_ANSWERS);
                }
                lease = self.buffer.take(), if wants_more => match lease {
                    Some(lease) => self.intake(lease, Instant::now()),
                    None => self.is_closed = true,
                },
                () = tokio::time::sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
        if *self.retire.borrow() {
            self.hand_over();
            return;
        }
        if !self.is_empty() {
            self.totals.abandoned.store(1, Ordering::Relaxed);
            tracing::error!(sink = %self.name, "stopped with undelivered documents; they are read again at the next start");
        }
    }

    /// Leaves everything to another driver: what is dropped with this one goes back to its place in the buffer. What
    /// was sent and not answered is sent again under its ids.
    fn hand_over(&self) {
        for (key, _) in self.buffer.held() {
            self.buffer.release_held(&key);
        }
        self.totals.failing.store(0, Ordering::Relaxed);
        self.totals.trying.store(0, Ordering::Relaxed);
        self.metrics.in_flight.store(0, Ordering::Relaxed);
    }

    // --- taking ---

    fn wants_more(&self) -> bool {
        // Others would fare no better, or nobody knows yet: they wait where they take no memory.
        let has_tried = self.link.fails_whatever_is_sent() && !self.waiting.is_empty();
        if has_tried || self.requests > 0 && (self.is_unproven() || self.link.fails_whatever_is_sent()) {
            return false;
        }
        let (bytes, events) = self.collected();
        !self.is_closed
            && self.ends.is_none()
            && bytes < self.enough_bytes()
            && events < self.settings.max_events
    }

    /// Nothing is known yet of whoever is at the other end.
    fn is_unproven(&self) -> bool {
        self.answered == 0 && !self.link.is_failing()
    }

    /// A request of so many bytes waits for no more.
    fn enough_bytes(&self) -> usize {
        if self.is_unproven() { self.max_bytes.min(FIRST_BYTES) } else { self.max_bytes }
    }

    fn collected(&self) -> (usize, usize) {
        let sum = |(bytes, events), parcel: &Parcel| (bytes + parcel.bytes(), events + parcel.events());
        self.collecting.iter().fold((0, 0), sum)
    }

    /// Documents of indices that take nothing for now go to their lanes, the others wait for their request.
    fn intake(&mut self, lease: Lease, now: Instant) {
        let lease = match self.lanes.is_empty() {
            true => Some(lease),
            false => self.hold_back(lease),
        };
        if let Some(lease) = lease {
            self.collect(Parcel::new(lease, Stage::New, now));
        }
    }

    fn collect(&mut self, parcel: Parcel) {
        parcel.cut(self.max_bytes, self.settings.max_events, &mut self.collecting);
    }

    /// Holds what belongs to closed lanes and returns the rest.
    fn hold_back(&mut self, lease: Lease) -> Option<Lease> {
        let mut keys: Vec<Arc<str>> = Vec::new();
        let labels = (0..lease.documents().records.len()).map(|index| {
            let key = lease.targets().name(index).and_then(|name| self.lanes.key(name));
            key.map_or(0, |key| 1 + position_or_push(&mut keys, key))
        });
        let labels: Vec<usize> = labels.collect();
        let mut parts = partition(lease, &labels, keys.len() + 1).into_iter();
        let open = parts.next().flatten();
        for (key, part) in keys.into_iter().zip(parts) {
            if let Some(lease) = part {
                let refusal =
                    Refusal { reason: "the index takes nothing for now".into(), ..Refusal::default() };
                self.hold(key, lease, &refusal);
            }
        }
        open
    }

    fn hold(&mut self, key: Arc<str>, lease: Lease, refusal: &Refusal) {
        if self.buffer.held_memory() + lease.memory() > self.buffer.bound() / 2 {
            let verdict = Verdict { reason: reason::INDEX_HELD, refusal: refusal.clone() };
            let verdicts = vec![verdict; lease.documents().records.len()];
            self.bury(lease, &verdicts, false);
            return;
        }
        self.buffer.hold(key, lease);
    }

    // --- sending ---

    async fn launch(&mut self, now: Instant) {
        self.launch_letters(now);
        if self.ends.is_some() {
            return;
        }
        for index in self.lanes.due(now) {
            match self.buffer.take_held(&index).await {
                Held::Segment(lease) => {
                    let parcels = vec![Parcel::new(lease, Stage::New, now)];
                    self.waiting.push(Group { probe: Some(index), ..Group::new(parcels, now) });
                }
                Held::NotNow => self.lanes.still_closed(&index, now),
                // All that was held became something else; the next documents find out.
                Held::Nothing => self.lanes.open(&index),
            }
        }
        while self.requests < self.allowed(now) {
            let Some(group) = self.next_group(now) else { break };
            self.requests += 1;
            let body = Vec::with_capacity(group.bytes());
            let (exchange, settings) = (Arc::clone(&self.exchange), Arc::clone(&self.settings));
            self.tasks.spawn(exchange_group(exchange, settings, group, body));
        }
    }

    fn allowed(&self, now: Instant) -> usize {
        match self.link.next() {
            Some(next) => usize::from(next <= now),
            None => self.pace.limit(),
        }
    }

    fn next_group(&mut self, now: Instant) -> Option<Group> {
        // What failed may be the reason why requests fail, so others are tried as well; but not all that there are.
        let is_failing = self.link.is_failing() && !self.link.fails_whatever_is_sent();
        let fresh_first = is_failing && self.waiting.len() <= self.settings.concurrency;
        if fresh_first && let Some(group) = self.collected_group(now) {
            return Some(group);
        }
        let due = self.waiting.iter().enumerate().filter(|(_, group)| group.due <= now);
        let order = |(_, group): &(usize, &Group)| (if is_failing { group.tries } else { 0 }, group.due);
        if let Some((at, _)) = due.min_by_key(order) {
            return Some(self.waiting.swap_remove(at));
        }
        self.collected_group(now)
    }

    /// What was collected, if it is enough or waited long enough.
    fn collected_group(&mut self, now: Instant) -> Option<Group> {
        let oldest = self.collecting.first()?.since;
        let (bytes, events) = self.collected();
        let is_full = bytes >= self.enough_bytes() || events >= self.settings.max_events;
        if !is_full && !self.is_closed && now < oldest + self.settings.max_wait {
            return None;
        }
        let (mut bytes, mut events, mut count) = (0, 0, 0);
        for parcel in &self.collecting {
            bytes += parcel.bytes();
            events += parcel.events();
            if count > 0 && (bytes > self.max_bytes || events > self.settings.max_events) {
                break;
            }
            count += 1;
        }
        let parcels = self.collecting.drain(..count).collect();
        Some(Group::new(parcels, now))
    }

    fn launch_letters(&mut self, now: Instant) {
        if self.writing {
            return;
        }
        let Some(at) = self.letters_waiting.iter().position(|letters| letters.due <= now) else { return };
        let letters = self.letters_waiting.swap_remove(at);
        self.writing = true;
        let file = Arc::clone(&self.letters);
        self.tasks.spawn(async move {
            let lines = Arc::clone(&letters.lines);
            let result = tokio::task::spawn_blocking(move || file.append(&lines)).await;
            let result = result.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            Finished::Written { letters, result }
        });
    }

    /// The next moment at which something may be done that cannot be done now.
    fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.ends.is_some() {
            return self.ends;
        }
        let collected = self.collecting.first().map(|parcel| parcel.since + self.settings.max_wait);
        let groups = self.waiting.iter().map(|group| group.due);
        let letters = self.letters_waiting.iter().map(|letters| letters.due);
        let one = [collected, self.link.next(), self.lanes.next()].into_iter().flatten();
        one.chain(groups).chain(letters).filter(|at| *at > now).min()
    }

    /// Nothing is left here. What lies in the buffer is not looked at.
    fn is_empty(&self) -> bool {
        self.is_closed
            && self.collecting.is_empty()
            && self.waiting.is_empty()
            && self.letters_waiting.is_empty()
            && self.tasks.is_empty()
            && self.lanes.is_empty()
    }

    fn is_done(&self, now: Instant) -> bool {
        match self.ends {
            None => self.is_empty(),
            Some(ends) => {
                let is_busy = !self.tasks.is_empty() || !self.letters_waiting.is_empty();
                now >= ends || !is_busy
            }
        }
    }

    fn show(&self) {
        // At the end, an index that takes nothing is what keeps the sink from ending.
        let is_stuck = self.is_closed && !self.lanes.is_empty();
        let is_failing = self.link.is_failing() || self.letters_fail > 0 || is_stuck;
        self.totals.failing.store(u64::from(is_failing), Ordering::Relaxed);
        self.totals.trying.store(u64::from(self.requests > 0), Ordering::Relaxed);
        self.metrics.concurrency.store(self.pace.limit() as u64, Ordering::Relaxed);
        self.metrics.in_flight.store(self.requests as u64, Ordering::Relaxed);
    }
}

/// Waits until the agent gives up or is gone, or another driver is to go on.
async fn stopped(give_up: &mut watch::Receiver<bool>, retire: &mut watch::Receiver<bool>) {
    let retired = async {
        if retire.wait_for(|retire| *retire).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = give_up.wait_for(|stop| *stop) => {}
        () = retired => {}
    }
}

/// One request: made off the reactor, sent, and its answer read.
async fn exchange_group(
    exchange: Arc<dyn Exchange>,
    settings: Arc<Settings>,
    group: Group,
    body: Vec<u8>,
) -> Finished {
    let making = tokio::task::spawn_blocking(move || {
        let encoded = bulk::encode(group.parcels.iter(), &settings.limits, settings.compression, body);
        (group, encoded)
    });
    let Ok((group, encoded)) = making.await else { return Finished::Broken };
    let bulk::Encoded { body, is_gzip, fates, sent } = encoded;
    let sent_bytes = body.len();
    if sent == 0 {
        return Finished::Request { group, answer: Ok(filled(fates, Vec::new())), sent_bytes: 0 };
    }
    let answer = match exchange.bulk(body, is_gzip).await {
        Ok(answer) if answer.len() < LARGE_ANSWER => bulk::read_answer(&answer, sent),
        Ok(answer) => {
            let reading = tokio::task::spawn_blocking(move || bulk::read_answer(&answer, sent));
            reading.await.unwrap_or_else(|error| Err(Failure::Unknown(error.to_string())))
        }
        Err(failure) => Err(failure),
    };
    Finished::Request { group, answer: answer.map(|answered| filled(fates, answered)), sent_bytes }
}

/// The fates of all documents: those that were known before, and those of the answer in the places between.
fn filled(fates: Vec<Vec<Option<Fate>>>, answered: Vec<Fate>) -> Vec<Vec<Fate>> {
    let mut answered = answered.into_iter();
    let unknown = || Fate::Retry(Why::Unavailable);
    let mut fill = |fate: Option<Fate>| fate.or_else(|| answered.next()).unwrap_or_else(unknown);
    fates.into_iter().map(|fates| fates.into_iter().map(&mut fill).collect()).collect()
}
