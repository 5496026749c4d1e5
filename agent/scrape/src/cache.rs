//! What is known of a target's series: by the text in which the target exposes them, in little memory.
//!
//! 1. Whether a text is known is decided by XXH3-128 of it and its length. A target mostly exposes its series in the same
//!    order, so of each is known which came next; only where another comes it is looked up in a table.
//! 2. A scrape adds and never removes, until it is committed or rolled back; rolled back, the cache knows the series that
//!    it knew before.
//! 3. Two texts of the same series are two entries, one of which stands for the series; the other names it.
//! 4. Between scrapes all entries that are not gone are on one side; a scrape moves those that it sees to the other. It is
//!    committed when all are there, or the others forgotten; rolled back, it brings all back.
//! 5. Memory is bounded by what a target exposed in its last good scrape, and a constant part of that which is gone.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashTable;
use twox_hash::XxHash3_128;
use weir_samples::exposition::{Format, Known};
use weir_samples::labels::LabelSet;

use families::{Families, FamilyPool};
use store::{Kept, LabelStore, StoreMark};

mod change;
pub(crate) mod families;
pub(crate) mod store;

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;
/// The bit that a text's length leaves: no text is so long.
const SIDE: u32 = 1 << 31;
/// The length of a text that is gone: no line is so long.
const GONE_LEN: u32 = SIDE - 1;

/// What is known of a target's series.
#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) entries: Vec<Entry>,
    texts: HashTable<u32>,
    series: HashTable<u32>,
    pub(crate) labels: LabelStore,
    pub(crate) families: Families,
    format: Format,
    /// The scrape that is read or was read last; counted from 2, so that 1 and 0 are before all.
    pub(crate) iteration: u32,
    /// When the scrape before was, in milliseconds.
    pub(crate) last_time: i64,
    /// Entries that are not gone.
    pub(crate) live: u32,
    /// Entries seen in this scrape.
    pub(crate) seen: u32,
    /// The side on which entries are that were seen in this scrape: [`SIDE`] or 0.
    side: u32,
    /// Series that the last scrape left to be watched for staleness.
    pub(crate) tracked: u32,
    /// Last explicit timestamps, in milliseconds, and values, by entry.
    pub(crate) explicit: HashMap<u32, (i64, u64)>,
    /// Last exemplars, by entry: timestamps in milliseconds, and hashes.
    pub(crate) exemplars: HashMap<u32, (i64, u64)>,
    /// The entry that should come next, the one seen last, and the first of the scrape.
    predicted: u32,
    previous: u32,
    first: u32,
    /// What [`Known::recognise`] said last.
    candidate: u32,
    mark: Mark,
    scratch: Vec<u8>,
}

/// How far the cache was filled when a scrape began.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    entries: usize,
    labels: StoreMark,
    live: u32,
    side: u32,
}

/// One text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// XXH3-128 of the text.
    text: [u64; 2],
    /// The hash of its labels.
    pub(crate) series: u64,
    start: u32,
    /// The text's length, and in the [`SIDE`] bit the side on which it was seen last.
    text_len: u32,
    /// Its family.
    pub(crate) family: u32,
    /// The scrape after which the series was last to be watched for staleness.
    pub(crate) tracked: u32,
    /// The entry that came next in the last scrape.
    next: u32,
    shape: u16,
    /// What it is.
    pub(crate) role: Role,
    /// Whether its last sample was a native histogram.
    pub(crate) is_histogram: bool,
}

// A target has many, and most of them are read at each scrape.
const _: () = assert!(size_of::<Entry>() == 48);

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It stands for its series.
    Series,
    /// Another entry, whose number is its `start`, stands for its series.
    Alias,
    /// Relabelling drops it.
    Dropped,
    /// Its series has vanished.
    Gone,
}

/// The hash of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextHash([u64; 2]);

/// The cache has no numbers left.
#[derive(Debug)]
pub(crate) struct Full;

// === impl Cache ===

impl Cache {
    /// An empty one for a target most of whose series have these labels.
    pub(crate) fn new(shared: Vec<u8>, pool: Arc<FamilyPool>) -> Cache {
        Cache {
            entries: Vec::new(),
            texts: HashTable::new(),
            series: HashTable::new(),
            labels: LabelStore::new(shared),
            families: Families::new(pool),
            format: Format::Text,
            iteration: 1,
            last_time: i64::MIN,
            live: 0,
            seen: 0,
            side: 0,
            tracked: 0,
            explicit: HashMap::new(),
            exemplars: HashMap::new(),
            predicted: NONE,
            previous: NONE,
            first: NONE,
            candidate: NONE,
            mark: Mark::default(),
            scratch: Vec::new(),
        }
    }

    /// A scrape begins; the one before was swept or rolled back.
    pub(crate) fn begin(&mut self) {
        self.iteration += 1;
        self.seen = 0;
        (self.predicted, self.previous, self.candidate) = (self.first, NONE, NONE);
        self.mark = Mark {
            entries: self.entries.len(),
            labels: self.labels.mark(),
            live: self.live,
            side: self.side,
        };
        self.side ^= SIDE;
        self.families.begin();
    }

    /// A body of this format comes.
    pub(crate) fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    /// The entry of a text that [`Known::recognise`] recognised just now.
    #[inline]
    pub(crate) fn recognised(&mut self) -> u32 {
        self.candidate
    }

    /// The entry of a text.
    pub(crate) fn look_up(&self, text: &[u8]) -> (TextHash, Option<u32>) {
        let hash = self.hash(text);
        let is_it = |index: &u32| {
            self.entries
                .get(*index as usize)
                .is_some_and(|entry| entry.text == hash.0 && entry.text_len() == text.len())
        };
        (hash, self.texts.find(hash.0[0], is_it).copied())
    }

    /// Notes that an entry was seen, and says whether it had been seen in this scrape before.
    #[inline]
    pub(crate) fn see(&mut self, index: u32) -> bool {
        let side = self.side;
        let Some(entry) = self.entries.get_mut(index as usize) else { return false };
        let was_seen = entry.is_on(side);
        entry.move_to(side);
        let next = entry.next;
        if was_seen {
            return true;
        }
        self.seen += 1;
        if self.predicted != index || self.previous == NONE {
            self.link(index);
        }
        (self.previous, self.predicted) = (index, next);
        false
    }

    /// Notes that this entry comes behind the one that was seen last.
    fn link(&mut self, index: u32) {
        match self.entries.get_mut(self.previous as usize) {
            Some(previous) => previous.next = index,
            None => self.first = index,
        }
    }

    /// Adds a text whose series relabelling drops.
    pub(crate) fn add_dropped(&mut self, text: TextHash, text_len: usize) -> Result<u32, Full> {
        self.add(text, text_len, Role::Dropped, (0, Kept::default(), NONE))
    }

    /// Adds a text with the labels of its series.
    pub(crate) fn add_series(
        &mut self,
        text: TextHash,
        text_len: usize,
        labels: LabelSet<'_>,
    ) -> Result<u32, Full> {
        let series = labels.hash();
        if let Some(known) = self.find_series(labels, series) {
            let kept = Kept { start: known, ..Kept::default() };
            return self.add(text, text_len, Role::Alias, (series, kept, NONE));
        }
        let kept = self.labels.keep(labels).ok_or(Full)?;
        let family = self.families.of_series(labels.metric());
        let index = self.add(text, text_len, Role::Series, (series, kept, family))?;
        self.families.count(family, 1);
        let entries = &self.entries;
        let rehash = |index: &u32| entries.get(*index as usize).map_or(0, |entry| entry.series);
        self.series.insert_unique(series, index, rehash);
        Ok(index)
    }

    /// The entry that stands for the series of this one.
    #[inline]
    pub(crate) fn series_of(&self, index: u32) -> u32 {
        match self.entries.get(index as usize) {
            Some(entry) if entry.role == Role::Alias => entry.start,
            _ => index,
        }
    }

    /// How many series are known.
    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    fn find_series(&mut self, labels: LabelSet<'_>, hash: u64) -> Option<u32> {
        let (entries, store, scratch) = (&self.entries, &self.labels, &mut self.scratch);
        let is_it = |index: &u32| {
            let entry = entries.get(*index as usize).filter(|entry| entry.series == hash);
            entry.is_some_and(|entry| store.is(entry.kept(), labels, scratch))
        };
        self.series.find(hash, is_it).copied()
    }

    fn add(
        &mut self,
        text: TextHash,
        text_len: usize,
        role: Role,
        (series, kept, family): (u64, Kept, u32),
    ) -> Result<u32, Full> {
        let index = u32::try_from(self.entries.len()).ok().filter(|index| *index < NONE).ok_or(Full)?;
        let text_len = u32::try_from(text_len).ok().filter(|len| *len < GONE_LEN).ok_or(Full)?;
        // It was not seen yet.
        let text_len = text_len | (self.side ^ SIDE);
        let Kept { start, shape } = kept;
        let (tracked, next, is_histogram) = (0, NONE, false);
        let text = text.0;
        self.entries.push(Entry {
            text,
            series,
            start,
            text_len,
            family,
            tracked,
            next,
            shape,
            role,
            is_histogram,
        });
        self.live += 1;
        let entries = &self.entries;
        let rehash = |index: &u32| entries.get(*index as usize).map_or(0, Entry::text_hash);
        self.texts.insert_unique(text[0], index, rehash);
        Ok(index)
    }

    #[inline]
    fn hash(&self, text: &[u8]) -> TextHash {
        let hash = XxHash3_128::oneshot(text);
        // The same text may be another series in another format.
        let format = match self.format {
            Format::Text => 0,
            Format::OpenMetrics => 1,
            Format::Protobuf => 2,
        };
        TextHash([hash as u64 ^ format, (hash >> 64) as u64])
    }
}

impl Known for Cache {
    #[inline]
    fn recognise(&mut self, line: &[u8]) -> Option<usize> {
        let entry = self.entries.get(self.predicted as usize)?;
        let text = line.get(..entry.text_len())?;
        if self.hash(text).0 != entry.text {
            return None;
        }
        self.candidate = self.predicted;
        Some(text.len())
    }
}

// === impl Entry ===

impl Entry {
    /// Where its labels are kept.
    #[inline]
    pub(crate) fn kept(&self) -> Kept {
        Kept { start: self.start, shape: self.shape }
    }

    #[inline]
    fn text_len(&self) -> usize {
        (self.text_len & !SIDE) as usize
    }

    #[inline]
    fn is_on(&self, side: u32) -> bool {
        self.text_len & SIDE == side
    }

    #[inline]
    fn move_to(&mut self, side: u32) {
        self.text_len = (self.text_len & !SIDE) | side;
    }

    fn text_hash(&self) -> u64 {
        let [hash, _] = self.text;
        hash
    }
}
