//! An event as it was written: duplicate members and the text of numbers are kept, and edits do what the agent's
//! do, only slowly.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Json, Kind};

/// A JSON value. Members of objects stand in the order of the text, duplicates included.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Object { text: String, members: Members },
    Other(String),
}

pub(super) type Members = Vec<(String, Node)>;

impl Node {
    /// The value that this text is.
    pub(super) fn parse(text: &str) -> serde_json::Result<Node> {
        let text = serde_json::from_str::<&RawValue>(text)?.get();
        if !text.starts_with('{') {
            return Ok(Node::Other(text.into()));
        }
        let RawMembers(raw) = serde_json::from_str(text)?;
        let members: serde_json::Result<Members> =
            raw.into_iter().map(|(name, value)| Ok((name, Node::parse(value.get())?))).collect();
        Ok(Node::Object { text: text.into(), members: members? })
    }

    /// The value as the agent hands it over: strings unescaped and without quotes, all else as it was written.
    pub(super) fn kind_and_bytes(&self) -> (Kind, Vec<u8>) {
        let text = match self {
            Node::Object { text, .. } => return (Kind::Object, text.clone().into_bytes()),
            Node::Other(text) => text,
        };
        let kind = match text.as_bytes().first() {
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        };
        match serde_json::from_str(text) {
            Ok(Json::String(content)) => (kind, content.into_bytes()),
            _ => (kind, text.clone().into_bytes()),
        }
    }

    /// As the reader of a document sees it: the last of duplicate members.
    pub(super) fn to_json(&self) -> Json {
        match self {
            Node::Object { members, .. } => to_json(members),
            Node::Other(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        }
    }
}

/// The members as one object.
pub(super) fn to_json(members: &Members) -> Json {
    Json::Object(members.iter().map(|(name, node)| (name.clone(), node.to_json())).collect())
}

/// The last value at a path, nested or as a literal dotted key.
pub(super) fn find<'a>(members: &'a Members, path: &str) -> Option<&'a Node> {
    members.iter().rev().find_map(|(name, node)| {
        if name == path {
            return Some(node);
        }
        match (rest_of(path, name), node) {
            (Some(rest), Node::Object { members, .. }) => find(members, rest),
            _ => None,
        }
    })
}

/// Removes every member at a path.
pub(super) fn remove(members: &mut Members, path: &str) {
    members.retain_mut(|(name, node)| {
        if let (Some(rest), Node::Object { members, .. }) = (rest_of(path, name), node) {
            remove(members, rest);
        }
        name != path
    });
}

/// Writes a value in place of every member at a path, else as a new member.
pub(super) fn set(members: &mut Members, path: &str, value: &Node) {
    if !replace(members, path, value) {
        insert(members, path, value);
    }
}

/// Moves the last value at `from` to `to`; without one nothing changes.
pub(super) fn rename(members: &mut Members, from: &str, to: &str) {
    let Some(value) = find(members, from).cloned() else { return };
    remove(members, from);
    set(members, to, &value);
}

/// Removes everything but what lies at these paths or below them.
pub(super) fn keep_only(members: &mut Members, paths: &[&str]) {
    members.retain_mut(|(name, node)| {
        if paths.contains(&name.as_str()) {
            return true;
        }
        let rests: Vec<&str> = paths.iter().filter_map(|path| rest_of(path, name)).collect();
        let Node::Object { members, .. } = node else { return false };
        keep_only(members, &rests);
        !members.is_empty()
    });
}

fn replace(members: &mut Members, path: &str, value: &Node) -> bool {
    let mut replaced = false;
    for (name, node) in members {
        if name == path {
            *node = value.clone();
            replaced = true;
            continue;
        }
        if let (Some(rest), Node::Object { members, .. }) = (rest_of(path, name), node) {
            replaced |= replace(members, rest, value);
        }
    }
    replaced
}

fn insert(members: &mut Members, path: &str, value: &Node) {
    for (name, node) in members.iter_mut().rev() {
        if let (Some(rest), Node::Object { members, .. }) = (rest_of(path, name), node) {
            return insert(members, rest, value);
        }
    }
    match path.split_once('.') {
        Some((first, rest)) if members.iter().all(|(name, _)| name != first) => {
            let mut inner = Members::new();
            insert(&mut inner, rest, value);
            members.push((first.into(), Node::Object { text: String::new(), members: inner }));
        }
        _ => members.push((path.into(), value.clone())),
    }
}

/// What is left of a path below a member of this name.
fn rest_of<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    path.strip_prefix(name)?.strip_prefix('.')
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
            Node::Other(_) => panic!("not an object: {text}"),
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
            (r#"{"a":[{"b":1}]}"#, "a.b", None),
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
        type Change = fn(&mut Members);
        let cases: [(&str, Change, Json); 9] = [
            (r#"{"a":1,"a":2,"b":3}"#, |m| remove(m, "a"), json!({"b": 3})),
            (r#"{"a.b":1,"a":{"b":2,"c":3}}"#, |m| remove(m, "a.b"), json!({"a": {"c": 3}})),
            (
                r#"{"a.b":1,"a":{"b":2}}"#,
                |m| set(m, "a.b", &Node::Other("9".into())),
                json!({"a.b": 9, "a": {"b": 9}}),
            ),
            (r#"{"a":{}}"#, |m| set(m, "a.b.c", &Node::Other("9".into())), json!({"a": {"b": {"c": 9}}})),
            (r#"{"a":1}"#, |m| set(m, "b.c", &Node::Other("9".into())), json!({"a": 1, "b": {"c": 9}})),
            (r#"{"a":1}"#, |m| set(m, "a.b", &Node::Other("9".into())), json!({"a": 1, "a.b": 9})),
            (r#"{"a":1,"a":2}"#, |m| rename(m, "a", "b.c"), json!({"b": {"c": 2}})),
            (r#"{"a":1}"#, |m| rename(m, "x", "a"), json!({"a": 1})),
            (
                r#"{"a":{"b":1,"c":2},"d.e":3,"f":{"g":4},"h":5}"#,
                |m| keep_only(m, &["a.b", "d.e", "f.x", "h"]),
                json!({"a": {"b": 1}, "d.e": 3, "h": 5}),
            ),
        ];
        for (text, change, expected) in cases {
            let mut members = members(text);
            change(&mut members);
            assert_eq!(to_json(&members), expected, "{text}");
        }
    }
}
