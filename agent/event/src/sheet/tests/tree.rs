//! JSON as a tree that keeps the order of members, duplicates and the spelling of scalars.

use std::fmt::Write as _;

use crate::column::Kind;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    /// A string, number or literal name, as it is written.
    Scalar(String),
    Array(Vec<Json>),
    Object(Members),
}

/// In the order of the text.
pub(super) type Members = Vec<(String, Json)>;

/// Reads JSON text that is known to be valid: serde_json has looked at it.
pub(super) fn parse(text: &str) -> Json {
    let checked = serde_json::from_str::<serde::de::IgnoredAny>(text);
    assert!(checked.is_ok(), "{checked:?}: {text}");
    let mut reader = Reader { rest: text };
    let json = reader.value();
    assert_eq!(reader.rest.trim_start(), "");
    json
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Json {
        self.rest = self.rest.trim_start();
        match self.rest.as_bytes()[0] {
            b'{' => Json::Object(self.items('}', |reader| {
                (unescaped(reader.scalar()), {
                    reader.take(':');
                    reader.value()
                })
            })),
            b'[' => Json::Array(self.items(']', Reader::value)),
            _ => Json::Scalar(self.scalar().to_owned()),
        }
    }

    fn items<T>(&mut self, close: char, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(item(self));
            self.take(',');
        }
        items
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn scalar(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let mut escaped = false;
        let end = match self.rest.strip_prefix('"') {
            Some(content) => content.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            }),
            None => self.rest.find([' ', '\t', '\n', '\r', ',', ':', ']', '}']),
        };
        let end = end.map_or(self.rest.len(), |end| end + 2 * usize::from(self.rest.starts_with('"')));
        let (scalar, rest) = self.rest.split_at(end);
        self.rest = rest;
        scalar
    }
}

/// The characters of a string that is written with its quotes.
pub(super) fn unescaped(quoted: &str) -> String {
    let mut out = Vec::new();
    crate::json::unescape(&quoted.as_bytes()[1..quoted.len() - 1], &mut out);
    String::from_utf8(out).unwrap()
}

impl Json {
    pub fn kind(&self) -> Kind {
        match self {
            Json::Array(_) => Kind::Array,
            Json::Object(_) => Kind::Object,
            Json::Scalar(text) => match text.as_bytes()[0] {
                b'"' => Kind::String,
                b't' | b'f' => Kind::Bool,
                b'n' => Kind::Null,
                _ => Kind::Number,
            },
        }
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Scalar(text) => out.push_str(text),
            Json::Array(items) => {
                let items: Vec<_> = items.iter().map(Json::text).collect();
                write!(out, "[{}]", items.join(",")).unwrap();
            }
            Json::Object(members) => {
                let member = |(key, value): &(String, Json)| {
                    format!("{}:{}", serde_json::to_string(key).unwrap(), value.text())
                };
                let members: Vec<_> = members.iter().map(member).collect();
                write!(out, "{{{}}}", members.join(",")).unwrap();
            }
        }
    }

    /// The same with members sorted by their keys; those of one key stay in their order, which tells what is read.
    pub fn sorted(&self) -> Json {
        match self {
            Json::Scalar(_) => self.clone(),
            Json::Array(items) => Json::Array(items.iter().map(Json::sorted).collect()),
            Json::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().map(|(key, value)| (key.clone(), value.sorted())).collect();
                members.sort_by(|one, other| one.0.cmp(&other.0));
                Json::Object(members)
            }
        }
    }

    pub fn into_members(self) -> Members {
        match self {
            Json::Object(members) => members,
            other => panic!("not an object: {other:?}"),
        }
    }
}
