//! What becomes of samples in a pipeline, by what its steps say.

use weir_event::batch::{Arena, ArenaPool, BatchBuilder};
use weir_event::stream::{Attributes, Stream};
use weir_samples::document::Point;
use weir_samples::labels::LabelsBuilder;
use weir_samples::row::RowWriter;

use super::*;

/// Drops what has this name, and gives everything else a label.
struct Picky(Arc<str>, Vec<u8>);

impl SampleStage for Picky {
    fn look<'a>(&'a mut self, labels: LabelSet<'_>, _: u64, _: i64) -> Fate<'a> {
        match labels.metric() {
            "bad" => Fate::Drop(&self.0),
            "same" => Fate::Keep,
            _ => {
                let mut builder = LabelsBuilder::new();
                builder.extend(labels);
                builder.set("team", "a");
                self.1.clear();
                builder.finish(&mut self.1).unwrap();
                let labels = LabelSet::new(&self.1);
                Fate::Change { labels, hash: labels.hash() }
            }
        }
    }
}

fn batch(names: &[&str]) -> Batch {
    let mut batch = BatchBuilder::new(Arena::default());
    let stream = batch.add_stream(&Stream::new(Attributes::default(), 0));
    let (mut rows, mut builder) = (RowWriter::default(), LabelsBuilder::new());
    for (name, at) in names.iter().zip(1..) {
        builder.clear();
        builder.push("__name__", name);
        let mut labels = Vec::new();
        builder.finish(&mut labels).unwrap();
        let labels = LabelSet::new(&labels);
        rows.push_float(&mut batch, stream, (labels, labels.hash()), (at, at as f64));
    }
    batch.finish(&ArenaPool::new())
}

fn step() -> SampleStep {
    SampleStep { name: "picky".into(), make: Box::new(|| Box::new(Picky("unwanted".into(), Vec::new()))) }
}

fn metrics(done: &Processed) -> Vec<String> {
    let text = |document: &[u8]| Document::read(document).unwrap().labels.to_string();
    done.documents.iter().map(|(_, document)| text(document)).collect()
}

#[test]
fn without_steps_samples_are_documents_as_they_came() {
    let batch = batch(&["up", "down"]);
    let done = SampleProcessor::new(&[]).run(&batch, 0, None);
    assert_eq!(metrics(&done), ["up", "down"]);
    assert_eq!(done.kept.events, 2);
    for ((record, document), row) in done.documents.iter().zip(batch.rows()) {
        assert_eq!((document, record.id.series()), (batch.content(row), row.offset));
        assert_eq!(record.time, row.time);
    }
}

#[test]
fn steps_keep_change_and_drop() {
    let batch = batch(&["up", "bad", "same", "bad"]);
    let mut processor = SampleProcessor::new(&[step()]);
    for _ in 0..2 {
        let done = processor.run(&batch, 0, None);
        assert_eq!(metrics(&done), ["up{team=\"a\"}", "same"]);
        let (record, document) = done.documents.iter().next().unwrap();
        let read = Document::read(document).unwrap();
        assert_eq!(record.id.series(), read.labels.hash());
        assert_eq!(read.point, Point::Float { timestamp: 1, value: 1.0, start_timestamp: 0 });
        let dropped = batch.rows().iter().skip(1).step_by(2).map(|row| u64::from(row.raw.len)).sum();
        let amount = Amount { events: 2, bytes: dropped };
        assert_eq!(done.entries, [(Entry::Dropped("picky.unwanted".into()), amount)]);
    }
}

#[test]
fn what_a_pipeline_reads_is_kept_or_dropped() {
    let batch = batch(&["bad", "up", "same"]);
    let done = SampleProcessor::new(&[step(), step()]).run(&batch, 0, None);
    let read: u64 = batch.rows().iter().map(|row| u64::from(row.raw.len)).sum();
    let dropped: u64 = done.entries.iter().map(|(_, amount)| amount.bytes).sum();
    assert_eq!(done.kept.bytes + dropped, read);
}
