//! The templates of the indices, as code: what is there, what should be, and how to make it so.
//!
//! 1. What should be is in `configs/opensearch`, within the binary; a sink adds the names of its indices.
//! 2. Something is there if everything that should be is: what OpenSearch or an operator adds is left alone.

use bytes::Bytes;
use opensearch::http::Method;
use serde_json::{Value, json};

use crate::bulk::shortened;
use crate::client::{Client, ClientError};
use crate::route::{IndexRoute, clean};
use crate::settings::Settings;

const DOCUMENT: &str = include_str!("../../../configs/opensearch/document.json");
const INDEX: &str = include_str!("../../../configs/opensearch/index.json");
const DEAD_LETTERS: &str = include_str!("../../../configs/opensearch/dead-letters.json");

/// The name by which the index templates refer to the document's.
const DOCUMENT_NAME: &str = "weir-document";

/// Which indices a sink writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSettings {
    /// The sink's name.
    pub sink: String,
    /// Patterns of the names of its indices.
    pub patterns: Vec<String>,
    /// The index of its dead letters.
    pub dead_letters: Option<String>,
}

/// One template.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where it is, such as `_index_template/weir-search`.
    pub path: String,
    /// What it should be.
    pub wanted: Value,
    /// How it is.
    pub state: State,
}

/// How a template is, against how it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not there.
    Missing,
    /// There, and something is different.
    Different,
    /// As it should be.
    Same,
}

/// Why templates could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// OpenSearch could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It said no.
    #[error("{path}: HTTP {status}: {said}")]
    Refused {
        /// What was asked for.
        path: String,
        /// The status of the answer.
        status: u16,
        /// The beginning of the answer.
        said: String,
    },
    /// A template of this build is no JSON.
    #[error("the template {0} of this build is broken")]
    Broken(&'static str),
}

// === impl TemplateSettings ===

impl TemplateSettings {
    /// Those of a sink.
    pub fn of(sink: &str, settings: &Settings) -> TemplateSettings {
        // The pattern is of the names as they become, so its letters are small too.
        let pattern = settings.index.pattern();
        let (text, star) = match pattern.strip_suffix('*') {
            Some(text) => (text, "*"),
            None => (pattern.as_str(), ""),
        };
        let text = if text.is_empty() { String::new() } else { clean(text) };
        let route = IndexRoute::new(settings.index.clone(), 0);
        let mut patterns = vec![format!("{text}{star}")];
        if !(star == "*" && route.overflow().starts_with(text.as_str())) {
            patterns.push(route.overflow().to_string());
        }
        let dead_letters = settings.dead_letters.index().map(clean);
        TemplateSettings { sink: sink.to_owned(), patterns, dead_letters }
    }
}

fn wanted(settings: &TemplateSettings) -> Result<Vec<(String, Value)>, ApplyError> {
    let parse = |name, text| serde_json::from_str::<Value>(text).map_err(|_| ApplyError::Broken(name));
    let with_patterns = |mut template: Value, patterns: Value| {
        if let Some(members) = template.as_object_mut() {
            members.insert("index_patterns".to_owned(), patterns);
        }
        template
    };
    let mut all = vec![(format!("_component_template/{DOCUMENT_NAME}"), parse("document.json", DOCUMENT)?)];
    let sink = clean(&settings.sink);
    let index = with_patterns(parse("index.json", INDEX)?, json!(settings.patterns));
    all.push((format!("_index_template/weir-{sink}"), index));
    if let Some(name) = &settings.dead_letters {
        let letters = with_patterns(parse("dead-letters.json", DEAD_LETTERS)?, json!([name]));
        all.push((format!("_index_template/weir-{sink}-dead-letters"), letters));
    }
    Ok(all)
}

/// The templates of a sink, and how each of them is.
pub async fn changes(client: &Client, settings: &TemplateSettings) -> Result<Vec<Change>, ApplyError> {
    let mut changes = Vec::new();
    for (path, wanted) in wanted(settings)? {
        let (status, body) = client.ask(Method::Get, &path, None).await?;
        let state = match status {
            404 => State::Missing,
            200 => {
                let there: Value = serde_json::from_slice(&body).unwrap_or_default();
                let list = there.get("component_templates").or_else(|| there.get("index_templates"));
                let first = list.and_then(|list| list.get(0));
                let body = first.and_then(|first| {
                    first.get("component_template").or_else(|| first.get("index_template"))
                });
                match body {
                    Some(body) if holds(body, &wanted) => State::Same,
                    Some(_) => State::Different,
                    None => State::Missing,
                }
            }
            _ => return Err(refused(path, status, &body)),
        };
        changes.push(Change { path, wanted, state });
    }
    Ok(changes)
}

/// Makes the templates what they should be; those that are so already are left alone.
pub async fn apply(client: &Client, changes: &[Change]) -> Result<(), ApplyError> {
    for change in changes.iter().filter(|change| change.state != State::Same) {
        let body = Bytes::from(change.wanted.to_string());
        let (status, said) = client.ask(Method::Put, &change.path, Some(body)).await?;
        if !(200..300).contains(&status) {
            return Err(refused(change.path.clone(), status, &said));
        }
    }
    Ok(())
}

fn refused(path: String, status: u16, body: &[u8]) -> ApplyError {
    let said = String::from_utf8_lossy(body);
    ApplyError::Refused { path, status, said: shortened(&said).to_owned() }
}

/// Whether everything wanted is there. OpenSearch gives numbers and truth values of settings back as text.
fn holds(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            let found = there.get(name).is_some_and(|there| holds(there, wanted));
            // `type: object` is the default of a mapping, and left out of the answer.
            found || (name == "type" && wanted == "object" && !there.contains_key(name))
        }),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len()
                && there.iter().zip(wanted).all(|(there, wanted)| holds(there, wanted))
        }
        (there, wanted) => as_text(there) == as_text(wanted),
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair::{ALL_AS_TEXT, TEXT_SUFFIX};

    fn settings() -> TemplateSettings {
        TemplateSettings {
            sink: "search".into(),
            patterns: vec!["logs-app-*".into()],
            dead_letters: Some("dead".into()),
        }
    }

    #[test]
    fn every_template_is_json_and_has_its_patterns() {
        let all = wanted(&settings()).unwrap();
        let paths: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "_component_template/weir-document",
                "_index_template/weir-search",
                "_index_template/weir-search-dead-letters"
            ]
        );
        assert_eq!(all[1].1["index_patterns"], json!(["logs-app-*"]));
        assert_eq!(all[1].1["composed_of"], json!([DOCUMENT_NAME]));
        assert_eq!(all[2].1["index_patterns"], json!(["dead"]));
    }

    #[test]
    fn the_document_template_knows_what_a_repair_makes() {
        let document = &wanted(&settings()).unwrap()[0].1["template"]["mappings"];
        assert!(document["properties"].get(ALL_AS_TEXT).is_some());
        assert_eq!(document["dynamic_templates"][0]["repaired"]["match"], format!("*{TEXT_SUFFIX}"));
        for name in weir_event::stream::ENVELOPE_NAMES {
            assert!(document["properties"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_others_add_is_no_difference() {
        let wanted = json!({"a": {"b": 1, "type": "object"}, "c": ["x"]});
        assert!(holds(&json!({"a": {"b": "1", "z": 2}, "c": ["x"], "d": 1}), &wanted));
        assert!(!holds(&json!({"a": {"b": "2"}, "c": ["x"]}), &wanted));
        assert!(!holds(&json!({"a": {"b": "1"}, "c": ["x", "y"]}), &wanted));
        assert!(!holds(&json!({"a": {"b": "1", "type": "nested"}, "c": ["x"]}), &wanted));
    }
}
