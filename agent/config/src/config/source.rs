//! Sources, checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{RemoteWriteSource, ScrapeSource, Secret};
use crate::types::{Glob, LinePattern, Pattern, Size};

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How lines that are not JSON objects become events, where the pipeline does not say.
    pub parser: Parser,
    /// Where an event may say its time itself, as a dotted path.
    pub time_field: Option<String>,
    /// What kind of source it is.
    pub kind: SourceKind,
}

/// How files are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    /// Where to begin when the source starts for the first time.
    pub read_from: ReadFrom,
    /// How long events may wait for others, so that they are handed on together.
    pub linger: Duration,
    /// How lines are joined; `None` for one event a line.
    pub multiline: Option<Multiline>,
    /// How many bytes of deleted files may be held open.
    pub max_held_bytes: Size,
    /// How long a deleted file may be held open.
    pub max_held_age: Duration,
}

/// How lines are joined to events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiline {
    /// Which lines belong together.
    pub joining: Joining,
    /// An event ends when no line came for so long.
    pub timeout: Duration,
    /// An event is cut at so many lines,
    pub max_lines: usize,
    /// and at so many bytes.
    pub max_bytes: Size,
}

/// Which lines belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Stack traces of these languages; at least one.
    Presets(Vec<Preset>),
    /// A line that this finds begins an event.
    Start(LinePattern),
}

/// A language whose stack traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Java and others on its machine.
    Java,
    /// Python.
    Python,
    /// Go.
    Go,
    /// C# and others on its machine.
    Dotnet,
}

/// The kinds of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The logs of the node's containers.
    KubernetesLogs(KubernetesLogs),
    /// Files, found by patterns.
    File(FileSource),
    /// What Fluent Bit and its like send.
    Forward(ForwardSource),
    /// What OpenTelemetry SDKs and collectors send.
    Otlp(OtlpSource),
    /// The node's journal.
    Journald(JournaldSource),
    /// Targets whose metrics are read.
    Scrape(ScrapeSource),
    /// What Prometheus and its like push.
    RemoteWrite(RemoteWriteSource),
}

/// The node's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournaldSource {
    /// Units whose entries are read.
    pub units: Vec<String>,
    /// Syslog identifiers whose entries are read.
    pub identifiers: Vec<String>,
    /// Whether the kernel's messages are read.
    pub kernel: bool,
    /// Entries of a greater number (RFC 5424 section 6.2.1) are not read.
    pub priority: Option<u8>,
    /// The folder of the journal's files; `None` for the system's.
    pub directory: Option<PathBuf>,
    /// The journal's namespace; `None` for that of the system.
    pub namespace: Option<String>,
    /// Whether all fields come into the document.
    pub all_fields: bool,
    /// Further fields that do.
    pub extra_fields: Vec<String>,
    /// Where to begin when the source starts for the first time.
    pub read_from: ReadFrom,
    /// How long events may wait for others, so that they are handed on together.
    pub linger: Duration,
}

/// How clients are listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where they connect to.
    pub listen: SocketAddr,
    /// By what certificates; `None` without TLS.
    pub tls: Option<ListenTls>,
    /// Bytes of a message, as it comes and unpacked.
    pub max_message: Size,
    /// Connections at once.
    pub max_connections: u32,
    /// Bytes a second of all connections together.
    pub max_rate: Option<Size>,
    /// A connection on which nothing comes for so long is closed.
    pub idle_timeout: Duration,
}

impl Listening {
    /// The memory that messages may take until they are in batches: those that are read, unpacked and waiting.
    pub fn memory(&self) -> Size {
        Size::of_bytes(self.max_message.bytes().saturating_mul(4))
    }
}

/// Files in PEM by which a source and its clients know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// The source's certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities of clients; `None` where these need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// What Fluent Bit and its like send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardSource {
    /// How they are listened to.
    pub listening: Listening,
    /// What they must know.
    pub shared_key: Option<Secret>,
    /// Who they may be; whoever knows the key where there is none.
    pub users: BTreeMap<String, Secret>,
}

/// What OpenTelemetry SDKs and collectors send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSource {
    /// How they are listened to.
    pub listening: Listening,
    /// The token that they must send.
    pub bearer: Option<Secret>,
    /// Whether what they say of pods is believed.
    pub trust_kubernetes: bool,
}

impl Source {
    /// How clients are listened to, where events are pushed.
    pub fn listening(&self) -> Option<&Listening> {
        match &self.kind {
            SourceKind::KubernetesLogs(_)
            | SourceKind::File(_)
            | SourceKind::Journald(_)
            | SourceKind::Scrape(_) => None,
            SourceKind::Forward(source) => Some(&source.listening),
            SourceKind::Otlp(source) => Some(&source.listening),
            SourceKind::RemoteWrite(source) => Some(&source.listening),
        }
    }
}

/// The logs of the node's containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesLogs {
    /// The folder of the pods' logs.
    pub path: PathBuf,
    /// Patterns of the names of namespaces whose logs are not read.
    pub exclude_namespaces: Vec<Glob>,
    /// Patterns of the names of pods whose logs are not read.
    pub exclude_pods: Vec<Glob>,
    /// How the files are followed.
    pub following: Following,
}

/// Files, found by patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Patterns of the paths to read.
    pub include: Vec<Glob>,
    /// Patterns of the paths among them that are not read.
    pub exclude: Vec<Glob>,
    /// What a line is.
    pub format: FileFormat,
    /// How they are followed.
    pub following: Following,
}

/// What a line of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A container runtime's line: time, stream, part or full, then the event.
    Cri,
    /// A JSON document.
    Json,
    /// An event's text.
    Text,
}

/// Where to begin when a source starts for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// All files are read whole.
    Beginning,
    /// What the files hold by then is not read; files that appear later are read whole.
    End,
}

/// How a line that is not a JSON object becomes an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parser {
    /// logfmt and klog are recognised, else text.
    Auto,
    /// As text under `message`.
    Json,
    /// Pairs of `key=value` become members.
    Logfmt,
    /// Kubernetes' own log format.
    Klog,
    /// Every line is text, JSON objects too.
    None,
    /// Named groups become members.
    Regex(Pattern),
}
