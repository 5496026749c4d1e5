//! The batch being filled, and the way out.
//!
//! 1. A batch says how far it brings the journal: the cursor of its last entry.
//! 2. Nobody waits for room behind a pipeline without looking whether the source is to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_event::batch::{Arena, ArenaPool, BatchBuilder, Flags, MAX_BATCH_BYTES, Row};
use weir_event::stream::{Attributes, Stream};
use weir_pipeline::checkpoint::{FileKey, FilePosition, Progress};
use weir_pipeline::source::{Outlet, SourceMetrics, Stop, Stopped};

/// The journal is one file to the checkpoints.
pub(crate) const JOURNAL: &str = "journal";
/// While the pipelines are behind, they are asked again after this long, then twice as long and so on.
const FIRST_WAIT: Duration = Duration::from_micros(500);
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// More streams are not remembered: there is one for each boot.
const MAX_STREAMS: usize = 1_024;

/// What there is to know of an entry beside its document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Its cursor.
    pub cursor: &'a str,
    /// The first part of its id.
    pub incarnation: u64,
    /// The second.
    pub offset: u64,
    /// When it happened, in nanoseconds since the Unix epoch.
    pub time: i64,
    /// What was cut, replaced or ignored.
    pub flags: Flags,
}

/// The batch being filled, and the way out.
pub(crate) struct Outgoing {
    batch: BatchBuilder,
    /// When it got its first row.
    since: Option<Instant>,
    /// How far the batch brings the journal.
    position: FilePosition,
    /// Whether the journal knows the cursor in it, as far as is known.
    is_cursor_good: bool,
    attributes: Attributes,
    /// By incarnation; with the stream's index in the batch, where it has one.
    streams: HashMap<u64, (Arc<Stream>, Option<u32>)>,
    outlet: Box<dyn Outlet>,
    arenas: Arc<ArenaPool>,
    stop: Stop,
    metrics: Arc<SourceMetrics>,
}

// === impl Outgoing ===

impl Outgoing {
    pub(crate) fn new(
        outlet: Box<dyn Outlet>,
        arenas: Arc<ArenaPool>,
        attributes: Attributes,
        stop: Stop,
        metrics: Arc<SourceMetrics>,
    ) -> Outgoing {
        Outgoing {
            batch: BatchBuilder::new(arenas.take()),
            since: None,
            position: FilePosition::default(),
            is_cursor_good: false,
            attributes,
            streams: HashMap::new(),
            outlet,
            arenas,
            stop,
            metrics,
        }
    }

    /// Goes on from a checkpoint.
    pub(crate) fn resume(&mut self, position: FilePosition) {
        self.is_cursor_good = !position.path.is_empty();
        self.position = position;
    }

    /// The cursor of the last entry, where there was one and the journal may know it.
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.is_cursor_good.then_some(self.position.path.as_str())
    }

    /// Notes that the journal does not know the last entry's cursor. It stays the checkpoint until there is another.
    pub(crate) fn forget_cursor(&mut self) {
        self.is_cursor_good = false;
    }

    /// Adds an entry; sends what is there first where both do not fit into one batch.
    pub(crate) fn push(&mut self, document: &[u8], place: Place<'_>) -> Result<(), Stopped> {
        let Place { cursor, incarnation, offset, time, flags } = place;
        if self.batch.rows() > 0 && self.batch.arena.len().saturating_add(document.len()) > MAX_BATCH_BYTES {
            self.send()?;
        }
        let stream = self.stream_index(incarnation);
        let content = self.batch.arena.append(document);
        // The document is the entry as far as it is of use, the same each time, so that ids and the ledger count it.
        self.batch.push(Row { content, raw: content, offset, time, stream, flags });
        self.since.get_or_insert_with(Instant::now);
        self.position.path.clear();
        self.position.path.push_str(cursor);
        self.is_cursor_good = true;
        self.position.incarnation = incarnation;
        self.position.position = offset;
        self.position.resume_from = offset;
        self.position.last_time = time;
        self.metrics.events.fetch_add(1, Ordering::Relaxed);
        if flags.has(Flags::TRUNCATED) {
            self.metrics.truncated.fetch_add(1, Ordering::Relaxed);
        }
        if self.batch.is_full() {
            self.send()?;
        }
        Ok(())
    }

    /// How long what waits longest may still wait, `None` where nothing waits.
    pub(crate) fn due_in(&self, linger: Duration) -> Option<Duration> {
        self.since.map(|since| linger.saturating_sub(since.elapsed()))
    }

    /// Sends what there is, once the pipelines have room.
    pub(crate) fn send(&mut self) -> Result<(), Stopped> {
        if self.batch.rows() == 0 {
            return Ok(());
        }
        let mut wait = FIRST_WAIT;
        while !self.outlet.is_ready() {
            if self.stop.is_stopped() {
                return Err(Stopped);
            }
            std::thread::park_timeout(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        let batch = std::mem::replace(&mut self.batch, BatchBuilder::new(Arena::default()));
        self.since = None;
        let progress = Progress { file: FileKey::from(JOURNAL), position: self.position.clone() };
        let sent = self.outlet.send(batch.finish(&self.arenas), vec![progress]);
        self.batch = BatchBuilder::new(self.arenas.take());
        for (_, index) in self.streams.values_mut() {
            *index = None;
        }
        if self.streams.len() > MAX_STREAMS {
            self.streams.clear();
        }
        sent
    }

    /// Sends what there is, if that goes through at once; what is not sent is read again.
    pub(crate) fn end(&mut self) {
        if self.outlet.is_ready() {
            let _ = self.send();
        }
    }

    fn stream_index(&mut self, incarnation: u64) -> u32 {
        let attributes = &self.attributes;
        let (stream, index) = self
            .streams
            .entry(incarnation)
            .or_insert_with(|| (Stream::new(attributes.clone(), incarnation), None));
        *index.get_or_insert_with(|| self.batch.add_stream(stream))
    }
}
