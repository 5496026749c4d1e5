//! Segments: closed runs of finished documents, the unit of buffering, replay and release.

use std::sync::Arc;

use weir_event::identity::EventId;
use weir_event::stream::Stream;

use crate::ack::Ack;
use crate::ledger::Amount;

/// One document of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The event's id: made at the source, never changed.
    pub id: EventId,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// Index into [`Documents::streams`].
    pub stream: u32,
    /// Bytes of the event as it was read, or as a stage made it: what the ledger books.
    pub bytes: u32,
    /// Where the document ends in [`Documents::ndjson`], its newline not counted. It begins behind the newline
    /// of the one before.
    pub end: u32,
}

/// Finished documents, with what any sink needs to know of them and nothing of any wire protocol. Shared by the
/// sinks of a pipeline.
#[derive(Debug, Default)]
pub struct Documents {
    /// The documents, each with a newline behind it.
    pub ndjson: Vec<u8>,
    /// One for each document, in order.
    pub records: Vec<Record>,
    /// The streams that the records refer to.
    pub streams: Vec<Arc<Stream>>,
}

impl Documents {
    /// The documents one by one, without their newlines.
    pub fn iter(&self) -> impl Iterator<Item = (&Record, &[u8])> {
        let mut start = 0;
        self.records.iter().map(move |record| {
            let end = record.end as usize;
            let document = self.ndjson.get(start..end).unwrap_or_default();
            start = end + 1;
            (record, document)
        })
    }

    /// What the ledger books for all of them.
    pub fn amount(&self) -> Amount {
        let bytes = self.records.iter().map(|record| u64::from(record.bytes)).sum();
        Amount { events: self.records.len() as u64, bytes }
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        (self.ndjson.capacity() + self.records.capacity() * size_of::<Record>()) as u64
    }

    /// Those documents for which `wanted` says true, copied.
    fn part(&self, mut wanted: impl FnMut(usize) -> bool) -> Documents {
        let mut part = Documents { streams: self.streams.clone(), ..Documents::default() };
        for (index, (record, document)) in self.iter().enumerate() {
            if wanted(index) {
                part.ndjson.extend_from_slice(document);
                let end = part.ndjson.len() as u32;
                part.records.push(Record { end, ..*record });
                part.ndjson.push(b'\n');
            }
        }
        part.ndjson.shrink_to_fit();
        part.records.shrink_to_fit();
        part
    }
}

/// Where a sink puts the documents of a segment: resolved once, when the documents are made, and kept with them, so
/// that a retry or a replay puts each to the same place. Empty for sinks with only one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// The places.
    pub names: Vec<Arc<str>>,
    /// For each document, in order, the index of its place in `names`.
    pub of: Vec<u16>,
}

/// Says where documents go. Called by workers, when a segment is made.
pub trait Route: Send + Sync {
    /// The targets of these documents: one entry of `of` for each of them.
    fn route(&self, documents: &Documents) -> Targets;
}

// === impl Targets ===

impl Targets {
    /// The place of the document with this index.
    pub fn name(&self, document: usize) -> Option<&Arc<str>> {
        self.of.get(document).and_then(|index| self.names.get(*index as usize))
    }

    /// Bytes of memory that it holds, its names (shared by many) left out.
    pub fn memory(&self) -> u64 {
        (self.of.capacity() * size_of::<u16>() + self.names.capacity() * size_of::<Arc<str>>()) as u64
    }

    fn part(&self, mut wanted: impl FnMut(usize) -> bool) -> Targets {
        let of = self.of.iter().enumerate().filter(|(index, _)| wanted(*index)).map(|(_, of)| *of);
        Targets { names: self.names.clone(), of: of.collect() }
    }
}

/// Documents on their way to one sink, and the share of the duty to make them safe.
#[derive(Debug)]
pub struct Segment {
    /// The documents.
    pub documents: Arc<Documents>,
    /// Where the sink puts them.
    pub targets: Targets,
    /// What the ledger books for them.
    pub amount: Amount,
    /// Released when they are safe.
    pub ack: Ack,
}

// === impl Segment ===

impl Segment {
    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        self.documents.memory() + self.targets.memory()
    }
}

/// Documents with their targets, and what the ledger books for them.
pub(crate) type Contents = (Arc<Documents>, Targets, Amount);

/// The contents of two segments: those documents for which `is_chosen` says true, and the rest. Where one of them is
/// the whole, nothing is copied.
pub(crate) fn divide(
    (documents, targets, amount): Contents,
    is_chosen: impl Fn(usize) -> bool,
) -> (Contents, Contents) {
    let all = documents.records.len();
    let chosen = (0..all).filter(|index| is_chosen(*index)).count();
    if chosen == all {
        return ((documents, targets, amount), Contents::default());
    }
    if chosen == 0 {
        return (Contents::default(), (documents, targets, amount));
    }
    let part = |chosen: bool| {
        let part = documents.part(|index| is_chosen(index) == chosen);
        // Documents that are counted elsewhere book nothing, and neither do their parts.
        let amount = if amount == Amount::default() { amount } else { part.amount() };
        (Arc::new(part), targets.part(|index| is_chosen(index) == chosen), amount)
    };
    (part(true), part(false))
}

/// A sink's answer to a segment.
#[derive(Debug)]
pub enum Receipt {
    /// The sink has every document.
    Delivered,
    /// Nothing of it counts as delivered; the same segment is to be sent again after a pause.
    Retry(SinkError),
}

/// Why a sink could not take a segment.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What failed, with which thing, and what to do.
    pub message: String,
}
