//! Exemplars on their way to the samples that they go with.

use weir_event::batch::MAX_EVENT_BYTES;

use super::label_list::LabelList;
use super::report::{Reason, Report};
use super::rows::{Exemplars, Samples};
use super::wire::Fault;
use crate::document::write_exemplar;
use crate::labels::LabelSet;

/// Exemplars that were read, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiting<'a> {
    text: Vec<u8>,
    exemplars: Vec<Exemplar<'a>>,
    labels: Vec<u8>,
}

/// One exemplar.
#[derive(Clone, Copy, Debug)]
struct Exemplar<'a> {
    series: u64,
    metric: &'a str,
    /// Nanoseconds since the Unix epoch; `i64::MAX` where nobody said.
    time: i64,
    /// Where it lies in the text.
    start: u32,
    end: u32,
}

/// A point that exemplars may go with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    series: u64,
    time: i64,
    index: u32,
    /// Bytes of its document.
    bytes: u32,
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.exemplars.is_empty()
    }

    /// Bytes of memory that they take.
    pub(super) fn bytes(&self) -> usize {
        // Once more, when they are in order.
        2 * self.text.len() + size_of_val(&self.exemplars[..])
    }

    /// Takes an exemplar of a series; its timestamp is in milliseconds, 0 where nobody said.
    pub(super) fn add(
        &mut self,
        (series, metric): (u64, &'a str),
        labels: &mut LabelList<'a>,
        value: f64,
        timestamp: i64,
    ) -> Result<(), Fault> {
        self.labels.clear();
        labels.write_exemplar(&mut self.labels)?;
        let start = self.text.len();
        write_exemplar(&mut self.text, LabelSet::new(&self.labels), value, timestamp);
        let time = if timestamp == 0 { i64::MAX } else { timestamp.saturating_mul(1_000_000) };
        let (start, end) = (start as u32, self.text.len() as u32);
        self.exemplars.push(Exemplar { series, metric, time, start, end });
        Ok(())
    }

    /// Gives each exemplar to the sample of its series whose time is nearest. Those without one are refused, or lost where
    /// the specification does not know exemplars.
    pub(super) fn give(self, samples: &mut Samples, report: &mut Report, is_known: bool) {
        let places = self.places(samples);
        let mut given = Vec::with_capacity(self.exemplars.len());
        for exemplar in &self.exemplars {
            match nearest(&places, exemplar) {
                Some(place) => given.push((place, exemplar)),
                None if is_known => report.refuse(Reason::NoSamples, exemplar.metric, (0, 1)),
                None => report.lost_exemplars += 1,
            }
        }
        given.sort_by_key(|(place, _)| place.index);
        samples.exemplars = self.in_order(&given, report);
    }

    fn in_order(&self, given: &[(Place, &Exemplar<'a>)], report: &mut Report) -> Exemplars {
        let mut out = Exemplars::default();
        let mut bytes = 0;
        for (place, exemplar) in given {
            let text = self.text.get(exemplar.start as usize..exemplar.end as usize).unwrap_or_default();
            let is_same = out.of_points.last().is_some_and(|(index, _)| *index == place.index);
            bytes = if is_same { bytes } else { place.bytes as usize };
            if bytes + text.len() > MAX_EVENT_BYTES {
                report.refuse(Reason::TooLong, exemplar.metric, (0, 1));
                continue;
            }
            bytes += text.len();
            out.text.extend_from_slice(text);
            let end = out.text.len() as u32;
            match out.of_points.last_mut().filter(|_| is_same) {
                Some((_, last)) => *last = end,
                None => out.of_points.push((place.index, end)),
            }
            report.exemplars += 1;
        }
        out
    }

    /// The points of all series that have exemplars, in order.
    fn places(&self, samples: &Samples) -> Vec<Place> {
        let mut wanted: Vec<u64> = self.exemplars.iter().map(|exemplar| exemplar.series).collect();
        wanted.sort_unstable();
        let places = samples.rows().enumerate().filter(|(_, row)| wanted.binary_search(&row.series).is_ok());
        let place = |(index, row): (usize, super::rows::Row<'_>)| Place {
            series: row.series,
            time: row.time,
            index: index as u32,
            bytes: row.bytes() as u32,
        };
        let mut places: Vec<Place> = places.map(place).collect();
        places.sort_unstable();
        places
    }
}

/// Of the points of an exemplar's series the one that is nearest in time: of two the later one.
fn nearest(places: &[Place], exemplar: &Exemplar<'_>) -> Option<Place> {
    let (series, time) = (exemplar.series, exemplar.time);
    let at = places.partition_point(|place| (place.series, place.time) < (series, time));
    let of_series = |place: &&Place| place.series == series;
    let later = places.get(at).filter(of_series);
    let earlier = at.checked_sub(1).and_then(|at| places.get(at)).filter(of_series);
    match (earlier, later) {
        (Some(earlier), Some(later)) if time.abs_diff(earlier.time) < later.time.abs_diff(time) => {
            Some(*earlier)
        }
        (earlier, later) => later.or(earlier).copied(),
    }
}
