//! The `remote_write` sink: from its configuration to what [`weir_remote_write`] takes.

use std::sync::Arc;

use weir_config::{RemoteWriteAuth, RemoteWriteSink as Configured, WriteVersion};
use weir_remote_write::{
    Auth, Identity, Metrics, Password, Protocol, RemoteWrite, Secret, Settings, SettingsError, Tls,
};

use super::{Built, Counts};

pub(super) fn build(sink: &Configured) -> Result<Built, SettingsError> {
    let metrics = Arc::<Metrics>::default();
    let driver = RemoteWrite::new(settings(sink), Arc::clone(&metrics))?;
    Ok(Built { driver: Box::new(driver), route: None, counts: Counts::RemoteWrite(metrics) })
}

fn settings(sink: &Configured) -> Settings {
    Settings {
        url: sink.url.clone(),
        protocol: match sink.version {
            WriteVersion::Auto => Protocol::Auto,
            WriteVersion::V1 => Protocol::V1,
            WriteVersion::V2 => Protocol::V2,
        },
        tenant: sink.tenant.clone(),
        tenant_header: sink.tenant_header.clone(),
        headers: sink.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        auth: match &sink.auth {
            RemoteWriteAuth::None => Auth::None,
            RemoteWriteAuth::Basic { username, password } => {
                Auth::Basic(Password { username: username.clone(), password: secret(password) })
            }
            RemoteWriteAuth::Bearer(token) => Auth::Bearer(secret(token)),
        },
        tls: Tls {
            ca: sink.tls.ca.clone(),
            identity: sink.tls.identity.as_ref().map(|identity| Identity {
                certificate: identity.certificate.clone(),
                key: identity.key.clone(),
            }),
            insecure_skip_verify: sink.tls.insecure_skip_verify,
        },
        timeout: sink.timeout,
        max_samples: sink.max_samples as usize,
        max_bytes: usize::try_from(sink.max_bytes.bytes()).unwrap_or(usize::MAX),
        max_wait: sink.max_wait,
        shards: usize::from(sink.shards),
        metadata: sink.metadata,
        exemplars: sink.exemplars,
        native_histograms: sink.native_histograms,
    }
}

fn secret(place: &weir_config::Secret) -> Secret {
    match place {
        weir_config::Secret::File(path) => Secret::File(path.clone()),
        weir_config::Secret::Variable(name) => Secret::Variable(name.clone()),
    }
}
