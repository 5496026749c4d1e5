//! What holds for every document: valid JSON, on one line, whose envelope nobody forged.

use serde_json::Value;
use weir_event::batch::Batch;
use weir_event::edit::Compiled;
use weir_event::sheet::{Encoded, Sheet};
use weir_event::stream::ENVELOPE_NAMES;

/// The sheet's documents of one fate, checked, and how many there are.
pub fn check_documents(sheet: &mut Sheet, compiled: &Compiled, batch: &Batch, which: Encoded) -> usize {
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    sheet.encode(compiled, batch, which, &mut out, |_, end| ends.push(end));
    let text = std::str::from_utf8(&out).expect("UTF-8");
    assert_eq!((text.lines().count(), text.matches('\n').count()), (ends.len(), ends.len()));
    for (document, end) in text.lines().zip(&ends) {
        assert_eq!(out[*end], b'\n');
        assert!(is_json(document), "{document}");
        let envelope = r#"{"@timestamp":"1970-01-01T00:00:00.000000000Z","cluster":"truth","kubernetes":{"pod":"truth"},"log":{"offset":"#;
        assert!(document.starts_with(envelope), "{document}");
        check_envelope(document);
    }
    ends.len()
}

pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

pub fn is_beyond(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'))
}

/// serde_json has the last of several members, so a forged one would show.
fn check_envelope(document: &str) {
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(document) else { return };
    for (key, value) in &members {
        let Some(name) = ENVELOPE_NAMES.iter().find(|name| key == *name || is_beyond(key, name)) else {
            continue;
        };
        assert_eq!(key, name, "{document}");
        match *name {
            "cluster" => assert_eq!(value, "truth"),
            "kubernetes" => assert_eq!(value, &serde_json::json!({"pod": "truth"})),
            "log" => assert!(value.get("offset").is_some_and(Value::is_u64), "{document}"),
            "@timestamp" => {
                assert!(value.as_str().is_some_and(|time| time.starts_with("1970-")), "{document}")
            }
            "event" => assert!(value.is_object(), "{document}"),
            _ => panic!("{name} is forged: {document}"),
        }
    }
}
