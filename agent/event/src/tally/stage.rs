//! The stage that counts: a native transform that keeps every event as it is.

use std::sync::Arc;

use super::table::{END, OVERFLOW, Table};
use super::{LabelSource, MAX_VALUE_BYTES, Measure, Metrics, Tally};
use crate::column::{Column, Kind};
use crate::transform::{Call, Context, Handled, Plan, Transform};

/// Beyond the series that there may be, a worker keeps as many label sets for which there may be no room as one batch
/// brings.
const SPARE_SERIES: usize = 2 * crate::batch::MAX_ROWS;

/// Counts events by labels and observes numbers of fields.
pub struct TallyStage {
    of: Arc<Metrics>,
    plan: Plan,
    counters: Vec<Counter>,
    key: Vec<u8>,
    /// The tables have all series that there will be.
    is_closed: bool,
}

/// One metric.
struct Counter {
    labels: Vec<Source>,
    /// The column whose numbers are observed.
    observed: Option<usize>,
    bounds: Vec<f64>,
    table: Table,
    skipped: u64,
}

/// Where a label's value lies in a call.
#[derive(Clone, Copy)]
enum Source {
    Column(usize),
    Attribute(usize),
}

// === impl TallyStage ===

impl TallyStage {
    /// An instance for one worker.
    pub fn new(of: &Arc<Metrics>) -> TallyStage {
        let mut plan = Plan::default();
        let mut counters = Vec::new();
        for metric in of.metrics() {
            let labels = metric.labels().iter().map(|(_, source)| match source {
                LabelSource::Field(path) => Source::Column(place(&mut plan.reads, path)),
                LabelSource::Attribute(name) => Source::Attribute(place(&mut plan.attributes, name)),
            });
            let labels = labels.collect();
            let (observed, bounds) = match metric.measure() {
                Measure::Events => (None, Vec::new()),
                Measure::Field { path, bounds } => (Some(place(&mut plan.reads, path)), bounds.clone()),
            };
            counters.push(Counter { labels, observed, bounds, table: Table::new(metric), skipped: 0 });
        }
        TallyStage { of: Arc::clone(of), plan, counters, key: Vec::new(), is_closed: false }
    }

    /// What such a stage reads; it writes and drops nothing.
    pub fn plan_of(of: &Arc<Metrics>) -> Plan {
        TallyStage::new(of).plan
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.counters.iter().map(|counter| counter.table.len()).sum()
    }

    /// Lets go of what nobody asked for, and of label sets where there are too many.
    fn begin(&mut self) {
        let most = self.of.max_series().saturating_add(SPARE_SERIES);
        for (index, counter) in self.counters.iter_mut().enumerate() {
            counter.skipped = 0;
            counter.table.take(index, &mut Vec::new());
            if !self.is_closed && counter.table.len() > most {
                counter.table.clear();
            }
        }
        if self.is_closed {
            return;
        }
        let Some(closed) = self.of.closed() else { return };
        for (counter, series) in self.counters.iter_mut().zip(closed) {
            counter.table.clear();
            series.iter().for_each(|labels| counter.table.know(labels));
        }
        self.is_closed = true;
    }
}

impl Transform for TallyStage {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn transform(&mut self, call: &Call, context: &Context) -> Handled {
        self.begin();
        for counter in &mut self.counters {
            counter.count(call, context, &mut self.key, self.is_closed);
        }
        Handled::default()
    }

    fn take_tally(&mut self) -> Option<Tally> {
        let (mut counted, mut skipped) = (Vec::new(), Vec::with_capacity(self.counters.len()));
        for (index, counter) in self.counters.iter_mut().enumerate() {
            counter.table.take(index, &mut counted);
            skipped.push(std::mem::take(&mut counter.skipped));
        }
        let tally = Tally { of: Arc::clone(&self.of), counted, skipped };
        (!tally.is_empty()).then_some(tally)
    }
}

// === impl Counter ===

impl Counter {
    fn count(&mut self, call: &Call, context: &Context, key: &mut Vec<u8>, is_closed: bool) {
        for row in 0..call.rows as usize {
            let (mut bucket, mut number) = (0, 0.0);
            if let Some(observed) = self.observed {
                let Some(found) = call.columns.get(observed).and_then(|column| number_at(column, row)) else {
                    self.skipped += 1;
                    continue;
                };
                bucket = self.bounds.partition_point(|bound| *bound < found);
                number = found;
            }
            key.clear();
            for source in &self.labels {
                let value = match source {
                    Source::Column(at) => call.columns.get(*at).map(|column| value_at(column, row)),
                    Source::Attribute(at) => {
                        let stream = call.streams.get(row).copied().unwrap_or_default() as usize;
                        context.attributes.get(*at).map(|column| value_at(column, stream))
                    }
                };
                key.extend_from_slice(value.unwrap_or_default());
                key.push(END);
            }
            let series = match self.table.find(key) {
                Ok(series) => series,
                Err(_) if is_closed => OVERFLOW,
                Err(place) => self.table.add(key, place),
            };
            self.table.count(series, bucket, number);
        }
    }
}

/// The place of a name in a list, to which it is added where it is not there.
fn place(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// The value of a label: strings as they are, numbers and truth values as they stand in the event, nothing for others.
#[inline]
fn value_at(column: &Column, row: usize) -> &[u8] {
    match column.get(row) {
        Some((Kind::String | Kind::Number | Kind::Bool, value)) => cut(value),
        _ => &[],
    }
}

#[inline]
fn cut(value: &[u8]) -> &[u8] {
    match value.len() > MAX_VALUE_BYTES {
        true => cut_at_character(value),
        false => value,
    }
}

#[cold]
fn cut_at_character(value: &[u8]) -> &[u8] {
    let is_inside = |end: usize| value.get(end).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (0..=MAX_VALUE_BYTES).rev().find(|end| !is_inside(*end)).unwrap_or_default();
    value.get(..end).unwrap_or_default()
}

/// A number, or one in a string.
fn number_at(column: &Column, row: usize) -> Option<f64> {
    let text = match column.get(row)? {
        (Kind::Number, text) => text,
        (Kind::String, text) if is_number(text) => text,
        _ => return None,
    };
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// Whether a text is a number by RFC 8259, section 6.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with(b"0")) {
        return false;
    }
    let mut rest = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}
