//! One request and its answer: what the driver needs of a client, and what tests stand in for.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use prost::bytes::Bytes;

use crate::negotiate::Version;

/// A request under way.
pub(crate) type Exchanging = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;

/// Brings requests to a receiver. Several may be under way.
pub(crate) trait Exchange: Send + Sync {
    /// Sends a packed message. Ends within the request's timeout.
    fn write(&self, version: Version, body: Bytes) -> Exchanging;

    /// Reads credentials and certificates again before the next request, whether they seem to have changed or not.
    fn renew(&self);
}

/// What a receiver answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// What it says that it wrote; `None` where it does not say anything about that.
    pub written: Option<Written>,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The body of an answer that is no success; empty for a success.
    pub said: String,
}

/// What a receiver says that it wrote: the headers `X-Prometheus-Remote-Write-*-Written`, 0 for one that is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
}

/// There is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing was sent.
    NoConnection(String),
    /// A secret or certificate is missing or wrong; nothing was sent.
    Setup(String),
    /// What became of the request nobody knows.
    Unknown(String),
}
