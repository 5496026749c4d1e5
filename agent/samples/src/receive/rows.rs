//! The rows of a request, before they are rows of a batch.
//!
//! The labels of a series lie there once, however many samples it has: behind them its points, each as a document has it
//! ([`crate::document`]). Exemplars lie apart, since they may come when all points are there.

use std::sync::Arc;

use weir_event::stream::Family;

use super::wire::Fault;
use crate::labels::LabelSet;

/// Nanoseconds of a millisecond.
const MILLISECOND: i64 = 1_000_000;

/// The samples of one request.
#[derive(Debug)]
pub struct Samples {
    pub(super) text: Vec<u8>,
    pub(super) series: Vec<Series>,
    pub(super) points: Vec<Point>,
    pub(super) exemplars: Exemplars,
    pub(super) families: Vec<Arc<Family>>,
    limit: usize,
}

/// A series with its points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    pub(super) hash: u64,
    /// Where its labels end in the text; they begin where the points of the series before it end.
    pub(super) labels_end: u32,
    /// Where its points end among all points.
    pub(super) points_end: u32,
    /// Index of its family plus one; 0 for none.
    pub(super) family: u32,
}

/// A sample or histogram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Nanoseconds since the Unix epoch.
    pub(super) time: i64,
    /// Where it ends in the text.
    pub(super) end: u32,
}

/// Exemplars in the order of the points that they go with.
#[derive(Debug, Default)]
pub(super) struct Exemplars {
    pub(super) text: Vec<u8>,
    /// Which point, and where in the text its exemplars end.
    pub(super) of_points: Vec<(u32, u32)>,
}

/// One sample, in the parts that its document consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its label set.
    pub labels: &'a [u8],
    /// The field `samples` or `histograms`.
    pub point: &'a [u8],
    /// The fields `exemplars`, if any.
    pub exemplars: &'a [u8],
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// The hash of its labels.
    pub series: u64,
    /// Index of its family in [`Samples::families`].
    pub family: Option<u32>,
}

// === impl Samples ===

impl Samples {
    /// None yet; at most about `limit` bytes of memory.
    pub(super) fn new(limit: usize) -> Samples {
        Samples {
            text: Vec::new(),
            series: Vec::new(),
            points: Vec::new(),
            exemplars: Exemplars::default(),
            families: Vec::new(),
            limit: limit.min(u32::MAX as usize),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Bytes of memory that they take.
    pub fn bytes(&self) -> usize {
        self.text.len()
            + self.exemplars.text.len()
            + size_of_val(&self.series[..])
            + size_of_val(&self.points[..])
            + size_of_val(&self.exemplars.of_points[..])
    }

    /// The families that rows belong to.
    pub fn families(&self) -> &[Arc<Family>] {
        &self.families
    }

    /// Every sample, in the order in which they came.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut series = self.series.iter();
        let (mut current, mut labels, mut start) = (None::<&Series>, &[][..], 0);
        let mut exemplars = self.exemplars.of_points.iter().peekable();
        let mut exemplars_start = 0;
        self.points.iter().enumerate().map(move |(index, point)| {
            if current.is_none_or(|series| index as u32 >= series.points_end) {
                current = series.next();
                let end = current.map_or(start, |series| series.labels_end as usize);
                labels = self.text.get(start..end).unwrap_or_default();
                start = end;
            }
            let end = point.end as usize;
            let bytes = self.text.get(start..end).unwrap_or_default();
            start = end;
            let mut more = &[][..];
            if let Some((_, end)) = exemplars.next_if(|(point, _)| *point == index as u32) {
                more = self.exemplars.text.get(exemplars_start..*end as usize).unwrap_or_default();
                exemplars_start = *end as usize;
            }
            let (hash, family) = current.map_or((0, 0), |series| (series.hash, series.family));
            let family = family.checked_sub(1);
            Row { labels, point: bytes, exemplars: more, time: point.time, series: hash, family }
        })
    }

    /// Ends a point of this time in milliseconds, whose text was appended.
    pub(super) fn end_point(&mut self, timestamp: i64) -> Result<(), Fault> {
        let time = timestamp.saturating_mul(MILLISECOND);
        self.points.push(Point { time, end: self.text.len() as u32 });
        self.check()
    }

    /// Ends a series whose labels lie in the text from `start` to `labels_end`, with the points that followed. Without
    /// points it is as if it had not been.
    pub(super) fn end_series(&mut self, start: usize, labels_end: usize, family: u32) -> Result<(), Fault> {
        let points_end = self.points.len() as u32;
        if self.series.last().map_or(0, |series| series.points_end) == points_end {
            self.text.truncate(start);
            return Ok(());
        }
        let hash = LabelSet::new(self.text.get(start..labels_end).unwrap_or_default()).hash();
        self.series.push(Series { hash, labels_end: labels_end as u32, points_end, family });
        self.check()
    }

    /// Whether they take no more memory than they may.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.bytes() > self.limit { Err(Fault::TooLarge) } else { Ok(()) }
    }

    /// Bytes that may still be added.
    pub(super) fn left(&self) -> usize {
        self.limit.saturating_sub(self.bytes())
    }
}

// === impl Row ===

impl Row<'_> {
    /// Bytes of its document: labels, point and exemplars, one behind the other.
    pub fn bytes(&self) -> usize {
        self.labels.len() + self.point.len() + self.exemplars.len()
    }

    /// Appends its document.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.labels);
        out.extend_from_slice(self.point);
        out.extend_from_slice(self.exemplars);
    }
}
