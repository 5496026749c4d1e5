//! Places: where the values of one splice go, decided before anything is copied.

use super::{RowOperation, Scratch, Source, Splice};
use crate::column::Kind;
use crate::edit::{MAX_COPIED_BYTES, Value};
use crate::path::{Node, ROOT};
use crate::scan::Hit;

/// A value that is written, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    pub node: Node,
    pub source: Source,
    pub place: Place,
    /// The hit that alone gets it, where there are too many.
    pub only: Option<u32>,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: there is nothing to write.
    Nowhere,
    /// Into every member of its path.
    Members,
    /// Into the event itself, as a new member.
    Event,
    /// Into every object at this node, as a new member.
    Objects(Node),
    /// Into a new object that takes the place of what is at this node, none of which is an object.
    Instead(Node),
}

/// New members before the end of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Insertion {
    pub at: u32,
    /// The object's node, and which hit it is.
    pub node: Node,
    pub hit: u32,
}

/// Hits of one sort.
#[derive(Clone, Copy, Default)]
struct Found {
    count: usize,
    last: u32,
}

impl Splice<'_> {
    /// Decides for every value that is written where it goes: the program's first, then the row's.
    pub(super) fn find_places(&self, scratch: &mut Scratch) {
        scratch.sets.clear();
        scratch.insertions.clear();
        for (index, (node, value)) in self.program.sets.iter().enumerate() {
            let set = match value {
                Value::Json(_) => self.set(*node, Source::Program(index as u16), ROOT),
                Value::MovedFrom(from) => self.moved(*from, *node),
            };
            scratch.sets.push(set);
        }
        for edit in self.row {
            scratch.sets.push(match edit.operation {
                RowOperation::Remove(node) => nothing(node),
                RowOperation::Set(node, written) => self.set(node, Source::Written(written), ROOT),
                RowOperation::Rename(from, to) => self.moved(from, to),
            });
        }
        self.find_insertions(scratch);
    }

    /// A rename: the value of the last member at `from`.
    fn moved(&self, from: Node, to: Node) -> Set {
        let last = self.hits.iter().rev().find(|hit| hit.node == from && !hit.beyond);
        match last.filter(|_| from != to) {
            Some(hit) => self.set(to, Source::Text(hit.value, hit.end), from),
            None => nothing(to),
        }
    }

    /// What is inside the members at `moved` leaves with them and is no place for anything; [`ROOT`] for none.
    fn set(&self, node: Node, source: Source, moved: Node) -> Set {
        let moved = if moved != ROOT && self.tree.covers(moved, node) { moved } else { ROOT };
        let (place, found) = self.place_of(node, moved);
        let only = match found {
            Found { count: 2.., last } if found.count * self.bytes_of(node, source) > MAX_COPIED_BYTES => {
                Some(last)
            }
            _ => None,
        };
        Set { node, source, place, only }
    }

    /// What one copy of a value takes, with the names before it.
    fn bytes_of(&self, node: Node, source: Source) -> usize {
        self.value(source).len() + self.tree.path_len(node)
    }

    fn place_of(&self, node: Node, moved: Node) -> (Place, Found) {
        let (objects, others) = self.members_at(node, moved);
        let count = objects.count + others.count;
        if count > 0 {
            return (Place::Members, Found { count, last: objects.last.max(others.last) });
        }
        let mut way = self.tree.parent(node);
        while way != ROOT {
            match self.members_at(way, moved) {
                (objects @ Found { count: 1.., .. }, _) => return (Place::Objects(way), objects),
                (_, others @ Found { count: 1.., .. }) => return (Place::Instead(way), others),
                _ => way = self.tree.parent(way),
            }
        }
        (Place::Event, Found::default())
    }

    /// The members at a node that are objects, and those that are not.
    fn members_at(&self, node: Node, moved: Node) -> (Found, Found) {
        let (mut objects, mut others) = (Found::default(), Found::default());
        let mut gone = 0;
        for (index, hit) in self.hits.iter().enumerate().filter(|(_, hit)| !hit.beyond) {
            if moved != ROOT && hit.node == moved {
                gone = hit.end.max(gone);
            }
            if hit.node != node || hit.key < gone {
                continue;
            }
            let found = if hit.kind == Kind::Object { &mut objects } else { &mut others };
            *found = Found { count: found.count + 1, last: index as u32 };
        }
        (objects, others)
    }

    /// The ends of all objects that get new members, in order.
    fn find_insertions(&self, scratch: &mut Scratch) {
        let Scratch { sets, insertions, .. } = scratch;
        for (index, set) in sets.iter().enumerate() {
            let Place::Objects(node) = set.place else { continue };
            // Values for the same objects find them together.
            if sets.iter().take(index).any(|earlier| earlier.place == set.place && earlier.only.is_none()) {
                continue;
            }
            for (hit, Hit { end, .. }) in self.objects_at(node) {
                if set.only.is_none_or(|only| only == hit) {
                    insertions.push(Insertion { at: end - 1, node, hit });
                }
            }
        }
        insertions.sort_by_key(|insertion| insertion.at);
        insertions.dedup_by_key(|insertion| insertion.at);
    }

    fn objects_at(&self, node: Node) -> impl Iterator<Item = (u32, &Hit)> {
        let is_object = move |hit: &Hit| hit.node == node && !hit.beyond && hit.kind == Kind::Object;
        let hits = self.hits.iter().enumerate().filter(move |(_, hit)| is_object(hit));
        hits.map(|(index, hit)| (index as u32, hit))
    }
}

fn nothing(node: Node) -> Set {
    Set { node, source: Source::Text(0, 0), place: Place::Nowhere, only: None }
}
