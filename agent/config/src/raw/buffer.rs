//! Buffers on disk.

use std::time::Duration;

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
    /// What may wait on disk, in files below `data_dir`; at least 32MiB. What the sink has not taken within 5 s
    /// lies there, and survives the agent.
    pub disk: Text<Size>,
    /// What happens when both are full.
    #[schemars(extend("default" = "block"))]
    pub when_full: Option<WhenFull>,
    /// How long events may wait, at least 1m. What waited for longer is dropped, and counted as `dropped` (`too_old`).
    /// Absent: as long as it takes.
    pub max_age: Option<Text<Duration>>,
    /// Which events leave first while others lie on disk. Documents of one stream stay in their order with
    /// `oldest_first` only, which a sink of the kind `file` or `console` needs.
    #[schemars(extend("default" = "oldest_first"))]
    pub order: Option<Order>,
    /// How much comes back from disk in a second at the most, in bytes of documents; at least 64KiB. Absent: as much as
    /// the sink takes.
    pub replay_rate: Option<Text<Size>>,
}

/// What happens when a buffer is full.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenFull {
    /// Reading stops until there is room.
    Block,
    /// The oldest events are dropped, and counted as `dropped` (`buffer_full`). An eighth of `disk` is kept free for what
    /// comes.
    DropOldest,
}

/// Which events leave a buffer first.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// What came first.
    OldestFirst,
    /// What has just come. While there is both, a quarter of what leaves is from the disk, oldest first.
    NewestFirst,
}
