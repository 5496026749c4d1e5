//! Random requests become the documents that another way of making them gives; damaged ones never panic.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value, json};

use super::support::{documents, values};
use crate::documents::Documents;
use crate::otlp::weigh::weigh;
use crate::otlp::{Encoding, decode, key, write_documents};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c.]{0,3}", "message|body|level|resource.a|scope", any::<String>()]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        text().prop_map(|text| Some(Kind::StringValue(text))),
        any::<bool>().prop_map(|value| Some(Kind::BoolValue(value))),
        any::<i64>().prop_map(|value| Some(Kind::IntValue(value))),
        any::<f64>().prop_map(|value| Some(Kind::DoubleValue(value))),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| Some(Kind::BytesValue(bytes))),
    ];
    leaf.prop_map(|value| AnyValue { value }).prop_recursive(4, 24, 4, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..4)
            .prop_map(|values| AnyValue { value: Some(Kind::ArrayValue(ArrayValue { values })) });
        let list = prop::collection::vec(member(inner), 0..4)
            .prop_map(|values| AnyValue { value: Some(Kind::KvlistValue(KeyValueList { values })) });
        prop_oneof![array, list]
    })
}

fn member(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    (text(), prop::option::of(value)).prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 })
}

fn members() -> impl Strategy<Value = Vec<KeyValue>> {
    prop_oneof![prop::collection::vec(member(value()), 0..4), prop::collection::vec(member(value()), 15..20)]
}

prop_compose! {
    fn record()(
        (time_unix_nano, observed_time_unix_nano) in (any::<u64>(), any::<u64>()),
        (severity_number, severity_text) in (-1..30, text()),
        body in prop::option::of(value()),
        attributes in members(),
        (dropped_attributes_count, flags) in (0_u32..3, any::<u32>()),
        trace_id in prop::collection::vec(any::<u8>(), 0..17),
        span_id in prop::collection::vec(any::<u8>(), 0..9),
        event_name in text(),
    ) -> LogRecord {
        LogRecord {
            time_unix_nano, observed_time_unix_nano, severity_number, severity_text, body, attributes,
            dropped_attributes_count, flags, trace_id, span_id, event_name,
        }
    }
}

prop_compose! {
    fn request()(
        attributes in members(),
        of_scope in members(),
        log_records in prop::collection::vec(record(), 0..3),
        (schema_url, name, version) in (text(), text(), text()),
    ) -> ExportLogsServiceRequest {
        let scope = InstrumentationScope { name, version, attributes: of_scope, dropped_attributes_count: 0 };
        let scope = ScopeLogs { scope: Some(scope), log_records, schema_url: schema_url.clone() };
        let resource = Resource { attributes, ..Resource::default() };
        let logs = ResourceLogs { resource: Some(resource), scope_logs: vec![scope], schema_url };
        ExportLogsServiceRequest { resource_logs: vec![logs] }
    }
}

/// A value by way of a tree.
fn tree(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        None | Some(Kind::StringValueStrindex(_)) => Value::Null,
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::BoolValue(value)) => json!(value),
        Some(Kind::IntValue(number)) => json!(number),
        Some(Kind::DoubleValue(number)) if number.is_finite() => json!(number),
        Some(Kind::DoubleValue(number)) if number.is_nan() => json!("NaN"),
        Some(Kind::DoubleValue(number)) => json!(if *number > 0.0 { "Infinity" } else { "-Infinity" }),
        Some(Kind::ArrayValue(array)) => array.values.iter().map(|value| tree(Some(value))).collect(),
        Some(Kind::KvlistValue(list)) => Value::Object(object(&list.values)),
        Some(Kind::BytesValue(bytes)) => json!(STANDARD.encode(bytes)),
    }
}

fn object(members: &[KeyValue]) -> Map<String, Value> {
    members.iter().map(|member| (member.key.clone(), tree(member.value.as_ref()))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the document of a record must be, but for the observed time.
fn expected(logs: &ResourceLogs, scope: &ScopeLogs, record: &LogRecord) -> Value {
    const NAMES: [&str; 14] = [
        "message",
        "body",
        "attributes",
        "severity_text",
        "severity_number",
        "level",
        "trace_id",
        "span_id",
        "trace_flags",
        "event_name",
        "dropped_attributes_count",
        "observed_timestamp",
        "resource",
        "scope",
    ];
    let mut document = Map::new();
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        None => {}
        Some(Kind::StringValue(text)) => drop(document.insert("message".into(), json!(text))),
        Some(Kind::KvlistValue(list)) => {
            let (kept, top): (Map<_, _>, Map<_, _>) = object(&list.values)
                .into_iter()
                .partition(|(key, _)| NAMES.contains(&key.split('.').next().unwrap()));
            document.extend(top);
            if !kept.is_empty() {
                document.insert("body".into(), Value::Object(kept));
            }
        }
        Some(_) => drop(document.insert("body".into(), tree(record.body.as_ref()))),
    }
    let is_empty = |value: &Value| match value {
        Value::Object(object) => object.is_empty(),
        Value::String(text) => text.is_empty(),
        number => number == &json!(0),
    };
    let id = |id: &[u8]| if id.iter().all(|byte| *byte == 0) { json!("") } else { json!(hex(id)) };
    let level = match record.severity_number {
        1..=24 => {
            ["trace", "debug", "info", "warn", "error", "fatal"][(record.severity_number as usize - 1) / 4]
        }
        _ => "",
    };
    let of = |pairs: Vec<(&str, Value)>| -> Map<String, Value> {
        pairs
            .into_iter()
            .filter(|(_, value)| !is_empty(value))
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    };
    let attributes = |members: &[KeyValue]| Value::Object(object(members));
    let resource = logs.resource.as_ref().unwrap();
    let named = scope.scope.as_ref().unwrap();
    document.extend(of(vec![
        ("severity_text", json!(record.severity_text)),
        ("severity_number", json!(record.severity_number)),
        ("level", json!(level)),
        ("trace_id", id(&record.trace_id)),
        ("span_id", id(&record.span_id)),
        ("trace_flags", json!(record.flags & 255)),
        ("attributes", attributes(&record.attributes)),
        ("event_name", json!(record.event_name)),
        ("dropped_attributes_count", json!(record.dropped_attributes_count)),
        (
            "resource",
            Value::Object(of(vec![
                ("attributes", attributes(&resource.attributes)),
                ("schema_url", json!(logs.schema_url)),
            ])),
        ),
        (
            "scope",
            Value::Object(of(vec![
                ("name", json!(named.name)),
                ("version", json!(named.version)),
                ("attributes", attributes(&named.attributes)),
                ("schema_url", json!(scope.schema_url)),
            ])),
        ),
    ]));
    // This parser reads some doubles as their neighbours; so it does with what is expected.
    serde_json::from_str(&Value::Object(document).to_string()).unwrap()
}

/// Whatever bytes: they are a request or not, and if so it has documents, and its own bytes mean the same.
fn check_bytes(bytes: &[u8], encoding: Encoding) -> Result<(), TestCaseError> {
    let Ok(request) = decode(bytes, encoding, 1 << 20) else { return Ok(()) };
    let mut documents = Documents::new(1 << 24);
    if write_documents(&request, true, &mut documents).is_ok() {
        values(&documents);
    }
    let canonical = request.encode_to_vec();
    let again = decode(&canonical, Encoding::Protobuf, 1 << 21).unwrap();
    prop_assert_eq!(&again.encode_to_vec(), &canonical);
    prop_assert_eq!(key(&again), key(&request));
    Ok(())
}

/// What a decoded request has allocated.
fn heap(request: &ExportLogsServiceRequest) -> usize {
    let logs = request.resource_logs.iter().map(|logs| {
        let resource = logs.resource.as_ref().map_or(0, |resource| heap_of_members(&resource.attributes));
        let scopes = logs.scope_logs.iter().map(|scope| {
            let of_scope = scope.scope.as_ref().map_or(0, |scope| {
                scope.name.capacity() + scope.version.capacity() + heap_of_members(&scope.attributes)
            });
            let records = scope.log_records.iter().map(|record| {
                record.severity_text.capacity()
                    + record.event_name.capacity()
                    + record.trace_id.capacity()
                    + record.span_id.capacity()
                    + heap_of_members(&record.attributes)
                    + heap_of_value(record.body.as_ref())
            });
            let records = records.sum::<usize>() + scope.log_records.capacity() * size_of::<LogRecord>();
            scope.schema_url.capacity() + of_scope + records
        });
        let scopes = scopes.sum::<usize>() + logs.scope_logs.capacity() * size_of::<ScopeLogs>();
        logs.schema_url.capacity() + resource + scopes
    });
    logs.sum::<usize>() + request.resource_logs.capacity() * size_of::<ResourceLogs>()
}

fn heap_of_members(members: &Vec<KeyValue>) -> usize {
    let each = members.iter().map(|member| member.key.capacity() + heap_of_value(member.value.as_ref()));
    each.sum::<usize>() + members.capacity() * size_of::<KeyValue>()
}

fn heap_of_value(value: Option<&AnyValue>) -> usize {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Kind::StringValue(text)) => text.capacity(),
        Some(Kind::BytesValue(bytes)) => bytes.capacity(),
        Some(Kind::ArrayValue(array)) => {
            let each = array.values.iter().map(|value| heap_of_value(Some(value)));
            each.sum::<usize>() + array.values.capacity() * size_of::<AnyValue>()
        }
        Some(Kind::KvlistValue(list)) => heap_of_members(&list.values),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn what_a_request_allocates_is_known_before(request in request()) {
        let bytes = request.encode_to_vec();
        let weight = weigh(&bytes, usize::MAX).unwrap();
        let decoded = decode(&bytes, Encoding::Protobuf, weight).unwrap();
        let heap = heap(&decoded);
        prop_assert!(heap <= weight, "{heap} of {weight}");
    }

    #[test]
    fn documents_say_what_was_sent(request in request()) {
        let (documents, rejected) = documents(&request, false);
        let logs = &request.resource_logs[0];
        let scope = &logs.scope_logs[0];
        prop_assert_eq!((documents.len(), rejected), (scope.log_records.len(), 0));
        for ((document, record), (entry, text)) in
            values(&documents).into_iter().zip(&scope.log_records).zip(documents.iter())
        {
            let Value::Object(mut document) = document else { panic!("no object") };
            let observed = document.remove("observed_timestamp");
            prop_assert_eq!(Value::Object(document), expected(logs, scope, record));
            prop_assert!(!text.contains(&b'\n'));
            let time = i64::try_from(record.time_unix_nano).ok().filter(|time| *time != 0);
            prop_assert!(record.time_unix_nano == 0 || entry.time == time);
            let seen = i64::try_from(record.observed_time_unix_nano).ok();
            let is_shown = seen.is_some_and(|seen| seen != 0 && Some(seen) != entry.time);
            prop_assert_eq!(observed.is_some(), is_shown);
        }
    }

    #[test]
    fn json_that_others_write_means_the_same(request in request()) {
        let json = serde_json::to_vec(&request).unwrap();
        // There is no null of theirs that is not an empty value, but for doubles that JSON does not know.
        prop_assume!(!json.windows(18).any(|window| window == b"\"doubleValue\":null"));
        let again = decode(&json, Encoding::Json, 1 << 24).unwrap();
        prop_assert_eq!(key(&again), key(&request));
        prop_assert_eq!(again, request);
    }

    #[test]
    fn damaged_protobuf_is_read_or_refused(
        request in request(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = request.encode_to_vec();
        check_bytes(&bytes, Encoding::Protobuf)?;
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        check_bytes(&bytes, Encoding::Protobuf)?;
    }

    #[test]
    fn damaged_json_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        check_bytes(&bytes, Encoding::Json)?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        check_bytes(&bytes, Encoding::Protobuf)?;
        check_bytes(&bytes, Encoding::Json)?;
    }
}

const SAMPLE: &str = "{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"a\",\"value\":{\"stringValue\":\
    \"b\\n\"}}],\"entityRefs\":[{\"type\":\"t\",\"idKeys\":[\"a\"]}]},\"scopeLogs\":[{\"scope\":{\"name\":\"s\"},\
    \"logRecords\":[{\"timeUnixNano\":\"1544712660300000000\",\"severityNumber\":9,\"body\":{\"kvlistValue\":\
    {\"values\":[{\"key\":\"k\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"},{\"doubleValue\":1.5},\
    {\"bytesValue\":\"AP8=\"},{\"boolValue\":true}]}}}]}},\"traceId\":\"5b8efff798038103d269b633813fc60c\",\
    \"unknown\":[{\"x\":null},-1e3]}]}]}]}";
