//! Samples: one batch through the stages of a pipeline of samples, on one worker.
//!
//! What the stages of events do with columns and edits, these do sample by sample: they look at labels and keep, change or
//! drop. What is left is copied; nothing is parsed but what a stage asks for.

use std::sync::Arc;

use weir_buffer::ledger::{Amount, Entry};
use weir_buffer::segment::Record;
use weir_event::batch::{Batch, Row};
use weir_event::identity::EventId;
use weir_samples::document::{Document, split_labels};
use weir_samples::json::write_json;
use weir_samples::labels::LabelSet;
use weir_samples::stage::{Fate, SampleStage};

use crate::process::Processed;
use crate::tap::{Looking, Place};

/// Why a row is dropped that no source should have made.
const MALFORMED: &str = "malformed";

/// A step of a pipeline of samples.
pub struct SampleStep {
    /// Its name, for the ledger and for who looks.
    pub name: Arc<str>,
    /// Makes the instance for one worker.
    pub make: Box<dyn Fn() -> Box<dyn SampleStage> + Send + Sync>,
}

/// What one worker keeps for a pipeline of samples.
pub(crate) struct SampleProcessor {
    steps: Vec<(Arc<str>, Box<dyn SampleStage>)>,
    /// Where a drop was met: in the order of meeting, with what is booked under it.
    drops: Vec<(Arc<str>, Arc<str>, Amount)>,
    expected: usize,
}

/// What became of a sample.
enum End<'a> {
    Kept(LabelSet<'a>, u64),
    /// By the step of this number.
    Dropped(usize, &'a Arc<str>),
}

// === impl SampleProcessor ===

impl SampleProcessor {
    pub fn new(steps: &[SampleStep]) -> SampleProcessor {
        let steps = steps.iter().map(|step| (Arc::clone(&step.name), (step.make)()));
        SampleProcessor { steps: steps.collect(), drops: Vec::new(), expected: 0 }
    }

    /// Source → **stages → copy** → buffer. `now` in nanoseconds since the Unix epoch.
    pub fn run(&mut self, batch: &Batch, now: i64, mut looking: Option<&mut Looking>) -> Processed {
        let mut done = Processed::default();
        done.documents.ndjson.reserve(self.expected);
        done.documents.records.reserve(batch.rows().len());
        done.documents.streams = batch.streams().to_vec();
        let is_unseen = self.steps.is_empty() && looking.is_none();
        let copied = if is_unseen { keep_run(&mut done, batch) } else { 0 };
        for (index, row) in (0..).zip(batch.rows()).skip(copied) {
            let content = batch.content(row);
            if is_unseen {
                keep(&mut done, row, (&[], content), row.offset);
                continue;
            }
            match split_labels(content) {
                Ok(parts) => self.sample(&mut done, (index, row), parts, now, looking.as_deref_mut()),
                Err(_) => {
                    let amount = Amount::one(u64::from(row.raw.len));
                    done.entries.push((Entry::Dropped(MALFORMED.into()), amount));
                }
            }
        }
        self.expected = done.documents.ndjson.len();
        for (stage, reason, amount) in self.drops.drain(..) {
            done.entries.push((Entry::Dropped(format!("{stage}.{reason}").into()), amount));
        }
        done
    }

    fn sample(
        &mut self,
        done: &mut Processed,
        (index, row): (u32, &Row),
        (labels, rest): (&[u8], &[u8]),
        now: i64,
        mut looking: Option<&mut Looking>,
    ) {
        let mut end = End::Kept(LabelSet::new(labels), row.offset);
        if let Some(looking) = looking.as_deref_mut() {
            looking.sample(index, row, Place::Source, None, &|| json(labels, rest));
        }
        for (number, (name, stage)) in self.steps.iter_mut().enumerate() {
            let End::Kept(labels, hash) = end else { break };
            end = match stage.look(labels, hash, now) {
                Fate::Keep => End::Kept(labels, hash),
                Fate::Change { labels, hash } => End::Kept(labels, hash),
                Fate::Drop(reason) => End::Dropped(number, reason),
            };
            if let Some(looking) = looking.as_deref_mut() {
                match &end {
                    End::Kept(labels, _) => {
                        let labels = labels.bytes();
                        looking.sample(index, row, Place::Behind(number), None, &|| json(labels, rest));
                    }
                    End::Dropped(_, reason) => {
                        let dropped = Some((&*name, *reason));
                        looking.sample(index, row, Place::Behind(number), dropped, &|| {
                            json(labels.bytes(), rest)
                        });
                    }
                }
            }
        }
        match end {
            End::Kept(labels, hash) => {
                if let Some(looking) = looking {
                    looking.sample(index, row, Place::End, None, &|| json(labels.bytes(), rest));
                }
                keep(done, row, (labels.bytes(), rest), hash);
            }
            End::Dropped(number, reason) => {
                let reason = Arc::clone(reason);
                self.drop(number, reason, Amount::one(u64::from(row.raw.len)));
            }
        }
    }

    fn drop(&mut self, step: usize, reason: Arc<str>, amount: Amount) {
        let Some((name, _)) = self.steps.get(step) else { return };
        let mut known = self.drops.iter_mut();
        match known.find(|(stage, known, _)| stage == name && *known == reason) {
            Some((_, _, sum)) => *sum += amount,
            None => self.drops.push((Arc::clone(name), reason, amount)),
        }
    }
}

/// The rows that lie one behind the other with newlines between them, from the first, as documents of a segment; says how
/// many. To be called before anything else is kept.
fn keep_run(done: &mut Processed, batch: &Batch) -> usize {
    let bytes = batch.bytes();
    let Some(start) = batch.rows().first().map(|row| row.content.range().start) else { return 0 };
    let mut at = start;
    let records = &mut done.documents.records;
    for row in batch.rows() {
        let content = row.content.range();
        if content.start != at || bytes.get(content.end) != Some(&b'\n') {
            break;
        }
        records.push(record(row, row.offset, content.end - start));
        done.kept += Amount::one(u64::from(row.raw.len));
        at = content.end + 1;
    }
    done.documents.ndjson.extend_from_slice(bytes.get(start..at).unwrap_or_default());
    records.len()
}

/// A document of a segment.
fn keep(done: &mut Processed, row: &Row, (labels, rest): (&[u8], &[u8]), series: u64) {
    let documents = &mut done.documents;
    documents.ndjson.extend_from_slice(labels);
    documents.ndjson.extend_from_slice(rest);
    documents.records.push(record(row, series, documents.ndjson.len()));
    documents.ndjson.push(b'\n');
    done.kept += Amount::one(u64::from(row.raw.len));
}

/// The record of a row whose document ends there.
fn record(row: &Row, series: u64, end: usize) -> Record {
    let (time, stream, bytes) = (row.time, row.stream, row.raw.len);
    Record { id: EventId::of_sample(series, time), time, stream, bytes, end: end as u32 }
}

/// For who looks.
fn json(labels: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(document) = Document::read(&[labels, rest].concat()) {
        write_json(&document, &mut out);
    }
    out
}

#[cfg(test)]
mod tests;
