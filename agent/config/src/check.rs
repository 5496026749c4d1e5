//! Checks a tree against the JSON Schema and keeps what is valid of it.
//!
//! The schema is the one source of truth; this is a checker for the part of JSON Schema that `raw` makes use of (a
//! test proves that it makes use of no other), with messages for people. What is wrong is reported and left out, up to
//! the nearest value that can do without it, so that what is right elsewhere can still be checked for what it refers
//! to.

mod choice;
mod refused;

use serde_json::{Map, Number, Value as Json};

use crate::error::{Complaint, Report};
use crate::key_path::{KeyPath, Step};
use crate::suggest;
use crate::text::quoted;
use crate::types::{Known, known, of_keys};
use crate::yaml::{Entry, Node, Position, Value};

/// What is valid of a tree. The top level is kept even if required keys are missing.
pub(crate) fn check(tree: &Node, schema: &Json, report: &mut Report) -> Json {
    let mut checker = Checker { definitions: schema.get("$defs"), report, path: KeyPath::default() };
    if !matches!(tree.value, Value::Map(_)) {
        checker.wrong_type(tree, "a map", tree.at);
        return Json::Object(Map::new());
    }
    Json::Object(checker.object(tree, schema, tree.at).members)
}

struct Checker<'a> {
    definitions: Option<&'a Json>,
    report: &'a mut Report,
    path: KeyPath,
}

/// The valid members of an object.
struct Checked {
    members: Map<String, Json>,
    /// Whether every required one is among them.
    is_complete: bool,
}

impl<'a> Checker<'a> {
    /// The valid part of a value, `None` if it is of no use. `at` is where to point for the value as a whole.
    fn value(&mut self, node: &Node, schema: &'a Json, at: Position) -> Option<Json> {
        let schema = self.resolve(schema);
        let is_scalar = matches!(node.value, Value::Text(_) | Value::Number(..) | Value::Bool(_));
        if is_scalar && schema.get("writeOnly").is_some() {
            self.written_secret(at);
            return None;
        }
        if let Some(choices) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Json::as_array) {
            return self.choice(node, choices, at);
        }
        if schema.get("type").is_some_and(Json::is_array) {
            return self.plain_text(node, schema, at);
        }
        match schema.get("type").and_then(Json::as_str) {
            Some("object") => self.map(node, schema, at),
            Some("array") => self.list(node, schema, at),
            Some("string") => self.text(node, schema, at),
            Some("integer") => self.integer(node, schema, at),
            Some("number") => self.number(node, at),
            Some("boolean") => self.boolean(node, at),
            // Free JSON.
            _ => Some(node.to_json()),
        }
    }

    /// Follows references to definitions.
    fn resolve(&self, schema: &'a Json) -> &'a Json {
        let name = schema.get("$ref").and_then(Json::as_str).and_then(|at| at.strip_prefix("#/$defs/"));
        let Some(name) = name else { return schema };
        self.definitions.and_then(|all| all.get(name)).unwrap_or(schema)
    }

    fn map(&mut self, node: &Node, schema: &'a Json, at: Position) -> Option<Json> {
        if !matches!(node.value, Value::Map(_)) {
            self.wrong_type(node, "a map", at);
            return None;
        }
        if let Some((pattern, values)) = names_schema(schema) {
            return Some(Json::Object(self.named(node, pattern, values)));
        }
        let checked = self.object(node, schema, at);
        checked.is_complete.then_some(Json::Object(checked.members))
    }

    /// A map with known keys.
    fn object(&mut self, node: &Node, schema: &'a Json, at: Position) -> Checked {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object);
        let mut members = Map::new();
        for entry in node.entries() {
            let Some(property) = properties.and_then(|all| all.get(&entry.key)) else {
                let names = properties.unwrap_or(&none).keys().map(String::as_str);
                self.unknown_key(entry, names);
                continue;
            };
            if let Some(value) =
                self.at_key(&entry.key, |checker| checker.value(&entry.value, property, entry.at()))
            {
                members.insert(entry.key.clone(), value);
            }
        }
        let mut is_complete = true;
        for name in required(schema) {
            is_complete &= members.contains_key(name);
            if node.entry(name).is_none() {
                self.error(at, Complaint::new(format!("missing key `{name}`")));
            }
        }
        Checked { members, is_complete }
    }

    /// A map from names that the configuration chooses. Entries with errors are left out.
    fn named(&mut self, node: &Node, pattern: &str, values: &'a Json) -> Map<String, Json> {
        let mut members = Map::new();
        let keys = of_keys(pattern);
        for entry in node.entries() {
            let name = keys.map_or(Ok(()), |keys| (keys.check)(&entry.key));
            let value = self.at_key(&entry.key, |checker| checker.value(&entry.value, values, entry.at()));
            match (name, value) {
                (Ok(_), Some(value)) => drop(members.insert(entry.key.clone(), value)),
                (Err(complaint), _) => self.error(entry.key_at, complaint),
                (Ok(_), None) => {}
            }
        }
        members
    }

    fn list(&mut self, node: &Node, schema: &'a Json, at: Position) -> Option<Json> {
        let Value::List(items) = &node.value else {
            self.wrong_type(node, "a list", at);
            return None;
        };
        if items.is_empty() && schema.get("minItems").is_some() {
            self.error(at, Complaint::new("the list is empty").help("give it at least one entry"));
            return None;
        }
        let mut checked = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.push(Step::Index(index));
            let value = match schema.get("items") {
                Some(of_items) => self.value(item, of_items, item.at),
                None => Some(item.to_json()),
            };
            checked.push(value);
            self.path.pop();
        }
        // All or nothing: the index of an item is its name in messages.
        checked.into_iter().collect()
    }

    fn text(&mut self, node: &Node, schema: &'a Json, at: Position) -> Option<Json> {
        let format = schema.get("format").and_then(Json::as_str).and_then(known);
        let Value::Text(text) = &node.value else {
            self.not_text(node, format, at);
            return None;
        };
        if let Some(words) = schema.get("enum").and_then(Json::as_array) {
            let words: Vec<&str> = words.iter().filter_map(Json::as_str).collect();
            return self.word(text, &words, "value", at);
        }
        if let Some(complaint) = format.and_then(|format| (format.check)(text).err()) {
            self.error(at, complaint);
            return None;
        }
        Some(Json::from(text.as_str()))
    }

    /// A text that looks like a number is one all the same, as it was written: `version: 1.10`.
    fn plain_text(&mut self, node: &Node, schema: &'a Json, at: Position) -> Option<Json> {
        match &node.value {
            Value::Number(_, written) => {
                let text = Node { at: node.at, value: Value::Text(written.clone()) };
                self.text(&text, schema, at)
            }
            _ => self.text(node, schema, at),
        }
    }

    /// What was written is not shown: it may be the secret itself.
    fn written_secret(&mut self, at: Position) {
        let complaint = Complaint::new("a secret does not stand in the configuration");
        self.error(at, complaint.help("write {file: PATH} or {env: NAME}"));
    }

    /// One of a few words.
    fn word(&mut self, text: &str, words: &[&str], noun: &str, at: Position) -> Option<Json> {
        if words.contains(&text) {
            return Some(Json::from(text));
        }
        let complaint = Complaint::new(format!("unknown {noun} {}", quoted(text)));
        let help = suggest::help(text, words.iter().copied(), &format!("known {noun}s"), '"');
        self.error(at, Complaint { help, ..complaint });
        None
    }

    fn integer(&mut self, node: &Node, schema: &'a Json, at: Position) -> Option<Json> {
        let Value::Number(number, _) = &node.value else {
            self.wrong_type(node, "a whole number", at);
            return None;
        };
        let least = schema.get("minimum").and_then(Json::as_i64).unwrap_or(i64::MIN);
        let most = schema.get("maximum").and_then(Json::as_i64).unwrap_or(i64::MAX);
        match number.as_i64() {
            Some(whole) if (least..=most).contains(&whole) => Some(Json::Number(number.clone())),
            _ if !is_whole(number) => {
                self.wrong_type(node, "a whole number", at);
                None
            }
            _ if least == most => {
                self.error(at, Complaint::new(format!("must be {least}, found {number}")));
                None
            }
            _ => {
                self.error(at, Complaint::new(format!("must be from {least} to {most}, found {number}")));
                None
            }
        }
    }

    fn number(&mut self, node: &Node, at: Position) -> Option<Json> {
        let Value::Number(number, _) = &node.value else {
            self.wrong_type(node, "a number", at);
            return None;
        };
        Some(Json::Number(number.clone()))
    }

    fn boolean(&mut self, node: &Node, at: Position) -> Option<Json> {
        let Value::Bool(value) = node.value else {
            self.wrong_type(node, "true or false", at);
            return None;
        };
        Some(Json::Bool(value))
    }

    fn unknown_key<'b>(&mut self, entry: &Entry, names: impl Iterator<Item = &'b str> + Clone) {
        let complaint = Complaint::new(format!("unknown key `{}`", crate::text::shorten(&entry.key)));
        if let Some(complaint) = refused::of_prometheus(&self.path, &entry.key) {
            return self.error(entry.key_at, complaint);
        }
        let help = match entry.key.as_str() {
            "<<" => Some("merge keys are not supported; give the keys themselves".to_string()),
            key => suggest::help(key, names, "known keys", '`'),
        };
        self.error(entry.key_at, Complaint { help, ..complaint });
    }

    fn wrong_type(&mut self, node: &Node, expected: &str, at: Position) {
        let complaint = Complaint::new(format!("expected {expected}, found {}", node.describe()));
        let help = match &node.value {
            Value::Null => Some("give it a value or remove it".to_string()),
            Value::Text(text) if expected == "a list" => {
                Some(format!("write [{}]", crate::text::shorten(text)))
            }
            _ => None,
        };
        self.error(at, Complaint { help, ..complaint });
    }

    /// A number or truth value was perhaps meant as text.
    fn not_text(&mut self, node: &Node, format: Option<&Known>, at: Position) {
        let text = match &node.value {
            Value::Number(_, written) => written.clone(),
            Value::Bool(value) => value.to_string(),
            _ => return self.wrong_type(node, format.map_or("text", |format| format.expected), at),
        };
        let expected = format.map_or("text", |format| format.expected);
        let complaint = Complaint::new(format!("expected {expected}, found {}", node.describe()));
        let would_do = format.is_none_or(|format| (format.check)(&text).is_ok());
        let help = would_do.then(|| format!("put it in quotes: \"{text}\""));
        self.error(at, Complaint { help, ..complaint });
    }

    fn at_key<R>(&mut self, key: &str, check: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(Step::Key(key.to_string()));
        let result = check(self);
        self.path.pop();
        result
    }

    fn error(&mut self, at: Position, complaint: Complaint) {
        self.report.error(at, &self.path, complaint);
    }
}

/// The pattern of the names and what the values are, if the schema is of a map from names.
pub(crate) fn names_schema(schema: &Json) -> Option<(&String, &Json)> {
    schema.get("patternProperties")?.as_object()?.iter().next()
}

fn required(schema: &Json) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64()
}

#[cfg(test)]
mod tests;
