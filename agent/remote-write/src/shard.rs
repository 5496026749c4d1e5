//! Shards: the samples of a series are always of the same one, and leave it one request after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;
use weir_event::stream::Stream;

use crate::batch::{Batch, Piece};
use crate::encode::Encoded;
use crate::negotiate::Version;
use crate::settings::Settings;

/// A limit that the receiver has is tried again a little above behind so many requests.
const GROWS_BEHIND: u32 = 64;

/// One lane of requests.
pub(crate) struct Shard {
    /// Not in a batch yet, oldest first.
    queue: VecDeque<Piece>,
    samples: usize,
    bytes: usize,
    /// To be sent, oldest first; the first one may be under way.
    pub batches: VecDeque<Arc<Batch>>,
    /// The first batch as it was made last.
    pub encoded: Option<(Version, Arc<Encoded>)>,
    /// Whether the first batch is under way.
    pub is_busy: bool,
    /// The first batch is not sent before.
    pub due: Instant,
    /// How often the first batch failed.
    pub tries: u32,
    /// The receiver may have stored something of the first batch: one time nobody heard what became of it.
    pub may_be_stored: bool,
    /// Samples of a request; below the setting after one was too large.
    most_samples: usize,
    /// A whole request of so many samples was too large.
    refused_samples: usize,
    /// Batches that had their end since the limit last changed.
    taken: u32,
    has_sent: bool,
}

/// What the shard is to know about the whole.
pub(crate) struct Whole {
    /// Nothing more comes.
    pub is_closed: bool,
    /// Nothing more is taken before something has its end.
    pub is_full: bool,
}

// === impl Shard ===

impl Shard {
    /// An empty one.
    pub fn new(settings: &Settings, now: Instant) -> Shard {
        Shard {
            queue: VecDeque::new(),
            samples: 0,
            bytes: 0,
            batches: VecDeque::new(),
            encoded: None,
            is_busy: false,
            due: now,
            tries: 0,
            may_be_stored: false,
            most_samples: settings.max_samples,
            refused_samples: usize::MAX,
            taken: 0,
            has_sent: false,
        }
    }

    /// Adds samples behind all others.
    pub fn push(&mut self, piece: Piece) {
        if piece.samples() == 0 {
            return;
        }
        self.samples += piece.samples();
        self.bytes += piece.bytes();
        self.queue.push_back(piece);
    }

    /// Takes away all that is in no batch yet.
    pub fn take_queue(&mut self) -> VecDeque<Piece> {
        (self.samples, self.bytes) = (0, 0);
        std::mem::take(&mut self.queue)
    }

    /// Knows of the receiver's limits what another one found out.
    pub fn learn(&mut self, other: &Shard) {
        (self.most_samples, self.refused_samples) = (other.most_samples, other.refused_samples);
        (self.taken, self.has_sent) = (0, other.has_sent);
    }

    /// Whether a whole request waits.
    pub fn has_enough(&self, settings: &Settings) -> bool {
        self.samples >= self.most_samples || self.bytes >= settings.max_bytes
    }

    /// When what waits is to be sent, if it is not enough for a request before.
    pub fn ripe_at(&self, settings: &Settings) -> Option<Instant> {
        let oldest = self.queue.front()?.since;
        Some(if self.has_sent { oldest + settings.max_wait } else { oldest })
    }

    /// Makes the next batch of what waits, if there is none and it is enough or waited long enough.
    pub fn fill(
        &mut self,
        settings: &Settings,
        whole: &Whole,
        families: &mut Vec<Arc<Stream>>,
        now: Instant,
    ) {
        let Some(ripe_at) = self.ripe_at(settings).filter(|_| self.batches.is_empty()) else { return };
        let is_ripe = self.has_enough(settings) || whole.is_closed || whole.is_full || ripe_at <= now;
        if !is_ripe {
            return;
        }
        let (mut samples, mut bytes, mut pieces) = (0, 0, Vec::new());
        while let Some(front) = self.queue.front_mut() {
            let least = usize::from(pieces.is_empty());
            let room = settings.max_bytes.saturating_sub(bytes);
            let Some(piece) = front.take_front(self.most_samples - samples, room, least) else { break };
            let is_all = front.samples() == 0;
            samples += piece.samples();
            bytes += piece.bytes();
            pieces.push(piece);
            if !is_all {
                break;
            }
            self.queue.pop_front();
        }
        self.samples -= samples;
        self.bytes -= bytes;
        self.has_sent = true;
        self.batches.push_back(Arc::new(Batch {
            pieces,
            families: std::mem::take(families),
            is_half: false,
        }));
    }

    /// The batch to be sent now.
    pub fn ready(&self, now: Instant) -> Option<&Arc<Batch>> {
        self.batches.front().filter(|_| !self.is_busy && self.due <= now)
    }

    /// The first batch has its end: of the next one nothing is known.
    pub fn end_first(&mut self, now: Instant) {
        self.batches.pop_front();
        (self.encoded, self.tries, self.may_be_stored, self.due) = (None, 0, false, now);
    }

    /// A request was not too large: a limit that was lowered rises again. Fast where one sample alone was too large; else
    /// slowly, since a request that is too large is sent for nothing.
    pub fn grow(&mut self, settings: &Settings) {
        self.taken += 1;
        let grown = match self.most_samples.saturating_mul(2) {
            double if double < self.refused_samples => double,
            _ if self.taken < GROWS_BEHIND => return,
            _ => self.most_samples + self.most_samples / 16 + 1,
        };
        (self.most_samples, self.taken) = (grown.min(settings.max_samples), 0);
    }

    /// The first batch was too large: its halves go in its place. Says whether there was something to halve.
    pub fn split_first(&mut self, now: Instant) -> bool {
        let Some(batch) = self.batches.front().filter(|batch| batch.samples() > 1) else { return false };
        if !batch.is_half {
            self.refused_samples = batch.samples();
        }
        let (first, second) = batch.halves();
        (self.most_samples, self.taken) = (first.samples().min(self.most_samples).max(1), 0);
        self.end_first(now);
        self.batches.push_front(Arc::new(second));
        self.batches.push_front(Arc::new(first));
        true
    }

    /// Everything without an end.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.batches.iter().flat_map(|batch| &batch.pieces).chain(&self.queue)
    }
}
