//! One request and its answer: what the driver needs of a client, and what tests stand in for.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::outcome::Failure;

/// A request under way.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>>;

/// Brings requests to OpenSearch. Several may be under way.
pub(crate) trait Exchange: Send + Sync {
    /// Sends the body of a `_bulk` request and returns the body of the answer. Ends within the request's timeout.
    fn bulk(&self, body: Bytes, is_gzip: bool) -> Answer;

    /// Reads credentials and certificates again before the next request, whether they seem to have changed or not.
    fn renew(&self);
}
