//! Indices come back as they were, and nothing else does.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::fake::FakeStore;
use super::rig::{TEN, everything, made, read, reader, settings, store};
use crate::bloom::ValueHash;
use crate::index::{Entry, FieldIndex, Index, MAX_PART_BYTES, MAX_VALUES};
use crate::key::Hour;
use crate::object::{Footer, encode};

fn field() -> impl Strategy<Value = FieldIndex> {
    prop_oneof![
        proptest::collection::btree_map("\\PC{0,20}", any::<u64>(), 0..5).prop_map(FieldIndex::Values),
        (any::<u64>(), "[A-Za-z0-9+/]{0,40}")
            .prop_map(|(distinct, bits)| FieldIndex::Filter { distinct, bits }),
    ]
}

prop_compose! {
    fn entry()(
        name in "\\PC{0,40}",
        sha256 in "[0-9a-f]{64}",
        numbers: [u64; 5],
        times: [i64; 2],
        fields in proptest::collection::btree_map("\\PC{1,20}", field(), 0..4),
    ) -> Entry {
        let [bytes, raw_bytes, events, frames, footer] = numbers;
        let [first, last] = times;
        Entry { name, bytes, raw_bytes, events, first, last, sha256, frames, footer, fields }
    }
}

prop_compose! {
    fn index()(
        names in ("\\PC{0,20}", "\\PC{0,20}", "\\PC{0,20}"),
        part in 0..1000_u32,
        objects in proptest::collection::vec(entry(), 0..5),
    ) -> Index {
        let (cluster, namespace, node) = names;
        Index { cluster, namespace, hour: "2023-11-14T22".into(), node, part, objects }
    }
}

proptest! {
    #[test]
    fn an_index_comes_back(index in index()) {
        let bytes = index.render().unwrap();
        prop_assert_eq!(Index::parse(&bytes), Ok(index));
        // And is JSON for people.
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&value["weir_archive_index"], 1);
    }

    #[test]
    fn a_damaged_index_is_told(index in index(), at: prop::sample::Index, bit in 0..8_u8) {
        let mut bytes = index.render().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Letters of the hash may be written small or large.
        prop_assert!(Index::parse(&bytes).is_err() || (30..48).contains(&at));
        bytes[at] ^= 1 << bit;
        bytes.truncate(at);
        prop_assert!(Index::parse(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Index::parse(&bytes);
        let _ = Footer::parse(&bytes, 300);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_value_is_passed_over(count in 1..1_500_u64, seed: u64) {
        let events: Vec<_> = (0..count).map(|number| made(seed % 1_000_000 + number, "shop", TEN)).collect();
        let documents = [Arc::new(super::rig::documents(&events))];
        let encoded = encode(&documents, "shop", Hour::of(TEN), &settings()).unwrap();
        let footer = Footer::parse(&encoded.bytes, encoded.bytes.len() as u64).unwrap();
        for event in &events {
            let document: serde_json::Value = serde_json::from_str(&event.document).unwrap();
            for field in ["level", "trace_id"] {
                let value = document[field].as_str().unwrap();
                let hash = ValueHash::of(value.as_bytes());
                prop_assert!(encoded.entry.admits(field, value, hash));
                prop_assert!(footer.table.frames.iter().any(|frame| footer.admits(frame, field, hash)));
            }
        }
    }
}

#[test]
fn few_values_are_counted_and_many_have_a_filter() {
    let events: Vec<_> = (0..4 * MAX_VALUES as u64 + 4).map(|number| made(number, "shop", TEN)).collect();
    let entry = |count: usize| {
        let documents = [Arc::new(super::rig::documents(&events[..count]))];
        encode(&documents, "shop", Hour::of(TEN), &settings()).unwrap().entry
    };
    let few = entry(4 * MAX_VALUES);
    let FieldIndex::Values(levels) = &few.fields["level"] else { panic!("levels are few") };
    assert_eq!(levels["info"], (4 * MAX_VALUES as u64).div_ceil(3));
    let FieldIndex::Values(traces) = &few.fields["trace_id"] else { panic!("just so few") };
    assert_eq!(traces.len(), MAX_VALUES);
    let many = entry(events.len());
    let FieldIndex::Filter { distinct, .. } = &many.fields["trace_id"] else { panic!("one too many") };
    assert!((250..=257).contains(distinct), "{distinct}");
}

#[test]
fn a_full_part_is_followed_by_another_and_a_damaged_one_too() {
    let to = Arc::new(FakeStore::new(0));
    store(&to, &settings(), &[made(1, "shop", TEN)]);
    let first = to.keys(".000.index.json").remove(0);
    let mut index = Index::parse(&to.content(&first)).unwrap();
    let large = FieldIndex::Filter { distinct: 1, bits: "A".repeat(MAX_PART_BYTES) };
    index.objects[0].fields = BTreeMap::from([("other".into(), large)]);
    to.change(&first, |bytes| *bytes = index.render().unwrap());
    store(&to, &settings(), &[made(2, "shop", TEN)]);
    assert_eq!(to.keys(".index.json").len(), 2);
    let second = to.keys(".001.index.json").remove(0);
    to.change(&second, |bytes| bytes[100] ^= 1);
    store(&to, &settings(), &[made(3, "shop", TEN)]);
    let third = to.keys(".002.index.json").remove(0);
    assert_eq!(Index::parse(&to.content(&third)).unwrap().part, 2);
    assert_eq!(read(&reader(&to), &everything()).0.len(), 3);
}
