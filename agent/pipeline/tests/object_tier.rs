//! The three tiers with the checkpoints: whatever fails on the way to a store of objects and back, and wherever the
//! agent dies, every event is delivered, the ledger has each once, and the store is empty at the end.
//!
//! The store is a fake that fails before and after what it was asked for, and says so or not. What chance decides follows
//! from a seed, which a failure names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::runtime::Runtime;
use weir_buffer::ack::{Ack, Acknowledge};
use weir_buffer::disk::filesystem::OperatingSystem;
use weir_buffer::disk::{Objects, Unnamed};
use weir_buffer::ledger::{Account, Entry, Ledger};
use weir_buffer::memory::{Disk, DiskSettings, Goal, MemoryTier, Relocated};
use weir_buffer::object::{Listing, Object, ObjectError, ObjectErrorKind, ObjectStore, Put};
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_event::identity::EventId;
use weir_pipeline::checkpoint::{AckQueue, Checkpoints, FilePosition, Progress};

const FOLDER: &str = "dev/node-1/me/segments/s/";
/// Each is a start, some steps, and a death.
const CASES: u64 = 60;
const LIVES: usize = 4;
const STEPS: usize = 25;
/// For what is tried again after a pause.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bucket in memory, behind a bad line.
struct FakeStore {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    random: Mutex<StdRng>,
    /// Out of a hundred requests, so many fail.
    bad: Mutex<u32>,
    /// Removals that nobody waits for any more and that are still to come.
    late: Mutex<Vec<String>>,
}

impl FakeStore {
    fn new(seed: u64) -> Arc<FakeStore> {
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        Arc::new(FakeStore { objects: Mutex::default(), random, bad: Mutex::new(0), late: Mutex::default() })
    }

    fn set_bad(&self, share: u32) {
        *self.bad.lock().unwrap() = share;
    }

    fn ask<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, ObjectError> {
        let (fails, is_done) = {
            let mut random = self.random.lock().unwrap();
            (random.random_range(0..100) < *self.bad.lock().unwrap(), random.random_bool(0.5))
        };
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for key in late {
            match self.random.lock().unwrap().random_bool(0.3) {
                true => drop(self.objects.lock().unwrap().remove(&key)),
                false => self.late.lock().unwrap().push(key),
            }
        }
        let failed = || ObjectError { kind: ObjectErrorKind::Retry, message: "so the seed wants it".into() };
        if fails && !is_done {
            return Err(failed());
        }
        let done = act(&mut self.objects.lock().unwrap());
        if fails { Err(failed()) } else { Ok(done) }
    }
}

impl ObjectStore for FakeStore {
    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Put, ObjectError> {
        self.ask(|objects| {
            if let Some(known) = objects.get(key) {
                assert!(*known == bytes, "a key says what is in it");
                return Put::Refused;
            }
            objects.insert(key.to_owned(), bytes);
            Put::Stored("tag".into())
        })
    }

    fn put_if_match(&self, _: &str, _: Vec<u8>, _: &str) -> Result<Put, ObjectError> {
        panic!("segments are never replaced")
    }

    fn get(&self, key: &str, limit: u64) -> Result<Object, ObjectError> {
        let found = self.ask(|objects| objects.get(key).cloned())?;
        let found = found.filter(|bytes| bytes.len() as u64 <= limit);
        let missing = || ObjectError { kind: ObjectErrorKind::Missing, message: "there is none".into() };
        found.map(|bytes| Object { bytes, etag: "tag".into() }).ok_or_else(missing)
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Vec<u8>, ObjectError> {
        let whole = self.get(key, u64::MAX)?.bytes;
        let start = (offset as usize).min(whole.len());
        Ok(whole[start..(start + length).min(whole.len())].to_vec())
    }

    fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let mut is_done = false;
        let answer = self.ask(|objects| {
            is_done = true;
            objects.remove(key);
        });
        if !is_done {
            self.late.lock().unwrap().push(key.to_owned());
        }
        answer
    }

    fn list(&self, prefix: &str, _: Option<&str>, _: bool) -> Result<Listing, ObjectError> {
        self.ask(|objects| {
            let found = objects.iter().filter(|(key, _)| key.starts_with(prefix));
            let objects = found.map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect();
            Listing { objects, ..Listing::default() }
        })
    }
}

/// An agent between a start and a death: one source of numbered events, one sink.
struct Life {
    checkpoints: Arc<Checkpoints>,
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    acks: Arc<AckQueue>,
    tier: Arc<MemoryTier>,
    /// The next event that is read.
    next: u64,
}

impl Life {
    fn begin(data_dir: &Path, store: &Arc<FakeStore>, disk: u64) -> Life {
        let checkpoints = Arc::new(Checkpoints::open(data_dir).unwrap());
        let ledger = Arc::new(Ledger::default());
        for (pipeline, sink, counts) in checkpoints.counts() {
            ledger.account(&pipeline, &sink).restore(counts);
        }
        let settings = DiskSettings {
            sink: "s".into(),
            folder: data_dir.join("buffer/s"),
            bound: disk,
            unnamed: if checkpoints.is_complete() { Unnamed::Remove } else { Unnamed::PutAside },
            next_file: checkpoints.next_file("s"),
        };
        let direct = Arc::clone(&checkpoints) as Arc<dyn Acknowledge>;
        let named = checkpoints.stored("s");
        let opened = Disk::open(&settings, named, &ledger, direct, Arc::new(OperatingSystem)).unwrap();
        let store = Arc::clone(store) as Arc<dyn ObjectStore>;
        opened.store().set_objects(Some(Objects::new(store, FOLDER.into(), None)));
        let tier = MemoryTier::with_disk(64 << 20, Arc::clone(&ledger), Some(opened));
        let next = checkpoints.positions("apps").get("f").map_or(0, |position| position.position);
        let acks = AckQueue::new("apps", Arc::clone(&checkpoints));
        Life { account: ledger.account("p", "s"), checkpoints, ledger, acks, tier, next }
    }

    fn read(&mut self, count: u64, random: &mut StdRng) {
        let mut documents = Documents::default();
        for number in self.next..self.next + count {
            let filler: u64 = random.random();
            documents.ndjson.extend_from_slice(format!("{number} {filler:x}").as_bytes());
            let (end, id) = (documents.ndjson.len() as u32, EventId([number as u8; 20]));
            documents.records.push(Record { id, time: 0, stream: u32::MAX, bytes: 7, end });
            documents.ndjson.push(b'\n');
        }
        self.next += count;
        let position = FilePosition { position: self.next, ..FilePosition::default() };
        let sequence = self.acks.sent(vec![Progress { file: "f".into(), position }]);
        let ack = Ack::new(sequence, Arc::clone(&self.acks) as Arc<dyn Acknowledge>);
        let amount = documents.amount();
        ack.book(&self.account, Entry::Read, amount);
        let documents = Arc::new(documents);
        self.tier.push(segment(documents, amount, ack), &self.account, 0);
    }

    /// What the sink gets; part of it may come back.
    fn deliver(&self, runtime: &Runtime, delivered: &mut Vec<u64>) -> bool {
        let take = async { tokio::time::timeout(PATIENCE, self.tier.take()).await };
        if self.ledger.statements()[0].buffered.values().all(|amount| amount.events == 0) {
            return false;
        }
        let lease = runtime.block_on(take).expect("something comes").expect("it is not closed");
        for (_, document) in lease.documents().iter() {
            let text = std::str::from_utf8(document).unwrap();
            delivered.push(text.split(' ').next().unwrap().parse().unwrap());
        }
        lease.delivered();
        true
    }

    fn relocate(&self, goal: Goal) -> Relocated {
        self.tier.relocate(goal, &|| self.checkpoints.durably_stored("s"))
    }

    /// A store that failed is not asked again at once.
    fn move_something(&self) {
        let until = Instant::now() + PATIENCE;
        while self.relocate(Goal::Everything).files == 0 {
            let statement = self.ledger.statements().remove(0);
            let store = self.tier.disk().unwrap().store();
            assert!(Instant::now() < until, "{} of {}: {statement:#?}", store.used(), store.bound());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn check(&self) {
        for statement in self.ledger.statements() {
            assert!(statement.balanced, "{statement:#?}");
        }
    }
}

fn segment(documents: Arc<Documents>, amount: weir_buffer::ledger::Amount, ack: Ack) -> Segment {
    Segment { documents, targets: Targets::default(), amount, ack }
}

fn play(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let store = FakeStore::new(seed ^ 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let disk = 1 << random.random_range(14..18);
    let mut delivered = Vec::new();
    let mut read = 0;
    for life in 0..LIVES {
        let mut agent = Life::begin(folder.path(), &store, disk);
        store.set_bad(if random.random_bool(0.5) { 0 } else { random.random_range(1..60) });
        for _ in 0..STEPS {
            match random.random_range(0..10) {
                0..=3 => agent.read(random.random_range(1..200), &mut random),
                4 => agent.tier.store_all(),
                5 => drop(agent.relocate(Goal::HighWater)),
                6 => drop(agent.relocate(Goal::Everything)),
                7 => agent.checkpoints.save().unwrap(),
                // A store that fails is waited for, which takes its time.
                8 if *store.bad.lock().unwrap() == 0 => drop(agent.deliver(&runtime, &mut delivered)),
                _ => agent.check(),
            }
        }
        agent.check();
        read = agent.next.max(read);
        if life + 1 < LIVES {
            // It dies: what is not in the checkpoints has not happened.
            Box::leak(Box::new(agent));
            continue;
        }
        store.set_bad(0);
        while agent.deliver(&runtime, &mut delivered) {}
        agent.check();
        let account = agent.ledger.statements().remove(0);
        assert_eq!((account.counts.read.events, account.counts.delivered.events), (agent.next, agent.next));
        assert!(account.counts.lost.is_empty(), "{account:#?}");
        for _ in 0..3 {
            agent.checkpoints.save().unwrap();
        }
        // Whatever an earlier life left is swept before something goes there again.
        agent.read(1, &mut random);
        agent.tier.store_all();
        agent.move_something();
        while agent.deliver(&runtime, &mut delivered) {}
        for _ in 0..3 {
            agent.checkpoints.save().unwrap();
        }
        agent.relocate(Goal::HighWater);
        // Where no earlier life has written its checkpoints, nobody knows what is of use.
        if agent.checkpoints.is_complete() {
            let left: Vec<String> = store.objects.lock().unwrap().keys().cloned().collect();
            assert_eq!(left, Vec::<String>::new(), "objects are left: {:#?}", agent.checkpoints.stored("s"));
        }
        read = agent.next;
    }
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered, (0..read).collect::<Vec<_>>());
}

#[test]
fn nothing_is_lost_on_the_way_to_the_store_and_back() {
    let chosen = std::env::var("WEIR_SEED").ok().map(|seed| seed.parse::<u64>().expect("a number"));
    let first = chosen.unwrap_or_else(|| u64::from(rand::random::<u32>()) << 16);
    let cases = if chosen.is_some() { 1 } else { cases() };
    for seed in first..first + cases {
        let played = std::panic::catch_unwind(|| play(seed));
        if let Err(panic) = played {
            eprintln!("WEIR_SEED={seed} plays it again");
            std::panic::resume_unwind(panic);
        }
    }
}

fn cases() -> u64 {
    std::env::var("WEIR_CASES").ok().map_or(CASES, |cases| cases.parse().expect("a number"))
}
