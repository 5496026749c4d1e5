//! The sheet: what one pipeline makes of a batch. Where every row's event lies, what was found in it, and what the
//! stages said of it, beside the batch, which does not change.
//!
//! A row is loaded once: a JSON object stays where it is in the batch's arena, anything else gets a document from the
//! parser in the sheet's own arena. Stages then see columns, and answer with verdicts and edits that wait for the
//! encoder ([`crate::edit`]). A sheet belongs to one worker and keeps its memory between batches.

mod apply;
mod encode;
mod load;
mod look;
mod note;
mod rewrite;
mod texts;

use crate::batch::{Arena, Batch, Flags, Span};
use crate::column::Kind;
use crate::edit::{Compiled, Read, StageParts, Ways};
use crate::scan::{Hit, Scanner, Value};
use crate::splice::{RowEdit, Scratch};
use crate::time::Rfc3339Writer;
use crate::transform::{Call, Context};

pub use apply::{Applied, Drops, MAX_NEW_EVENTS, OnFault};
pub use encode::{Encoded, Finished};
pub use look::Upto;
pub use note::MAX_ROW_EDITS;
pub use texts::Standing;

/// Where an event's text lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Batch,
    Sheet,
}

/// What became of a row so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Live,
    Gone,
    /// Goes to the dead letters.
    Dead,
}

/// One event on its way through a pipeline.
#[derive(Clone, Copy, Debug)]
struct Event {
    place: Place,
    text: Span,
    open: u32,
    close: u32,
    first_hit: u32,
    hits: u32,
    /// The batch's row that it is, or that it was made of.
    row: u32,
    /// Nanoseconds since the Unix epoch.
    time: i64,
    /// 0 for the row itself, else its place among the events made of it.
    ordinal: u32,
    /// Bytes of an event that a stage made.
    made_of: u32,
    flags: Flags,
    /// There is a backslash somewhere in the text.
    backslash: bool,
    /// How many passes are applied to the text.
    applied: u8,
    /// Edits of its own wait for the encoder.
    waits: bool,
    ways: Ways,
    state: State,
}

/// What one pipeline makes of a batch.
#[derive(Debug, Default)]
pub struct Sheet {
    scanner: Scanner,
    /// Texts that are not in the batch.
    arena: Arena,
    events: Vec<Event>,
    hits: Vec<Hit>,
    /// As many for each event as the tree has fields.
    values: Vec<Value>,
    /// Sorted by event.
    waiting: Vec<RowEdit>,
    /// The values that they write.
    written: Vec<u8>,
    /// How many events were made of each row, as far as any were.
    children: Vec<u32>,
    /// Which compiled plans the scanner has learnt for.
    plans: u64,
    /// The call's rows, as events.
    live: Vec<u32>,
    call: Call,
    /// The call has what the first stage reads of every event, and nothing has changed since: values are copied while
    /// the text that was just scanned is still at hand.
    is_laid_out: bool,
    scratch: Scratch,
    text: Vec<u8>,
    clock: Rfc3339Writer,
}

impl Sheet {
    /// An empty sheet.
    pub fn new() -> Sheet {
        Sheet::default()
    }

    /// How many events there are, with those that are gone.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// How many events are still on their way.
    pub fn live(&self) -> usize {
        self.events.iter().filter(|event| event.state == State::Live).count()
    }

    /// Lays the columns out that a stage reads, over the events that are still there. `None` when there are none.
    pub fn call(&mut self, compiled: &Compiled, stage: usize, batch: &Batch) -> Option<&Call> {
        let parts = compiled.stages.get(stage)?;
        self.live.clear();
        if stage == 0 && std::mem::take(&mut self.is_laid_out) {
            self.live.extend(0..self.events.len() as u32);
            return (!self.live.is_empty()).then_some(&self.call);
        }
        for index in 0..self.events.len() {
            let Some(event) = self.events.get(index).filter(|event| event.state == State::Live) else {
                continue;
            };
            let needs = parts.needs(event.ways);
            let is_stale = (event.applied as usize) < needs.reads;
            if is_stale || (needs.reads_row_edits && event.waits) {
                self.splice_in_place(compiled, batch, index, parts.first_pass);
            }
            self.live.push(index as u32);
        }
        if self.live.is_empty() {
            return None;
        }
        let mut call = std::mem::take(&mut self.call);
        call.begin(parts.reads.len());
        for index in &self.live {
            self.lay_out(&mut call, compiled, parts, batch, *index as usize);
        }
        self.call = call;
        Some(&self.call)
    }

    /// Appends what a stage reads of an event.
    #[inline]
    fn lay_out(&self, call: &mut Call, compiled: &Compiled, parts: &StageParts, batch: &Batch, index: usize) {
        let Some(event) = self.events.get(index) else { return };
        let Some(row) = batch.rows().get(event.row as usize) else { return };
        call.rows += 1;
        call.streams.push(row.stream);
        call.times.push(event.time);
        let padded = self.padded_of(event, batch);
        let first_value = index * compiled.tree.fields();
        for (column, read) in call.columns.iter_mut().zip(&parts.reads) {
            match read {
                Read::Field(field) => {
                    let value = self.values.get(first_value + *field as usize).copied().unwrap_or_default();
                    column.push_value(value, padded, event.backslash);
                }
                Read::Whole => {
                    let object = padded.get(event.open as usize..=event.close as usize).unwrap_or_default();
                    column.push(Kind::Object, object);
                }
            }
        }
    }

    /// The attributes that a stage asked for, one value for each of the batch's streams.
    pub fn context(compiled: &Compiled, stage: usize, batch: &Batch, context: &mut Context) {
        let wanted = compiled.stages.get(stage).map(|parts| parts.attributes.as_slice()).unwrap_or_default();
        context.attributes.resize_with(wanted.len(), Default::default);
        for (column, name) in context.attributes.iter_mut().zip(wanted) {
            column.clear();
            for stream in batch.streams() {
                match stream.attribute(name) {
                    Some(value) => column.push(Kind::String, value.as_bytes()),
                    None => column.push(Kind::Absent, &[]),
                }
            }
        }
    }

    fn text_of<'a>(&'a self, event: &Event, batch: &'a Batch) -> &'a [u8] {
        let bytes = match event.place {
            Place::Batch => batch.bytes(),
            Place::Sheet => self.arena.filled(),
        };
        bytes.get(event.text.range()).unwrap_or_default()
    }

    /// An event's text with what lies behind it, at least the padding.
    fn padded_of<'a>(&'a self, event: &Event, batch: &'a Batch) -> &'a [u8] {
        let padded = match event.place {
            Place::Batch => batch.padded(),
            Place::Sheet => self.arena.padded(),
        };
        padded.get(event.text.start as usize..).unwrap_or_default()
    }

    fn hits_of(&self, event: &Event) -> &[Hit] {
        let first = event.first_hit as usize;
        self.hits.get(first..first + event.hits as usize).unwrap_or_default()
    }
}

impl Event {
    /// The bytes that the ledger books for it.
    fn booked(&self, batch: &Batch) -> u64 {
        match self.ordinal {
            0 => batch.rows().get(self.row as usize).map_or(0, |row| u64::from(row.raw.len)),
            _ => u64::from(self.made_of),
        }
    }
}

#[cfg(test)]
mod tests;
