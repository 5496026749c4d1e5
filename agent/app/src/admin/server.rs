//! The listener: HTTP/1.1 with bounds on everything that the other side decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// More than this many wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// The request line and the headers together.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// From the connection, or the answer before, to the end of a request's headers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Then a connection is closed, unless an answer on it goes on for as long as somebody reads it: a scraper opens another.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);
/// After a failed accept, which usually means that the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The connection that a request came over; among the request's extensions.
#[derive(Clone, Debug)]
pub struct Connection {
    stopped: watch::Receiver<bool>,
    streams: Arc<AtomicUsize>,
}

/// An answer goes on for as long as this lives.
#[derive(Debug)]
pub struct Streaming(Arc<AtomicUsize>);

// === impl Connection ===

impl Connection {
    fn new(stopped: watch::Receiver<bool>) -> Connection {
        Connection { stopped, streams: Arc::default() }
    }

    /// An answer of this connection has no end of its own.
    pub fn stream(&self) -> Streaming {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Streaming(Arc::clone(&self.streams))
    }

    /// Returns when the admin address closes.
    pub async fn stopped(&mut self) {
        drop(self.stopped.wait_for(|stopped| *stopped).await);
    }

    fn is_streaming(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers until `stopped` says true, and returns when the last connection has ended.
pub async fn serve(listener: TcpListener, routes: Router, mut stopped: watch::Receiver<bool>) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &seats) => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        while connections.try_join_next().is_some() {}
        let Some((seat, stream)) = accepted else { continue };
        let (routes, stopped) = (routes.clone(), stopped.clone());
        connections.spawn(async move {
            converse(stream, routes, stopped).await;
            drop(seat);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(tokio::sync::OwnedSemaphorePermit, TcpStream)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((seat, stream)),
        Err(error) => {
            tracing::debug!(%error, "failed to accept a connection to the admin address");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// One connection, to its end. Its errors are the other side's.
async fn converse(stream: TcpStream, routes: Router, mut stopped: watch::Receiver<bool>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let routes = TowerToHyperService::new(routes);
    let of_requests = Connection::new(stopped.clone());
    let streaming = of_requests.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(of_requests.clone());
        routes.call(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
    let whole = async {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.as_mut().await;
    };
    let life = async {
        loop {
            tokio::time::sleep(CONNECTION_LIFE).await;
            if !streaming.is_streaming() {
                return;
            }
        }
    };
    tokio::select! {
        () = whole => {}
        () = life => {}
    }
}
