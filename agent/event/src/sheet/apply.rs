//! Applying: what a stage answered, brought to the events.

use super::{Event, Place, Sheet, State};
use crate::batch::{Batch, Flags, Span};
use crate::column::Kind;
use crate::edit::{self, Compiled, Operation, Program};
use crate::json;
use crate::path::Node;
use crate::scan::Scanner;
use crate::splice::{RowEdit, RowOperation, Splice};
use crate::transform::{Edit, Handled, NewEvent, Outcome, ReasonClass};

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
    /// Rows that the stage could not handle, and their bytes.
    pub suspects: (u64, u64),
    /// Events made, and their bytes.
    pub created: (u64, u64),
    /// Edits and events that were refused: a path that is none, a new event that is not an object.
    pub refused: u64,
}

impl Sheet {
    /// Brings a stage's answer to the call that [`Sheet::call`] laid out last to the events.
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
            self.apply_edits(compiled, stage, batch, outcome, &mut applied);
        }
        for event in &outcome.events {
            match self.add_event(compiled, stage, event, &applied) {
                Some(bytes) => applied.created = (applied.created.0 + 1, applied.created.1 + bytes),
                None => applied.refused += 1,
            }
        }
        for row in &handled.suspects {
            self.apply_fault(batch, *row, on_fault, &mut applied);
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
            let (Some(sum), Some(event)) = (sums.get_mut(reason), self.events.get_mut(*index as usize)) else {
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

    fn apply_fault(&mut self, batch: &Batch, row: u32, on_fault: OnFault, applied: &mut Applied) {
        let Some(index) = self.live.get(row as usize) else { return };
        let Some(event) = self.events.get_mut(*index as usize) else { return };
        applied.suspects = (applied.suspects.0 + 1, applied.suspects.1 + event.booked(batch));
        match on_fault {
            OnFault::Pass => {}
            OnFault::Drop => event.state = State::Gone,
            OnFault::DeadLetter => event.state = State::Dead,
        }
    }

    /// Written columns first, then patches, each in the order of the answer.
    fn apply_edits(
        &mut self,
        compiled: &Compiled,
        stage: usize,
        batch: &Batch,
        outcome: &Outcome,
        applied: &mut Applied,
    ) {
        let Some(parts) = compiled.stages.get(stage) else { return };
        let mut edits = Vec::new();
        for written in &outcome.columns {
            let Some(Some(node)) = parts.writes.get(written.field as usize) else {
                applied.refused += 1;
                continue;
            };
            for (row, index) in self.live.iter().enumerate() {
                match written.values.get(row) {
                    None | Some((Kind::Absent, _)) => {}
                    Some((kind, value)) => edits.push(RowEdit {
                        event: *index,
                        operation: RowOperation::Set(*node, json_value(kind, value)),
                    }),
                }
            }
        }
        let known: Vec<Node> = parts.writes.iter().flatten().copied().collect();
        let mut foreign = Vec::new();
        for patch in &outcome.patches {
            let Some(event) = self.live.get(patch.row as usize).copied() else {
                applied.refused += 1;
                continue;
            };
            match row_operation(compiled, &known, &patch.edit) {
                Some(operation) => edits.push(RowEdit { event, operation }),
                None => foreign.push((event, &patch.edit)),
            }
        }
        edits.retain(|edit| self.is_live(edit.event));
        edits.sort_by_key(|edit| edit.event);
        self.note_edits(compiled, stage, batch, edits);
        for (event, edit) in foreign {
            if self.is_live(event) && self.apply_foreign(compiled, stage, batch, event as usize, edit).is_none() {
                applied.refused += 1;
            }
        }
    }

    fn is_live(&self, event: u32) -> bool {
        self.events.get(event as usize).is_some_and(|event| event.state == State::Live)
    }

    /// Notes edits, sorted by event, to wait for the encoder where they can.
    fn note_edits(&mut self, compiled: &Compiled, stage: usize, batch: &Batch, edits: Vec<RowEdit>) {
        let Some(parts) = compiled.stages.get(stage) else { return };
        let mut noted = Vec::new();
        for group in edits.chunk_by(|one, other| one.event == other.event) {
            let Some(index) = group.first().map(|edit| edit.event as usize) else { continue };
            let Some(event) = self.events.get(index).copied() else { continue };
            if event.waits || (event.applied as usize) < parts.writes_need {
                self.splice_in_place(compiled, batch, index, parts.first_pass);
            }
            if parts.writes_at_once || !are_apart(compiled, group) {
                self.splice_in_place(compiled, batch, index, parts.first_pass);
                for edit in group.chunks(1) {
                    self.splice_once(compiled, batch, index, &compiled.nothing, edit);
                }
                continue;
            }
            if let Some(event) = self.events.get_mut(index) {
                event.waits = true;
            }
            noted.extend_from_slice(group);
        }
        if noted.is_empty() {
            return;
        }
        // Of an event that waits, all edits were just noted; what else is there was applied in the meantime.
        let fresh = |edit: &RowEdit| noted.binary_search_by_key(&edit.event, |noted| noted.event).is_ok();
        let events = &self.events;
        self.waiting.retain(|edit| {
            events.get(edit.event as usize).is_some_and(|event| event.waits) && !fresh(edit)
        });
        self.waiting.append(&mut noted);
        self.waiting.sort_by_key(|edit| edit.event);
    }

    /// An edit at a path that the stage's plan does not name itself (it may write `*` or above): applied at once, with
    /// a tree of its own.
    fn apply_foreign(
        &mut self,
        compiled: &Compiled,
        stage: usize,
        batch: &Batch,
        index: usize,
        edit: &Edit,
    ) -> Option<()> {
        let first_pass = compiled.stages.get(stage)?.first_pass;
        self.splice_in_place(compiled, batch, index, first_pass);
        let mut tree = crate::path::PathTree::default();
        let operation: Operation = edit::operation(&mut tree, edit).ok()?;
        let program = Program::new(&tree, &[operation]);
        let event = self.events.get(index).copied()?;
        let mut padded = self.text_of(&event, batch).to_vec();
        let len = padded.len();
        padded.resize(len + crate::batch::PADDING, 0);
        let mut hits = Vec::new();
        let found = Scanner::default().scan(0, &padded, len, &tree, &mut hits, &mut []).ok()?;
        let (open, close) = (found.open, found.close);
        let text = padded.get(..len)?;
        let (row, reserved) = (&[][..], &[][..]);
        let splice = Splice { tree: &tree, text, open, close, hits: &hits, program: &program, row, reserved };
        let mut object = vec![b'{'];
        splice.write(&mut object, &mut self.scratch);
        self.replace_text(compiled, index, &object);
        Some(())
    }

    /// Takes an event that a stage made; returns its bytes.
    fn add_event(&mut self, compiled: &Compiled, stage: usize, new: &NewEvent, applied: &Applied) -> Option<u64> {
        let parent = *self.live.get(new.parent as usize)?;
        let parent = self.events.get(parent as usize).copied()?;
        if applied.created.0 as usize >= MAX_NEW_EVENTS {
            return None;
        }
        let next_pass = compiled.stages.get(stage + 1).map_or(compiled.passes(), |parts| parts.first_pass);
        let ordinals = self.events.iter().filter(|event| event.row == parent.row).map(|event| event.ordinal);
        let mut event = Event {
            place: Place::Sheet,
            text: Span::default(),
            open: 0,
            close: 0,
            first_hit: 0,
            hits: 0,
            row: parent.row,
            ordinal: ordinals.max().unwrap_or(0) + 1,
            made_of: new.document.len() as u32,
            flags: Flags::default(),
            backslash: false,
            applied: next_pass as u8,
            waits: false,
            state: State::Live,
        };
        self.load_bytes(compiled, &new.document, &mut event).ok()?;
        self.events.push(event);
        Some(new.document.len() as u64)
    }
}

/// A written value as JSON text.
fn json_value(kind: Kind, value: &[u8]) -> Box<[u8]> {
    if kind != Kind::String {
        return value.into();
    }
    let mut text = Vec::with_capacity(value.len() + 2);
    text.push(b'"');
    json::write_escaped(&mut text, value);
    text.push(b'"');
    text.into()
}

/// The operation of a patch whose paths are among those that the plan names.
fn row_operation(compiled: &Compiled, known: &[Node], edit: &Edit) -> Option<RowOperation> {
    let node = |path: &str| compiled.tree.find(path).filter(|node| known.contains(node));
    Some(match edit {
        Edit::Remove(path) => RowOperation::Remove(node(path)?),
        Edit::Set(path, json) => RowOperation::Set(node(path)?, json.as_bytes().into()),
        Edit::Rename(from, to) => RowOperation::Rename(node(from)?, node(to)?),
        Edit::KeepOnly(_) => return None,
    })
}

/// Whether no two edits of one event touch the same part of it.
fn are_apart(compiled: &Compiled, edits: &[RowEdit]) -> bool {
    let tree = &compiled.tree;
    let meet = |one: &RowEdit, other: &RowEdit| {
        let others = other.operation.nodes();
        let meets = |one: Node| others.iter().any(|other| tree.covers(one, *other) || tree.covers(*other, one));
        one.operation.nodes().into_iter().any(meets)
    };
    edits.iter().enumerate().all(|(at, one)| edits.iter().skip(at + 1).all(|other| !meet(one, other)))
}
