//! What is dropped, what comes first, how fast, and disks that do not answer.

use std::io;
use std::path::Path;
use std::sync::Condvar;

use super::*;
use crate::disk::filesystem::{FileSystem, Found, NewFile};

/// Lets go of a file as soon as nobody needs it, as checkpoints do a second or two later.
#[derive(Default)]
struct LettingGo;

impl Acknowledge for LettingGo {
    fn acknowledge(&self, _: u64, _: bool, entries: Vec<Posting>) {
        self.acknowledge_late(0, entries);
    }

    fn acknowledge_late(&self, _: u64, entries: Vec<Posting>) {
        for posting in entries {
            if let Posting::Removed { handle: Some(handle), parts, .. } = posting {
                handle.forget(parts);
            }
        }
    }

    fn is_settled(&self, _: u64) -> bool {
        true
    }
}

/// The machine's own file system, which can be told to stop answering, or to take nothing more.
#[derive(Default)]
struct Moody {
    hangs: Mutex<bool>,
    answers: Condvar,
    is_full: std::sync::atomic::AtomicBool,
}

impl Moody {
    fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.answers.notify_all();
    }
}

impl FileSystem for Moody {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        OperatingSystem.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Found>> {
        OperatingSystem.list(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        OperatingSystem.create(path)
    }

    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let hangs = self.hangs.lock().unwrap();
        drop(self.answers.wait_while(hangs, |hangs| *hangs).unwrap());
        OperatingSystem.read(path, offset, length)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OperatingSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OperatingSystem.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        OperatingSystem.sync_folder(folder)
    }
}

struct Rig {
    _folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    tier: Arc<MemoryTier>,
    file_system: Arc<Moody>,
}

impl Rig {
    fn new(memory: u64, disk: u64, policy: Policy) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::default());
        let settings = DiskSettings {
            sink: "s".to_owned(),
            folder: folder.path().join("s"),
            bound: disk,
            unnamed: Unnamed::Remove,
            next_file: 0,
        };
        let file_system = Arc::new(Moody::default());
        let direct = Arc::new(LettingGo);
        let opened =
            Disk::open(&settings, BTreeMap::new(), &ledger, direct, Arc::clone(&file_system) as _).unwrap();
        let mut tier =
            Arc::into_inner(MemoryTier::with_disk(memory, Arc::clone(&ledger), Some(opened))).unwrap();
        tier.read_patience = Duration::from_millis(50);
        tier.set_policy(policy);
        let (account, tier) = (ledger.account("p", "s"), Arc::new(tier));
        Rig { _folder: folder, ledger, account, tier, file_system }
    }

    /// One event with this number, of so many bytes that cannot be packed.
    fn push(&self, number: u64, bytes: usize) {
        let mut documents = Documents::default();
        let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        documents.ndjson.extend_from_slice(format!("{number:08}").as_bytes());
        documents.ndjson.resize_with(bytes, || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            b'a' + (noise >> 32) as u8 % 16
        });
        let end = documents.ndjson.len() as u32;
        documents.ndjson.push(b'\n');
        documents.ndjson.shrink_to_fit();
        documents.records.push(Record { id: EventId([0; 20]), time: 0, stream: u32::MAX, bytes: 1, end });
        let amount = documents.amount();
        let ack = Ack::new(0, Arc::new(LettingGo));
        ack.book(&self.account, Entry::Read, amount);
        let segment = Segment { documents: Arc::new(documents), targets: Targets::default(), amount, ack };
        self.tier.push(segment, &self.account, 0);
    }

    fn next(&self) -> u64 {
        let lease = take(&self.tier);
        let number = std::str::from_utf8(&lease.documents().ndjson[..8]).unwrap().parse().unwrap();
        lease.delivered();
        number
    }

    #[track_caller]
    fn counts(&self) -> crate::ledger::Counts {
        let statement = self.ledger.statements().remove(0);
        assert!(statement.balanced, "{statement:#?}");
        statement.counts
    }

    fn waiting(&self) -> (u64, u64) {
        let statement = self.ledger.statements().remove(0);
        (statement.buffered["memory"].events, statement.buffered["disk"].events)
    }
}

#[test]
fn the_oldest_go_where_the_disk_is_full_and_all_is_counted() {
    let rig = Rig::new(1 << 20, 64_000, Policy { when_full: WhenFull::DropOldest, ..Policy::default() });
    for number in 0..100 {
        rig.push(number, 4_000);
        rig.tier.store_all();
        rig.tier.store_old();
    }
    let dropped = rig.counts().dropped["buffer_full"].events;
    let (memory, disk) = rig.waiting();
    assert_eq!(dropped + memory + disk, 100);
    assert_eq!(memory, 0, "there is always room on disk");
    let store = rig.tier.disk().unwrap().store();
    assert!(store.used() <= 56_000 && store.used() > 40_000, "{}", store.used());
    let left: Vec<u64> = (0..disk).map(|_| rig.next()).collect();
    assert_eq!(left, (dropped..100).collect::<Vec<_>>(), "the newest are left, in order");
    assert_eq!(rig.counts().delivered.events, disk);
}

#[test]
fn a_full_buffer_that_blocks_drops_nothing() {
    let rig = Rig::new(1 << 20, 64_000, Policy::default());
    for number in 0..40 {
        rig.push(number, 4_000);
        rig.tier.store_all();
        rig.tier.store_old();
    }
    let (memory, disk) = rig.waiting();
    assert!(memory > 0 && disk > 10 && memory + disk == 40, "{memory} and {disk}");
    assert!(rig.counts().dropped.is_empty());
    assert_eq!((0..40).map(|_| rig.next()).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
}

/// The disk takes nothing, memory is full: the oldest in memory go, and only as many as the newest need.
#[test]
fn the_oldest_in_memory_go_where_the_disk_takes_nothing() {
    let rig = Rig::new(50_000, 1 << 20, Policy { when_full: WhenFull::DropOldest, ..Policy::default() });
    rig.file_system.is_full.store(true, Ordering::SeqCst);
    for number in 0..10 {
        rig.push(number, 4_000);
    }
    rig.tier.store_all();
    assert!(!rig.tier.reserve(10_000), "it is full");
    rig.tier.store_old();
    assert!(rig.tier.reserve(10_000), "somebody wanted room, and there is");
    rig.tier.unreserve(10_000);
    let dropped = rig.counts().dropped["buffer_full"].events;
    assert!((1..=3).contains(&dropped), "{dropped}");
    assert_eq!(rig.next(), dropped);
}

#[test]
fn what_is_too_old_is_dropped_wherever_it_lies() {
    let rig = Rig::new(1 << 20, 1 << 20, Policy { max_age: Some(Duration::ZERO), ..Policy::default() });
    rig.push(0, 100);
    rig.tier.store_all();
    rig.push(1, 100);
    let at_the_sink = take(&rig.tier);
    rig.push(2, 100);
    let held = take(&rig.tier);
    rig.tier.hold("lane".into(), held);
    rig.tier.store_old();
    assert_eq!(rig.counts().dropped["too_old"].events, 2, "all but what is at the sink");
    assert_eq!(rig.waiting(), (0, 1));
    at_the_sink.delivered();
    assert_eq!((rig.waiting(), rig.tier.used(), rig.tier.held_memory()), ((0, 0), 0, 0));
    assert_eq!(rig.tier.disk().unwrap().store().used(), 0);
    rig.tier.set_policy(Policy { max_age: Some(Duration::from_secs(3_600)), ..Policy::default() });
    rig.push(3, 100);
    rig.tier.store_old();
    assert_eq!(rig.next(), 3);
}

#[test]
fn what_is_given_up_by_hand_is_counted() {
    let rig = Rig::new(1 << 20, 1 << 20, Policy::default());
    for number in 0..6 {
        rig.push(number, 100);
        if number == 3 {
            rig.tier.store_all();
        }
    }
    let leased = take(&rig.tier);
    assert_eq!(rig.tier.give_up_all().events, 5);
    assert_eq!(rig.counts().dropped["given_up"].events, 5);
    leased.delivered();
    assert_eq!((rig.waiting(), rig.tier.used()), ((0, 0), 0));
}

/// Three of four bytes are fresh while there are both; alone each has all.
#[test]
fn fresh_data_and_backfill_share_the_sink() {
    let rig = Rig::new(1 << 20, 1 << 20, Policy { order: Order::NewestFirst, ..Policy::default() });
    for number in 0..20 {
        rig.push(number, 1_000);
    }
    rig.tier.store_all();
    for number in 100..130 {
        rig.push(number, 1_000);
    }
    let order: Vec<u64> = (0..50).map(|_| rig.next()).collect();
    assert_eq!(order[0], 100, "fresh first");
    let fresh = order[..40].iter().filter(|number| **number >= 100).count();
    assert!((28..=31).contains(&fresh), "{order:?}");
    assert!(order[..8].iter().any(|number| *number < 100), "the old does not wait for the end of the new");
    for part in [0..100, 100..200] {
        let of: Vec<u64> = order.iter().copied().filter(|number| part.contains(number)).collect();
        assert!(of.is_sorted(), "each in its order: {of:?}");
    }
}

#[test]
fn replay_is_as_slow_as_it_is_to_be() {
    let policy = Policy { replay_rate: Some(20_000), ..Policy::default() };
    let rig = Rig::new(1 << 20, 1 << 20, policy);
    for number in 0..5 {
        rig.push(number, 1_000);
    }
    rig.tier.store_all();
    let started = Instant::now();
    let order: Vec<u64> = (0..5).map(|_| rig.next()).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
    // The first is free; four of 1 kB and a little at 20 kB/s.
    assert!(started.elapsed() > Duration::from_millis(190), "{:?}", started.elapsed());
    rig.push(5, 1_000);
    assert_eq!(rig.next(), 5);
}

/// A read that hangs stops neither who looks at a lane nor, where that is allowed, what lies in memory.
#[test]
fn a_disk_that_does_not_answer_is_counted_and_waited_for() {
    let rig = Rig::new(1 << 20, 1 << 20, Policy { order: Order::NewestFirst, ..Policy::default() });
    rig.push(0, 100);
    rig.tier.hold("lane".into(), take(&rig.tier));
    rig.push(1, 100);
    rig.tier.store_all();
    rig.file_system.hang(true);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let held = runtime.block_on(rig.tier.take_held("lane"));
    assert!(matches!(held, Held::NotNow), "{held:?}");
    let stalled = || rig.tier.disk().unwrap().store().metrics.stalled_reads.load(Ordering::SeqCst);
    assert_eq!(stalled(), 1);
    let waited =
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(200), rig.tier.take()).await });
    assert!(waited.is_err() && stalled() > 1, "it waits, and says so");
    rig.file_system.hang(false);
    let lease = runtime.block_on(rig.tier.take()).unwrap();
    assert_eq!(lease.amount().events, 1);
    lease.delivered();
    let Held::Segment(lease) = runtime.block_on(rig.tier.take_held("lane")) else {
        panic!("it answers again")
    };
    lease.delivered();
    assert_eq!(rig.waiting(), (0, 0));
}

/// Small segments that wait for long are one entry of their file, and come back as they were.
#[test]
fn stubs_of_a_file_become_one_entry() {
    let rig = Rig::new(1 << 20, 1 << 20, Policy::default());
    for number in 0..100 {
        rig.push(number, 50);
    }
    rig.tier.store_all();
    let files = rig.tier.disk().unwrap().store().files();
    assert_eq!(rig.tier.used(), 100 * STUB_BYTES);
    rig.tier.collapse();
    assert_eq!(rig.tier.used(), files * STUB_BYTES);
    assert_eq!(rig.waiting(), (0, 100));
    assert_eq!((0..100).map(|_| rig.next()).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!((rig.waiting(), rig.tier.used(), rig.counts().delivered.events), ((0, 0), 0, 100));
    assert_eq!(rig.tier.disk().unwrap().store().files(), 0);
}

/// Pressure is of all that there is room for, and somebody is told when there is need to store.
#[test]
fn pressure_and_who_is_told() {
    let rig = Rig::new(10_000, 10_000, Policy::default());
    let told = Arc::new(AtomicU32::default());
    let tell = Arc::clone(&told);
    rig.tier.on_pressed(Arc::new(move || {
        tell.fetch_add(1, Ordering::SeqCst);
    }));
    assert_eq!(rig.tier.pressure(), 0.0);
    rig.push(0, 6_000);
    let (memory, told_first) = (rig.tier.pressure(), told.load(Ordering::SeqCst));
    assert!(memory > 0.25 && memory < 0.5, "{memory}");
    assert_eq!(told_first, 0, "the sink has had no time yet");
    rig.tier.lock().progress = Instant::now().checked_sub(STUCK_AFTER * 2);
    rig.push(1, 1_000);
    assert_eq!(told.load(Ordering::SeqCst), 1, "it is stuck, and memory is beyond its mark");
    rig.tier.store_old();
    assert_eq!(rig.waiting(), (0, 2));
    let disk = rig.tier.pressure();
    assert!(disk > 0.15 && disk < 0.5, "{disk}");
}

/// What its source does not keep is stored at once; what lies beside it goes along only if it is old enough.
#[test]
fn what_is_urgent_is_stored_before_its_time() {
    let rig = Rig::new(1 << 20, 1 << 20, Policy::default());
    rig.push(0, 100);
    rig.tier.store_old();
    assert_eq!(rig.waiting(), (1, 0));
    let documents = Documents { ndjson: b"x\n".to_vec(), ..Documents::default() };
    let ack = Ack::new(0, Arc::new(LettingGo));
    let amount = Amount::one(1);
    ack.book(&rig.account, Entry::Read, amount);
    let segment = Segment { documents: Arc::new(documents), targets: Targets::default(), amount, ack };
    rig.tier.push_urgent(segment, &rig.account, 0);
    rig.tier.store_old();
    assert_eq!(rig.waiting(), (1, 1));
}

/// A sink that fails with its hands full leaves memory to those that read.
#[test]
fn a_sink_has_half_of_the_memory_in_its_hands_at_the_most() {
    let rig = Rig::new(20_000, 1 << 20, Policy::default());
    for number in 0..4 {
        rig.push(number, 4_000);
    }
    let one = take(&rig.tier);
    let two = take(&rig.tier);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let waits = async { tokio::time::timeout(Duration::from_millis(20), rig.tier.take()).await };
    assert!(runtime.block_on(waits).is_err(), "a third would be more than half");
    rig.tier.store_all();
    assert!(rig.tier.reserve(6_000), "the others went to disk: there is room");
    rig.tier.unreserve(6_000);
    one.delivered();
    two.delivered();
    assert_eq!((rig.next(), rig.next()), (2, 3));
}

/// Else nothing would be read for as long as the sink takes nothing, though the disk has room.
#[test]
fn one_large_segment_passes_a_sink_with_its_hands_full() {
    let rig = Rig::new(20_000, 1 << 20, Policy::default());
    for number in 0..4 {
        rig.push(number, 4_000);
    }
    let leases = [take(&rig.tier), take(&rig.tier)];
    assert!(!rig.tier.reserve(12_000), "what waits in memory is to go to disk first");
    rig.tier.store_all();
    assert!(rig.tier.reserve(12_000), "what is left can go nowhere");
    assert!(!rig.tier.reserve(12_000), "one at a time");
    rig.tier.unreserve(12_000);
    leases.into_iter().for_each(Lease::delivered);
    assert_eq!((rig.next(), rig.next()), (2, 3));
}

/// What is kept to find segments on disk is within the memory's bound, however large the disk.
#[test]
fn memory_full_of_stubs_takes_nothing_more() {
    let rig = Rig::new(100 * STUB_BYTES, 1 << 20, Policy::default());
    (0..101).for_each(|number| rig.push(number, 50));
    rig.tier.store_all();
    assert_eq!((rig.tier.used(), rig.waiting()), (101 * STUB_BYTES, (0, 101)));
    assert!(!rig.tier.reserve(1));
    assert_eq!(rig.next(), 0);
    assert!(rig.tier.reserve(1));
}
