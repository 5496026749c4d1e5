//! A driver with a buffer, a ledger and acks around it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use prost::Message as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_buffer::ack::{Ack, Acknowledge, Posting};
use weir_buffer::ledger::{Account, Amount, Entry, Ledger, Statement};
use weir_buffer::memory::MemoryTier;
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_event::identity::EventId;
use weir_event::stream::{Attributes, Family, Stream};
use weir_pipeline::sink::{Driving, SinkMetrics};
use weir_samples::document::{Document, Point, write_exemplar};
use weir_samples::labels::{LabelSet, LabelsBuilder};
use weir_samples::proto::write_v2;

use super::fake::Fake;
use crate::driver::Driver;
use crate::metrics::Metrics;
use crate::settings::Settings;

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

/// A document to be made.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The value of its label `series`.
    pub series: String,
    /// Milliseconds since the Unix epoch.
    pub time: i64,
    pub start: i64,
    /// Milliseconds since the Unix epoch, 0 for none.
    pub exemplars: Vec<i64>,
    pub is_histogram: bool,
}

pub fn labels(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = LabelsBuilder::new();
    pairs.iter().for_each(|(name, value)| builder.push(name, value));
    let mut out = Vec::new();
    builder.finish(&mut out).unwrap();
    out
}

/// The text that the fake gives for a series.
pub fn text(series: &str) -> String {
    format!("__name__=m,instance=10.0.0.7:9100,job=node,series={series}")
}

impl Made {
    pub fn float(series: &str, time: i64) -> Made {
        Made { series: series.into(), time, ..Made::default() }
    }

    /// Its series' hash and its bytes.
    pub fn bytes(&self) -> (u64, Vec<u8>) {
        let set = labels(&[
            ("__name__", "m"),
            ("series", &self.series),
            ("job", "node"),
            ("instance", "10.0.0.7:9100"),
        ]);
        let trace = labels(&[("trace_id", "abc")]);
        let mut exemplars = Vec::new();
        for time in &self.exemplars {
            write_exemplar(&mut exemplars, LabelSet::new(&trace), 0.5, *time);
        }
        let histogram = write_v2::Histogram {
            count: Some(write_v2::Count::Int(3)),
            sum: 1.5,
            positive_spans: vec![write_v2::BucketSpan { offset: 0, length: 1 }],
            positive_deltas: vec![3],
            timestamp: self.time,
            start_timestamp: self.start,
            ..Default::default()
        };
        let message = histogram.encode_to_vec();
        let point = match self.is_histogram {
            true => Point::Histogram { timestamp: self.time, message: &message },
            false => Point::Float { timestamp: self.time, value: 1.5, start_timestamp: self.start },
        };
        let mut bytes = Vec::new();
        Document { labels: LabelSet::new(&set), point, exemplars: &exemplars }.write(&mut bytes);
        (LabelSet::new(&set).hash(), bytes)
    }
}

pub struct Rig {
    pub tier: Arc<MemoryTier>,
    pub ledger: Arc<Ledger>,
    pub account: Arc<Account>,
    pub acks: Arc<Acks>,
    pub metrics: Arc<Metrics>,
    pub totals: Arc<SinkMetrics>,
    pub stream: Arc<Stream>,
    give_up: watch::Sender<bool>,
    retire: watch::Sender<bool>,
    batches: AtomicU32,
}

impl Rig {
    pub fn new(bound: u64) -> Rig {
        let ledger = Arc::new(Ledger::default());
        let family = Family {
            name: "m".into(),
            kind: "counter".into(),
            unit: "seconds".into(),
            help: "What it is.".into(),
        };
        let attributes = Attributes { family: Some(Box::new(family)), ..Attributes::default() };
        Rig {
            tier: MemoryTier::new(bound, Arc::clone(&ledger)),
            account: ledger.account("p", "thanos"),
            ledger,
            acks: Arc::default(),
            metrics: Arc::default(),
            totals: Arc::default(),
            stream: Stream::new(attributes, 0),
            give_up: watch::channel(false).0,
            retire: watch::channel(false).0,
            batches: AtomicU32::new(0),
        }
    }

    pub fn settings(&self) -> Settings {
        Settings { url: "http://127.0.0.1:1/api/v1/receive".into(), max_samples: 100, ..Settings::default() }
    }

    /// What a driver works with here.
    pub fn driving(&self) -> Driving {
        Driving {
            name: "thanos".into(),
            buffer: Arc::clone(&self.tier),
            metrics: Arc::clone(&self.totals),
            give_up: self.give_up.subscribe(),
            retire: self.retire.subscribe(),
        }
    }

    /// Starts the driver.
    pub fn start(&self, settings: Settings, fake: &Arc<Fake>) -> JoinHandle<()> {
        let exchange = Arc::new(Arc::clone(fake));
        tokio::spawn(
            Driver::new(Arc::new(settings), exchange, Arc::clone(&self.metrics), self.driving()).run(),
        )
    }

    /// Puts a batch of samples into the buffer.
    pub fn push(&self, samples: &[Made]) {
        let samples: Vec<(u64, Vec<u8>, i64)> = samples
            .iter()
            .map(|made| {
                let (hash, bytes) = made.bytes();
                (hash, bytes, made.time)
            })
            .collect();
        self.push_bytes(&samples);
    }

    /// The same of documents: their series, bytes and times.
    pub fn push_bytes(&self, samples: &[(u64, Vec<u8>, i64)]) {
        let mut made = Documents { streams: vec![Arc::clone(&self.stream)], ..Documents::default() };
        for (series, bytes, time) in samples {
            let time = time * 1_000_000;
            made.ndjson.extend_from_slice(bytes);
            let end = made.ndjson.len() as u32;
            let size = bytes.len() as u32;
            made.records.push(Record {
                id: EventId::of_sample(*series, time),
                time,
                stream: 0,
                bytes: size,
                end,
            });
            made.ndjson.push(b'\n');
        }
        let amount = made.amount();
        let ack = Ack::new(
            u64::from(self.batches.fetch_add(1, Ordering::SeqCst)),
            Arc::clone(&self.acks) as Arc<dyn Acknowledge>,
        );
        let _moving = self.ledger.moving();
        ack.book(&self.account, Entry::Read, amount);
        let segment = Segment { documents: Arc::new(made), targets: Targets::default(), amount, ack };
        self.tier.push(segment, &self.account, 0);
    }

    /// One sample of each of so many series.
    pub fn push_scrape(&self, series: usize, time: i64) {
        let samples: Vec<Made> = (0..series).map(|n| Made::float(&format!("s{n}"), time)).collect();
        self.push(&samples);
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

    pub fn delivered(&self) -> u64 {
        self.statement().counts.delivered.events
    }

    /// Dropped samples by reason.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        self.statement().counts.dropped.into_iter().map(|(reason, amount)| (reason, amount.events)).collect()
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
        assert_eq!(self.acks.safe.load(Ordering::SeqCst), self.batches.load(Ordering::SeqCst));
        assert_eq!(*self.acks.durable.lock().unwrap(), statement.counts.settled());
        assert_eq!(self.totals.abandoned.load(Ordering::SeqCst), 0);
        assert_eq!(self.totals.events.load(Ordering::SeqCst), statement.counts.delivered.events);
        assert_eq!(self.metrics.pending.load(Ordering::SeqCst), 0);
        let dropped: u64 = crate::Reason::ALL.iter().map(|reason| self.metrics.dropped(*reason)).sum();
        assert_eq!(dropped, self.dropped().values().sum::<u64>());
    }
}
