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

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        (self.ndjson.capacity() + self.records.capacity() * size_of::<Record>()) as u64
    }
}

/// Documents on their way to one sink, and the share of the duty to make them safe.
#[derive(Debug)]
pub struct Segment {
    /// The documents.
    pub documents: Arc<Documents>,
    /// What the ledger books for them.
    pub amount: Amount,
    /// Released when they are safe.
    pub ack: Ack,
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
