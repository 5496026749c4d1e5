//! Splicing: an event with its edits applied, made of copies of what stays and the few bytes that are new. Nothing is
//! parsed and nothing serialised again.
//!
//! 1. A splice holds one program and edits of one row that do not see each other's work; see [`crate::edit`].
//! 2. Hits come in the order of their keys, so a member comes before what is inside it. What is inside a member that
//!    goes or takes a value is passed over with it.
//! 3. Every new member goes to exactly one kind of place, which is known before the first byte is copied; see `place`.

mod place;
mod write;

use crate::edit::{Program, Value};
use crate::path::{Node, PathTree};
use crate::scan::Hit;

use place::{Insertion, Place, Set};
use write::Writer;

/// An edit of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOperation {
    Remove(Node),
    Set(Node, Written),
    Rename(Node, Node),
}

/// Where the JSON text of a row's new value lies among what the stages wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub start: u32,
    pub end: u32,
}

/// An edit of one event that waits for the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowEdit {
    /// Which event.
    pub event: u32,
    /// What to do.
    pub operation: RowOperation,
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
    /// What [`Written`] points into.
    pub written: &'a [u8],
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

/// A value that is written.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Of the program's set with this index.
    Program(u16),
    /// What a stage wrote for the row.
    Written(Written),
    /// The event's own text from here to there.
    Text(u32, u32),
}

// === impl Scratch ===

impl Scratch {
    /// Gives memory back that is more than this many bytes.
    pub fn trim(&mut self, max_bytes: usize) {
        if self.event.capacity() > max_bytes {
            self.event = Vec::new();
        }
        if self.insertions.capacity() * size_of::<Insertion>() > max_bytes {
            self.insertions = Vec::new();
        }
    }
}

// === impl Splice ===

impl<'a> Splice<'a> {
    /// Writes the event's members, each with a comma behind it or none for the last, and `}`. What stands in `out`
    /// ends with `{` or with a comma behind members of the envelope.
    pub fn write(&self, out: &mut Vec<u8>, scratch: &mut Scratch) {
        scratch.event.clear();
        self.find_places(scratch);
        let Scratch { event, sets, insertions } = scratch;
        let replaces_on_the_way = sets.iter().any(|set| matches!(set.place, Place::Instead(_)));
        Writer { splice: self, sets, insertions, replaces_on_the_way, event }.write(out);
    }

    fn is_reserved(&self, node: Node) -> bool {
        self.reserved.get(node as usize).copied().unwrap_or(false)
    }

    /// The event's text from here to there.
    fn slice(&self, from: u32, to: u32) -> &'a [u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    /// A value as JSON text.
    fn value(&self, source: Source) -> &'a [u8] {
        match source {
            Source::Text(start, end) => self.slice(start, end),
            Source::Written(Written { start, end }) => {
                self.written.get(start as usize..end as usize).unwrap_or(b"null")
            }
            Source::Program(index) => match self.program.sets.get(index as usize) {
                Some((_, Value::Json(json))) => json,
                _ => b"null",
            },
        }
    }
}
