//! The object store behind a buffer.

use std::path::PathBuf;

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
    /// Where the public half is of what requests are signed with.
    pub access_key: Secret,
    /// Where the secret half is.
    pub secret_key: Secret,
    /// Who vouches for the store, instead of those that the system knows.
    pub ca: Option<PathBuf>,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
    /// What may lie there.
    pub max_size: Option<Size>,
    /// Whether the files on disk go there when the agent is stopped.
    pub drain_on_stop: bool,
}
