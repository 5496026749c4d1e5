//! Requests in JSON and the documents that they become, in either encoding.

use prost::Message;
use serde_json::{Value, json};
use weir_event::batch::{Flags, MAX_EVENT_BYTES};

use super::support::{documents, from_json, json_request, values};
use crate::documents::{Documents, Origin};
use crate::otlp::{DecodeError, Encoding, decode, key, write_documents};

/// A record becomes a document; both encodings of its request are the same.
#[track_caller]
fn check_request(request: &Value, expected: &[Value]) {
    let request = from_json(&request.to_string());
    let again = decode(&request.encode_to_vec(), Encoding::Protobuf, 1 << 30).unwrap();
    let texts = |documents: &Documents| -> Vec<String> {
        documents.iter().map(|(_, text)| String::from_utf8(text.to_vec()).unwrap()).collect()
    };
    let ((first, _), (second, _)) = (documents(&request, false), documents(&again, false));
    assert_eq!(texts(&first), texts(&second));
    assert_eq!(key(&request), key(&again));
    assert_eq!(values(&first), expected);
}

#[track_caller]
fn check(record: Value, expected: Value) {
    check_request(&json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}), &[expected]);
}

#[test]
fn a_record_with_everything() {
    let request = json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]},
        "schemaUrl": "https://opentelemetry.io/schemas/1.30.0",
        "scopeLogs": [{
            "scope": {"name": "lib", "version": "1.2", "attributes": [{"key": "a", "value": {"intValue": "1"}}]},
            "schemaUrl": "scope",
            "logRecords": [{
                "timeUnixNano": "1544712660300000000",
                "observedTimeUnixNano": 1544712661300000000_u64,
                "severityNumber": 10, "severityText": "Information",
                "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174",
                "flags": 257, "eventName": "login", "droppedAttributesCount": 3,
                "body": {"stringValue": "Example \"log\" record"},
                "attributes": [{"key": "http.method", "value": {"stringValue": "GET"}}],
            }],
        }],
    }]});
    check_request(
        &request,
        &[json!({
            "message": "Example \"log\" record",
            "severity_text": "Information", "severity_number": 10, "level": "info",
            "trace_id": "5b8efff798038103d269b633813fc60c", "span_id": "eee19b7ec3c1b174", "trace_flags": 1,
            "attributes": {"http.method": "GET"},
            "event_name": "login", "dropped_attributes_count": 3,
            "observed_timestamp": "2018-12-13T14:51:01.300000000Z",
            "resource": {
                "attributes": {"service.name": "cart"}, "schema_url": "https://opentelemetry.io/schemas/1.30.0",
            },
            "scope": {"name": "lib", "version": "1.2", "attributes": {"a": 1}, "schema_url": "scope"},
        })],
    );
}

#[test]
fn bodies_of_all_kinds() {
    check(json!({}), json!({}));
    check(json!({"body": null}), json!({}));
    check(json!({"body": {}}), json!({}));
    check(json!({"body": {"newKind": {"a": [1]}}}), json!({}));
    check(json!({"body": {"stringValue": ""}}), json!({"message": ""}));
    check(json!({"body": {"boolValue": true}}), json!({"body": true}));
    check(json!({"body": {"intValue": "-9223372036854775808"}}), json!({"body": i64::MIN}));
    check(json!({"body": {"intValue": 9223372036854775807_i64}}), json!({"body": i64::MAX}));
    check(json!({"body": {"doubleValue": 0.1}}), json!({"body": 0.1}));
    check(json!({"body": {"doubleValue": "1e300"}}), json!({"body": 1e300}));
    check(json!({"body": {"doubleValue": "NaN"}}), json!({"body": "NaN"}));
    check(json!({"body": {"doubleValue": "-Infinity"}}), json!({"body": "-Infinity"}));
    check(json!({"body": {"bytesValue": "AP8="}}), json!({"body": "AP8="}));
    check(json!({"body": {"bytesValue": "__8"}}), json!({"body": "//8="}));
    check(json!({"body": {"arrayValue": {}}}), json!({"body": []}));
    check(
        json!({"body": {"arrayValue": {"values": [{"intValue": 1}, {}, {"kvlistValue": {"values": [
            {"key": "k"}, {"key": "k", "value": {"boolValue": false}},
        ]}}]}}}),
        json!({"body": [1, null, {"k": false}]}),
    );
}

#[test]
fn a_map_does_not_take_the_place_of_other_members() {
    let member = |key: &str| json!({"key": key, "value": {"stringValue": key}});
    let names = ["user", "message", "resource.attributes.a", "level", "messages", "body", "time", ""];
    let members: Vec<Value> = names.iter().map(|name| member(name)).collect();
    check(
        json!({"body": {"kvlistValue": {"values": members}}, "severityNumber": 21}),
        json!({
            "user": "user", "messages": "messages", "time": "time", "": "", "severity_number": 21, "level": "fatal",
            "body": {
                "message": "message", "resource.attributes.a": "resource.attributes.a", "level": "level",
                "body": "body",
            },
        }),
    );
    check(json!({"body": {"kvlistValue": {}}}), json!({}));
}

#[test]
fn of_a_key_the_last_counts() {
    for count in [2, 40] {
        let members: Vec<Value> = (0..count)
            .map(|index| json!({"key": if index % 2 == 0 { "even" } else { "odd" }, "value": {"intValue": index}}))
            .collect();
        check(json!({"attributes": members}), json!({"attributes": {"even": count - 2, "odd": count - 1}}));
        check(
            json!({"body": {"kvlistValue": {"values": members}}}),
            json!({"even": count - 2, "odd": count - 1}),
        );
    }
}

#[test]
fn severities_and_their_levels() {
    let levels =
        [(1, "trace"), (4, "trace"), (5, "debug"), (9, "info"), (16, "warn"), (17, "error"), (24, "fatal")];
    for (number, level) in levels {
        check(json!({"severityNumber": number}), json!({"severity_number": number, "level": level}));
    }
    for number in [-1, 25, i64::from(i32::MAX), i64::from(i32::MIN)] {
        check(json!({"severityNumber": number}), json!({"severity_number": number}));
    }
    check(json!({"severityNumber": 0}), json!({}));
    check(
        json!({"severityNumber": "SEVERITY_NUMBER_WARN2"}),
        json!({"severity_number": 14, "level": "warn"}),
    );
}

#[test]
fn what_is_unset_or_unknown_is_absent() {
    check(
        json!({
            "timeUnixNano": null, "traceId": "", "spanId": "0000000000000000", "flags": 256, "attributes": null,
            "eventName": null, "futureField": {"deep": [[{"a": null}]]}, "severity_text": "not camel case",
        }),
        json!({}),
    );
    check_request(&json!({}), &[]);
    check_request(&json!({"resourceLogs": [{}, {"scopeLogs": [{}]}]}), &[]);
    let empty =
        json!({"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": [{}, {}]}]}]});
    check_request(&empty, &[json!({}), json!({})]);
}

#[test]
fn each_record_has_its_own_resource_and_scope() {
    let attribute = |value: &str| json!([{"key": "a", "value": {"stringValue": value}}]);
    let request = json!({"resourceLogs": [
        {"resource": {"attributes": attribute("one")}, "scopeLogs": [
            {"scope": {"name": "x"}, "logRecords": [{}]}, {"logRecords": [{"body": {"stringValue": "m"}}]},
        ]},
        {"scopeLogs": [{"scope": {"version": "2"}, "logRecords": [{}]}]},
    ]});
    check_request(
        &request,
        &[
            json!({"resource": {"attributes": {"a": "one"}}, "scope": {"name": "x"}}),
            json!({"message": "m", "resource": {"attributes": {"a": "one"}}}),
            json!({"scope": {"version": "2"}}),
        ],
    );
}

#[test]
fn times() {
    const BEYOND: u64 = i64::MAX as u64 + 1;
    for (own, observed, time, shown, flags) in [
        (0, 0, None, None, Flags::default()),
        (5, 0, Some(5), None, Flags::default()),
        (0, 5, Some(5), None, Flags::default()),
        (5, 5, Some(5), None, Flags::default()),
        (5, 1_000, Some(5), Some("1970-01-01T00:00:00.000001000Z"), Flags::default()),
        (BEYOND, 1_000, None, Some("1970-01-01T00:00:00.000001000Z"), Flags::TIME_IGNORED),
        (0, BEYOND, None, None, Flags::TIME_IGNORED),
        (5, BEYOND, Some(5), None, Flags::default()),
    ] {
        let record = json!({"timeUnixNano": own.to_string(), "observedTimeUnixNano": observed});
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]});
        let (documents, _) = documents(&from_json(&request.to_string()), false);
        let (entry, text) = documents.iter().next().unwrap();
        let document: Value = serde_json::from_slice(text).unwrap();
        assert_eq!((entry.time, entry.flags), (time, flags), "{own} {observed}");
        assert_eq!(document.get("observed_timestamp").and_then(Value::as_str), shown);
    }
}

#[test]
fn origins_are_believed_only_where_the_configuration_says_so() {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let attributes = json!([
        text("k8s.namespace.name", "shop"),
        text("k8s.pod.name", "cart-1"),
        text("k8s.container.name", "cart"),
        text("k8s.pod.uid", "0b1c"),
    ]);
    let with = json!({"resource": {"attributes": attributes}, "scopeLogs": [{"logRecords": [{}, {}]}]});
    let without = json!({"scopeLogs": [{"logRecords": [{}]}]});
    let request = from_json(&json!({"resourceLogs": [with, without]}).to_string());
    let origin = Origin {
        namespace: "shop".into(),
        pod: "cart-1".into(),
        container: "cart".into(),
        uid: "0b1c".into(),
    };
    let origins = |trust| {
        let (documents, _) = documents(&request, trust);
        let all: Vec<Origin> =
            documents.iter().map(|(entry, _)| documents.origins()[entry.origin as usize].clone()).collect();
        all
    };
    assert_eq!(origins(true), [origin.clone(), origin, Origin::default()]);
    assert_eq!(origins(false), vec![Origin::default(); 3]);
}

#[test]
fn what_is_too_large_is_left_out_and_counted() {
    let large = "x".repeat(MAX_EVENT_BYTES);
    let request = from_json(&json_request(&["first", &large, "last"]));
    let (taken, rejected) = documents(&request, false);
    assert_eq!(
        (values(&taken), rejected),
        (vec![json!({"message": "first"}), json!({"message": "last"})], 1)
    );

    // With the resource alone there would be too much, whatever the record.
    let mut request = from_json(&json_request(&["first"]));
    request.resource_logs[0].schema_url = large;
    let (taken, rejected) = documents(&request, false);
    assert_eq!((taken.len(), rejected), (0, 1));

    let mut few = Documents::new(40);
    let request = from_json(&json_request(&["twenty bytes of text"; 3]));
    assert!(write_documents(&request, false, &mut few).is_err());
}

#[test]
fn json_that_is_no_request_is_refused() {
    for text in [
        "",
        "[]",
        "{} {}",
        "{\"resourceLogs\": {}}",
        "{\"resourceLogs\": [1]}",
        "{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"traceId\": \"xyz1\"}]}]}]}",
        "{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"traceId\": \"abc\"}]}]}]}",
        "{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"timeUnixNano\": \"-1\"}]}]}]}",
        "{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"timeUnixNano\": \"1.5\"}]}]}]}",
        "{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"flags\": 4294967296}]}]}]}",
        "{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"body\": {\"bytesValue\": \"*\"}}]}]}]}",
        "{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"body\": {\"doubleValue\": 1e999}}]}]}]}",
        "{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [{\"body\": \"text\"}]}]}]}",
        "\u{feff}{}",
    ] {
        let read = decode(text.as_bytes(), Encoding::Json, 1 << 20);
        assert!(matches!(read, Err(DecodeError::Json(_))), "{text}: {read:?}");
    }
    assert!(decode(b"{\"a\":\"\xff\"}", Encoding::Json, 1 << 20).is_err());
}

/// A value in so many arrays, in either encoding.
fn nested(depth: usize) -> (String, Vec<u8>) {
    let value = "{\"arrayValue\":{\"values\":[".repeat(depth) + "{\"intValue\":1}" + &"]}}".repeat(depth);
    let json =
        format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{value}}}]}}]}}]}}");
    let wrap = |tag: u8, inner: Vec<u8>| {
        let mut out = vec![tag];
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.extend(inner);
        out
    };
    let mut value = vec![0x18, 1];
    for _ in 0..depth {
        value = wrap(0x2a, wrap(0x0a, value));
    }
    (json, wrap(0x0a, wrap(0x12, wrap(0x12, wrap(0x2a, value)))))
}

#[test]
fn both_encodings_nest_equally_deep() {
    let mut deepest = 0;
    for depth in [1, 40, 47, 48, 49, 50, 5_000] {
        let (json, protobuf) = nested(depth);
        let json = decode(json.as_bytes(), Encoding::Json, 1 << 30);
        let protobuf = decode(&protobuf, Encoding::Protobuf, 1 << 30);
        assert_eq!(json.is_ok(), protobuf.is_ok(), "{depth}: {json:?} {protobuf:?}");
        if let (Ok(json), Ok(protobuf)) = (json, protobuf) {
            assert_eq!(json, protobuf);
            assert_eq!(values(&documents(&json, false).0).len(), 1);
            deepest = depth;
        }
    }
    assert!((40..100).contains(&deepest), "{deepest}");
}

#[test]
fn small_messages_do_not_grow_beyond_the_limit() {
    let records = vec!["{}"; 100_000].join(",");
    let json = format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{records}]}}]}}]}}");
    let refused = Err(DecodeError::TooLarge { limit: 8 << 20 });
    assert_eq!(decode(json.as_bytes(), Encoding::Json, 8 << 20), refused);
    let protobuf = from_json(&json).encode_to_vec();
    assert_eq!(decode(&protobuf, Encoding::Protobuf, 8 << 20), refused);
}
