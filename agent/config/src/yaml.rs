//! YAML text as a tree whose nodes know where they stand.
//!
//! The parser's events are turned into the tree here, not by a ready-made loader, because a configuration needs what
//! those leave out: 1. a key given twice is an error, 2. every node and every key has its place, 3. what aliases
//! expand to is counted before it is copied, so that a few lines cannot fill the memory, 4. depth is bounded, so that
//! walking the tree cannot exhaust the stack.

mod budget;
mod builder;
mod scalar;

use serde_json::Number;

pub(crate) use budget::Budget;
pub(crate) use builder::parse;

/// Where something stands. Orders by file, then by place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Index of the file in the report.
    pub file: u32,
    /// From 1; 0 for the file as a whole.
    pub line: u32,
    /// From 1, in characters; 0 for the file as a whole.
    pub column: u32,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub at: Position,
    pub value: Value,
}

/// A value; keys keep their order.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// A number, and as it was written: `1.10` is also the text of a version.
    Number(Number, String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub key_at: Position,
    pub value: Node,
}

// === impl Node ===

impl Node {
    /// The entries, if this is a map.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of this key, if this is a map that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The keys, if this is a map.
    pub fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.entries().iter().map(|entry| entry.key.as_str())
    }

    /// The value without its places.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => serde_json::Value::Bool(*value),
            Value::Number(number, _) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => serde_json::Value::String(text.clone()),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                let members = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                serde_json::Value::Object(members.collect())
            }
        }
    }

    /// What this is, for a message: `the text "abc"`, `a list`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number, _) => format!("the number {number}"),
            Value::Text(text) => format!("the text {}", crate::text::quoted(text)),
            Value::List(_) => "a list".to_string(),
            Value::Map(_) => "a map".to_string(),
        }
    }
}

impl Entry {
    /// Where to point for a complaint about the value: at a short value itself, at a long one's key.
    pub fn at(&self) -> Position {
        match self.value.value {
            Value::List(_) | Value::Map(_) | Value::Null => self.key_at,
            _ => self.value.at,
        }
    }
}
