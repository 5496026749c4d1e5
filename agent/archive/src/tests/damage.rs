//! What is damaged or missing is named, and costs nothing but itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fake::FakeStore;
use super::rig::{HOUR, Made, TEN, everything, made, read, reader, settings, store};
use crate::index::{Index, MAX_READ_BYTES};
use crate::object::Footer;
use crate::reader::{DamageKind, Survey};

/// Three objects of one hour, one of the next.
fn archive() -> (Arc<FakeStore>, Vec<Made>) {
    let to = Arc::new(FakeStore::new(0));
    let mut all = Vec::new();
    for part in 0..4 {
        let at = TEN + if part == 3 { HOUR } else { part * 1_000_000_000 };
        let events: Vec<Made> =
            (0..200).map(|number| made(part as u64 * 1_000 + number, "shop", at + number as i64)).collect();
        store(&to, &settings(), &events);
        all.extend(events);
    }
    (to, all)
}

fn objects(of: &Arc<FakeStore>) -> Vec<String> {
    of.keys(".ndjson.zst")
}

fn footer(of: &Arc<FakeStore>, key: &str) -> Footer {
    let bytes = of.content(key);
    Footer::parse(&bytes, bytes.len() as u64).unwrap()
}

/// Reads everything: so many of the events are missing, and this is named.
fn check(of: &Arc<FakeStore>, all: &[Made], missing: usize, named: &[(DamageKind, &str)]) {
    let (found, outcome) = read(&reader(of), &everything());
    let found_set: BTreeSet<&Made> = found.iter().collect();
    assert_eq!(found_set.len(), found.len());
    assert!(found.iter().all(|event| all.contains(event)));
    let damages: Vec<_> = outcome.damages.iter().map(|damage| (damage.kind, damage.key.as_str())).collect();
    assert_eq!(damages, named, "{:?}", outcome.damages);
    assert_eq!(all.len() - found.len(), missing);
}

fn list(of: &Arc<FakeStore>) -> Survey {
    reader(of).list(i64::MIN, i64::MAX, &["shop".into()]).unwrap()
}

#[test]
fn what_is_whole_is_read_without_a_word() {
    let (of, all) = archive();
    check(&of, &all, 0, &[]);
    let survey = list(&of);
    assert!(survey.damages.is_empty(), "{:?}", survey.damages);
    let hours: Vec<_> =
        survey.hours.iter().map(|hour| (hour.hour.as_str(), hour.events, hour.objects)).collect();
    assert_eq!(hours, [("2023-11-14T22", 600, 3), ("2023-11-14T23", 200, 1)]);
    assert_eq!((survey.hours[0].first, survey.hours[0].last), (TEN, TEN + 2_000_000_199));
    assert_eq!(survey.hours[0].nodes, BTreeSet::from(["node-1".to_owned()]));
}

#[test]
fn a_damaged_frame_costs_its_own_events() {
    let (of, all) = archive();
    let key = objects(&of).remove(1);
    let frame = footer(&of, &key).table.frames[2].clone();
    let at = (frame.offset + frame.bytes / 2) as usize;
    of.change(&key, |bytes| bytes[at] ^= 1);
    check(&of, &all, frame.events as usize, &[(DamageKind::Frame, &key)]);
}

#[test]
fn every_byte_of_an_object_is_checked() {
    let (of, all) = archive();
    let key = objects(&of).remove(0);
    let whole = of.content(&key);
    for at in (0..whole.len()).step_by(37).chain(whole.len() - 40..whole.len()) {
        of.change(&key, |bytes| bytes[at] ^= 0x10);
        let (found, outcome) = read(&reader(&of), &everything());
        assert!(!outcome.damages.is_empty() && outcome.damages.iter().all(|d| d.key == key), "byte {at}");
        assert!(found.len() >= 600 && found.iter().all(|event| all.contains(event)), "byte {at}");
        of.change(&key, |bytes| bytes.clone_from(&whole));
    }
}

#[test]
fn a_truncated_object_is_named() {
    let (of, all) = archive();
    let key = objects(&of).remove(1);
    of.change(&key, |bytes| bytes.truncate(bytes.len() / 2));
    check(&of, &all, 200, &[(DamageKind::Object, &key), (DamageKind::Object, &key)]);
    assert_eq!(list(&of).damages.len(), 1);
}

#[test]
fn a_missing_object_is_named() {
    let (of, all) = archive();
    let key = objects(&of).remove(1);
    of.remove(&key);
    check(&of, &all, 200, &[(DamageKind::Missing, &key)]);
    let survey = list(&of);
    assert_eq!((survey.damages[0].kind, survey.damages[0].key.as_str()), (DamageKind::Missing, key.as_str()));
    assert_eq!(survey.hours[0].events, 400);
}

#[test]
fn without_an_index_everything_is_found() {
    let (of, all) = archive();
    let index = of.keys("/22/node-1.000.index.json").remove(0);
    of.change(&index, |bytes| bytes[200] ^= 1);
    check(&of, &all, 0, &[(DamageKind::Index, &index)]);
    let survey = list(&of);
    assert_eq!(survey.hours[0].events, 600);
    assert_eq!(survey.damages.iter().filter(|damage| damage.kind == DamageKind::Unindexed).count(), 3);
    of.remove(&index);
    check(&of, &all, 0, &[]);
    assert_eq!(list(&of).damages.len(), 3);
}

#[test]
fn an_index_that_is_too_large_is_named() {
    let (of, all) = archive();
    let index = of.keys("/22/node-1.000.index.json").remove(0);
    of.change(&index, |bytes| bytes.resize(MAX_READ_BYTES as usize + 1, b' '));
    check(&of, &all, 0, &[(DamageKind::Index, &index)]);
    assert_eq!(list(&of).hours[0].events, 600);
}

#[test]
fn an_object_that_is_not_what_was_written_is_named() {
    let (of, all) = archive();
    let key = of.keys("/22/node-1.000.index.json").remove(0);
    let mut index = Index::parse(&of.content(&key)).unwrap();
    index.objects[0].sha256 = "0".repeat(64);
    of.change(&key, |bytes| *bytes = index.render().unwrap());
    let object = objects(&of).remove(0);
    check(&of, &all, 0, &[(DamageKind::Object, &object)]);
}

#[test]
fn other_objects_are_left_alone() {
    let (of, all) = archive();
    let key = objects(&of).remove(0);
    let folder = key.rsplit_once('/').unwrap().0;
    for name in ["notes.txt", "a/b.ndjson.zst", "x-20231114T220000.000000000Z-zz.ndjson.zst"] {
        of.objects.lock().unwrap().insert(format!("{folder}/{name}"), (b"hello".to_vec(), 1));
    }
    of.objects.lock().unwrap().insert("archive/dev/shop/20xx/01/01/00/a".into(), (Vec::new(), 1));
    check(&of, &all, 0, &[]);
    // What has the name of a data object and is none is named.
    let stranger = format!("{folder}/x-20231114T220000.000000000Z-0123456789abcdef.ndjson.zst");
    of.objects.lock().unwrap().insert(stranger.clone(), (b"hello".to_vec(), 1));
    check(&of, &all, 0, &[(DamageKind::Object, &stranger)]);
}
