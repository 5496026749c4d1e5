//! Conditions on documents: what a member is, or is not.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_event::stream::Stream;
use weir_pipeline::tap::Wanted;

/// `path=value` or `path!=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Dotted, as in the configuration; through arrays.
    pub path: String,
    /// A text as it is, anything else as JSON.
    pub value: String,
    /// Whether it must be something else, or absent.
    #[serde(default)]
    pub not: bool,
}

/// Those that must hold of an event, all of them.
#[derive(Debug)]
pub(super) struct Conditions(Vec<Condition>);

// === impl Conditions ===

impl Conditions {
    /// `None` where there are none.
    pub(super) fn of(conditions: &[Condition]) -> Option<Conditions> {
        (!conditions.is_empty()).then(|| Conditions(conditions.to_vec()))
    }
}

impl Wanted for Conditions {
    fn may_be_of(&self, stream: &Stream) -> bool {
        self.0.iter().all(|condition| condition.holds_of(stream).unwrap_or(true))
    }

    fn is(&self, document: &[u8]) -> bool {
        Condition::all_hold(&self.0, document)
    }
}

// === impl Condition ===

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Condition, String> {
        let (path, value) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` is no condition; write path=value or path!=value"))?;
        let (path, not) = match path.strip_suffix('!') {
            Some(path) => (path, true),
            None => (path, false),
        };
        if path.is_empty() {
            return Err(format!("`{text}` has no path in front of the ="));
        }
        Ok(Condition { path: path.to_owned(), value: value.to_owned(), not })
    }
}

impl Condition {
    /// Whether it holds of every document of a stream, or of none; `None` where that depends on the document. Nobody can
    /// write a member of the envelope but the agent.
    fn holds_of(&self, stream: &Stream) -> Option<bool> {
        let attribute = match self.path.as_str() {
            "cluster" | "node" | "stream" => self.path.as_str(),
            "kubernetes.namespace" => "namespace",
            "kubernetes.pod" => "pod",
            "kubernetes.container" => "container",
            "kubernetes.uid" => "uid",
            _ => return None,
        };
        Some((stream.attribute(attribute) == Some(&*self.value)) != self.not)
    }

    /// Whether all hold of a document.
    pub fn all_hold(conditions: &[Condition], document: &[u8]) -> bool {
        let Ok(document) = serde_json::from_slice::<Value>(document) else { return false };
        conditions.iter().all(|condition| condition.holds(&document))
    }

    fn holds(&self, document: &Value) -> bool {
        is_there(document, &self.path, &self.value) != self.not
    }
}

/// Whether the value is at the path: nested, as a literal dotted name, or in an array on the way.
fn is_there(at: &Value, path: &str, wanted: &str) -> bool {
    match at {
        Value::Array(items) => items.iter().any(|item| is_there(item, path, wanted)),
        _ if path.is_empty() => match at {
            Value::String(text) => text == wanted,
            other => serde_json::to_string(other).is_ok_and(|text| text == wanted),
        },
        Value::Object(members) => members.iter().any(|(name, value)| {
            path.strip_prefix(name.as_str()).is_some_and(|rest| match rest.strip_prefix('.') {
                Some(rest) if !rest.is_empty() => is_there(value, rest, wanted),
                _ => rest.is_empty() && is_there(value, "", wanted),
            })
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let read = |text: &str| text.parse::<Condition>().map(|c| (c.path, c.value, c.not));
        assert_eq!(read("a.b=c=d"), Ok(("a.b".into(), "c=d".into(), false)));
        assert_eq!(read("a!="), Ok(("a".into(), String::new(), true)));
        assert!(read("a").unwrap_err().contains("path=value"));
        assert!(read("=a").is_err() && read("!=a").is_err());
    }

    #[test]
    fn a_stream_decides_on_its_members_of_the_envelope_and_on_nothing_else() {
        let attributes = weir_event::stream::Attributes {
            cluster: "c".into(),
            namespace: "shop".into(),
            stream: "stdout".into(),
            ..Default::default()
        };
        let stream = Stream::new(attributes, 1);
        let may_be = |texts: &[&str]| {
            let conditions: Vec<Condition> = texts.iter().map(|text| text.parse().unwrap()).collect();
            Conditions::of(&conditions).unwrap().may_be_of(&stream)
        };
        for texts in [
            &["kubernetes.namespace=shop", "cluster=c", "stream!=stderr", "level=error"][..],
            &["kubernetes.pod!=x", "node!=n"],
            &["kubernetes=x", "namespace=other", "log.offset=7", "event.cluster=x"],
        ] {
            assert!(may_be(texts), "{texts:?}");
        }
        for text in ["kubernetes.namespace=other", "kubernetes.namespace!=shop", "kubernetes.uid=", "node=n"]
        {
            assert!(!may_be(&[text, "level=error"]), "{text}");
        }
    }

    #[test]
    fn members_are_found_however_they_are_written() {
        let document =
            br#"{"level":"error","a":{"b":{"c":7}},"d.e":true,"list":[{"id":"x"},{"id":"y"}],"n":null}"#;
        for holds in ["level=error", "a.b.c=7", "d.e=true", "list.id=y", "n=null", "level!=info", "z!=1"] {
            assert!(Condition::all_hold(&[holds.parse().unwrap()], document), "{holds}");
        }
        for not in
            ["level=err", "a.b=7", "lev=error", "level.=error", "list.id=z", "z=1", "a.b.c!=7", "z=null"]
        {
            assert!(!Condition::all_hold(&[not.parse().unwrap()], document), "{not}");
        }
        assert!(!Condition::all_hold(&["a=b".parse().unwrap()], b"no JSON"));
    }
}
