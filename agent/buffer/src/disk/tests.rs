//! The store: what is written, what a start finds, bounds and failing disks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use weir_event::identity::EventId;

use super::aside::MAX_ASIDE;
use super::filesystem::OperatingSystem;
use super::format::{Packer, PartSource};
use super::*;
use crate::segment::{Documents, Record, Targets};

fn open(folder: &Path, bound: u64, named: &[(u64, u64)], unnamed: Unnamed) -> Opened {
    let stored = |parts| StoredParts { parts, ..StoredParts::default() };
    let named = named.iter().map(|(number, parts)| (*number, stored(*parts))).collect();
    DiskStore::open("s", folder, bound, &named, unnamed, Arc::new(OperatingSystem)).unwrap()
}

/// One document of so many bytes that cannot be packed.
fn documents(bytes: usize) -> Documents {
    let mut documents = Documents::default();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    documents.ndjson.resize_with(bytes, || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        (noise >> 32) as u8
    });
    documents.ndjson.push(b'\n');
    let id = EventId([1; 20]);
    documents.records.push(Record { id, time: 0, stream: u32::MAX, bytes: 5, end: bytes as u32 });
    documents
}

fn write(store: &Arc<DiskStore>, bytes: usize) -> Result<Arc<DiskFile>, StoreError> {
    let (documents, targets) = (documents(bytes), Targets::default());
    let part =
        PartSource { pipeline: "p", amount: documents.amount(), documents: &documents, targets: &targets };
    let mut packer = Packer::new().unwrap();
    store.write(&[packer.pack(part).unwrap(), packer.pack(part).unwrap()])
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files
        .map(
            |entry| {
                if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().unwrap().len() }
            },
        )
        .sum()
}

#[test]
fn the_bound_holds_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("buffer/s");
    let store = open(&path, 100_000, &[], Unnamed::Remove).store;
    let mut files = Vec::new();
    while let Ok(file) = write(&store, 5_000) {
        files.push(file);
        assert_eq!(store.used(), bytes_in(&path));
    }
    assert!(files.len() > 5 && store.used() <= 100_000);
    // A file of exactly what is left fits; of a byte more it does not.
    let one = files[0].bytes();
    let bound = store.used() + one;
    store.set_bound(bound - 1);
    assert!(matches!(write(&store, 5_000), Err(StoreError::Full)));
    store.set_bound(bound);
    let last = write(&store, 5_000).unwrap();
    assert_eq!((last.bytes(), store.used(), bytes_in(&path)), (one, bound, bound));
    files[0].forget(0b01);
    assert_eq!(names(&path).len(), files.len() + 1, "half of it is needed");
    files[0].forget(0b10);
    assert_eq!((names(&path).len(), store.used()), (files.len(), bytes_in(&path)));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join(&names(&path)[0]))), (0o700, 0o600));
}

#[test]
fn a_start_takes_what_is_named_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let store = open(path, 100_000, &[], Unnamed::Remove).store;
    for _ in 0..4 {
        write(&store, 100).unwrap();
    }
    fs::write(path.join("0000000000000009.new"), "unfinished").unwrap();
    fs::write(path.join("notes"), "not ours").unwrap();
    let opened = open(path, 100_000, &[(1, 0b11), (2, 0b10), (30, 0b1)], Unnamed::Remove);
    let found: Vec<(u64, u64)> = opened.files.iter().map(|(file, live)| (file.number(), *live)).collect();
    assert_eq!((found, opened.missing, opened.unnamed), (vec![(1, 0b11), (2, 0b10)], vec![30], 2));
    assert_eq!(names(path), ["0000000000000001.seg", "0000000000000002.seg", "notes"]);
    assert_eq!(opened.store.used(), bytes_in(path) - "not ours".len() as u64);
    assert_eq!(write(&opened.store, 1).unwrap().number(), 31, "no number is used twice");
    opened.files[1].0.forget(0b10);
    assert!(
        !names(path).contains(&"0000000000000002.seg".to_owned()),
        "the other part was not needed any more"
    );
}

/// After the loss of a checkpoint nobody knows what was safe: files are not thrown away then.
#[test]
fn what_nobody_knows_is_put_aside_where_checkpoints_are_not_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let store = open(path, 1_000_000, &[], Unnamed::Remove).store;
    for _ in 0..MAX_ASIDE + 3 {
        write(&store, 100).unwrap();
    }
    let opened = open(path, 1_000_000, &[], Unnamed::PutAside);
    assert_eq!((opened.files.len(), opened.unnamed), (0, MAX_ASIDE + 3));
    assert_eq!(names(path), ["aside"]);
    let aside = names(&path.join("aside"));
    assert_eq!(aside.len(), MAX_ASIDE, "they do not fill the disk");
    assert_eq!(aside[0], "0000000000000003.seg", "the oldest go");
    assert_eq!(opened.store.used(), bytes_in(path));
    let again = open(path, 1_000_000, &[], Unnamed::Remove).store;
    assert_eq!(again.used(), bytes_in(path), "they count at the next start too");
}

/// A small disk has room for events, whatever was put aside.
#[test]
fn what_is_put_aside_leaves_most_of_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let store = open(path, 20_000, &[], Unnamed::Remove).store;
    while write(&store, 700).is_ok() {}
    let opened = open(path, 20_000, &[], Unnamed::PutAside);
    assert!((1..=5_000).contains(&opened.store.used()), "{}", opened.store.used());
    assert_eq!(opened.store.used(), bytes_in(path));
    write(&opened.store, 5_000).unwrap();
}

#[test]
fn a_damaged_file_is_kept_aside_when_nobody_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let store = open(path, 100_000, &[], Unnamed::Remove).store;
    let file = write(&store, 100).unwrap();
    let at = path.join("0000000000000000.seg");
    let mut bytes = fs::read(&at).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&at, bytes).unwrap();
    assert!(!file.read(0, None).unwrap().is_damaged);
    let damaged = file.read(1, None).unwrap();
    assert!(damaged.is_damaged && damaged.documents.records.is_empty());
    file.forget(0b11);
    assert_eq!(
        (names(path), names(&path.join("aside"))),
        (vec!["aside".into()], vec!["0000000000000000.seg".into()])
    );
    assert_eq!((store.used(), store.files()), (bytes_in(path), 0));
    assert_eq!(store.metrics.damaged.load(Ordering::Relaxed), 1);
}

#[test]
fn a_part_for_every_bit() {
    assert_eq!((all_parts(0), all_parts(1), all_parts(3), all_parts(MAX_PARTS)), (0, 1, 0b111, u64::MAX));
}
