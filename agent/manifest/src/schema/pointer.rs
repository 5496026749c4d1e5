//! References within a schema: `#`, `#/$defs/path`, and `#name` for an `$anchor`.

use serde_json::Value;

pub(super) fn find<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    let fragment = reference.strip_prefix('#')?;
    if fragment.is_empty() {
        return Some(root);
    }
    match fragment.starts_with('/') {
        true => root.pointer(&decode(fragment)?),
        false => anchored(root.get("$defs")?, fragment),
    }
}

/// Anchors are looked for among the definitions, where everybody puts them.
fn anchored<'s>(definitions: &'s Value, name: &str) -> Option<&'s Value> {
    let has = |schema: &&Value| schema.get("$anchor").and_then(Value::as_str) == Some(name);
    definitions.as_object()?.values().find(has)
}

/// A fragment is percent-encoded; what is not, stays.
fn decode(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}
