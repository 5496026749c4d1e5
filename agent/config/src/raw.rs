//! What stands on disk: the structs that serde reads and that the JSON Schema is made from.
//!
//! Their doc comments are the schema's descriptions and the reference's text. A new key is added here (and checked in
//! `validate`), nowhere else. Defaults are applied in `validate`; a test proves that those named here are the same.

mod buffer;
mod metrics;
mod pipeline;
mod plugin;
mod registry;
mod relabel;
mod remote_write;
mod s3;
mod scrape;
mod sink;
mod source;
mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use buffer::{Buffer, ObjectStore, Order, WhenFull};
pub(crate) use metrics::{Cardinality, LogMetric, LogToMetric, OnLimit, StreamAttribute};
pub(crate) use pipeline::{Durability, NativeStage, Parser, Pipeline, Stage};
pub(crate) use plugin::{Isolation, Limits, OnError, Plugin};
pub(crate) use registry::Registry;
pub(crate) use relabel::RelabelRule;
pub(crate) use remote_write::{RemoteWriteAuth, RemoteWriteSink, RemoteWriteSource, RemoteWriteTls};
pub(crate) use s3::S3Sink;
pub(crate) use scrape::{
    FileSdConfig, HttpSdConfig, ScrapeAuthorization, ScrapeBasicAuth, ScrapeClass, ScrapeConfig,
    ScrapeProfile, ScrapeProtocol, ScrapeScheme, ScrapeSource, ScrapeTlsConfig, StaticConfig,
};
pub(crate) use sink::{
    BasicAuth, FileReference, OpenSearchAuth, OpenSearchCompression, OpenSearchDeadLetters, OpenSearchSink,
    OpenSearchTls, Rotation, SecretReference, Sink,
};
pub(crate) use source::{
    FileFormat, JournalFields, JournalReadFrom, JournaldSource, ListenTls, Multiline, Preset, ReadFrom,
    Source,
};
pub(crate) use text::Text;

use crate::types::{Address, FilePath, Label, Name, RegistryPrefix, Size};

/// The configuration of a Weir agent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Weir configuration")]
pub(crate) struct Config {
    /// The version of this format. Must be 1.
    #[schemars(required, range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// The cluster that this agent runs in; stamped on every event.
    #[schemars(required)]
    pub cluster: Option<Text<Label>>,
    /// The node that this agent runs on; stamped on every event. Default: the environment variable `NODE_NAME`, else
    /// the host's name.
    pub node: Option<Text<Label>>,
    /// The folder of the agent's own state: checkpoints, ledger, buffers, plugin cache,
    /// `admin.json`.
    #[schemars(extend("default" = "/var/lib/weir"))]
    pub data_dir: Option<Text<FilePath>>,
    /// The memory that queues, sinks and plugins may use together. Default: 60 % of the container's memory limit,
    /// 256MiB where there is none.
    pub memory: Option<Text<Size>>,
    /// The number of threads that parse, run plugins and encode. Default: the container's CPU limit rounded up, else
    /// the number of CPUs, and no more than there is memory for.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// Where events come from, by name.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub sources: BTreeMap<Text<Name>, Source>,
    /// Sandboxed stages, by name.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub plugins: BTreeMap<Text<Name>, Plugin>,
    /// How registries of plugins are spoken to and whose signatures count there, by the beginning of references. Of
    /// several that fit, the longest holds, alone.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub registries: BTreeMap<Text<RegistryPrefix>, Registry>,
    /// What is done with the events of which sources, by name.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub pipelines: BTreeMap<Text<Name>, Pipeline>,
    /// Where events go, by name.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub sinks: BTreeMap<Text<Name>, Sink>,
    /// Where events wait for their sinks, by name.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub buffers: BTreeMap<Text<Name>, Buffer>,
    /// The agent's own HTTP address. Without it, no port is opened.
    pub admin: Option<Admin>,
}

/// The agent's own HTTP address: metrics, health, ledger.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    /// Where to listen.
    pub listen: Text<Address>,
}
