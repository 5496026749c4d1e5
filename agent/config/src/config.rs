//! The checked configuration: what the rest of the agent works with.

mod carries;
mod metrics;
mod object_store;
mod remote_write;
mod scrape;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use weir_event::name_template::NameTemplate;
use weir_oci::{Reference, ReferencePrefix};

pub use carries::Carries;
pub use metrics::{
    Cardinality, LogMetric, LogMetricKind, LogToMetric, OnLimit, RelabelAction, RelabelRule, StreamAttribute,
};
pub use object_store::{Bucket, ObjectStore, ObjectStoreKeys, S3Sink};
pub use remote_write::{RemoteWriteAuth, RemoteWriteSink, RemoteWriteSource, WriteVersion};
pub use scrape::{
    ClientTls, FileDiscovery, HttpAuth, HttpClient, HttpDiscovery, ScrapeClass, ScrapeJob, ScrapeLimits,
    ScrapeProfile, ScrapeProtocol, ScrapeScheme, ScrapeSource, StaticTargets,
};
pub use source::{
    FileFormat, FileSource, Following, ForwardSource, Joining, JournaldSource, KubernetesLogs, ListenTls,
    Listening, Multiline, OtlpSource, Parser, Preset, ReadFrom, Source, SourceKind,
};

use crate::error::{Complaint, Error};
use crate::types::{Name, Share, Size};
use crate::validate::Places;

/// A configuration that was found valid as a whole. All paths in it are absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// The version of the configuration's format: 1.
    pub version: u32,
    /// The cluster that the agent runs in.
    pub cluster: String,
    /// The node that the agent runs on.
    pub node: String,
    /// The folder of the agent's own state.
    pub data_dir: PathBuf,
    /// What queues, sinks and plugins may use together.
    pub memory: Size,
    /// What they may use by this configuration, all of them together.
    pub planned_memory: Size,
    /// Threads for parsing, plugins and encoding.
    pub workers: NonZeroUsize,
    /// Where events come from.
    pub sources: BTreeMap<Name, Source>,
    /// Sandboxed stages.
    pub plugins: BTreeMap<Name, Plugin>,
    /// How registries are spoken to; see [`Config::registry`].
    pub registries: BTreeMap<ReferencePrefix, Registry>,
    /// The ways from sources to sinks. Every name in them is one of `sources`, `plugins` or `sinks`.
    pub pipelines: BTreeMap<Name, Pipeline>,
    /// Where events go.
    pub sinks: BTreeMap<Name, Sink>,
    /// Where events wait for their sinks. Every name of a buffer in `sinks` is one of them.
    pub buffers: BTreeMap<Name, Buffer>,
    /// The agent's own HTTP address; `None` opens no port.
    pub admin: Option<Admin>,
    /// XXH3 (128 bits, hexadecimal) of the names and bytes of all files of the configuration; not of what they refer
    /// to.
    pub hash: String,
    /// The folder that relative paths are relative to.
    pub base_dir: PathBuf,
    pub(crate) places: Places,
}

/// A sandboxed stage.
#[derive(Clone, PartialEq)]
pub struct Plugin {
    /// Where the component is.
    pub artifact: Artifact,
    /// The file of the keys of which one must have signed it.
    pub verify: Option<PathBuf>,
    /// Whether it is taken unsigned where nobody asks for a signature.
    pub allow_unsigned: bool,
    /// How often its tag is looked at again.
    pub poll: Option<Duration>,
    /// What the plugin is configured with; `{}` where nothing is given. References to secrets stand in it
    /// unresolved: see [`crate::resolve_secrets`].
    pub config: serde_json::Value,
    /// What one instance may use.
    pub limits: Limits,
    /// What it may read and write.
    pub grants: Grants,
    /// What becomes of events on which it fails; `None` is the plugin's default.
    pub on_error: Option<OnError>,
    /// Whether an instance serves many batches.
    pub isolation: Isolation,
    /// Who may take its artifact's place some day.
    pub shadow: Option<Shadow>,
}

/// A candidate for a plugin's place, with which it shares everything else that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Where the candidate's component is.
    pub artifact: Artifact,
    /// Of how many of the plugin's batches it sees a copy.
    pub share: Share,
}

/// Where a plugin's component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// In a file.
    File(PathBuf),
    /// In a registry.
    Oci(Reference),
}

/// How a registry is spoken to, and whose signatures count there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Where the docker configuration with its credentials is.
    pub auth: Option<Secret>,
    /// Certificates that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// Whether plain HTTP is spoken.
    pub insecure: bool,
    /// The file of the keys whose signatures count.
    pub verify: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Whether an artefact must be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signing {
    /// By one of the keys in this file.
    By(PathBuf),
    /// It is taken as it is.
    Unsigned,
    /// Nobody said who has to sign it, nor that nobody has to.
    Refused,
}

/// What one instance of a plugin may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Its memory.
    pub memory: Size,
    /// The CPU time of one call.
    pub deadline: Duration,
    /// The size of one answer.
    pub output: Size,
}

/// What a plugin may read and write of an event, within what its manifest asks for. `None` is all of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Fields that it may read.
    pub fields: Option<Vec<String>>,
    /// Fields that it may write.
    pub write: Option<Vec<String>>,
}

/// What becomes of events on which a plugin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// They go on unchanged.
    Pass,
    /// They are dropped and counted.
    Drop,
    /// They are kept apart and counted.
    DeadLetter,
    /// The pipeline keeps the batch and stops reading until a reload.
    Hold,
}

/// Whether an instance of a plugin serves many batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// It does.
    Shared,
    /// Every batch has a new one.
    Fresh,
}

/// A way from sources through stages to sinks. It carries events or samples: see [`Config::carries`].
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// The sources; none twice. At least one, or one of `from_metrics`.
    pub from: Vec<Name>,
    /// Pipelines whose metrics come here, `NAME.metrics` as it is written; none twice. Each has a stage `log_to_metric`.
    pub from_metrics: Vec<Name>,
    /// How lines that are not JSON objects become events, in place of what the source says.
    pub parser: Option<Parser>,
    /// The other stages, in their order.
    pub stages: Vec<Stage>,
    /// The sinks; at least one, none twice.
    pub to: Vec<Name>,
    /// The share of the workers when there is not enough for all: 1 to 100.
    pub weight: u8,
    /// When events are written to the sinks' disks.
    pub durability: Durability,
}

/// When events are written to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When a sink has not taken them for some time, or memory fills.
    OnPressure,
    /// At once.
    Always,
}

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// One of [`Config::plugins`].
    Plugin(Name),
    /// Makes metrics of events, which all go on.
    LogToMetric(LogToMetric),
    /// Changes labels of samples, and drops samples, by rules; at least one.
    Relabel(Vec<RelabelRule>),
    /// Drops metrics whose name one of these regular expressions matches as a whole; at least one.
    DropMetrics(Vec<String>),
    /// Drops all others.
    KeepMetrics(Vec<String>),
    /// Removes labels whose name one of these regular expressions matches as a whole; at least one.
    DropLabels(Vec<String>),
    /// Watches how many series there are.
    Cardinality(Cardinality),
    /// The logic of the benchmark's plugin, built in.
    #[cfg(feature = "bench-native")]
    BenchW1,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Whether events may be lost when this sink is slow or fails, so that it does not hold the others back.
    pub best_effort: bool,
    /// One of [`Config::buffers`]; `None` has memory only.
    pub buffer: Option<Name>,
    /// What kind of sink it is.
    pub kind: SinkKind,
}

/// The kinds of sinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// Appends to a file.
    File(FileSink),
    /// Prints to standard output.
    Console,
    /// Takes the finished documents and forgets them.
    Blackhole,
    /// Writes into OpenSearch.
    OpenSearch(Box<OpenSearchSink>),
    /// Archives in a bucket.
    S3(Box<S3Sink>),
    /// Sends samples by remote write.
    RemoteWrite(Box<RemoteWriteSink>),
}

/// Appends events to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSink {
    /// The file to append to.
    pub path: PathBuf,
    /// When to begin a new file; `None` is never.
    pub rotate: Option<Rotation>,
}

/// When a file sink begins a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The file is renamed when it would grow beyond this.
    pub size: Size,
    /// How many renamed files are kept; at least 1.
    pub keep: u16,
}

/// Where events wait for a sink. Every sink that names it has one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What may wait in memory.
    pub memory: Size,
    /// What may wait on disk.
    pub disk: Size,
    /// What happens when both are full.
    pub when_full: WhenFull,
    /// How long events may wait.
    pub max_age: Option<Duration>,
    /// Which events leave first.
    pub order: Order,
    /// Bytes of documents that come back from disk in a second.
    pub replay_rate: Option<Size>,
    /// Where goes what the disk has no room for.
    pub object_store: Option<ObjectStore>,
}

/// What happens when a buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Reading stops until there is room.
    Block,
    /// The oldest events are dropped.
    DropOldest,
}

/// Which events leave a buffer first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// What came first.
    OldestFirst,
    /// What has just come, with a share for what lies on disk.
    NewestFirst,
}

/// Writes events into OpenSearch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSearchSink {
    /// Where OpenSearch answers; at least one.
    pub endpoints: Vec<String>,
    /// The index of an event.
    pub index: NameTemplate,
    /// Different indices that events of one hour may go to.
    pub max_indices_per_hour: u32,
    /// How long events wait for others to share a request with.
    pub max_wait: Duration,
    /// Size of a request before it is compressed.
    pub max_bytes: Size,
    /// Events of a request.
    pub max_events: u32,
    /// Requests under way at once, at the most.
    pub concurrency: u16,
    /// How requests are compressed.
    pub compression: OpenSearchCompression,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How OpenSearch is known, and the agent.
    pub tls: OpenSearchTls,
    /// Who the agent is.
    pub auth: OpenSearchAuth,
    /// What an event's members may be.
    pub fields: OpenSearchFields,
    /// Where events go that OpenSearch will never take.
    pub dead_letters: OpenSearchDeadLetters,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenSearchCompression {
    /// At the fastest level.
    Gzip,
    /// Not at all.
    None,
}

/// How OpenSearch is known, and the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenSearchTls {
    /// Certificates that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate.
    pub identity: Option<TlsIdentity>,
    /// Takes any certificate.
    pub insecure_skip_verify: bool,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Who the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OpenSearchAuth {
    /// Nobody, or who its certificate says.
    #[default]
    None,
    /// By name and password.
    Basic {
        /// The name.
        username: String,
        /// Where its password is.
        password: Secret,
    },
    /// By a token.
    Bearer(Secret),
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file, without newlines at its end.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

/// What an event's members may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSearchFields {
    /// Objects within objects; what lies deeper becomes text.
    pub max_depth: u32,
    /// Different members of one event.
    pub max_fields: u32,
    /// Whether dots in names become underscores.
    pub dedot: bool,
}

/// Where events go that OpenSearch will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenSearchDeadLetters {
    /// A file; `None` is one in the data directory.
    File(Option<PathBuf>),
    /// An index.
    Index(String),
}

/// The agent's own HTTP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
}

// === impl Config ===

impl Config {
    /// How a pipeline parses the lines of a source: as it says itself, else as the source says.
    pub fn parser<'a>(&self, pipeline: &'a Pipeline, source: &'a Source) -> &'a Parser {
        pipeline.parser.as_ref().unwrap_or(&source.parser)
    }

    /// What holds for a reference: the longest entry that it begins with.
    pub fn registry(&self, reference: &Reference) -> Option<&Registry> {
        registry_of(&self.registries, reference)
    }

    /// Whether a plugin's artefact must be signed, and by whom.
    pub fn signing(&self, plugin: &Plugin, reference: &Reference) -> Signing {
        signing(plugin, reference, self.registry(reference))
    }

    /// An error about one of this configuration's values that is found only when it is put to use, in the shape and
    /// with the place of those that [`crate::load`] finds. `keys` leads to the value: `["plugins", "sampler",
    /// "artifact"]`; for a value that was not given, the place is that of the nearest one around it.
    pub fn error_at(&self, keys: &[&str], message: impl Into<String>, help: Option<String>) -> Error {
        self.places.error(keys, Complaint { message: message.into(), help })
    }
}

pub(crate) fn registry_of<'a>(
    registries: &'a BTreeMap<ReferencePrefix, Registry>,
    reference: &Reference,
) -> Option<&'a Registry> {
    let fitting = registries.iter().filter(|(prefix, _)| prefix.covers(reference));
    fitting.max_by_key(|(prefix, _)| prefix.length()).map(|(_, registry)| registry)
}

pub(crate) fn signing(plugin: &Plugin, reference: &Reference, registry: Option<&Registry>) -> Signing {
    match plugin.verify.as_ref().or_else(|| registry?.verify.as_ref()) {
        Some(keys) => Signing::By(keys.clone()),
        None if plugin.allow_unsigned || reference.is_loopback() => Signing::Unsigned,
        None => Signing::Refused,
    }
}

// === impl Plugin ===

/// Without the plugin's own configuration, which may hold what is nobody's business.
impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("artifact", &self.artifact)
            .field("verify", &self.verify)
            .field("allow_unsigned", &self.allow_unsigned)
            .field("poll", &self.poll)
            .field("config", &format_args!("…"))
            .field("limits", &self.limits)
            .field("grants", &self.grants)
            .field("on_error", &self.on_error)
            .field("isolation", &self.isolation)
            .field("shadow", &self.shadow)
            .finish()
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory: Size::of_mib(32), deadline: Duration::from_millis(100), output: Size::of_mib(16) }
    }
}
