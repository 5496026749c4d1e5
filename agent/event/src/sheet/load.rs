//! Loading: every row of a batch becomes an event with a text that is one JSON object on one line.

use super::{Event, Place, Sheet, State};
use crate::batch::{Arena, Batch, Flags, MAX_BATCH_BYTES, Row};
use crate::column::Kind;
use crate::edit::{Compiled, Ways, one_line};
use crate::parse::Parser;
use crate::path::NONE;
use crate::scan::{Found, Hit, NotAnObject, Text, Value};
use crate::time;
use crate::transform::Call;

/// What grew beyond this for a giant event is given back.
const MAX_KEPT_BYTES: usize = 4 * MAX_BATCH_BYTES;

/// To the scanner, texts that the sheet itself holds are a stream of their own.
const OWN_TEXTS: u64 = 0;

impl Sheet {
    /// Takes a batch up, in place of the one before. Where there is a time field, an event's time is the one in it: see
    /// [`time::of_field`].
    pub fn load(&mut self, compiled: &Compiled, parser: &Parser, time_field: Option<u16>, batch: &Batch) {
        self.clear(compiled);
        let first = compiled.stages.first();
        self.is_laid_out = first.is_some();
        let mut call = std::mem::take(&mut self.call);
        call.begin(first.map_or(0, |parts| parts.reads.len()));
        let mut loading = Loading { compiled, time_field, batch, call };
        let rows = batch.rows();
        let mut pair = [Found::default(); 2];
        let mut index = 0;
        while let Some(row) = rows.get(index) {
            let first_hit = self.hits.len();
            if parser.takes_json()
                && let Some(second) = rows.get(index + 1).filter(|second| second.stream == row.stream)
                && let Some(hits) =
                    self.scan_pair(compiled, [row, second].map(|row| text_of(batch, row)), &mut pair)
            {
                let [one, other] = &pair;
                self.take_object(&mut loading, (index, row), (first_hit, hits), one);
                self.take_object(&mut loading, (index + 1, second), (first_hit + hits, hits), other);
                index += 2;
                continue;
            }
            let object = match parser.takes_json() {
                true => self.scan(compiled, text_of(batch, row), first_hit),
                false => Err(NotAnObject),
            };
            match object {
                Ok(found) => {
                    let hits = self.hits.len() - first_hit;
                    self.take_object(&mut loading, (index, row), (first_hit, hits), &found);
                }
                Err(NotAnObject) => {
                    let mut event = Event::of(row, index, first_hit);
                    self.load_text(compiled, parser, batch.content(row), &mut event);
                    self.events.push(event);
                    self.finish_row(&mut loading);
                }
            }
            index += 1;
        }
        self.call = loading.call;
    }

    /// A line that is a JSON object. The event is written field by field to where it stays: one that is put together
    /// elsewhere and moved there costs more than all the rest of this.
    #[inline(always)]
    fn take_object(
        &mut self,
        loading: &mut Loading<'_>,
        (index, row): (usize, &Row),
        (first_hit, hits): (usize, usize),
        found: &Found,
    ) {
        self.events.push(Event {
            open: found.open,
            close: found.close,
            hits: hits as u32,
            backslash: found.facts.backslash,
            ways: ways(loading.compiled, self.hits.get(first_hit..first_hit + hits).unwrap_or_default()),
            ..Event::of(row, index, first_hit)
        });
        if found.facts.control {
            self.copy_lines(loading.batch.content(row));
        }
        self.finish_row(loading);
    }

    /// What is left to do for the last event: its time, and what the first stage reads of it.
    #[inline(always)]
    fn finish_row(&mut self, loading: &mut Loading<'_>) {
        let Loading { compiled, time_field, batch, call } = loading;
        if let Some(field) = time_field {
            self.take_time(compiled, *field, batch);
        }
        if let (Some(first), Some(last)) = (compiled.stages.first(), self.events.len().checked_sub(1)) {
            self.lay_out(call, compiled, first, batch, last);
        }
    }

    /// The time that the last event itself says, if it may.
    fn take_time(&mut self, compiled: &Compiled, field: u16, batch: &Batch) {
        let Some(event) = self.events.last() else { return };
        let first = (self.events.len() - 1) * compiled.tree.fields();
        let value = self.values.get(first + field as usize).copied().unwrap_or_default();
        if matches!(value.kind, Kind::Absent | Kind::Null) {
            return;
        }
        let text = self.text_of(event, batch).get(value.start as usize..value.end as usize);
        let time = time::of_field(text.unwrap_or_default(), event.time);
        let Some(event) = self.events.last_mut() else { return };
        match time {
            Some(time) => event.time = time,
            None => event.flags = event.flags.with(Flags::TIME_IGNORED),
        }
    }

    /// Forgets the last batch, and what it had learnt for other plans. Memory that grew for giant events is given back.
    fn clear(&mut self, compiled: &Compiled) {
        if self.plans != compiled.id {
            self.plans = compiled.id;
            self.scanner.forget();
        }
        self.events.clear();
        self.hits.clear();
        self.values.clear();
        self.waiting.clear();
        self.written.clear();
        self.children.clear();
        self.arena.truncate(0);
        if self.arena.capacity() > MAX_KEPT_BYTES {
            self.arena = Arena::default();
        }
        for memory in [&mut self.written, &mut self.text] {
            if memory.capacity() > MAX_KEPT_BYTES {
                *memory = Vec::new();
            }
        }
        self.hits.shrink_to(MAX_KEPT_BYTES / size_of::<Hit>());
        self.scratch.trim(MAX_KEPT_BYTES);
        self.scanner.trim();
    }

    /// Scans a text and appends a row of values for it. A text that is not UTF-8 is refused: see [`Sheet::load_text`].
    fn scan(&mut self, compiled: &Compiled, text: Text<'_>, first_hit: usize) -> Result<Found, NotAnObject> {
        let (fields, first_value) = (compiled.tree.fields(), self.values.len());
        self.values.resize(first_value + fields, Value::default());
        let values = self.values.get_mut(first_value..).unwrap_or_default();
        let bytes = text.padded.get(..text.len).unwrap_or_default();
        // Most lines that are not JSON are told by their first byte.
        let found = match first_byte(bytes) {
            Some(b'{') => self.scanner.scan(text, &compiled.tree, &mut self.hits, values),
            _ => Err(NotAnObject),
        };
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

    /// [`Sheet::scan`] for two texts of one stream, where they are much alike.
    #[inline]
    fn scan_pair(
        &mut self,
        compiled: &Compiled,
        texts: [Text<'_>; 2],
        pair: &mut [Found; 2],
    ) -> Option<usize> {
        let (fields, first_value, first_hit) = (compiled.tree.fields(), self.values.len(), self.hits.len());
        self.values.resize(first_value + 2 * fields, Value::default());
        let values = self.values.get_mut(first_value..).unwrap_or_default();
        let hits = self.scanner.scan_pair(texts, &mut self.hits, values, pair);
        let is_good = |(found, text): (&Found, Text<'_>)| {
            !found.facts.non_ascii || is_utf8(text.padded.get(..text.len).unwrap_or_default())
        };
        if hits.is_some() && pair.iter().zip(texts).all(is_good) {
            return hits;
        }
        self.hits.truncate(first_hit);
        self.values.truncate(first_value);
        None
    }

    /// The last event stays in the batch unless it has more than one line itself, which a joined event may have between
    /// its tokens.
    #[cold]
    fn copy_lines(&mut self, content: &[u8]) {
        let Some(event) = self.events.last_mut() else { return };
        let object = content.get(event.open as usize..=event.close as usize).unwrap_or_default();
        if memchr::memchr2(b'\n', b'\r', object).is_none() {
            return;
        }
        let text = self.arena.append(content);
        one_line(self.arena.slice_mut(text));
        (event.place, event.text) = (Place::Sheet, text);
    }

    /// A line that is not a JSON object as it stands. One that only has bytes that are not UTF-8 may be one with these
    /// replaced.
    fn load_text(&mut self, compiled: &Compiled, parser: &Parser, content: &[u8], event: &mut Event) {
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
            self.load_or_empty(compiled, &document, event);
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
        let padded = arena.padded().get(text.start as usize..).unwrap_or_default();
        let own = Text { stream: OWN_TEXTS, padded, len: text.len as usize };
        let found = self.scan(compiled, own, first_hit);
        self.arena = arena;
        let Ok(found) = found else {
            self.arena.truncate(text.start as usize);
            return Err(NotAnObject);
        };
        if found.facts.control {
            one_line(self.arena.slice_mut(text));
        }
        (event.place, event.text, event.first_hit) = (Place::Sheet, text, first_hit as u32);
        event.take(compiled, found, &self.hits);
        Ok(())
    }

    /// Loads what is known to be an object. Where it is none after all, the event is left without members of its own:
    /// neither may the others' values be misplaced, nor may it keep what an edit was to take away.
    pub(super) fn load_or_empty(&mut self, compiled: &Compiled, object: &[u8], event: &mut Event) {
        let loaded = self.load_bytes(compiled, object, event);
        debug_assert!(loaded.is_ok(), "not an object: {:?}", String::from_utf8_lossy(object));
        if loaded.is_err() {
            let _ = self.load_bytes(compiled, b"{}", event);
        }
    }
}

/// What loading a batch works with.
struct Loading<'a> {
    compiled: &'a Compiled,
    time_field: Option<u16>,
    batch: &'a Batch,
    /// For the first stage.
    call: Call,
}

impl Event {
    #[inline(always)]
    fn of(row: &Row, index: usize, first_hit: usize) -> Event {
        Event {
            place: Place::Batch,
            text: row.content,
            open: 0,
            close: 0,
            first_hit: first_hit as u32,
            hits: 0,
            row: index as u32,
            time: row.time,
            ordinal: 0,
            made_of: 0,
            flags: row.flags,
            backslash: false,
            applied: 0,
            waits: false,
            ways: Ways::default(),
            state: State::Live,
        }
    }

    /// Notes what the scan of its text found; its hits are the last ones.
    #[inline]
    fn take(&mut self, compiled: &Compiled, found: Found, hits: &[Hit]) {
        (self.open, self.close) = (found.open, found.close);
        self.backslash = found.facts.backslash;
        self.hits = hits.len() as u32 - self.first_hit;
        self.ways = ways(compiled, hits.get(self.first_hit as usize..).unwrap_or_default());
    }
}

/// Whether what is set may have arrays on its way, in an event with these hits.
#[inline(always)]
fn ways(compiled: &Compiled, hits: &[Hit]) -> Ways {
    if !compiled.sets_below {
        return Ways::default();
    }
    let is_on_the_way =
        |hit: &Hit| hit.kind == Kind::Array && !hit.beyond && compiled.tree.inside(hit.node) != NONE;
    if hits.iter().any(is_on_the_way) { Ways::Arrays } else { Ways::Objects }
}

/// A row's text for the scanner.
#[inline]
fn text_of<'a>(batch: &'a Batch, row: &Row) -> Text<'a> {
    let stream = batch.streams().get(row.stream as usize).map_or(0, |stream| stream.incarnation());
    let padded = batch.padded().get(row.content.start as usize..).unwrap_or_default();
    Text { stream, padded, len: row.content.len as usize }
}

fn first_byte(text: &[u8]) -> Option<u8> {
    match text.first() {
        Some(b' ' | b'\t' | b'\n' | b'\r') => text.trim_ascii_start().first().copied(),
        first => first.copied(),
    }
}

fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}
