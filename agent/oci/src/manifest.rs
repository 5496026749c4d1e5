//! The manifest of a WebAssembly artefact, as the CNCF's layout has it: one configuration, one layer, which is the
//! component.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::Digest;

/// No manifest or index is longer; registries take 4 MiB, and ours have a few hundred bytes.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The types of content that mean something here.
pub(crate) mod types {
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    #[cfg(feature = "client")]
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
    pub const WASM_LAYER: &str = "application/wasm";
    /// What Kubewarden and other early ones write.
    pub const OLD_WASM_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
}

/// What points to a blob or a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of its content.
    pub media_type: String,
    /// Its digest, as text: one in a field that is not used may be of another algorithm.
    pub digest: String,
    /// Its length in bytes.
    pub size: u64,
    /// In an index: what kind of artefact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of the format: 2.
    pub schema_version: u32,
    /// The type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artefact it is, where the configuration's type does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// What it is about, if it is about another manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// The manifests.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

/// A component, as a manifest points to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Why a manifest is not that of a plugin.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the manifest is not one: {0}")]
    NotAManifest(#[from] serde_json::Error),
    /// It is a list of manifests.
    #[error(
        "it is a list of artefacts for several platforms, and a plugin is one artefact; push the component alone"
    )]
    IsIndex,
    /// It holds something else.
    #[error(
        "it is no plugin: wanted is one layer of type application/wasm, found {found}; push it with weir plugin push"
    )]
    NotWasm {
        /// The types of its layers.
        found: String,
    },
    /// The layer's digest is none.
    #[error("the digest of its layer is not one of SHA-256")]
    LayerDigest,
}

// === impl Manifest ===

impl Manifest {
    /// Reads a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            #[serde(default)]
            media_type: Option<String>,
            #[serde(default)]
            manifests: Option<serde::de::IgnoredAny>,
        }
        let kind: Kind = serde_json::from_slice(bytes)?;
        let is_index = matches!(kind.media_type.as_deref(), Some(types::INDEX | types::DOCKER_INDEX));
        if is_index || kind.manifests.is_some() {
            return Err(ManifestError::IsIndex);
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Where the component of a plugin is.
    pub fn component(&self) -> Result<Component, ManifestError> {
        match self.layers.as_slice() {
            [layer] if matches!(layer.media_type.as_str(), types::WASM_LAYER | types::OLD_WASM_LAYER) => {
                let digest = layer.digest.parse().map_err(|_| ManifestError::LayerDigest)?;
                Ok(Component { digest, size: layer.size })
            }
            layers => Err(ManifestError::NotWasm { found: kinds(layers) }),
        }
    }

    /// The manifest of a component in the standard layout, and the configuration that it points to.
    pub fn of_component(
        component: &[u8],
        config: &Value,
        annotations: BTreeMap<String, String>,
    ) -> (Manifest, Vec<u8>) {
        let config = config.to_string().into_bytes();
        let descriptor = |media_type: &str, bytes: &[u8]| Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(types::MANIFEST.to_owned()),
            artifact_type: None,
            config: descriptor(types::WASM_CONFIG, &config),
            layers: vec![descriptor(types::WASM_LAYER, component)],
            subject: None,
            annotations,
        };
        (manifest, config)
    }
}

impl Index {
    /// Reads an index.
    pub fn parse(bytes: &[u8]) -> Result<Index, ManifestError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// The configuration of the standard layout. It has no time of its own, so that the same component is the same
/// artefact whenever it is pushed.
pub fn wasm_config(component: &[u8], imports: &[String], exports: &[String]) -> Value {
    json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [Digest::of(component).to_string()],
        "component": {"imports": imports, "exports": exports},
    })
}

fn kinds(layers: &[Descriptor]) -> String {
    const SHOWN: usize = 4;
    if layers.is_empty() {
        return "no layer".to_owned();
    }
    let kinds: Vec<String> =
        layers.iter().take(SHOWN).map(|layer| format!("{:.60?}", layer.media_type)).collect();
    let more = if layers.len() > SHOWN { ", …" } else { "" };
    format!("{} of type {}{more}", layers.len(), kinds.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_layers(layers: &Value) -> Result<Component, String> {
        let config = json!({"mediaType": types::WASM_CONFIG, "digest": "sha256:00", "size": 2});
        let text = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
        let manifest = Manifest::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        manifest.component().map_err(|error| error.to_string())
    }

    #[test]
    fn a_component_is_found_as_it_was_written() {
        let component = b"\0asm";
        let config = wasm_config(component, &[], &["weir:plugin/guest@0.1.0".to_owned()]);
        let (manifest, config) = Manifest::of_component(component, &config, BTreeMap::new());
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let read = Manifest::parse(&bytes).unwrap();
        assert_eq!(read, manifest);
        assert_eq!(read.component().unwrap(), Component { digest: Digest::of(component), size: 4 });
        assert_eq!(read.config.digest, Digest::of(&config).to_string());
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["layerDigests"][0], Digest::of(component).to_string());
        assert_eq!((&config["os"], &config["architecture"]), (&json!("wasip2"), &json!("wasm")));
    }

    #[test]
    fn other_artefacts_are_no_plugins() {
        let layer = |kind: &str| json!({"mediaType": kind, "digest": Digest::of(b"").to_string(), "size": 0});
        assert!(with_layers(&json!([layer(types::WASM_LAYER)])).is_ok());
        assert!(with_layers(&json!([layer(types::OLD_WASM_LAYER)])).is_ok());
        assert!(with_layers(&json!([])).unwrap_err().contains("no layer"));
        let two = with_layers(&json!([layer(types::WASM_LAYER), layer("text/plain")])).unwrap_err();
        assert!(two.contains("2 of type \"application/wasm\", \"text/plain\""), "{two}");
        assert!(with_layers(&json!([layer("application/vnd.oci.image.layer.v1.tar")])).is_err());
        let md5 = json!([{"mediaType": types::WASM_LAYER, "digest": "md5:00", "size": 0}]);
        assert!(with_layers(&md5).unwrap_err().contains("SHA-256"));
    }

    #[test]
    fn an_index_says_what_it_is() {
        for text in [
            r#"{"schemaVersion": 2, "manifests": []}"#.to_owned(),
            json!({"mediaType": types::INDEX}).to_string(),
        ] {
            assert!(matches!(Manifest::parse(text.as_bytes()), Err(ManifestError::IsIndex)), "{text}");
        }
        for text in ["", "[]", "{}", "{\"config\": 1}", "\u{0}"] {
            assert!(
                matches!(Manifest::parse(text.as_bytes()), Err(ManifestError::NotAManifest(_))),
                "{text}"
            );
        }
    }
}
