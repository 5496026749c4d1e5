//! The repair of a document that was refused for its mapping: the field is renamed and becomes text.
//!
//! 1. `user` becomes `user__str`, and its value a string: the JSON text of what was no string. Nothing is left out.
//! 2. Where the answer names no field that the document has, names that stand twice in an object are made single (the
//!    last counts, as everywhere); where there are none, all members of the event itself become the text `event__str`.
//! 3. A document is repaired once. What comes of it depends on the document and the answer alone. It is kept as it was,
//!    and changed whenever it is sent.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use weir_event::json::write_string;
use weir_event::stream::ENVELOPE_NAMES;

use crate::document::{Members, elements, write_as_text, write_name};
use crate::outcome::Refusal;

/// What is put behind the name of a field that became text.
pub(crate) const TEXT_SUFFIX: &str = "__str";
/// The member that holds all others.
pub(crate) const ALL_AS_TEXT: &str = "event__str";
/// Names in an answer that are tried.
const MAX_CANDIDATES: usize = 16;
/// Objects within objects that are walked.
const MAX_WALK_DEPTH: usize = 100;

/// What is to be changed in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// This field is renamed and becomes text.
    Field(Arc<str>),
    /// Names that stand twice are made single.
    Single,
    /// All of the event becomes text.
    AllAsText,
}

/// How the document may be taken; `None` where there is nothing to repair.
pub(crate) fn find(document: &[u8], refusal: &Refusal) -> Option<Repair> {
    for field in candidates(&refusal.reason) {
        // Without a time of day a document has no place in a data stream, and no order anywhere.
        if field != "@timestamp" && renamed(document, field).is_some() {
            return Some(Repair::Field(field.into()));
        }
    }
    let is_of_use = |repair: &Repair| repair.apply(document).is_some();
    [Repair::Single, Repair::AllAsText].into_iter().find(is_of_use)
}

// === impl Repair ===

impl Repair {
    /// The document as it may be taken; `None` where there is nothing to change.
    pub fn apply(&self, document: &[u8]) -> Option<Vec<u8>> {
        match self {
            Repair::Field(field) => renamed(document, field),
            Repair::Single => single(document),
            Repair::AllAsText => all_as_text(document),
        }
    }
}

fn renamed(document: &[u8], field: &str) -> Option<Vec<u8>> {
    let mut renaming = Renaming { field, out: Vec::with_capacity(document.len() + 64), hits: 0 };
    renaming.object(Members::of(document)?, "", 1);
    (renaming.hits > 0).then_some(renaming.out)
}

/// The names in an answer: what stands in brackets, and `field="…"`.
fn candidates(reason: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for marker in ["[", "field=\""] {
        for (start, _) in reason.match_indices(marker) {
            let rest = reason.get(start + marker.len()..).unwrap_or_default();
            let end = rest.find([']', '"']).unwrap_or(0);
            let name = rest.get(..end).unwrap_or_default();
            if !name.is_empty() && !found.contains(&name) && found.len() < MAX_CANDIDATES {
                found.push(name);
            }
        }
    }
    found
}

struct Renaming<'a> {
    /// As OpenSearch spells it: a dotted path.
    field: &'a str,
    out: Vec<u8>,
    hits: usize,
}

/// How a member's path stands to the field's.
enum Relation {
    Same,
    /// The field lies within the member.
    Around,
    Other,
}

impl Renaming<'_> {
    fn object(&mut self, members: Members<'_>, path: &str, depth: usize) {
        self.out.push(b'{');
        for (name, value) in members.0 {
            let full = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            match self.relation(path, &full) {
                Relation::Same => {
                    self.hits += 1;
                    let name = format!("{}{TEXT_SUFFIX}", name.replace('.', "_"));
                    write_name(&mut self.out, &name);
                    write_as_text(&mut self.out, value);
                }
                Relation::Around if depth < MAX_WALK_DEPTH => {
                    write_name(&mut self.out, &name);
                    self.value(value, &full, depth);
                }
                _ => {
                    write_name(&mut self.out, &name);
                    self.out.extend_from_slice(value.get().as_bytes());
                }
            }
        }
        self.out.push(b'}');
    }

    fn value(&mut self, value: &RawValue, path: &str, depth: usize) {
        if let Some(members) = Members::within(value) {
            return self.object(members, path, depth + 1);
        }
        let Some(elements) = elements(value).filter(|_| depth < MAX_WALK_DEPTH) else {
            return self.out.extend_from_slice(value.get().as_bytes());
        };
        self.out.push(b'[');
        for (index, element) in elements.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(element, path, depth + 1);
        }
        self.out.push(b']');
    }

    fn relation(&self, parent: &str, full: &str) -> Relation {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if full == self.field {
            return Relation::Same;
        }
        // A name with dots that passes through the field: `app.kubernetes.io/name` where `app` is no object.
        if within(full, self.field) && !within(parent, self.field) {
            return Relation::Same;
        }
        if within(self.field, full) { Relation::Around } else { Relation::Other }
    }
}

/// The document with each name once in an object; `None` where it is so already.
fn single(document: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(document.len());
    let mut changed = false;
    write_single(Members::of(document)?, 1, &mut out, &mut changed);
    changed.then_some(out)
}

fn write_single(members: Members<'_>, depth: usize, out: &mut Vec<u8>, changed: &mut bool) {
    let mut seen = HashSet::new();
    let mut last: Vec<_> = members.0.iter().rev().filter(|(name, _)| seen.insert(name.as_ref())).collect();
    last.reverse();
    *changed |= last.len() < members.0.len();
    out.push(b'{');
    for (name, value) in last {
        write_name(out, name);
        write_single_value(value, depth, out, changed);
    }
    out.push(b'}');
}

fn write_single_value(value: &RawValue, depth: usize, out: &mut Vec<u8>, changed: &mut bool) {
    if depth >= MAX_WALK_DEPTH || !value.get().contains('{') || value.get().starts_with('"') {
        return out.extend_from_slice(value.get().as_bytes());
    }
    if let Some(members) = Members::within(value) {
        return write_single(members, depth + 1, out, changed);
    }
    out.push(b'[');
    for (index, element) in elements(value).unwrap_or_default().into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_single_value(element, depth + 1, out, changed);
    }
    out.push(b']');
}

/// The envelope, and everything else as one text; `None` where there is nothing else.
fn all_as_text(document: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut own) = (vec![b'{'], vec![b'{']);
    for (name, value) in Members::of(document)?.0 {
        let is_envelope = ENVELOPE_NAMES.contains(&&*name) && name != "event";
        let place = if is_envelope { &mut out } else { &mut own };
        write_name(place, &name);
        place.extend_from_slice(value.get().as_bytes());
    }
    if own.len() == 1 {
        return None;
    }
    own.push(b'}');
    write_name(&mut out, ALL_AS_TEXT);
    write_string(&mut out, std::str::from_utf8(&own).ok()?);
    out.push(b'}');
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(document: &[u8], refusal: &Refusal) -> Option<Vec<u8>> {
        find(document, refusal)?.apply(document)
    }

    fn check(document: &str, reason: &str, expected: &str) {
        let refusal = Refusal { status: 400, kind: String::new(), reason: reason.into() };
        let got = repaired(document.as_bytes(), &refusal).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(got.as_deref().unwrap_or("nothing"), expected, "{document} {reason}");
    }

    #[test]
    fn the_field_that_the_answer_names_becomes_text() {
        let failed = "failed to parse field [size] of type [long] in document with id 'x'. Preview of field's value: 'big'";
        check(
            r#"{"@timestamp":"t","size":"big","n":1.50}"#,
            failed,
            r#"{"@timestamp":"t","size__str":"big","n":1.50}"#,
        );
        let object =
            "object mapping for [user] tried to parse field [user] as object, but found a concrete value";
        check(r#"{"user":17}"#, object, r#"{"user__str":"17"}"#);
        let concrete = "failed to parse field [user] of type [text] in document with id 'x'";
        check(r#"{"user":{"name":"a"}}"#, concrete, r#"{"user__str":"{\"name\":\"a\"}"}"#);
        let immense = "Document contains at least one immense term in field=\"message\" (whose UTF8 encoding";
        check(r#"{"message":"m"}"#, immense, r#"{"message__str":"m"}"#);
    }

    #[test]
    fn it_is_found_nested_dotted_and_in_arrays() {
        let nested = "failed to parse field [a.b] of type [long] in document with id 'x'";
        check(r#"{"a":{"b":"x","c":1}}"#, nested, r#"{"a":{"b__str":"x","c":1}}"#);
        check(r#"{"a.b":"x"}"#, nested, r#"{"a_b__str":"x"}"#);
        check(r#"{"a":[{"b":[1]},{"b":2},3]}"#, nested, r#"{"a":[{"b__str":"[1]"},{"b__str":"2"},3]}"#);
        let labels = "Could not dynamically add mapping for field [app.kubernetes.io/name]. Existing mapping for [l.app] must be of type object but found [text].";
        check(
            r#"{"l":{"app.kubernetes.io/name":"x","app":"y"}}"#,
            labels,
            r#"{"l":{"app_kubernetes_io/name__str":"x","app__str":"y"}}"#,
        );
    }

    #[test]
    fn without_a_name_all_of_the_event_becomes_text() {
        let limit = "Limit of total fields [1000] has been exceeded";
        check(
            r#"{"@timestamp":"t","log":{"offset":1},"event":{"log":2},"a":1}"#,
            limit,
            r#"{"@timestamp":"t","log":{"offset":1},"event__str":"{\"event\":{\"log\":2},\"a\":1}"}"#,
        );
        check(r#"{"@timestamp":"t","log":{"offset":1}}"#, limit, "nothing");
        let time = "failed to parse field [@timestamp] of type [date]";
        check(r#"{"@timestamp":"t"}"#, time, "nothing");
    }

    #[test]
    fn names_that_stand_twice_are_made_single() {
        check(
            r#"{"a":1,"b":{"c":1,"c":2},"a":[{"d":1,"d":3}]}"#,
            "failed to parse",
            r#"{"b":{"c":2},"a":[{"d":3}]}"#,
        );
    }

    #[test]
    fn nothing_in_an_answer_breaks_it() {
        for reason in ["", "[", "]", "[]", "field=\"", "[a", "field=\"a", "[ä][", "\u{0}[x]"] {
            let refusal = Refusal { status: 400, kind: String::new(), reason: reason.into() };
            let got = repaired(br#"{"a":{"b":"\u0000"},"c":[[[{"d":"["}]]]}"#, &refusal).unwrap();
            assert!(serde_json::from_slice::<serde_json::Value>(&got).is_ok());
        }
        assert_eq!(repaired(b"not json", &Refusal::default()), None);
    }
}
