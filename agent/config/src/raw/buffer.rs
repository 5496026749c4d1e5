//! Buffers on disk.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use crate::types::Size;

/// Where events wait that a sink has not taken. Every sink that names it has one of its own, with these bounds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Buffer {
    /// What may wait in memory; at least 4MiB.
    #[schemars(extend("default" = "16MiB"))]
    pub memory: Option<Text<Size>>,
    /// What may wait on disk, in files below `data_dir`; at least 32MiB. What the sink has not taken after 5 s is
    /// written there, and survives the agent.
    pub disk: Text<Size>,
    /// What happens when both are full.
    #[schemars(extend("default" = "block"))]
    pub when_full: Option<WhenFull>,
}

/// What happens when a buffer is full.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenFull {
    /// Reading stops until there is room. The only way for now.
    Block,
}
