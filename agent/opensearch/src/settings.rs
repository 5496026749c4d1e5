//! What the sink is told, checked by who tells it.

use std::path::PathBuf;
use std::time::Duration;

use weir_event::name_template::NameTemplate;

use crate::limits::FieldLimits;

/// Everything that a sink is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where OpenSearch answers; asked in turn. At least one.
    pub endpoints: Vec<String>,
    /// The index of a document, by its stream and time.
    pub index: NameTemplate,
    /// Different indices that documents of one hour may go to; what goes beyond shares one.
    pub max_indices_per_hour: usize,
    /// How long documents may wait for others to share a request with.
    pub max_wait: Duration,
    /// Size of a request before it is compressed.
    pub max_bytes: usize,
    /// Documents of a request.
    pub max_events: usize,
    /// Requests under way at once, at the most; fewer while OpenSearch says that it is busy.
    pub concurrency: usize,
    /// How requests are compressed.
    pub compression: Compression,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How the other side is known, and this one.
    pub tls: Tls,
    /// Who the agent is.
    pub auth: Auth,
    /// What a document may be.
    pub limits: FieldLimits,
    /// Where documents go that OpenSearch will never take.
    pub dead_letters: DeadLetters,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// At the fastest level.
    Gzip,
    /// Not at all.
    None,
}

/// How the other side is known, and this one.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// A certificate and key of the agent's own.
    pub identity: Option<Identity>,
    /// Any certificate is taken: for trying things out.
    pub insecure_skip_verify: bool,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where a secret is. It is read when it is needed and again when it may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file, without newlines at its end.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

/// A name and where its password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// The name.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// Who the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nobody, or who its certificate says.
    #[default]
    None,
    /// By name and password.
    Basic(Password),
    /// By a token.
    Bearer(Secret),
}

/// Where documents go that OpenSearch will never take.
#[derive(Clone, Debug)]
pub enum DeadLetters {
    /// A file of mode 0600.
    File(PathBuf),
    /// An index; what that does not take goes to the file.
    Index {
        /// Its name.
        index: String,
        /// The file for what the index does not take.
        otherwise: PathBuf,
    },
}

// === impl DeadLetters ===

impl DeadLetters {
    /// The file.
    pub fn file(&self) -> &PathBuf {
        match self {
            DeadLetters::File(file) => file,
            DeadLetters::Index { otherwise, .. } => otherwise,
        }
    }

    /// The index.
    pub fn index(&self) -> Option<&str> {
        match self {
            DeadLetters::File(_) => None,
            DeadLetters::Index { index, .. } => Some(index),
        }
    }
}
