//! Remote write on disk: what is received, and what is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{BasicAuth, FileReference, ListenTls, SecretReference, Text};
use crate::types::{Address, HeaderName, HeaderValue, HttpPath, Name, Size, Url, WriteProtocol};

/// What Prometheus and its like push: remote write, versions 1.0 and 2.0. Its pipelines need `durability: always`: an
/// answer of success says that the samples are safe.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteWriteSource {
    /// Where clients connect to.
    pub listen: Text<Address>,
    /// Where they write to. `/api/v1/receive` is answered too.
    #[schemars(extend("default" = "/api/v1/write"))]
    pub path: Option<Text<HttpPath>>,
    /// Certificates. Absent: no TLS.
    pub tls: Option<ListenTls>,
    /// The token that clients must send: `Authorization: Bearer …`. Absent: none.
    pub bearer: Option<SecretReference>,
    /// The name and password that clients must send, in the place of a token. Absent: none.
    pub basic: Option<BasicAuth>,
    /// Size of a request, unpacked; from 64KiB to 256MiB. The source may use four times as much memory.
    #[schemars(extend("default" = "32MiB"))]
    pub max_message: Option<Text<Size>>,
    /// Connections at once; more are closed as soon as they come.
    #[schemars(range(min = 1, max = 65535), extend("default" = 1024))]
    pub max_connections: Option<u32>,
    /// Bytes a second that are taken from all connections together; who sends more waits. Default: no bound.
    pub max_rate: Option<Text<Size>>,
    /// A connection on which nothing comes for so long is closed; from 1s to 24h.
    #[schemars(extend("default" = "5m"))]
    pub idle_timeout: Option<Text<Duration>>,
}

/// Sends samples by remote write, to Thanos, Prometheus or another receiver: each series in its order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteWriteSink {
    /// Where samples are sent to.
    pub url: Text<Url>,
    /// Which version is spoken.
    #[schemars(extend("default" = "auto"))]
    pub protocol: Option<Text<WriteProtocol>>,
    /// Whose samples they are, for a receiver with tenants. Absent: no header says it.
    pub tenant: Option<Text<HeaderValue>>,
    /// The header that says it.
    #[schemars(extend("default" = "THANOS-TENANT"))]
    pub tenant_header: Option<Text<HeaderName>>,
    /// Further headers of every request; none that the protocol or another key sets.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub headers: BTreeMap<Text<HeaderName>, Text<HeaderValue>>,
    /// Who the agent is. Absent: nobody, or who its certificate says. What is in a file is read again when it changes.
    pub auth: Option<RemoteWriteAuth>,
    /// How the receiver is known, and the agent.
    #[schemars(extend("default" = {}))]
    pub tls: Option<RemoteWriteTls>,
    /// How long an answer may take; from 1s to 10m.
    #[schemars(extend("default" = "30s"))]
    pub timeout: Option<Text<Duration>>,
    /// Samples of a request.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 5000))]
    pub max_samples: Option<u32>,
    /// Size of a request before it is compressed; from 64KiB to 32MiB.
    #[schemars(extend("default" = "4MiB"))]
    pub max_bytes: Option<Text<Size>>,
    /// How long samples wait for others to share a request with; at most 60s.
    #[schemars(extend("default" = "1s"))]
    pub max_wait: Option<Text<Duration>>,
    /// Requests under way at once, at the most. Samples of one series are never in two of them.
    #[schemars(range(min = 1, max = 64), extend("default" = 4))]
    pub shards: Option<u16>,
    /// Whether types, units and help texts are sent.
    #[schemars(extend("default" = true))]
    pub metadata: Option<bool>,
    /// Whether exemplars are sent.
    #[schemars(extend("default" = true))]
    pub exemplars: Option<bool>,
    /// Whether native histograms are sent. Otherwise they are dropped, and counted.
    #[schemars(extend("default" = true))]
    pub native_histograms: Option<bool>,
    /// Whether samples may be lost when this sink is slow or fails, so that it does not hold the others back.
    #[schemars(extend("default" = false))]
    pub best_effort: Option<bool>,
    /// The name of a buffer, where samples wait on disk too. Absent: 16MiB of memory, and what is not delivered when the
    /// agent ends is lost, but for what is read again.
    pub buffer: Option<Text<Name>>,
}

/// Who the agent is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RemoteWriteAuth {
    /// By name and password.
    Basic(BasicAuth),
    /// By a token.
    Bearer(SecretReference),
}

/// How the receiver is known, and the agent. All files are PEM, and read again when they change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteWriteTls {
    /// Certificates that are trusted beside the system's.
    pub ca: Option<FileReference>,
    /// The agent's own certificate, with those between it and its authority.
    pub cert: Option<FileReference>,
    /// The key of `cert`.
    pub key: Option<FileReference>,
    /// Takes any certificate: for trying things out only.
    #[schemars(extend("default" = false))]
    pub insecure_skip_verify: Option<bool>,
}
