//! Encoding: the documents of what is left, with the envelope, all edits and the ids.
//!
//! A document is `{"@timestamp":…,"cluster":…,"node":…,"kubernetes":{…},"stream":…,"log":{…},` and behind it the
//! event's own members, spliced. Members of the envelope's names are the envelope's alone: an event's own go into the
//! object `event`, in every spelling.

use super::rewrite::waiting_for;
use super::{Sheet, State};
use crate::batch::{Batch, Flags};
use crate::edit::Compiled;
use crate::identity::EventId;
use crate::splice::Splice;

/// What is known of a finished document beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The event's id.
    pub id: EventId,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// Index into the batch's streams.
    pub stream: u32,
    /// Bytes of the event as it was read, or as a stage made it.
    pub bytes: u64,
}

/// Where a document goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// To the sinks.
    Kept,
    /// To the dead letters.
    Dead,
}

impl Sheet {
    /// Writes the documents of all events of one fate to `out`, in order, each with a newline behind it, and tells
    /// `each` of them with the place where its bytes end. A dead letter is written once.
    pub fn encode(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        which: Encoded,
        out: &mut Vec<u8>,
        mut each: impl FnMut(Finished, usize),
    ) {
        let wanted = match which {
            Encoded::Kept => State::Live,
            Encoded::Dead => State::Dead,
        };
        let passes = compiled.passes();
        for index in 0..self.events.len() {
            if self.events.get(index).is_none_or(|event| event.state != wanted) {
                continue;
            }
            let Some(finished) = self.encode_one(compiled, batch, index, passes, out) else { continue };
            each(finished, out.len());
            out.push(b'\n');
            if let Some(event) = self.events.get_mut(index).filter(|event| event.state == State::Dead) {
                event.state = State::Gone;
            }
        }
    }

    /// The documents of all events before any stage, each with a newline behind it.
    pub fn encode_loaded(&mut self, compiled: &Compiled, batch: &Batch, out: &mut Vec<u8>) {
        self.encode_with(compiled, batch, 0, out);
    }

    /// The documents of the events that are still there, as they would be if `stage` were the last, each with a newline
    /// behind it. To be called between two stages, for who wants to see what each does.
    pub fn encode_behind(&mut self, compiled: &Compiled, batch: &Batch, stage: usize, out: &mut Vec<u8>) {
        let passes = compiled.stages.get(stage + 1).map_or(compiled.passes(), |next| next.first_pass);
        self.encode_with(compiled, batch, passes, out);
    }

    fn encode_with(&mut self, compiled: &Compiled, batch: &Batch, passes: usize, out: &mut Vec<u8>) {
        for index in 0..self.events.len() {
            if self.events.get(index).is_none_or(|event| event.state != State::Live) {
                continue;
            }
            if self.encode_one(compiled, batch, index, passes, out).is_some() {
                out.push(b'\n');
            }
        }
    }

    /// With the edits of the first `passes`.
    pub(super) fn encode_one(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        index: usize,
        passes: usize,
        out: &mut Vec<u8>,
    ) -> Option<Finished> {
        self.prepare(compiled, batch, index, passes);
        let event = self.events.get(index).copied()?;
        let row = batch.rows().get(event.row as usize)?;
        let stream = batch.streams().get(row.stream as usize)?;
        out.extend_from_slice(b"{\"@timestamp\":\"");
        self.clock.write(out, event.time);
        out.extend_from_slice(b"\",");
        out.extend_from_slice(stream.envelope());
        write_number(out, row.offset);
        write_flags(out, event.flags);
        out.extend_from_slice(b"},");
        self.splice_prepared(compiled, batch, index, (passes, &compiled.reserved), out);
        let id = EventId::new(stream.incarnation(), row.offset, batch.raw(row));
        let id = if event.ordinal == 0 { id } else { id.child(event.ordinal - 1) };
        Some(Finished { id, time: event.time, stream: row.stream, bytes: event.booked(batch) })
    }

    /// Writes an event behind a `{`, with the passes that [`Sheet::prepare`] left and the edits that wait for it. Members of
    /// these names go into the object `event`.
    #[inline]
    pub(super) fn splice_prepared(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        index: usize,
        (passes, reserved): (usize, &[bool]),
        out: &mut Vec<u8>,
    ) {
        let Some(event) = self.events.get(index).copied() else { return };
        let mut scratch = std::mem::take(&mut self.scratch);
        let splice = Splice {
            tree: &compiled.tree,
            text: self.text_of(&event, batch),
            open: event.open,
            close: event.close,
            hits: self.hits_of(&event),
            program: compiled.program(event.applied as usize, passes, event.ways).0,
            row: waiting_for(&self.waiting, &event, index),
            written: &self.written,
            reserved,
        };
        splice.write(out, &mut scratch);
        self.scratch = scratch;
    }

    /// Applies the passes but those that the encoder's own splice can apply.
    pub(super) fn prepare(&mut self, compiled: &Compiled, batch: &Batch, index: usize, passes: usize) {
        while let Some(event) = self.events.get(index).copied() {
            let (_, upto) = compiled.program(event.applied as usize, passes, event.ways);
            if upto >= passes {
                return;
            }
            self.splice_in_place(compiled, batch, index, upto);
        }
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (number % 10) as u8;
        }
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

fn write_flags(out: &mut Vec<u8>, flags: Flags) {
    if flags == Flags::default() {
        return;
    }
    out.extend_from_slice(b",\"flags\":[");
    for (bit, name) in Flags::NAMES.iter().enumerate() {
        if flags.has(Flags(1 << bit)) {
            if out.last() != Some(&b'[') {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        }
    }
    out.push(b']');
}
