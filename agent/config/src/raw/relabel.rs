//! Rules of relabelling on disk.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use crate::types::{AnchoredPattern, LabelName, PlainText, RelabelAction};

/// A rule of relabelling, as Prometheus has it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelabelRule {
    /// Labels whose values are joined.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub source_labels: Vec<Text<LabelName>>,
    /// What stands between them.
    #[schemars(extend("default" = ";"))]
    pub separator: Option<Text<PlainText>>,
    /// What the joined value must match as a whole.
    #[schemars(extend("default" = "(.*)"))]
    pub regex: Option<Text<AnchoredPattern>>,
    /// The number of different values that `hashmod` gives.
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_u64), extend("default" = 0))]
    pub modulus: Option<u64>,
    /// The label that is set; `replace`, `hashmod`, `lowercase`, `uppercase`, `keepequal` and `dropequal` need one.
    pub target_label: Option<Text<PlainText>>,
    /// What it is set to; `$1` and `${name}` are groups of `regex`.
    #[schemars(extend("default" = "$1"))]
    pub replacement: Option<Text<PlainText>>,
    /// What is done.
    #[schemars(extend("default" = "replace"))]
    pub action: Option<Text<RelabelAction>>,
}
