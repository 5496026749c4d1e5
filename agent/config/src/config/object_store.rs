//! Buckets: those behind buffers, and that of an archive.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::types::Size;

/// A bucket of a store that speaks S3, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Where the store answers.
    pub endpoint: String,
    /// The bucket's name.
    pub name: String,
    /// Whether it is made where there is none.
    pub create: bool,
    /// The region that requests are signed for.
    pub region: String,
    /// What requests are signed with; `None` for what the environment gives.
    pub keys: Option<ObjectStoreKeys>,
    /// Who vouches for the store, instead of those that the system knows.
    pub ca: Option<PathBuf>,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
}

/// The object store behind a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStore {
    /// Where it is.
    pub bucket: Bucket,
    /// What all keys begin with, with placeholders.
    pub prefix: String,
    /// What may lie there.
    pub max_size: Option<Size>,
    /// After so long without a sign of life an agent is gone.
    pub gone_after: Duration,
    /// What the keys of those begin with from whom it takes over, with placeholders, if that is not what `prefix` says.
    pub adopt: Option<String>,
    /// Whether the files on disk go there when the agent is stopped.
    pub drain_on_stop: bool,
}

/// What requests to an object store are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStoreKeys {
    /// Where the public half is.
    pub access_key: Secret,
    /// Where the secret half is.
    pub secret_key: Secret,
}

/// Archives events in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Sink {
    /// Where it is.
    pub bucket: Bucket,
    /// What all keys begin with, with the placeholder `{cluster}`.
    pub prefix: String,
    /// Paths of the fields that can be looked for without reading everything.
    pub index_fields: Vec<String>,
    /// Level of zstd.
    pub level: u8,
    /// Bytes of an object, compressed, as far as memory is enough for it.
    pub max_object_bytes: Size,
    /// How long an event waits for others to share an object with.
    pub max_object_age: Duration,
}

// === impl S3Sink ===

impl S3Sink {
    /// What all keys begin with in this cluster.
    pub fn prefix_in(&self, cluster: &str) -> String {
        self.prefix.replace("{cluster}", cluster)
    }
}
