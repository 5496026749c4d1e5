//! Families of metrics: what a target says of its metrics, shared by all targets that say the same.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashTable;
use twox_hash::XxHash3_64;
use weir_event::stream::{Attributes, Family, Stream};
use weir_samples::exposition::Kind;

/// Streams that nobody uses are looked for when there are this many, and whenever there are twice as many as were left.
const FIRST_CLEARING: usize = 1_024;

/// The streams of a source, one for each family that differs.
#[derive(Debug)]
pub(crate) struct FamilyPool {
    attributes: Attributes,
    streams: Mutex<Pool>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Pool {
    streams: HashTable<Arc<Stream>>,
    clear_at: usize,
}

/// The families of one target.
#[derive(Debug)]
pub(crate) struct Families {
    pool: Arc<FamilyPool>,
    list: Vec<Member>,
    by_name: HashTable<u32>,
    /// The one that was named last, and whether anything new was said of it.
    draft: Family,
    kind: Kind,
    is_changed: bool,
    current: Option<u32>,
}

#[derive(Debug)]
struct Member {
    stream: Arc<Stream>,
    kind: Kind,
    series: u32,
}

// === impl FamilyPool ===

impl FamilyPool {
    /// For streams with these attributes.
    pub(crate) fn new(attributes: Attributes) -> Arc<FamilyPool> {
        let streams = Mutex::new(Pool { streams: HashTable::new(), clear_at: FIRST_CLEARING });
        Arc::new(FamilyPool { attributes, streams, hasher: RandomState::new() })
    }

    /// The stream of this family.
    pub(crate) fn stream(&self, family: &Family) -> Arc<Stream> {
        let mut pool = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = self.hasher.hash_one(family);
        if let Some(stream) = pool.streams.find(hash, |stream| family_of(stream) == Some(family)) {
            return Arc::clone(stream);
        }
        if pool.streams.len() >= pool.clear_at {
            pool.streams.retain(|stream| Arc::strong_count(stream) > 1);
            pool.clear_at = (2 * pool.streams.len()).max(FIRST_CLEARING);
        }
        let family = Some(Box::new(family.clone()));
        let stream = Stream::new(Attributes { family, ..self.attributes.clone() }, 0);
        let rehash =
            |stream: &Arc<Stream>| family_of(stream).map_or(0, |family| self.hasher.hash_one(family));
        pool.streams.insert_unique(hash, Arc::clone(&stream), rehash);
        stream
    }
}

// === impl Families ===

impl Families {
    /// None yet.
    pub(crate) fn new(pool: Arc<FamilyPool>) -> Families {
        Families {
            pool,
            list: Vec::new(),
            by_name: HashTable::new(),
            draft: Family::default(),
            kind: Kind::Unknown,
            is_changed: false,
            current: None,
        }
    }

    /// A body begins.
    pub(crate) fn begin(&mut self) {
        (self.current, self.is_changed) = (None, false);
        self.draft.name.clear();
    }

    /// The target says the type of a family.
    pub(crate) fn set_kind(&mut self, name: &str, kind: Kind) {
        self.turn_to(name);
        if self.kind != kind || self.draft.kind.is_empty() {
            self.kind = kind;
            kind.name().clone_into(&mut self.draft.kind);
            self.is_changed = true;
        }
    }

    /// The target says what a family is for.
    pub(crate) fn set_help(&mut self, name: &str, help: &str) {
        self.turn_to(name);
        if self.draft.help != help {
            help.clone_into(&mut self.draft.help);
            self.is_changed = true;
        }
    }

    /// The target says the unit of a family.
    pub(crate) fn set_unit(&mut self, name: &str, unit: &str) {
        self.turn_to(name);
        if self.draft.unit != unit {
            unit.clone_into(&mut self.draft.unit);
            self.is_changed = true;
        }
    }

    /// The family that a new series of this metric belongs to: the one named last, or else one of its own name.
    pub(crate) fn of_series(&mut self, metric: &str) -> u32 {
        self.settle();
        if let Some(current) = self.current
            && self.kind.has_series(&self.draft.name, metric)
        {
            return current;
        }
        self.find(metric).unwrap_or_else(|| {
            let family = Family { name: metric.to_owned(), ..Family::default() };
            self.insert(&family, Kind::Unknown)
        })
    }

    /// Nothing more comes: what was said last is kept.
    pub(crate) fn settle(&mut self) {
        if !self.is_changed {
            return;
        }
        self.is_changed = false;
        match self.current.and_then(|current| self.list.get_mut(current as usize)) {
            Some(member) => (member.stream, member.kind) = (self.pool.stream(&self.draft), self.kind),
            None => {
                let draft = std::mem::take(&mut self.draft);
                self.current = Some(self.insert(&draft, self.kind));
                self.draft = draft;
            }
        }
    }

    /// A family's stream.
    #[inline]
    pub(crate) fn stream(&self, family: u32) -> Option<&Arc<Stream>> {
        self.list.get(family as usize).map(|member| &member.stream)
    }

    /// Counts series of a family.
    pub(crate) fn count(&mut self, family: u32, series: i32) {
        if let Some(member) = self.list.get_mut(family as usize) {
            member.series = member.series.saturating_add_signed(series);
        }
    }

    /// How many families there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Forgets families without series and says the new numbers of the others.
    pub(crate) fn clear_up(&mut self) -> Vec<u32> {
        self.begin();
        let mut numbers = Vec::with_capacity(self.list.len());
        let mut list = Vec::new();
        for member in self.list.drain(..) {
            numbers.push(list.len() as u32);
            if member.series > 0 {
                list.push(member);
            }
        }
        self.list = list;
        self.by_name.clear();
        for (index, member) in self.list.iter().enumerate() {
            let hash = hash_name(name_of(&member.stream));
            self.by_name.insert_unique(hash, index as u32, |known| hash_at(&self.list, *known));
        }
        numbers
    }

    /// The families with the most series, most first: names and numbers.
    pub(crate) fn top(&self, count: usize) -> Vec<(Arc<str>, u64)> {
        let mut members: Vec<&Member> = self.list.iter().filter(|member| member.series > 0).collect();
        let order = |member: &&Member| std::cmp::Reverse(member.series);
        if members.len() > count {
            members.select_nth_unstable_by_key(count, order);
            members.truncate(count);
        }
        members.sort_by_key(order);
        members.iter().map(|member| (Arc::from(name_of(&member.stream)), u64::from(member.series))).collect()
    }

    /// Makes the family of this name the current one.
    fn turn_to(&mut self, name: &str) {
        if self.draft.name == name {
            return;
        }
        self.settle();
        self.current = self.find(name);
        match self.current.and_then(|current| self.list.get(current as usize)) {
            Some(member) => {
                self.kind = member.kind;
                self.draft = family_of(&member.stream).cloned().unwrap_or_default();
            }
            None => {
                self.kind = Kind::Unknown;
                self.draft = Family { name: name.to_owned(), ..Family::default() };
            }
        }
    }

    fn find(&self, name: &str) -> Option<u32> {
        let is_it = |index: &u32| {
            self.list.get(*index as usize).is_some_and(|member| name_of(&member.stream) == name)
        };
        self.by_name.find(hash_name(name), is_it).copied()
    }

    fn insert(&mut self, family: &Family, kind: Kind) -> u32 {
        let index = self.list.len() as u32;
        self.list.push(Member { stream: self.pool.stream(family), kind, series: 0 });
        self.by_name.insert_unique(hash_name(&family.name), index, |known| hash_at(&self.list, *known));
        index
    }
}

fn family_of(stream: &Stream) -> Option<&Family> {
    stream.attributes().family.as_deref()
}

fn name_of(stream: &Stream) -> &str {
    family_of(stream).map_or("", |family| &family.name)
}

fn hash_name(name: &str) -> u64 {
    XxHash3_64::oneshot(name.as_bytes())
}

fn hash_at(list: &[Member], index: u32) -> u64 {
    list.get(index as usize).map_or(0, |member| hash_name(name_of(&member.stream)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> (Arc<FamilyPool>, Families) {
        let pool = FamilyPool::new(Attributes { source: "s".into(), ..Attributes::default() });
        (Arc::clone(&pool), Families::new(pool))
    }

    fn family(families: &Families, index: u32) -> Family {
        family_of(families.stream(index).unwrap()).unwrap().clone()
    }

    #[test]
    fn a_series_belongs_to_the_family_named_last_or_to_its_own() {
        let (_, mut families) = families();
        families.begin();
        families.set_help("a", "help");
        families.set_kind("a", Kind::Histogram);
        let of_a = families.of_series("a_bucket");
        let alone = families.of_series("b");
        assert_eq!(families.of_series("a_sum"), of_a);
        assert_ne!(of_a, alone);
        let known = family(&families, of_a);
        assert_eq!((&*known.name, &*known.kind, &*known.help), ("a", "histogram", "help"));
        assert_eq!(family(&families, alone), Family { name: "b".into(), ..Family::default() });
        families.begin();
        families.set_kind("b", Kind::Gauge);
        families.set_kind("a", Kind::Histogram);
        families.set_help("a", "new");
        families.settle();
        assert_eq!(&*family(&families, alone).kind, "gauge");
        assert_eq!(&*family(&families, of_a).help, "new");
    }

    #[test]
    fn targets_that_say_the_same_share_streams() {
        let (pool, mut one) = families();
        let mut other = Families::new(pool);
        for families in [&mut one, &mut other] {
            families.set_kind("a", Kind::Gauge);
        }
        let (at, of) = (one.of_series("a"), other.of_series("a"));
        assert!(Arc::ptr_eq(one.stream(at).unwrap(), other.stream(of).unwrap()));
    }

    #[test]
    fn families_without_series_are_forgotten() {
        let (_, mut families) = families();
        let numbers: Vec<u32> = ["a", "b", "c"].iter().map(|name| families.of_series(name)).collect();
        families.count(numbers[1], 2);
        families.count(numbers[2], 1);
        let renumbered = families.clear_up();
        assert_eq!((renumbered[1], renumbered[2], families.len()), (0, 1, 2));
        assert_eq!(families.find("b"), Some(0));
        assert_eq!(families.find("a"), None);
        assert_eq!(families.top(1), [("b".into(), 2)]);
    }
}
