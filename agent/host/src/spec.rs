//! What the configuration says of one plugin.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_manifest::Grants;

/// Memory of one instance where neither the configuration nor the manifest says otherwise.
pub(crate) const DEFAULT_MEMORY_BYTES: u64 = 32 << 20;

/// CPU time of one call where neither the configuration nor the manifest says otherwise.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_millis(100);

/// Bytes that one call may answer with: several times the largest batch.
pub(crate) const DEFAULT_OUTPUT_BYTES: u64 = 4 << 20;

/// One plugin of the configuration.
#[derive(Clone, Debug)]
pub struct PluginSpec {
    /// Its name in the configuration; appears in logs and metrics.
    pub name: String,
    /// The component.
    pub artifact: Artifact,
    /// Its `config:` as JSON text; `{}` where there is none.
    pub config: String,
    /// What it may use.
    pub limits: Limits,
    /// What it may see and change.
    pub grants: Grants,
    /// What becomes of rows that it cannot handle; `None` = pass, or dead letter where the manifest says fail
    /// closed.
    pub on_error: Option<OnError>,
    /// Whether calls share an instance.
    pub isolation: Isolation,
}

/// Where the component is.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// A file.
    File(PathBuf),
    /// Its bytes, as an OCI layer holds them.
    Bytes(Arc<[u8]>),
    /// Its bytes, and where they were had.
    Fetched {
        /// The bytes.
        component: Arc<[u8]>,
        /// Where they were had.
        provenance: Arc<Provenance>,
    },
}

// === impl Artifact ===

impl Artifact {
    /// Where it was had, if that is known.
    pub fn provenance(&self) -> Option<&Arc<Provenance>> {
        match self {
            Artifact::Fetched { provenance, .. } => Some(provenance),
            Artifact::File(_) | Artifact::Bytes(_) => None,
        }
    }
}

/// Where an artefact was had. It is kept to be shown; nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The reference as the configuration has it.
    pub reference: String,
    /// The digest that it stands for, as `sha256:…`.
    pub digest: String,
    /// The fingerprint of the key that signed it; `None` where no signature was asked for.
    pub key: Option<String>,
    /// Whether the bytes came from the `registry` or the `cache`.
    pub from: &'static str,
    /// Why the tag was not resolved anew; it then stands for what it stood for last.
    pub stale: Option<String>,
}

/// What a plugin may use. `None` = what its manifest asks for, up to the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, in bytes. Default 32 MiB.
    pub memory: Option<u64>,
    /// CPU time of one call, of instantiation and of `configure`. Default 100 ms.
    pub deadline: Option<Duration>,
    /// Bytes that one call may answer with. Default 4 MiB.
    pub output: Option<u64>,
}

/// What becomes of the rows that a plugin could not handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnError {
    /// They go on as if the plugin were not there.
    Pass,
    /// They are dropped and counted.
    Drop,
    /// They become dead letters.
    DeadLetter,
    /// The pipeline keeps the batch and stops reading until a reload.
    Hold,
}

impl OnError {
    /// As configurations spell it.
    pub fn name(self) -> &'static str {
        match self {
            OnError::Pass => "pass",
            OnError::Drop => "drop",
            OnError::DeadLetter => "dead_letter",
            OnError::Hold => "hold",
        }
    }
}

/// Whether the calls of a worker share an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// One instance handles many calls and is recycled now and then.
    #[default]
    Shared,
    /// Every call gets a new instance.
    Fresh,
}
