//! An agent with one source of rows, a sink with a disk buffer, and one beside it that has none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;
use weir_buffer::ack::{Ack, Acknowledge};
use weir_buffer::disk::Unnamed;
use weir_buffer::ledger::{Account, Entry, Ledger, Statement};
use weir_buffer::memory::{Disk, DiskSettings, Lease, MemoryTier};
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_event::identity::EventId;
use weir_event::stream::{Attributes, Stream};
use weir_event::tally::{Counted, Measure, Metric, Metrics, Tally, Total};
use weir_pipeline::checkpoint::{AckQueue, Checkpoints, FilePosition, Progress};

use crate::disk::ModelDisk;

pub const ROWS: u64 = 18;
pub const ROWS_OF_BATCH: u64 = 3;
/// The sink with a disk buffer, and the one beside it that has none.
pub const BUFFERED: &str = "buffered";
pub const PLAIN: &str = "plain";

/// For the checkpoints, in memory where there is such a place: they are saved very often.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// An agent with one source of rows, and two sinks.
pub struct Run {
    pub disk: ModelDisk,
    pub best_effort: bool,
    pub checkpoints: Arc<Checkpoints>,
    pub ledger: Arc<Ledger>,
    pub queue: Arc<AckQueue>,
    pub buffered: Arc<MemoryTier>,
    pub plain: Arc<MemoryTier>,
    pub stream: Arc<Stream>,
    counts: Arc<Metrics>,
    pub next_row: u64,
    /// Rows that came to the buffered sink, in this run.
    pub taken: Vec<u64>,
}

pub fn key() -> String {
    "file".to_owned()
}

impl Run {
    pub fn start(data: &Path, disk: &ModelDisk, best_effort: bool) -> Option<Run> {
        let checkpoints = Arc::new(Checkpoints::open(data).unwrap());
        let ledger = Arc::new(Ledger::default());
        for (pipeline, sink, counts) in checkpoints.counts() {
            ledger.account(&pipeline, &sink).restore(counts);
        }
        let settings = DiskSettings {
            sink: BUFFERED.to_owned(),
            folder: PathBuf::from("/buffer"),
            bound: disk.bound(),
            unnamed: Unnamed::Remove,
            next_file: checkpoints.next_file(BUFFERED),
        };
        let direct = Arc::clone(&checkpoints) as Arc<dyn Acknowledge>;
        let stored = checkpoints.stored(BUFFERED);
        let opened = Disk::open(&settings, stored, &ledger, direct, Arc::new(disk.clone())).ok()?;
        let next_row = checkpoints.positions("rows").get(&key()).map_or(0, |at| at.position);
        Some(Run {
            disk: disk.clone(),
            best_effort,
            queue: AckQueue::new("rows", Arc::clone(&checkpoints)),
            buffered: MemoryTier::with_disk(1 << 20, Arc::clone(&ledger), Some(opened)),
            plain: MemoryTier::new(1 << 20, Arc::clone(&ledger)),
            stream: Stream::new(Attributes { path: "/rows".into(), ..Attributes::default() }, 1),
            counts: Metrics::new("p", 0, vec![Metric::new("rows_total", "", Measure::Events, Vec::new())]),
            checkpoints,
            ledger,
            next_row,
            taken: Vec::new(),
        })
    }

    pub fn account(&self, sink: &str) -> Arc<Account> {
        self.ledger.account("p", sink)
    }

    /// Reads a batch, if there is one.
    pub fn read(&mut self) {
        let rows: Vec<u64> = (self.next_row..ROWS).take(ROWS_OF_BATCH as usize).collect();
        let Some(last) = rows.last() else { return };
        self.next_row = last + 1;
        let position = FilePosition { position: self.next_row, ..FilePosition::default() };
        let sequence = self.queue.sent(vec![Progress { file: key(), position }]);
        let ack = Ack::new(sequence, Arc::clone(&self.queue) as Arc<dyn Acknowledge>);
        ack.count(self.tally(rows.len() as u64));
        let mut documents = Documents { streams: vec![Arc::clone(&self.stream)], ..Documents::default() };
        for row in rows {
            documents.ndjson.extend_from_slice(row.to_string().as_bytes());
            let (end, bytes) = (documents.ndjson.len() as u32, 10 + row as u32);
            documents.records.push(Record { id: EventId([row as u8; 20]), time: 0, stream: 0, bytes, end });
            documents.ndjson.push(b'\n');
        }
        let documents = Arc::new(documents);
        let moving = self.ledger.moving();
        for (sink, buffer) in [(BUFFERED, &self.buffered), (PLAIN, &self.plain)] {
            let account = self.account(sink);
            ack.book(&account, Entry::Read, documents.amount());
            let is_late = self.best_effort && sink == BUFFERED;
            let (targets, amount) = (Targets::default(), documents.amount());
            let ack = if is_late { ack.late() } else { ack.share() };
            buffer.push(Segment { documents: Arc::clone(&documents), targets, amount, ack }, &account, 0);
        }
        drop(moving);
        ack.release();
    }

    fn tally(&self, events: u64) -> Tally {
        let counted = vec![Counted { metric: 0, labels: None, total: Total::Events(events) }];
        Tally { of: Arc::clone(&self.counts), counted, skipped: vec![0] }
    }

    /// How many rows are counted durably.
    pub fn counted(&self) -> u64 {
        let counters = self.checkpoints.durable_counters();
        let totals = counters.totals("p", &self.counts.metrics()[0]);
        totals.and_then(|totals| totals.overflow.as_ref()).map_or(0, Total::events)
    }

    pub fn save(&self) {
        // Written whole or not at all, so one step; what it removes afterwards are steps of their own.
        if self.disk.step().is_ok() {
            self.checkpoints.save().unwrap();
        }
    }

    pub fn take(&self, runtime: &Runtime) -> Lease {
        runtime.block_on(self.buffered.take()).unwrap()
    }

    pub fn deliver(&mut self, lease: Lease) {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u64>().unwrap();
        self.taken.extend(lease.documents().iter().map(|(_, document)| text(document)));
        lease.delivered();
    }

    pub fn deliver_plain(&self, runtime: &Runtime) {
        runtime.block_on(self.plain.take()).unwrap().delivered();
    }

    /// Reads the rest and delivers everything.
    pub fn finish(&mut self, runtime: &Runtime) {
        while self.next_row < ROWS {
            self.read();
        }
        for buffer in [Arc::clone(&self.buffered), Arc::clone(&self.plain)] {
            buffer.close();
            while let Some(lease) = runtime.block_on(buffer.take()) {
                match Arc::ptr_eq(&buffer, &self.buffered) {
                    true => self.deliver(lease),
                    false => lease.delivered(),
                }
            }
        }
    }

    pub fn statement(&self, sink: &str) -> Statement {
        let _ = self.account(sink);
        self.ledger.statements().into_iter().find(|statement| statement.sink == sink).unwrap()
    }
}
