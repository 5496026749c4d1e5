//! The source `otlp`: logs by the OpenTelemetry protocol 1.x, over HTTP and gRPC on one port.
//!
//! [`serve`] answers one connection, whoever accepted it and whether or not TLS lies below: `POST /v1/logs` with
//! protobuf or JSON over HTTP/1.1 and HTTP/2, and the gRPC method `LogsService/Export`.
//!
//! 1. A client hears of success when its request is safe, and not before.
//! 2. A request has one key, in whichever encoding and compression it comes, and when it is sent again.
//! 3. What a request may take of memory is known before it is taken: its bytes, what they unpack to, what they decode
//!    to, and what is written of that.
//!
//! Each log record becomes a document:
//!
//! | member | what it is |
//! |---|---|
//! | `message` | the body, where it is a string |
//! | members of their own | the body's members, where it is a map, except those whose name (or its part up to a dot) stands in this table |
//! | `body` | those members, as an object; any other body as it is |
//! | `attributes` | object of the record's attributes; dots in keys stay |
//! | `severity_text` | as it comes |
//! | `severity_number` | number; absent when unset |
//! | `level` | `trace`, `debug`, `info`, `warn`, `error` or `fatal`, of the severity number; absent when there is none |
//! | `trace_id`, `span_id` | hexadecimal, lower case; absent when empty or all zeros |
//! | `trace_flags` | number; absent when 0 |
//! | `event_name` | as it comes |
//! | `dropped_attributes_count` | number; absent when 0 |
//! | `observed_timestamp` | RFC 3339 in UTC with nanoseconds; absent when it is the event's time |
//! | `resource` | object of `attributes` and `schema_url` |
//! | `scope` | object of `name`, `version`, `attributes` and `schema_url` |
//!
//! What is empty is absent. Of attributes with the same key the last counts. Values: bytes are base64 strings, doubles
//! that JSON does not know the strings `NaN`, `Infinity` and `-Infinity`, values of no kind `null`. The event's time is
//! `time_unix_nano`, else `observed_time_unix_nano`, else unknown.

mod compression;
mod document;
mod export;
mod grpc;
mod http;
mod json;
mod json_reader;
mod request;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod value;
mod weigh;

pub use document::write_documents;
pub use request::{DecodeError, Encoding, decode, key};
pub use service::serve;
pub use settings::Settings;

pub use crate::http::ConnectionError;
