//! Sinks on disk.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{RemoteWriteSink, S3Sink, Text};
use crate::types::{Endpoint, FilePath, IndexName, IndexTemplate, Name, Size, UserName, VariableName};

/// Where events go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Sink {
    File(FileSink),
    Console(ConsoleSink),
    Blackhole(BlackholeSink),
    Opensearch(Box<OpenSearchSink>),
    S3(Box<S3Sink>),
    RemoteWrite(Box<RemoteWriteSink>),
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

/// Writes events into OpenSearch, each once: the id is made of the event's place and bytes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSearchSink {
    /// Where OpenSearch answers; asked in turn, one that fails is left out for a while.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Text<Endpoint>>,
    /// The index of an event: its name may have `{namespace}`, `{pod}`, `{container}`, `{cluster}`, `{node}`, and of
    /// the event's own time in UTC `%Y`, `%m`, `%d`, `%H`.
    pub index: Text<IndexTemplate>,
    /// How many different indices events of one hour may go to. Events of further ones share the index that has the
    /// text before the first placeholder and `-overflow` for a name.
    #[schemars(range(min = 1, max = 100000), extend("default" = 1000))]
    pub max_indices_per_hour: Option<u32>,
    /// How long events wait for others to share a request with; at most 60s.
    #[schemars(extend("default" = "1s"))]
    pub max_wait: Option<Text<Duration>>,
    /// Size of a request before it is compressed; from 64KiB to 100MiB.
    #[schemars(extend("default" = "5MiB"))]
    pub max_bytes: Option<Text<Size>>,
    /// Events of a request.
    #[schemars(range(min = 1, max = 100000), extend("default" = 10000))]
    pub max_events: Option<u32>,
    /// Requests under way at once, at the most. Fewer while OpenSearch says that it is busy.
    #[schemars(range(min = 1, max = 64), extend("default" = 4))]
    pub concurrency: Option<u16>,
    /// How requests are compressed.
    #[schemars(extend("default" = "gzip"))]
    pub compression: Option<OpenSearchCompression>,
    /// How long an answer may take; from 1s to 10m.
    #[schemars(extend("default" = "60s"))]
    pub timeout: Option<Text<Duration>>,
    /// How OpenSearch is known, and the agent.
    #[schemars(extend("default" = {}))]
    pub tls: Option<OpenSearchTls>,
    /// Who the agent is. Absent: nobody, or who its certificate says. What is in a file is read again when it changes.
    pub auth: Option<OpenSearchAuth>,
    /// What an event's members may be.
    #[schemars(extend("default" = {}))]
    pub fields: Option<OpenSearchFields>,
    /// Where events go that OpenSearch will never take, with the reason. Default: the file
    /// `dead-letters/sinks/NAME.ndjson` in `data_dir`.
    pub dead_letters: Option<OpenSearchDeadLetters>,
    /// Whether events may be lost when this sink is slow or fails, so that it does not hold the others back.
    #[schemars(extend("default" = false))]
    pub best_effort: Option<bool>,
    /// The name of a buffer, where events wait on disk too. Absent: 16MiB of memory, and what is not delivered when the
    /// agent ends is read again.
    pub buffer: Option<Text<Name>>,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OpenSearchCompression {
    /// At the fastest level.
    Gzip,
    /// Not at all.
    None,
}

/// How OpenSearch is known, and the agent. All files are PEM, and read again when they change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSearchTls {
    /// Certificates that are trusted beside the system's.
    pub ca: Option<FileReference>,
    /// The agent's own certificate, with those between it and its authority.
    pub cert: Option<FileReference>,
    /// The key of `cert`.
    pub key: Option<FileReference>,
    /// Takes any certificate: for trying things out only.
    #[schemars(extend("default" = false))]
    pub insecure_skip_verify: Option<bool>,
}

/// A file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileReference {
    /// Its path.
    pub file: Text<FilePath>,
}

/// Who the agent is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OpenSearchAuth {
    /// By name and password.
    Basic(BasicAuth),
    /// By a token.
    Bearer(SecretReference),
}

/// A name and a password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BasicAuth {
    /// The name.
    pub username: Text<UserName>,
    /// Its password.
    pub password: SecretReference,
}

/// Where a secret is: in a file or in an environment variable.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("writeOnly" = true))]
pub(crate) enum SecretReference {
    /// A file, without newlines at its end.
    File(Text<FilePath>),
    /// An environment variable.
    Env(Text<VariableName>),
}

/// What an event's members may be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSearchFields {
    /// Objects within objects, the event itself being the first. What lies deeper becomes text.
    #[schemars(range(min = 3, max = 100), extend("default" = 20))]
    pub max_depth: Option<u32>,
    /// Different members of one event, objects not counted. An event with more is a dead letter.
    #[schemars(range(min = 10, max = 100000), extend("default" = 1000))]
    pub max_fields: Option<u32>,
    /// Whether dots in names become underscores. OpenSearch reads `a.b` as `b` within `a`.
    #[schemars(extend("default" = false))]
    pub dedot: Option<bool>,
}

/// Where events go that OpenSearch will never take: a file of mode 0600, or an index.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OpenSearchDeadLetters {
    /// A file to append to.
    File(Text<FilePath>),
    /// An index. What it does not take goes to the file `dead-letters/sinks/NAME.ndjson` in `data_dir`.
    Index(Text<IndexName>),
}
