//! Events as they stand between two stages, without the envelope, for who wants to hand them to somebody else.

use super::{Sheet, State};
use crate::batch::Batch;
use crate::edit::Compiled;

/// An event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The batch's row that it is, or that it was made of.
    pub row: u32,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// 0 for the row itself, else its place among the events made of it.
    pub ordinal: u32,
    /// A stage could not handle it, and it goes to the dead letters.
    pub is_dead: bool,
}

impl Sheet {
    /// The objects of the events that are still there before `stage`, in the order of the stage's call; each is told with
    /// the place where its bytes end. To be called between [`Sheet::call`] and [`Sheet::apply`].
    pub fn texts_before(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        stage: usize,
        out: &mut Vec<u8>,
        each: impl FnMut(Standing, usize),
    ) {
        let passes = compiled.stages.get(stage).map_or(compiled.passes(), |parts| parts.first_pass);
        self.texts(compiled, batch, passes, out, each);
    }

    /// The same behind all stages, together with events that a stage could not handle, which have no bytes.
    pub fn texts_behind(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        out: &mut Vec<u8>,
        each: impl FnMut(Standing, usize),
    ) {
        self.texts(compiled, batch, compiled.passes(), out, each);
    }

    fn texts(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        passes: usize,
        out: &mut Vec<u8>,
        mut each: impl FnMut(Standing, usize),
    ) {
        for index in 0..self.events.len() {
            let Some(state) = self.events.get(index).map(|event| event.state) else { continue };
            match state {
                State::Gone => continue,
                State::Dead => {}
                State::Live => self.write_text(compiled, batch, index, passes, out),
            }
            let Some(event) = self.events.get(index) else { continue };
            let (row, time, ordinal) = (event.row, event.time, event.ordinal);
            each(Standing { row, time, ordinal, is_dead: state == State::Dead }, out.len());
        }
    }

    fn write_text(
        &mut self,
        compiled: &Compiled,
        batch: &Batch,
        index: usize,
        passes: usize,
        out: &mut Vec<u8>,
    ) {
        self.prepare(compiled, batch, index, passes);
        let Some(event) = self.events.get(index).copied() else { return };
        if event.applied as usize >= passes && !event.waits {
            let text = self.text_of(&event, batch);
            out.extend_from_slice(text.get(event.open as usize..=event.close as usize).unwrap_or_default());
            return;
        }
        out.push(b'{');
        self.splice_prepared(compiled, batch, index, (passes, &[]), out);
    }
}
