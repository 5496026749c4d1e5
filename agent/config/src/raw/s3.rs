//! The sink `s3` on disk.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{FileReference, SecretReference, Text};
use crate::types::{BucketName, Endpoint, FieldPath, KeyPrefix, Name, RegionName, Size};

/// Archives events in a bucket of MinIO or another store that speaks S3, as compressed NDJSON by namespace and hour.
/// `weir archive` lists, searches and replays what is there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Sink {
    /// Where the store answers.
    pub endpoint: Text<Endpoint>,
    /// The bucket. Nothing is ever removed from it: how long objects stay is the bucket's own rule.
    pub bucket: Text<BucketName>,
    /// Whether the bucket is made where there is none.
    #[schemars(extend("default" = false))]
    pub create_bucket: Option<bool>,
    /// The region that requests are signed for.
    #[schemars(extend("default" = "us-east-1"))]
    pub region: Option<Text<RegionName>>,
    /// What all keys begin with; the cluster's name follows. The same for all agents of a cluster, so it has no `{node}`.
    #[schemars(extend("default" = "archive"))]
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
    /// Fields whose values can be looked for without reading everything; 16 at the most.
    #[schemars(extend("default" = ["trace_id"]))]
    pub index_fields: Option<Vec<Text<FieldPath>>>,
    /// How hard zstd tries.
    #[schemars(range(min = 1, max = 19), extend("default" = 3))]
    pub level: Option<u8>,
    /// Size of an object, compressed, as far as the buffer's memory is enough for it; from 64KiB to 64MiB.
    #[schemars(extend("default" = "32MiB"))]
    pub max_object_bytes: Option<Text<Size>>,
    /// How long an event waits for others to share an object with; from 1s to 1h.
    #[schemars(extend("default" = "5m"))]
    pub max_object_age: Option<Text<Duration>>,
    /// Whether events may be lost when this sink is slow or fails, so that it does not hold the others back.
    #[schemars(extend("default" = false))]
    pub best_effort: Option<bool>,
    /// The name of a buffer, where events wait on disk too. A quarter of its memory gathers objects. Absent: 16MiB of memory,
    /// and what is not delivered when the agent ends is read again.
    pub buffer: Option<Text<Name>>,
}
