//! Sources on disk.

use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

use super::{Parser, Text};
use crate::types::{FieldPath, FilePath, Glob, LinePattern, Size};

/// Where events come from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Source {
    KubernetesLogs(KubernetesLogs),
    File(FileSource),
}

/// The logs of the node's containers, as the kubelet lays them out: `NAMESPACE_POD_UID/CONTAINER/N.log`. Rotated files
/// are followed to their end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KubernetesLogs {
    /// The folder of the pods' logs.
    #[schemars(extend("default" = "/var/log/pods"))]
    pub path: Option<Text<FilePath>>,
    /// Namespaces whose logs are not read, as patterns of their names.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub exclude_namespaces: Vec<Text<Glob>>,
    /// Pods whose logs are not read, as patterns of their names.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub exclude_pods: Vec<Text<Glob>>,
    /// Where to begin when the source starts for the first time.
    #[schemars(extend("default" = "beginning"))]
    pub read_from: Option<ReadFrom>,
    /// How long events may wait for others, so that they are handed on together; at most 60s.
    #[schemars(extend("default" = "200ms"))]
    pub linger: Option<Text<Duration>>,
    /// How lines that are not JSON objects become events. A pipeline's own `parse` stage comes first.
    #[schemars(extend("default" = "json"))]
    pub parse: Option<Parser>,
    /// Where an event may say its time itself: a dotted path to a time stamp of RFC 3339 or a Unix time in seconds,
    /// milliseconds, microseconds or nanoseconds. One that is no time, more than 7 days before or more than an hour
    /// behind the time of the line, is ignored and flagged `time_ignored`. Default: the time of the line.
    pub time_field: Option<Text<FieldPath>>,
    /// Joins lines that belong together, such as stack traces, to one event. Without it each line is an event.
    pub multiline: Option<Multiline>,
    /// How many bytes of deleted files may be held open to read their rest. Past that the oldest is let go, and what
    /// was not read of it is counted as lost.
    #[schemars(extend("default" = "1GiB"))]
    pub max_held_bytes: Option<Text<Size>>,
    /// How long a deleted file is held open at the most.
    #[schemars(extend("default" = "1h"))]
    pub max_held_age: Option<Text<Duration>>,
}

/// Files, found by patterns of their paths.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSource {
    /// Patterns of the paths to read, absolute or relative to the configuration file's folder.
    #[schemars(length(min = 1))]
    pub include: Vec<Text<Glob>>,
    /// Patterns of paths that are not read although `include` finds them.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub exclude: Vec<Text<Glob>>,
    /// What a line is.
    #[schemars(extend("default" = "text"))]
    pub format: Option<FileFormat>,
    /// Where to begin when the source starts for the first time.
    #[schemars(extend("default" = "beginning"))]
    pub read_from: Option<ReadFrom>,
    /// How long events may wait for others, so that they are handed on together; at most 60s.
    #[schemars(extend("default" = "200ms"))]
    pub linger: Option<Text<Duration>>,
    /// How lines that are not JSON objects become events. A pipeline's own `parse` stage comes first.
    #[schemars(extend("default" = "json"))]
    pub parse: Option<Parser>,
    /// Where an event may say its time itself: a dotted path to a time stamp of RFC 3339 or a Unix time in seconds,
    /// milliseconds, microseconds or nanoseconds. One that is no time, more than 7 days before or more than an hour
    /// behind the time of the line, is ignored and flagged `time_ignored`. Default: the time of the line.
    pub time_field: Option<Text<FieldPath>>,
    /// Joins lines that belong together, such as stack traces, to one event. Without it each line is an event.
    pub multiline: Option<Multiline>,
    /// How many bytes of deleted files may be held open to read their rest. Past that the oldest is let go, and what
    /// was not read of it is counted as lost.
    #[schemars(extend("default" = "1GiB"))]
    pub max_held_bytes: Option<Text<Size>>,
    /// How long a deleted file is held open at the most.
    #[schemars(extend("default" = "1h"))]
    pub max_held_age: Option<Text<Duration>>,
}

/// How lines of one output of one container, or of one file, are joined to events. Takes either `preset` or `start`.
/// A line that is a JSON object is always an event of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Multiline {
    /// Joins stack traces as these languages print them, and leaves all other lines alone.
    #[schemars(length(min = 1))]
    pub preset: Option<Vec<Preset>>,
    /// A line that this finds begins an event; all others go on with it.
    pub start: Option<Text<LinePattern>>,
    /// An event ends when no line came for so long; at most 60s.
    #[schemars(extend("default" = "1s"))]
    pub timeout: Option<Text<Duration>>,
    /// An event of more lines is cut and flagged `multiline_cut`; what follows is an event of its own.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 500))]
    pub max_lines: Option<u32>,
    /// An event of more bytes is cut in the same way; at most 2MiB.
    #[schemars(extend("default" = "2MiB"))]
    pub max_bytes: Option<Text<Size>>,
}

/// A language whose stack traces are known.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preset {
    /// Exceptions of Java, Kotlin, Scala, with their causes and what was suppressed.
    Java,
    /// Tracebacks, also chained ones, exception groups, syntax errors.
    Python,
    /// Panics, fatal errors, goroutines, data races.
    Go,
    /// Exceptions of C# and F# with those inside them; records of the console logger.
    Dotnet,
}

/// What a line of a file is.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FileFormat {
    /// A container runtime's line: time, stream, part or full, then the event.
    Cri,
    /// A JSON document.
    Json,
    /// An event's text, which may itself be JSON.
    Text,
}

/// Where to begin when a source starts for the first time.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReadFrom {
    /// All files are read whole.
    Beginning,
    /// What the files hold by then is not read; files that appear later are read whole.
    End,
}
