//! Records as JSON, compared with another way to make it.

use proptest::prelude::*;
use rmp::encode as rmp_encode;
use serde_json::json;

use super::*;

/// A value of msgpack, as tests write it.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Single(f32),
    Double(f64),
    Str(String),
    /// A string whose bytes may be no text.
    Raw(Vec<u8>),
    Bin(Vec<u8>),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Ext(i8, Vec<u8>),
}

pub(crate) fn pack(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => rmp_encode::write_nil(out).unwrap(),
        Value::Bool(truth) => rmp_encode::write_bool(out, *truth).unwrap(),
        Value::Unsigned(number) => drop(rmp_encode::write_uint(out, *number).unwrap()),
        Value::Signed(number) => drop(rmp_encode::write_sint(out, *number).unwrap()),
        Value::Single(number) => rmp_encode::write_f32(out, *number).unwrap(),
        Value::Double(number) => rmp_encode::write_f64(out, *number).unwrap(),
        Value::Str(text) => rmp_encode::write_str(out, text).unwrap(),
        Value::Raw(bytes) => {
            rmp_encode::write_str_len(out, bytes.len() as u32).unwrap();
            out.extend_from_slice(bytes);
        }
        Value::Bin(bytes) => rmp_encode::write_bin(out, bytes).unwrap(),
        Value::Array(values) => {
            rmp_encode::write_array_len(out, values.len() as u32).unwrap();
            values.iter().for_each(|value| pack(out, value));
        }
        Value::Map(pairs) => {
            rmp_encode::write_map_len(out, pairs.len() as u32).unwrap();
            pairs.iter().for_each(|(key, value)| {
                pack(out, key);
                pack(out, value);
            });
        }
        Value::Ext(kind, data) => {
            rmp_encode::write_ext_meta(out, data.len() as u32, *kind).unwrap();
            out.extend_from_slice(data);
        }
    }
}

pub(crate) fn packed(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack(&mut bytes, value);
    bytes
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::Unsigned),
        (0u64..300).prop_map(Value::Unsigned),
        any::<i64>().prop_map(Value::Signed),
        (-200i64..0).prop_map(Value::Signed),
        any::<f32>().prop_map(Value::Single),
        any::<f64>().prop_map(Value::Double),
        prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Value::Double),
        "[\\x00-\\x30\\\\\"a-zé😀]{0,40}".prop_map(Value::Str),
        "[a-z]{250,300}".prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Raw),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bin),
        (1i8..9, prop::collection::vec(any::<u8>(), 0..70)).prop_map(|(kind, data)| Value::Ext(kind, data)),
        (0u32.., 0u32..1_000_000_000).prop_map(|(s, ns)| event_time_value(s, ns)),
    ]
}

pub(crate) fn event_time_value(seconds: u32, nanoseconds: u32) -> Value {
    Value::Ext(0, [seconds.to_be_bytes(), nanoseconds.to_be_bytes()].concat())
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    any_scalar().prop_recursive(4, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

fn number(text: String) -> serde_json::Value {
    if ["NaN", "inf", "-inf"].contains(&text.as_str()) {
        return json!(text.replace("inf", "Infinity"));
    }
    json!(text.parse::<f64>().unwrap())
}

/// What a value should become, found in another way.
fn expected(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => json!(null),
        Value::Bool(truth) => json!(truth),
        Value::Unsigned(number) => json!(number),
        Value::Signed(number) => json!(number),
        Value::Single(single) => number(format!("{}", f64::from(*single))),
        Value::Double(double) => number(format!("{double}")),
        Value::Str(text) => json!(text),
        Value::Raw(bytes) | Value::Bin(bytes) => json!(String::from_utf8_lossy(bytes)),
        Value::Array(values) => values.iter().map(expected).collect(),
        Value::Map(pairs) => {
            let members = pairs.iter().map(|(key, value)| (expected_key(key), expected(value)));
            serde_json::Value::Object(members.collect())
        }
        Value::Ext(0, data) if data.len() == 8 => {
            let mut text = Vec::new();
            let seconds = u32::from_be_bytes(data[..4].try_into().unwrap());
            let nanoseconds = u32::from_be_bytes(data[4..].try_into().unwrap());
            write_rfc3339(&mut text, i64::from(seconds) * NS_PER_SECOND + i64::from(nanoseconds));
            json!(String::from_utf8(text).unwrap())
        }
        Value::Ext(kind, data) => json!({"type": kind, "data": STANDARD.encode(data)}),
    }
}

fn expected_key(key: &Value) -> String {
    match key {
        Value::Array(_) | Value::Map(_) | Value::Ext(..) => STANDARD.encode(packed(key)),
        // The text of a float is serde_json's.
        Value::Single(single) if single.is_finite() => serde_json::to_string(single).unwrap(),
        Value::Double(double) if double.is_finite() => serde_json::to_string(double).unwrap(),
        other => match expected(other) {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        },
    }
}

/// Equal, but for the last bit of a float: serde_json does not promise it when it reads.
fn same(left: &serde_json::Value, right: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (left, right) {
        (Array(left), Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Object(left), Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
        }
        (Number(left), Number(right)) if left.is_f64() || right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            // Of a number of single precision several texts are shortest.
            let single = right as f32;
            let is_single = f64::from(single) == right && left as f32 == single;
            // The reader is a step off for some numbers, also for those that are nearly nothing.
            is_single || (left - right).abs() <= (1e-15 * left.abs()).max(1e-322)
        }
        _ => left == right,
    }
}

fn is_text(value: &Value) -> bool {
    match value {
        Value::Raw(bytes) | Value::Bin(bytes) => std::str::from_utf8(bytes).is_ok(),
        Value::Array(values) => values.iter().all(is_text),
        // What lies in a key that is a container is not looked at.
        Value::Map(pairs) => pairs.iter().all(|(key, value)| {
            (matches!(key, Value::Array(_) | Value::Map(_) | Value::Ext(..)) || is_text(key))
                && is_text(value)
        }),
        _ => true,
    }
}

fn write(bytes: &[u8], metadata: Option<&Value>) -> Result<(Vec<u8>, Flags), Fault> {
    let (mut out, metadata) = (b"before".to_vec(), metadata.map(packed));
    let mut reader = Reader::new(bytes);
    let flags = write_record(&mut out, &mut reader, metadata.as_deref())?;
    assert!(reader.rest().is_empty());
    Ok((out.strip_prefix(b"before").unwrap().to_vec(), flags))
}

proptest! {
    #[test]
    fn any_record_becomes_json(value in any_value()) {
        let (text, flags) = write(&packed(&value), None).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let expected = match &value {
            Value::Map(_) => expected(&value),
            other => json!({"message": expected(other)}),
        };
        prop_assert!(same(&read, &expected), "{} is not {}", read, expected);
        prop_assert_eq!(flags == Flags::default(), is_text(&value));
    }

    #[test]
    fn broken_records_are_refused(
        value in any_value(),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = packed(&value);
        let (mut out, end) = (Vec::new(), cut.index(bytes.len()));
        prop_assert_eq!(write_record(&mut out, &mut Reader::new(&bytes[..end]), None), Err(Fault::Incomplete));
        changes.iter().for_each(|(at, byte)| bytes[at.index(end.max(1))] = *byte);
        out.clear();
        if write_record(&mut out, &mut Reader::new(&bytes), None).is_ok() {
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        }
    }
}

#[test]
fn values_are_written_as_the_table_says() {
    let text = |text: &str| Value::Str(text.to_owned());
    for (value, json) in [
        (Value::Unsigned(u64::MAX), "18446744073709551615"),
        (Value::Signed(i64::MIN), "-9223372036854775808"),
        (Value::Single(0.1), "0.1"),
        (Value::Double(1e300), "1e+300"),
        (Value::Double(f64::NAN), "\"NaN\""),
        (Value::Single(f32::NEG_INFINITY), "\"-Infinity\""),
        (text("a\n\u{1}\"\\"), r#""a\n\u0001\"\\""#),
        (Value::Bin(b"a\xffb".to_vec()), "\"a\u{fffd}b\""),
        (Value::Ext(-7, vec![1, 2]), r#"{"type":-7,"data":"AQI="}"#),
        (Value::Ext(0, vec![1]), r#"{"type":0,"data":"AQ=="}"#),
        (event_time_value(1_800_000_000, 7), "\"2027-01-15T08:00:00.000000007Z\""),
        (
            Value::Map(vec![
                (text("a"), Value::Nil),
                (text("a"), Value::Bool(true)),
                (Value::Signed(-1), Value::Array(vec![])),
                (Value::Nil, Value::Map(vec![])),
                (Value::Double(f64::INFINITY), Value::Unsigned(1)),
                (Value::Array(vec![Value::Nil]), Value::Unsigned(2)),
            ]),
            r#"{"a":null,"a":true,"-1":[],"null":{},"Infinity":1,"kcA=":2}"#,
        ),
    ] {
        let (written, _) = write(&packed(&value), None).unwrap();
        let written = String::from_utf8(written).unwrap();
        let expected = match value {
            Value::Map(_) => json.to_owned(),
            _ => format!("{{\"message\":{json}}}"),
        };
        assert_eq!(written, expected);
    }
}

#[test]
fn metadata_goes_where_the_record_has_nothing() {
    let map = |names: &[&str]| {
        Value::Map(names.iter().map(|name| (Value::Str((*name).to_owned()), Value::Unsigned(1))).collect())
    };
    for (record, metadata, json) in [
        (map(&["a"]), map(&["m"]), r#"{"a":1,"metadata":{"m":1}}"#),
        (map(&["a"]), map(&[]), r#"{"a":1}"#),
        (map(&[]), map(&["m"]), r#"{"metadata":{"m":1}}"#),
        (Value::Nil, map(&["m"]), r#"{"message":null,"metadata":{"m":1}}"#),
        (map(&["metadata"]), map(&["m"]), r#"{"metadata":1,"_metadata":{"m":1}}"#),
        (map(&["_metadata"]), map(&["m"]), r#"{"_metadata":1,"metadata":{"m":1}}"#),
        (map(&["_metadata", "metadata"]), map(&["m"]), r#"{"_metadata":1,"metadata":1}"#),
    ] {
        let (written, _) = write(&packed(&record), Some(&metadata)).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), json);
    }
}

#[test]
fn depth_has_a_bound() {
    let nested = |levels: usize| (0..levels).fold(Value::Nil, |inner, _| Value::Array(vec![inner]));
    let map = |value| Value::Map(vec![(Value::Nil, value)]);
    let (text, _) = write(&packed(&map(nested(MAX_DEPTH - 1))), None).unwrap();
    serde_json::from_slice::<serde_json::Value>(&text).unwrap();
    assert_eq!(write(&packed(&map(nested(MAX_DEPTH))), None), Err(Fault::TooDeep));
    // A key takes no stack, however deep it is.
    write(&[&[0x81][..], &[0x91; 100_000], &[0xc0, 0xc0]].concat(), None).unwrap();
}

#[test]
fn what_is_too_long_is_read_and_not_written() {
    let zeros = Value::Bin(vec![0; MAX_EVENT_BYTES + 1]);
    let invalid = Value::Raw(vec![0xff; MAX_EVENT_BYTES + 1]);
    let many = Value::Array(vec![Value::Ext(1, vec![0]); MAX_EVENT_BYTES / 8]);
    let pair = |value: &Value| (Value::Nil, value.clone());
    for value in [zeros.clone(), invalid, many, Value::Map(vec![pair(&zeros); 3])] {
        let (text, _) = write(&packed(&value), Some(&Value::Map(vec![pair(&zeros)]))).unwrap();
        assert!(text.len() > MAX_EVENT_BYTES && text.len() < 14 * MAX_EVENT_BYTES, "{}", text.len());
    }
}
