//! What a request is made of: pieces of leases.

use std::sync::Arc;

use tokio::time::Instant;
use weir_buffer::segment::{Documents, Record};
use weir_event::stream::Stream;

use crate::encode::Item;

/// What a series takes in a request beside its document.
const SERIES_BYTES: usize = 4;

/// Some documents of a lease, in order: those of one shard, or a part of them.
#[derive(Clone)]
pub(crate) struct Piece {
    /// The number of the lease.
    pub lease: u64,
    documents: Arc<Documents>,
    /// Which documents the shard has.
    picks: Arc<[u32]>,
    /// Which of `picks`.
    from: usize,
    to: usize,
    bytes: usize,
    /// When the driver took them.
    pub since: Instant,
}

/// The documents of one request, in order.
pub(crate) struct Batch {
    pub pieces: Vec<Piece>,
    /// Streams whose families are described in it.
    pub families: Vec<Arc<Stream>>,
    /// It was a part of a request that was too large.
    pub is_half: bool,
}

// === impl Piece ===

impl Piece {
    /// All documents that `picks` names.
    pub fn new(lease: u64, documents: Arc<Documents>, picks: Vec<u32>, since: Instant) -> Piece {
        let to = picks.len();
        let mut piece = Piece { lease, documents, picks: picks.into(), from: 0, to, bytes: 0, since };
        piece.bytes = piece.count_bytes();
        piece
    }

    /// Documents.
    pub fn samples(&self) -> usize {
        self.to - self.from
    }

    /// Bytes of a request.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Which documents of the lease they are.
    pub fn picks(&self) -> &[u32] {
        self.picks.get(self.from..self.to).unwrap_or_default()
    }

    /// The records of its documents.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.picks().iter().filter_map(|pick| self.documents.records.get(*pick as usize))
    }

    fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.picks().iter().map(|pick| {
            let record = self.documents.records.get(*pick as usize);
            let stream = record.and_then(|record| self.documents.streams.get(record.stream as usize));
            (document(&self.documents, *pick), stream)
        })
    }

    fn count_bytes(&self) -> usize {
        self.picks().iter().map(|pick| document(&self.documents, *pick).len() + SERIES_BYTES).sum()
    }

    /// The first `samples` documents; the rest stays.
    fn split_off_front(&mut self, samples: usize) -> Piece {
        let at = (self.from + samples).min(self.to);
        let mut front = Piece { to: at, ..self.clone() };
        front.bytes = front.count_bytes();
        (self.from, self.bytes) = (at, self.bytes - front.bytes);
        front
    }

    /// The first documents that have at most so many samples and bytes, but at least `least`; the rest stays. `None` if
    /// there is none.
    pub fn take_front(&mut self, most_samples: usize, most_bytes: usize, least: usize) -> Option<Piece> {
        let (mut samples, mut bytes) = (0, 0);
        for pick in self.picks().iter().take(most_samples) {
            bytes += document(&self.documents, *pick).len() + SERIES_BYTES;
            if bytes > most_bytes && samples >= least {
                break;
            }
            samples += 1;
        }
        (samples > 0).then(|| self.split_off_front(samples))
    }
}

/// A document of a segment; empty if there is none.
fn document(documents: &Documents, index: u32) -> &[u8] {
    let index = index as usize;
    let start = match index.checked_sub(1).map(|before| documents.records.get(before)) {
        None => 0,
        Some(before) => before.map_or(usize::MAX, |record| record.end as usize + 1),
    };
    let end = documents.records.get(index).map_or(0, |record| record.end as usize);
    documents.ndjson.get(start..end).unwrap_or_default()
}

// === impl Batch ===

impl Batch {
    /// Documents.
    pub fn samples(&self) -> usize {
        self.pieces.iter().map(Piece::samples).sum()
    }

    /// The documents with their streams, in order.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.pieces.iter().flat_map(Piece::items)
    }

    /// Two batches of half of the documents each. There must be two at least.
    pub fn halves(&self) -> (Batch, Batch) {
        let half = self.samples() / 2;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut taken = 0;
        for piece in &self.pieces {
            let mut rest = piece.clone();
            if taken < half {
                let front = rest.split_off_front(half - taken);
                taken += front.samples();
                first.push(front);
            }
            if rest.samples() > 0 {
                second.push(rest);
            }
        }
        let families = self.families.clone();
        let half = |pieces, families| Batch { pieces, families, is_half: true };
        (half(first, families), half(second, Vec::new()))
    }
}
