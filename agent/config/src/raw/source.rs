//! Sources on disk.

use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

use super::{Parser, Text};
use crate::types::{FieldPath, FilePath, Glob};

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
