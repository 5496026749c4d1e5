//! The `remote_write` sink.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::Context;
use crate::config::{ClientTls, RemoteWriteAuth, RemoteWriteSink, TlsIdentity, WriteVersion};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::text::quoted;
use crate::types::{HeaderName, HeaderValue, Size};

const DEFAULT_TENANT_HEADER: &str = "THANOS-TENANT";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUTS: [(Duration, &str); 2] = [(Duration::from_secs(1), "1s"), (Duration::from_secs(600), "10m")];
const DEFAULT_MAX_SAMPLES: u32 = 5_000;
const DEFAULT_MAX_BYTES: Size = Size::of_mib(4);
/// Less would be a request for a few samples each.
const MIN_MAX_BYTES: Size = Size::of_bytes(64 * 1024);
/// What receivers take unpacked, unless told otherwise.
const MAX_MAX_BYTES: Size = Size::of_mib(32);
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(1);
const MAX_MAX_WAIT: Duration = Duration::from_secs(60);
const DEFAULT_SHARDS: u16 = 4;
/// What the protocol or HTTP itself sets.
const RESERVED: [&str; 19] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "www-authenticate",
    "x-prometheus-remote-read-version",
];
/// What remote write's own headers begin with.
const RESERVED_PREFIX: &str = "x-prometheus-remote-write-";

pub(super) fn sink(raw: raw::RemoteWriteSink, path: &KeyPath, context: &mut Context<'_>) -> RemoteWriteSink {
    let max_wait = raw.max_wait.map_or(DEFAULT_MAX_WAIT, |wait| wait.0);
    context.at_most(max_wait, MAX_MAX_WAIT, "60s", &path.key("max_wait"));
    let max_bytes = raw.max_bytes.map_or(DEFAULT_MAX_BYTES, |size| size.0);
    if !(MIN_MAX_BYTES..=MAX_MAX_BYTES).contains(&max_bytes) {
        let message = format!("must be from {MIN_MAX_BYTES} to {MAX_MAX_BYTES}, found {max_bytes}");
        context.error(&path.key("max_bytes"), Complaint::new(message));
    }
    let timeout = raw.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    context.within(timeout, TIMEOUTS, &path.key("timeout"));
    let tls = tls(raw.tls.unwrap_or_default(), &path.key("tls"), context);
    if (raw.auth.is_some() || tls.identity.is_some()) && raw.url.0.0.starts_with("http://") {
        let complaint = Complaint::new("the agent's secret goes over the network in clear");
        context.warn(&path.key("url"), complaint.help("use an https:// URL"));
    }
    if raw.tenant.is_none() && raw.tenant_header.is_some() {
        let complaint = Complaint::new("there is no tenant that the header could name");
        context.warn(&path.key("tenant_header"), complaint.help("give tenant, or remove tenant_header"));
    }
    let tenant_header =
        raw.tenant_header.map_or_else(|| DEFAULT_TENANT_HEADER.to_owned(), |header| header.0.0);
    if is_reserved(&tenant_header) {
        context.error(&path.key("tenant_header"), reserved(&tenant_header));
    }
    RemoteWriteSink {
        url: raw.url.0.0,
        version: raw.protocol.map_or(WriteVersion::Auto, |protocol| protocol.0.0),
        tenant: raw.tenant.map(|tenant| tenant.0.0),
        headers: headers(raw.headers, &tenant_header, &path.key("headers"), context),
        tenant_header,
        auth: raw.auth.map_or(RemoteWriteAuth::None, |auth| match auth {
            raw::RemoteWriteAuth::Basic(basic) => RemoteWriteAuth::Basic {
                username: basic.username.0.0,
                password: context.secret(basic.password),
            },
            raw::RemoteWriteAuth::Bearer(token) => RemoteWriteAuth::Bearer(context.secret(token)),
        }),
        tls,
        timeout,
        max_samples: raw.max_samples.unwrap_or(DEFAULT_MAX_SAMPLES),
        max_bytes,
        max_wait,
        shards: raw.shards.unwrap_or(DEFAULT_SHARDS),
        metadata: raw.metadata.unwrap_or(true),
        exemplars: raw.exemplars.unwrap_or(true),
        native_histograms: raw.native_histograms.unwrap_or(true),
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
        || name.to_ascii_lowercase().starts_with(RESERVED_PREFIX)
}

fn reserved(name: &str) -> Complaint {
    let complaint = Complaint::new(format!("the header {} is not for you to set", quoted(name)));
    match name.eq_ignore_ascii_case("authorization") {
        true => complaint.help("write auth: {basic: …} or auth: {bearer: …}"),
        false => complaint.help("the protocol says what it is"),
    }
}

fn headers(
    raw: BTreeMap<raw::Text<HeaderName>, raw::Text<HeaderValue>>,
    tenant_header: &str,
    path: &KeyPath,
    context: &mut Context<'_>,
) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in raw {
        let name = name.0.0;
        if is_reserved(&name) {
            context.error(&path.key(&name), reserved(&name));
        } else if name.eq_ignore_ascii_case(tenant_header) {
            let complaint = Complaint::new(format!("the header {} names the tenant", quoted(&name)));
            context.error(&path.key(&name), complaint.help("give tenant instead"));
        } else if headers.keys().any(|other| other.eq_ignore_ascii_case(&name)) {
            let complaint = Complaint::new(format!("the header {} is there twice", quoted(&name)));
            context.error(&path.key(&name), complaint);
        }
        headers.insert(name, value.0.0);
    }
    headers
}

fn tls(raw: raw::RemoteWriteTls, path: &KeyPath, context: &mut Context<'_>) -> ClientTls {
    let insecure_skip_verify = raw.insecure_skip_verify.unwrap_or(false);
    if insecure_skip_verify {
        let complaint = Complaint::new("any certificate is taken, so anybody may answer as the receiver");
        context.warn(&path.key("insecure_skip_verify"), complaint.help("give tls: {ca: {file: …}} instead"));
    }
    let mut file = |raw: raw::FileReference| context.absolute(&raw.file.0.0);
    let (ca, certificate, key) = (raw.ca.map(&mut file), raw.cert.map(&mut file), raw.key.map(&mut file));
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsIdentity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            context.error(&path.key("cert"), Complaint::new("a certificate needs its key").help("give key"));
            None
        }
        (None, Some(_)) => {
            context.error(&path.key("key"), Complaint::new("a key needs its certificate").help("give cert"));
            None
        }
    };
    ClientTls { ca, identity, server_name: None, insecure_skip_verify }
}
