//! From log records to documents. The head of [`super`] has the table of what becomes of what.
//!
//! 1. Nothing of a body takes the place of a member that OTLP itself has.
//! 2. What a resource or scope looks like is written once and copied; a document that would be too large with it is
//!    refused before it is copied.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use weir_event::batch::{Flags, MAX_EVENT_BYTES};
use weir_event::json;
use weir_event::time::write_rfc3339;

use super::value::{for_each_member, separate, write_integer, write_key, write_object, write_value};
use crate::documents::{Documents, Finished, Origin, Oversized, TooMuch};

const LEVELS: [&[u8]; 6] = [b"trace", b"debug", b"info", b"warn", b"error", b"fatal"];
/// Kubernetes has no longer names (RFC 1123 subdomains). What is longer is none of them.
const MAX_NAME_BYTES: usize = 253;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes the documents of a request; returns how many records are left out because their document would have more
/// than [`MAX_EVENT_BYTES`]. `trust_kubernetes` says whether the resource's attributes name the origin.
pub fn write_documents(
    request: &ExportLogsServiceRequest,
    trust_kubernetes: bool,
    documents: &mut Documents,
) -> Result<u64, TooMuch> {
    let mut rejected = 0;
    let mut shared = Vec::new();
    for resource in &request.resource_logs {
        shared.clear();
        write_resource(&mut shared, resource);
        let of_resource = shared.len();
        let origin = documents.add_origin(origin(resource, trust_kubernetes));
        for scope in &resource.scope_logs {
            shared.truncate(of_resource);
            write_scope(&mut shared, scope);
            for record in &scope.log_records {
                rejected += u64::from(!write_record(documents, record, &shared, origin)?);
            }
        }
    }
    Ok(rejected)
}

/// Adds a record's document; returns whether it is small enough.
fn write_record(
    documents: &mut Documents,
    record: &LogRecord,
    shared: &[u8],
    origin: u32,
) -> Result<bool, TooMuch> {
    let (time, observed, flags) = times(record);
    let start = documents.bytes();
    let out = documents.text();
    out.push(b'{');
    write_body(out, record.body.as_ref());
    write_severity(out, record);
    write_trace(out, record);
    if !record.attributes.is_empty() {
        write_name(out, b"\"attributes\":");
        write_object(out, &record.attributes);
    }
    write_text(out, b"\"event_name\":", &record.event_name);
    write_count(out, b"\"dropped_attributes_count\":", record.dropped_attributes_count);
    if let Some(observed) = observed {
        write_name(out, b"\"observed_timestamp\":\"");
        write_rfc3339(out, observed);
        out.push(b'"');
    }
    // Before the copy: a sender must not get megabytes copied for each of its smallest records.
    if out.len() - start + shared.len() > MAX_EVENT_BYTES {
        documents.abandon();
        return Ok(false);
    }
    write_name(out, shared);
    out.push(b'}');
    documents.flag(flags);
    let finished = documents.finish(time, origin, Oversized::Reject)?;
    Ok(finished != Finished::Rejected)
}

/// The record's time, the time at which it was seen where that is another, and whether one of them cannot be told.
fn times(record: &LogRecord) -> (Option<i64>, Option<i64>, Flags) {
    let read = |ns: u64| (ns != 0).then(|| i64::try_from(ns));
    let (own, observed) = (read(record.time_unix_nano), read(record.observed_time_unix_nano));
    let flags = match own.or(observed) {
        Some(Err(_)) => Flags::TIME_IGNORED,
        _ => Flags::default(),
    };
    let time = own.or(observed).and_then(Result::ok);
    let observed = observed.and_then(Result::ok).filter(|observed| Some(*observed) != time);
    (time, observed, flags)
}

fn write_body(out: &mut Vec<u8>, body: Option<&AnyValue>) {
    match body.and_then(|body| body.value.as_ref()) {
        None | Some(Value::StringValueStrindex(_)) => {}
        Some(Value::StringValue(text)) => {
            write_name(out, b"\"message\":");
            json::write_string(out, text);
        }
        Some(Value::KvlistValue(list)) => write_members(out, &list.values),
        Some(_) => {
            write_name(out, b"\"body\":");
            write_value(out, body);
        }
    }
}

/// A body's members, those first that keep their place.
fn write_members(out: &mut Vec<u8>, members: &[KeyValue]) {
    let mut reserved = 0;
    for_each_member(members, |key, value| {
        if is_reserved(key) {
            reserved += 1;
            return;
        }
        write_key(out, key);
        write_value(out, value);
    });
    if reserved == 0 {
        return;
    }
    write_name(out, b"\"body\":{");
    for_each_member(members, |key, value| {
        if is_reserved(key) {
            write_key(out, key);
            write_value(out, value);
        }
    });
    out.push(b'}');
}

/// Whether a member of the body has the name of one of the document, or would lie within one by a dot in its name.
fn is_reserved(key: &str) -> bool {
    let first = key.split_once('.').map_or(key, |(first, _)| first);
    matches!(
        first,
        "message"
            | "body"
            | "attributes"
            | "severity_text"
            | "severity_number"
            | "level"
            | "trace_id"
            | "span_id"
            | "trace_flags"
            | "event_name"
            | "dropped_attributes_count"
            | "observed_timestamp"
            | "resource"
            | "scope"
    )
}

fn write_severity(out: &mut Vec<u8>, record: &LogRecord) {
    write_text(out, b"\"severity_text\":", &record.severity_text);
    let number = record.severity_number;
    if number == 0 {
        return;
    }
    write_name(out, b"\"severity_number\":");
    write_integer(out, i64::from(number));
    // Four numbers are a level; there is none before 1 and behind 24.
    let level = usize::try_from(number.saturating_sub(1)).ok().and_then(|number| LEVELS.get(number / 4));
    if let Some(level) = level {
        write_name(out, b"\"level\":\"");
        out.extend_from_slice(level);
        out.push(b'"');
    }
}

fn write_trace(out: &mut Vec<u8>, record: &LogRecord) {
    write_id(out, b"\"trace_id\":\"", &record.trace_id);
    write_id(out, b"\"span_id\":\"", &record.span_id);
    // Only the lowest eight bits are the trace's flags (opentelemetry.proto.logs.v1, LogRecordFlags).
    write_count(out, b"\"trace_flags\":", record.flags & 0xff);
}

/// An identifier of zeros is none (W3C Trace Context, 3.2.2.3).
fn write_id(out: &mut Vec<u8>, name: &[u8], id: &[u8]) {
    if id.iter().all(|byte| *byte == 0) {
        return;
    }
    write_name(out, name);
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.extend(id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    out.push(b'"');
}

fn write_resource(out: &mut Vec<u8>, logs: &ResourceLogs) {
    let attributes = logs.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    if attributes.is_empty() && logs.schema_url.is_empty() {
        return;
    }
    out.extend_from_slice(b"\"resource\":{");
    write_attributes(out, attributes);
    write_text(out, b"\"schema_url\":", &logs.schema_url);
    out.push(b'}');
}

fn write_scope(out: &mut Vec<u8>, logs: &ScopeLogs) {
    if logs
        .scope
        .as_ref()
        .is_none_or(|scope| scope.name.is_empty() && scope.version.is_empty() && scope.attributes.is_empty())
        && logs.schema_url.is_empty()
    {
        return;
    }
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(b"\"scope\":{");
    if let Some(scope) = &logs.scope {
        write_text(out, b"\"name\":", &scope.name);
        write_text(out, b"\"version\":", &scope.version);
        write_attributes(out, &scope.attributes);
    }
    write_text(out, b"\"schema_url\":", &logs.schema_url);
    out.push(b'}');
}

fn write_attributes(out: &mut Vec<u8>, attributes: &[KeyValue]) {
    if !attributes.is_empty() {
        write_name(out, b"\"attributes\":");
        write_object(out, attributes);
    }
}

fn write_text(out: &mut Vec<u8>, name: &[u8], text: &str) {
    if !text.is_empty() {
        write_name(out, name);
        json::write_string(out, text);
    }
}

fn write_count(out: &mut Vec<u8>, name: &[u8], count: u32) {
    if count != 0 {
        write_name(out, name);
        write_integer(out, i64::from(count));
    }
}

/// Appends finished text of a member, or its beginning, if there is any.
#[inline]
fn write_name(out: &mut Vec<u8>, text: &[u8]) {
    if !text.is_empty() {
        separate(out);
        out.extend_from_slice(text);
    }
}

fn origin(logs: &ResourceLogs, trust_kubernetes: bool) -> Origin {
    let mut origin = Origin::default();
    let Some(resource) = logs.resource.as_ref().filter(|_| trust_kubernetes) else { return origin };
    for member in &resource.attributes {
        let place = match member.key.as_str() {
            "k8s.namespace.name" => &mut origin.namespace,
            "k8s.pod.name" => &mut origin.pod,
            "k8s.container.name" => &mut origin.container,
            "k8s.pod.uid" => &mut origin.uid,
            _ => continue,
        };
        place.clear();
        if let Some(Value::StringValue(text)) = member.value.as_ref().and_then(|value| value.value.as_ref())
            && text.len() <= MAX_NAME_BYTES
        {
            place.push_str(text);
        }
    }
    origin
}
