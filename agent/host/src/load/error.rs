//! Why a plugin is not loaded, in words that tell the operator which of artefact and configuration to change.

use std::path::PathBuf;

use weir_manifest::{Authority, ManifestError, Refusal, SchemaProblem};

use super::WORLD;
use crate::compile::CompileError;
use crate::fault::Cause;

/// Why a plugin is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The artefact's file.
    #[error("failed to read the artefact {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The artefact's manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The plugin wants what no configuration can give it.
    #[error("it wants the capability `{capability}`, which this agent does not have")]
    Capability {
        /// The first of them.
        capability: String,
    },
    /// `on_error: pass` for a plugin that must not be passed by.
    #[error(
        "its manifest says fail_closed, so `on_error: pass` would let through what it is there to hold back; \
        use dead_letter, drop or hold"
    )]
    FailClosed,
    /// A limit that does not fit.
    #[error("limits.{limit}: {problem}")]
    Limit {
        /// `memory`, `deadline` or `output`.
        limit: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Compiling, or loading what was compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The component needs what nobody provides.
    #[error("it imports {}, which this agent does not provide: \
        a plugin imports nothing but WASI 0.2, of which it gets an empty one", imports.join(", "))]
    Imports {
        /// The first few names.
        imports: Vec<String>,
    },
    /// The component is not of the world that its manifest names.
    #[error("it does not implement the world `{WORLD}`: {problem}")]
    World {
        /// What it has instead.
        problem: String,
    },
    /// The configuration does not fit the plugin's schema.
    #[error("{}", join(problems))]
    Schema {
        /// Everything that does not fit.
        problems: Vec<SchemaProblem>,
    },
    /// Its `configure` refused the configuration.
    #[error("it refused its config: {message}")]
    Config {
        /// What it says.
        message: String,
    },
    /// It failed before or in `configure`.
    #[error("it failed to start ({cause}): {detail}")]
    Start {
        /// How.
        cause: Cause,
        /// What happened.
        detail: String,
    },
    /// Its plan makes no sense.
    #[error("its plan is not valid: {}", problems.join("; "))]
    Plan {
        /// Everything that is wrong.
        problems: Vec<String>,
    },
    /// Its plan goes beyond its manifest or its grants.
    #[error("it {}", join(refusals))]
    Refused {
        /// Everything that it wants and must not have.
        refusals: Vec<Refusal>,
    },
}

// === impl LoadError ===

impl LoadError {
    /// The key of the plugin's configuration that the operator has to look at.
    pub fn key(&self) -> &'static str {
        match self {
            LoadError::Config { .. } | LoadError::Schema { .. } => "config",
            LoadError::FailClosed => "on_error",
            LoadError::Limit { .. } => "limits",
            LoadError::Refused { refusals } if refusals.iter().all(|one| one.by == Authority::Grants) => {
                "grants"
            }
            _ => "artifact",
        }
    }
}

fn join(parts: &[impl ToString]) -> String {
    let texts: Vec<String> = parts.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
