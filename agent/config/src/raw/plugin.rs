//! Plugins on disk.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{FileReference, Text};
use crate::types::{Artifact, FieldPath, Share, Size};

/// A sandboxed stage: a WebAssembly component and what it may do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plugin {
    /// Where the component is.
    pub artifact: Text<Artifact>,
    /// Whose signature an artefact from a registry must have. Absent: as `registries` says for it; where that says
    /// nothing either, what is not signed is taken from this machine's own registry alone.
    pub verify: Option<Verify>,
    /// Takes an artefact that nobody signed, where neither `verify` nor `registries` asks for a signature.
    #[schemars(extend("default" = false))]
    pub allow_unsigned: Option<bool>,
    /// How often a tag is looked at again; from 1s to 24h. Absent: at a start and a reload only.
    pub poll: Option<Text<Duration>>,
    /// The plugin's own configuration, whatever it takes. An object that is exactly `{file: PATH}` or `{env: NAME}`
    /// stands for the content of that file or environment variable, without newlines at its end.
    #[schemars(extend("default" = {}))]
    pub config: Option<serde_json::Value>,
    /// What one instance may use.
    #[schemars(extend("default" = {}))]
    pub limits: Option<Limits>,
    /// What it may read and write. Absent: what its manifest asks for.
    #[schemars(extend("default" = {}))]
    pub grants: Option<Grants>,
    /// What becomes of events on which the plugin fails. Default: `pass`, or `dead_letter` for a plugin whose manifest
    /// says `fail_closed`.
    pub on_error: Option<OnError>,
    /// Whether an instance serves many batches.
    #[schemars(extend("default" = "shared"))]
    pub isolation: Option<Isolation>,
    /// A candidate for the artifact's place: it is handed some of the same batches, with the same config, limits and
    /// grants, and what it does with them is compared and goes nowhere. Signed by whom `verify` says, like the artifact.
    pub shadow: Option<Text<Artifact>>,
    /// Of how many of the plugin's batches the candidate sees a copy, at most.
    #[schemars(extend("default" = "5%"))]
    pub shadow_share: Option<Text<Share>>,
}

/// Whose signature counts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verify {
    /// Public keys as PEM, ECDSA P-256 or Ed25519, as `cosign generate-key-pair` writes them. One or several: a
    /// signature by one of them is enough.
    pub key: FileReference,
}

/// What one instance of a plugin may use. There is one instance for each worker.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Memory of one instance; from 1MiB to 4GiB. At the default, a plugin's manifest may ask for less; one that asks
    /// for more is refused.
    #[schemars(extend("default" = "32MiB"))]
    pub memory: Option<Text<Size>>,
    /// CPU time of one call; from 1ms to 60s. At the default, a plugin's manifest may ask for less; one that asks
    /// for more is refused.
    #[schemars(extend("default" = "100ms"))]
    pub deadline: Option<Text<Duration>>,
    /// Size of one answer.
    #[schemars(extend("default" = "16MiB"))]
    pub output: Option<Text<Size>>,
}

/// What a plugin may read and write of an event.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grants {
    /// Fields that it may read, within those that its manifest asks for. Absent: all of them. `[]`: none.
    pub fields: Option<Vec<Text<FieldPath>>>,
    /// Fields that it may write, within those that its manifest asks for. Absent: all of them. `[]`: none.
    pub write: Option<Vec<Text<FieldPath>>>,
}

/// What becomes of events on which a plugin fails.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnError {
    /// They go on, with nothing done to them but what the plugin does to every event that it keeps.
    Pass,
    /// They are dropped and counted.
    Drop,
    /// They are kept apart and counted.
    DeadLetter,
    /// The pipeline keeps the batch and reads no further. The batch is tried again at the next reload or start.
    Hold,
}

/// Whether an instance serves many batches.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// An instance is used again for the next batch.
    Shared,
    /// Every batch has a new instance.
    Fresh,
}
