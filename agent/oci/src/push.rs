//! A component, given to a registry in the standard layout.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::{Client, Settings};
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::reference::Reference;

/// Pushes a component under the reference's tag, or under its digest where it has no tag. Returns the digest of its
/// manifest. A digest in the reference that is not that one is an error, and then nothing was pushed.
pub async fn push(
    reference: &Reference,
    settings: &Settings,
    component: &[u8],
    config: &Value,
    annotations: BTreeMap<String, String>,
) -> Result<Digest, Error> {
    let (manifest, config) = Manifest::of_component(component, config, annotations);
    let manifest = serde_json::to_vec(&manifest).map_err(|error| Error::Settings(error.to_string()))?;
    let digest = Digest::of(&manifest);
    if let Some(wanted) = reference.digest().filter(|wanted| *wanted != digest) {
        return Err(Error::Altered { what: format!("the artefact for {reference}"), found: digest, wanted });
    }
    let client = Client::new(reference, settings)?;
    for blob in [component, &config] {
        let of_blob = Digest::of(blob);
        if !client.has_blob(of_blob).await? {
            client.upload(blob, of_blob).await?;
        }
    }
    let name = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
    client.put_manifest(&name, &manifest).await?;
    Ok(digest)
}
