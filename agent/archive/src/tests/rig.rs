//! An archive with a buffer, a ledger and acks around it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_buffer::ack::{Ack, Acknowledge, Posting};
use weir_buffer::disk::Unnamed;
use weir_buffer::disk::filesystem::OperatingSystem;
use weir_buffer::ledger::{Account, Entry, Ledger};
use weir_buffer::memory::{Disk, DiskSettings, MemoryTier};
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_event::identity::EventId;
use weir_event::stream::{Attributes, Stream};
use weir_pipeline::sink::{Drive as _, Driving, SinkMetrics};

use super::fake::FakeStore;
use crate::key::Hour;
use crate::reader::{Event, Outcome, Reader, Selection};
use crate::writer::group::GroupKey;
use crate::writer::store::Store;
use crate::{Archive, Metrics, Settings};

pub const HOUR: i64 = 3_600_000_000_000;
/// 2023-11-14T22:00:00Z.
pub const TEN: i64 = 1_699_999_200_000_000_000;

/// An event to be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Made {
    pub namespace: String,
    pub time: i64,
    pub id: EventId,
    pub document: String,
}

/// Which batches became safe.
#[derive(Default)]
pub struct Acks {
    pub safe: Mutex<BTreeSet<u64>>,
    pub lost: Mutex<BTreeSet<u64>>,
}

impl Acknowledge for Acks {
    fn acknowledge(&self, sequence: u64, safe: bool, _: Vec<Posting>) {
        let which = if safe { &self.safe } else { &self.lost };
        which.lock().unwrap().insert(sequence);
    }

    fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
}

pub struct Rig {
    pub store: Arc<FakeStore>,
    pub tier: Arc<MemoryTier>,
    pub ledger: Arc<Ledger>,
    pub account: Arc<Account>,
    pub acks: Arc<Acks>,
    pub metrics: Arc<Metrics>,
    pub totals: Arc<SinkMetrics>,
    pub give_up: watch::Sender<bool>,
    pub retire: watch::Sender<bool>,
    /// By batch.
    pub made: Mutex<BTreeMap<u64, Vec<Made>>>,
    pub next: AtomicU64,
    /// The buffer's disk, if it has one.
    pub folder: Option<tempfile::TempDir>,
}

pub fn settings() -> Settings {
    Settings {
        index_fields: vec!["level".into(), "trace_id".into()],
        frame_bytes: 4096,
        ..Settings::new("dev", "node-1")
    }
}

/// The event with this number.
pub fn made(number: u64, namespace: &str, time: i64) -> Made {
    let mut id = [3; 20];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let level = ["info", "warn", "error"][(number % 3) as usize];
    let document = format!(
        r#"{{"level":"{level}","trace_id":"trace-{:08x}","n":{number},"text":"a \"line\""}}"#,
        number / 4
    );
    Made { namespace: namespace.into(), time, id: EventId(id), document }
}

/// Documents of events.
pub fn documents(events: &[Made]) -> Documents {
    let mut documents = Documents::default();
    let mut names: Vec<&str> = Vec::new();
    for event in events {
        let stream = names.iter().position(|name| *name == event.namespace).unwrap_or_else(|| {
            names.push(&event.namespace);
            let attributes = Attributes { namespace: event.namespace.clone(), ..Attributes::default() };
            documents.streams.push(Stream::new(attributes, 1));
            names.len() - 1
        });
        documents.ndjson.extend_from_slice(event.document.as_bytes());
        let end = documents.ndjson.len() as u32;
        let (id, time) = (event.id, event.time);
        documents.records.push(Record { id, time, stream: stream as u32, bytes: 50, end });
        documents.ndjson.push(b'\n');
    }
    documents
}

/// Stores events, all of one namespace and hour, as one object in the index.
pub fn store(to: &Arc<FakeStore>, settings: &Settings, events: &[Made]) {
    let store = Store {
        settings: settings.clone(),
        store: Arc::clone(to) as Arc<dyn weir_buffer::object::ObjectStore>,
        metrics: Arc::default(),
    };
    let key = GroupKey { namespace: events[0].namespace.as_str().into(), hour: Hour::of(events[0].time) };
    store.run(&key, &[Arc::new(documents(events))], None).result.unwrap();
}

/// A reader of what was stored with [`settings`].
pub fn reader(of: &Arc<FakeStore>) -> Reader {
    Reader::new(Arc::clone(of) as Arc<dyn weir_buffer::object::ObjectStore>, "archive", "dev")
}

// === impl Rig ===

impl Rig {
    pub fn new(seed: u64, bound: u64) -> Rig {
        let ledger = Arc::new(Ledger::default());
        Rig {
            store: Arc::new(FakeStore::new(seed)),
            tier: MemoryTier::new(bound, Arc::clone(&ledger)),
            account: ledger.account("p", "archive"),
            ledger,
            acks: Arc::default(),
            metrics: Arc::default(),
            totals: Arc::default(),
            give_up: watch::channel(false).0,
            retire: watch::channel(false).0,
            made: Mutex::default(),
            next: AtomicU64::new(0),
            folder: None,
        }
    }

    /// With a buffer on disk; what is pushed is stored there at the next [`MemoryTier::store_old`].
    pub fn with_disk(bound: u64) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let settings = DiskSettings {
            sink: "archive".into(),
            folder: folder.path().join("archive"),
            bound: 1 << 28,
            unnamed: Unnamed::Remove,
            next_file: 0,
        };
        let rig = Rig { folder: Some(folder), ..Rig::new(0, bound) };
        let acks = Arc::clone(&rig.acks) as Arc<dyn Acknowledge>;
        let disk =
            Disk::open(&settings, BTreeMap::new(), &rig.ledger, acks, Arc::new(OperatingSystem)).unwrap();
        rig.tier.put_disk(disk);
        rig
    }

    pub fn start(&self, settings: Settings) -> JoinHandle<()> {
        let driving = Driving {
            name: "archive".into(),
            buffer: Arc::clone(&self.tier),
            metrics: Arc::clone(&self.totals),
            give_up: self.give_up.subscribe(),
            retire: self.retire.subscribe(),
        };
        let store = Arc::clone(&self.store) as Arc<dyn weir_buffer::object::ObjectStore>;
        let archive = Archive::new(settings, store, Arc::clone(&self.metrics)).unwrap();
        tokio::spawn(Box::new(archive).drive(driving))
    }

    /// Puts a batch into the buffer.
    pub fn push(&self, events: &[Made]) {
        let documents = documents(events);
        let amount = documents.amount();
        let sequence = self.next.fetch_add(1, Ordering::SeqCst);
        self.made.lock().unwrap().insert(sequence, events.to_vec());
        let ack = Ack::new(sequence, Arc::clone(&self.acks) as Arc<dyn Acknowledge>);
        let _moving = self.ledger.moving();
        ack.book(&self.account, Entry::Read, amount);
        let segment = Segment { documents: Arc::new(documents), targets: Targets::default(), amount, ack };
        match self.folder {
            None => self.tier.push(segment, &self.account, 0),
            Some(_) => self.tier.push_urgent(segment, &self.account, 0),
        }
    }

    pub fn batches(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    pub fn safe(&self) -> u64 {
        self.acks.safe.lock().unwrap().len() as u64
    }

    pub fn reader(&self) -> Reader {
        reader(&self.store)
    }

    /// Everything that was pushed, in order.
    pub fn all(&self) -> BTreeSet<Made> {
        self.made.lock().unwrap().values().flatten().cloned().collect()
    }

    pub fn read(&self, selection: &Selection) -> (Vec<Made>, Outcome) {
        read(&self.reader(), selection)
    }

    /// Closes the buffer and waits for the driver.
    pub async fn finish(&self, driver: JoinHandle<()>) {
        self.tier.close();
        driver.await.unwrap();
        assert_eq!(self.safe(), self.batches());
        assert!(self.acks.lost.lock().unwrap().is_empty());
        assert_eq!(self.tier.used(), 0);
        let statement = self.ledger.statements().remove(0);
        assert_eq!(statement.counts.delivered.events, self.all_count());
    }

    fn all_count(&self) -> u64 {
        self.made.lock().unwrap().values().map(|events| events.len() as u64).sum()
    }
}

pub fn everything() -> Selection {
    Selection::of_time(i64::MIN, i64::MAX)
}

/// What a search gives, and what it came to.
pub fn read(reader: &Reader, selection: &Selection) -> (Vec<Made>, Outcome) {
    let mut found = Vec::new();
    let outcome = reader.search(selection, u64::MAX, |namespace, event| {
        found.push(of(namespace, &event));
        std::ops::ControlFlow::Continue(())
    });
    (found, outcome.unwrap())
}

pub fn of(namespace: &str, event: &Event) -> Made {
    let document = String::from_utf8(event.document.clone()).unwrap();
    Made { namespace: namespace.into(), time: event.time, id: event.id, document }
}
