//! The object store behind a buffer.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::types::Size;

/// A bucket of a store that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStore {
    /// Where the store answers.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// Whether it is made where there is none.
    pub create_bucket: bool,
    /// The region that requests are signed for.
    pub region: String,
    /// What all keys begin with, with placeholders.
    pub prefix: String,
    /// What requests are signed with; `None` for what the environment gives.
    pub keys: Option<ObjectStoreKeys>,
    /// Who vouches for the store, instead of those that the system knows.
    pub ca: Option<PathBuf>,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
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
