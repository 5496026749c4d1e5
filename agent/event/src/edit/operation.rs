//! Operations: single edits, their paths as nodes of a tree, and which of them see each other's work.

use super::Ways;
use crate::batch::PADDING;
use crate::path::{Node, PathError, PathTree, ROOT};
use crate::scan::{Scanner, Text};
use crate::transform::Edit;

/// What an edit does, by nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Remove(Node),
    Set(Node, Value),
    /// The nodes that stay.
    KeepOnly(Vec<Node>),
}

/// A value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// JSON text on one line.
    Json(Box<[u8]>),
    /// The event's own value at a node, which is removed there.
    MovedFrom(Node),
}

// === impl Operation ===

impl Operation {
    /// The operation of an edit, with its paths added to the tree. A rename is a set of a moved value.
    pub fn new(tree: &mut PathTree, edit: &Edit) -> Result<Operation, PathError> {
        Ok(match edit {
            Edit::Remove(path) => Operation::Remove(tree.add_recorded(path)?),
            Edit::Set(path, json) => {
                let node = add_with_parents(tree, path)?;
                let mut value = json.as_bytes().to_vec();
                one_line(&mut value);
                Operation::Set(node, Value::Json(value.into()))
            }
            Edit::Rename(from, to) => {
                let from = tree.add_recorded(from)?;
                Operation::Set(add_with_parents(tree, to)?, Value::MovedFrom(from))
            }
            Edit::KeepOnly(paths) => Operation::keep_only(tree, paths)?,
        })
    }

    fn keep_only(tree: &mut PathTree, paths: &[String]) -> Result<Operation, PathError> {
        tree.record_others(ROOT);
        let mut kept = Vec::new();
        for path in paths {
            let node = add_with_parents(tree, path)?;
            for parent in parents(tree, node) {
                tree.record_others(parent);
            }
            kept.push(node);
        }
        Ok(Operation::KeepOnly(kept))
    }

    /// The nodes that it reads or writes; the event itself for what touches everything.
    pub fn nodes(&self) -> Nodes {
        match self {
            Operation::Remove(node) | Operation::Set(node, Value::Json(_)) => Nodes::one(*node),
            Operation::Set(node, Value::MovedFrom(from)) => Nodes::two(*node, *from),
            Operation::KeepOnly(_) => Nodes::one(ROOT),
        }
    }

    /// Whether it changes anything at, above or below one of the nodes that somebody reads or writes.
    pub fn touches(&self, tree: &PathTree, nodes: &[Node], ways: Ways) -> bool {
        let own = self.nodes();
        own.overlap(nodes, tree) || ways == Ways::Arrays && !self.only_removes() && own.share_top(nodes, tree)
    }

    /// Whether one of two operations could see what the other one did.
    pub fn sees(&self, other: &Operation, tree: &PathTree, ways: Ways) -> bool {
        match (self.only_removes(), other.only_removes()) {
            (true, true) => false,
            (true, false) => self.nodes().overlap(other.nodes().as_slice(), tree),
            (false, true) => other.nodes().overlap(self.nodes().as_slice(), tree),
            (false, false) => self.touches(tree, other.nodes().as_slice(), ways),
        }
    }

    fn only_removes(&self) -> bool {
        matches!(self, Operation::Remove(_))
    }
}

/// One node or two.
#[derive(Clone, Copy)]
pub(crate) struct Nodes {
    nodes: [Node; 2],
    count: usize,
}

impl Nodes {
    pub fn one(node: Node) -> Nodes {
        Nodes { nodes: [node; 2], count: 1 }
    }

    pub fn two(one: Node, other: Node) -> Nodes {
        Nodes { nodes: [one, other], count: 2 }
    }

    pub fn as_slice(&self) -> &[Node] {
        self.nodes.get(..self.count).unwrap_or_default()
    }

    fn overlap(&self, others: &[Node], tree: &PathTree) -> bool {
        overlap(tree, self.as_slice(), others)
    }

    fn share_top(&self, others: &[Node], tree: &PathTree) -> bool {
        share_top(tree, self.as_slice(), others)
    }
}

/// Whether no two groups of nodes touch the same part of an event: nothing done to one shows at the other.
pub(crate) fn are_apart(tree: &PathTree, groups: &[Nodes], ways: Ways) -> bool {
    let meet = |one: &Nodes, others: &Nodes| {
        one.overlap(others.as_slice(), tree) || ways == Ways::Arrays && one.share_top(others.as_slice(), tree)
    };
    groups.iter().enumerate().all(|(at, one)| groups.iter().skip(at + 1).all(|other| !meet(one, other)))
}

/// Whether one of the nodes is, covers or lies below one of the others.
pub(super) fn overlap(tree: &PathTree, ones: &[Node], others: &[Node]) -> bool {
    ones.iter().any(|one| others.iter().any(|other| tree.covers(*one, *other) || tree.covers(*other, *one)))
}

/// Whether the paths of two of them begin alike.
pub(super) fn share_top(tree: &PathTree, ones: &[Node], others: &[Node]) -> bool {
    ones.iter().any(|one| others.iter().any(|other| tree.top(*one) == tree.top(*other)))
}

/// Records the path and everything on the way to it, so that a member can be added inside an object that is there.
pub(super) fn add_with_parents(tree: &mut PathTree, path: &str) -> Result<Node, PathError> {
    let node = tree.add_recorded(path)?;
    for parent in parents(tree, node) {
        tree.record(parent);
    }
    Ok(node)
}

/// The nodes between a node and the event, the nearest first.
fn parents(tree: &PathTree, node: Node) -> Vec<Node> {
    std::iter::successors(Some(tree.parent(node)), |node| Some(tree.parent(*node)))
        .take_while(|node| *node != ROOT)
        .collect()
}

/// Puts JSON text on one line: ends of lines are white space between its tokens.
pub(crate) fn one_line(json: &mut [u8]) {
    for byte in json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// Whether a text is one JSON value: the only member of an object that is made of it.
pub(super) fn is_json(text: &str) -> bool {
    let mut object = [b"{\"\":", text.as_bytes(), b"}"].concat();
    let len = object.len();
    object.resize(len + PADDING, 0);
    let mut tree = PathTree::default();
    tree.record_others(ROOT);
    let mut hits = Vec::new();
    let text = Text { stream: 0, padded: &object, len };
    Scanner::default().scan(text, &tree, &mut hits, &mut []).is_ok() && hits.len() == 1
}
