//! From the bytes of a request to its decoded form and its key.

use std::hash::Hasher as _;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use twox_hash::xxhash3_64::Hasher;

use super::json::decode_json;
use super::json_reader::JsonError;
use super::weigh::weigh;

/// Bytes that are encoded before they are hashed.
const FLUSH_BYTES: usize = 16 * 1024;

/// How a request is written (OTLP specification, "Binary Protobuf Encoding" and "JSON Protobuf Encoding").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf.
    Protobuf,
    /// JSON by the protobuf mapping, with identifiers in hexadecimal.
    Json,
}

/// A request cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is no ExportLogsServiceRequest in protobuf.
    #[error("the body is no ExportLogsServiceRequest in protobuf: {0}")]
    Protobuf(String),
    /// It is no ExportLogsServiceRequest in JSON.
    #[error("the body is no ExportLogsServiceRequest in JSON: {0}")]
    Json(JsonError),
    /// It takes more memory than a request may.
    #[error("the request takes more than {limit} bytes of memory when decoded; send fewer records at once")]
    TooLarge {
        /// How many it may take.
        limit: usize,
    },
}

/// Decodes a request that takes at most `limit` bytes of memory then. Messages in it may lie 100 deep.
pub fn decode(
    body: &[u8],
    encoding: Encoding,
    limit: usize,
) -> Result<ExportLogsServiceRequest, DecodeError> {
    match encoding {
        Encoding::Protobuf => {
            weigh(body, limit).ok_or(DecodeError::TooLarge { limit })?;
            ExportLogsServiceRequest::decode(body).map_err(|error| DecodeError::Protobuf(error.to_string()))
        }
        Encoding::Json => decode_json(body, limit).map_err(|error| match error {
            JsonError::TooLarge => DecodeError::TooLarge { limit },
            error => DecodeError::Json(error),
        }),
    }
}

/// What tells a request from others: XXH3-64 of the canonical protobuf of its parts, in their order. Fields that this
/// version of OTLP does not know are no part of it.
///
/// A message in protobuf has the length of all that lies in it before it, and each level counts that anew. So the records
/// are encoded one by one, and the whole request never lies in memory once more.
pub fn key(request: &ExportLogsServiceRequest) -> u64 {
    let mut parts = Parts { hasher: Hasher::new(), buffer: Vec::with_capacity(2 * FLUSH_BYTES) };
    for resource in &request.resource_logs {
        parts.optional(resource.resource.as_ref());
        parts.message(&resource.schema_url);
        parts.message(&(resource.scope_logs.len() as u64));
        for scope in &resource.scope_logs {
            parts.optional(scope.scope.as_ref());
            parts.message(&scope.schema_url);
            parts.message(&(scope.log_records.len() as u64));
            scope.log_records.iter().for_each(|record| parts.message(record));
        }
    }
    parts.finish()
}

/// What is hashed, some of it not yet.
struct Parts {
    hasher: Hasher,
    buffer: Vec<u8>,
}

// === impl Parts ===

impl Parts {
    /// Adds a message that may be missing, which is not the same as an empty one.
    fn optional(&mut self, message: Option<&impl Message>) {
        self.message(&message.is_some());
        if let Some(message) = message {
            self.message(message);
        }
    }

    fn message(&mut self, message: &impl Message) {
        // It fails only where there is no room, and a vector grows.
        let _ = message.encode_length_delimited(&mut self.buffer);
        if self.buffer.len() >= FLUSH_BYTES {
            self.hasher.write(&self.buffer);
            self.buffer.clear();
        }
    }

    fn finish(mut self) -> u64 {
        self.hasher.write(&self.buffer);
        self.hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(json: &str) -> u64 {
        key(&decode(json.as_bytes(), Encoding::Json, 1 << 20).unwrap())
    }

    #[test]
    fn requests_that_differ_have_different_keys() {
        let requests = [
            "{}",
            r#"{"resourceLogs":[{}]}"#,
            r#"{"resourceLogs":[{},{}]}"#,
            r#"{"resourceLogs":[{"resource":{}}]}"#,
            r#"{"resourceLogs":[{"schemaUrl":"a"}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"schemaUrl":"a"}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"scope":{}}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{}]}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]},{"logRecords":[{}]}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{}}]}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":""}}]}]}]}"#,
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1"}]}]}]}"#,
        ];
        let mut keys: Vec<u64> = requests.iter().map(|json| key_of(json)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), requests.len());
    }

    #[test]
    fn a_key_stays_what_it_is() {
        // Clients send again what an older agent took.
        let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"text"}}]}]}]}"#;
        assert_eq!(key_of(json), 6_044_857_287_565_514_562);
        let many = vec![r#"{"severityText":"some more than nothing"}"#; 2_000].join(",");
        assert_eq!(
            key_of(&format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{many}]}}]}}]}}"#)),
            2_151_862_064_765_113_995
        );
    }
}
