//! Splicing: an event with its edits applied, made of copies of what stays and the few bytes that are new. Nothing is
//! parsed and nothing serialised again.

use crate::column::Kind;
use crate::edit::{Action, Program, Value};
use crate::json;
use crate::path::{NONE, Node, PathTree, ROOT};
use crate::scan::Hit;

/// An edit of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowOperation {
    Remove(Node),
    Set(Node, Box<[u8]>),
    Rename(Node, Node),
}

/// An edit of one event that waits for the encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowEdit {
    /// Which event.
    pub event: u32,
    /// What to do.
    pub operation: RowOperation,
}

impl RowOperation {
    /// The nodes that it reads or writes.
    pub fn nodes(&self) -> Vec<Node> {
        match self {
            RowOperation::Remove(node) | RowOperation::Set(node, _) => vec![*node],
            RowOperation::Rename(from, to) => vec![*from, *to],
        }
    }
}

/// One event and what is to happen to it.
#[derive(Clone, Copy)]
pub(crate) struct Splice<'a> {
    pub tree: &'a PathTree,
    /// The event's text; positions in `hits` count from its start.
    pub text: &'a [u8],
    /// Where its `{` and `}` are.
    pub open: u32,
    pub close: u32,
    pub hits: &'a [Hit],
    pub program: &'a Program,
    pub row: &'a [RowEdit],
    /// By node: whether a member of the event itself moves into the object `event`. Empty when none does.
    pub reserved: &'a [bool],
}

/// Memory for splicing, kept between events.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// What moves into the object `event`.
    event: Vec<u8>,
    sets: Vec<Set>,
    insertions: Vec<Insertion>,
}

/// A value that is written, and whether its member is there.
#[derive(Clone, Copy, Debug)]
struct Set {
    node: Node,
    value: SetValue,
    state: SetState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetState {
    /// There is nothing to write: the member to move is absent.
    Void,
    /// Every member of this path takes the value.
    Replaces,
    /// A new member of the event.
    Added,
    /// A new member of the object that is this hit.
    Inside(u32),
}

#[derive(Clone, Copy, Debug)]
enum SetValue {
    Program(u16),
    Row(u16),
    Text(u32, u32),
}

/// New members before the end of an object.
#[derive(Clone, Copy, Debug)]
struct Insertion {
    at: u32,
    node: Node,
    hit: u32,
}

impl Splice<'_> {
    /// Writes the event's members, each with a comma behind it or none for the last, and `}`. What stands in `out`
    /// ends with `{` or with a comma behind members of the envelope.
    pub fn write(&self, out: &mut Vec<u8>, scratch: &mut Scratch) {
        scratch.event.clear();
        self.resolve_sets(scratch);
        let mut rest = self.hits;
        let Scratch { event, sets, insertions } = scratch;
        let mut writer = Writer { splice: self, sets, insertions, event };
        writer.copy(self.open + 1, self.close, &mut rest, out);
        drop_comma(out);
        writer.add_members(ROOT, None, Members::OfTheEvent, out);
        writer.add_event_object(out);
        out.push(b'}');
    }

    fn is_reserved(&self, node: Node) -> bool {
        self.reserved.get(node as usize).copied().unwrap_or(false)
    }

    /// Decides for every value that is written where it goes.
    fn resolve_sets(&self, scratch: &mut Scratch) {
        scratch.sets.clear();
        scratch.insertions.clear();
        for (index, (node, value)) in self.program.sets.iter().enumerate() {
            let value = match value {
                Value::Json(_) => Some(SetValue::Program(index as u16)),
                Value::MovedFrom(from) => self.value_at(*from),
            };
            self.resolve(*node, value, scratch);
        }
        for (index, operation) in self.row.iter().enumerate() {
            match &operation.operation {
                RowOperation::Remove(_) => self.resolve(NONE, None, scratch),
                RowOperation::Set(node, _) => self.resolve(*node, Some(SetValue::Row(index as u16)), scratch),
                RowOperation::Rename(from, to) => self.resolve(*to, self.value_at(*from), scratch),
            }
        }
        scratch.insertions.sort_by_key(|insertion| insertion.at);
        scratch.insertions.dedup_by_key(|insertion| insertion.at);
    }

    fn resolve(&self, node: Node, value: Option<SetValue>, scratch: &mut Scratch) {
        let Some(value) = value else {
            let (value, state) = (SetValue::Text(0, 0), SetState::Void);
            scratch.sets.push(Set { node, value, state });
            return;
        };
        let is_there = self.hits.iter().any(|hit| hit.node == node && !hit.beyond);
        let state = if is_there { SetState::Replaces } else { self.place_for(node, scratch) };
        scratch.sets.push(Set { node, value, state });
    }

    /// Inside the nearest object on the way that is there, the last of equals; else in the event itself.
    fn place_for(&self, node: Node, scratch: &mut Scratch) -> SetState {
        let mut parent = self.tree.parent(node);
        while parent != ROOT {
            let is_object = |hit: &Hit| hit.node == parent && !hit.beyond && hit.kind == Kind::Object;
            if let Some(index) = self.hits.iter().rposition(is_object)
                && let Some(hit) = self.hits.get(index)
            {
                let hit_index = index as u32;
                scratch.insertions.push(Insertion { at: hit.end - 1, node: parent, hit: hit_index });
                return SetState::Inside(hit_index);
            }
            parent = self.tree.parent(parent);
        }
        SetState::Added
    }

    /// The value of the last member at a node.
    fn value_at(&self, node: Node) -> Option<SetValue> {
        let hit = self.hits.iter().rev().find(|hit| hit.node == node && !hit.beyond)?;
        Some(SetValue::Text(hit.value, hit.end))
    }
}

/// Which of the new members to write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    /// Those that do not go into the object `event`.
    OfTheEvent,
    /// Those that do.
    OfTheObjectEvent,
}

struct Writer<'a, 'b> {
    splice: &'a Splice<'a>,
    sets: &'b [Set],
    insertions: &'b [Insertion],
    event: &'b mut Vec<u8>,
}

/// What happens to a member.
enum Fate {
    Stays,
    Goes,
    /// Its value becomes that of a set.
    Takes(usize),
    /// Goes into the object `event`.
    Moves,
}

impl Writer<'_, '_> {
    /// Copies the text from `from` up to `to` with the edits of the hits in between, which are taken off `rest`.
    fn copy(&mut self, from: u32, to: u32, rest: &mut &[Hit], out: &mut Vec<u8>) {
        let mut cursor = from;
        while let Some((hit, behind)) = rest.split_first() {
            if hit.key >= to {
                break;
            }
            *rest = behind;
            if hit.key < cursor {
                continue;
            }
            match self.fate(hit) {
                Fate::Stays => {}
                Fate::Takes(set) if hit.top && self.splice.is_reserved(hit.node) => {
                    self.text(cursor, hit.key, out);
                    let mut moved = std::mem::take(self.event);
                    start_member(&mut moved);
                    moved.extend_from_slice(self.splice.slice(hit.key, hit.value));
                    moved.extend_from_slice(self.value(set));
                    *self.event = moved;
                    cursor = self.skip(hit.end, to, out);
                }
                Fate::Takes(set) => {
                    self.text(cursor, hit.value, out);
                    out.extend_from_slice(self.value(set));
                    cursor = hit.end;
                }
                Fate::Goes => {
                    self.text(cursor, hit.key, out);
                    cursor = self.skip(hit.end, to, out);
                }
                Fate::Moves => {
                    self.text(cursor, hit.key, out);
                    let mut moved = std::mem::take(self.event);
                    start_member(&mut moved);
                    self.copy(hit.key, hit.end, rest, &mut moved);
                    *self.event = moved;
                    cursor = self.skip(hit.end, to, out);
                }
            }
        }
        self.text(cursor, to, out);
    }

    fn fate(&self, hit: &Hit) -> Fate {
        for (index, edit) in self.splice.row.iter().enumerate() {
            if let Some(fate) = self.row_fate(hit, index, &edit.operation) {
                return fate;
            }
        }
        let action = match self.splice.program.actions.get(hit.node as usize) {
            Some(action) => *action,
            None if self.splice.program.removes_others => Action::Remove,
            None => Action::Stay,
        };
        let set = |index: u16| self.sets.get(index as usize).filter(|set| set.state != SetState::Void);
        match action {
            Action::Remove => return Fate::Goes,
            Action::Set(index) if set(index).is_some() => {
                return if hit.beyond { Fate::Goes } else { Fate::Takes(index as usize) };
            }
            Action::MovedBy(index) if set(index).is_some() && !hit.beyond => return Fate::Goes,
            Action::Through if hit.beyond || hit.kind != Kind::Object => return Fate::Goes,
            _ => {}
        }
        if hit.top && self.splice.is_reserved(hit.node) { Fate::Moves } else { Fate::Stays }
    }

    /// What an edit of the row alone does to a member.
    fn row_fate(&self, hit: &Hit, index: usize, operation: &RowOperation) -> Option<Fate> {
        if hit.node == NONE {
            return None;
        }
        let tree = self.splice.tree;
        let set = self.splice.program.sets.len() + index;
        match operation {
            RowOperation::Remove(node) => tree.covers(*node, hit.node).then_some(Fate::Goes),
            RowOperation::Set(node, _) if hit.node == *node && !hit.beyond => Some(Fate::Takes(set)),
            RowOperation::Set(node, _) => tree.covers(*node, hit.node).then_some(Fate::Goes),
            RowOperation::Rename(from, to) => {
                if self.sets.get(set).is_none_or(|set| set.state == SetState::Void) {
                    return None;
                }
                if hit.node == *to && !hit.beyond {
                    return Some(Fate::Takes(set));
                }
                let moves = hit.node == *from && !hit.beyond;
                (moves || tree.covers(*to, hit.node)).then_some(Fate::Goes)
            }
        }
    }

    fn value(&self, set: usize) -> &[u8] {
        match self.sets.get(set).map(|set| set.value) {
            Some(SetValue::Text(start, end)) => self.splice.slice(start, end),
            Some(SetValue::Program(index)) => match self.splice.program.sets.get(index as usize) {
                Some((_, Value::Json(json))) => json,
                _ => b"null",
            },
            Some(SetValue::Row(index)) => match self.splice.row.get(index as usize).map(|edit| &edit.operation) {
                Some(RowOperation::Set(_, json)) => json,
                _ => b"null",
            },
            None => b"null",
        }
    }

    /// Copies text, with new members where objects end that get some.
    fn text(&self, mut from: u32, to: u32, out: &mut Vec<u8>) {
        let first = self.insertions.partition_point(|insertion| insertion.at < from);
        for insertion in self.insertions.get(first..).unwrap_or_default() {
            if insertion.at >= to {
                break;
            }
            out.extend_from_slice(self.splice.slice(from, insertion.at));
            self.add_members(insertion.node, Some(insertion.hit), Members::OfTheEvent, out);
            from = insertion.at;
        }
        out.extend_from_slice(self.splice.slice(from, to));
    }

    /// Where the text goes on behind a member that is left out: behind its comma, and where it was the last of its
    /// object, the comma before it goes too.
    fn skip(&self, end: u32, to: u32, out: &mut Vec<u8>) -> u32 {
        let mut at = end;
        while let Some(byte) = self.splice.text.get(at as usize).filter(|_| at < to) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => at += 1,
                b',' => return at + 1,
                _ => break,
            }
        }
        drop_comma(out);
        end
    }

    /// New members of the object at `base`: a hit, the event itself, or an object that is new too.
    fn add_members(&self, base: Node, hit: Option<u32>, which: Members, out: &mut Vec<u8>) {
        for (index, set) in self.sets.iter().enumerate() {
            if !self.belongs(set, hit, which) || !self.splice.tree.covers(base, set.node) {
                continue;
            }
            let child = self.child_of(base, set.node);
            let is_same_child = |earlier: &Set| {
                self.belongs(earlier, hit, which)
                    && self.splice.tree.covers(base, earlier.node)
                    && self.child_of(base, earlier.node) == child
            };
            // Members of one new object are written with the first of them.
            if self.sets.iter().take(index).any(is_same_child) {
                continue;
            }
            start_member(out);
            json::write_name(out, self.splice.tree.name(child));
            out.push(b':');
            if child == set.node {
                out.extend_from_slice(self.value(index));
                continue;
            }
            out.push(b'{');
            self.add_members(child, hit, which, out);
            out.push(b'}');
        }
    }

    fn belongs(&self, set: &Set, hit: Option<u32>, which: Members) -> bool {
        match (set.state, hit) {
            (SetState::Inside(inside), Some(hit)) => inside == hit,
            (SetState::Added, None) => {
                (which == Members::OfTheObjectEvent) == self.splice.is_reserved(set.node)
            }
            _ => false,
        }
    }

    /// The node directly below `base` on the way to `node`.
    fn child_of(&self, base: Node, node: Node) -> Node {
        let mut child = node;
        while child != ROOT && self.splice.tree.parent(child) != base {
            child = self.splice.tree.parent(child);
        }
        child
    }

    /// The object `event`: what moved there and what was written to names of the envelope.
    fn add_event_object(&mut self, out: &mut Vec<u8>) {
        let mut event = std::mem::take(self.event);
        if self.sets.iter().any(|set| self.belongs(set, None, Members::OfTheObjectEvent)) {
            self.add_members(ROOT, None, Members::OfTheObjectEvent, &mut event);
        }
        if !event.is_empty() {
            start_member(out);
            out.extend_from_slice(b"\"event\":{");
            out.extend_from_slice(&event);
            out.push(b'}');
        }
        *self.event = event;
    }
}

impl Splice<'_> {
    fn slice(&self, from: u32, to: u32) -> &[u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }
}

/// A comma before a new member, unless it is the first of its object.
fn start_member(out: &mut Vec<u8>) {
    while out.last().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        out.pop();
    }
    if !matches!(out.last(), None | Some(b'{' | b',')) {
        out.push(b',');
    }
}

/// Takes back a comma at the end, with the white space around it.
fn drop_comma(out: &mut Vec<u8>) {
    while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r' | b',')) = out.last() {
        let is_comma = *byte == b',';
        out.pop();
        if is_comma {
            break;
        }
    }
}
