//! Needs: what has to be applied to an event before a stage may read or write it.
//!
//! Most of what is written shows only at, above and below its path. In an event with an array on the way to the path it
//! may show beside it too: `user.email` is also the `email` of an array of objects called `user`, and a `set user.name`
//! that finds no name puts an object in the array's place. So there are two answers, and events with such an array take
//! the second.

use super::operation::{overlap, share_top};
use super::{Compiled, Operation, Pass, Read, StageParts};
use crate::path::{Node, PathTree, ROOT};

/// What lies on the way to the paths of an event that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ways {
    /// Nothing but objects, or nothing to look into.
    #[default]
    Objects,
    /// An array somewhere.
    Arrays,
}

/// What must be applied to an event before a stage's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// So many passes before the stage reads.
    pub reads: usize,
    /// Edits of the row itself that wait, before the stage reads.
    pub reads_row_edits: bool,
    /// So many passes before the stage's own edits of a row are noted.
    pub writes: usize,
    /// The stage's own edits of a row at once: they cannot wait for the encoder.
    pub writes_at_once: bool,
}

impl Compiled {
    pub(super) fn find_needs(&mut self) {
        let stages = 0..self.stages.len();
        let needs: Vec<_> = stages
            .map(|stage| [Ways::Objects, Ways::Arrays].map(|ways| self.needs_of(stage, ways)))
            .collect();
        for (parts, needs) in self.stages.iter_mut().zip(needs) {
            parts.needs = needs;
        }
    }

    fn needs_of(&self, stage: usize, ways: Ways) -> Needs {
        let Some(parts) = self.stages.get(stage) else { return Needs::default() };
        let (reads, writes) = (self.read_nodes(parts), written_nodes(parts));
        let earlier = self.stages.iter().take(stage);
        let reads_row_edits = earlier.map(written_nodes).any(|written| {
            overlap(&self.tree, &written, &reads)
                || ways == Ways::Arrays && share_top(&self.tree, &written, &reads)
        });
        let (before, after) = self.passes.split_at(parts.first_pass.min(self.passes.len()));
        Needs {
            reads: self.touching(before, &reads, ways),
            reads_row_edits,
            writes: self.touching(before, &writes, ways),
            writes_at_once: self.touching(after, &writes, ways) > 0,
        }
    }

    /// How many of the passes must be applied for those that touch the nodes to be among them.
    fn touching(&self, passes: &[Pass], nodes: &[Node], ways: Ways) -> usize {
        let touches = |pass: &Pass| pass.iter().any(|one| one.touches(&self.tree, nodes, ways));
        passes.iter().rposition(touches).map_or(0, |last| last + 1)
    }

    fn read_nodes(&self, parts: &StageParts) -> Vec<Node> {
        let node = |read: &Read| match read {
            Read::Whole => Some(ROOT),
            Read::Field(field) => self.tree.node_of(*field),
        };
        parts.reads.iter().filter_map(node).collect()
    }
}

/// `*` is the event itself.
fn written_nodes(parts: &StageParts) -> Vec<Node> {
    parts.writes.iter().map(|node| node.unwrap_or(ROOT)).collect()
}

/// Whether anything is set below the top level: by a pass, or by edits of rows.
pub(super) fn set_below(tree: &PathTree, passes: &[Pass], stages: &[StageParts]) -> bool {
    let is_below = |node: Node| node != ROOT && tree.parent(node) != ROOT;
    let sets_below = |operation: &Operation| matches!(operation, Operation::Set(node, _) if is_below(*node));
    passes.iter().flatten().any(sets_below) || stages.iter().flat_map(written_nodes).any(is_below)
}
