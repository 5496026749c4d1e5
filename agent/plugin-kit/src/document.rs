//! A finished document without what the agent adds to it: the event's own members, as fixtures have them.

use serde_json::{Map, Value};
use weir_event::stream::ENVELOPE_NAMES;

/// Where the envelope keeps an event's own members of the envelope's names.
const MOVED: &str = "event";

/// The event's own members, and the offset of its row.
pub(crate) fn own(document: &[u8]) -> Result<(Value, u64), serde_json::Error> {
    let mut members: Map<String, Value> = serde_json::from_slice(document)?;
    let offset = members.get("log").and_then(|log| log.get("offset")).and_then(Value::as_u64);
    let moved = members.shift_remove(MOVED);
    for name in ENVELOPE_NAMES {
        members.shift_remove(name);
    }
    if let Some(Value::Object(moved)) = moved {
        members.extend(moved);
    }
    Ok((Value::Object(members), offset.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_envelope_goes_and_what_it_moved_comes_back() {
        let document =
            br#"{"@timestamp":"t","cluster":"c","log":{"offset":7},"a":1,"event":{"log":"mine","event":2}}"#;
        let (own, offset) = own(document).unwrap();
        assert_eq!((own, offset), (json!({"a": 1, "log": "mine", "event": 2}), 7));
    }
}
