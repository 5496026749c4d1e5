//! What the configuration says about a source `otlp`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::secret::Secret;

/// How many messages are decoded at once. Between its decoding and its room in the pipeline a message may take more
/// memory than it has room for: so many may.
const DECODERS: usize = 2;

/// Limits and permissions of a source. All its connections share one.
#[derive(Debug)]
pub struct Settings {
    /// Bytes that a request may have, as it is sent and as it unpacks.
    pub max_message: usize,
    /// Whether a resource's `k8s.*` attributes say where its records come from.
    pub trust_kubernetes: bool,
    /// What clients must send as `authorization: Bearer ...`.
    pub bearer: Option<Secret>,
    /// How long a client may take to send a request's body, and a new connection its first request.
    pub read_timeout: Duration,
    /// How long a request waits for memory before its client is told to try again.
    pub room_timeout: Duration,
    /// How long a request waits to be safe before its client is told to try again.
    pub answer_timeout: Duration,
    /// A connection without requests ends after this.
    pub idle_timeout: Duration,
    /// How long a connection that shall end may take to do so.
    pub grace: Duration,
    pub(super) decoders: Arc<Semaphore>,
}

// === impl Settings ===

impl Settings {
    /// Settings with the usual times, without a secret, that trust no sender, for requests of up to `max_message` bytes.
    pub fn new(max_message: usize) -> Settings {
        Settings {
            max_message,
            trust_kubernetes: false,
            bearer: None,
            read_timeout: Duration::from_secs(30),
            room_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            grace: Duration::from_secs(15),
            decoders: Arc::new(Semaphore::new(DECODERS)),
        }
    }

    /// Bytes of memory that a decoded request may take. Short names and numbers grow most; eightfold is more than any
    /// exporter's.
    pub(super) fn max_decoded(&self) -> usize {
        self.max_message.saturating_mul(8)
    }

    /// Bytes of documents that may be made of a request. Each record carries its resource, so they are more than were
    /// sent.
    pub(super) fn max_documents(&self) -> usize {
        self.max_message.saturating_mul(8)
    }
}
