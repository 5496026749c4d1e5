//! Decodes requests in JSON (OTLP specification, "JSON Protobuf Encoding").
//!
//! The mapping is protobuf's: lowerCamelCase names, 64-bit integers as strings or numbers, `null` for what is unset,
//! bytes in base64 of either alphabet, doubles also as strings, unknown members ignored; but trace and span ids are
//! hexadecimal. Enums are numbers; their names are taken too. A message that comes twice is merged, as in protobuf.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::json_reader::{JsonError, Reader};
use super::weigh::ALLOCATION_BYTES;

/// Padded or not; bits that the padding covers may be anything but must not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// Doubles hold every integer up to this.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

type Read = Result<(), JsonError>;

/// Reads a request that takes at most `limit` bytes of memory.
pub(super) fn decode_json(text: &[u8], limit: usize) -> Result<ExportLogsServiceRequest, JsonError> {
    let mut reader = Reader::new(text, limit)?;
    let mut request = ExportLogsServiceRequest::default();
    reader.object(|reader, name| match name {
        "resourceLogs" => repeated(reader, &mut request.resource_logs, resource_logs),
        _ => reader.skip(),
    })?;
    reader.end()?;
    Ok(request)
}

fn resource_logs(reader: &mut Reader<'_>, logs: &mut ResourceLogs) -> Read {
    reader.object(|reader, name| match name {
        "resource" => optional(reader, &mut logs.resource, resource),
        "scopeLogs" => repeated(reader, &mut logs.scope_logs, scope_logs),
        "schemaUrl" => text(reader, &mut logs.schema_url),
        _ => reader.skip(),
    })
}

fn resource(reader: &mut Reader<'_>, resource: &mut Resource) -> Read {
    reader.object(|reader, name| match name {
        "attributes" => repeated(reader, &mut resource.attributes, key_value),
        "droppedAttributesCount" => integer(reader, &mut resource.dropped_attributes_count),
        "entityRefs" => repeated(reader, &mut resource.entity_refs, entity_ref),
        _ => reader.skip(),
    })
}

fn entity_ref(reader: &mut Reader<'_>, entity: &mut EntityRef) -> Read {
    reader.object(|reader, name| match name {
        "schemaUrl" => text(reader, &mut entity.schema_url),
        "type" => text(reader, &mut entity.r#type),
        "idKeys" => repeated(reader, &mut entity.id_keys, text),
        "descriptionKeys" => repeated(reader, &mut entity.description_keys, text),
        _ => reader.skip(),
    })
}

fn scope_logs(reader: &mut Reader<'_>, logs: &mut ScopeLogs) -> Read {
    reader.object(|reader, name| match name {
        "scope" => optional(reader, &mut logs.scope, scope),
        "logRecords" => repeated(reader, &mut logs.log_records, log_record),
        "schemaUrl" => text(reader, &mut logs.schema_url),
        _ => reader.skip(),
    })
}

fn scope(reader: &mut Reader<'_>, scope: &mut InstrumentationScope) -> Read {
    reader.object(|reader, name| match name {
        "name" => text(reader, &mut scope.name),
        "version" => text(reader, &mut scope.version),
        "attributes" => repeated(reader, &mut scope.attributes, key_value),
        "droppedAttributesCount" => integer(reader, &mut scope.dropped_attributes_count),
        _ => reader.skip(),
    })
}

fn log_record(reader: &mut Reader<'_>, record: &mut LogRecord) -> Read {
    reader.object(|reader, name| match name {
        "timeUnixNano" => integer(reader, &mut record.time_unix_nano),
        "observedTimeUnixNano" => integer(reader, &mut record.observed_time_unix_nano),
        "severityNumber" => severity(reader, &mut record.severity_number),
        "severityText" => text(reader, &mut record.severity_text),
        "body" => optional(reader, &mut record.body, any_value),
        "attributes" => repeated(reader, &mut record.attributes, key_value),
        "droppedAttributesCount" => integer(reader, &mut record.dropped_attributes_count),
        "flags" => integer(reader, &mut record.flags),
        "traceId" => hexadecimal(reader, &mut record.trace_id),
        "spanId" => hexadecimal(reader, &mut record.span_id),
        "eventName" => text(reader, &mut record.event_name),
        _ => reader.skip(),
    })
}

fn key_value(reader: &mut Reader<'_>, member: &mut KeyValue) -> Read {
    reader.object(|reader, name| match name {
        "key" => text(reader, &mut member.key),
        "value" => optional(reader, &mut member.value, any_value),
        "keyStrindex" => integer(reader, &mut member.key_strindex),
        _ => reader.skip(),
    })
}

fn any_value(reader: &mut Reader<'_>, value: &mut AnyValue) -> Read {
    reader.object(|reader, name| {
        let is_known = matches!(
            name,
            "stringValue"
                | "boolValue"
                | "intValue"
                | "doubleValue"
                | "arrayValue"
                | "kvlistValue"
                | "bytesValue"
                | "stringValueStrindex"
        );
        if !is_known {
            return reader.skip();
        }
        // A member of a oneof that is null is not set.
        if reader.null() {
            return Ok(());
        }
        value.value = Some(one_of(reader, name)?);
        Ok(())
    })
}

fn one_of(reader: &mut Reader<'_>, name: &str) -> Result<Value, JsonError> {
    Ok(match name {
        "stringValue" => Value::StringValue(reader.owned_string()?),
        "boolValue" => Value::BoolValue(reader.boolean()?),
        "intValue" => {
            let mut number = 0;
            integer(reader, &mut number)?;
            Value::IntValue(number)
        }
        "doubleValue" => Value::DoubleValue(double(reader)?),
        "arrayValue" => {
            let mut array = ArrayValue::default();
            reader.object(|reader, name| match name {
                "values" => repeated(reader, &mut array.values, any_value),
                _ => reader.skip(),
            })?;
            Value::ArrayValue(array)
        }
        "kvlistValue" => {
            let mut list = KeyValueList::default();
            reader.object(|reader, name| match name {
                "values" => repeated(reader, &mut list.values, key_value),
                _ => reader.skip(),
            })?;
            Value::KvlistValue(list)
        }
        "bytesValue" => Value::BytesValue(base64(reader)?),
        _ => {
            let mut index = 0;
            integer(reader, &mut index)?;
            Value::StringValueStrindex(index)
        }
    })
}

fn repeated<T: Default>(
    reader: &mut Reader<'_>,
    list: &mut Vec<T>,
    read: fn(&mut Reader<'_>, &mut T) -> Read,
) -> Read {
    reader.array(|reader| {
        let element = reader.push(list, T::default())?;
        read(reader, element)
    })
}

fn optional<T: Default>(
    reader: &mut Reader<'_>,
    place: &mut Option<T>,
    read: fn(&mut Reader<'_>, &mut T) -> Read,
) -> Read {
    if reader.null() {
        return Ok(());
    }
    read(reader, place.get_or_insert_default())
}

fn text(reader: &mut Reader<'_>, place: &mut String) -> Read {
    *place = reader.owned_string()?;
    Ok(())
}

/// An integer as a number or string. Protobuf's mapping also has ones such as `1e3` and `2.0`.
fn integer<T: std::str::FromStr + TryFrom<i64>>(reader: &mut Reader<'_>, place: &mut T) -> Read {
    let error = reader.expected("an integer in its range");
    let text = reader.number()?;
    let number = text.parse::<T>().ok().or_else(|| {
        let double = text.parse::<f64>().ok()?;
        let is_exact = double.fract() == 0.0 && double.abs() <= MAX_EXACT;
        T::try_from(is_exact.then_some(double as i64)?).ok()
    });
    *place = number.ok_or(error)?;
    Ok(())
}

fn double(reader: &mut Reader<'_>) -> Result<f64, JsonError> {
    let error = reader.expected("a double");
    let text = reader.number()?;
    match text.as_ref() {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(f64::INFINITY),
        "-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|number: &f64| is_decimal && number.is_finite()).ok_or(error)
}

fn severity(reader: &mut Reader<'_>, place: &mut i32) -> Read {
    let error = reader.expected("a severity number");
    let text = reader.number()?;
    let number = text.parse().ok().or_else(|| SeverityNumber::from_str_name(&text).map(i32::from));
    *place = number.ok_or(error)?;
    Ok(())
}

fn hexadecimal(reader: &mut Reader<'_>, place: &mut Vec<u8>) -> Read {
    let error = reader.expected("hexadecimal digits");
    let text = reader.string()?;
    reader.charge(text.len() / 2 + ALLOCATION_BYTES)?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    });
    *place = bytes.collect::<Option<Vec<u8>>>().ok_or(error)?;
    Ok(())
}

fn base64(reader: &mut Reader<'_>) -> Result<Vec<u8>, JsonError> {
    let error = reader.expected("base64");
    let text = reader.string()?;
    reader.charge(text.len() + ALLOCATION_BYTES)?;
    let standard = text.replace('-', "+").replace('_', "/");
    BASE64.decode(standard).map_err(|_| error)
}
