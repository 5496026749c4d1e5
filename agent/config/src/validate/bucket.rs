//! Buckets of object stores, which a buffer and the sink `s3` have the same keys for.

use super::Context;
use crate::config::{Bucket, ObjectStoreKeys};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw::{FileReference, SecretReference, Text};
use crate::types::{BucketName, Endpoint, RegionName};
use crate::yaml::Node;

const DEFAULT_REGION: &str = "us-east-1";

/// The keys that say which bucket, as they were written.
pub(super) struct Written {
    pub endpoint: Text<Endpoint>,
    pub bucket: Text<BucketName>,
    pub create_bucket: Option<bool>,
    pub region: Option<Text<RegionName>>,
    pub access_key: Option<SecretReference>,
    pub secret_key: Option<SecretReference>,
    pub ca: Option<FileReference>,
    pub path_style: Option<bool>,
}

/// The bucket that the keys at `path` say. `what` goes there.
pub(super) fn bucket(written: Written, what: &str, path: &KeyPath, context: &mut Context<'_>) -> Bucket {
    if written.endpoint.0.0.starts_with("http://") {
        let complaint = Complaint::new(format!("{what} goes over the network in clear"));
        context.warn(&path.key("endpoint"), complaint.help("use an https:// endpoint"));
    }
    Bucket {
        endpoint: written.endpoint.0.0,
        name: written.bucket.0.0,
        create: written.create_bucket.unwrap_or(false),
        region: written.region.map_or_else(|| DEFAULT_REGION.to_owned(), |region| region.0.0),
        keys: keys(written.access_key, written.secret_key, path, context),
        ca: written.ca.map(|ca| context.absolute(&ca.file.0.0)),
        path_style: written.path_style.unwrap_or(true),
    }
}

fn keys(
    access_key: Option<SecretReference>,
    secret_key: Option<SecretReference>,
    path: &KeyPath,
    context: &mut Context<'_>,
) -> Option<ObjectStoreKeys> {
    let (given, missing) = match (access_key, secret_key) {
        (None, None) => return None,
        (Some(access_key), Some(secret_key)) => {
            return Some(ObjectStoreKeys {
                access_key: context.secret(access_key),
                secret_key: context.secret(secret_key),
            });
        }
        (Some(_), None) => ("access_key", "secret_key"),
        (None, Some(_)) => ("secret_key", "access_key"),
    };
    let complaint = Complaint::new(format!("needs {missing} beside it"));
    let help = "give both, or neither of them to take what the agent's environment gives";
    context.error(&path.key(given), complaint.help(help));
    None
}

/// Complains about keys and certificates of the bucket that is written at `path` if they cannot be had, whatever else may
/// be wrong with them.
pub(super) fn check_secrets(written: &Node, path: &KeyPath, context: &mut Context<'_>) {
    context.check_given(written, path, &["access_key", "secret_key"], &["ca"]);
}
