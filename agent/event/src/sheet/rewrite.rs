//! Rewriting: an event's text with edits applied, before the encoder would do it.

use super::{Event, Place, Sheet};
use crate::batch::Batch;
use crate::edit::{Compiled, Program};
use crate::scan::MAX_DEPTH;
use crate::splice::{RowEdit, Splice};

impl Sheet {
    /// Applies passes up to `to`, and the edits that wait, to an event's text.
    pub(super) fn splice_in_place(&mut self, compiled: &Compiled, batch: &Batch, index: usize, to: usize) {
        loop {
            let Some(event) = self.events.get(index).copied() else { return };
            let (program, upto) = compiled.program(event.applied as usize, to, event.ways);
            if upto == event.applied as usize && !event.waits {
                return;
            }
            let waiting = std::mem::take(&mut self.waiting);
            self.splice_once(compiled, batch, index, program, waiting_for(&waiting, &event, index));
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
            written: &self.written,
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
        self.give_back(&event);
        let (fields, end) = (compiled.tree.fields(), self.values.len());
        // What was an object before may lie deeper now.
        self.scanner.set_max_depth(usize::MAX);
        self.load_or_empty(compiled, object, &mut event);
        self.scanner.set_max_depth(MAX_DEPTH);
        // The values were appended; their place is the event's own.
        self.values.copy_within(end..end + fields, index * fields);
        self.values.truncate(end);
        if let Some(place) = self.events.get_mut(index) {
            *place = event;
        }
    }

    /// Gives back what an event's text takes where it lies at the end: many edits of one event take no more than one.
    fn give_back(&mut self, event: &Event) {
        if event.place == Place::Sheet && event.text.end() == self.arena.len() {
            self.arena.truncate(event.text.start as usize);
        }
        if event.first_hit as usize + event.hits as usize == self.hits.len() {
            self.hits.truncate(event.first_hit as usize);
        }
    }
}

/// The edits that wait for an event, among those that wait for any.
pub(super) fn waiting_for<'a>(waiting: &'a [RowEdit], event: &Event, index: usize) -> &'a [RowEdit] {
    if !event.waits {
        return &[];
    }
    let index = index as u32;
    let start = waiting.partition_point(|edit| edit.event < index);
    let end = waiting.partition_point(|edit| edit.event <= index);
    waiting.get(start..end).unwrap_or_default()
}
