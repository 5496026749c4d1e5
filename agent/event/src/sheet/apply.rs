//! Applying: what a stage answered, brought to the events.

use super::{Event, Place, Sheet, State};
use crate::batch::{Batch, Flags, Span};
use crate::edit::{Compiled, Ways};
use crate::transform::{Handled, NewEvent, ReasonClass};

/// Most events that one call may make.
pub const MAX_NEW_EVENTS: usize = 4_096;

/// What happens to rows that a stage could not handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// They go on; what the plan does to every kept event is done to them too.
    Pass,
    /// They are dropped.
    Drop,
    /// They go to the dead letters.
    DeadLetter,
}

/// Events and bytes that left for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    /// The reason's name in the plan.
    pub reason: String,
    /// How it is booked.
    pub class: ReasonClass,
    /// Events.
    pub events: u64,
    /// Bytes as they were read.
    pub bytes: u64,
}

/// What applying an answer did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What left, by reason; only reasons that occurred.
    pub drops: Vec<Drops>,
    /// Rows that the stage could not handle, and their bytes. Among them rows with more edits than
    /// [`super::MAX_ROW_EDITS`].
    pub suspects: (u64, u64),
    /// Events made, and their bytes.
    pub created: (u64, u64),
    /// Verdicts, edits and events that were refused: a reason that is none, a path that is none, a new event that is not
    /// an object.
    pub refused: u64,
}

impl Sheet {
    /// Brings a stage's answer to the call that [`Sheet::call`] laid out last to the events: verdicts, written columns,
    /// patches in their order, new events, and what is to happen to suspects.
    ///
    /// Values in the answer are JSON text, which the plugin host has checked.
    pub fn apply(
        &mut self,
        compiled: &Compiled,
        stage: usize,
        batch: &Batch,
        handled: &Handled,
        on_fault: OnFault,
    ) -> Applied {
        let mut applied = Applied::default();
        let outcome = &handled.outcome;
        self.apply_verdicts(compiled, stage, batch, &outcome.verdicts, &mut applied);
        if !outcome.columns.is_empty() || !outcome.patches.is_empty() {
            let overdone = self.apply_edits(compiled, stage, batch, outcome, &mut applied);
            for event in overdone {
                self.apply_fault(batch, event, on_fault, &mut applied);
            }
        }
        for event in &outcome.events {
            match self.add_event(compiled, stage, event, &applied) {
                Some(bytes) => applied.created = (applied.created.0 + 1, applied.created.1 + bytes),
                None => applied.refused += 1,
            }
        }
        for row in &handled.suspects {
            if let Some(event) = self.live.get(*row as usize).copied() {
                self.apply_fault(batch, event, on_fault, &mut applied);
            }
        }
        applied
    }

    fn apply_verdicts(
        &mut self,
        compiled: &Compiled,
        stage: usize,
        batch: &Batch,
        verdicts: &[u8],
        applied: &mut Applied,
    ) {
        if verdicts.iter().all(|verdict| *verdict == 0) {
            return;
        }
        let reasons = compiled.stages.get(stage).map(|parts| parts.reasons.as_slice()).unwrap_or_default();
        let mut sums = vec![(0_u64, 0_u64); reasons.len()];
        for (verdict, index) in verdicts.iter().zip(&self.live) {
            let Some(reason) = (*verdict as usize).checked_sub(1) else { continue };
            let (Some(sum), Some(event)) = (sums.get_mut(reason), self.events.get_mut(*index as usize))
            else {
                applied.refused += 1;
                continue;
            };
            event.state = State::Gone;
            *sum = (sum.0 + 1, sum.1 + event.booked(batch));
        }
        for ((reason, class), (events, bytes)) in reasons.iter().zip(sums) {
            if events > 0 {
                applied.drops.push(Drops { reason: reason.clone(), class: *class, events, bytes });
            }
        }
    }

    fn apply_fault(&mut self, batch: &Batch, event: u32, on_fault: OnFault, applied: &mut Applied) {
        let event = self.events.get_mut(event as usize).filter(|event| event.state == State::Live);
        let Some(event) = event else { return };
        applied.suspects = (applied.suspects.0 + 1, applied.suspects.1 + event.booked(batch));
        match on_fault {
            OnFault::Pass => {}
            OnFault::Drop => event.state = State::Gone,
            OnFault::DeadLetter => event.state = State::Dead,
        }
    }

    /// Takes an event that a stage made; returns its bytes.
    fn add_event(
        &mut self,
        compiled: &Compiled,
        stage: usize,
        new: &NewEvent,
        applied: &Applied,
    ) -> Option<u64> {
        let parent = *self.live.get(new.parent as usize)?;
        let Event { row, time, .. } = *self.events.get(parent as usize)?;
        if applied.created.0 as usize >= MAX_NEW_EVENTS {
            return None;
        }
        let next_pass = compiled.stages.get(stage + 1).map_or(compiled.passes(), |parts| parts.first_pass);
        let mut event = Event {
            place: Place::Sheet,
            text: Span::default(),
            open: 0,
            close: 0,
            first_hit: 0,
            hits: 0,
            row,
            time,
            ordinal: self.children.get(row as usize).copied().unwrap_or_default() + 1,
            made_of: new.document.len() as u32,
            flags: Flags::default(),
            backslash: false,
            applied: next_pass as u8,
            waits: false,
            ways: Ways::default(),
            state: State::Live,
        };
        self.load_bytes(compiled, &new.document, &mut event).ok()?;
        self.count_child(row as usize, event.ordinal);
        self.events.push(event);
        Some(new.document.len() as u64)
    }

    fn count_child(&mut self, row: usize, ordinal: u32) {
        if self.children.len() <= row {
            self.children.resize(row + 1, 0);
        }
        if let Some(count) = self.children.get_mut(row) {
            *count = ordinal;
        }
    }
}
