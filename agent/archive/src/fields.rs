//! Values of fields in finished documents, the same for who writes filters and who looks for a value.
//!
//! 1. A path matches as it does for stages: nested, dotted, through arrays; the last of several counts.
//! 2. A string's value is its text without escapes; a number's and a boolean's is what is written. An array has the values
//!    of its strings, numbers and booleans. `null` and objects have none.
//! 3. A document that is no JSON object has no values.

use weir_event::batch::PADDING;
use weir_event::column::Kind;
use weir_event::json;
use weir_event::path::{PathError, PathTree};
use weir_event::scan::{Hit, Scanner, Text, Value};

/// Finds values of some fields; keeps its memory between documents.
pub(crate) struct Finder {
    tree: PathTree,
    /// For each path that was asked for, its place in the table of values.
    places: Vec<u16>,
    scanner: Scanner,
    values: Vec<Value>,
    hits: Vec<Hit>,
    padded: Vec<u8>,
    unescaped: Vec<u8>,
}

// === impl Finder ===

impl Finder {
    /// A finder of these paths.
    pub fn new<'a>(paths: impl Iterator<Item = &'a str>) -> Result<Finder, PathError> {
        let mut tree = PathTree::default();
        let places = paths.map(|path| tree.add_field(path)).collect::<Result<Vec<u16>, PathError>>()?;
        Ok(Finder {
            values: vec![Value::default(); tree.fields()],
            tree,
            places,
            scanner: Scanner::default(),
            hits: Vec::new(),
            padded: Vec::new(),
            unescaped: Vec::new(),
        })
    }

    /// Tells the values of a document: the index of the path, and a value of it.
    pub fn find(&mut self, document: &[u8], mut tell: impl FnMut(usize, &[u8])) {
        if self.places.is_empty() {
            return;
        }
        self.padded.clear();
        self.padded.extend_from_slice(document);
        self.padded.resize(document.len() + PADDING, 0);
        self.hits.clear();
        self.values.fill(Value::default());
        let text = Text { stream: 0, padded: &self.padded, len: document.len() };
        let Ok(found) = self.scanner.scan(text, &self.tree, &mut self.hits, &mut self.values) else { return };
        for (index, place) in self.places.iter().enumerate() {
            let Some(value) = self.values.get(*place as usize) else { continue };
            let text = document.get(value.start as usize..value.end as usize).unwrap_or_default();
            match value.kind {
                Kind::String if found.facts.backslash => {
                    self.unescaped.clear();
                    json::unescape(text, &mut self.unescaped);
                    tell(index, &self.unescaped);
                }
                Kind::String | Kind::Number | Kind::Bool => tell(index, text),
                Kind::Array => elements(text, |value| tell(index, value)),
                Kind::Absent | Kind::Null | Kind::Object => {}
            }
        }
    }
}

fn elements(array: &[u8], mut tell: impl FnMut(&[u8])) {
    let Ok(values) = serde_json::from_slice::<Vec<serde_json::Value>>(array) else { return };
    for value in values {
        match value {
            serde_json::Value::String(text) => tell(text.as_bytes()),
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => tell(value.to_string().as_bytes()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, paths: &[&str], expected: &[(usize, &str)]) {
        let mut finder = Finder::new(paths.iter().copied()).unwrap();
        for _ in 0..3 {
            let mut found = Vec::new();
            finder.find(document.as_bytes(), |path, value| {
                found.push((path, String::from_utf8(value.to_vec()).unwrap()));
            });
            let found: Vec<(usize, &str)> =
                found.iter().map(|(path, value)| (*path, value.as_str())).collect();
            assert_eq!(found, expected, "{document}");
        }
    }

    #[test]
    fn values_are_found_in_every_spelling() {
        check(r#"{"a":"x","b":1}"#, &["a", "b", "c"], &[(0, "x"), (1, "1")]);
        check(r#"{"a":{"b":"x"}}"#, &["a.b", "a"], &[(0, "x")]);
        check(r#"{"a.b":true}"#, &["a.b"], &[(0, "true")]);
        check(r#"{"a":"x\"\u0041\n"}"#, &["a"], &[(0, "x\"A\n")]);
        check(r#"{"a":1,"a":2}"#, &["a"], &[(0, "2")]);
        check(r#"{"a":["x",1,null,{"y":2},false,["z"]]}"#, &["a"], &[(0, "x"), (0, "1"), (0, "false")]);
        check(r#"{"a":null}"#, &["a"], &[]);
        check(r#"{"a":1.50e1}"#, &["a", "a"], &[(0, "1.50e1"), (1, "1.50e1")]);
        check("no object", &["a"], &[]);
    }
}
