//! The manifest's shape: JSON in the artefact, one struct here.

use std::fmt;
use std::time::Duration;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quantity::{duration, size};

const ANY: &str = "any";

/// What a plugin says of itself. Its JSON has exactly these members; unknown ones are errors.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Lower case letters, digits and dashes.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The WIT worlds that it implements.
    pub worlds: Vec<String>,
    /// The dotted paths that it may be shown.
    pub reads: Paths,
    /// The dotted paths that it may change.
    pub writes: Paths,
    /// The stream attributes that it may be shown; absent = those that its plan names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<String>>,
    /// Abilities beyond computing on what it is handed, each of which the operator must grant.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Whether letting an event pass unhandled would do harm (redaction): then `on_error: pass` is refused.
    #[serde(default)]
    pub fail_closed: bool,
    /// JSON Schema of its `config:`.
    #[serde(default = "anything")]
    pub config_schema: serde_json::Value,
    /// What it needs; absent members = the agent's defaults.
    #[serde(default)]
    pub limits: Limits,
}

/// The limits that a plugin asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Linear memory in bytes, written `32MiB`.
    #[serde(default, with = "size", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// CPU time of one call, written `100ms`.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

/// A list of dotted paths, or `any`: what the plan names, since the plugin takes its fields from its
/// configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paths {
    /// Whatever the plan names.
    Any,
    /// These and what lies below them.
    Listed(Vec<String>),
}

// === impl Paths ===

impl Paths {
    /// Whether `path` is allowed.
    pub fn allow(&self, path: &str) -> bool {
        match self {
            Paths::Any => true,
            Paths::Listed(paths) => paths.iter().any(|granted| crate::path::covers(granted, path)),
        }
    }

    /// The listed paths; none for [`Paths::Any`].
    pub fn listed(&self) -> &[String] {
        match self {
            Paths::Any => &[],
            Paths::Listed(paths) => paths,
        }
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Paths::Any => serializer.serialize_str(ANY),
            Paths::Listed(paths) => paths.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Paths, D::Error> {
        deserializer.deserialize_any(PathsVisitor)
    }
}

struct PathsVisitor;

impl<'de> Visitor<'de> for PathsVisitor {
    type Value = Paths;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{ANY}\" or a list of dotted paths")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Paths, E> {
        if text != ANY {
            return Err(E::invalid_value(de::Unexpected::Str(text), &self));
        }
        Ok(Paths::Any)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Paths, A::Error> {
        let mut paths = Vec::new();
        while let Some(path) = items.next_element::<String>()? {
            paths.push(path);
        }
        Ok(Paths::Listed(paths))
    }
}

/// The schema that accepts everything.
fn anything() -> serde_json::Value {
    serde_json::Value::Bool(true)
}
