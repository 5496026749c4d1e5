//! Building the tree: paths are added, and what is to be done at their nodes.

use super::{
    Child, Info, MAX_NODES, Node, PAIR_WORDS, PathError, PathTree, ROOT, check, first_eight, pair_hash,
};

impl PathTree {
    /// Adds a path and returns its node. Adding it again returns the same node.
    pub fn add(&mut self, path: &str) -> Result<Node, PathError> {
        check(path)?;
        let mut node = ROOT;
        for part in path.split('.') {
            node = self.child_or_new(node, part.as_bytes())?;
        }
        Ok(node)
    }

    /// Adds a path whose value a stage reads: it gets a place in the table of values.
    pub fn add_field(&mut self, path: &str) -> Result<u16, PathError> {
        let node = self.add(path)?;
        let next = self.fields;
        let Some(info) = self.nodes.get_mut(node as usize) else { return Err(PathError::TooMany) };
        let field = *info.field.get_or_insert(next);
        self.fields = next.max(field + 1);
        Ok(field)
    }

    /// Adds a path whose members are recorded, every one of them, for edits.
    pub fn add_recorded(&mut self, path: &str) -> Result<Node, PathError> {
        let node = self.add(path)?;
        self.record(node);
        Ok(node)
    }

    /// Records the members of a node and of all nodes below it: a key that spells out a path below, `labels.app`, takes
    /// part in whatever happens to `labels`, also where somebody only reads it.
    pub fn record(&mut self, node: Node) {
        for below in
            (0..self.nodes.len() as Node).filter(|below| self.covers(node, *below)).collect::<Vec<_>>()
        {
            if let Some(info) = self.nodes.get_mut(below as usize) {
                info.record = true;
            }
        }
    }

    /// Records every member of a node's object: those that match none of its children as members beyond the node.
    pub fn record_others(&mut self, node: Node) {
        let Some(info) = self.nodes.get_mut(node as usize) else { return };
        info.record_others = true;
        info.pairs = [u64::MAX; PAIR_WORDS];
        let children: Vec<Node> = info.children.iter().map(|child| child.node).collect();
        for child in children {
            self.record(child);
        }
    }

    fn child_or_new(&mut self, parent: Node, name: &[u8]) -> Result<Node, PathError> {
        if let Some(child) = self.child(parent, name) {
            return Ok(child);
        }
        let node = self.nodes.len() as Node;
        let Some(info) = self.nodes.get_mut(parent as usize).filter(|_| (node as usize) < MAX_NODES) else {
            return Err(PathError::TooMany);
        };
        info.adopt(Child::new(node, name));
        let record = info.record || info.record_others;
        self.nodes.push(Info { name: name.to_vec(), parent, record, ..Info::default() });
        self.sort_children(parent);
        Ok(node)
    }

    /// By their names, which they are looked up by.
    fn sort_children(&mut self, parent: Node) {
        let Some(info) = self.nodes.get_mut(parent as usize) else { return };
        let mut children = std::mem::take(&mut info.children);
        children.sort_by(|one, other| self.name(one.node).cmp(self.name(other.node)));
        let mut first = vec![0; 256];
        for (at, child) in children.iter().enumerate().rev() {
            if let Some(place) = first.get_mut((child.head & 0xff) as usize) {
                *place = at as u16 + 1;
            }
        }
        if let Some(info) = self.nodes.get_mut(parent as usize) {
            (info.children, info.first) = (children, first);
        }
    }
}

impl Info {
    fn adopt(&mut self, child: Child) {
        let [first, second] = [child.head as u8, (child.head >> 8) as u8];
        // A name of one byte is followed by the closing quote or by a dot.
        for second in if child.len == 1 { [b'"', b'.'] } else { [second; 2] } {
            let pair = pair_hash(first, second);
            if let Some(word) = self.pairs.get_mut(pair / 64) {
                *word |= 1 << (pair % 64);
            }
        }
        self.children.push(child);
    }
}

impl Child {
    fn new(node: Node, name: &[u8]) -> Child {
        let mask = if name.len() < 8 { (1 << (8 * name.len())) - 1 } else { u64::MAX };
        Child { node, head: u64::from_le_bytes(first_eight(name)), mask, len: name.len() as u32 }
    }
}
