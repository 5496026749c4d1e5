//! Batches: the rows of one source over one arena of bytes.
//!
//! A source reads straight into the arena and marks rows in it; nothing is copied until a document is written.
//! A batch does not change once it is finished: the pipelines of a source share it.

use std::sync::{Arc, Mutex};

use crate::stream::Stream;

/// A batch is cut at this many rows.
pub const MAX_ROWS: usize = 4_096;
/// A batch is cut at this many bytes; a larger event is a batch of its own.
pub const MAX_BATCH_BYTES: usize = 512 * 1024;
/// Joined events are cut at this many bytes, flagged and counted.
pub const MAX_EVENT_BYTES: usize = 2 * 1024 * 1024;
/// The scanner loads whole blocks: this many bytes behind the last one in use can always be read.
pub const PADDING: usize = 64;

/// A range of bytes of an arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// The span from `start` up to `end`.
    pub fn between(start: usize, end: usize) -> Span {
        debug_assert!(start <= end);
        Span { start: start as u32, len: (end - start) as u32 }
    }

    /// The first byte behind it.
    pub fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    /// As a range to index with.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end()
    }
}

/// What was cut, replaced or ignored on the way; a bit each. Their names stand in the document's `log.flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// The event was longer than [`MAX_EVENT_BYTES`] and its end is missing.
    pub const TRUNCATED: Flags = Flags(1);
    /// Bytes that are not UTF-8 became U+FFFD.
    pub const INVALID_UTF8: Flags = Flags(2);
    /// The record's own time could not be read or lay outside the accepted range.
    pub const TIME_IGNORED: Flags = Flags(4);
    /// The line is not what its format prescribes and is kept as text.
    pub const MALFORMED: Flags = Flags(8);
    /// The last piece of a record that was written in parts never came.
    pub const PARTIAL: Flags = Flags(16);
    /// The lines were joined up to the bound of an event's lines or bytes; what follows is an event of its own.
    pub const MULTILINE_CUT: Flags = Flags(32);
    /// The first event of a file that was found shorter than what was read of it: what was written before may be
    /// missing.
    pub const AFTER_TRUNCATION: Flags = Flags(64);

    /// The names in `log.flags`, by bit.
    pub const NAMES: [&'static str; 7] = [
        "truncated",
        "invalid_utf8",
        "time_ignored",
        "malformed",
        "partial",
        "multiline_cut",
        "after_truncation",
    ];

    /// Both.
    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One event of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The event's text: a CRI line's content, a file's line; without the line's end.
    pub content: Span,
    /// The bytes the identity's hash is taken of: the whole line as it lay in the file, without its end.
    /// For a record joined from parts all its lines, joined by newlines.
    pub raw: Span,
    /// Where the event begins in its file, in bytes.
    pub offset: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// Index into the batch's streams.
    pub stream: u32,
    /// What was cut, replaced or ignored so far.
    pub flags: Flags,
}

/// Bytes that a source reads into. All of its memory is initialised, so that reading needs no clearing.
#[derive(Debug, Default)]
pub struct Arena {
    bytes: Vec<u8>,
    filled: usize,
    /// Memory for the rows of the next batch over it: they go to the pool and come back together.
    rows: Vec<Row>,
}

impl Arena {
    /// An arena that takes `capacity` bytes before it grows.
    pub fn with_capacity(capacity: usize) -> Arena {
        Arena { bytes: vec![0; capacity + PADDING], ..Arena::default() }
    }

    /// The bytes in use.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// How many bytes are in use.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether no byte is in use.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// At least `wanted` bytes behind those in use, to read into; follow with [`Arena::advance`].
    pub fn spare(&mut self, wanted: usize) -> &mut [u8] {
        let needed = self.filled + wanted + PADDING;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        let end = self.bytes.len() - PADDING;
        &mut self.bytes[self.filled..end]
    }

    /// Takes `count` bytes of [`Arena::spare`] into use.
    pub fn advance(&mut self, count: usize) {
        debug_assert!(self.filled + count + PADDING <= self.bytes.len());
        self.filled += count;
    }

    /// Gives bytes at the end back; what lies behind `len` is no longer in use.
    pub fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }

    /// Copies bytes to the end.
    pub fn append(&mut self, bytes: &[u8]) -> Span {
        let start = self.filled;
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
        Span::between(start, self.filled)
    }

    /// Copies bytes in use to the end.
    pub fn append_within(&mut self, span: Span) -> Span {
        let start = self.filled;
        self.spare(span.len as usize);
        self.bytes.copy_within(span.range(), start);
        self.advance(span.len as usize);
        Span::between(start, self.filled)
    }

    /// The bytes in use and the padding behind them, for the scanner.
    pub(crate) fn padded(&self) -> &[u8] {
        self.bytes.get(..self.filled + PADDING).unwrap_or_default()
    }

    /// Bytes in use, to change.
    pub(crate) fn slice_mut(&mut self, span: Span) -> &mut [u8] {
        self.bytes.get_mut(span.range()).unwrap_or_default()
    }

    /// How much memory it holds, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Keeps arenas for reuse, a bounded number of them.
#[derive(Debug, Default)]
pub struct ArenaPool {
    free: Mutex<Vec<Arena>>,
}

impl ArenaPool {
    const MAX_FREE: usize = 8;

    /// An empty pool.
    pub fn new() -> Arc<ArenaPool> {
        Arc::new(ArenaPool::default())
    }

    /// An arena for one batch.
    pub fn take(&self) -> Arena {
        let free = self.free.lock().ok().and_then(|mut free| free.pop());
        free.unwrap_or_else(|| Arena::with_capacity(MAX_BATCH_BYTES))
    }

    fn put(&self, mut arena: Arena) {
        arena.filled = 0;
        // One that grew for a giant line is not kept: memory stays what the configuration says.
        if arena.bytes.len() > 2 * MAX_BATCH_BYTES {
            return;
        }
        if let Ok(mut free) = self.free.lock()
            && free.len() < ArenaPool::MAX_FREE
        {
            free.push(arena);
        }
    }
}

/// A batch being filled by a source.
#[derive(Debug)]
pub struct BatchBuilder {
    /// What the rows' spans point into.
    pub arena: Arena,
    rows: Vec<Row>,
    streams: Vec<Arc<Stream>>,
}

impl BatchBuilder {
    /// An empty batch over an arena.
    pub fn new(mut arena: Arena) -> BatchBuilder {
        let rows = std::mem::take(&mut arena.rows);
        BatchBuilder { arena, rows, streams: Vec::new() }
    }

    /// Adds a stream and returns its index. The caller keeps the index while it adds rows of this stream; a
    /// stream added twice is harmless.
    pub fn add_stream(&mut self, stream: &Arc<Stream>) -> u32 {
        if let Some(last) = self.streams.last()
            && Arc::ptr_eq(last, stream)
        {
            return self.streams.len() as u32 - 1;
        }
        self.streams.push(Arc::clone(stream));
        self.streams.len() as u32 - 1
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, row: Row) {
        debug_assert!(row.content.end() <= self.arena.len() && row.raw.end() <= self.arena.len());
        debug_assert!((row.stream as usize) < self.streams.len());
        self.rows.push(row);
    }

    /// Flags the row with this index, if it begins at the start of its file.
    pub fn flag_first(&mut self, index: usize, flags: Flags) {
        if let Some(row) = self.rows.get_mut(index).filter(|row| row.offset == 0) {
            row.flags = row.flags.with(flags);
        }
    }

    /// The number of rows so far.
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether the batch should be handed over before more is added.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS || self.arena.len() >= MAX_BATCH_BYTES
    }

    /// The finished batch. Its arena goes back to `pool` when the last pipeline has let go of it.
    pub fn finish(self, pool: &Arc<ArenaPool>) -> Batch {
        Batch { arena: self.arena, rows: self.rows, streams: self.streams, pool: Arc::clone(pool) }
    }
}

/// Rows of one source over one arena of bytes. Immutable.
#[derive(Debug)]
pub struct Batch {
    arena: Arena,
    rows: Vec<Row>,
    streams: Vec<Arc<Stream>>,
    pool: Arc<ArenaPool>,
}

impl Batch {
    /// The rows, in the order in which they were read.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The streams that the rows refer to.
    pub fn streams(&self) -> &[Arc<Stream>] {
        &self.streams
    }

    /// The bytes that the spans point into.
    pub fn bytes(&self) -> &[u8] {
        self.arena.filled()
    }

    pub(crate) fn padded(&self) -> &[u8] {
        self.arena.padded()
    }

    /// A row's text.
    pub fn content(&self, row: &Row) -> &[u8] {
        &self.arena.filled()[row.content.range()]
    }

    /// A row's raw bytes, those that its identity is made of.
    pub fn raw(&self, row: &Row) -> &[u8] {
        &self.arena.filled()[row.raw.range()]
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut arena = std::mem::take(&mut self.arena);
        arena.rows = std::mem::take(&mut self.rows);
        arena.rows.clear();
        self.pool.put(arena);
    }
}
