//! Answers: what becomes of a shard's first batch.

use super::*;
use crate::exchange::Answer;
use crate::metrics::AnswerClass;
use crate::pace;
use crate::reason::Reason;
use crate::verdict::{Verdict, judge};

/// Refusals are told no more often than this; they are counted always.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// So much of what a receiver says is told.
const MOST_TOLD: usize = 512;

impl Driver {
    pub(super) fn finished(&mut self, index: usize, finished: Finished, now: Instant) {
        let Finished { version, encoded, answer } = finished;
        if let Some(shard) = self.shards.get_mut(index) {
            shard.encoded = Some((version, Arc::clone(&encoded)));
        }
        match answer {
            None => self.done(index, &[], now),
            Some(Ok(answer)) => self.answered(index, (version, &encoded), &answer, now),
            Some(Err(failure)) => {
                self.metrics.count_answer(AnswerClass::None);
                match failure {
                    Failure::NoConnection(error) => {
                        self.negotiation.unreachable();
                        self.away(index, "the receiver cannot be reached; trying again", &error, now);
                    }
                    Failure::Setup(error) => {
                        self.exchange.renew();
                        self.away(index, "nothing can be sent; samples wait", &error, now);
                    }
                    Failure::Unknown(error) => self.unanswered(index, &error, now),
                }
            }
        }
    }

    fn answered(&mut self, index: usize, request: (Version, &Encoded), answer: &Answer, now: Instant) {
        let (version, encoded) = request;
        self.metrics.count_answer(AnswerClass::of(answer.status));
        let unauthorized = matches!(answer.status, 401 | 403);
        self.metrics.unauthorized.store(u64::from(unauthorized), Ordering::Relaxed);
        if version == Version::V2 && answer.written.is_some() {
            self.negotiation.wrote_v2();
        }
        if version == Version::V1 && answer.status == 415 {
            self.negotiation.refused_v1();
        }
        let (may_fall_back, doubts) = (self.negotiation.may_fall_back(), self.negotiation.doubts());
        match judge((version, &encoded.sent), answer, may_fall_back, doubts) {
            Verdict::Done(mut drops) => {
                self.went_well(now);
                self.spread.look(self.buffer.waiting(), now);
                if self.shards.get(index).is_some_and(|shard| shard.may_be_stored) {
                    repeated(&mut drops);
                }
                self.tell_refusal(answer, &drops, now);
                let dropped: u64 = drops.iter().map(|(_, count)| count).sum();
                if dropped < encoded.sent.points() {
                    self.metrics.count_sent(&encoded.sent);
                }
                self.done(index, &drops, now);
            }
            Verdict::FallBack => self.fall_back(answer, now),
            Verdict::Split => self.split(index, answer, now),
            Verdict::Retry(retry_after) => {
                // What has several places to store samples answers so too when some of them have them.
                if answer.status >= 500 {
                    self.may_be_stored(index);
                }
                let error = format!("HTTP {}: {}", answer.status, shortened(&answer.said));
                self.failed(index, &error, retry_after, now);
            }
            Verdict::Hold(why) => {
                if unauthorized {
                    self.exchange.renew();
                }
                let error = format!("HTTP {}: {}", answer.status, shortened(&answer.said));
                self.away(index, &format!("{why}; samples wait"), &error, now);
            }
        }
    }

    fn may_be_stored(&mut self, index: usize) {
        if let Some(shard) = self.shards.get_mut(index) {
            shard.may_be_stored = true;
        }
    }

    /// The first batch of a shard has its end: so many are dropped, the others are in the receiver.
    fn done(&mut self, index: usize, drops: &[(Reason, u64)], now: Instant) {
        let Some(shard) = self.shards.get_mut(index) else { return };
        let Some(batch) = shard.batches.front() else { return };
        let skipped = shard.encoded.as_ref().map_or(&[][..], |(_, encoded)| &encoded.skipped);
        let ends = self.books.end(batch, skipped, drops);
        shard.end_first(now);
        shard.grow(&self.settings);
        self.totals.segments.fetch_add(ends.leases, Ordering::Relaxed);
        self.totals.events.fetch_add(ends.delivered.events, Ordering::Relaxed);
        self.totals.bytes.fetch_add(ends.delivered.bytes, Ordering::Relaxed);
        for (reason, count) in ends.dropped {
            self.metrics.count_dropped(reason, count);
        }
    }

    /// The receiver took something up: who waits needs not wait any more.
    fn went_well(&mut self, now: Instant) {
        self.answered += 1;
        self.is_away = false;
        if self.failures == 0 {
            return;
        }
        self.failures = 0;
        tracing::info!(sink = %self.name, "the receiver takes samples again");
        for shard in &mut self.shards {
            shard.due = shard.due.min(now);
        }
    }

    /// The same batch at once in 1.0.
    fn fall_back(&mut self, answer: &Answer, now: Instant) {
        self.answered += 1;
        if self.negotiation.fall_back(now) {
            self.metrics.fall_backs.fetch_add(1, Ordering::Relaxed);
            let status = answer.status;
            tracing::info!(sink = %self.name, status, "the receiver does not store remote write 2.0; sending 1.0");
        }
    }

    fn split(&mut self, index: usize, answer: &Answer, now: Instant) {
        self.went_well(now);
        let Some(shard) = self.shards.get_mut(index) else { return };
        if shard.split_first(now) {
            self.metrics.splits.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let drops = [(Reason::TooLarge, 1)];
        self.tell_refusal(answer, &drops, now);
        self.done(index, &drops, now);
    }

    /// Nothing goes for now, whatever is sent.
    fn away(&mut self, index: usize, text: &str, error: &str, now: Instant) {
        self.say_failing(text, error);
        self.is_away = true;
        self.pause(index, None, now);
    }

    /// A request failed, and nobody knows what became of it.
    pub(super) fn unanswered(&mut self, index: usize, error: &str, now: Instant) {
        self.may_be_stored(index);
        self.failed(index, error, None, now);
    }

    /// A request failed, and may succeed later.
    fn failed(&mut self, index: usize, error: &str, retry_after: Option<Duration>, now: Instant) {
        self.say_failing("the receiver does not take samples; trying again", error);
        self.pause(index, retry_after, now);
    }

    fn pause(&mut self, index: usize, retry_after: Option<Duration>, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.spread.stay();
        self.totals.retries.fetch_add(1, Ordering::Relaxed);
        self.metrics.retries.fetch_add(1, Ordering::Relaxed);
        if let Some(asked) = retry_after {
            self.not_before = self.not_before.max(now + pace::asked(asked));
        }
        if let Some(shard) = self.shards.get_mut(index) {
            shard.due = now + pace::pause(shard.tries);
            shard.tries = shard.tries.saturating_add(1);
        }
    }

    fn say_failing(&self, text: &str, error: &str) {
        if self.failures == 0 {
            tracing::warn!(sink = %self.name, %error, "{text}");
        } else {
            tracing::debug!(sink = %self.name, %error, "{text}");
        }
    }

    fn tell_refusal(&mut self, answer: &Answer, drops: &[(Reason, u64)], now: Instant) {
        let is_refusal = !drops.is_empty() || !(200..300).contains(&answer.status);
        let is_told = self.told_refusal.is_some_and(|told| now < told + TELL_EVERY);
        if !is_refusal || is_told {
            return;
        }
        self.told_refusal = Some(now);
        let dropped: Vec<String> =
            drops.iter().map(|(reason, count)| format!("{}: {count}", reason.name())).collect();
        let (status, dropped, answer) = (answer.status, dropped.join(", "), shortened(&answer.said));
        tracing::error!(sink = %self.name, status, %dropped, %answer, "the receiver refused samples; they are dropped");
    }
}

/// The beginning of what a receiver says, in one line.
fn shortened(said: &str) -> String {
    let line = said.trim().replace(['\r', '\n'], " ");
    match line.char_indices().nth(MOST_TOLD) {
        Some((at, _)) => line.get(..at).map(|begin| format!("{begin}…")).unwrap_or_default(),
        None => line,
    }
}

/// What is refused for its age at the second time is there since the first one, as a rule. What is out of bounds is not:
/// a receiver that was started meanwhile takes nothing older than its newest sample, whether it has it or not. Nor is what
/// has another value.
fn repeated(drops: &mut [(Reason, u64)]) {
    for (reason, _) in drops {
        if matches!(reason, Reason::OutOfOrder | Reason::ReceiverTooOld) {
            *reason = Reason::Repeated;
        }
    }
}
