//! The buffer: bounds, order, lanes, and what goes to disk and comes back.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use weir_event::identity::EventId;

use crate::ack::{Ack, Acknowledge, Posting};
use crate::disk::Unnamed;
use crate::disk::filesystem::OperatingSystem;
use crate::ledger::Entry;
use crate::segment::Record;

mod policy;

#[derive(Default)]
struct Safe(AtomicU32);

impl Acknowledge for Safe {
    fn acknowledge(&self, _: u64, safe: bool, _: Vec<Posting>) {
        self.0.fetch_add(u32::from(safe), Ordering::SeqCst);
    }

    fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
}

fn segment(bytes: usize, acks: &Arc<Safe>) -> Segment {
    let documents = Documents { ndjson: Vec::with_capacity(bytes), ..Documents::default() };
    Segment {
        documents: Arc::new(documents),
        targets: Targets::default(),
        amount: Amount::one(bytes as u64),
        ack: Ack::new(0, acks.clone()),
    }
}

/// Documents with their own index for text, each read from 10 bytes more than the one before.
fn numbered(count: u32, acks: &Arc<Safe>) -> Segment {
    let mut documents = Documents::default();
    for index in 0..count {
        documents.ndjson.extend_from_slice(index.to_string().as_bytes());
        let (end, bytes) = (documents.ndjson.len() as u32, 10 * index);
        documents.records.push(Record { id: EventId([0; 20]), time: 0, stream: 0, bytes, end });
        documents.ndjson.push(b'\n');
    }
    let of = (0..count).map(|index| (index % 2) as u16).collect();
    let targets = Targets { names: vec!["even".into(), "odd".into()], of };
    let amount = documents.amount();
    Segment { documents: Arc::new(documents), targets, amount, ack: Ack::new(0, acks.clone()) }
}

fn take(tier: &Arc<MemoryTier>) -> Lease {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tier.take()).unwrap()
}

fn take_held(tier: &Arc<MemoryTier>, key: &str) -> Option<Lease> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(tier.take_held(key)) {
        Held::Segment(lease) => Some(lease),
        Held::NotNow => panic!("the disk does not answer"),
        Held::Nothing => None,
    }
}

fn texts(lease: &Lease) -> Vec<(String, String)> {
    let documents = lease.documents().iter().enumerate();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    documents.map(|(i, (_, bytes))| (text(bytes), lease.targets().name(i).unwrap().to_string())).collect()
}

#[test]
fn parts_are_settled_apart_and_the_batch_is_safe_with_the_last() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(1 << 20, Arc::clone(&ledger));
    let acks = Arc::new(Safe::default());
    let segment = numbered(4, &acks);
    segment.ack.book(&account, Entry::Read, segment.amount);
    tier.push(segment, &account, 0);
    let (chosen, rest) = take(&tier).divide(&[false, true, false, true]);
    assert_eq!(texts(&chosen), [("1".into(), "odd".into()), ("3".into(), "odd".into())]);
    assert_eq!(texts(&rest), [("0".into(), "even".into()), ("2".into(), "even".into())]);
    assert_eq!(chosen.amount(), Amount { events: 2, bytes: 40 });
    assert_eq!(tier.used(), chosen.memory() + rest.memory());
    assert!(ledger.statements()[0].balanced);
    rest.settle(vec![
        (Entry::Delivered, Amount::one(0)),
        (Entry::DeadLettered("mapping".into()), Amount::one(20)),
    ]);
    assert!(ledger.statements()[0].balanced);
    assert_eq!(acks.0.load(Ordering::SeqCst), 0);
    chosen.delivered();
    assert_eq!(acks.0.load(Ordering::SeqCst), 1);
    assert_eq!(tier.used(), 0);
    let statement = &ledger.statements()[0];
    assert_eq!(statement.counts.delivered, Amount { events: 3, bytes: 40 });
    assert!(statement.balanced);
}

#[test]
fn a_part_that_is_the_whole_is_not_copied() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(1 << 20, ledger);
    let acks = Arc::new(Safe::default());
    tier.push(numbered(2, &acks), &account, 0);
    let lease = take(&tier);
    let documents = Arc::clone(lease.documents());
    let (all, none) = lease.divide(&[true, true]);
    assert!(Arc::ptr_eq(all.documents(), &documents));
    assert_eq!(none.amount(), Amount::default());
    none.delivered();
    let (none, all) = all.divide(&[]);
    assert!(Arc::ptr_eq(all.documents(), &documents));
    none.delivered();
    assert_eq!(acks.0.load(Ordering::SeqCst), 0);
    all.delivered();
    assert_eq!((acks.0.load(Ordering::SeqCst), tier.used()), (1, 0));
}

#[test]
fn what_is_held_counts_and_comes_back_oldest_first() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(1 << 20, ledger);
    let acks = Arc::new(Safe::default());
    for count in [2, 3] {
        tier.push(numbered(count, &acks), &account, 0);
        let lease = take(&tier);
        tier.hold("logs".into(), lease);
    }
    assert_eq!(tier.held(), [("logs".into(), Amount { events: 5, bytes: 40 })]);
    assert_eq!(tier.used(), tier.held_memory());
    assert!(take_held(&tier, "other").is_none());
    for events in [2, 3] {
        let lease = take_held(&tier, "logs").unwrap();
        assert_eq!(lease.amount().events, events);
        lease.delivered();
    }
    assert!(tier.held().is_empty() && take_held(&tier, "logs").is_none());
    assert_eq!((tier.used(), tier.held_memory(), acks.0.load(Ordering::SeqCst)), (0, 0, 2));
}

#[test]
fn the_bound_counts_reserved_queued_and_leased() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(100, ledger);
    let acks = Arc::new(Safe::default());
    assert!(tier.reserve(60));
    assert!(!tier.reserve(60));
    tier.push(segment(40, &acks), &account, 60);
    assert_eq!(tier.used(), 40);
    assert!(tier.reserve(60));
    tier.unreserve(60);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lease = runtime.block_on(tier.take()).unwrap();
    assert_eq!(tier.used(), 40);
    lease.delivered();
    assert_eq!(tier.used(), 0);
    assert_eq!(acks.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_segment_larger_than_the_bound_passes_an_empty_tier() {
    let tier = MemoryTier::new(100, Arc::new(Ledger::default()));
    assert!(tier.reserve(500));
    assert!(!tier.reserve(1));
}

#[test]
fn a_closed_tier_is_emptied_first() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(100, ledger);
    tier.push(segment(1, &Arc::new(Safe::default())), &account, 0);
    tier.close();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tier.take()).unwrap().delivered();
    assert!(runtime.block_on(tier.take()).is_none());
}

#[test]
fn a_lease_that_is_dropped_goes_back_to_its_place() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(1 << 20, Arc::clone(&ledger));
    let acks = Arc::new(Safe::default());
    for count in [1, 2, 3, 4] {
        tier.push(numbered(count, &acks), &account, 0);
    }
    let used = tier.used();
    let [first, second, third] = [take(&tier), take(&tier), take(&tier)];
    second.delivered();
    drop(third);
    drop(first);
    let counts: Vec<u64> = (0..3)
        .map(|_| take(&tier))
        .map(|lease| {
            let events = lease.amount().events;
            lease.delivered();
            events
        })
        .collect();
    assert_eq!(counts, [1, 3, 4]);
    assert!(used > 0);
    assert_eq!((tier.used(), acks.0.load(Ordering::SeqCst)), (0, 4));
}

// === with a disk ===

/// A buffer with a disk in a folder, and what its acks said.
struct Stored {
    folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    tier: Arc<MemoryTier>,
    acks: Arc<Safe>,
}

fn with_disk(memory: u64, disk: u64) -> Stored {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::default());
    let acks = Arc::new(Safe::default());
    let settings = DiskSettings {
        sink: "s".to_owned(),
        folder: folder.path().join("s"),
        bound: disk,
        unnamed: Unnamed::Remove,
        next_file: 0,
    };
    let opened =
        Disk::open(&settings, BTreeMap::new(), &ledger, acks.clone(), Arc::new(OperatingSystem)).unwrap();
    let tier = MemoryTier::with_disk(memory, Arc::clone(&ledger), Some(opened));
    Stored { folder, account: ledger.account("p", "s"), ledger, tier, acks }
}

impl Stored {
    fn push(&self, count: u32) {
        let segment = numbered(count, &self.acks);
        segment.ack.book(&self.account, Entry::Read, segment.amount);
        self.tier.push(segment, &self.account, 0);
    }

    /// What has arrived now, as if it had been that long ago.
    fn store_after(&self, oldest: Duration, along: Duration) {
        self.tier.store(oldest, along, false);
    }

    #[track_caller]
    fn check(&self, memory: u64, disk: u64) {
        let statement = &self.ledger.statements()[0];
        assert!(statement.balanced, "{statement:#?}");
        let events = |tier: &str| statement.buffered[tier].events;
        assert_eq!((events("memory"), events("disk")), (memory, disk));
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let listed = std::fs::read_dir(self.folder.path().join("s")).unwrap();
        listed.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    }
}

#[test]
fn what_is_stored_leaves_memory_and_comes_back_in_its_place() {
    let stored = with_disk(1 << 20, 1 << 20);
    for count in [2, 3, 4] {
        stored.push(count);
    }
    let leased = take(&stored.tier);
    stored.check(9, 0);
    stored.tier.store_all();
    stored.check(0, 9);
    assert_eq!(stored.acks.0.load(Ordering::SeqCst), 3, "nobody waits for them");
    assert_eq!(stored.tier.used(), leased.memory() + 2 * STUB_BYTES, "only what is at the sink is in memory");
    stored.push(5);
    let (second, third) = (take(&stored.tier), take(&stored.tier));
    assert_eq!((second.amount().events, third.amount().events), (3, 4));
    assert_eq!(texts(&second)[1], ("1".to_owned(), "odd".to_owned()));
    drop(third);
    assert_eq!(take(&stored.tier).amount().events, 4, "it waits in its place, before what is newer");
    second.delivered();
    leased.delivered();
    stored.check(5, 4);
}

#[test]
fn only_what_waits_for_long_is_stored() {
    let stored = with_disk(1 << 20, 1 << 20);
    stored.push(2);
    stored.tier.store_old();
    stored.store_after(Duration::from_secs(5), Duration::ZERO);
    assert!(stored.files().is_empty(), "it has just come");
    stored.check(2, 0);
    std::thread::sleep(Duration::from_millis(40));
    stored.push(3);
    stored.store_after(Duration::from_millis(30), Duration::from_millis(20));
    stored.check(3, 2);
    assert_eq!(stored.files().len(), 1);
}

#[test]
fn what_is_held_is_stored_and_read_again() {
    let stored = with_disk(1 << 20, 1 << 20);
    stored.push(6);
    let (odd, even) = take(&stored.tier).divide(&[false, true, false, true, false, true]);
    stored.tier.hold("odd".into(), odd);
    stored.tier.store_all();
    assert_eq!(stored.tier.held_memory(), STUB_BYTES);
    assert_eq!(stored.tier.held()[0].1.events, 3);
    even.delivered();
    stored.check(0, 3);
    // Read back, divided again, and held again: then it is found by its places within the part.
    let (first, rest) = take_held(&stored.tier, "odd").unwrap().divide(&[true]);
    assert_eq!(texts(&first), [("1".into(), "odd".into())]);
    stored.tier.hold("odd".into(), rest);
    let rest = take_held(&stored.tier, "odd").unwrap();
    assert_eq!(texts(&rest), [("3".into(), "odd".into()), ("5".into(), "odd".into())]);
    first.delivered();
    rest.delivered();
    stored.check(0, 0);
    assert_eq!((stored.tier.used(), stored.tier.held_memory()), (0, 0));
}

#[test]
fn what_a_full_disk_does_not_take_stays_in_memory() {
    let stored = with_disk(1 << 20, 900);
    for count in [3, 4, 30] {
        stored.push(count);
    }
    stored.tier.store_all();
    stored.check(30, 7);
    let bytes: u64 = stored.files().iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= 900, "{bytes}");
    let counts: Vec<u64> = (0..3)
        .map(|_| take(&stored.tier))
        .map(|lease| {
            let events = lease.amount().events;
            lease.delivered();
            events
        })
        .collect();
    assert_eq!(counts, [3, 4, 30]);
    stored.check(0, 0);
}

#[test]
fn a_damaged_part_is_lost_and_stops_nothing() {
    let stored = with_disk(1 << 20, 1 << 20);
    for count in [2, 3, 4] {
        stored.push(count);
        stored.tier.store_all();
    }
    let mut files = stored.files();
    files.sort();
    // The whole of the first, a run of the second.
    std::fs::write(&files[0], "this is not a segment").unwrap();
    let mut bytes = std::fs::read(&files[1]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    let third = take(&stored.tier);
    assert_eq!(texts(&third).len(), 4);
    third.delivered();
    stored.check(0, 0);
    let counts = &stored.ledger.statements()[0].counts;
    assert_eq!(counts.lost["corrupt"], Amount { events: 2 + 3, bytes: 10 + 10 + 20 });
    assert_eq!(counts.delivered.events, 4);
}

/// The sink has as much as fits; the next is read when there is room, whatever lies in between.
#[test]
fn reading_waits_for_room_unless_nothing_else_is_out() {
    let stored = with_disk(2_000, 1 << 20);
    for _ in 0..4 {
        stored.push(20);
    }
    stored.tier.store_all();
    assert!(stored.tier.reserve(400) && !stored.tier.reserve(1_000), "a quarter is for reading");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let one = take(&stored.tier);
    let two =
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(50), stored.tier.take()).await });
    assert!(two.is_err(), "{} of 2000 bytes are in use", stored.tier.used());
    one.delivered();
    take(&stored.tier).delivered();
}

/// A lane that takes documents again goes back into the queue, before what is newer, without being read at once.
#[test]
fn a_lane_that_is_released_is_taken_in_its_order() {
    let stored = with_disk(1 << 20, 1 << 20);
    for count in [2, 3, 4] {
        stored.push(count);
    }
    for _ in 0..2 {
        stored.tier.hold("lane".into(), take(&stored.tier));
    }
    stored.tier.store_all();
    let used = stored.tier.used();
    stored.tier.release_held("lane");
    assert!(stored.tier.held().is_empty() && stored.tier.held_memory() == 0);
    assert_eq!(stored.tier.used(), used, "nothing is read yet");
    for expected in [2, 3, 4] {
        let lease = take(&stored.tier);
        assert_eq!(lease.amount().events, expected);
        lease.delivered();
    }
    stored.check(0, 0);
}

/// What is held in plenty goes to disk before its time, so that nobody has to give it up.
#[test]
fn much_that_is_held_is_stored_at_once() {
    let stored = with_disk(8_000, 1 << 20);
    stored.push(20);
    stored.tier.hold("lane".into(), take(&stored.tier));
    stored.tier.store_old();
    stored.check(20, 0);
    stored.push(20);
    stored.tier.hold("lane".into(), take(&stored.tier));
    assert!(stored.tier.held_memory() > 2_000);
    stored.tier.store_old();
    stored.check(0, 40);
    assert_eq!(stored.tier.held_memory(), 2 * STUB_BYTES);
}
