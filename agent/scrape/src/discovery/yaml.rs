//! Lists of target groups in YAML: a list of maps with `targets` and `labels`, all of whose scalars are text.

use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};

/// Deeper than any list of target groups.
const MAX_DEPTH: usize = 8;

/// What is open: a list, or a map with the key whose value comes next.
enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

/// Reads YAML of which every scalar is taken as text. Anchors and tags have no place in it.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut parser = Parser::new_from_str(text);
    let (mut open, mut root): (Vec<Open>, Option<Value>) = (Vec::new(), None);
    while let Some(next) = parser.next_event() {
        let (event, _) = next.map_err(|error| error.to_string())?;
        let value = match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => {
                return Err(format!("nested deeper than {MAX_DEPTH}"));
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::Scalar(text, ..) => Value::String(text.into_owned()),
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list)) => Value::Array(list),
                Some(Open::Map(map, _)) => Value::Object(map),
                None => return Err("an end without a beginning".to_owned()),
            },
            Event::Alias(_) => return Err("aliases are not read here; write the value out".to_owned()),
            Event::DocumentStart(_) if root.is_some() => return Err("more than one document".to_owned()),
            _ => continue,
        };
        match (open.last_mut(), value) {
            (None, value) => root = Some(value),
            (Some(Open::List(list)), value) => list.push(value),
            (Some(Open::Map(_, key @ None)), Value::String(text)) => *key = Some(text),
            (Some(Open::Map(_, None)), _) => return Err("a key that is no text".to_owned()),
            (Some(Open::Map(map, key)), value) => {
                let key = key.take().unwrap_or_default();
                if map.contains_key(&key) {
                    return Err(format!("the key {key:?} is there twice"));
                }
                map.insert(key, value);
            }
        }
    }
    match root {
        // An empty file has no targets.
        None => Ok(Value::Array(Vec::new())),
        Some(Value::String(text)) if text.is_empty() || text == "~" => Ok(Value::Array(Vec::new())),
        Some(value) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_text() {
        let text = "# c\n- targets: ['a:1', b:2]\n  labels:\n    port: 9100\n    on: yes\n- targets: []\n";
        let wanted = serde_json::json!([
            {"targets": ["a:1", "b:2"], "labels": {"port": "9100", "on": "yes"}},
            {"targets": []}
        ]);
        assert_eq!(read(text).unwrap(), wanted);
        assert_eq!(read("").unwrap(), serde_json::json!([]));
        for text in ["- a: 1\n  a: 2", "a: [", "- &x a\n- *x", "[[[[[[[[[1]]]]]]]]]", "--- 1\n--- 2"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
