//! Values that may be one of several things: the one that was meant is found first, then the value is checked against
//! that one alone, so that its errors are not hidden among those of the others.

use serde_json::{Map, Value as Json};

use super::{Checker, required};
use crate::error::Complaint;
use crate::suggest;
use crate::text::quoted;
use crate::yaml::{Node, Position, Value};

/// The alternatives by the form of value that they are for.
#[derive(Default)]
struct Forms<'a> {
    /// Words, from `const` and `enum`.
    words: Vec<&'a str>,
    /// Any text of a format.
    text: Option<&'a Json>,
    /// Maps.
    maps: Vec<&'a Json>,
}

impl<'a> Checker<'a> {
    pub(super) fn choice(&mut self, node: &Node, choices: &'a [Json], at: Position) -> Option<Json> {
        let mut forms = Forms::default();
        self.sort(choices, &mut forms);
        if let Some(tag) = common_tag(&forms.maps) {
            return self.tagged(node, &forms.maps, tag, at);
        }
        match &node.value {
            Value::Map(_) if !forms.maps.is_empty() => self.single_key(node, &forms.maps, at),
            Value::Text(text) if forms.words.contains(&text.as_str()) => Some(node.to_json()),
            Value::Text(_) if forms.text.is_some() => self.value(node, forms.text?, at),
            Value::Text(text) if !forms.words.is_empty() => self.word_of(text, &forms, at),
            _ => {
                let expected = forms.expected();
                self.wrong_type(node, &expected, at);
                None
            }
        }
    }

    /// Sorts alternatives by form; those that are choices themselves are opened.
    fn sort(&self, choices: &'a [Json], forms: &mut Forms<'a>) {
        for choice in choices {
            let choice = self.resolve(choice);
            if let Some(inner) = choice.get("oneOf").or_else(|| choice.get("anyOf")).and_then(Json::as_array)
            {
                self.sort(inner, forms);
            } else if let Some(word) = choice.get("const").and_then(Json::as_str) {
                forms.words.push(word);
            } else if let Some(words) = choice.get("enum").and_then(Json::as_array) {
                forms.words.extend(words.iter().filter_map(Json::as_str));
            } else if choice.get("type").and_then(Json::as_str) == Some("object") {
                forms.maps.push(choice);
            } else {
                forms.text = Some(choice);
            }
        }
    }

    /// A word that none of the alternatives is. A map's only key given as a word is explained.
    fn word_of(&mut self, text: &str, forms: &Forms<'a>, at: Position) -> Option<Json> {
        if keys(&forms.maps).any(|key| key == text) {
            let complaint = Complaint::new(format!("{} needs a value", quoted(text)));
            self.error(at, complaint.help(format!("write {{{text}: …}}")));
            return None;
        }
        self.word(text, &forms.words, "value", at)
    }

    /// A map whose key `tag` says which alternative it is.
    fn tagged(&mut self, node: &Node, maps: &[&'a Json], tag: &str, at: Position) -> Option<Json> {
        if !matches!(node.value, Value::Map(_)) {
            self.wrong_type(node, "a map", at);
            return None;
        }
        let words: Vec<&str> = maps.iter().filter_map(|map| tag_of(map, tag)).collect();
        let Some(entry) = node.entry(tag) else {
            let complaint = Complaint::new(format!("missing key `{tag}`"));
            self.error(at, complaint.help(format!("known {tag}s: {}", words.join(", "))));
            return None;
        };
        let Value::Text(word) = &entry.value.value else {
            self.at_key(tag, |checker| checker.wrong_type(&entry.value, "text", entry.at()));
            return None;
        };
        let Some(meant) = maps.iter().find(|map| tag_of(map, tag) == Some(word)) else {
            self.at_key(tag, |checker| checker.word(word, &words, tag, entry.value.at));
            return None;
        };
        self.map(node, meant, at)
    }

    /// A map with exactly one key, which says what it is.
    fn single_key(&mut self, node: &Node, maps: &[&'a Json], at: Position) -> Option<Json> {
        let [entry] = node.entries() else {
            let complaint =
                Complaint::new(format!("expected a map with one key, found {}", node.entries().len()));
            let help = suggest::help("", keys(maps), "known keys", '`');
            self.error(at, Complaint { help, ..complaint });
            return None;
        };
        match maps.iter().find(|map| property(map, &entry.key).is_some()) {
            Some(meant) => self.map(node, meant, at),
            None => {
                self.unknown_key(entry, keys(maps));
                None
            }
        }
    }
}

impl Forms<'_> {
    /// For a message: what may stand here.
    fn expected(&self) -> String {
        let mut words = self.words.clone();
        let text = match self.text {
            Some(text) => text.get("format").and_then(Json::as_str).and_then(crate::types::known),
            None => None,
        };
        words.extend(text.map(|format| format.expected));
        if !self.maps.is_empty() {
            words.push("a map");
        }
        let words: Vec<String> = words.into_iter().map(str::to_string).collect();
        match words.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
            _ => words.concat(),
        }
    }
}

/// The key that every alternative requires with a value of its own.
fn common_tag<'a>(maps: &[&'a Json]) -> Option<&'a str> {
    required(maps.first()?).find(|name| maps.iter().all(|map| tag_of(map, name).is_some()))
}

fn tag_of<'a>(map: &'a Json, tag: &str) -> Option<&'a str> {
    property(map, tag)?.get("const")?.as_str()
}

fn property<'a>(map: &'a Json, key: &str) -> Option<&'a Json> {
    properties(map)?.get(key)
}

fn properties(map: &Json) -> Option<&Map<String, Json>> {
    map.get("properties")?.as_object()
}

fn keys<'a>(maps: &'a [&'a Json]) -> impl Iterator<Item = &'a str> + Clone {
    maps.iter().filter_map(|map| properties(map)).flat_map(|members| members.keys().map(String::as_str))
}
