//! Buffers on disk and in object stores.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{FileReference, SecretReference, Text};
use crate::types::{BucketName, Endpoint, KeyPrefix, RegionName, Size};

/// Where events wait that a sink has not taken. Every sink that names it has one of its own, with these bounds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Buffer {
    /// What may wait in memory; at least 4MiB.
    #[schemars(extend("default" = "16MiB"))]
    pub memory: Option<Text<Size>>,
    /// What may wait on disk, in files below `data_dir`; at least 32MiB, with `object_store` 8MiB. What the sink has not
    /// taken within 5 s lies there, and survives the agent.
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
    /// Where goes what the disk has no room for.
    pub object_store: Option<ObjectStore>,
}

/// A bucket in MinIO or another store that speaks S3. When three quarters of the disk are full, its oldest files go
/// there as they are; they come back in their turn, and are removed when they are delivered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectStore {
    /// Where the store answers.
    pub endpoint: Text<Endpoint>,
    /// The bucket. It must have no object lock, and is better without versions: what is delivered is removed.
    pub bucket: Text<BucketName>,
    /// Whether the bucket is made where there is none.
    #[schemars(extend("default" = false))]
    pub create_bucket: Option<bool>,
    /// The region that requests are signed for.
    #[schemars(extend("default" = "us-east-1"))]
    pub region: Option<Text<RegionName>>,
    /// What all keys begin with.
    #[schemars(extend("default" = "{cluster}/{node}"))]
    pub prefix: Option<Text<KeyPrefix>>,
    /// The public half of what requests are signed with. Without both halves it is what the agent's environment gives, where
    /// the AWS SDKs look for it: variables, profiles, a web identity, the container, the machine.
    pub access_key: Option<SecretReference>,
    /// The secret half.
    pub secret_key: Option<SecretReference>,
    /// Certificates in PEM of who vouches for the store, in the place of those that the system knows.
    pub ca: Option<FileReference>,
    /// Whether the bucket stands in the path, as MinIO has it, or in the host's name.
    #[schemars(extend("default" = true))]
    pub path_style: Option<bool>,
    /// What may lie there; as much as goes in where it is not given.
    pub max_size: Option<Text<Size>>,
    /// After so long without a sign of life an agent is gone, and another one takes over what it left in the bucket; at
    /// least 2s. Much longer than the store is ever away.
    #[schemars(extend("default" = "10m"))]
    pub gone_after: Option<Text<Duration>>,
    /// What the keys of those agents begin with from whom this one takes over. Absent: `prefix` up to `{node}`, so all nodes
    /// of a cluster; nothing where `prefix` has no `{node}`.
    pub adopt: Option<Text<KeyPrefix>>,
    /// Whether the files on disk go there when the agent is stopped, as far as its 20 s allow. `POST /api/drain` asks
    /// for the same at any time.
    #[schemars(extend("default" = false))]
    pub drain_on_stop: Option<bool>,
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
