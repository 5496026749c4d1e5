//! From the child's output to rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use twox_hash::XxHash3_64;
use weir_event::batch::Flags;
use weir_pipeline::source::{SourceMetrics, Stopped};

use crate::cursor::Cursor;
use crate::document::{Documents, time_of};
use crate::export::{Entry, Parsed, Parser};
use crate::outgoing::{Outgoing, Place};
use crate::selection::Selection;

/// What is to be done after some output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Read on.
    On,
    /// Begin with the oldest entry: the journal does not know the cursor, nor what came before or behind it.
    StartOver,
}

/// Makes rows of what children write.
pub(crate) struct Reader {
    source: Arc<str>,
    parser: Parser,
    documents: Documents,
    pub outgoing: Outgoing,
    /// The cursor that the child was given, until its first entry came.
    expected: Option<String>,
    /// Whether the next entry is flagged as the first behind a gap.
    is_behind_gap: bool,
    /// Whether the child wrote an entry.
    pub has_entry: bool,
    metrics: Arc<SourceMetrics>,
    /// Bytes of the last incarnation's parts.
    parts: Vec<u8>,
}

/// What the first entry says of the cursor that the child was given.
enum First {
    /// It is that entry, which was read before.
    Known,
    /// It is a later one: the journal has lost some.
    Later,
    /// It is from elsewhere.
    Elsewhere,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(
        source: Arc<str>,
        selection: Selection,
        outgoing: Outgoing,
        metrics: Arc<SourceMetrics>,
    ) -> Reader {
        Reader {
            source,
            parser: Parser::new(selection.clone()),
            documents: Documents::new(selection),
            outgoing,
            expected: None,
            is_behind_gap: false,
            has_entry: false,
            metrics,
            parts: Vec::new(),
        }
    }

    /// Another child begins, with this cursor or none.
    pub(crate) fn begin(&mut self, cursor: Option<String>) {
        self.parser.reset();
        self.expected = cursor;
        self.has_entry = false;
    }

    /// Whether the child was given a cursor and wrote nothing, not even the entry of that cursor.
    pub(crate) fn waits_for_cursor(&self) -> bool {
        self.expected.is_some()
    }

    /// Notes that entries may be missing before the next one.
    pub(crate) fn note_gap(&mut self) {
        self.is_behind_gap = true;
        self.metrics.truncated_files.fetch_add(1, Ordering::Relaxed);
        self.metrics.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what a child wrote.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Flow, Stopped> {
        self.metrics.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut rest = bytes;
        while let Some(parsed) = self.parser.next(&mut rest) {
            let flow = match parsed {
                Parsed::Entry => self.take_entry()?,
                Parsed::Malformed => {
                    self.count_malformed();
                    Flow::On
                }
            };
            if flow == Flow::StartOver {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn take_entry(&mut self) -> Result<Flow, Stopped> {
        let entry = self.parser.entry();
        // Without a place it could be neither told from others nor be gone on from.
        let Some(cursor) = entry.first(b"__CURSOR").and_then(Cursor::parse) else {
            self.count_malformed();
            return Ok(Flow::On);
        };
        self.has_entry = true;
        if let Some(expected) = self.expected.take() {
            match first(&expected, &cursor) {
                First::Known => return Ok(Flow::On),
                First::Later => {
                    tracing::warn!(
                        source = &*self.source,
                        "the journal no longer has the entry that was read last, or other entries are selected than \
                         before; going on with the next one that there is"
                    );
                    self.is_behind_gap = true;
                    self.metrics.truncated_files.fetch_add(1, Ordering::Relaxed);
                    self.metrics.errors.fetch_add(1, Ordering::Relaxed);
                }
                First::Elsewhere => return Ok(Flow::StartOver),
            }
        }
        let (document, mut flags) = self.documents.write(entry);
        let (time, ignored) = time_of(entry, cursor.realtime());
        flags = flags.with(ignored);
        if flags.has(Flags::MALFORMED) {
            self.metrics.malformed.fetch_add(1, Ordering::Relaxed);
        }
        if std::mem::take(&mut self.is_behind_gap) {
            flags = flags.with(Flags::AFTER_TRUNCATION);
        }
        let incarnation = incarnation(entry, &cursor, &mut self.parts);
        let offset = cursor.number();
        self.outgoing.push(document, Place { cursor: cursor.text(), incarnation, offset, time, flags })?;
        Ok(Flow::On)
    }

    fn count_malformed(&self) {
        self.metrics.malformed.fetch_add(1, Ordering::Relaxed);
    }
}

fn first(expected: &str, found: &Cursor<'_>) -> First {
    match Cursor::parse(expected.as_bytes()) {
        Some(expected) if expected.is_same_entry(found) => First::Known,
        Some(expected) if expected.is_comparable_with(found) => First::Later,
        _ => First::Elsewhere,
    }
}

/// The incarnation of an entry: its machine, the sequence of its number, and its boot. A machine that was set back to an
/// earlier state of its disk gives a number twice, but not in one boot.
fn incarnation(entry: &Entry, cursor: &Cursor<'_>, bytes: &mut Vec<u8>) -> u64 {
    let machine = entry.first(b"_MACHINE_ID").unwrap_or_default();
    let [sequence, boot] = cursor.belongs_to();
    bytes.clear();
    // With their lengths, so that no two lists of parts run together.
    for part in [&b"journal"[..], machine, sequence.as_bytes(), boot.as_bytes()] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    XxHash3_64::oneshot(bytes)
}
