//! Where the values of a configuration stand.

use std::fmt;
use std::sync::Arc;

use crate::error::{Complaint, Error, Report};
use crate::key_path::{KeyPath, Step};
use crate::yaml::{Node, Position, Value};

/// The configuration as it was written, kept to say where a value stands that turns out to be wrong later. Cheap to
/// clone.
#[derive(Clone)]
pub(crate) struct Places {
    tree: Arc<Node>,
    files: Arc<[String]>,
}

impl Places {
    pub fn new(tree: Node, report: &Report) -> Places {
        Places { tree: Arc::new(tree), files: report.files().into() }
    }

    /// An error at the value that these keys lead to; a number is an index into a list.
    pub fn error(&self, keys: &[&str], complaint: Complaint) -> Error {
        let mut path = KeyPath::default();
        for key in keys {
            let is_list =
                find(&self.tree, &path).is_some_and(|(node, _)| matches!(node.value, Value::List(_)));
            match key.parse() {
                Ok(index) if is_list => path.push(Step::Index(index)),
                _ => path.push(Step::Key((*key).to_string())),
            }
        }
        let at = locate(&self.tree, &path);
        Error {
            file: self.files.get(at.file as usize).cloned().unwrap_or_default(),
            line: at.line,
            column: at.column,
            path: path.to_string(),
            message: complaint.message,
            help: complaint.help,
        }
    }
}

/// Nothing of the values, for they may hold what is nobody's business.
impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The place of the value at this path, or of the nearest one around it.
pub(super) fn locate(tree: &Node, path: &KeyPath) -> Position {
    let mut node = tree;
    let mut at = tree.at;
    for step in path.steps() {
        let Some((inner, place)) = inner(node, step) else { break };
        (node, at) = (inner, place);
    }
    at
}

/// The value at this path and its place.
pub(super) fn find<'a>(tree: &'a Node, path: &KeyPath) -> Option<(&'a Node, Position)> {
    path.steps().iter().try_fold((tree, tree.at), |(node, _), step| inner(node, step))
}

fn inner<'a>(node: &'a Node, step: &Step) -> Option<(&'a Node, Position)> {
    match (step, &node.value) {
        (Step::Key(key), Value::Map(_)) => node.entry(key).map(|entry| (&entry.value, entry.at())),
        (Step::Index(index), Value::List(items)) => items.get(*index).map(|item| (item, item.at)),
        _ => None,
    }
}
