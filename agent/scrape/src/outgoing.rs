//! Rows on their way into batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_event::batch::{ArenaPool, BatchBuilder};
use weir_event::stream::Stream;
use weir_pipeline::source::{Outlet, SourceMetrics, Stopped};
use weir_samples::document::{Document, is_stale};
use weir_samples::labels::LabelSet;
use weir_samples::row::RowWriter;

use crate::metrics::ScrapeMetrics;

/// A scrape of more rows than these goes in pieces, with a look at what has become of those before. One of fewer goes in
/// batches as large as any: each wakes all threads behind it, and that costs more than a small scrape gains from pieces.
const SMALL_ROWS: usize = 8192;
/// A piece has so many bytes: it, and what is made of it, are to fit into a core's cache.
const PIECE_BYTES: usize = 192 * 1024;
/// Pieces on their way to the sinks beyond which the next one waits a moment, so that the rows of a large scrape need not
/// lie in memory all at once. Enough for a whole request of the sink.
const AHEAD: usize = 8;
/// With so many on their way nobody takes them now, and the buffers' bounds hold: there is nothing to wait for.
const AWAY: usize = 128;
/// So long a piece waits for those before it.
const PATIENCE: Duration = Duration::from_millis(5);
/// How often is looked.
const STEP: Duration = Duration::from_millis(1);

/// Fills batches and sends them when they are full.
pub(crate) struct Outgoing {
    outlet: Box<dyn Outlet>,
    arenas: Arc<ArenaPool>,
    metrics: Arc<ScrapeMetrics>,
    source: Arc<SourceMetrics>,
    writer: RowWriter,
    batch: Option<Filling>,
    /// Whether what comes goes in pieces.
    is_large: bool,
}

struct Filling {
    builder: BatchBuilder,
    /// The stream of the last row, and its number.
    stream: Arc<Stream>,
    number: u32,
    stale: u64,
}

// === impl Outgoing ===

impl Outgoing {
    /// Sends to this outlet.
    pub(crate) fn new(
        outlet: Box<dyn Outlet>,
        arenas: Arc<ArenaPool>,
        metrics: Arc<ScrapeMetrics>,
        source: Arc<SourceMetrics>,
    ) -> Outgoing {
        Outgoing {
            outlet,
            arenas,
            metrics,
            source,
            writer: RowWriter::default(),
            batch: None,
            is_large: false,
        }
    }

    /// A scrape of so many rows comes.
    pub(crate) fn begin(&mut self, rows: usize) {
        self.is_large = rows > SMALL_ROWS;
    }

    /// Adds a sample without more.
    #[inline]
    pub(crate) fn push_float(
        &mut self,
        stream: &Arc<Stream>,
        (labels, series): (LabelSet<'_>, u64),
        (timestamp, value): (i64, f64),
    ) -> Result<(), Stopped> {
        let filling = filling(&mut self.batch, &self.arenas, stream);
        filling.stale += u64::from(is_stale(value));
        self.writer.push_float(&mut filling.builder, filling.number, (labels, series), (timestamp, value));
        if is_full(filling, self.is_large) { self.send() } else { Ok(()) }
    }

    /// Adds a sample with everything that belongs to it.
    pub(crate) fn push(
        &mut self,
        stream: &Arc<Stream>,
        series: u64,
        document: &Document<'_>,
    ) -> Result<(), Stopped> {
        let filling = filling(&mut self.batch, &self.arenas, stream);
        self.writer.push(&mut filling.builder, filling.number, series, document);
        if is_full(filling, self.is_large) { self.send() } else { Ok(()) }
    }

    /// Sends what there is.
    pub(crate) fn send(&mut self) -> Result<(), Stopped> {
        let Some(filling) = self.batch.take() else { return Ok(()) };
        if self.is_large {
            self.keep_pace();
        }
        let rows = filling.builder.rows() as u64;
        self.outlet.send(filling.builder.finish(&self.arenas), Vec::new())?;
        self.source.events.fetch_add(rows, Ordering::Relaxed);
        self.metrics.samples.fetch_add(rows, Ordering::Relaxed);
        self.metrics.stale_markers.fetch_add(filling.stale, Ordering::Relaxed);
        Ok(())
    }

    /// Lets the sinks have what they were given before they get more, if they take it soon.
    fn keep_pace(&self) {
        let until = Instant::now() + PATIENCE;
        while (AHEAD..AWAY).contains(&self.outlet.outstanding()) && Instant::now() < until {
            std::thread::sleep(STEP);
        }
    }
}

#[inline]
fn is_full(filling: &Filling, is_large: bool) -> bool {
    filling.builder.is_full() || (is_large && filling.builder.arena.len() >= PIECE_BYTES)
}

/// The batch that is being filled, ready for a row of this stream.
#[inline]
fn filling<'a>(batch: &'a mut Option<Filling>, arenas: &ArenaPool, stream: &Arc<Stream>) -> &'a mut Filling {
    let filling = batch.get_or_insert_with(|| {
        let mut builder = BatchBuilder::new(arenas.take());
        let number = builder.add_stream(stream);
        Filling { builder, stream: Arc::clone(stream), number, stale: 0 }
    });
    if !Arc::ptr_eq(&filling.stream, stream) {
        filling.number = filling.builder.add_stream(stream);
        filling.stream = Arc::clone(stream);
    }
    filling
}
