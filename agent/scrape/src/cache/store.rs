//! Keeps label sets of a target in little memory.
//!
//! 1. Labels that all series of a target share (job, instance, cluster and so on) are kept once. A series keeps its own
//!    labels, in order and encoded as in a [`LabelSet`], and the number of a weave: where the shared ones stand between them.
//! 2. Series with labels of the same names mostly have the same weave, so there are few.

use std::collections::HashMap;

use weir_samples::labels::LabelSet;

/// Where a label set is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) weave: u16,
}

/// More weaves are not kept; label sets beyond are kept whole.
const MAX_WEAVES: usize = u16::MAX as usize;

/// Label sets of one target.
#[derive(Debug, Default)]
pub(crate) struct LabelStore {
    /// The shared labels, as a label set.
    shared: Vec<u8>,
    arena: Vec<u8>,
    weaves: Vec<Weave>,
    known: HashMap<Weave, u16>,
    last: u16,
}

/// Own and shared labels in turn; what is left of the own ones comes at the end.
type Weave = Vec<Turn>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Turn {
    /// So many own labels come first.
    own: u32,
    /// Then this range of the shared ones.
    start: u32,
    end: u32,
}

// === impl LabelStore ===

impl LabelStore {
    /// An empty one for series most of which have these labels.
    pub(crate) fn new(shared: Vec<u8>) -> LabelStore {
        let mut store = LabelStore { shared, ..LabelStore::default() };
        // The first weaves nothing: for label sets that are kept whole.
        store.weaves.push(Vec::new());
        store.known.insert(Vec::new(), 0);
        store
    }

    /// Bytes of all that is kept.
    pub(crate) fn len(&self) -> usize {
        self.arena.len()
    }

    /// Forgets what was kept when it had this length, and later.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.arena.truncate(len);
    }

    /// Keeps a label set; `None` when there is no room in what a number can say.
    pub(crate) fn keep(&mut self, labels: LabelSet<'_>) -> Option<Kept> {
        let begin = self.arena.len();
        let mut weave = Weave::new();
        let (mut own, mut shared, mut shared_at) = (0, &*self.shared, 0_u32);
        let mut rest = labels.bytes();
        while let Some((label, behind)) = split_label(rest) {
            rest = behind;
            // Shared labels that stand before this one and are not there are passed over.
            let mut ahead = (shared, shared_at);
            let found = loop {
                let Some((candidate, behind)) = split_label(ahead.0) else { break None };
                let start = ahead.1;
                ahead = (behind, start + candidate.len() as u32);
                if candidate == label {
                    break Some((start, ahead));
                }
            };
            let Some((start, ahead)) = found else {
                own += 1;
                self.arena.extend_from_slice(label);
                continue;
            };
            (shared, shared_at) = ahead;
            match weave.last_mut().filter(|turn| own == 0 && turn.end == start) {
                Some(turn) => turn.end = shared_at,
                None => weave.push(Turn { own, start, end: shared_at }),
            }
            own = 0;
        }
        let weave = match self.number(weave) {
            Some(number) => number,
            None => {
                self.arena.truncate(begin);
                self.arena.extend_from_slice(labels.bytes());
                0
            }
        };
        let (start, end) = (u32::try_from(begin).ok()?, u32::try_from(self.arena.len()).ok()?);
        Some(Kept { start, len: end - start, weave })
    }

    /// Takes a label set over from where it was kept before.
    pub(crate) fn take_over(&mut self, other: &LabelStore, kept: Kept) -> Kept {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(other.own(kept));
        Kept { start, ..kept }
    }

    /// An empty one with the same weaves.
    pub(crate) fn successor(&self, capacity: usize) -> LabelStore {
        LabelStore {
            shared: self.shared.clone(),
            arena: Vec::with_capacity(capacity),
            weaves: self.weaves.clone(),
            known: self.known.clone(),
            last: self.last,
        }
    }

    /// Appends a label set that is kept.
    #[inline]
    pub(crate) fn write(&self, kept: Kept, out: &mut Vec<u8>) {
        let mut own = self.own(kept);
        let Some(weave) = self.weaves.get(kept.weave as usize) else { return };
        for turn in weave {
            let (before, behind) = own.split_at_checked(labels_len(own, turn.own)).unwrap_or((own, &[]));
            out.extend_from_slice(before);
            out.extend_from_slice(
                self.shared.get(turn.start as usize..turn.end as usize).unwrap_or_default(),
            );
            own = behind;
        }
        out.extend_from_slice(own);
    }

    /// Whether this label set is the one that is kept there.
    pub(crate) fn is(&self, kept: Kept, labels: LabelSet<'_>, scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        self.write(kept, scratch);
        scratch == labels.bytes()
    }

    fn own(&self, kept: Kept) -> &[u8] {
        let start = kept.start as usize;
        self.arena.get(start..start + kept.len as usize).unwrap_or_default()
    }

    fn number(&mut self, weave: Weave) -> Option<u16> {
        if self.weaves.get(self.last as usize) == Some(&weave) {
            return Some(self.last);
        }
        let number = match self.known.get(&weave) {
            Some(number) => *number,
            None if self.weaves.len() >= MAX_WEAVES => return None,
            None => {
                let number = self.weaves.len() as u16;
                self.weaves.push(weave.clone());
                self.known.insert(weave, number);
                number
            }
        };
        self.last = number;
        Some(number)
    }
}

/// Bytes of the first labels, so many of them.
#[inline]
fn labels_len(labels: &[u8], count: u32) -> usize {
    let mut at = 0;
    for _ in 0..count {
        // A tag and a length, of one byte for most.
        match labels.get(at + 1) {
            Some(length) if *length < 0x80 => at += 2 + *length as usize,
            _ => match split_label(labels.get(at..).unwrap_or_default()) {
                Some((label, _)) => at += label.len(),
                None => return labels.len(),
            },
        }
    }
    at
}

/// The label that a set begins with, and the others.
fn split_label(labels: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut shift, mut at) = (0_u64, 0, 1);
    loop {
        let byte = *labels.get(at)?;
        length |= u64::from(byte & 0x7f).checked_shl(shift)?;
        (at, shift) = (at + 1, shift + 7);
        if byte < 0x80 {
            break;
        }
    }
    labels.split_at_checked(at.checked_add(usize::try_from(length).ok()?)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use weir_samples::labels::LabelsBuilder;

    use super::*;

    fn set(labels: &BTreeMap<String, String>) -> Vec<u8> {
        let mut builder = LabelsBuilder::new();
        labels.iter().for_each(|(name, value)| builder.push(name, value));
        let mut out = Vec::new();
        builder.finish(&mut out).unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_kept_comes_back(
            shared in prop::collection::btree_map("[a-h]{1,2}", "[xy]|z{130}", 0..5),
            sets in prop::collection::vec(prop::collection::btree_map("[a-h]{1,2}", "[xy]|z{130}|.{0,200}", 0..8), 1..20),
        ) {
            let mut store = LabelStore::new(set(&shared));
            let mut kept = Vec::new();
            for (index, labels) in sets.iter().enumerate() {
                let mut labels = labels.clone();
                if index % 2 == 0 {
                    labels.extend(shared.clone());
                }
                let bytes = set(&labels);
                kept.push((store.keep(LabelSet::new(&bytes)).unwrap(), bytes));
            }
            let mut next = store.successor(0);
            for (at, wanted) in &kept {
                let mut out = Vec::new();
                store.write(*at, &mut out);
                prop_assert_eq!(&out, wanted);
                let moved = next.take_over(&store, *at);
                prop_assert!(next.is(moved, LabelSet::new(wanted), &mut out));
            }
        }
    }

    #[test]
    fn shared_labels_take_no_memory() {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let shared = BTreeMap::from([label("instance", "i"), label("job", "j")]);
        let mut store = LabelStore::new(set(&shared));
        let mut labels = shared.clone();
        labels.extend([label("__name__", "up"), label("zone", "z")]);
        let own = set(&BTreeMap::from([label("__name__", "up"), label("zone", "z")]));
        assert_eq!(store.keep(LabelSet::new(&set(&labels))).unwrap().len as usize, own.len());
    }
}
