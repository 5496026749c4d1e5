//! Paths and the tree that the scanner matches keys against.
//!
//! 1. A path is dotted: `user.email`. It matches the member `email` in the object `user`, and also a member that is
//!    literally called `user.email`, at any depth where the rest of the path still fits, after unescaping.
//! 2. A key that goes on behind a path (`labels.app` where `labels` is wanted) lies *beyond* it: it is not its value,
//!    but what removes or replaces the path's value removes it too. A redaction cannot be passed by a trick of spelling.
//! 3. A path passes through arrays: `user.email` is also every `email` in an array of objects called `user`.
//! 4. Nodes are only ever those of the tree they are used with; one of another tree is as one that is not there.

mod build;

/// Longest path accepted, in bytes.
pub const MAX_PATH_BYTES: usize = 256;
/// Most nodes in one tree.
const MAX_NODES: usize = 4_096;

/// A node of a [`PathTree`].
pub type Node = u16;
/// The node of the event itself.
pub const ROOT: Node = 0;
/// No node: nothing below is wanted.
pub const NONE: Node = u16::MAX;

/// Why a text is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// An empty path, or one with an empty part such as `a..b`.
    #[error("\"{0}\" is not a path: every part between dots must have at least one character")]
    EmptyPart(String),
    /// More than [`MAX_PATH_BYTES`].
    #[error("a path of {0} bytes is longer than {MAX_PATH_BYTES}")]
    TooLong(usize),
    /// More distinct paths than a tree holds.
    #[error("more than {MAX_NODES} distinct parts of paths")]
    TooMany,
}

/// Bits of a node's filter of pairs, in words.
const PAIR_WORDS: usize = 16;

fn pair_hash(first: u8, second: u8) -> usize {
    (first as usize ^ ((second as usize) << 4)) % (64 * PAIR_WORDS)
}

/// What the scanner does at a node.
#[derive(Clone, Debug, Default)]
struct Info {
    name: Vec<u8>,
    parent: Node,
    /// Children whose name begins with a byte: `first[byte]` is 1 + the index of the first of them in `children`,
    /// which is sorted by name; 0 for none. Empty when there are no children.
    first: Vec<u16>,
    /// A bit for each pair of first two bytes of a child's name, hashed: most keys are told off here.
    pairs: [u64; PAIR_WORDS],
    children: Vec<Child>,
    /// Index into the table of values, for what a stage reads.
    field: Option<u16>,
    record: bool,
    record_others: bool,
}

#[derive(Clone, Debug)]
struct Child {
    node: Node,
    /// The first eight bytes of the name, and which of them count.
    head: u64,
    mask: u64,
    len: u32,
}

/// All the paths that a pipeline wants to find, as a tree by their parts.
#[derive(Clone, Debug)]
pub struct PathTree {
    nodes: Vec<Info>,
    fields: u16,
}

/// How a key fits the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Nothing wanted.
    Nothing,
    /// Exactly this node.
    Exact(Node),
    /// The key goes on behind this recorded node.
    Beyond(Node),
}

// === impl PathTree ===

impl Default for PathTree {
    fn default() -> PathTree {
        PathTree { nodes: vec![Info::default()], fields: 0 }
    }
}

impl PathTree {
    /// The node of a path, if it was added.
    pub fn find(&self, path: &str) -> Option<Node> {
        let mut node = ROOT;
        for part in path.split('.') {
            node = self.child(node, part.as_bytes())?;
        }
        Some(node)
    }

    fn child(&self, parent: Node, name: &[u8]) -> Option<Node> {
        let mut children = self.nodes.get(parent as usize)?.children.iter().map(|child| child.node);
        children.find(|child| self.name(*child) == name)
    }

    /// How many values the table has per event.
    pub fn fields(&self) -> usize {
        self.fields as usize
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The last part of a node's path, unescaped.
    pub fn name(&self, node: Node) -> &[u8] {
        self.nodes.get(node as usize).map_or(&[], |info| &info.name)
    }

    /// Bytes of a node's path.
    pub(crate) fn path_len(&self, node: Node) -> usize {
        let (mut len, mut node) = (0, node);
        while node != ROOT {
            len += self.name(node).len() + 1;
            node = self.parent(node);
        }
        len.saturating_sub(1)
    }

    /// The node that a node hangs on; [`ROOT`] for itself.
    pub fn parent(&self, node: Node) -> Node {
        self.nodes.get(node as usize).map_or(ROOT, |info| info.parent)
    }

    /// The node of the path's first part.
    pub fn top(&self, node: Node) -> Node {
        let mut top = node;
        while self.parent(top) != ROOT {
            top = self.parent(top);
        }
        top
    }

    /// Whether `inner` is `outer` or below it.
    pub fn covers(&self, outer: Node, inner: Node) -> bool {
        if outer == ROOT {
            return true;
        }
        let mut node = inner;
        while node != outer && node != ROOT {
            node = self.parent(node);
        }
        node == outer
    }

    /// The node of a field.
    pub(crate) fn node_of(&self, field: u16) -> Option<Node> {
        self.nodes.iter().position(|info| info.field == Some(field)).map(|node| node as Node)
    }

    pub(crate) fn field(&self, node: Node) -> Option<u16> {
        self.nodes.get(node as usize)?.field
    }

    pub(crate) fn is_recorded(&self, node: Node) -> bool {
        self.nodes.get(node as usize).is_some_and(|info| info.record)
    }

    pub(crate) fn records_others(&self, node: Node) -> bool {
        self.nodes.get(node as usize).is_some_and(|info| info.record_others)
    }

    /// Whether a key that begins with these two bytes (the second may be its closing quote) can matter in an object
    /// at `node`.
    #[inline(always)]
    pub(crate) fn may_match(&self, node: Node, first: u8, second: u8) -> bool {
        let pair = pair_hash(first, second);
        let word = self.nodes.get(node as usize).and_then(|info| info.pairs.get(pair / 64));
        word.is_some_and(|word| word >> (pair % 64) & 1 != 0)
    }

    /// The node to look members up at inside the value of a member: [`NONE`] where there is nothing to find.
    #[inline(always)]
    pub(crate) fn inside(&self, node: Node) -> Node {
        match self.nodes.get(node as usize) {
            Some(info) if !info.children.is_empty() || info.record_others => node,
            _ => NONE,
        }
    }

    /// Matches an unescaped key of an object at `node`. `padded` is where the key begins and at least eight bytes
    /// long, `len` the key's length.
    pub(crate) fn match_key(&self, node: Node, padded: &[u8], len: usize) -> Match {
        let (Some(info), Some(head)) = (self.nodes.get(node as usize), padded.first_chunk::<8>()) else {
            return Match::Nothing;
        };
        let head = u64::from_le_bytes(*head);
        let first = info.first.get((head & 0xff) as usize).copied().unwrap_or_default() as usize;
        if first == 0 {
            return Match::Nothing;
        }
        for child in info.children.get(first - 1..).unwrap_or_default() {
            if (head ^ child.head) & 0xff != 0 {
                break;
            }
            let child_len = child.len as usize;
            if (head ^ child.head) & child.mask != 0 || child_len > len {
                continue;
            }
            if child_len > 8 && padded.get(..child_len) != Some(self.name(child.node)) {
                continue;
            }
            if child_len == len {
                return Match::Exact(child.node);
            }
            if let Some([b'.', rest @ ..]) = padded.get(child_len..) {
                return self.match_rest(child.node, rest, len - child_len - 1);
            }
        }
        Match::Nothing
    }

    /// The part of a key behind a dot.
    fn match_rest(&self, node: Node, rest: &[u8], len: usize) -> Match {
        let mut inner = Match::Nothing;
        if len > 0 {
            // The rest of a key may lie at the very end of a text that has no eight bytes left.
            inner = match rest.len() {
                8.. => self.match_key(node, rest, len),
                _ => self.match_key(node, &first_eight(rest), len),
            };
        }
        match inner {
            Match::Nothing if self.is_recorded(node) => Match::Beyond(node),
            other => other,
        }
    }

    #[cfg(test)]
    fn child_count(&self, node: Node) -> usize {
        self.nodes[node as usize].children.len()
    }
}

/// The first eight bytes, zeros where there are fewer.
fn first_eight(bytes: &[u8]) -> [u8; 8] {
    let mut copy = [0; 8];
    for (to, from) in copy.iter_mut().zip(bytes) {
        *to = *from;
    }
    copy
}

/// Whether a text is a path.
pub fn check(path: &str) -> Result<(), PathError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong(path.len()));
    }
    if path.split('.').any(str::is_empty) {
        return Err(PathError::EmptyPart(path.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
