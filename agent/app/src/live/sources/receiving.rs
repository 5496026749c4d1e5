//! Sources that are pushed to: their addresses, certificates and secrets.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use weir_config::{
    Config, ForwardSource, ListenTls, Listening, OtlpSource, RemoteWriteAuth, RemoteWriteSource,
};
use weir_pipeline::source::Source;
use weir_receive::remote_write::{self, Auth};
use weir_receive::tls::{Pem, server_config};
use weir_receive::{Protocol, Receiver, ReceiverSettings, Secret, forward, otlp};

use crate::artifacts::read_file;

/// What HTTP clients may ask for by ALPN.
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Addresses that are listened at. They outlive their sources, so that one that is changed goes on at its address, and a
/// client that comes meanwhile waits and is not turned away.
#[derive(Default)]
pub struct Listeners(BTreeMap<SocketAddr, TcpListener>);

impl Listeners {
    /// Those of a configuration that are open already.
    pub fn next(&self, config: &Config) -> Listeners {
        let wanted = config.sources.values().filter_map(|source| Some(source.listening()?.listen));
        let open = wanted.filter_map(|address| Some((address, self.0.get(&address)?.try_clone().ok()?)));
        Listeners(open.collect())
    }

    /// Opens an address, unless it is open.
    fn open(&mut self, address: SocketAddr) -> Result<TcpListener, String> {
        let failed = |error| format!("cannot listen at {address}: {error}");
        // Port 0 is another port each time.
        if let Some(listener) = self.0.get(&address).filter(|_| address.port() != 0) {
            return listener.try_clone().map_err(failed);
        }
        let listener = TcpListener::bind(address).map_err(failed)?;
        self.0.insert(address, listener.try_clone().map_err(failed)?);
        Ok(listener)
    }
}

pub fn forward(
    source: &ForwardSource,
    config: &Config,
    listeners: &mut Listeners,
) -> Result<Box<dyn Source>, String> {
    let users = source.users.iter().map(|(name, password)| Ok((name.clone(), secret(password)?)));
    let listening = &source.listening;
    let settings = forward::Settings {
        shared_key: source.shared_key.as_ref().map(secret).transpose()?,
        users: users.collect::<Result<_, String>>()?,
        // fluentd refuses a server that has its own name, which is the node's.
        hostname: format!("weir-{}", config.node),
        idle_timeout: listening.idle_timeout,
        max_message: bytes(listening),
        ..forward::Settings::default()
    };
    receiver(listening, Protocol::Forward(Arc::new(settings)), &[], listeners)
}

pub fn otlp(source: &OtlpSource, listeners: &mut Listeners) -> Result<Box<dyn Source>, String> {
    let listening = &source.listening;
    let mut settings = otlp::Settings::new(bytes(listening));
    settings.bearer = source.bearer.as_ref().map(secret).transpose()?;
    settings.trust_kubernetes = source.trust_kubernetes;
    settings.idle_timeout = listening.idle_timeout;
    receiver(listening, Protocol::Otlp(Arc::new(settings)), &HTTP, listeners)
}

pub fn remote_write(
    source: &RemoteWriteSource,
    config: &Config,
    listeners: &mut Listeners,
) -> Result<Box<dyn Source>, String> {
    let listening = &source.listening;
    let mut settings = remote_write::Settings::new(bytes(listening), &config.cluster, &config.node);
    settings.path.clone_from(&source.path);
    settings.auth = match &source.auth {
        RemoteWriteAuth::None => None,
        RemoteWriteAuth::Basic { username, password } => {
            Some(Auth::basic(username, &password.read().map_err(|error| error.to_string())?))
        }
        RemoteWriteAuth::Bearer(token) => Some(Auth::Bearer(secret(token)?)),
    };
    settings.idle_timeout = listening.idle_timeout;
    receiver(listening, Protocol::RemoteWrite(Arc::new(settings)), &HTTP, listeners)
}

fn receiver(
    listening: &Listening,
    protocol: Protocol,
    alpn: &[&[u8]],
    listeners: &mut Listeners,
) -> Result<Box<dyn Source>, String> {
    let tls = listening.tls.as_ref().map(|tls| {
        let pem = pem(tls)?;
        server_config(&pem, alpn).map_err(|error| error.to_string())
    });
    Ok(Box::new(Receiver::new(ReceiverSettings {
        tls: tls.transpose()?,
        listener: listeners.open(listening.listen)?,
        protocol,
        max_connections: listening.max_connections,
        memory: usize::try_from(listening.memory().bytes()).unwrap_or(usize::MAX),
        bytes_per_second: listening.max_rate.map(|rate| rate.bytes()),
    })))
}

fn secret(of: &weir_config::Secret) -> Result<Secret, String> {
    of.read().map(Secret::new).map_err(|error| error.to_string())
}

fn pem(tls: &ListenTls) -> Result<Pem, String> {
    let read = |path: &Path| read_file(path);
    Ok(Pem {
        certificate: read(&tls.certificate)?,
        key: read(&tls.key)?,
        client_ca: tls.client_ca.as_deref().map(read).transpose()?,
    })
}

fn bytes(listening: &Listening) -> usize {
    usize::try_from(listening.max_message.bytes()).unwrap_or(usize::MAX)
}
