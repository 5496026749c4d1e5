//! Answers: what becomes of a request's documents, and the ends of those that are dead letters.

use super::*;
use crate::bulk::shortened;

impl Driver {
    pub(super) fn finish(&mut self, finished: Finished, now: Instant) {
        match finished {
            Finished::Request { group, answer, sent_bytes } => {
                self.requests -= 1;
                self.metrics.sent_bytes.fetch_add(sent_bytes as u64, Ordering::Relaxed);
                match answer {
                    Ok(fates) => self.answered(group, fates, now),
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

    fn answered(&mut self, group: Group, fates: Vec<Vec<Fate>>, now: Instant) {
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
        self.look_at_probe(&group, &fates, now);
        self.count_taken(&group, &fates, now);
        let (events, tries) = (group.events(), group.tries);
        let mut again = Vec::new();
        for (parcel, fates) in group.parcels.into_iter().zip(fates) {
            self.sort(parcel, fates, &mut again, now);
        }
        self.send_again(again, events, tries, now);
    }

    /// What a probe says of its index.
    fn look_at_probe(&mut self, group: &Group, fates: &[Vec<Fate>], now: Instant) {
        let Some(index) = &group.probe else { return };
        if fates.iter().flatten().any(|fate| matches!(fate, Fate::Hold(_))) {
            return self.lanes.still_closed(index, now);
        }
        if fates.iter().flatten().all(|fate| matches!(fate, Fate::Retry(_) | Fate::Fault(_))) {
            // Nothing was learnt yet.
            return self.lanes.still_closed(index, now);
        }
        self.lanes.open(index);
        tracing::info!(sink = %self.name, %index, "the index takes documents again");
        // A buffer that was closed and empty is neither, now.
        self.is_closed = false;
        self.buffer.release_held(index);
    }

    /// What indices take while something of theirs fails.
    fn count_taken(&mut self, group: &Group, fates: &[Vec<Fate>], now: Instant) {
        self.faults.forget(now);
        if self.faults.is_empty() {
            return;
        }
        for (parcel, fates) in group.parcels.iter().zip(fates) {
            for (index, fate) in fates.iter().enumerate() {
                if let (Fate::Created, Some(name)) = (fate, parcel.lease.targets().name(index)) {
                    self.faults.took(name, 1);
                }
            }
        }
    }

    /// Brings each document of a parcel to where its fate says.
    fn sort(&mut self, parcel: Parcel, mut fates: Vec<Fate>, again: &mut Vec<Parcel>, now: Instant) {
        self.count(&fates);
        if fates.iter().all(|fate| matches!(fate, Fate::Created | Fate::Existed)) {
            return self.settle(parcel);
        }
        let Parcel { lease, stage, since, past } = parcel;
        let is_letter = matches!(stage, Stage::Letter(_));
        if matches!(stage, Stage::Repaired(_)) {
            for fate in &mut fates {
                if let Fate::Repair(refusal) = fate {
                    *fate = Fate::Dead(reason::MAPPING, std::mem::take(refusal));
                }
            }
        }
        // Whether its index holds them or they failed, the index, and what was said of the first.
        let mut places: Vec<(bool, Arc<str>, Refusal)> = Vec::new();
        let label = |(index, fate): (usize, &Fate)| match fate {
            Fate::Created | Fate::Existed => DELIVERED,
            Fate::Retry(_) => AGAIN,
            // The index of dead letters is asked once.
            Fate::Dead(..) => DEAD,
            Fate::Repair(_) | Fate::Hold(_) if is_letter => DEAD,
            Fate::Repair(_) => REPAIR,
            Fate::Hold(refusal) | Fate::Fault(refusal) => {
                let is_held = matches!(fate, Fate::Hold(_));
                let key = lease.targets().name(index).cloned().unwrap_or_else(|| "".into());
                let known = places.iter().position(|(held, of, _)| *held == is_held && *of == key);
                FIRST_PLACE
                    + known.unwrap_or_else(|| {
                        places.push((is_held, key, refusal.clone()));
                        places.len() - 1
                    })
            }
        };
        let labels: Vec<usize> = fates.iter().enumerate().map(label).collect();
        let mut parts = partition(lease, &labels, FIRST_PLACE + places.len()).into_iter();
        let mut next = || parts.next().flatten();
        let (delivered, later, repair, dead) = (next(), next(), next(), next());
        let of =
            |label: usize| labels.iter().zip(&fates).filter(move |(at, _)| **at == label).map(|(_, f)| f);
        let stage_of = |label: usize| stage.part(|at| labels.get(at) == Some(&label));
        if let Some(lease) = delivered {
            self.settle(Parcel::new(lease, stage_of(DELIVERED), since));
        }
        if let Some(lease) = later {
            again.push(Parcel { lease, stage: stage_of(AGAIN), since, past: past.clone() });
        }
        if let Some(lease) = repair {
            self.repair(lease, of(REPAIR).cloned().collect(), since, now);
        }
        if let Some(lease) = dead {
            let verdicts = of(DEAD).map(verdict).collect();
            self.end(lease, stage_of(DEAD), verdicts, now);
        }
        for (at, ((is_held, key, refusal), part)) in places.into_iter().zip(parts).enumerate() {
            let Some(lease) = part else { continue };
            if !is_held {
                let label = FIRST_PLACE + at;
                let parcel = Parcel { lease, stage: stage_of(label), since, past: past.clone() };
                let verdicts = of(label).map(verdict).collect();
                again.extend(self.once_more(parcel, &key, verdicts, now));
                continue;
            }
            if self.lanes.close(&key, now) {
                let Refusal { status, kind, reason } = &refusal;
                tracing::error!(sink = %self.name, index = %key, status, %kind, %reason, "the index takes nothing for now; its documents are held, others go on");
            }
            self.hold(key, lease, &refusal);
        }
    }

    /// Documents of one index that failed: what is to be sent again, unless they are given up.
    fn once_more(
        &mut self,
        parcel: Parcel,
        index: &Arc<str>,
        verdicts: Vec<Verdict>,
        now: Instant,
    ) -> Option<Parcel> {
        match self.faults.failed(index, parcel.events() as u64, parcel.past.clone(), now) {
            Next::Again(past) => Some(Parcel { past: Some(past), ..parcel }),
            Next::GiveUp => {
                self.give_up_on(parcel, index, verdicts, now);
                None
            }
        }
    }

    fn give_up_on(&mut self, parcel: Parcel, index: &str, verdicts: Vec<Verdict>, now: Instant) {
        let said = verdicts.first().map(|verdict| verdict.refusal.clone()).unwrap_or_default();
        let (Refusal { status, kind, reason }, events) = (&said, parcel.events());
        tracing::warn!(sink = %self.name, index, events, status, %kind, %reason, "documents failed for too long while others were taken; they become dead letters");
        self.metrics.count_items(ItemOutcome::DeadLettered, events as u64);
        self.end(parcel.lease, parcel.stage, verdicts, now);
    }

    /// Documents that are never taken: dead letters, or letters that their index does not take.
    fn end(&mut self, lease: Lease, stage: Stage, verdicts: Vec<Verdict>, now: Instant) {
        match stage {
            Stage::Letter(reasons) => self.letters_to_file(lease, reasons, now),
            Stage::New | Stage::Repaired(_) => self.bury(lease, &verdicts, false),
        }
    }

    fn count(&self, fates: &[Fate]) {
        let mut counts = [0; ItemOutcome::ALL.len()];
        for fate in fates {
            let outcome = match fate {
                Fate::Created => ItemOutcome::Created,
                Fate::Existed => ItemOutcome::Existed,
                Fate::Retry(Why::Throttled) => ItemOutcome::Throttled,
                Fate::Retry(Why::Unavailable) | Fate::Fault(_) => ItemOutcome::Unavailable,
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
                self.link.failed_whatever_is_sent(now);
                message
            }
            Failure::Busy(message, retry_after) => {
                self.pace.was_busy(now);
                self.say_failing("OpenSearch is busy; trying again", &message);
                self.link.failed(now, retry_after);
                message
            }
            Failure::NoConnection(message) => {
                self.say_failing("OpenSearch cannot be reached; trying again", &message);
                self.link.failed_whatever_is_sent(now);
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
        self.wait_or_halve(group, &message, now);
    }

    /// A group that fails again and again while others are answered has something in it that ends its requests, as a
    /// proxy does that cuts large ones off: it is halved, and kept from the others.
    fn wait_or_halve(&mut self, mut group: Group, message: &str, now: Instant) {
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
            return;
        }
        let is_hopeless = |parcel: &Parcel| is_hopeless(group.lone_failures, parcel.since, now);
        if group.events() > 1 || group.probe.is_some() || !group.parcels.iter().all(is_hopeless) {
            self.waiting.push(group);
            return;
        }
        for parcel in group.parcels {
            let index = parcel.lease.targets().name(0).cloned().unwrap_or_else(|| "".into());
            let refusal = Refusal { reason: shortened(message).to_owned(), ..Refusal::default() };
            let verdicts = vec![Verdict { reason: reason::RETRIES_EXHAUSTED, refusal }; parcel.events()];
            self.give_up_on(parcel, &index, verdicts, now);
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

    fn repair(&mut self, lease: Lease, fates: Vec<Fate>, since: Instant, now: Instant) {
        let (mut beyond, mut repairs): (Vec<bool>, Vec<Repair>) = Default::default();
        for ((_, document), fate) in lease.documents().iter().zip(&fates) {
            let refusal = match fate {
                Fate::Repair(refusal) => refusal,
                _ => &Refusal::default(),
            };
            let found = repair::find(document, refusal);
            beyond.push(found.is_none());
            repairs.extend(found);
        }
        let (dead, lease) = lease.divide(&beyond);
        let verdicts: Vec<Verdict> =
            fates.iter().zip(&beyond).filter(|(_, beyond)| **beyond).map(|(fate, _)| verdict(fate)).collect();
        self.bury(dead, &verdicts, true);
        if lease.documents().records.is_empty() {
            return lease.settle(Vec::new());
        }
        let parcels = vec![Parcel::new(lease, Stage::Repaired(repairs), since)];
        self.waiting.push(Group::new(parcels, now));
    }

    /// Dead letters: to their index if there is one, else to the file. `may_be_empty` leases are just released.
    pub(super) fn bury(&mut self, mut lease: Lease, verdicts: &[Verdict], may_be_empty: bool) {
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
        let parcel = Parcel::new(lease, Stage::Letter(reasons), now);
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
}

/// Where the documents of an answer go, by label; from [`FIRST_PLACE`] on, one for each index that holds some, and for
/// each of which some failed.
const DELIVERED: usize = 0;
const AGAIN: usize = 1;
const REPAIR: usize = 2;
const DEAD: usize = 3;
const FIRST_PLACE: usize = 4;

fn verdict(fate: &Fate) -> Verdict {
    match fate {
        Fate::Dead(reason, refusal) => Verdict { reason, refusal: refusal.clone() },
        Fate::Repair(refusal) => Verdict { reason: reason::MAPPING, refusal: refusal.clone() },
        Fate::Fault(refusal) => Verdict { reason: reason::RETRIES_EXHAUSTED, refusal: refusal.clone() },
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

pub(super) fn position_or_push(keys: &mut Vec<Arc<str>>, key: Arc<str>) -> usize {
    keys.iter().position(|known| *known == key).unwrap_or_else(|| {
        keys.push(key);
        keys.len() - 1
    })
}
