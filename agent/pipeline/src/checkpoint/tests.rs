//! Checkpoints: what is in the file, when it gets there, and what a start makes of it.

use weir_buffer::ack::Ack;
use weir_buffer::disk::filesystem::OperatingSystem;
use weir_buffer::disk::{DiskStore, ObjectPlace, Unnamed as OnOpen};
use weir_buffer::ledger::Account;

use weir_event::tally::{Counted, LabelSource, Measure, Metric, Metrics, Tally, Total};

use super::file::{decode, encode};
use super::*;

fn progress(to: u64) -> Vec<Progress> {
    let position = FilePosition { position: to, resume_from: to, ..FilePosition::default() };
    vec![Progress { file: "1:2".into(), position }]
}

fn read(to: u64) -> Sent {
    Sent { progress: progress(to), on_durable: None }
}

fn position(checkpoints: &Checkpoints) -> Option<u64> {
    checkpoints.positions("apps").get("1:2").map(|p| p.position)
}

#[test]
fn positions_move_over_acked_batches_in_order_only() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
    let queue = AckQueue::new("apps", checkpoints.clone());
    let acks: Vec<Ack> = (1..=4).map(|n| Ack::new(queue.sent(progress(n * 10)), queue.clone())).collect();
    let mut acks = acks.into_iter();
    let (first, second, third, fourth) =
        (acks.next().unwrap(), acks.next().unwrap(), acks.next().unwrap(), acks.next().unwrap());
    second.release();
    assert_eq!(position(&checkpoints), None);
    first.release();
    assert_eq!(position(&checkpoints), Some(20));
    drop(third);
    fourth.release();
    assert_eq!(position(&checkpoints), Some(20), "an unsafe batch holds everything behind it");
    assert_eq!(queue.outstanding(), 2);
}

/// Says what became of it: `None` while that is open.
fn awaited() -> (OnDurable, impl Fn() -> Option<bool>) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let on_durable = OnDurable::new(move || sender.send(()).unwrap());
    let heard = move || match receiver.try_recv() {
        Ok(()) => Some(true),
        Err(std::sync::mpsc::TryRecvError::Empty) => None,
        Err(std::sync::mpsc::TryRecvError::Disconnected) => Some(false),
    };
    (on_durable, heard)
}

#[test]
fn what_was_pushed_is_durable_when_a_checkpoint_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
    let wanted = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counting = Arc::clone(&wanted);
    checkpoints.on_wanted(Arc::new(move || {
        counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    let queue = AckQueue::new("agents", checkpoints.clone());
    let ((first, heard_first), (second, heard_second)) = (awaited(), awaited());
    let [first, second] = [first, second].map(|on| Ack::new(queue.pushed(on), queue.clone()));
    second.release();
    checkpoints.save().unwrap();
    assert_eq!(heard_second(), None, "not before those before it");
    first.release();
    assert_eq!((heard_first(), heard_second()), (None, None), "it is only safe in memory");
    assert_eq!(wanted.load(std::sync::atomic::Ordering::Relaxed), 2);
    checkpoints.save().unwrap();
    assert_eq!((heard_first(), heard_second()), (Some(true), Some(true)));
}

#[test]
fn what_was_pushed_and_is_unsafe_is_let_go_of_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::new("p", "s");
    let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
    let queue = AckQueue::new("agents", checkpoints.clone());
    let ((first, heard_first), (second, heard_second)) = (awaited(), awaited());
    let [first, second] = [first, second].map(|on| Ack::new(queue.pushed(on), queue.clone()));
    for ack in [&first, &second] {
        ack.book(&account, Entry::Read, Amount { events: 1, bytes: 1 });
    }
    second.release();
    drop(first);
    assert_eq!(heard_first(), Some(false), "its sender is to send it again");
    checkpoints.save().unwrap();
    assert_eq!(heard_second(), Some(true));
    assert_eq!(
        checkpoints.counts()[0].2.read,
        Amount { events: 1, bytes: 1 },
        "it is counted when it is sent again"
    );
    assert_eq!(queue.outstanding(), 0);
}

#[test]
fn counts_become_durable_with_the_position() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::new("p", "s");
    {
        let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
        let queue = AckQueue::new("apps", checkpoints.clone());
        for amount in [3, 4] {
            let ack = Ack::new(queue.sent(progress(amount)), queue.clone());
            ack.book(&account, Entry::Read, Amount { events: amount, bytes: 1 });
            if amount == 3 {
                ack.release();
            }
        }
        checkpoints.save().unwrap();
    }
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    assert_eq!(position(&checkpoints), Some(3));
    let counts = checkpoints.counts();
    assert_eq!(counts[0].2.read, Amount { events: 3, bytes: 1 });
}

/// A batch of ten events for two sinks, one of which nobody waits for.
fn two_sinks(queue: &Arc<AckQueue>) -> (Ack, Ack, [Arc<Account>; 2]) {
    let accounts = [Account::new("p", "awaited"), Account::new("p", "best-effort")];
    let ack = Ack::new(queue.sent(progress(10)), queue.clone());
    for account in &accounts {
        ack.book(account, Entry::Read, Amount { events: 10, bytes: 10 });
    }
    let late = ack.late();
    (ack, late, accounts)
}

#[test]
fn a_best_effort_sink_is_counted_with_the_batch_or_after_it_never_before() {
    let ten = Amount { events: 10, bytes: 10 };
    for is_first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
        let (ack, late, [awaited, best_effort]) = two_sinks(&AckQueue::new("apps", checkpoints.clone()));
        let deliver = |ack: Ack, account: &Arc<Account>| {
            ack.book(account, Entry::Delivered, ten);
            ack.release();
        };
        if is_first {
            deliver(late, &best_effort);
            assert_eq!(checkpoints.counts(), [], "the batch may yet be read again");
            deliver(ack, &awaited);
        } else {
            deliver(ack, &awaited);
            deliver(late, &best_effort);
        }
        checkpoints.save().unwrap();
        let counts = Checkpoints::open(dir.path()).unwrap().counts();
        assert_eq!(counts.len(), 2);
        assert!(counts.iter().all(|(_, _, counts)| (counts.read, counts.delivered) == (ten, ten)));
    }
}

#[test]
fn what_a_best_effort_sink_had_not_taken_is_lost_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
    let (ack, late, [awaited, _]) = two_sinks(&AckQueue::new("apps", checkpoints.clone()));
    ack.book(&awaited, Entry::Delivered, Amount { events: 10, bytes: 10 });
    ack.release();
    checkpoints.save().unwrap();
    drop(late);
    let lost = |sink: &str| {
        let counts = Checkpoints::open(dir.path()).unwrap().counts();
        let (.., counts) = counts.into_iter().find(|(_, name, _)| name == sink).unwrap();
        assert_eq!(counts.incoming(), counts.settled());
        counts.lost.get(AGENT_ENDED).map_or(0, |lost| lost.events)
    };
    assert_eq!((lost("awaited"), lost("best-effort")), (0, 10));
}

/// A part of a best-effort sink's segment may be delivered from disk before the rest of the segment is stored.
#[test]
fn a_part_that_is_removed_before_it_is_heard_to_be_stored_never_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    let account = Account::new("p", "s");
    let five = Amount { events: 5, bytes: 50 };
    let file = file(dir.path(), 7);
    let stored = |part| {
        let (account, file) = (Arc::clone(&account), Arc::clone(&file));
        Posting::Stored { account, amount: five, file, part }
    };
    let removed = |parts| {
        let account = Arc::clone(&account);
        Posting::Removed { account, amount: five, file: 7, parts, handle: None }
    };
    checkpoints.settle_counts(vec![removed(0b10), stored(0)]);
    checkpoints.settle_counts(vec![stored(1)]);
    assert_eq!(checkpoints.stored("s")[&7].parts, 0b01);
    assert_eq!(checkpoints.stored_of("p", "s"), five);
    checkpoints.settle_counts(vec![removed(0b01)]);
    assert!(checkpoints.stored("s").is_empty() && checkpoints.sinks_with_stored().is_empty());
    assert!(checkpoints.lock().early.is_empty(), "nothing is remembered for ever");
}

/// A file of the sink `s` with this number.
fn file(folder: &Path, number: u64) -> Arc<DiskFile> {
    let folder = folder.join("buffer");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{number:016x}.seg")), "").unwrap();
    let named = [(number, StoredParts { parts: u64::MAX, ..StoredParts::default() })].into();
    let opened = DiskStore::open("s", &folder, 1, &named, OnOpen::Remove, Arc::new(OperatingSystem));
    opened.unwrap().files.remove(0).0
}

/// Whatever is heard first: that a part is stored, or that its file lies elsewhere by then.
#[test]
fn a_file_that_was_moved_leaves_the_disk_when_no_checkpoint_says_that_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    let account = Account::new("p", "s");
    let five = Amount { events: 5, bytes: 50 };
    let place = ObjectPlace { key: "k".into(), bytes: 0, written: 0, taken_from: None };
    for (number, stored_first) in [(1, true), (2, false)] {
        let file = file(dir.path(), number);
        let path = dir.path().join(format!("buffer/{number:016x}.seg"));
        let stored = || {
            let (account, file) = (Arc::clone(&account), Arc::clone(&file));
            Posting::Stored { account, amount: five, file, part: 0 }
        };
        if stored_first {
            checkpoints.settle_counts(vec![stored()]);
            checkpoints.save().unwrap();
            assert_eq!(checkpoints.stored("s")[&number].object, None);
        }
        assert!(file.move_to(place.clone()));
        checkpoints.settle_counts(vec![Posting::Moved { sink: "s".into(), file: Arc::clone(&file) }]);
        if !stored_first {
            checkpoints.settle_counts(vec![stored()]);
        }
        assert_eq!(checkpoints.stored("s")[&number].object, Some(place.clone()));
        checkpoints.save().unwrap();
        assert!(path.is_file(), "the checkpoint before this one says that it is here");
        checkpoints.save().unwrap();
        assert!(!path.try_exists().unwrap());
        assert_eq!(checkpoints.stored("s")[&number].parts, 1);
    }
}

#[test]
fn what_lies_on_disk_is_not_missing_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let account = Account::new("p", "s");
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    let (ten, four) = (Amount { events: 10, bytes: 100 }, Amount { events: 4, bytes: 40 });
    let read = Posting::Booked { account: Arc::clone(&account), entry: Entry::Read, amount: ten };
    checkpoints.settle_counts(vec![
        read,
        Posting::Stored { account, amount: four, file: file(dir.path(), 1), part: 0 },
    ]);
    checkpoints.save().unwrap();
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    assert_eq!(checkpoints.stored_of("p", "s"), four);
    let lost = checkpoints.counts()[0].2.lost[AGENT_ENDED];
    assert_eq!(lost, Amount { events: 6, bytes: 60 });
}

#[test]
fn a_damaged_file_falls_back_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(dir.path()).unwrap();
    checkpoints.settle("apps", read(1), Vec::new());
    checkpoints.save().unwrap();
    checkpoints.settle("apps", read(2), Vec::new());
    checkpoints.save().unwrap();
    let path = dir.path().join("checkpoint");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(position(&Checkpoints::open(dir.path()).unwrap()), Some(1));
    std::fs::remove_file(dir.path().join("checkpoint.previous")).unwrap();
    assert!(matches!(Checkpoints::open(dir.path()), Err(CheckpointError::Damaged { .. })));
}

/// Of each kind of total, with one series beyond what there is room for.
fn some_tally() -> Tally {
    let label = |name: &str| (name.to_owned(), LabelSource::Field(name.to_owned()));
    let measure = Measure::Field { path: "took".into(), bounds: vec![0.1, 1.0] };
    let metrics = vec![
        Metric::new("events_total", "", Measure::Events, vec![label("namespace"), label("level")]),
        Metric::new("seconds", "", measure, Vec::new()),
    ];
    let labels = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect());
    let counted = vec![
        Counted { metric: 0, labels: labels(&["error", "web"]), total: Total::Events(5) },
        Counted {
            metric: 1,
            labels: labels(&[]),
            total: Total::Numbers { buckets: [1, 0, 2].into(), sum: 7.25 },
        },
        Counted { metric: 0, labels: labels(&["info", ""]), total: Total::Events(3) },
    ];
    Tally { of: Metrics::new("all", 2, metrics), counted, skipped: vec![0, 4] }
}

#[test]
fn the_written_form_is_the_documented_one() {
    let mut state = State::default();
    let file = FilePosition { path: "/var/log/a.log".into(), position: 7, ..FilePosition::default() };
    state.sources.entry("apps".into()).or_default().insert("1:2".into(), file);
    let accounts = [("all".to_owned(), Amount { events: 5, bytes: 700 })].into();
    let stored = StoredParts { parts: 0b1011, accounts, object: None };
    let object = ObjectPlace {
        key: "dev/node-1/0123456789abcdef0123456789abcdef/segments/search/2026/11/23/05/000000000000001b-ab.seg".into(),
        bytes: 4096,
        written: 1_795_410_000,
        taken_from: None,
    };
    let moved = StoredParts { object: Some(object), ..stored.clone() };
    let buffer = state.buffers.entry("search".into()).or_default();
    buffer.insert(file_key(26), stored);
    buffer.insert(file_key(27), moved);
    state.counters.add(&some_tally());
    if std::env::var_os("WEIR_UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/checkpoint.v1");
        std::fs::write(path, encode(&state)).unwrap();
    }
    let golden = include_bytes!("../../tests/golden/checkpoint.v1");
    assert_eq!(String::from_utf8_lossy(&encode(&state)), String::from_utf8_lossy(golden));
    assert_eq!(decode(golden).unwrap(), state);
}

mod counting;
