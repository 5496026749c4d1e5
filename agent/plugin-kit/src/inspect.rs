//! What an artefact is, read without running it.

use serde::Serialize;
use weir_manifest::{Interfaces, Manifest, ManifestError, read_interfaces, read_manifest};

/// What is known of an artefact.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// What it says of itself; its members stand at the top.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// What the component has for the outside, and what it needs of it.
    #[serde(flatten)]
    pub interfaces: Interfaces,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub digest: String,
}

/// Looks at an artefact.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, ManifestError> {
    let manifest = read_manifest(wasm)?;
    let interfaces = read_interfaces(wasm)?;
    Ok(Inspection { manifest, interfaces, size: wasm.len() as u64, digest: weir_host::digest(wasm) })
}
