//! The `opensearch` sink: from its configuration to what [`weir_opensearch`] takes.

use std::path::Path;
use std::sync::Arc;

use weir_config::{
    OpenSearchAuth, OpenSearchCompression, OpenSearchDeadLetters, OpenSearchSink as Configured,
    Secret as SecretPlace,
};
use weir_opensearch::{
    Auth, ClientError, Compression, DeadLetters, FieldLimits, Identity, IndexRoute, Metrics, OpenSearchSink,
    Password, Secret, Settings, Tls,
};

use super::{Built, Counts};

/// What an `opensearch` sink counts.
#[derive(Clone)]
pub struct OpenSearchView {
    /// Of its requests and their items.
    pub metrics: Arc<Metrics>,
    /// Of the indices that documents go to.
    pub route: Arc<IndexRoute>,
}

pub(super) fn build(name: &str, sink: &Configured, data_dir: &Path) -> Result<Built, ClientError> {
    let sink = OpenSearchSink::new(settings(name, sink, data_dir))?;
    let view = OpenSearchView { metrics: sink.metrics(), route: sink.route() };
    Ok(Built { route: Some(sink.route()), driver: Box::new(sink), counts: Counts::OpenSearch(view) })
}

/// What the sink is told.
pub fn settings(name: &str, sink: &Configured, data_dir: &Path) -> Settings {
    let file = || data_dir.join("dead-letters/sinks").join(format!("{name}.ndjson"));
    Settings {
        endpoints: sink.endpoints.clone(),
        index: sink.index.clone(),
        max_indices_per_hour: sink.max_indices_per_hour as usize,
        max_wait: sink.max_wait,
        max_bytes: usize::try_from(sink.max_bytes.bytes()).unwrap_or(usize::MAX),
        max_events: sink.max_events as usize,
        concurrency: usize::from(sink.concurrency),
        compression: match sink.compression {
            OpenSearchCompression::Gzip => Compression::Gzip,
            OpenSearchCompression::None => Compression::None,
        },
        timeout: sink.timeout,
        tls: Tls {
            ca: sink.tls.ca.clone(),
            identity: sink.tls.identity.as_ref().map(|identity| Identity {
                certificate: identity.certificate.clone(),
                key: identity.key.clone(),
            }),
            insecure_skip_verify: sink.tls.insecure_skip_verify,
        },
        auth: match &sink.auth {
            OpenSearchAuth::None => Auth::None,
            OpenSearchAuth::Basic { username, password } => {
                Auth::Basic(Password { username: username.clone(), password: secret(password) })
            }
            OpenSearchAuth::Bearer(token) => Auth::Bearer(secret(token)),
        },
        limits: FieldLimits {
            max_depth: sink.fields.max_depth as usize,
            max_fields: sink.fields.max_fields as usize,
            dedot: sink.fields.dedot,
        },
        dead_letters: match &sink.dead_letters {
            OpenSearchDeadLetters::File(path) => DeadLetters::File(path.clone().unwrap_or_else(file)),
            OpenSearchDeadLetters::Index(index) => {
                DeadLetters::Index { index: index.clone(), otherwise: file() }
            }
        },
    }
}

fn secret(place: &SecretPlace) -> Secret {
    match place {
        SecretPlace::File(path) => Secret::File(path.clone()),
        SecretPlace::Variable(name) => Secret::Variable(name.clone()),
    }
}
