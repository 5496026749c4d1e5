//! The stage: rules, and what they made of each series.
//!
//! 1. An answer belongs to a series by two hashes: the series' own, and one of its label bytes with a secret of this stage. The
//!    second is the key, so the table cannot be flooded by chosen labels.
//! 2. There are never more answers than [`Limits`] say. While there is no room a new series is worked out every time, and those
//!    that are known stay fast: this way a round over more series than there is room for still finds most of them.
//! 3. What was not asked for during [`Limits::unused`] goes, at the latest after one and a half times that.
//! 4. Answers lie in the order in which series came first. Targets expose their series in the same order every time, so the
//!    next answer is mostly the one behind the last, and the table, which is far away in memory, is asked only for others.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use twox_hash::XxHash3_64;

use super::rules::Rules;
use crate::labels::{LabelSet, LabelsBuilder};
use crate::stage::{Fate, SampleStage};

/// What an answer takes, with its place in the table and free places.
const ENTRY_BYTES: usize = 96;
/// What the allocator adds to a piece.
const PIECE_BYTES: usize = 16;
/// Words of a secret.
const SECRET_WORDS: usize = 24;

/// How much one stage (that is, one worker) remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series. Default 1,000,000.
    pub max_series: usize,
    /// Bytes: 96 for each series, and its labels where they were changed. Default 64 MiB.
    pub max_bytes: usize,
    /// How long a series is remembered that does not come. Default 10 minutes.
    pub unused: Duration,
}

/// What a stage remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Series.
    pub series: usize,
    /// Bytes, counted as [`Limits::max_bytes`] counts them.
    pub bytes: usize,
    /// Samples for which rules were worked through, since the start.
    pub worked_out: u64,
}

/// Relabels samples.
#[derive(Debug)]
pub struct Relabel {
    rules: Rules,
    reason: Arc<str>,
    invalid: Arc<str>,
    limits: Limits,
    secret: [u8; 8 * SECRET_WORDS],
    /// In the order in which their series came first.
    entries: Vec<Entry>,
    /// Where entries are, by their keys.
    places: HashMap<u64, u32, BuildHasherDefault<Direct>>,
    /// The entry that is expected next.
    next: usize,
    usage: Usage,
    /// When the unused go next, in seconds since the Unix epoch.
    next_sweep: u32,
    worker: Worker,
    /// The last answer that found no room.
    unkept: Answer,
}

#[derive(Debug)]
struct Entry {
    key: u64,
    series: u64,
    /// When it was asked for, in seconds since the Unix epoch.
    used: u32,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Keep,
    Change {
        labels: Box<[u8]>,
        hash: u64,
    },
    Drop,
    /// The rules leave a label set that no series can have.
    Invalid,
}

/// What works rules out, with its memory.
#[derive(Debug, Default)]
struct Worker {
    builder: LabelsBuilder,
    bytes: Vec<u8>,
}

/// The hasher for keys that are hashes.
#[derive(Debug, Default)]
struct Direct(u64);

// === impl Limits ===

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_series: 1_000_000, max_bytes: 64 << 20, unused: Duration::from_secs(600) }
    }
}

// === impl Relabel ===

impl Relabel {
    /// A stage. What rules drop ends for `reason`, and what they leave without a metric's name or with a nameless label for
    /// `invalid`.
    pub fn new(rules: Rules, reason: Arc<str>, invalid: Arc<str>, limits: Limits) -> Relabel {
        let mut secret = [0; 8 * SECRET_WORDS];
        let random = RandomState::new();
        for (word, bytes) in secret.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&random.hash_one(word).to_ne_bytes());
        }
        Relabel {
            rules,
            reason,
            invalid,
            limits,
            secret,
            entries: Vec::new(),
            places: HashMap::default(),
            next: 0,
            usage: Usage::default(),
            next_sweep: 0,
            worker: Worker::default(),
            unkept: Answer::Keep,
        }
    }

    /// What it remembers.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Forgets what was not asked for since [`Limits::unused`].
    fn sweep(&mut self, now: u32) {
        let unused = u32::try_from(self.limits.unused.as_secs()).unwrap_or(u32::MAX).max(1);
        self.next_sweep = now.saturating_add(unused.div_ceil(2));
        let (oldest, usage) = (now.saturating_sub(unused), &mut self.usage);
        self.entries.retain(|entry| {
            let stays = entry.used >= oldest;
            if !stays {
                usage.bytes -= entry.answer.cost();
            }
            stays
        });
        if self.entries.len() == usage.series {
            return;
        }
        usage.series = self.entries.len();
        self.entries.shrink_to(self.entries.len() * 5 / 4);
        self.places.clear();
        self.places.shrink_to(self.entries.len());
        self.places.extend(self.entries.iter().zip(0..).map(|(entry, place)| (entry.key, place)));
    }

    /// Where the answer for a series is, if it is known.
    #[inline]
    fn find(&self, key: u64, series: u64) -> Option<usize> {
        let is_it = |entry: &Entry| entry.key == key && entry.series == series;
        if self.entries.get(self.next).is_some_and(is_it) {
            return Some(self.next);
        }
        let place = *self.places.get(&key)? as usize;
        self.entries.get(place).is_some_and(is_it).then_some(place)
    }

    /// Works out the answer for a series, and says where it is: where there is no room it is the one that was not kept.
    #[cold]
    fn work_out(&mut self, labels: LabelSet<'_>, (key, series): (u64, u64), used: u32) -> Option<usize> {
        let answer = self.worker.work_out(&self.rules, labels);
        self.usage.worked_out += 1;
        let bytes = self.usage.bytes + answer.cost();
        let has_room = self.entries.len() < self.limits.max_series && bytes <= self.limits.max_bytes;
        let place =
            u32::try_from(self.entries.len()).ok().filter(|_| has_room && !self.places.contains_key(&key));
        let Some(place) = place else {
            self.unkept = answer;
            return None;
        };
        if self.entries.len() == self.entries.capacity() {
            // By a quarter, where a vector by itself would double.
            self.entries.reserve_exact((self.entries.len() / 4).max(64));
        }
        self.places.insert(key, place);
        self.entries.push(Entry { key, series, used, answer });
        self.usage = Usage { series: self.entries.len(), bytes, ..self.usage };
        Some(place as usize)
    }
}

impl SampleStage for Relabel {
    fn look<'a>(&'a mut self, labels: LabelSet<'_>, hash: u64, now: i64) -> Fate<'a> {
        if self.rules.is_empty() {
            return Fate::Keep;
        }
        let now = u32::try_from(now / 1_000_000_000).unwrap_or_default();
        if now >= self.next_sweep {
            self.sweep(now);
        }
        // The secret is long enough, so this cannot fail; if it did, the series' own hash would be all there is.
        let key = XxHash3_64::oneshot_with_secret(&self.secret, labels.bytes()).unwrap_or(hash);
        let place = match self.find(key, hash) {
            Some(place) => Some(place),
            None => self.work_out(labels, (key, hash), now),
        };
        let entry = place.and_then(|place| self.entries.get_mut(place));
        self.next = place.map_or(self.next, |place| place + 1);
        let answer = match entry {
            Some(entry) => {
                entry.used = now;
                &entry.answer
            }
            None => &self.unkept,
        };
        match answer {
            Answer::Keep => Fate::Keep,
            Answer::Change { labels, hash } => Fate::Change { labels: LabelSet::new(labels), hash: *hash },
            Answer::Drop => Fate::Drop(&self.reason),
            Answer::Invalid => Fate::Drop(&self.invalid),
        }
    }
}

// === impl Worker ===

impl Worker {
    fn work_out(&mut self, rules: &Rules, labels: LabelSet<'_>) -> Answer {
        self.builder.clear();
        self.builder.extend(labels);
        if !rules.apply(&mut self.builder) {
            return Answer::Drop;
        }
        self.bytes.clear();
        if self.builder.finish(&mut self.bytes).is_err() {
            return Answer::Invalid;
        }
        let relabelled = LabelSet::new(&self.bytes);
        if self.bytes.is_empty() {
            return Answer::Drop;
        }
        if relabelled.metric().is_empty() || relabelled.get("").is_some() {
            return Answer::Invalid;
        }
        if relabelled == labels {
            return Answer::Keep;
        }
        Answer::Change { hash: relabelled.hash(), labels: self.bytes.as_slice().into() }
    }
}

// === impl Answer ===

impl Answer {
    /// Bytes that remembering it takes.
    fn cost(&self) -> usize {
        match self {
            Answer::Change { labels, .. } => ENTRY_BYTES + PIECE_BYTES + labels.len(),
            _ => ENTRY_BYTES,
        }
    }
}

// === impl Direct ===

impl Hasher for Direct {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests;
