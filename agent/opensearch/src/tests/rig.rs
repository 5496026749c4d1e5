//! A driver with a buffer, a ledger and acks around it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_buffer::ack::{Ack, Acknowledge, Posting};
use weir_buffer::ledger::{Account, Amount, Entry, Ledger, Statement};
use weir_buffer::memory::MemoryTier;
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_event::identity::EventId;
use weir_event::name_template::NameTemplate;
use weir_pipeline::sink::{Driving, SinkMetrics};

use super::fake::Fake;
use crate::driver::Driver;
use crate::limits::FieldLimits;
use crate::metrics::Metrics;
use crate::settings::{Auth, Compression, DeadLetters, Settings, Tls};

/// Counts the batches that became safe, and those that did not.
#[derive(Default)]
pub struct Acks {
    pub safe: AtomicU32,
    pub unsafe_: AtomicU32,
    durable: Mutex<Amount>,
}

impl Acknowledge for Acks {
    fn acknowledge(&self, _: u64, safe: bool, entries: Vec<Posting>) {
        let count = if safe { &self.safe } else { &self.unsafe_ };
        count.fetch_add(1, Ordering::SeqCst);
        for posting in entries.into_iter().filter(|_| safe) {
            if let Posting::Booked { entry, amount, .. } = posting
                && entry != Entry::Read
            {
                *self.durable.lock().unwrap() += amount;
            }
        }
    }

    fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
}

pub struct Rig {
    pub tier: Arc<MemoryTier>,
    pub ledger: Arc<Ledger>,
    pub account: Arc<Account>,
    pub acks: Arc<Acks>,
    pub metrics: Arc<Metrics>,
    pub totals: Arc<SinkMetrics>,
    pub folder: tempfile::TempDir,
    give_up: watch::Sender<bool>,
    retire: watch::Sender<bool>,
    made: AtomicU32,
    batches: AtomicU32,
}

impl Rig {
    pub fn new(bound: u64) -> Rig {
        let ledger = Arc::new(Ledger::default());
        Rig {
            tier: MemoryTier::new(bound, Arc::clone(&ledger)),
            account: ledger.account("p", "search"),
            ledger,
            acks: Arc::default(),
            metrics: Arc::default(),
            totals: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
            give_up: watch::channel(false).0,
            retire: watch::channel(false).0,
            made: AtomicU32::new(0),
            batches: AtomicU32::new(0),
        }
    }

    pub fn letter_path(&self) -> PathBuf {
        self.folder.path().join("dead-letters/search.ndjson")
    }

    pub fn settings(&self) -> Settings {
        Settings {
            endpoints: vec!["http://127.0.0.1:1".into()],
            index: NameTemplate::parse("logs").unwrap(),
            max_indices_per_hour: 100,
            max_wait: Duration::from_secs(1),
            max_bytes: 1 << 20,
            max_events: 1000,
            concurrency: 4,
            compression: Compression::None,
            timeout: Duration::from_secs(30),
            tls: Tls::default(),
            auth: Auth::None,
            limits: FieldLimits::default(),
            dead_letters: DeadLetters::File(self.letter_path()),
        }
    }

    /// Starts the driver.
    pub fn start(&self, settings: Settings, fake: &Arc<Fake>) -> JoinHandle<()> {
        let driving = Driving {
            name: "search".into(),
            buffer: Arc::clone(&self.tier),
            metrics: Arc::clone(&self.totals),
            give_up: self.give_up.subscribe(),
            retire: self.retire.subscribe(),
        };
        let fake = Arc::clone(fake) as Arc<dyn crate::exchange::Exchange>;
        let driver = Driver::new(Arc::new(settings), fake, Arc::clone(&self.metrics), driving);
        tokio::spawn(driver.run())
    }

    /// Puts a batch of documents into the buffer, each with its index, and returns their ids.
    pub fn push(&self, documents: &[(&str, &str)]) -> Vec<String> {
        let mut made = Documents::default();
        let mut targets = Targets::default();
        let mut ids = Vec::new();
        for (index, document) in documents {
            let number = self.made.fetch_add(1, Ordering::SeqCst);
            let mut id = [7; 20];
            id[..4].copy_from_slice(&number.to_be_bytes());
            ids.push(EventId(id).text());
            made.ndjson.extend_from_slice(document.as_bytes());
            let end = made.ndjson.len() as u32;
            made.records.push(Record { id: EventId(id), time: 0, stream: 0, bytes: 10 + number % 7, end });
            made.ndjson.push(b'\n');
            let at = targets.names.iter().position(|name| &**name == *index).unwrap_or_else(|| {
                targets.names.push((*index).into());
                targets.names.len() - 1
            });
            targets.of.push(at as u16);
        }
        let amount = made.amount();
        let ack = Ack::new(
            u64::from(self.batches.fetch_add(1, Ordering::SeqCst)),
            Arc::clone(&self.acks) as Arc<dyn Acknowledge>,
        );
        let _moving = self.ledger.moving();
        ack.book(&self.account, Entry::Read, amount);
        self.tier.push(Segment { documents: Arc::new(made), targets, amount, ack }, &self.account, 0);
        ids
    }

    /// So many documents `{"n":…}` for an index.
    pub fn push_many(&self, index: &str, count: usize) -> Vec<String> {
        let texts: Vec<String> = (0..count).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
        let documents: Vec<(&str, &str)> = texts.iter().map(|text| (index, text.as_str())).collect();
        self.push(&documents)
    }

    pub fn give_up(&self) {
        self.give_up.send_replace(true);
    }

    /// Another driver is to go on.
    pub fn retire(&self, retire: bool) {
        self.retire.send_replace(retire);
    }

    pub fn statement(&self) -> Statement {
        self.ledger.statements().remove(0)
    }

    pub fn batches(&self) -> u32 {
        self.batches.load(Ordering::SeqCst)
    }

    pub fn delivered(&self) -> u64 {
        self.statement().counts.delivered.events
    }

    pub fn dead(&self, reason: &str) -> u64 {
        self.statement().counts.dead_lettered.get(reason).map_or(0, |amount| amount.events)
    }

    /// The dead letters in the file.
    pub fn letters(&self) -> Vec<Value> {
        let Ok(text) = std::fs::read_to_string(self.letter_path()) else { return Vec::new() };
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Closes the buffer, waits for the driver and checks that everything has its end and is counted.
    pub async fn finish(&self, driver: JoinHandle<()>) {
        self.tier.close();
        driver.await.unwrap();
        let statement = self.statement();
        assert!(statement.balanced, "{statement:?}");
        assert_eq!(statement.buffered["memory"], Amount::default());
        assert_eq!(self.tier.used(), 0, "all memory is given back");
        assert_eq!(self.acks.unsafe_.load(Ordering::SeqCst), 0);
        assert_eq!(self.acks.safe.load(Ordering::SeqCst), self.batches());
        assert_eq!(*self.acks.durable.lock().unwrap(), statement.counts.settled());
        assert_eq!(self.totals.abandoned.load(Ordering::SeqCst), 0);
    }
}
