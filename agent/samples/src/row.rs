//! Samples as rows of a batch.
//!
//! A row of a sample has its document as content, the document's time as time, and in the place of an offset the hash of
//! its series ([`LabelSet::hash`]), so that nobody has to make it again: its id begins with it. Behind the document lies a
//! newline, as in a segment, so that rows which nobody changes are copied there all at once.

use weir_event::batch::{BatchBuilder, Flags, Row};

use crate::document::{Document, Point, write_sample};
use crate::labels::LabelSet;

/// Nanoseconds of a millisecond.
const MILLISECOND: i64 = 1_000_000;

/// Writes rows of samples into batches. Keeps its memory.
#[derive(Debug, Default)]
pub struct RowWriter {
    scratch: Vec<u8>,
}

impl RowWriter {
    /// Adds a sample without more; `series` is the hash of its labels, `stream` what [`BatchBuilder::add_stream`] said.
    #[inline]
    pub fn push_float(
        &mut self,
        batch: &mut BatchBuilder,
        stream: u32,
        (labels, series): (LabelSet<'_>, u64),
        (timestamp, value): (i64, f64),
    ) {
        self.scratch.clear();
        write_sample(&mut self.scratch, timestamp, value, 0);
        self.scratch.push(b'\n');
        let mut content = batch.arena.append(labels.bytes());
        content.len += batch.arena.append(&self.scratch).len - 1;
        let time = timestamp.saturating_mul(MILLISECOND);
        batch.push(Row { content, raw: content, offset: series, time, stream, flags: Flags::default() });
    }

    /// Adds a sample with everything that belongs to it.
    pub fn push(&mut self, batch: &mut BatchBuilder, stream: u32, series: u64, document: &Document<'_>) {
        self.scratch.clear();
        document.write(&mut self.scratch);
        self.scratch.push(b'\n');
        let mut content = batch.arena.append(&self.scratch);
        content.len -= 1;
        let timestamp = match document.point {
            Point::Float { timestamp, .. } | Point::Histogram { timestamp, .. } => timestamp,
        };
        let time = timestamp.saturating_mul(MILLISECOND);
        batch.push(Row { content, raw: content, offset: series, time, stream, flags: Flags::default() });
    }
}
