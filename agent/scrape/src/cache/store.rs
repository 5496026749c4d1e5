//! Keeps label sets of a target in little memory.
//!
//! 1. Of a series is kept what tells it from the other series of its metric: the values of its own labels, each behind its
//!    length, in order. The [`shapes`] know all else.
//! 2. What is kept comes back byte for byte. A set that a shape cannot make again is kept whole; its number is [`WHOLE`].
//! 3. What a store holds is bounded by the sets that are in it: shapes are taken back with the sets that brought them, and
//!    a successor has only those that it needs.

use weir_samples::labels::LabelSet;
use weir_samples::varint;

use bytes::{copy, read_varint};
use shapes::{Shapes, ShapesMark, WHOLE};

mod bytes;
mod layouts;
mod shapes;

/// Where a label set is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) start: u32,
    pub(crate) shape: u16,
}

/// Label sets of one target.
#[derive(Debug)]
pub(crate) struct LabelStore {
    shapes: Shapes,
    /// What each set has of its own.
    arena: Vec<u8>,
    scratch: Vec<u8>,
}

/// How far a store was filled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreMark {
    arena: usize,
    shapes: ShapesMark,
}

// === impl LabelStore ===

impl LabelStore {
    /// An empty one for series most of which have these labels.
    pub(crate) fn new(shared: Vec<u8>) -> LabelStore {
        LabelStore { shapes: Shapes::new(shared), arena: Vec::new(), scratch: Vec::new() }
    }

    /// How far it is filled.
    pub(crate) fn mark(&self) -> StoreMark {
        StoreMark { arena: self.arena.len(), shapes: self.shapes.mark() }
    }

    /// Forgets what was kept since.
    pub(crate) fn roll_back(&mut self, mark: StoreMark) {
        self.arena.truncate(mark.arena);
        self.shapes.roll_back(mark.shapes);
    }

    /// Keeps a label set; `None` when there is no room in what a number can say.
    pub(crate) fn keep(&mut self, labels: LabelSet<'_>) -> Option<Kept> {
        let start = self.arena.len();
        let shape = self.shapes.take_apart(labels.bytes(), &mut self.arena).unwrap_or_else(|| {
            self.arena.truncate(start);
            varint::write(&mut self.arena, labels.bytes().len() as u64);
            self.arena.extend_from_slice(labels.bytes());
            WHOLE
        });
        if u32::try_from(self.arena.len()).is_err() {
            self.arena.truncate(start);
            return None;
        }
        Some(Kept { start: start as u32, shape })
    }

    /// An empty one for sets of this one.
    pub(crate) fn successor(&self) -> LabelStore {
        LabelStore::new(self.shapes.shared().to_vec())
    }

    /// Takes a label set over from where it was kept before; `None` when there is no room.
    pub(crate) fn take_over(&mut self, other: &LabelStore, kept: Kept) -> Option<Kept> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        other.write(kept, &mut scratch);
        let kept = self.keep(LabelSet::new(&scratch));
        self.scratch = scratch;
        kept
    }

    /// Gives memory back that was taken ahead.
    pub(crate) fn fit(&mut self) {
        self.arena.shrink_to_fit();
        self.shapes.fit();
    }

    /// Appends a label set that is kept.
    #[inline]
    pub(crate) fn write(&self, kept: Kept, out: &mut Vec<u8>) {
        let own = self.arena.get(kept.start as usize..).unwrap_or_default();
        if kept.shape != WHOLE {
            return self.shapes.write(kept.shape, own, out);
        }
        if let Some((len, whole)) = read_varint(own) {
            copy(out, whole, len as usize);
        }
    }

    /// Whether this label set is the one that is kept there.
    pub(crate) fn is(&self, kept: Kept, labels: LabelSet<'_>, scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        self.write(kept, scratch);
        scratch == labels.bytes()
    }
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

    type Set = BTreeMap<String, String>;

    fn set_of(labels: &[(&str, &str)]) -> Vec<u8> {
        set(&labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn sets() -> impl Strategy<Value = Vec<Set>> {
        let label = ("[a-h]{1,2}|__name__|A|n{140}", "[xy]|z{100,130}|.{0,200}");
        prop::collection::vec(prop::collection::btree_map(label.0, label.1, 0..8), 1..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_kept_comes_back(
            shared in prop::collection::btree_map("[a-h]{1,2}|A", "[xy]|z{130}", 0..5),
            sets in sets(),
            undone in sets(),
            undo_at in 0_usize..30,
        ) {
            let mut store = LabelStore::new(set(&shared));
            let mut kept = Vec::new();
            for (index, labels) in sets.iter().enumerate() {
                if index == undo_at {
                    let mark = store.mark();
                    for labels in &undone {
                        store.keep(LabelSet::new(&set(labels))).unwrap();
                    }
                    store.roll_back(mark);
                    prop_assert_eq!(format!("{:?}", store.mark()), format!("{mark:?}"));
                }
                let mut labels = labels.clone();
                if index % 2 == 0 {
                    labels.extend(shared.clone());
                }
                let bytes = set(&labels);
                kept.push((store.keep(LabelSet::new(&bytes)).unwrap(), bytes));
            }
            store.fit();
            let mut next = store.successor();
            for (at, wanted) in &kept {
                let mut out = b"before".to_vec();
                store.write(*at, &mut out);
                prop_assert_eq!(out.strip_prefix(b"before"), Some(&wanted[..]));
                let moved = next.take_over(&store, *at).unwrap();
                prop_assert!(next.is(moved, LabelSet::new(wanted), &mut out));
            }
        }

        #[test]
        fn any_bytes_are_kept(shared: Vec<u8>, bytes: Vec<u8>, tail in prop::collection::vec(any::<u8>(), 0..4)) {
            let (mut store, mut out) = (LabelStore::new(shared), Vec::new());
            let damaged = [&set_of(&[("a", "1"), ("b", "2")]), &tail[..]].concat();
            for bytes in [bytes, damaged] {
                let kept = store.keep(LabelSet::new(&bytes)).unwrap();
                prop_assert!(store.is(kept, LabelSet::new(&bytes), &mut out));
            }
        }
    }

    #[test]
    fn only_values_take_memory() {
        let mut store = LabelStore::new(set_of(&[("instance", "i"), ("job", "j")]));
        let labels = [("__name__", "up"), ("instance", "i"), ("job", "j"), ("zone", "z")];
        for (index, zone) in ["abc", "de"].into_iter().enumerate() {
            let mut labels = labels;
            labels[3].1 = zone;
            store.keep(LabelSet::new(&set_of(&labels))).unwrap();
            assert_eq!(store.arena.len(), [4, 7][index]);
        }
        let (before, mark) = (store.arena.len(), store.mark());
        let kept = store.keep(LabelSet::new(&set_of(&[("__name__", "one"), ("job", "j")]))).unwrap();
        assert_eq!(store.arena.len(), before);
        assert_ne!(kept.shape, WHOLE);
        store.roll_back(mark);
        assert_eq!(store.keep(LabelSet::new(&set_of(&[("__name__", "two"), ("job", "j")]))).unwrap(), kept);
    }

    #[test]
    fn sets_beyond_the_last_number_are_kept_whole() {
        let (mut store, mut out) = (LabelStore::new(set_of(&[("job", "j")])), Vec::new());
        let sets: Vec<_> =
            (0..40).map(|index| set_of(&[("__name__", &format!("n{index}")), ("job", "j")])).collect();
        let mut keep = |store: &mut LabelStore, index: usize| {
            let kept = store.keep(LabelSet::new(&sets[index])).unwrap();
            assert!(store.is(kept, LabelSet::new(&sets[index]), &mut out));
            kept
        };
        let kept: Vec<_> = (0..40).map(|index| keep(&mut store, index)).collect();
        assert!(kept[0].shape != WHOLE && kept[39].shape == WHOLE);
        assert_eq!(keep(&mut store, 0).shape, kept[0].shape);
        // Numbers that nobody needs any more are free in a successor.
        let mut next = store.successor();
        let moved = next.take_over(&store, kept[39]).unwrap();
        assert!(moved.shape != WHOLE && next.is(moved, LabelSet::new(&sets[39]), &mut out));
    }
}
