//! Loading: every row of a batch becomes an event with a text that is one JSON object.

use super::{Event, Place, Sheet, State};
use crate::batch::{Batch, Flags, Row, Span};
use crate::edit::{Compiled, Program};
use crate::parse::Parser;
use crate::scan::{Found, NotAnObject, Value};
use crate::splice::{RowEdit, Splice};

/// To the scanner, texts that the sheet itself holds are a stream of their own.
const OWN_TEXTS: u64 = 0;

impl Sheet {
    /// Takes a batch up, in place of the one before.
    pub fn load(&mut self, compiled: &Compiled, parser: &Parser, batch: &Batch) {
        self.events.clear();
        self.hits.clear();
        self.values.clear();
        self.waiting.clear();
        self.arena.truncate(0);
        for (index, row) in batch.rows().iter().enumerate() {
            let first_hit = self.hits.len();
            let object = match parser.takes_json() {
                true => self.scan(compiled, stream_of(batch, row), batch.padded(), row.content, first_hit),
                false => Err(NotAnObject),
            };
            let place = Place::Batch;
            let mut event = Event {
                place,
                text: row.content,
                open: 0,
                close: 0,
                first_hit: first_hit as u32,
                hits: 0,
                row: index as u32,
                ordinal: 0,
                made_of: 0,
                flags: row.flags,
                backslash: false,
                applied: 0,
                waits: false,
                state: State::Live,
            };
            match object {
                Ok(found) => event.take(found, self.hits.len()),
                Err(NotAnObject) => self.load_text(compiled, parser, batch.content(row), &mut event),
            }
            self.events.push(event);
        }
    }

    /// Scans a text and appends a row of values for it. A text that is not UTF-8 is refused: see [`Sheet::load_text`].
    fn scan(
        &mut self,
        compiled: &Compiled,
        stream: u64,
        padded: &[u8],
        text: Span,
        first_hit: usize,
    ) -> Result<Found, NotAnObject> {
        let (fields, first_value) = (compiled.tree.fields(), self.values.len());
        let padded = padded.get(text.start as usize..).unwrap_or_default();
        self.values.resize(first_value + fields, Value::default());
        let values = self.values.get_mut(first_value..).unwrap_or_default();
        // Most lines that are not JSON are told by their first byte.
        let found = if first_byte(padded, text.len as usize) == Some(b'{') {
            self.scanner.scan(stream, padded, text.len as usize, &compiled.tree, &mut self.hits, values)
        } else {
            Err(NotAnObject)
        };
        let bytes = padded.get(..text.len as usize).unwrap_or_default();
        let found = found.and_then(|found| match found.facts.non_ascii && !is_utf8(bytes) {
            true => Err(NotAnObject),
            false => Ok(found),
        });
        if found.is_err() {
            self.hits.truncate(first_hit);
            self.values.truncate(first_value);
        }
        found
    }

    /// A line that is not a JSON object as it stands. One that only has bytes that are not UTF-8 may be one with these
    /// replaced.
    fn load_text(&mut self, compiled: &Compiled, parser: &Parser, content: &[u8], event: &mut Event) {
        event.place = Place::Sheet;
        let replaced;
        let text = match simdutf8::basic::from_utf8(content) {
            Ok(text) => text,
            Err(_) => {
                event.flags = event.flags.with(Flags::INVALID_UTF8);
                replaced = String::from_utf8_lossy(content);
                if parser.takes_json() && self.load_bytes(compiled, replaced.as_bytes(), event).is_ok() {
                    return;
                }
                &replaced
            }
        };
        let mut document = std::mem::take(&mut self.text);
        document.clear();
        parser.render(text, &mut document);
        if self.load_bytes(compiled, &document, event).is_err() {
            // No parser writes anything but an object; if one did, its bytes still must not be lost.
            document.clear();
            Parser::None.render(text, &mut document);
            let _ = self.load_bytes(compiled, &document, event);
        }
        self.text = document;
    }

    /// Copies an object into the sheet and scans it.
    pub(super) fn load_bytes(
        &mut self,
        compiled: &Compiled,
        object: &[u8],
        event: &mut Event,
    ) -> Result<(), NotAnObject> {
        let text = self.arena.append(object);
        let first_hit = self.hits.len();
        let arena = std::mem::take(&mut self.arena);
        let found = self.scan(compiled, OWN_TEXTS, arena.padded(), text, first_hit);
        self.arena = arena;
        (event.place, event.text, event.first_hit) = (Place::Sheet, text, first_hit as u32);
        event.take(found?, self.hits.len());
        Ok(())
    }

    /// Applies passes up to `to`, and the edits that wait, to an event's text.
    pub(super) fn splice_in_place(&mut self, compiled: &Compiled, batch: &Batch, index: usize, to: usize) {
        loop {
            let Some(event) = self.events.get(index).copied() else { return };
            let (program, upto) = compiled.program(event.applied as usize, to);
            if upto == event.applied as usize && !event.waits {
                return;
            }
            let waiting = std::mem::take(&mut self.waiting);
            let start = waiting.partition_point(|edit| edit.event < index as u32);
            let end = waiting.partition_point(|edit| edit.event <= index as u32);
            let row = if event.waits { waiting.get(start..end).unwrap_or_default() } else { &[] };
            self.splice_once(compiled, batch, index, program, row);
            self.waiting = waiting;
            if let Some(event) = self.events.get_mut(index) {
                event.applied = upto as u8;
                event.waits = false;
            }
        }
    }

    /// Rewrites an event's text by one program.
    pub(super) fn splice_once(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        index: usize,
        program: &Program,
        row: &[RowEdit],
    ) {
        let Some(event) = self.events.get(index).copied() else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.push(b'{');
        let splice = Splice {
            tree: &compiled.tree,
            text: self.text_of(&event, batch),
            open: event.open,
            close: event.close,
            hits: self.hits_of(&event),
            program,
            row,
            reserved: &[],
        };
        splice.write(&mut text, &mut scratch);
        self.scratch = scratch;
        self.replace_text(compiled, index, &text);
        self.text = text;
    }

    /// Gives an event another text, which is an object.
    pub(super) fn replace_text(&mut self, compiled: &Compiled, index: usize, object: &[u8]) {
        let Some(mut event) = self.events.get(index).copied() else { return };
        let (fields, end) = (compiled.tree.fields(), self.values.len());
        if self.load_bytes(compiled, object, &mut event).is_err() {
            return;
        }
        // The values were appended; their place is the event's own.
        self.values.copy_within(end..end + fields, index * fields);
        self.values.truncate(end);
        if let Some(place) = self.events.get_mut(index) {
            *place = event;
        }
    }
}

impl Event {
    fn take(&mut self, found: Found, hits: usize) {
        (self.open, self.close) = (found.open, found.close);
        self.backslash = found.facts.backslash;
        self.hits = hits as u32 - self.first_hit;
    }
}

/// What tells a row's stream apart for the scanner.
fn stream_of(batch: &Batch, row: &Row) -> u64 {
    batch.streams().get(row.stream as usize).map_or(0, |stream| stream.incarnation())
}

fn first_byte(padded: &[u8], len: usize) -> Option<u8> {
    let text = padded.get(..len)?;
    match text.first() {
        Some(b' ' | b'\t' | b'\n' | b'\r') => text.trim_ascii_start().first().copied(),
        first => first.copied(),
    }
}

fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}
