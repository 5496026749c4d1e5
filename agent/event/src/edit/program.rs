//! Programs: what happens to each member in one splice.

use super::operation::{Operation, Value};
use crate::path::{Node, PathTree};

/// What happens to the members of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    #[default]
    Stay,
    Remove,
    /// Written by the set operation with this index, if that has a value.
    Set(u16),
    /// Removed if the set operation with this index has a value.
    ClearedBy(u16),
    /// Removed if the set operation with this index takes the value along; what lies beyond stays.
    MovedBy(u16),
    /// Something inside is kept: an object stays, to be looked at inside; anything else is removed, an array too.
    Through,
}

/// Operations that are applied in one splice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// By node.
    pub actions: Vec<Action>,
    pub sets: Vec<(Node, Value)>,
}

// === impl Program ===

impl Program {
    /// The program of operations that do not see each other.
    pub fn new(tree: &PathTree, operations: &[&Operation]) -> Program {
        let mut program = Program { actions: vec![Action::Stay; tree.len()], sets: Vec::new() };
        for operation in operations {
            match operation {
                Operation::Remove(node) => program.act(tree, *node, Action::Remove, Action::Remove),
                Operation::Set(node, value) => program.set(tree, *node, value),
                Operation::KeepOnly(kept) => program.keep_only(tree, kept),
            }
        }
        program
    }

    fn set(&mut self, tree: &PathTree, node: Node, value: &Value) {
        let index = self.sets.len() as u16;
        self.sets.push((node, value.clone()));
        self.act(tree, node, Action::Set(index), Action::ClearedBy(index));
        if let Value::MovedFrom(from) = value
            && !tree.covers(node, *from)
            && let Some(action) = self.actions.get_mut(*from as usize)
        {
            *action = Action::MovedBy(index);
        }
    }

    /// `node` gets an action, everything below it another one.
    fn act(&mut self, tree: &PathTree, node: Node, here: Action, below: Action) {
        for (other, action) in self.actions.iter_mut().enumerate() {
            let other = other as Node;
            if other == node {
                *action = here;
            } else if tree.covers(node, other) {
                *action = below;
            }
        }
    }

    /// Only these, what is below them, and the way to them stays.
    fn keep_only(&mut self, tree: &PathTree, kept: &[Node]) {
        for (node, action) in self.actions.iter_mut().enumerate() {
            let node = node as Node;
            if kept.iter().any(|kept| tree.covers(*kept, node)) {
                continue;
            }
            let leads_on = kept.iter().any(|kept| tree.covers(node, *kept));
            *action = if leads_on { Action::Through } else { Action::Remove };
        }
    }
}
