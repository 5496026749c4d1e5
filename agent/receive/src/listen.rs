//! Listening: accepts connections, and ends them in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::gate::Gate;
use crate::intake::{Intake as _, Refusal};
use crate::receiver::Protocol;

/// A handshake that takes longer has failed.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted: mostly there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What is under way when the source is stopped may take so long to become safe and be answered.
pub(crate) const LAST_ANSWERS: Duration = Duration::from_millis(1_500);

/// What a listener does with connections.
pub(crate) struct Door {
    pub protocol: Protocol,
    pub tls: Option<Arc<ServerConfig>>,
    pub max_connections: u32,
    pub gate: Gate,
    /// The source's name, for the log.
    pub source: Arc<str>,
}

/// Serves connections until it is told to stop, then lets them finish, but not for long.
pub(crate) async fn listen(listener: TcpListener, door: Arc<Door>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let told = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|told| *told) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) if connections.len() < door.max_connections as usize => {
                connections.spawn(Arc::clone(&door).serve(stream, client, told.clone()));
            }
            Ok((stream, _)) => {
                drop(stream);
                door.gate.count(Refusal::Connections, 1);
            }
            Err(error) => {
                // One that the client has closed already is nobody's trouble.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::warn!(source = %door.source, %error, "cannot accept a connection; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let _ = timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

impl Door {
    async fn serve(self: Arc<Self>, stream: TcpStream, client: SocketAddr, stop: watch::Receiver<bool>) {
        let _open = Open::new(&self.gate);
        // Answers are small and awaited.
        let _ = stream.set_nodelay(true);
        let ended = match &self.tls {
            None => self.speak(stream, stop).await,
            Some(config) => {
                let acceptor = TlsAcceptor::from(Arc::clone(config));
                match timeout(TLS_TIMEOUT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => self.speak(stream, stop).await,
                    Ok(Err(error)) => {
                        self.gate.count(Refusal::Tls, 1);
                        Err(format!("no TLS: {error}"))
                    }
                    Err(_) => {
                        self.gate.count(Refusal::TimedOut, 1);
                        Err("the TLS handshake took too long".to_owned())
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(source = %self.source, %client, error, "a connection ended early");
        }
    }

    fn speak<S>(
        &self,
        stream: S,
        stop: watch::Receiver<bool>,
    ) -> impl Future<Output = Result<(), String>> + Send + use<S>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (protocol, gate) = (self.protocol.clone(), self.gate.clone());
        async move {
            match protocol {
                Protocol::Forward(settings) => crate::forward::serve(stream, settings, gate, stop)
                    .await
                    .map_err(|error| error.to_string()),
                Protocol::Otlp(settings) => {
                    crate::otlp::serve(stream, settings, gate, stop).await.map_err(|error| error.to_string())
                }
                Protocol::RemoteWrite(settings) => crate::remote_write::serve(stream, settings, gate, stop)
                    .await
                    .map_err(|error| error.to_string()),
            }
        }
    }
}

/// Counts a connection for as long as it is open.
struct Open(Gate);

impl Open {
    fn new(gate: &Gate) -> Open {
        gate.metrics().receiving.connections.fetch_add(1, Ordering::Relaxed);
        Open(gate.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics().receiving.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
