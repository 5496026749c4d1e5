//! What the configuration says about a source `remote_write`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use weir_samples::receive::Decoder;

use crate::http::Auth;

/// Where Prometheus takes samples.
pub const DEFAULT_PATH: &str = "/api/v1/write";
/// Where Thanos takes samples.
pub const THANOS_PATH: &str = "/api/v1/receive";
/// How many messages are decoded at once. Between its decoding and its room in the pipeline a message may take more
/// memory than it has room for: so many may.
const DECODERS: usize = 2;
/// How many times larger than a request may be its rows may be. Of Prometheus' 2.0 requests they are six times what they
/// unpack to, and those have at most a hundredth of what may be.
const ROWS_GROWTH: usize = 4;

/// Limits and permissions of a source, and what its senders said of metrics. All its connections share one.
#[derive(Debug)]
pub struct Settings {
    /// Bytes that a request may have, as it is sent and as it unpacks.
    pub max_message: usize,
    /// Where samples are taken besides [`DEFAULT_PATH`] and [`THANOS_PATH`].
    pub path: String,
    /// What clients must show; nothing where it is `None`.
    pub auth: Option<Auth>,
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
    pub(super) decoder: Arc<Decoder>,
    pub(super) decoders: Arc<Semaphore>,
}

// === impl Settings ===

impl Settings {
    /// Settings with the usual times and paths, without a secret, for requests of up to `max_message` bytes. Series
    /// without labels `cluster` and `node` get these; empty ones are left out.
    pub fn new(max_message: usize, cluster: &str, node: &str) -> Settings {
        let external = [("cluster", cluster), ("node", node)];
        let external = external.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Settings {
            max_message,
            path: DEFAULT_PATH.to_owned(),
            auth: None,
            read_timeout: Duration::from_secs(30),
            room_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            grace: Duration::from_secs(15),
            decoder: Arc::new(Decoder::new(external)),
            decoders: Arc::new(Semaphore::new(DECODERS)),
        }
    }

    /// Bytes of rows that may be made of a request.
    pub(super) fn max_rows(&self) -> usize {
        self.max_message.saturating_mul(ROWS_GROWTH)
    }
}
