//! Writing: the text is copied, and at every hit and at the end of every object that gets new members it is decided what
//! comes there instead.

use super::place::{Insertion, Place, Set};
use super::{RowOperation, Splice};
use crate::column::Kind;
use crate::edit::Action;
use crate::json;
use crate::path::{Node, ROOT};
use crate::scan::Hit;

pub(super) struct Writer<'a, 'b> {
    pub splice: &'b Splice<'a>,
    /// The program's, then one for each edit of the row.
    pub sets: &'b [Set],
    pub insertions: &'b [Insertion],
    /// Whether any value goes into an object in place of something else.
    pub replaces_on_the_way: bool,
    /// What moves into the object `event`.
    pub event: &'b mut Vec<u8>,
}

/// What happens to a member.
#[derive(Clone, Copy)]
enum Fate {
    Stays,
    Goes,
    /// Its value becomes that of a set.
    Takes(usize),
    /// Its value becomes an object of new members.
    Holds,
    /// Goes into the object `event`.
    Moves,
}

/// What new members are for.
#[derive(Clone, Copy)]
enum Target {
    /// The event itself.
    Event,
    /// The object `event`: they have names of the envelope.
    ObjectEvent,
    /// The object that this hit of this node is or becomes.
    Hit(Node, u32),
}

impl Writer<'_, '_> {
    pub fn write(mut self, out: &mut Vec<u8>) {
        let mut rest = self.splice.hits;
        self.copy(self.splice.open + 1, self.splice.close, &mut rest, out);
        // Where no member was copied, the comma belongs to the envelope.
        drop_comma(out);
        self.add_members(ROOT, Target::Event, out);
        self.add_event_object(out);
        out.push(b'}');
    }

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
            let index = (self.splice.hits.len() - rest.len() - 1) as u32;
            let fate = self.fate(hit, index);
            cursor = match fate {
                Fate::Stays => continue,
                Fate::Goes => {
                    self.text(cursor, hit.key, out);
                    self.skip(hit.end, to, out)
                }
                Fate::Takes(_) | Fate::Holds if hit.top && self.splice.is_reserved(hit.node) => {
                    self.text(cursor, hit.key, out);
                    self.move_changed(hit, index, fate);
                    self.skip(hit.end, to, out)
                }
                Fate::Takes(_) | Fate::Holds => {
                    self.text(cursor, hit.value, out);
                    self.change(hit, index, fate, out);
                    hit.end
                }
                Fate::Moves => {
                    self.text(cursor, hit.key, out);
                    self.move_copy(hit, rest);
                    self.skip(hit.end, to, out)
                }
            };
        }
        self.text(cursor, to, out);
    }

    /// A member's new value.
    fn change(&self, hit: &Hit, index: u32, fate: Fate, out: &mut Vec<u8>) {
        match fate {
            Fate::Takes(set) => out.extend_from_slice(self.value(set)),
            _ => {
                out.push(b'{');
                self.add_members(hit.node, Target::Hit(hit.node, index), out);
                out.push(b'}');
            }
        }
    }

    /// A member of the envelope's name, with a new value, to the object `event`.
    fn move_changed(&mut self, hit: &Hit, index: u32, fate: Fate) {
        let mut moved = std::mem::take(self.event);
        start_member(&mut moved);
        moved.extend_from_slice(self.splice.slice(hit.key, hit.value));
        self.change(hit, index, fate, &mut moved);
        *self.event = moved;
    }

    /// A member of the envelope's name, with the edits inside it, to the object `event`.
    fn move_copy(&mut self, hit: &Hit, rest: &mut &[Hit]) {
        let mut moved = std::mem::take(self.event);
        start_member(&mut moved);
        self.copy(hit.key, hit.end, rest, &mut moved);
        *self.event = moved;
    }

    #[inline]
    fn fate(&self, hit: &Hit, index: u32) -> Fate {
        let own_sets = self.splice.program.sets.len();
        for (at, edit) in self.splice.row.iter().enumerate() {
            if let Some(fate) = self.row_fate(hit, index, own_sets + at, edit.operation) {
                return fate;
            }
        }
        if let Some(fate) = self.program_fate(hit, index) {
            return fate;
        }
        if self.replaces_on_the_way
            && let Some(fate) = self.fate_on_the_way(hit, index)
        {
            return fate;
        }
        if hit.top && self.splice.is_reserved(hit.node) { Fate::Moves } else { Fate::Stays }
    }

    fn program_fate(&self, hit: &Hit, index: u32) -> Option<Fate> {
        let action = self.splice.program.actions.get(hit.node as usize).copied().unwrap_or_default();
        let goes = match action {
            Action::Stay => return None,
            Action::Set(set) if self.has_value(set as usize) && !hit.beyond => {
                return Some(self.takes(set as usize, index));
            }
            Action::Set(set) | Action::ClearedBy(set) => self.has_value(set as usize),
            Action::MovedBy(set) => !hit.beyond && self.has_value(set as usize),
            Action::Through => hit.beyond || hit.kind != Kind::Object,
            Action::Remove => true,
        };
        goes.then_some(Fate::Goes)
    }

    /// What an edit of the row alone does to a member.
    fn row_fate(&self, hit: &Hit, index: u32, set: usize, operation: RowOperation) -> Option<Fate> {
        let tree = self.splice.tree;
        let (written, moved) = match operation {
            RowOperation::Remove(node) => return tree.covers(node, hit.node).then_some(Fate::Goes),
            RowOperation::Set(node, _) => (node, None),
            RowOperation::Rename(from, to) => (to, Some(from)),
        };
        if !self.has_value(set) {
            return None;
        }
        if hit.node == written && !hit.beyond {
            return Some(self.takes(set, index));
        }
        let moves = moved == Some(hit.node) && !hit.beyond;
        (moves || tree.covers(written, hit.node)).then_some(Fate::Goes)
    }

    fn takes(&self, set: usize, index: u32) -> Fate {
        match self.sets.get(set).and_then(|set| set.only) {
            Some(only) if only != index => Fate::Goes,
            _ => Fate::Takes(set),
        }
    }

    /// What happens to a member where something else than an object was found on the way to what is written.
    fn fate_on_the_way(&self, hit: &Hit, index: u32) -> Option<Fate> {
        let set = self.sets.iter().find(|set| set.place == Place::Instead(hit.node) && !hit.beyond)?;
        Some(match set.only {
            Some(only) if only != index => Fate::Goes,
            _ => Fate::Holds,
        })
    }

    fn has_value(&self, set: usize) -> bool {
        self.sets.get(set).is_some_and(|set| set.place != Place::Nowhere)
    }

    fn value(&self, set: usize) -> &[u8] {
        self.sets.get(set).map_or(b"null", |set| self.splice.value(set.source))
    }

    /// Copies text, with new members where objects end that get some.
    fn text(&self, mut from: u32, to: u32, out: &mut Vec<u8>) {
        let first = self.insertions.partition_point(|insertion| insertion.at < from);
        for Insertion { at, node, hit } in self.insertions.get(first..).unwrap_or_default() {
            if *at >= to {
                break;
            }
            out.extend_from_slice(self.splice.slice(from, *at));
            self.add_members(*node, Target::Hit(*node, *hit), out);
            from = *at;
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

    /// New members of the object at `base`: a target, or an object in it that is new too.
    fn add_members(&self, base: Node, target: Target, out: &mut Vec<u8>) {
        let tree = self.splice.tree;
        for (index, set) in self.sets.iter().enumerate() {
            if !self.belongs(set, base, target) {
                continue;
            }
            let child = self.child_of(base, set.node);
            // Members of one new object are written with the first of them.
            let is_same_child = |earlier: &Set| {
                self.belongs(earlier, base, target) && self.child_of(base, earlier.node) == child
            };
            if child != set.node && self.sets.iter().take(index).any(is_same_child) {
                continue;
            }
            start_member(out);
            json::write_name(out, tree.name(child));
            out.push(b':');
            if child == set.node {
                out.extend_from_slice(self.splice.value(set.source));
                continue;
            }
            out.push(b'{');
            self.add_members(child, target, out);
            out.push(b'}');
        }
    }

    /// Whether a value goes to the target, into the object at `base`.
    fn belongs(&self, set: &Set, base: Node, target: Target) -> bool {
        let goes_there = match (set.place, target) {
            (Place::Event, Target::Event) => !self.splice.is_reserved(set.node),
            (Place::Event, Target::ObjectEvent) => self.splice.is_reserved(set.node),
            (Place::Objects(at) | Place::Instead(at), Target::Hit(node, hit)) => {
                at == node && set.only.is_none_or(|only| only == hit)
            }
            _ => false,
        };
        goes_there && self.splice.tree.covers(base, set.node)
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
        self.add_members(ROOT, Target::ObjectEvent, &mut event);
        if !event.is_empty() {
            start_member(out);
            out.extend_from_slice(b"\"event\":{");
            out.extend_from_slice(&event);
            out.push(b'}');
        }
        *self.event = event;
    }
}

/// A comma before a new member, unless it is the first of its object.
fn start_member(out: &mut Vec<u8>) {
    drop_space(out);
    if !matches!(out.last(), None | Some(b'{' | b',')) {
        out.push(b',');
    }
}

/// Takes back a comma at the end, with the white space around it.
fn drop_comma(out: &mut Vec<u8>) {
    drop_space(out);
    if out.last() == Some(&b',') {
        out.pop();
        drop_space(out);
    }
}

fn drop_space(out: &mut Vec<u8>) {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = out.last() {
        out.pop();
    }
}
