//! Bounds on the size of a configuration, with what its aliases expand to.

use super::{Node, Value};
use crate::error::Complaint;

/// Maps and lists inside each other; the configuration itself needs about eight, plugins may have their own.
pub(super) const MAX_DEPTH: usize = 64;
/// Nodes of all files together, with what aliases expand to.
const MAX_NODES: usize = 100_000;
/// Bytes of scalars and keys of all files together, with what aliases expand to.
const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;

/// What is left of the bounds on the size of the whole configuration.
#[derive(Debug)]
pub(crate) struct Budget {
    nodes: usize,
    text_bytes: usize,
}

/// What a node costs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    pub nodes: usize,
    pub text_bytes: usize,
    /// Maps and lists inside each other.
    pub depth: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { nodes: MAX_NODES, text_bytes: MAX_TEXT_BYTES }
    }
}

impl Budget {
    pub(super) fn take(&mut self, cost: Weight) -> Result<(), Complaint> {
        let nodes = self.nodes.checked_sub(cost.nodes);
        let text_bytes = self.text_bytes.checked_sub(cost.text_bytes);
        let (Some(nodes), Some(text_bytes)) = (nodes, text_bytes) else {
            let mib = MAX_TEXT_BYTES / (1024 * 1024);
            return Err(Complaint::new(format!(
                "the configuration is too large: more than {MAX_NODES} values or {mib} MiB of text, aliases expanded"
            )));
        };
        *self = Budget { nodes, text_bytes };
        Ok(())
    }
}

impl Weight {
    pub fn of(node: &Node) -> Weight {
        let mut weight = Weight { nodes: 1, ..Weight::default() };
        match &node.value {
            Value::Text(text) | Value::Number(_, text) => weight.text_bytes += text.len(),
            Value::List(items) => items.iter().for_each(|item| weight.add(Weight::of(item))),
            Value::Map(entries) => {
                for entry in entries {
                    weight.text_bytes += entry.key.len();
                    weight.add(Weight::of(&entry.value));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        if matches!(node.value, Value::List(_) | Value::Map(_)) {
            weight.depth += 1;
        }
        weight
    }

    fn add(&mut self, inner: Weight) {
        self.nodes += inner.nodes;
        self.text_bytes += inner.text_bytes;
        self.depth = self.depth.max(inner.depth);
    }
}
