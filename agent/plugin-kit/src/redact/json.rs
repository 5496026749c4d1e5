//! A JSON object, copied member by member: order, numbers' spelling and duplicates stay, so that nothing that the agent
//! would see differently is seen differently here.

use serde_json::value::RawValue;
use weir_event::json::write_string;

use super::Redactor;
use super::kept::{is_name, is_telling_number};
use super::text::{redact_number, redact_value};

/// Deeper values are replaced by null: no document has them.
const MAX_DEPTH: usize = 100;

/// The object with its values replaced; `None` where the text is none.
pub fn redact(redactor: &Redactor, text: &str) -> Option<String> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    if !raw.get().starts_with('{') {
        return None;
    }
    let mut walk = Walk { redactor, out: Vec::with_capacity(text.len()), path: String::new() };
    walk.value(raw.get(), 0);
    String::from_utf8(walk.out).ok()
}

struct Walk<'a> {
    redactor: &'a Redactor,
    out: Vec<u8>,
    /// Dotted, through arrays.
    path: String,
}

impl Walk<'_> {
    fn value(&mut self, text: &str, depth: usize) {
        if !self.path.is_empty() && self.redactor.keeps(&self.path) {
            self.out.extend_from_slice(text.as_bytes());
            return;
        }
        let name = self.path.rsplit('.').next().unwrap_or_default();
        match text.as_bytes().first() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => self.out.extend_from_slice(b"null"),
            Some(b'{') => self.object(text, depth),
            Some(b'[') => self.array(text, depth),
            Some(b'"') => {
                let value: String = serde_json::from_str(text).unwrap_or_default();
                let value = redact_value(self.redactor, &value);
                write_string(&mut self.out, &value);
            }
            Some(b't' | b'f' | b'n') => self.out.extend_from_slice(text.as_bytes()),
            _ if is_telling_number(name, text) => self.out.extend_from_slice(text.as_bytes()),
            _ => self.out.extend_from_slice(redact_number(self.redactor, text).as_bytes()),
        }
    }

    fn object(&mut self, text: &str, depth: usize) {
        let members: Members<'_> = serde_json::from_str(text).unwrap_or_default();
        self.out.push(b'{');
        for (number, (name, value)) in members.0.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            let length = self.path.len();
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            if is_name(name) || self.redactor.keeps(&self.path) {
                write_string(&mut self.out, name);
            } else {
                write_string(&mut self.out, &redact_value(self.redactor, name));
            }
            self.out.push(b':');
            self.value(value.get(), depth + 1);
            self.path.truncate(length);
        }
        self.out.push(b'}');
    }

    fn array(&mut self, text: &str, depth: usize) {
        let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        self.out.push(b'[');
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            self.value(item.get(), depth + 1);
        }
        self.out.push(b']');
    }
}

/// In their order, with those of the same name.
#[derive(Default)]
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Each<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for Each<'a> {
            type Value = Members<'a>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each(std::marker::PhantomData))
    }
}
