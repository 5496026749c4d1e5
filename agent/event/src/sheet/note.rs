//! Noting: the edits of single rows that a stage answered with, to wait for the encoder where they can.

use super::Sheet;
use super::apply::Applied;
use crate::batch::Batch;
use crate::column::Kind;
use crate::edit::{self, Compiled, Operation, Program, StageParts, Ways, one_line};
use crate::json;
use crate::path::PathTree;
use crate::scan::{Scanner, Text};
use crate::splice::{RowEdit, RowOperation, Splice, Written};
use crate::transform::{Edit, Outcome, Patch, WrittenColumn};

/// Most edits of one row in one answer. A row with more is one that the stage could not handle: edits that see each
/// other's work cost a copy of the event each.
pub const MAX_ROW_EDITS: usize = 256;

/// An edit of one event, in the order of the answer.
struct Change<'a> {
    event: u32,
    how: How<'a>,
}

enum How<'a> {
    /// At paths that the stage's plan names.
    Planned(RowOperation),
    /// At a path that it does not name itself: it may write `*`, or a path above.
    Foreign(&'a Edit),
}

impl Sheet {
    /// Written columns first, then patches, each in the order of the answer. Returns the events that have too many.
    pub(super) fn apply_edits(
        &mut self,
        compiled: &Compiled,
        stage: usize,
        batch: &Batch,
        outcome: &Outcome,
        applied: &mut Applied,
    ) -> Vec<u32> {
        let Some(parts) = compiled.stages.get(stage) else { return Vec::new() };
        let mut changes = Vec::new();
        for column in &outcome.columns {
            self.collect_column(parts, column, &mut changes, applied);
        }
        for patch in &outcome.patches {
            self.collect_patch(compiled, parts, patch, &mut changes, applied);
        }
        changes.sort_by_key(|change| change.event);
        let (mut noted, mut overdone) = (Vec::new(), Vec::new());
        for group in changes.chunk_by(|one, other| one.event == other.event) {
            let Some(event) = group.first().map(|change| change.event) else { continue };
            if group.len() > MAX_ROW_EDITS {
                overdone.push(event);
                continue;
            }
            applied.refused += self.note(compiled, parts, batch, group, &mut noted);
        }
        self.keep_waiting(noted);
        overdone
    }

    fn collect_column<'a>(
        &mut self,
        parts: &StageParts,
        column: &WrittenColumn,
        changes: &mut Vec<Change<'a>>,
        applied: &mut Applied,
    ) {
        let Some(Some(node)) = parts.writes.get(column.field as usize) else {
            applied.refused += 1;
            return;
        };
        for (row, event) in self.live.iter().enumerate() {
            if !self.is_live(*event) {
                continue;
            }
            let Some((kind, value)) = column.values.get(row).filter(|(kind, _)| *kind != Kind::Absent) else {
                continue;
            };
            let written = write_value(&mut self.written, kind, value);
            changes.push(Change { event: *event, how: How::Planned(RowOperation::Set(*node, written)) });
        }
    }

    fn collect_patch<'a>(
        &mut self,
        compiled: &Compiled,
        parts: &StageParts,
        patch: &'a Patch,
        changes: &mut Vec<Change<'a>>,
        applied: &mut Applied,
    ) {
        let Some(event) = self.live.get(patch.row as usize).copied() else {
            applied.refused += 1;
            return;
        };
        if self.is_live(event) {
            let planned = planned(&compiled.tree, parts, &patch.edit, &mut self.written);
            let how = planned.map_or(How::Foreign(&patch.edit), How::Planned);
            changes.push(Change { event, how });
        }
    }

    /// Takes the edits of one event: to `noted` where they can wait, else into its text. Returns how many were refused.
    fn note(
        &mut self,
        compiled: &Compiled,
        parts: &StageParts,
        batch: &Batch,
        group: &[Change<'_>],
        noted: &mut Vec<RowEdit>,
    ) -> u64 {
        let Some(index) = group.first().map(|change| change.event as usize) else { return 0 };
        let Some(event) = self.events.get(index).copied() else { return 0 };
        if event.waits || (event.applied as usize) < parts.needs(event.ways).writes {
            self.splice_in_place(compiled, batch, index, parts.first_pass);
        }
        let ways = self.events.get(index).map(|event| event.ways).unwrap_or_default();
        let first = noted.len();
        let can_wait = !parts.needs(ways).writes_at_once
            && add_planned(group, noted)
            && are_apart(&compiled.tree, noted.get(first..).unwrap_or_default(), ways);
        if can_wait {
            if let Some(event) = self.events.get_mut(index) {
                event.waits = true;
            }
            return 0;
        }
        noted.truncate(first);
        self.splice_in_place(compiled, batch, index, parts.first_pass);
        let applies = |change: &&Change<'_>| self.apply_now(compiled, batch, change).is_none();
        group.iter().filter(applies).count() as u64
    }

    fn apply_now(&mut self, compiled: &Compiled, batch: &Batch, change: &Change<'_>) -> Option<()> {
        let event = change.event;
        match &change.how {
            How::Planned(operation) => {
                let edit = RowEdit { event, operation: *operation };
                self.splice_once(compiled, batch, event as usize, &compiled.nothing, &[edit]);
                Some(())
            }
            How::Foreign(edit) => self.apply_foreign(compiled, batch, event as usize, edit),
        }
    }

    /// Applies an edit with a tree of its own.
    fn apply_foreign(&mut self, compiled: &Compiled, batch: &Batch, index: usize, edit: &Edit) -> Option<()> {
        let mut tree = PathTree::default();
        let operation = Operation::new(&mut tree, edit).ok()?;
        let program = Program::new(&tree, &[&operation]);
        let event = self.events.get(index).copied()?;
        let mut scratch = std::mem::take(&mut self.scratch);
        let (padded, len) = (self.padded_of(&event, batch), event.text.len as usize);
        let mut hits = Vec::new();
        let mut scanner = Scanner::default();
        scanner.set_max_depth(usize::MAX);
        let found = scanner.scan(Text { stream: 0, padded, len }, &tree, &mut hits, &mut []).ok()?;
        let splice = Splice {
            tree: &tree,
            text: padded.get(..len)?,
            open: found.open,
            close: found.close,
            hits: &hits,
            program: &program,
            row: &[],
            written: &[],
            reserved: &[],
        };
        let mut object = vec![b'{'];
        splice.write(&mut object, &mut scratch);
        self.scratch = scratch;
        self.replace_text(compiled, index, &object);
        Some(())
    }

    /// Adds edits, sorted by event, to those that wait. Of an event that waits, all were just noted; what else is there
    /// was applied in the meantime.
    fn keep_waiting(&mut self, mut noted: Vec<RowEdit>) {
        if noted.is_empty() {
            return;
        }
        let is_fresh = |edit: &RowEdit| noted.binary_search_by_key(&edit.event, |noted| noted.event).is_ok();
        let events = &self.events;
        let waits = |edit: &RowEdit| events.get(edit.event as usize).is_some_and(|event| event.waits);
        self.waiting.retain(|edit| waits(edit) && !is_fresh(edit));
        self.waiting.append(&mut noted);
        self.waiting.sort_by_key(|edit| edit.event);
    }
}

/// Appends a value as JSON text on one line.
fn write_value(written: &mut Vec<u8>, kind: Kind, value: &[u8]) -> Written {
    let start = written.len();
    if kind == Kind::String {
        written.push(b'"');
        json::write_escaped(written, value);
        written.push(b'"');
    } else {
        written.extend_from_slice(value);
        one_line(written.get_mut(start..).unwrap_or_default());
    }
    Written { start: start as u32, end: written.len() as u32 }
}

/// The operation of a patch whose paths are among those that the plan names.
fn planned(tree: &PathTree, parts: &StageParts, edit: &Edit, written: &mut Vec<u8>) -> Option<RowOperation> {
    let node = |path: &str| tree.find(path).filter(|node| parts.writes.contains(&Some(*node)));
    Some(match edit {
        Edit::Remove(path) => RowOperation::Remove(node(path)?),
        Edit::Set(path, json) => {
            let node = node(path)?;
            RowOperation::Set(node, write_value(written, Kind::Null, json.as_bytes()))
        }
        Edit::Rename(from, to) => RowOperation::Rename(node(from)?, node(to)?),
        Edit::KeepOnly(_) => return None,
    })
}

/// Appends the changes as edits of rows, as far as they are at paths that the plan names; whether all are.
fn add_planned(group: &[Change<'_>], noted: &mut Vec<RowEdit>) -> bool {
    for change in group {
        let How::Planned(operation) = change.how else { return false };
        noted.push(RowEdit { event: change.event, operation });
    }
    true
}

fn are_apart(tree: &PathTree, edits: &[RowEdit], ways: Ways) -> bool {
    if edits.len() < 2 {
        return true;
    }
    let nodes: Vec<_> = edits.iter().map(|edit| edit.operation.nodes()).collect();
    edit::are_apart(tree, &nodes, ways)
}

impl RowOperation {
    /// The nodes that it reads or writes.
    fn nodes(self) -> edit::Nodes {
        match self {
            RowOperation::Remove(node) | RowOperation::Set(node, _) => edit::Nodes::one(node),
            RowOperation::Rename(from, to) => edit::Nodes::two(from, to),
        }
    }
}
