//! What a document may be, before it is sent: depth, number of fields, dots in names.
//!
//! Nearly all documents are within the limits, which counting two kinds of bytes proves; only the others are looked
//! at member by member. The same document is changed in the same way each time.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::document::{Members, elements, is_object, write_as_text, write_name};

/// Limits on the fields of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldLimits {
    /// Objects within objects, the document itself being the first. What lies deeper becomes text.
    pub max_depth: usize,
    /// Different fields of one document, objects not counted. A document with more is a dead letter.
    pub max_fields: usize,
    /// Dots in names become underscores; else they are left, and OpenSearch reads `a.b` as `b` within `a`.
    pub dedot: bool,
}

/// How a document is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// As it is.
    Fits,
    /// As these bytes.
    Changed(Vec<u8>),
    /// Not at all.
    TooManyFields,
}

struct Rewrite<'a> {
    limits: &'a FieldLimits,
    out: Vec<u8>,
    fields: BTreeSet<String>,
    is_changed: bool,
}

// === impl FieldLimits ===

impl FieldLimits {
    /// Looks at a document.
    pub(crate) fn check(&self, document: &[u8]) -> Checked {
        if !self.is_suspect(document) {
            return Checked::Fits;
        }
        let Some(members) = Members::of(document) else { return Checked::Fits };
        let out = Vec::with_capacity(document.len() + document.len() / 8);
        let mut rewrite = Rewrite { limits: self, out, fields: BTreeSet::new(), is_changed: false };
        rewrite.object(members, 1, 1, "");
        if rewrite.fields.len() > self.max_fields {
            return Checked::TooManyFields;
        }
        if rewrite.is_changed { Checked::Changed(rewrite.out) } else { Checked::Fits }
    }

    /// A depth needs as many opening braces, a field a colon, and a name with a dot a dot.
    fn is_suspect(&self, document: &[u8]) -> bool {
        // A depth costs `{"":` and `}`, a field `"":0,` at the least: most documents are too short for too many.
        let is_long_for = |count: usize| document.len() > count.saturating_mul(5);
        let count = |wanted: u8| document.iter().filter(|byte| **byte == wanted).count();
        (self.dedot && document.contains(&b'.'))
            || (is_long_for(self.max_depth) && count(b'{') > self.max_depth)
            || (is_long_for(self.max_fields) && count(b':') > self.max_fields)
    }
}

impl Default for FieldLimits {
    fn default() -> FieldLimits {
        FieldLimits { max_depth: 20, max_fields: 1000, dedot: false }
    }
}

// === impl Rewrite ===

impl Rewrite<'_> {
    /// `containers` counts arrays too: those within each other are bounded as well, for they are walked.
    fn object(&mut self, members: Members<'_>, depth: usize, containers: usize, path: &str) {
        self.out.push(b'{');
        for (name, value) in members.0 {
            let mut name = name;
            if self.limits.dedot && name.contains('.') {
                name = name.replace('.', "_").into();
                self.is_changed = true;
            }
            write_name(&mut self.out, &name);
            let path = if path.is_empty() { name.into_owned() } else { format!("{path}.{name}") };
            self.value(value, depth, containers, &path);
        }
        self.out.push(b'}');
    }

    fn value(&mut self, value: &RawValue, depth: usize, containers: usize, path: &str) {
        let is_container = is_object(value) || value.get().starts_with('[');
        let is_beyond = is_object(value) && depth >= self.limits.max_depth
            || is_container && containers >= 2 * self.limits.max_depth;
        if is_beyond {
            self.is_changed = true;
            self.field(path);
            return write_as_text(&mut self.out, value);
        }
        if let Some(members) = Members::within(value) {
            return self.object(members, depth + 1, containers + 1, path);
        }
        // Without objects in it, an array is one field.
        if let Some(elements) = elements(value).filter(|_| value.get().contains('{')) {
            self.out.push(b'[');
            for (index, element) in elements.into_iter().enumerate() {
                if index > 0 {
                    self.out.push(b',');
                }
                self.value(element, depth, containers + 1, path);
            }
            self.out.push(b']');
            return;
        }
        self.field(path);
        self.out.extend_from_slice(value.get().as_bytes());
    }

    fn field(&mut self, path: &str) {
        // One more than the limit is enough to know.
        if self.fields.len() <= self.limits.max_fields && !self.fields.contains(path) {
            self.fields.insert(path.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FieldLimits = FieldLimits { max_depth: 3, max_fields: 4, dedot: false };

    fn changed(limits: &FieldLimits, document: &str) -> String {
        match limits.check(document.as_bytes()) {
            Checked::Changed(bytes) => String::from_utf8(bytes).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_within_the_limits_is_left() {
        let fits = ["{}", r#"{"a":{"b":{"c":1}}}"#, r#"{"a":[{"b":{"c":1}},{"b":{"c":2}},{"d":{},"x":{}}]}"#];
        for document in fits {
            assert_eq!(LIMITS.check(document.as_bytes()), Checked::Fits, "{document}");
        }
        let text = format!(r#"{{"message":"{}"}}"#, "{:".repeat(50));
        assert_eq!(LIMITS.check(text.as_bytes()), Checked::Fits);
    }

    #[test]
    fn what_lies_deeper_becomes_text() {
        let document = r#"{"a":{"b":{"c":{"d":1.50,"e":"x"}}},"z":[1, 2]}"#;
        let expected = r#"{"a":{"b":{"c":"{\"d\":1.50,\"e\":\"x\"}"}},"z":[1, 2]}"#;
        assert_eq!(changed(&LIMITS, document), expected);
        assert_eq!(
            changed(&LIMITS, r#"{"a":{"b":{"c":[{"d":1},2]}}}"#),
            r#"{"a":{"b":{"c":["{\"d\":1}",2]}}}"#
        );
    }

    #[test]
    fn a_document_with_too_many_different_fields_is_not_sent() {
        assert_eq!(changed(&LIMITS, r#"{"a":1,"b":2,"c":3,"d":4,"e":5}"#), "TooManyFields");
        let array = format!(r#"{{"a":[{}]}}"#, vec![r#"{"b":1,"c":2}"#; 30].join(","));
        assert_eq!(changed(&LIMITS, &array), "Fits");
    }

    #[test]
    fn dots_are_kept_unless_they_are_not_wanted() {
        let document = r#"{"a.b":{"c.d":"x.y"},"e":1.5}"#;
        assert_eq!(changed(&LIMITS, document), "Fits");
        let limits = FieldLimits { dedot: true, ..LIMITS };
        assert_eq!(changed(&limits, document), r#"{"a_b":{"c_d":"x.y"},"e":1.5}"#);
    }

    #[test]
    fn arrays_within_arrays_end_too() {
        let nested = format!(r#"{{"a":{}{{"b":1}}{}}}"#, "[".repeat(900), "]".repeat(900));
        let limits = FieldLimits { max_depth: 1, ..LIMITS };
        let once = changed(&limits, &nested);
        assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{once}");
        assert_eq!(changed(&limits, &once), "Fits");
    }
}
