//! Registries on disk.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::plugin::Verify;
use super::sink::{FileReference, SecretReference};
use super::text::Text;

/// How a registry of plugins is spoken to, and whose signatures count there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registry {
    /// Who the agent is: a docker `config.json`, which is also what a Kubernetes pull secret holds under
    /// `.dockerconfigjson`. Absent: nobody.
    pub auth: Option<SecretReference>,
    /// Certificates that are trusted beside the system's, as PEM.
    pub ca: Option<FileReference>,
    /// Speaks plain HTTP. To a registry on this machine (`127.0.0.1`, `localhost`) that is done anyway, unless `ca` is
    /// given.
    #[schemars(extend("default" = false))]
    pub insecure: Option<bool>,
    /// Whose signatures count for plugins that do not say it themselves.
    pub verify: Option<Verify>,
    /// How long an answer may take; from 1s to 10m. A component may take ten times as long.
    #[schemars(extend("default" = "30s"))]
    pub timeout: Option<Text<Duration>>,
}
