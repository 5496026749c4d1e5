//! Sources as they are written.

use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

use super::{BasicAuth, FileReference, Parser, RemoteWriteSource, ScrapeSource, SecretReference, Text};
use crate::types::{
    Address, FieldPath, FilePath, Glob, JournalField, JournalWord, LinePattern, Size, UnitName,
};

/// Where events come from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Source {
    KubernetesLogs(KubernetesLogs),
    File(FileSource),
    Forward(ForwardSource),
    Otlp(OtlpSource),
    Journald(JournaldSource),
    Scrape(Box<ScrapeSource>),
    RemoteWrite(RemoteWriteSource),
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

/// What Fluent Bit, fluentd and loggers of many languages send: Fluent Forward, version 1. Its pipelines need
/// `durability: always`: a client that asks for it (`require_ack_response`) hears that a chunk was taken when it is safe.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForwardSource {
    /// Where clients connect to.
    pub listen: Text<Address>,
    /// Certificates. Absent: no TLS.
    pub tls: Option<ListenTls>,
    /// What clients must know. Absent: nothing.
    pub shared_key: Option<SecretReference>,
    /// Who may connect; needs `shared_key`. Absent: whoever knows that.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub users: Vec<BasicAuth>,
    /// Size of a message, as it comes and unpacked; from 64KiB to 256MiB. The source may use four times as much memory.
    /// fluentd's `chunk_limit_size` must be smaller.
    #[schemars(extend("default" = "8MiB"))]
    pub max_message: Option<Text<Size>>,
    /// Connections at once; more are closed as soon as they come.
    #[schemars(range(min = 1, max = 65535), extend("default" = 1024))]
    pub max_connections: Option<u32>,
    /// Bytes a second that are taken from all connections together; who sends more waits. Default: no bound.
    pub max_rate: Option<Text<Size>>,
    /// A connection on which nothing comes for so long is closed; from 1s to 24h.
    #[schemars(extend("default" = "5m"))]
    pub idle_timeout: Option<Text<Duration>>,
    /// Where an event may say its time itself: a dotted path to a time stamp of RFC 3339 or a Unix time in seconds,
    /// milliseconds, microseconds or nanoseconds. One that is no time, more than 7 days before or more than an hour
    /// behind the time that it was sent with, is ignored and flagged `time_ignored`. Default: the time that it was sent
    /// with.
    pub time_field: Option<Text<FieldPath>>,
}

/// What OpenTelemetry SDKs and collectors send: logs by OTLP, over HTTP (`/v1/logs`, protobuf or JSON) and over gRPC, on
/// one port. Its pipelines need `durability: always`: an answer of success says that the events are safe.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtlpSource {
    /// Where clients connect to.
    pub listen: Text<Address>,
    /// Certificates. Absent: no TLS.
    pub tls: Option<ListenTls>,
    /// The token that clients must send: `Authorization: Bearer …`. Absent: none.
    pub bearer: Option<SecretReference>,
    /// Whether namespace, pod, container and pod uid in the resource's attributes (`k8s.namespace.name` and so on) become
    /// the event's `kubernetes`. Whoever may send can then write in the name of any pod.
    #[schemars(extend("default" = false))]
    pub trust_kubernetes: Option<bool>,
    /// Size of a request, as it comes and unpacked; from 64KiB to 256MiB. The source may use four times as much memory.
    #[schemars(extend("default" = "8MiB"))]
    pub max_message: Option<Text<Size>>,
    /// Connections at once; more are closed as soon as they come.
    #[schemars(range(min = 1, max = 65535), extend("default" = 1024))]
    pub max_connections: Option<u32>,
    /// Bytes a second that are taken from all connections together; who sends more waits. Default: no bound.
    pub max_rate: Option<Text<Size>>,
    /// A connection on which nothing comes for so long is closed; from 1s to 24h.
    #[schemars(extend("default" = "5m"))]
    pub idle_timeout: Option<Text<Duration>>,
    /// Where an event may say its time itself: a dotted path to a time stamp of RFC 3339 or a Unix time in seconds,
    /// milliseconds, microseconds or nanoseconds. One that is no time, more than 7 days before or more than an hour
    /// behind the time that it was sent with, is ignored and flagged `time_ignored`. Default: the time that it was sent
    /// with.
    pub time_field: Option<Text<FieldPath>>,
}

/// How a source is known to its clients, and they to it. All files are PEM, read when the configuration is loaded.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenTls {
    /// The source's certificate, with those between it and its authority.
    pub cert: FileReference,
    /// The key of `cert`.
    pub key: FileReference,
    /// Clients must have a certificate that one of these signed. Absent: they need none.
    pub client_ca: Option<FileReference>,
}

/// The node's journal: the kubelet, the container runtime, the kernel. Read through `journalctl`, which must be in the
/// agent's `PATH`; the checkpoint is the journal's cursor. An entry is read if it is of one of the `units`, or has one of
/// the `identifiers`, or is the kernel's where `kernel` says so; where none of these is given, all are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JournaldSource {
    /// Units of systemd; `kubelet` stands for `kubelet.service`. No patterns.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub units: Vec<Text<UnitName>>,
    /// Syslog identifiers, such as `sshd`.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub identifiers: Vec<Text<JournalWord>>,
    /// Whether the kernel's messages are read.
    #[schemars(extend("default" = false))]
    pub kernel: Option<bool>,
    /// Entries that are less urgent are not read. Default: all are.
    pub priority: Option<JournalPriority>,
    /// The folder of the journal's files. Default: `/var/log/journal` and `/run/log/journal`.
    pub directory: Option<Text<FilePath>>,
    /// The journal's namespace. Default: that of the system.
    pub namespace: Option<Text<JournalWord>>,
    /// Which fields come into the document.
    #[schemars(extend("default" = "known"))]
    pub fields: Option<JournalFields>,
    /// Further fields, as the journal writes them, such as `_SYSTEMD_CGROUP`; they come under `journal`.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub extra_fields: Vec<Text<JournalField>>,
    /// Where to begin when the source starts for the first time.
    #[schemars(extend("default" = "beginning"))]
    pub read_from: Option<JournalReadFrom>,
    /// How long events may wait for others, so that they are handed on together; at most 60s.
    #[schemars(extend("default" = "200ms"))]
    pub linger: Option<Text<Duration>>,
}

/// How urgent an entry is (RFC 5424 section 6.2.1), the most urgent first.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JournalPriority {
    /// 0: the system is unusable.
    Emerg,
    /// 1: action must be taken at once.
    Alert,
    /// 2: critical.
    Crit,
    /// 3: an error.
    Err,
    /// 4: a warning.
    Warning,
    /// 5: normal, but significant.
    Notice,
    /// 6: informational.
    Info,
    /// 7: for debugging.
    Debug,
}

/// Which fields of an entry come into its document.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JournalFields {
    /// Message, priority, unit, identifier, process, host and boot.
    Known,
    /// All; the others under `journal`.
    All,
}

/// Where to begin when the source starts for the first time.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JournalReadFrom {
    /// With the oldest entry that the journal has.
    Beginning,
    /// With what is written from then on.
    End,
}
