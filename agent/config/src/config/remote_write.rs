//! Remote write, checked: what is received, and what is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ClientTls, Listening, Secret};
use crate::types::Size;

/// Receives what Prometheus and its like push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteWriteSource {
    /// How they are listened to.
    pub listening: Listening,
    /// Where they write to, beside `/api/v1/receive`.
    pub path: String,
    /// Who they must be.
    pub auth: RemoteWriteAuth,
}

/// Sends samples by remote write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteWriteSink {
    /// Where samples are sent to.
    pub url: String,
    /// Which version is spoken.
    pub version: WriteVersion,
    /// Whose samples they are, as the value of `tenant_header`.
    pub tenant: Option<String>,
    /// The name of that header.
    pub tenant_header: String,
    /// Further headers; none of those that the protocol needs, and not `tenant_header`.
    pub headers: BTreeMap<String, String>,
    /// Who the agent is.
    pub auth: RemoteWriteAuth,
    /// How the receiver is known, and the agent; without a `server_name`.
    pub tls: ClientTls,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Samples of a request.
    pub max_samples: u32,
    /// Size of a request before it is compressed.
    pub max_bytes: Size,
    /// How long samples wait for others to share a request with.
    pub max_wait: Duration,
    /// Requests under way at once, at the most: each series belongs to one shard; 1 to 64.
    pub shards: u16,
    /// Whether metadata is sent.
    pub metadata: bool,
    /// Whether exemplars are sent.
    pub exemplars: bool,
    /// Whether native histograms are sent; they are dropped and counted otherwise.
    pub native_histograms: bool,
}

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RemoteWriteAuth {
    /// Nobody, or who its certificate says.
    #[default]
    None,
    /// By name and password.
    Basic {
        /// The name.
        username: String,
        /// Where its password is.
        password: Secret,
    },
    /// By a token.
    Bearer(Secret),
}

/// Which version of remote write is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteVersion {
    /// 2.0, and 1.0 where the receiver does not know that.
    Auto,
    /// 1.0.
    V1,
    /// 2.0.
    V2,
}
