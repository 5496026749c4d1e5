//! Which events W2 keeps: the rule of plugins/log-sampler as its README states it, written a second time.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

/// W2's sampler drops every debug event and keeps a tenth of the info events, whole traces at a time.
pub fn keeps(event: &Map<String, Value>) -> bool {
    match event.get("level").and_then(Value::as_str) {
        Some("debug") => false,
        Some("info") => {
            let trace_id = event.get("trace_id").and_then(Value::as_str).unwrap_or_default();
            xxh3_64(trace_id.as_bytes()) < u64::MAX / 10
        }
        _ => true,
    }
}
