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
    picks: Picks,
    /// Which of `picks`.
    from: usize,
    to: usize,
    bytes: usize,
    /// When the driver took them.
    pub since: Instant,
}

/// Which documents of a lease a shard has.
#[derive(Clone)]
enum Picks {
    All,
    Some(Arc<[u32]>),
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
    /// All documents of a lease, for one shard.
    pub fn new(lease: u64, documents: Arc<Documents>, since: Instant) -> Piece {
        let to = documents.records.len();
        let mut piece = Piece { lease, documents, picks: Picks::All, from: 0, to, bytes: 0, since };
        piece.bytes = piece.count_bytes();
        piece
    }

    /// Its documents by so many shards: each series is of one of them.
    pub fn spread(&self, shards: usize) -> Vec<Piece> {
        if shards <= 1 {
            return vec![self.clone()];
        }
        let mut picks: Vec<Vec<u32>> = vec![Vec::new(); shards];
        for index in self.indices() {
            let Some(record) = self.documents.records.get(index) else { continue };
            if let Some(picks) = picks.get_mut((record.id.series() % shards as u64) as usize) {
                picks.push(index as u32);
            }
        }
        let part = |picks: Vec<u32>| {
            let (from, to) = (0, picks.len());
            let mut part = Piece { picks: Picks::Some(picks.into()), from, to, ..self.clone() };
            part.bytes = part.count_bytes();
            part
        };
        picks.into_iter().map(part).collect()
    }

    /// Documents.
    pub fn samples(&self) -> usize {
        self.to - self.from
    }

    /// Bytes of a request.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it has all documents of its lease.
    pub fn is_whole(&self) -> bool {
        self.samples() == self.documents.records.len()
    }

    /// Which documents of the lease they are.
    pub fn indices(&self) -> impl Iterator<Item = usize> {
        (self.from..self.to).filter_map(|at| self.index(at))
    }

    /// The records of its documents.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.indices().filter_map(|index| self.documents.records.get(index))
    }

    fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.indices().map(|index| {
            let record = self.documents.records.get(index);
            let stream = record.and_then(|record| self.documents.streams.get(record.stream as usize));
            (document(&self.documents, index), stream)
        })
    }

    #[inline]
    fn index(&self, at: usize) -> Option<usize> {
        match &self.picks {
            Picks::All => Some(at),
            Picks::Some(picks) => picks.get(at).map(|index| *index as usize),
        }
    }

    fn count_bytes(&self) -> usize {
        match &self.picks {
            Picks::All => self.bytes_to(self.to),
            Picks::Some(_) => self.indices().map(|index| size(&self.documents, index)).sum(),
        }
    }

    /// Bytes of its documents up to this one, of a piece without picks.
    fn bytes_to(&self, to: usize) -> usize {
        let count = to.saturating_sub(self.from);
        let end = |index: usize| self.documents.records.get(index).map_or(0, |record| record.end as usize);
        let start = self.from.checked_sub(1).map_or(0, |before| end(before) + 1);
        match to.checked_sub(1).filter(|_| count > 0) {
            // Between two documents is a newline, which no request has.
            Some(last) => end(last).saturating_sub(start) + 1 + count * (SERIES_BYTES - 1),
            None => 0,
        }
    }

    /// The first `samples` documents; the rest stays.
    fn split_off_front(&mut self, samples: usize) -> Piece {
        let at = (self.from + samples).min(self.to);
        let mut front = Piece { to: at, ..self.clone() };
        front.bytes = if at == self.to { self.bytes } else { front.count_bytes() };
        (self.from, self.bytes) = (at, self.bytes - front.bytes);
        front
    }

    /// The first documents that have at most so many samples and bytes, but at least `least`; the rest stays. `None` if
    /// there is none.
    pub fn take_front(&mut self, most_samples: usize, most_bytes: usize, least: usize) -> Option<Piece> {
        let most = most_samples.min(self.samples());
        let samples = match &self.picks {
            _ if self.bytes <= most_bytes => most,
            Picks::All => self.fitting(most, most_bytes),
            Picks::Some(_) => {
                let mut bytes = 0;
                let fits = |index: &usize| {
                    bytes += size(&self.documents, *index);
                    bytes <= most_bytes
                };
                self.indices().take(most).take_while(fits).count()
            }
        };
        let samples = samples.max(least.min(most));
        (samples > 0).then(|| self.split_off_front(samples))
    }

    /// How many of the first documents have at most so many bytes, of a piece without picks.
    fn fitting(&self, most_samples: usize, most_bytes: usize) -> usize {
        let (mut fits, mut beyond) = (0, most_samples + 1);
        while beyond - fits > 1 {
            let middle = fits + (beyond - fits) / 2;
            match self.bytes_to(self.from + middle) <= most_bytes {
                true => fits = middle,
                false => beyond = middle,
            }
        }
        fits
    }
}

/// Bytes of a request that a document takes.
fn size(documents: &Documents, index: usize) -> usize {
    document(documents, index).len() + SERIES_BYTES
}

/// A document of a segment; empty if there is none.
#[inline]
fn document(documents: &Documents, index: usize) -> &[u8] {
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

    /// Bytes of its message.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(Piece::bytes).sum()
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
