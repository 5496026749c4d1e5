//! The `opensearch` sink.

use std::path::PathBuf;
use std::time::Duration;

use super::super::Context;
use crate::config::{
    OpenSearchAuth, OpenSearchCompression, OpenSearchDeadLetters, OpenSearchFields, OpenSearchSink,
    OpenSearchTls, TlsIdentity,
};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::types::Size;

const DEFAULT_INDICES_PER_HOUR: u32 = 1000;
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(1);
const MAX_MAX_WAIT: Duration = Duration::from_secs(60);
const DEFAULT_MAX_BYTES: Size = Size::of_mib(5);
/// Less would be a request for a few events each.
const MIN_MAX_BYTES: Size = Size::of_bytes(64 * 1024);
/// What OpenSearch takes unless told otherwise.
const MAX_MAX_BYTES: Size = Size::of_mib(100);
const DEFAULT_MAX_EVENTS: u32 = 10_000;
const DEFAULT_CONCURRENCY: u16 = 4;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
const DEFAULT_MAX_DEPTH: u32 = 20;
const DEFAULT_MAX_FIELDS: u32 = 1000;

pub(super) fn sink(raw: raw::OpenSearchSink, path: &KeyPath, context: &mut Context<'_>) -> OpenSearchSink {
    let fields = raw.fields.unwrap_or_default();
    let max_wait = raw.max_wait.map_or(DEFAULT_MAX_WAIT, |wait| wait.0);
    context.at_most(max_wait, MAX_MAX_WAIT, "60s", &path.key("max_wait"));
    let max_bytes = raw.max_bytes.map_or(DEFAULT_MAX_BYTES, |size| size.0);
    if !(MIN_MAX_BYTES..=MAX_MAX_BYTES).contains(&max_bytes) {
        let message = format!("must be from {MIN_MAX_BYTES} to {MAX_MAX_BYTES}, found {max_bytes}");
        context.error(&path.key("max_bytes"), Complaint::new(message));
    }
    let timeout = raw.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    if timeout < MIN_TIMEOUT {
        context.error(&path.key("timeout"), Complaint::new("must be at least 1s"));
    }
    context.at_most(timeout, MAX_TIMEOUT, "10m", &path.key("timeout"));
    let tls = tls(raw.tls.unwrap_or_default(), &path.key("tls"), context);
    let is_secret = raw.auth.is_some() || tls.identity.is_some();
    if is_secret && raw.endpoints.iter().any(|endpoint| endpoint.0.0.starts_with("http://")) {
        let complaint = Complaint::new("the agent's secret goes over the network in clear");
        context.warn(&path.key("endpoints"), complaint.help("use https:// endpoints"));
    }
    OpenSearchSink {
        endpoints: raw.endpoints.into_iter().map(|endpoint| endpoint.0.0).collect(),
        index: raw.index.0.0,
        max_indices_per_hour: raw.max_indices_per_hour.unwrap_or(DEFAULT_INDICES_PER_HOUR),
        max_wait,
        max_bytes,
        max_events: raw.max_events.unwrap_or(DEFAULT_MAX_EVENTS),
        concurrency: raw.concurrency.unwrap_or(DEFAULT_CONCURRENCY),
        compression: match raw.compression {
            Some(raw::OpenSearchCompression::Gzip) | None => OpenSearchCompression::Gzip,
            Some(raw::OpenSearchCompression::None) => OpenSearchCompression::None,
        },
        timeout,
        tls,
        auth: raw.auth.map_or(OpenSearchAuth::None, |auth| match auth {
            raw::OpenSearchAuth::Basic(basic) => OpenSearchAuth::Basic {
                username: basic.username.0.0,
                password: context.secret(basic.password),
            },
            raw::OpenSearchAuth::Bearer(token) => OpenSearchAuth::Bearer(context.secret(token)),
        }),
        fields: OpenSearchFields {
            max_depth: fields.max_depth.unwrap_or(DEFAULT_MAX_DEPTH),
            max_fields: fields.max_fields.unwrap_or(DEFAULT_MAX_FIELDS),
            dedot: fields.dedot.unwrap_or(false),
        },
        dead_letters: match raw.dead_letters {
            None => OpenSearchDeadLetters::File(None),
            Some(raw::OpenSearchDeadLetters::File(path)) => {
                OpenSearchDeadLetters::File(Some(context.absolute(&path.0.0)))
            }
            Some(raw::OpenSearchDeadLetters::Index(name)) => OpenSearchDeadLetters::Index(name.0.0),
        },
    }
}

fn tls(raw: raw::OpenSearchTls, path: &KeyPath, context: &mut Context<'_>) -> OpenSearchTls {
    let insecure_skip_verify = raw.insecure_skip_verify.unwrap_or(false);
    if insecure_skip_verify {
        let complaint = Complaint::new("any certificate is taken, so anybody may answer as OpenSearch");
        context.warn(&path.key("insecure_skip_verify"), complaint.help("give tls: {ca: {file: …}} instead"));
    }
    let identity = match (raw.cert, raw.key) {
        (Some(cert), Some(key)) => {
            Some(TlsIdentity { certificate: file(&cert, context), key: file(&key, context) })
        }
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
    OpenSearchTls { ca: raw.ca.map(|ca| file(&ca, context)), identity, insecure_skip_verify }
}

fn file(raw: &raw::FileReference, context: &Context<'_>) -> PathBuf {
    context.absolute(&raw.file.0.0)
}

/// Complains about secrets and certificates that cannot be had, whatever else may be wrong with their sinks.
pub(in crate::validate) fn check_secrets(context: &mut Context<'_>) {
    let section = KeyPath::of(&["sinks"]);
    let tree = context.tree;
    for sink in tree.entry("sinks").into_iter().flat_map(|entry| entry.value.entries()) {
        context.check_given(&sink.value, &section.key(&sink.key), &["auth"], &["tls"]);
    }
}
