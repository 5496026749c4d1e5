//! The stage: rules, and what they made of each series.
//!
//! 1. An answer belongs to a series by two hashes: the series' own, and one of its label bytes with a secret of this stage. The
//!    second is the key, so the table cannot be flooded by chosen labels.
//! 2. There are never more answers than [`Limits`] say. While there is no room a new series is worked out every time, and those
//!    that are known stay fast: this way a round over more series than there is room for still finds most of them.
//! 3. What was not asked for during [`Limits::unused`] goes, at the latest after one and a half times that.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use twox_hash::XxHash3_64;

use super::rules::Rules;
use crate::labels::{LabelSet, LabelsBuilder};
use crate::stage::{Fate, SampleStage};

/// What an answer takes in the table, with the table's free places.
const ENTRY_BYTES: usize = 80;
/// What the allocator adds to a piece.
const PIECE_BYTES: usize = 16;
/// Words of a secret.
const SECRET_WORDS: usize = 24;

/// How much one stage (that is, one worker) remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Series. Default 1,000,000.
    pub max_series: usize,
    /// Bytes: 80 for each series, and its labels where they were changed. Default 64 MiB.
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
    answers: HashMap<u64, Entry, BuildHasherDefault<Direct>>,
    usage: Usage,
    /// When the unused go next, in seconds since the Unix epoch.
    next_sweep: u32,
    worker: Worker,
    /// The last answer that found no room.
    unkept: Answer,
}

#[derive(Debug)]
struct Entry {
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
            answers: HashMap::default(),
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
        self.answers.retain(|_, entry| {
            let stays = entry.used >= oldest;
            if !stays {
                usage.bytes -= entry.answer.cost();
            }
            stays
        });
        usage.series = self.answers.len();
        if self.answers.len() < self.answers.capacity() / 4 {
            self.answers.shrink_to(2 * self.answers.len());
        }
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
        let answer = match self.answers.entry(key) {
            Place::Occupied(place) if place.get().series == hash => {
                let entry = place.into_mut();
                entry.used = now;
                &entry.answer
            }
            place => {
                let answer = self.worker.work_out(&self.rules, labels);
                self.usage.worked_out += 1;
                let bytes = self.usage.bytes + answer.cost();
                match place {
                    Place::Vacant(place)
                        if self.usage.series < self.limits.max_series && bytes <= self.limits.max_bytes =>
                    {
                        self.usage.series += 1;
                        self.usage.bytes = bytes;
                        &place.insert(Entry { series: hash, used: now, answer }).answer
                    }
                    _ => {
                        self.unkept = answer;
                        &self.unkept
                    }
                }
            }
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
mod tests {
    use super::*;
    use crate::relabel::{Lists, Rule};

    const SECOND: i64 = 1_000_000_000;

    fn set(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = LabelsBuilder::new();
        pairs.iter().for_each(|(name, value)| builder.push(name, value));
        let mut out = Vec::new();
        builder.finish(&mut out).unwrap();
        out
    }

    fn stage(rules: &[Rule], limits: Limits) -> Relabel {
        Relabel::new(Rules::new(rules).unwrap(), "rules".into(), "invalid".into(), limits)
    }

    fn fate(stage: &mut Relabel, labels: &[u8], now: i64) -> String {
        let labels = LabelSet::new(labels);
        match stage.look(labels, labels.hash(), now * SECOND) {
            Fate::Keep => "keep".to_owned(),
            Fate::Change { labels, hash } => {
                assert_eq!(hash, labels.hash());
                labels.to_string()
            }
            Fate::Drop(reason) => format!("drop: {reason}"),
        }
    }

    fn rules() -> Vec<Rule> {
        let lists =
            Lists { drop_metrics: vec!["gone".into()], drop_labels: vec!["ip".into()], ..Lists::default() };
        lists.rules().unwrap()
    }

    #[test]
    fn an_answer_is_the_same_every_time() {
        let mut stage = stage(&rules(), Limits::default());
        for _ in 0..3 {
            assert_eq!(fate(&mut stage, &set(&[("__name__", "up")]), 1), "keep");
            assert_eq!(fate(&mut stage, &set(&[("__name__", "up"), ("ip", "7")]), 1), "up");
            assert_eq!(fate(&mut stage, &set(&[("__name__", "gone")]), 1), "drop: rules");
            assert_eq!(fate(&mut stage, &set(&[("ip", "7")]), 1), "drop: rules");
            assert_eq!(fate(&mut stage, &set(&[("job", "a"), ("ip", "7")]), 1), "drop: invalid");
        }
        assert_eq!((stage.usage().worked_out, stage.usage().series), (5, 5));
    }

    #[test]
    fn a_nameless_label_is_invalid() {
        let map = Rule {
            action: "labelmap".parse().unwrap(),
            regex: "x(.*)".into(),
            replacement: "$1".into(),
            ..Rule::default()
        };
        let mut stage = stage(&[map], Limits::default());
        assert_eq!(fate(&mut stage, &set(&[("__name__", "up"), ("x", "7")]), 1), "drop: invalid");
        assert_eq!(fate(&mut stage, &set(&[("__name__", "up"), ("xa", "7")]), 1), "up{a=\"7\",xa=\"7\"}");
    }

    #[test]
    fn series_with_one_hash_do_not_take_each_others_labels() {
        let mut stage = stage(&rules(), Limits::default());
        let (one, other) = (set(&[("__name__", "a"), ("ip", "7")]), set(&[("__name__", "b"), ("ip", "7")]));
        for (labels, metric) in [(&one, "a"), (&other, "b"), (&one, "a"), (&other, "b")] {
            let Fate::Change { labels, .. } = stage.look(LabelSet::new(labels), 42, 0) else { panic!() };
            assert_eq!(labels.metric(), metric);
        }
    }

    #[test]
    fn the_unused_go_and_the_used_stay() {
        let mut stage = stage(&rules(), Limits { unused: Duration::from_secs(100), ..Limits::default() });
        let (used, unused) = (set(&[("__name__", "a"), ("ip", "7")]), set(&[("__name__", "b")]));
        fate(&mut stage, &unused, 1000);
        for now in (1000..1160).step_by(10) {
            fate(&mut stage, &used, now);
        }
        assert_eq!(
            stage.usage(),
            Usage { series: 1, bytes: 96 + set(&[("__name__", "a")]).len(), worked_out: 2 }
        );
    }

    #[test]
    fn without_room_answers_are_right_and_the_known_stay() {
        let series: Vec<_> =
            (0..20).map(|n| set(&[("__name__", "a"), ("n", &n.to_string()), ("ip", "1")])).collect();
        let by_series = Limits { max_series: 10, ..Limits::default() };
        let by_bytes = Limits { max_bytes: 10 * 120, ..Limits::default() };
        for limits in [by_series, by_bytes] {
            let mut stage = stage(&rules(), limits);
            for _ in 0..3 {
                for (n, labels) in series.iter().enumerate() {
                    assert_eq!(fate(&mut stage, labels, 1), format!("a{{n=\"{n}\"}}"));
                }
            }
            let usage = stage.usage();
            assert!(usage.series >= 9 && usage.series <= 10 && usage.bytes <= limits.max_bytes, "{usage:?}");
            assert_eq!(usage.worked_out, (20 + 2 * (20 - usage.series)) as u64);
        }
    }
}
