//! Pipelines on disk.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::{Cardinality, LogToMetric, RelabelRule, Text};
use crate::types::{AnchoredPattern, Name, Origin, Pattern};

/// A way from sources through stages to sinks.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pipeline {
    /// Names of sources, all of events or all of samples, and of pipelines whose metrics are taken.
    #[schemars(length(min = 1))]
    pub from: Vec<Text<Origin>>,
    /// What is done with the events or samples, in this order: names of plugins, which work on events, and native stages.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub stages: Vec<Stage>,
    /// Names of sinks. Each of them gets every event, or sample, that the stages keep.
    #[schemars(length(min = 1))]
    pub to: Vec<Text<Name>>,
    /// This pipeline's share of the workers when there is not enough for all.
    #[schemars(range(min = 1, max = 100), extend("default" = 1))]
    pub weight: Option<u8>,
    /// When events are written to the sinks' disks.
    #[schemars(extend("default" = "on_pressure"))]
    pub durability: Option<Durability>,
}

/// When events are written to disk.
#[derive(Clone, Copy, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Durability {
    /// When a sink has not taken them within 5 s, or memory fills: till then their file is the first copy.
    OnPressure,
    /// At once, before their source forgets them, unless a sink was faster. Every sink needs a `buffer`, or
    /// `best_effort: true`.
    Always,
}

/// One step of a pipeline.
#[derive(Debug)]
pub(crate) enum Stage {
    Plugin(Text<Name>),
    Native(NativeStage),
}

/// A stage that is built into the agent: a map with one key.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NativeStage {
    /// Of events: how lines that are not JSON objects become them; only as the first stage, in place of the source's `parse`.
    Parse(Parser),
    /// Of events: makes metrics of them.
    LogToMetric(LogToMetric),
    /// Of samples: changes their labels, and drops some, by rules in their order.
    Relabel(#[schemars(length(min = 1), description = "The rules.")] Vec<RelabelRule>),
    /// Of samples: drops metrics whose name one of these matches.
    DropMetrics(#[schemars(length(min = 1), description = "Names of metrics.")] Vec<Text<AnchoredPattern>>),
    /// Of samples: drops metrics whose name none of these matches.
    KeepMetrics(#[schemars(length(min = 1), description = "Names of metrics.")] Vec<Text<AnchoredPattern>>),
    /// Of samples: removes labels whose name one of these matches.
    DropLabels(#[schemars(length(min = 1), description = "Names of labels.")] Vec<Text<AnchoredPattern>>),
    /// Of samples: watches how many series there are.
    Cardinality(Cardinality),
    /// Of events: the logic of the benchmark's plugin, built in.
    #[cfg(feature = "bench-native")]
    BenchW1(NoKeys),
}

/// A stage without settings.
#[cfg(feature = "bench-native")]
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoKeys {}

/// How a line that is not a JSON object becomes an event. A line that is one is the event itself, except with `none`.
/// The text of other lines stands under `message` whatever the parser; the members that it adds are strings.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Parser {
    /// As `klog` or `logfmt` where the text is surely one of them.
    Auto,
    /// Adds nothing.
    Json,
    /// Adds the pairs `key=value`.
    Logfmt,
    /// Kubernetes' own log format. Adds `level`, `thread`, `source` and, of structured records, `msg` and the pairs.
    Klog,
    /// Adds nothing, and takes JSON objects for text too.
    None,
    /// Adds the named groups of a regular expression where it matches.
    Regex(Text<Pattern>),
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stage, D::Error> {
        deserializer.deserialize_any(StageVisitor)
    }
}

struct StageVisitor;

impl<'de> Visitor<'de> for StageVisitor {
    type Value = Stage;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a plugin's name or a native stage")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Stage, E> {
        Text::deserialize(de::value::StrDeserializer::new(name)).map(Stage::Plugin)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Stage, A::Error> {
        NativeStage::deserialize(MapAccessDeserializer::new(map)).map(Stage::Native)
    }
}

impl JsonSchema for Stage {
    fn schema_name() -> Cow<'static, str> {
        "Stage".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let plugin = generator.subschema_for::<Text<Name>>();
        let native = generator.subschema_for::<NativeStage>();
        json_schema!({
            "description": "A plugin's name, or a native stage: a map with one key.",
            "oneOf": [plugin, native],
        })
    }
}
