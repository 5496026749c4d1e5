//! An event as it was written: duplicate members and the text of numbers are kept, and edits do what the agent's
//! do, only slowly.
//!
//! A path matches nested members and literal dotted keys, and passes through arrays of objects. A key that goes on
//! behind a path (`labels.app` where the path is `labels`) goes with it when the path is removed, written or kept.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Json, Kind};

/// A JSON value. Members of objects stand in the order of the text, duplicates included.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Object { text: String, members: Members },
    Array { text: String, elements: Vec<Node> },
    Other(String),
}

pub(super) type Members = Vec<(String, Node)>;

impl Node {
    /// The value that this text is.
    pub(super) fn parse(text: &str) -> serde_json::Result<Node> {
        let text = serde_json::from_str::<&RawValue>(text)?.get().to_owned();
        match text.as_bytes().first() {
            Some(b'{') => {
                let RawMembers(raw) = serde_json::from_str(&text)?;
                let member = |(name, value): (String, Box<RawValue>)| Ok((name, Node::parse(value.get())?));
                let members: serde_json::Result<Members> = raw.into_iter().map(member).collect();
                Ok(Node::Object { members: members?, text })
            }
            Some(b'[') => {
                let raw: Vec<Box<RawValue>> = serde_json::from_str(&text)?;
                let elements: serde_json::Result<Vec<Node>> =
                    raw.iter().map(|value| Node::parse(value.get())).collect();
                Ok(Node::Array { elements: elements?, text })
            }
            _ => Ok(Node::Other(text)),
        }
    }

    /// The value as the agent hands it over: strings unescaped and without quotes, all else as it was written.
    pub(super) fn kind_and_bytes(&self) -> (Kind, Vec<u8>) {
        let text = match self {
            Node::Object { text, .. } => return (Kind::Object, text.clone().into_bytes()),
            Node::Array { text, .. } => return (Kind::Array, text.clone().into_bytes()),
            Node::Other(text) => text,
        };
        match serde_json::from_str(text) {
            Ok(Json::String(content)) => (Kind::String, content.into_bytes()),
            Ok(Json::Bool(_)) => (Kind::Bool, text.clone().into_bytes()),
            Ok(Json::Null) => (Kind::Null, text.clone().into_bytes()),
            _ => (Kind::Number, text.clone().into_bytes()),
        }
    }

    /// As the reader of a document sees it: the last of duplicate members.
    pub(super) fn to_json(&self) -> Json {
        match self {
            Node::Object { members, .. } => to_json(members),
            Node::Array { elements, .. } => elements.iter().map(Node::to_json).collect(),
            Node::Other(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        }
    }

    /// The last object that this value is or holds as an element and that `find` finds something in.
    fn find<'a, T>(&'a self, find: &dyn Fn(&'a Members) -> Option<T>) -> Option<T> {
        match self {
            Node::Object { members, .. } => find(members),
            Node::Array { elements, .. } => elements.iter().rev().find_map(|element| element.find(find)),
            Node::Other(_) => None,
        }
    }

    /// Changes every object that this value is or holds as an element.
    fn change(&mut self, change: &mut dyn FnMut(&mut Members)) {
        match self {
            Node::Object { members, .. } => change(members),
            Node::Array { elements, .. } => elements.iter_mut().for_each(|element| element.change(change)),
            Node::Other(_) => {}
        }
    }
}

/// The members as one object.
pub(super) fn to_json(members: &Members) -> Json {
    Json::Object(members.iter().map(|(name, node)| (name.clone(), node.to_json())).collect())
}

/// The last value at a path.
pub(super) fn find<'a>(members: &'a Members, path: &str) -> Option<&'a Node> {
    members.iter().rev().find_map(|(name, node)| {
        if name == path {
            return Some(node);
        }
        let rest = rest_of(path, name)?;
        node.find(&|inner| find(inner, rest))
    })
}

/// Removes every member at a path.
pub(super) fn remove(members: &mut Members, path: &str) {
    members.retain_mut(|(name, node)| {
        if let Some(rest) = rest_of(path, name) {
            node.change(&mut |inner| remove(inner, rest));
        }
        !is_at_or_behind(name, path)
    });
}

/// Writes a value in place of every member at a path, else as a new member.
pub(super) fn set(members: &mut Members, path: &str, value: &Node) {
    if replace(members, path, value) {
        return;
    }
    let dots = path.rmatch_indices('.');
    for (dot, _) in dots {
        if insert(members, &path[..dot], &path[dot + 1..], value) {
            return;
        }
    }
    members.push(nested(path, value));
}

/// Moves the last value at `from` to `to`; without one nothing changes.
pub(super) fn rename(members: &mut Members, from: &str, to: &str) {
    let Some(value) = find(members, from).cloned() else { return };
    remove_exactly(members, from);
    set(members, to, &value);
}

/// Removes everything but what lies at these paths, and the objects on the way to them.
pub(super) fn keep_only(members: &mut Members, paths: &[&str]) {
    members.retain_mut(|(name, node)| {
        if paths.iter().any(|path| is_at_or_behind(name, path)) {
            return true;
        }
        let rests: Vec<&str> = paths.iter().filter_map(|path| rest_of(path, name)).collect();
        let Node::Object { members, .. } = node else { return false };
        keep_only(members, &rests);
        !rests.is_empty()
    });
}

fn remove_exactly(members: &mut Members, path: &str) {
    members.retain_mut(|(name, node)| {
        if let Some(rest) = rest_of(path, name) {
            node.change(&mut |inner| remove_exactly(inner, rest));
        }
        name != path
    });
}

fn replace(members: &mut Members, path: &str, value: &Node) -> bool {
    let mut replaced = false;
    members.retain_mut(|(name, node)| {
        if name == path {
            *node = value.clone();
            replaced = true;
        } else if let Some(rest) = rest_of(path, name) {
            node.change(&mut |inner| replaced |= replace(inner, rest, value));
        }
        name == path || !is_at_or_behind(name, path)
    });
    replaced
}

/// Adds a value to the last object at `path`, if there is one.
fn insert(members: &mut Members, path: &str, rest: &str, value: &Node) -> bool {
    for (name, node) in members.iter_mut().rev() {
        let mut inserted = false;
        match (node, rest_of(path, name)) {
            (Node::Object { members, .. }, _) if name == path => {
                members.push(nested(rest, value));
                inserted = true;
            }
            (node, Some(inside)) => {
                node.change(&mut |inner| inserted = inserted || insert(inner, inside, rest, value));
            }
            _ => {}
        }
        if inserted {
            return true;
        }
    }
    false
}

/// A new member, in new objects where the path has several parts.
fn nested(path: &str, value: &Node) -> (String, Node) {
    match path.split_once('.') {
        None => (path.into(), value.clone()),
        Some((first, rest)) => {
            (first.into(), Node::Object { text: String::new(), members: vec![nested(rest, value)] })
        }
    }
}

/// What is left of a path below a member of this name.
fn rest_of<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    path.strip_prefix(name)?.strip_prefix('.')
}

fn is_at_or_behind(name: &str, path: &str) -> bool {
    name == path || rest_of(name, path).is_some()
}

/// The members of one object, in order, with their duplicates.
struct RawMembers(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for RawMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawMembers, D::Error> {
        deserializer.deserialize_map(RawMembers(Vec::new()))
    }
}

impl<'de> Visitor<'de> for RawMembers {
    type Value = RawMembers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<RawMembers, A::Error> {
        while let Some(member) = map.next_entry()? {
            self.0.push(member);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn members(text: &str) -> Members {
        match Node::parse(text).unwrap() {
            Node::Object { members, .. } => members,
            _ => panic!("not an object: {text}"),
        }
    }

    #[test]
    fn the_last_value_at_a_path_is_read() {
        let cases = [
            (r#"{"a":1,"a":2.0}"#, "a", Some("2.0")),
            (r#"{"a":{"b":1}}"#, "a.b", Some("1")),
            (r#"{"a":{"b":1},"a.b":"x"}"#, "a.b", Some("x")),
            (r#"{"a.b":{"c":1},"a":{"b.c":2}}"#, "a.b.c", Some("2")),
            (r#"{"a":{"b":1},"a":{"x":2}}"#, "a.b", Some("1")),
            (r#"{"\u0061":"\u00fc\n"}"#, "a", Some("ü\n")),
            (r#"{"a":[{"b":1},[{"b":2}],{"c":3}]}"#, "a.b", Some("2")),
            (r#"{"a.b":1}"#, "a", None),
            (r#"{"ab":1}"#, "a", None),
        ];
        for (text, path, expected) in cases {
            let found =
                find(&members(text), path).map(|node| String::from_utf8(node.kind_and_bytes().1).unwrap());
            assert_eq!(found.as_deref(), expected, "{path} in {text}");
        }
    }

    #[test]
    fn edits_apply_to_every_duplicate() {
        type Change<'a> = &'a dyn Fn(&mut Members);
        let nine = || Node::Other("9".into());
        let cases: [(&str, Change<'_>, Json); 14] = [
            (r#"{"a":1,"a":2,"b":3}"#, &|m| remove(m, "a"), json!({"b": 3})),
            (r#"{"a.b":1,"a":{"b":2,"c":3}}"#, &|m| remove(m, "a.b"), json!({"a": {"c": 3}})),
            (r#"{"a.b":1,"ab":2}"#, &|m| remove(m, "a"), json!({"ab": 2})),
            (r#"{"a":[{"b":1},{"c":2}]}"#, &|m| remove(m, "a.b"), json!({"a": [{}, {"c": 2}]})),
            (r#"{"a.b":1,"a":{"b":2}}"#, &|m| set(m, "a.b", &nine()), json!({"a.b": 9, "a": {"b": 9}})),
            (r#"{"a":1,"a.b":2}"#, &|m| set(m, "a", &nine()), json!({"a": 9})),
            (r#"{"a":{}}"#, &|m| set(m, "a.b.c", &nine()), json!({"a": {"b": {"c": 9}}})),
            (
                r#"{"a.b":{"x":1},"a":{}}"#,
                &|m| set(m, "a.b.c", &nine()),
                json!({"a.b": {"x": 1, "c": 9}, "a": {}}),
            ),
            (r#"{"a":1}"#, &|m| set(m, "b.c", &nine()), json!({"a": 1, "b": {"c": 9}})),
            (r#"{"a":1}"#, &|m| set(m, "a.b", &nine()), json!({"a": {"b": 9}})),
            (r#"{"a":1,"a":2,"a.x":3}"#, &|m| rename(m, "a", "b.c"), json!({"a.x": 3, "b": {"c": 2}})),
            (r#"{"a":1}"#, &|m| rename(m, "x", "a"), json!({"a": 1})),
            (
                r#"{"a":{"b":1,"c":2},"d.e":3,"d":4,"f":{"g":5},"h":6,"h.i":7}"#,
                &|m| keep_only(m, &["a.b", "d.e", "f.x", "h"]),
                json!({"a": {"b": 1}, "d.e": 3, "f": {}, "h": 6, "h.i": 7}),
            ),
            (r#"{"a":[{"b":1}]}"#, &|m| keep_only(m, &["a.b"]), json!({})),
        ];
        for (text, change, expected) in cases {
            let mut members = members(text);
            change(&mut members);
            assert_eq!(to_json(&members), expected, "{text}");
        }
    }
}
