//! Reads a body while it comes in, and stages what it says until the scrape is known to have succeeded.
//!
//! 1. Nothing leaves before the whole body was read without a fault; a fault takes everything back (Prometheus, scrape:
//!    `append`).
//! 2. What is held of a body is the line or message that is not whole yet.
//! 3. A sample is staged as 16 bytes; only what is more than a number at the time of the scrape takes more.

use prost::Message as _;
use weir_samples::document::write_exemplar;
use weir_samples::exposition::{
    DEFAULT_LIMIT_BYTES, Exemplar, Format, HistogramSeries, Item, Next, Parser, Series, Settings,
};
use weir_samples::labels::{LabelSet, LabelsBuilder};

use crate::cache::{Cache, Role};
use crate::metrics::Failure;
use crate::series_rules::SeriesRules;

/// Samples further in the future are not taken (Prometheus, scrape: `maxAheadTime`).
const MAX_AHEAD_MS: i64 = 10 * 60 * 1_000;
/// Characters of an exemplar's labels together (OpenMetrics 1.0, "Exemplars").
const MAX_EXEMPLAR_CHARS: usize = 128;
/// Exemplars and histograms of one scrape, in bytes: what a range can say, and more than any target has.
const MAX_STAGED_BYTES: usize = 1 << 30;

/// Why a scrape failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScrapeError {
    pub(crate) failure: Failure,
    pub(crate) message: String,
}

/// How a body is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSettings {
    pub(crate) honor_timestamps: bool,
    pub(crate) native_histograms: bool,
    pub(crate) always_scrape_classic_histograms: bool,
    /// 0 for any number.
    pub(crate) sample_limit: u64,
}

/// What a scrape brought, until it is committed.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) records: Vec<Record>,
    pub(crate) extras: Vec<Extra>,
    /// Exemplars and histograms, as documents hold them.
    pub(crate) bytes: Vec<u8>,
    pub(crate) counts: Counts,
}

/// One sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Its text's entry.
    pub(crate) entry: u32,
    /// What is more than a number: its place in [`Staged::extras`] from 1, or 0.
    pub(crate) extra: u32,
    pub(crate) value: f64,
}

/// What a sample has beyond a number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra {
    /// In milliseconds since the Unix epoch.
    pub(crate) timestamp: Option<i64>,
    /// In milliseconds since the Unix epoch, or 0.
    pub(crate) start_timestamp: i64,
    /// Where its exemplars lie.
    pub(crate) exemplars: (u32, u32),
    /// The latest of them, in milliseconds since the Unix epoch.
    pub(crate) last_exemplar: i64,
    /// Where its histogram lies.
    pub(crate) histogram: Option<(u32, u32)>,
}

/// What a scrape says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) scraped: u64,
    pub(crate) after_relabelling: u64,
    pub(crate) series_added: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_bounds: u64,
}

/// Reads one body into a cache.
pub(crate) struct Ingest<'a> {
    parser: Parser,
    stage: Stage<'a>,
    /// What was received and not read yet: the beginning of a line or message.
    pending: Vec<u8>,
    is_ended: bool,
}

struct Stage<'a> {
    cache: &'a mut Cache,
    rules: &'a SeriesRules,
    settings: ReadSettings,
    format: Format,
    /// In milliseconds since the Unix epoch.
    time: i64,
    /// Samples that count towards the limit.
    counted: u64,
    staged: Staged,
    labels: LabelsBuilder,
    scratch: Vec<u8>,
}

/// What a text turned out to be.
enum Found {
    Series {
        entry: u32,
        is_new: bool,
        was_seen: bool,
    },
    Dropped,
    /// A new series beyond the limit.
    Beyond,
}

// === impl Ingest ===

impl<'a> Ingest<'a> {
    /// Reads a body that was asked for at `time`, in milliseconds since the Unix epoch.
    pub(crate) fn new(
        cache: &'a mut Cache,
        rules: &'a SeriesRules,
        settings: ReadSettings,
        (format, time): (Format, i64),
    ) -> Ingest<'a> {
        cache.set_format(format);
        let parser = Parser::with_settings(
            format,
            Settings {
                limit: DEFAULT_LIMIT_BYTES,
                native_histograms: settings.native_histograms,
                always_scrape_classic_histograms: settings.always_scrape_classic_histograms,
            },
        );
        // As many samples as the last time, most likely.
        let staged = Staged { records: Vec::with_capacity(cache.live as usize), ..Staged::default() };
        let (labels, scratch) = (LabelsBuilder::new(), Vec::new());
        let stage = Stage { cache, rules, settings, format, time, counted: 0, staged, labels, scratch };
        Ingest { parser, stage, pending: Vec::new(), is_ended: false }
    }

    /// Takes the next piece of the body.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), ScrapeError> {
        if self.pending.is_empty() {
            let read = self.read(piece, false)?;
            self.pending.extend_from_slice(piece.get(read..).unwrap_or_default());
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(piece);
        let read = self.read(&pending, false)?;
        pending.drain(..read);
        self.pending = pending;
        Ok(())
    }

    /// The body has ended.
    pub(crate) fn finish(mut self) -> (Staged, Result<(), ScrapeError>) {
        let pending = std::mem::take(&mut self.pending);
        let read = self.read(&pending, true).map(|_| ());
        let limit = self.stage.settings.sample_limit;
        let read = read.and_then(|()| match limit {
            1.. if self.stage.counted > limit => {
                let message = format!(
                    "{} samples are more than sample_limit, {limit}; raise it or drop series by metric_relabel_configs",
                    self.stage.counted
                );
                Err(ScrapeError { failure: Failure::SampleLimit, message })
            }
            _ => Ok(()),
        });
        self.stage.cache.families.settle();
        (self.stage.staged, read)
    }

    /// The body was empty: there are no samples.
    pub(crate) fn nothing(self) -> Staged {
        self.stage.staged
    }

    /// The scrape has failed; what was counted until then.
    pub(crate) fn abandon(self) -> Counts {
        self.stage.staged.counts
    }

    /// Reads what is whole and says how much that was.
    fn read(&mut self, input: &[u8], at_end: bool) -> Result<usize, ScrapeError> {
        let mut at = 0;
        while !self.is_ended {
            let rest = input.get(at..).unwrap_or_default();
            let next = self
                .parser
                .next(rest, at_end, self.stage.cache)
                .map_err(|error| ScrapeError { failure: Failure::Malformed, message: error.to_string() })?;
            match next {
                Next::Item(item, read) => {
                    at += read;
                    self.stage.take(item)?;
                }
                Next::More => return Ok(at),
                Next::End => self.is_ended = true,
            }
        }
        Ok(input.len())
    }
}

// === impl Stage ===

impl Stage<'_> {
    #[inline]
    fn take(&mut self, item: Item<'_>) -> Result<(), ScrapeError> {
        match item {
            _ if self.staged.bytes.len() > MAX_STAGED_BYTES => {
                let message = "its exemplars and histograms are too many for one scrape".to_owned();
                return Err(ScrapeError { failure: Failure::Malformed, message });
            }
            Item::Series(series) => return self.take_series(&series),
            Item::Histogram(series) => return self.take_histogram(*series),
            Item::Type { family, kind } => self.cache.families.set_kind(&family, kind),
            Item::Help { family, text } => self.cache.families.set_help(&family, &text),
            Item::Unit { family, unit } => self.cache.families.set_unit(&family, &unit),
            Item::Nothing => {}
        }
        Ok(())
    }

    #[inline]
    fn take_series(&mut self, series: &Series<'_>) -> Result<(), ScrapeError> {
        let found = self.find(series.text, series.recognised, |stage| {
            series.read_labels(stage.format, &mut stage.labels)
        })?;
        let timestamp = series.timestamp.filter(|_| self.settings.honor_timestamps);
        let Some(entry) = self.admit(found, timestamp) else { return Ok(()) };
        let mut extra = 0;
        if timestamp.is_some() || series.start_timestamp != 0 || series.exemplar.is_some() {
            let mut more = Extra { timestamp, start_timestamp: series.start_timestamp, ..Extra::default() };
            self.write_exemplars(&mut more, series.exemplar.iter(), timestamp.or(Some(self.time)));
            extra = self.push_extra(more);
        }
        self.staged.records.push(Record { entry, extra, value: series.value });
        Ok(())
    }

    fn take_histogram(&mut self, series: HistogramSeries<'_>) -> Result<(), ScrapeError> {
        let found = self.find(series.text, series.recognised, |stage| {
            weir_samples::exposition::read_labels(series.text, stage.format, series.kind, &mut stage.labels)
        })?;
        let timestamp = series.timestamp.filter(|_| self.settings.honor_timestamps);
        let Some(entry) = self.admit(found, timestamp) else { return Ok(()) };
        let mut more = Extra { timestamp, ..Extra::default() };
        // Without a timestamp of their own the exemplars of native histograms are left out, as in Prometheus.
        self.write_exemplars(&mut more, series.exemplars.iter(), None);
        let mut histogram = series.histogram;
        histogram.timestamp = timestamp.unwrap_or(self.time);
        let start = self.staged.bytes.len() as u32;
        let value = histogram.sum;
        // Writing to memory does not fail.
        let _ = histogram.encode(&mut self.staged.bytes);
        more.histogram = Some((start, self.staged.bytes.len() as u32));
        let extra = self.push_extra(more);
        self.staged.records.push(Record { entry, extra, value });
        Ok(())
    }

    /// What a text is; where it is new, `read` reads its labels.
    #[inline]
    fn find(
        &mut self,
        text: &[u8],
        recognised: bool,
        read: impl FnOnce(&mut Self) -> Result<(), weir_samples::exposition::ExpositionError>,
    ) -> Result<Found, ScrapeError> {
        self.staged.counts.scraped += 1;
        if recognised {
            let entry = self.cache.recognised();
            return Ok(self.known(entry));
        }
        let (hash, known) = self.cache.look_up(text);
        if let Some(entry) = known {
            return Ok(self.known(entry));
        }
        self.labels.clear();
        read(self)
            .map_err(|error| ScrapeError { failure: Failure::Malformed, message: error.to_string() })?;
        let full = |_| ScrapeError {
            failure: Failure::Malformed,
            message: "it has more series than can be numbered; set sample_limit or drop series".to_owned(),
        };
        if !self.rules.relabel(text, &mut self.labels, &mut self.scratch)? {
            let entry = self.cache.add_dropped(hash, text.len()).map_err(full)?;
            self.cache.see(entry);
            return Ok(Found::Dropped);
        }
        // What is not sent is not kept either.
        let limit = self.settings.sample_limit;
        if limit > 0 && self.counted >= limit {
            return Ok(Found::Beyond);
        }
        let labels = LabelSet::new(&self.scratch);
        let entry = self.cache.add_series(hash, text.len(), labels).map_err(full)?;
        self.cache.see(entry);
        Ok(Found::Series { entry, is_new: true, was_seen: false })
    }

    #[inline]
    fn known(&mut self, entry: u32) -> Found {
        let was_seen = self.cache.see(entry);
        let is_dropped =
            self.cache.entries.get(entry as usize).is_some_and(|known| known.role == Role::Dropped);
        if is_dropped { Found::Dropped } else { Found::Series { entry, is_new: false, was_seen } }
    }

    /// Whether a sample is staged, and for which entry.
    #[inline]
    fn admit(&mut self, found: Found, timestamp: Option<i64>) -> Option<u32> {
        let counts = &mut self.staged.counts;
        let limit = self.settings.sample_limit;
        match found {
            Found::Dropped => None,
            Found::Beyond => {
                counts.after_relabelling += 1;
                self.counted += 1;
                None
            }
            Found::Series { entry, is_new, was_seen } => {
                counts.after_relabelling += 1;
                if was_seen && timestamp.is_none() {
                    counts.duplicates += 1;
                    return None;
                }
                self.counted += 1;
                if limit > 0 && self.counted > limit {
                    return None;
                }
                if timestamp.is_some_and(|timestamp| timestamp > self.time.saturating_add(MAX_AHEAD_MS)) {
                    counts.out_of_bounds += 1;
                    return None;
                }
                counts.series_added += u64::from(is_new);
                Some(entry)
            }
        }
    }

    /// Writes exemplars; one without a timestamp gets this one, or is left out.
    fn write_exemplars<'e>(
        &mut self,
        more: &mut Extra,
        exemplars: impl Iterator<Item = &'e Exemplar<'e>>,
        otherwise: Option<i64>,
    ) {
        let start = self.staged.bytes.len() as u32;
        let mut sorted: Vec<(i64, &Exemplar<'_>)> =
            exemplars.filter_map(|exemplar| Some((exemplar.timestamp.or(otherwise)?, exemplar))).collect();
        sorted.sort_by_key(|(timestamp, _)| *timestamp);
        for (timestamp, exemplar) in sorted {
            self.labels.clear();
            exemplar.read_labels(&mut self.labels);
            let chars = |(name, value): (&str, &str)| name.chars().count() + value.chars().count();
            self.scratch.clear();
            if self.labels.iter().map(chars).sum::<usize>() > MAX_EXEMPLAR_CHARS
                || self.labels.finish(&mut self.scratch).is_err()
            {
                continue;
            }
            write_exemplar(&mut self.staged.bytes, LabelSet::new(&self.scratch), exemplar.value, timestamp);
            more.last_exemplar = timestamp;
        }
        more.exemplars = (start, self.staged.bytes.len() as u32);
    }

    fn push_extra(&mut self, extra: Extra) -> u32 {
        self.staged.extras.push(extra);
        self.staged.extras.len() as u32
    }
}
