//! The driver: from the buffer to OpenSearch, several requests at once, until every document has an end.
//!
//! 1. A document is in one place at any time: collecting, waiting for its next try, in a request, held for its index,
//!    or on its way to the dead letters. Its lease is settled when it is delivered or a dead letter that is written.
//! 2. Only documents that have to be sent again are, in a smaller request of their own. When nothing is known about a
//!    request, all of it is sent again under the same ids.
//! 3. Documents of an index that takes nothing for now wait in the buffer, without those of other indices. When they
//!    take up half of the buffer, further ones become dead letters.
//! 4. While requests fail as a whole, one at a time is tried, with pauses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_buffer::ledger::{Amount, Entry};
use weir_buffer::memory::{Lease, MemoryTier};
use weir_buffer::segment::{Documents, Record, Targets};
use weir_pipeline::sink::{Driving, SinkMetrics};

use crate::bulk;
use crate::exchange::Exchange;
use crate::lanes::Lanes;
use crate::letters::{self, LetterFile, Verdict};
use crate::metrics::{ItemOutcome, Metrics};
use crate::outcome::{Failure, Fate, Refusal, Why, reason};
use crate::pace::{Link, Pace, pause};
use crate::parcel::{Group, Parcel, Stage, partition};
use crate::repair::repaired;
use crate::route::clean;
use crate::settings::Settings;

/// After the agent said that it goes: how long requests under way may take to be answered.
const LAST_ANSWERS: Duration = Duration::from_millis(1500);
/// A request is never made smaller than this because one was too large.
const LEAST_BYTES: usize = 64 * 1024;
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
    /// Not sent yet, oldest first.
    collecting: Vec<Parcel>,
    /// To be sent as they are.
    waiting: Vec<Group>,
    letters_waiting: Vec<Letters>,
    letters_fail: u32,
    lanes: Lanes,
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
        let Driving { name, buffer, metrics: totals, give_up } = driving;
        Driver {
            exchange,
            letters: Arc::new(LetterFile::new(settings.dead_letters.file().clone())),
            letter_index: settings.dead_letters.index().map(|index| clean(index).into()),
            metrics,
            name,
            buffer,
            totals,
            give_up,
            collecting: Vec::new(),
            waiting: Vec::new(),
            letters_waiting: Vec::new(),
            letters_fail: 0,
            lanes: Lanes::default(),
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

    /// Until the buffer is closed and everything has its end, or until the agent gives up.
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
                    self.finish(finished.unwrap_or(Finished::Broken), Instant::now()).await;
                }
                () = stopped(&mut self.give_up), if self.ends.is_none() => {
                    self.ends = Some(Instant::now() + LAST_ANSWERS);
                }
                lease = self.buffer.take(), if wants_more => match lease {
                    Some(lease) => self.intake(lease, Instant::now()),
                    None => self.is_closed = true,
                },
                () = tokio::time::sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
        if !self.is_empty() {
            self.totals.abandoned.store(1, Ordering::Relaxed);
            tracing::error!(sink = %self.name, "stopped with undelivered documents; they are read again at the next start");
        }
    }

    // --- taking ---

    fn wants_more(&self) -> bool {
        let (bytes, events) = self.collected();
        !self.is_closed && self.ends.is_none() && bytes < self.max_bytes && events < self.settings.max_events
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
            self.collect(Parcel { lease, stage: Stage::New, since: now });
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
                Some(lease) => {
                    let parcels = vec![Parcel { lease, stage: Stage::New, since: now }];
                    self.waiting.push(Group { probe: Some(index), ..Group::new(parcels, now) });
                }
                // All that was held became something else; the next documents find out.
                None => drop(self.lanes.open(&index)),
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
        let is_failing = self.link.is_failing();
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
        let is_full = bytes >= self.max_bytes || events >= self.settings.max_events;
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

    // --- answers ---

    async fn finish(&mut self, finished: Finished, now: Instant) {
        match finished {
            Finished::Request { group, answer, sent_bytes } => {
                self.requests -= 1;
                self.metrics.sent_bytes.fetch_add(sent_bytes as u64, Ordering::Relaxed);
                match answer {
                    Ok(fates) => self.answered(group, fates, now).await,
                    Err(failure) => self.failed(group, failure, now),
                }
            }
            Finished::Written { letters, result } => {
                self.writing = false;
                self.written(letters, result, now);
            }
            Finished::Broken => {
                // Which of the two it was is not known; a request is, by far, more likely.
                self.requests = self.requests.saturating_sub(1);
                self.totals.abandoned.store(1, Ordering::Relaxed);
                tracing::error!(sink = %self.name, "a request ended by a fault in the agent; its documents are read again at the next start");
            }
        }
    }

    async fn answered(&mut self, group: Group, fates: Vec<Vec<Fate>>, now: Instant) {
        self.metrics.requests_answered.fetch_add(1, Ordering::Relaxed);
        self.answered += 1;
        self.metrics.unauthorized.store(0, Ordering::Relaxed);
        if self.link.is_failing() {
            tracing::info!(sink = %self.name, "OpenSearch takes documents again");
        }
        self.link.went_well();
        let all = || fates.iter().flatten();
        match all().any(|fate| *fate == Fate::Retry(Why::Throttled)) {
            true => self.pace.was_busy(now),
            false => self.pace.went_well(),
        }
        // A limit that was lowered for one large document rises again.
        self.max_bytes = (self.max_bytes + self.max_bytes / 16).min(self.settings.max_bytes);
        self.look_at_probe(&group, &fates, now).await;
        let (events, tries) = (group.events(), group.tries);
        let mut again = Vec::new();
        for (parcel, fates) in group.parcels.into_iter().zip(fates) {
            self.sort(parcel, fates, &mut again, now);
        }
        self.send_again(again, events, tries, now);
    }

    /// What a probe says of its index.
    async fn look_at_probe(&mut self, group: &Group, fates: &[Vec<Fate>], now: Instant) {
        let Some(index) = &group.probe else { return };
        if fates.iter().flatten().any(|fate| matches!(fate, Fate::Hold(_))) {
            return self.lanes.still_closed(index, now);
        }
        if fates.iter().flatten().all(|fate| matches!(fate, Fate::Retry(_))) {
            // Nothing was learnt yet.
            return self.lanes.still_closed(index, now);
        }
        self.lanes.open(index);
        tracing::info!(sink = %self.name, %index, "the index takes documents again");
        while let Some(lease) = self.buffer.take_held(index).await {
            self.collect(Parcel { lease, stage: Stage::New, since: now });
        }
    }

    /// Brings each document of a parcel to where its fate says.
    fn sort(&mut self, parcel: Parcel, mut fates: Vec<Fate>, again: &mut Vec<Parcel>, now: Instant) {
        self.count(&fates);
        if fates.iter().all(|fate| matches!(fate, Fate::Created | Fate::Existed)) {
            return self.settle(parcel);
        }
        let Parcel { lease, stage, since } = parcel;
        let is_letter = matches!(stage, Stage::Letter(_));
        if stage == Stage::Repaired {
            for fate in &mut fates {
                if let Fate::Repair(refusal) = fate {
                    *fate = Fate::Dead(reason::MAPPING, std::mem::take(refusal));
                }
            }
        }
        let mut keys: Vec<Arc<str>> = Vec::new();
        let mut why: Vec<Refusal> = Vec::new();
        let label = |(index, fate): (usize, &Fate)| match fate {
            Fate::Created | Fate::Existed => DELIVERED,
            Fate::Retry(_) => AGAIN,
            // The index of dead letters is asked once.
            Fate::Dead(..) => DEAD,
            Fate::Repair(_) | Fate::Hold(_) if is_letter => DEAD,
            Fate::Repair(_) => REPAIR,
            Fate::Hold(refusal) => {
                let key = lease.targets().name(index).cloned().unwrap_or_else(|| "".into());
                let at = position_or_push(&mut keys, key);
                if at == why.len() {
                    why.push(refusal.clone());
                }
                FIRST_LANE + at
            }
        };
        let labels: Vec<usize> = fates.iter().enumerate().map(label).collect();
        let mut parts = partition(lease, &labels, FIRST_LANE + keys.len()).into_iter();
        let mut next = || parts.next().flatten();
        let (delivered, later, repair, dead) = (next(), next(), next(), next());
        let of =
            |label: usize| labels.iter().zip(&fates).filter(move |(at, _)| **at == label).map(|(_, f)| f);
        let stage_of = |label: usize| stage_part(&stage, &labels, label);
        if let Some(lease) = delivered {
            self.settle(Parcel { lease, stage: stage_of(DELIVERED), since });
        }
        if let Some(lease) = later {
            again.push(Parcel { lease, stage: stage_of(AGAIN), since });
        }
        if let Some(lease) = repair {
            self.repair(lease, of(REPAIR).cloned().collect(), since, now);
        }
        if let Some(lease) = dead {
            match stage_of(DEAD) {
                Stage::Letter(reasons) => self.letters_to_file(lease, reasons, now),
                _ => {
                    let verdicts: Vec<Verdict> = of(DEAD).map(verdict).collect();
                    self.bury(lease, &verdicts, false);
                }
            }
        }
        for ((key, part), refusal) in keys.into_iter().zip(parts).zip(why) {
            if self.lanes.close(&key, now) {
                let Refusal { status, kind, reason } = &refusal;
                tracing::error!(sink = %self.name, index = %key, status, %kind, %reason, "the index takes nothing for now; its documents are held, others go on");
            }
            if let Some(lease) = part {
                self.hold(key, lease, &refusal);
            }
        }
    }

    fn count(&self, fates: &[Fate]) {
        let mut counts = [0; ItemOutcome::ALL.len()];
        for fate in fates {
            let outcome = match fate {
                Fate::Created => ItemOutcome::Created,
                Fate::Existed => ItemOutcome::Existed,
                Fate::Retry(Why::Throttled) => ItemOutcome::Throttled,
                Fate::Retry(Why::Unavailable) => ItemOutcome::Unavailable,
                Fate::Repair(_) => ItemOutcome::Repaired,
                Fate::Hold(_) => ItemOutcome::Held,
                Fate::Dead(..) => ItemOutcome::DeadLettered,
            };
            if let Some(count) = counts.get_mut(outcome as usize) {
                *count += 1;
            }
        }
        for (outcome, count) in ItemOutcome::ALL.into_iter().zip(counts) {
            self.metrics.count_items(outcome, count);
        }
    }

    /// What is to be sent again is a request of its own, at most half as large when all of it was refused.
    fn send_again(&mut self, parcels: Vec<Parcel>, of_events: usize, tries: u32, now: Instant) {
        if parcels.is_empty() {
            return;
        }
        self.totals.retries.fetch_add(1, Ordering::Relaxed);
        let group = Group { tries: tries + 1, ..Group::new(parcels, now + pause(tries)) };
        let events = group.events();
        if events == of_events && events > LEAST_EVENTS {
            let (first, mut second) = group.halves();
            second.due = now + pause(tries);
            self.waiting.extend([first, second]);
        } else {
            self.waiting.push(group);
        }
    }

    fn failed(&mut self, mut group: Group, failure: Failure, now: Instant) {
        let message = match failure {
            Failure::Split(refusal) => return self.split(group, refusal, now),
            Failure::Unauthorized(message) => {
                self.metrics.unauthorized.store(1, Ordering::Relaxed);
                self.exchange.renew();
                self.say_failing("OpenSearch does not accept who the agent is; documents wait", &message);
                self.link.failed(now, None);
                message
            }
            Failure::Busy(message, retry_after) => {
                self.pace.was_busy(now);
                self.say_failing("OpenSearch is busy; trying again", &message);
                self.link.failed(now, retry_after);
                message
            }
            Failure::Unknown(message) => {
                self.metrics.count_items(ItemOutcome::Unknown, group.events() as u64);
                self.say_failing("OpenSearch does not take documents; trying again", &message);
                self.link.failed(now, None);
                message
            }
        };
        tracing::debug!(sink = %self.name, error = %message, tries = group.tries, "request failed");
        self.metrics.requests_failed.fetch_add(1, Ordering::Relaxed);
        self.totals.retries.fetch_add(1, Ordering::Relaxed);
        group.tries += 1;
        // The link has the pause.
        group.due = now;
        self.wait_or_halve(group, now);
    }

    /// A group that fails again and again while others are answered has something in it that ends its requests, as a
    /// proxy does that cuts large ones off: it is halved, and kept from the others.
    fn wait_or_halve(&mut self, mut group: Group, now: Instant) {
        if group.answered_before.is_some_and(|before| before < self.answered) {
            group.lone_failures += 1;
        }
        if group.lone_failures > 0 {
            group.due = now + pause(group.lone_failures);
        }
        group.answered_before = Some(self.answered);
        if group.lone_failures >= LONE_FAILURES && group.events() > 1 {
            self.metrics.requests_split.fetch_add(1, Ordering::Relaxed);
            let (first, second) = group.halves();
            self.waiting.extend([first, second]);
        } else {
            self.waiting.push(group);
        }
    }

    fn say_failing(&self, text: &str, error: &str) {
        if !self.link.is_failing() {
            tracing::warn!(sink = %self.name, %error, "{text}");
        }
    }

    fn split(&mut self, group: Group, refusal: Refusal, now: Instant) {
        self.metrics.requests_split.fetch_add(1, Ordering::Relaxed);
        self.link.went_well();
        if group.events() > 1 {
            let bytes = group.bytes() / 2;
            self.max_bytes = self.max_bytes.min(bytes).max(LEAST_BYTES.min(self.settings.max_bytes));
            let (mut first, mut second) = group.halves();
            (first.due, second.due) = (now, now);
            self.waiting.extend([first, second]);
            return;
        }
        if let Some(index) = &group.probe {
            self.lanes.still_closed(index, now);
        }
        let reason = if refusal.status == 413 { reason::OVERSIZE } else { reason::REFUSED };
        let mut again = Vec::new();
        for parcel in group.parcels {
            let fates = vec![Fate::Dead(reason, refusal.clone()); parcel.events()];
            self.sort(parcel, fates, &mut again, now);
        }
    }

    fn repair(&mut self, mut lease: Lease, fates: Vec<Fate>, since: Instant, now: Instant) {
        let source = Arc::clone(lease.documents());
        let mut documents = Documents { streams: source.streams.clone(), ..Documents::default() };
        let mut beyond = Vec::new();
        for ((record, document), fate) in source.iter().zip(&fates) {
            let refusal = match fate {
                Fate::Repair(refusal) => refusal,
                _ => &Refusal::default(),
            };
            let changed = repaired(document, refusal);
            beyond.push(changed.is_none());
            documents.ndjson.extend_from_slice(changed.as_deref().unwrap_or(document));
            let end = u32::try_from(documents.ndjson.len()).unwrap_or(u32::MAX);
            documents.ndjson.push(b'\n');
            documents.records.push(Record { end, ..*record });
        }
        drop(source);
        lease.replace(documents);
        let (dead, lease) = lease.divide(&beyond);
        let verdicts: Vec<Verdict> =
            fates.iter().zip(&beyond).filter(|(_, beyond)| **beyond).map(|(fate, _)| verdict(fate)).collect();
        self.bury(dead, &verdicts, true);
        if lease.documents().records.is_empty() {
            return lease.settle(Vec::new());
        }
        let parcels = vec![Parcel { lease, stage: Stage::Repaired, since }];
        self.waiting.push(Group::new(parcels, now));
    }

    // --- ends ---

    /// Dead letters: to their index if there is one, else to the file. `may_be_empty` leases are just released.
    fn bury(&mut self, mut lease: Lease, verdicts: &[Verdict], may_be_empty: bool) {
        if may_be_empty && lease.documents().records.is_empty() {
            return lease.settle(Vec::new());
        }
        let now = Instant::now();
        let reasons: Vec<&'static str> = verdicts.iter().map(|verdict| verdict.reason).collect();
        let Some(index) = &self.letter_index else {
            let lines = Arc::new(letters::lines(&lease, verdicts));
            self.letters_waiting.push(Letters { lease, reasons, lines, due: now });
            return;
        };
        let documents = letters::documents(&lease, verdicts);
        let of = vec![0; documents.records.len()];
        let targets = Targets { names: vec![Arc::clone(index)], of };
        lease.replace(documents);
        lease.redirect(targets);
        let mut parcels = Vec::new();
        let parcel = Parcel { lease, stage: Stage::Letter(reasons), since: now };
        parcel.cut(self.max_bytes, self.settings.max_events, &mut parcels);
        for parcel in parcels {
            self.waiting.push(Group::new(vec![parcel], now));
        }
    }

    /// Letters that their index did not take, as they were meant for it.
    fn letters_to_file(&mut self, lease: Lease, reasons: Vec<&'static str>, now: Instant) {
        let lines = Arc::new(lease.documents().ndjson.clone());
        self.letters_waiting.push(Letters { lease, reasons, lines, due: now });
    }

    fn written(&mut self, mut letters: Letters, result: std::io::Result<()>, now: Instant) {
        match result {
            Ok(()) => {
                self.letters_fail = 0;
                settle_letters(letters.lease, &letters.reasons);
            }
            Err(error) => {
                if self.letters_fail == 0 {
                    let error = self.letters.describe(&error);
                    tracing::error!(sink = %self.name, %error, "dead letters are not written; trying again");
                }
                letters.due = now + pause(self.letters_fail);
                self.letters_fail = self.letters_fail.saturating_add(1);
                self.letters_waiting.push(letters);
            }
        }
    }

    /// Every document of the parcel is in its index.
    fn settle(&self, parcel: Parcel) {
        if let Stage::Letter(reasons) = &parcel.stage {
            return settle_letters(parcel.lease, reasons);
        }
        let documents = parcel.lease.documents();
        self.totals.segments.fetch_add(1, Ordering::Relaxed);
        self.totals.events.fetch_add(documents.records.len() as u64, Ordering::Relaxed);
        self.totals.bytes.fetch_add(documents.ndjson.len() as u64, Ordering::Relaxed);
        parcel.lease.delivered();
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
        self.metrics.concurrency.store(self.pace.limit() as u64, Ordering::Relaxed);
        self.metrics.in_flight.store(self.requests as u64, Ordering::Relaxed);
    }
}

/// Waits until the agent gives up, or is gone.
async fn stopped(give_up: &mut watch::Receiver<bool>) {
    let _ = give_up.wait_for(|stop| *stop).await;
}

/// Where the documents of an answer go, by label; from [`FIRST_LANE`] on, one for each index that holds.
const DELIVERED: usize = 0;
const AGAIN: usize = 1;
const REPAIR: usize = 2;
const DEAD: usize = 3;
const FIRST_LANE: usize = 4;

/// The stage of those documents with a label.
fn stage_part(stage: &Stage, labels: &[usize], label: usize) -> Stage {
    let Stage::Letter(reasons) = stage else { return stage.clone() };
    let reasons = reasons.iter().zip(labels).filter(|(_, of)| **of == label);
    Stage::Letter(reasons.map(|(reason, _)| *reason).collect())
}

fn verdict(fate: &Fate) -> Verdict {
    match fate {
        Fate::Dead(reason, refusal) => Verdict { reason, refusal: refusal.clone() },
        Fate::Repair(refusal) => Verdict { reason: reason::MAPPING, refusal: refusal.clone() },
        _ => Verdict { reason: reason::REFUSED, refusal: Refusal::default() },
    }
}

fn settle_letters(lease: Lease, reasons: &[&'static str]) {
    let mut amounts: BTreeMap<&'static str, Amount> = BTreeMap::new();
    for (record, reason) in lease.documents().records.iter().zip(reasons) {
        *amounts.entry(reason).or_default() += Amount::one(u64::from(record.bytes));
    }
    let entries = amounts.into_iter().map(|(reason, amount)| (Entry::DeadLettered(reason.into()), amount));
    lease.settle(entries.collect());
}

fn position_or_push(keys: &mut Vec<Arc<str>>, key: Arc<str>) -> usize {
    keys.iter().position(|known| *known == key).unwrap_or_else(|| {
        keys.push(key);
        keys.len() - 1
    })
}

/// One request: made off the reactor, sent, and its answer read.
async fn exchange_group(
    exchange: Arc<dyn Exchange>,
    settings: Arc<Settings>,
    group: Group,
    body: Vec<u8>,
) -> Finished {
    let making = tokio::task::spawn_blocking(move || {
        let leases = group.parcels.iter().map(|parcel| &parcel.lease);
        let encoded = bulk::encode(leases, &settings.limits, settings.compression, body);
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
