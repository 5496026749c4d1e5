//! The agent's configuration: read from YAML, checked against its own schema, turned into plain types.
//!
//! Every error is found in one go and says where it stands. [`load`] is the way in; [`Config`] is what the rest of
//! the agent works with and never changes once it is loaded.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod check;
mod config;
mod edit;
mod error;
mod files;
mod host;
mod key_path;
mod load;
mod raw;
mod schema;
mod secret;
mod suggest;
mod text;
mod types;
mod validate;
mod yaml;

pub use config::{
    Admin, Artifact, Bucket, Buffer, Cardinality, Carries, ClientTls, Config, Durability, FileDiscovery,
    FileFormat, FileSink, FileSource, Following, ForwardSource, Grants, HttpAuth, HttpClient, HttpDiscovery,
    Isolation, Joining, JournaldSource, KubernetesLogs, Limits, ListenTls, Listening, LogMetric,
    LogMetricKind, LogToMetric, Multiline, ObjectStore, OnError, OnLimit, OpenSearchAuth,
    OpenSearchCompression, OpenSearchDeadLetters, OpenSearchFields, OpenSearchSink, OpenSearchTls, Order,
    OtlpSource, Parser, Pipeline, Plugin, Preset, ReadFrom, Registry, RelabelAction, RelabelRule,
    RemoteWriteAuth, RemoteWriteSink, RemoteWriteSource, Rotation, S3Sink, ScrapeClass, ScrapeJob,
    ScrapeLimits, ScrapeProfile, ScrapeProtocol, ScrapeScheme, ScrapeSource, Secret, Shadow, Signing, Sink,
    SinkKind, Source, SourceKind, Stage, StaticTargets, StreamAttribute, TlsIdentity, WhenFull, WriteVersion,
};
pub use edit::{EditError, Edited, NewArtifact, load_edited, promote};
pub use error::{Error, Errors, Warning};
pub use files::hash_of;
pub use host::Host;
pub use load::{load, load_on};
pub use schema::schema;
pub use secret::{SecretError, resolve_secrets};
pub use types::{Glob, LinePattern, Name, Pattern, Share, Size, parse_duration, parse_size};
pub use validate::memory::{DEAD_LETTER_MEMORY, SHADOW_MEMORY};
