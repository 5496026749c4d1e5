//! Looking: single events on their way, for who wants to see them. What is looked at is encoded by itself, and goes on as
//! if nobody had looked.

use super::{Finished, Sheet, State};
use crate::batch::Batch;
use crate::edit::Compiled;

/// Up to where edits are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upto {
    /// As it was loaded, before any stage.
    Loaded,
    /// As it came to a stage.
    Before(usize),
    /// As it would be if this stage were the last.
    Behind(usize),
    /// As it is encoded.
    End,
}

impl Sheet {
    /// The events that the last call was laid out over, ascending: its rows.
    pub fn called(&self) -> &[u32] {
        &self.live
    }

    /// Whether an event is still on its way.
    pub fn is_live(&self, index: u32) -> bool {
        self.events.get(index as usize).is_some_and(|event| event.state == State::Live)
    }

    /// The batch's row that an event is, or was made of.
    pub fn row_of(&self, index: usize) -> Option<u32> {
        self.events.get(index).map(|event| event.row)
    }

    /// Writes one event's document to `out`, whatever became of the event. To be called between two stages, of which none
    /// behind `upto` was applied yet.
    pub fn look(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        index: usize,
        upto: Upto,
        out: &mut Vec<u8>,
    ) -> Option<Finished> {
        let before = |stage: usize| compiled.stages.get(stage).map_or(compiled.passes(), |of| of.first_pass);
        let passes = match upto {
            Upto::Loaded => 0,
            Upto::Before(stage) => before(stage),
            Upto::Behind(stage) => before(stage + 1),
            Upto::End => compiled.passes(),
        };
        self.encode_one(compiled, batch, index, passes, out)
    }
}
