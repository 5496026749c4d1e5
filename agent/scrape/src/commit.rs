//! Makes rows of a scrape: its samples, the stale markers of series that are gone, and what the agent says of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prost::Message as _;
use twox_hash::XxHash3_64;
use weir_event::stream::Stream;
use weir_pipeline::source::Stopped;
use weir_samples::document::{Document, Point, stale_nan};
use weir_samples::labels::LabelSet;
use weir_samples::proto::write_v2;

use crate::cache::{Cache, Role};
use crate::ingest::{Extra, Record, Staged};
use crate::metrics::ScrapeMetrics;
use crate::outgoing::Outgoing;

/// Commits scrapes. Keeps its memory.
pub(crate) struct Committer {
    pub(crate) outgoing: Outgoing,
    metrics: Arc<ScrapeMetrics>,
    labels: Vec<u8>,
    message: Vec<u8>,
}

/// What to do with a sample, by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Send,
    /// It was sent before, and nothing has changed.
    Known,
    Duplicate,
    OutOfOrder,
}

/// What a scrape is committed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Milliseconds since the Unix epoch.
    pub(crate) time: i64,
    /// Whether series with timestamps of their own become stale too.
    pub(crate) track_timestamps: bool,
}

// === impl Committer ===

impl Committer {
    /// Commits to this.
    pub(crate) fn new(outgoing: Outgoing, metrics: Arc<ScrapeMetrics>) -> Committer {
        Committer { outgoing, metrics, labels: Vec::new(), message: Vec::new() }
    }

    /// Commits a scrape that succeeded.
    pub(crate) fn succeed(
        &mut self,
        cache: &mut Cache,
        staged: &Staged,
        moment: Moment,
    ) -> Result<(), Stopped> {
        self.outgoing.begin(staged.records.len());
        let (iteration, before) = (cache.iteration, cache.iteration - 1);
        let (mut tracked, mut still) = (0, 0);
        for record in &staged.records {
            let index = cache.series_of(record.entry);
            let extra = match record.extra.checked_sub(1) {
                Some(extra) => staged.extras.get(extra as usize),
                None => None,
            };
            let verdict = match extra {
                None if cache.explicit.is_empty() => match cache.entries.get(index as usize) {
                    Some(entry) if entry.tracked != iteration => Verdict::Send,
                    _ => Verdict::Duplicate,
                },
                extra => judge(cache, index, record, extra.copied().unwrap_or_default(), moment),
            };
            let Some(entry) = cache.entries.get_mut(index as usize) else { continue };
            let is_explicit = extra.is_some_and(|extra| extra.timestamp.is_some());
            match verdict {
                Verdict::Duplicate => self.metrics.duplicates.fetch_add(1, Ordering::Relaxed),
                Verdict::OutOfOrder => self.metrics.out_of_order.fetch_add(1, Ordering::Relaxed),
                Verdict::Send | Verdict::Known => 0,
            };
            if matches!(verdict, Verdict::Duplicate | Verdict::OutOfOrder) {
                continue;
            }
            if (!is_explicit || moment.track_timestamps) && entry.tracked != iteration {
                tracked += 1;
                still += u32::from(entry.tracked == before);
                entry.tracked = iteration;
            }
            if verdict == Verdict::Send {
                entry.is_histogram = extra.is_some_and(|extra| extra.histogram.is_some());
                self.write(cache, index, record, extra.map(|extra| (extra, staged)), moment)?;
            }
        }
        if still < cache.tracked {
            self.mark_stale(cache, moment.time)?;
        }
        cache.tracked = tracked;
        cache.last_time = moment.time;
        cache.sweep();
        Ok(())
    }

    /// Marks all series of a target stale: its scrape failed, or it is gone.
    pub(crate) fn fail(&mut self, cache: &mut Cache, time: i64) -> Result<(), Stopped> {
        self.outgoing.begin(cache.tracked as usize);
        if cache.tracked > 0 {
            self.mark_stale(cache, time)?;
        }
        cache.tracked = 0;
        cache.last_time = time;
        Ok(())
    }

    /// Writes markers for series that the scrape before left to be watched, and this one did not.
    fn mark_stale(&mut self, cache: &mut Cache, time: i64) -> Result<(), Stopped> {
        let before = cache.iteration - 1;
        for (index, entry) in (0_u32..).zip(&cache.entries) {
            if entry.tracked != before || entry.role != Role::Series {
                continue;
            }
            if !cache.explicit.is_empty() && cache.explicit.get(&index).is_some_and(|(last, _)| *last >= time)
            {
                continue;
            }
            let Some(stream) = cache.families.stream(entry.family) else { continue };
            self.labels.clear();
            cache.labels.write(entry.kept(), &mut self.labels);
            let labels = LabelSet::new(&self.labels);
            if !entry.is_histogram {
                self.outgoing.push_float(stream, (labels, entry.series), (time, stale_nan()))?;
                continue;
            }
            let histogram = write_v2::Histogram { sum: stale_nan(), timestamp: time, ..Default::default() };
            self.message.clear();
            // Writing to memory does not fail.
            let _ = histogram.encode(&mut self.message);
            let point = Point::Histogram { timestamp: time, message: &self.message };
            self.outgoing.push(stream, entry.series, &Document { labels, point, exemplars: &[] })?;
            self.metrics.stale_markers.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    #[inline]
    fn write(
        &mut self,
        cache: &mut Cache,
        index: u32,
        record: &Record,
        more: Option<(&Extra, &Staged)>,
        moment: Moment,
    ) -> Result<(), Stopped> {
        let Some(entry) = cache.entries.get(index as usize) else { return Ok(()) };
        let Some(stream) = cache.families.stream(entry.family) else { return Ok(()) };
        self.labels.clear();
        cache.labels.write(entry.kept(), &mut self.labels);
        let labels = LabelSet::new(&self.labels);
        let Some((extra, staged)) = more else {
            return self.outgoing.push_float(stream, (labels, entry.series), (moment.time, record.value));
        };
        let slice =
            |(start, end): (u32, u32)| staged.bytes.get(start as usize..end as usize).unwrap_or_default();
        let timestamp = extra.timestamp.unwrap_or(moment.time);
        let point = match extra.histogram {
            Some(histogram) => Point::Histogram { timestamp, message: slice(histogram) },
            None => Point::Float { timestamp, value: record.value, start_timestamp: extra.start_timestamp },
        };
        let mut exemplars = slice(extra.exemplars);
        if !exemplars.is_empty() {
            // Targets expose an exemplar until they have another one; it is sent once.
            let (last, hash) = (extra.last_exemplar, XxHash3_64::oneshot(exemplars));
            let known = cache.exemplars.entry(index).or_insert((i64::MIN, 0));
            if last > known.0 || (last == known.0 && hash != known.1) {
                *known = (last, hash);
            } else {
                exemplars = &[];
            }
        }
        self.outgoing.push(stream, entry.series, &Document { labels, point, exemplars })
    }

    /// Adds a sample of the agent's own.
    pub(crate) fn write_own(
        &mut self,
        stream: &Arc<Stream>,
        (labels, series): (LabelSet<'_>, u64),
        (time, value): (i64, f64),
    ) -> Result<(), Stopped> {
        self.outgoing.push_float(stream, (labels, series), (time, value))
    }
}

/// Whether a sample's time is behind that of the last one of its series (Prometheus, tsdb: `appendable`).
fn judge(cache: &mut Cache, index: u32, record: &Record, extra: Extra, moment: Moment) -> Verdict {
    let Some(entry) = cache.entries.get(index as usize) else { return Verdict::Duplicate };
    let timestamp = extra.timestamp.unwrap_or(moment.time);
    let bits = match extra.histogram {
        Some((start, end)) => u64::from(end - start) ^ record.value.to_bits(),
        None => record.value.to_bits(),
    };
    if extra.timestamp.is_none() && !cache.explicit.contains_key(&index) {
        return if entry.tracked == cache.iteration { Verdict::Duplicate } else { Verdict::Send };
    }
    let last = match cache.explicit.get(&index) {
        Some((last, value)) if *last == timestamp && *value == bits => return Verdict::Known,
        Some((last, _)) => *last,
        None if entry.tracked == cache.iteration => moment.time,
        None if entry.tracked == cache.iteration - 1 => cache.last_time,
        None => i64::MIN,
    };
    if timestamp < last {
        return Verdict::OutOfOrder;
    }
    if timestamp == last {
        return Verdict::Duplicate;
    }
    cache.explicit.insert(index, (timestamp, bits));
    Verdict::Send
}
