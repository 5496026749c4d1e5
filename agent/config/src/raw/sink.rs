//! Sinks on disk.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Text;
use crate::types::{FilePath, Name, Size};

/// Where events go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Sink {
    File(FileSink),
    Console(ConsoleSink),
    Blackhole(BlackholeSink),
}

/// Appends events to a file, one JSON document a line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSink {
    /// The file to append to.
    pub path: Text<FilePath>,
    /// When to begin a new file. Absent: never.
    pub rotate: Option<Rotation>,
    /// Whether events may be lost when this sink is slow or fails, so that it does not hold the others back.
    #[schemars(extend("default" = false))]
    pub best_effort: Option<bool>,
    /// The name of a buffer, where events wait on disk too. Absent: 16MiB of memory, and what is not delivered when the
    /// agent ends is read again.
    pub buffer: Option<Text<Name>>,
}

/// When a file sink begins a new file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// The file is renamed when it would grow beyond this size; at least 4KiB.
    pub size: Text<Size>,
    /// How many renamed files are kept; the oldest beyond them are removed.
    #[schemars(range(min = 1, max = 1000), extend("default" = 5))]
    pub keep: Option<u16>,
}

/// Prints events to standard output, one JSON document a line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsoleSink {
    /// Whether events may be lost when this sink is slow or fails, so that it does not hold the others back.
    #[schemars(extend("default" = false))]
    pub best_effort: Option<bool>,
    /// The name of a buffer, where events wait on disk too. Absent: 16MiB of memory, and what is not delivered when the
    /// agent ends is read again.
    pub buffer: Option<Text<Name>>,
}

/// Takes the finished documents and forgets them, but for their number and a checksum: for measuring.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlackholeSink {
    /// Whether events may be lost when this sink is slow or fails, so that it does not hold the others back.
    #[schemars(extend("default" = false))]
    pub best_effort: Option<bool>,
    /// The name of a buffer, where events wait on disk too. Absent: 16MiB of memory, and what is not delivered when the
    /// agent ends is read again.
    pub buffer: Option<Text<Name>>,
}
