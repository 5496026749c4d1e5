//! OTLP's values as JSON text.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use weir_event::json;

/// Up to so many members each name is looked for among those behind it; more are looked up.
const FEW: usize = 16;

/// Appends a value. It may be nested as deep as the decoders allow.
pub(super) fn write_value(out: &mut Vec<u8>, value: Option<&AnyValue>) {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => json::write_string(out, text),
        Some(Value::BoolValue(true)) => out.extend_from_slice(b"true"),
        Some(Value::BoolValue(false)) => out.extend_from_slice(b"false"),
        Some(Value::IntValue(number)) => write_integer(out, *number),
        Some(Value::DoubleValue(number)) => write_double(out, *number),
        Some(Value::ArrayValue(array)) => write_array(out, &array.values),
        Some(Value::KvlistValue(list)) => write_object(out, &list.values),
        Some(Value::BytesValue(bytes)) => write_base64(out, bytes),
        // References into the dictionary of profiles mean nothing in logs (opentelemetry.proto.common.v1).
        Some(Value::StringValueStrindex(_)) | None => out.extend_from_slice(b"null"),
    }
}

/// Appends an object with a member for each key; of those with the same key the last counts.
pub(super) fn write_object(out: &mut Vec<u8>, members: &[KeyValue]) {
    out.push(b'{');
    for_each_member(members, |key, value| {
        write_key(out, key);
        write_value(out, value);
    });
    out.push(b'}');
}

/// Appends the name of an object's next member, and what stands between it and the last one.
pub(super) fn write_key(out: &mut Vec<u8>, key: &str) {
    separate(out);
    json::write_string(out, key);
    out.push(b':');
}

/// Appends a comma, unless an object has just begun.
#[inline]
pub(super) fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

/// Appends an integer.
pub(super) fn write_integer(out: &mut Vec<u8>, number: i64) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &number);
}

/// Calls `each` with the members that count.
pub(super) fn for_each_member<'a>(
    members: &'a [KeyValue],
    mut each: impl FnMut(&'a str, Option<&'a AnyValue>),
) {
    if members.len() > FEW {
        let last: HashMap<&str, usize> =
            members.iter().enumerate().map(|(index, member)| (member.key.as_str(), index)).collect();
        for (index, member) in members.iter().enumerate() {
            if last.get(member.key.as_str()) == Some(&index) {
                each(&member.key, member.value.as_ref());
            }
        }
        return;
    }
    let mut rest = members;
    while let Some((member, behind)) = rest.split_first() {
        if behind.iter().all(|other| other.key != member.key) {
            each(&member.key, member.value.as_ref());
        }
        rest = behind;
    }
}

fn write_array(out: &mut Vec<u8>, values: &[AnyValue]) {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_value(out, Some(value));
    }
    out.push(b']');
}

fn write_double(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        let _ = serde_json::to_writer(out, &number);
    } else if number.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if number > 0.0 {
        out.extend_from_slice(b"\"Infinity\"");
    } else {
        out.extend_from_slice(b"\"-Infinity\"");
    }
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..)
        && let Ok(len) = STANDARD.encode_slice(bytes, room)
    {
        out.truncate(start + len);
    }
    out.push(b'"');
}
