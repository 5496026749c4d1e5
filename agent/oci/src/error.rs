//! What goes wrong with a registry.

use crate::digest::Digest;
use crate::manifest::ManifestError;

/// Why a registry did not give, or did not take, what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer, or not in time.
    #[error("{registry} does not answer: {cause}")]
    Unreachable {
        /// The registry, or its token service.
        registry: String,
        /// What happened.
        cause: String,
    },
    /// It answers that it cannot.
    #[error("{registry} answers {status}{}", detail(message))]
    Failing {
        /// The registry, or its token service.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// It does not let us.
    #[error("{registry} refuses {who} ({status}{}); {help}", detail(message))]
    Denied {
        /// The registry, or its token service.
        registry: String,
        /// Who asked.
        who: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
        /// What to do.
        help: &'static str,
    },
    /// It is not there.
    #[error("{registry} has no {what}")]
    NotFound {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// It is too large.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// What is taken.
        limit: usize,
    },
    /// It is something else.
    #[error("{what} is not what was asked for: its digest is {found}, wanted is {wanted}")]
    Altered {
        /// What was asked for.
        what: String,
        /// The digest of what came.
        found: Digest,
        /// The digest of what was wanted.
        wanted: Digest,
    },
    /// It cannot be a plugin.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// It is not understood.
    #[error("the answer of {registry} is not understood: {problem}")]
    Protocol {
        /// The registry, or its token service.
        registry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There can be no connection, whoever answers.
    #[error("{0}")]
    Settings(String),
}

// === impl Error ===

impl Error {
    /// Whether the registry is down, or takes us for nobody, so that what it gave earlier may be used in its place.
    /// What it says is not there, and what is wrong, is neither.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Unreachable { .. } | Error::Failing { .. } | Error::Denied { .. })
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
