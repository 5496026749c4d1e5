//! One connection, from its first byte to its end.
//!
//! 1. A connection that says nothing ends: one without a first request soon, any other when it has been idle.
//! 2. A connection that shall end finishes the requests that it has, for a bounded time.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// Requests of one connection at the same time.
const MAX_STREAMS: u32 = 64;
/// Bytes of a request's headers.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Bytes that HTTP/1.1 reads ahead, headers among them.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that a client may send ahead of what is read of one request, and of all requests of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// HTTP/2 asks after a peer that says nothing, and how long it waits for the answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The body of an answer.
pub(crate) type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// A connection ended otherwise than it should.
#[derive(Debug, thiserror::Error)]
#[error("the connection failed: {0}")]
pub struct ConnectionError(Box<dyn std::error::Error + Send + Sync>);

/// Which requests a connection has, and since when it has none.
#[derive(Debug)]
struct Activity {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    requests: usize,
    any: bool,
    since: Instant,
}

/// A request that is being answered.
struct Busy(Arc<Activity>);

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// For its first request.
    pub first: Duration,
    /// Without a request.
    pub idle: Duration,
    /// To end, when it shall.
    pub grace: Duration,
}

/// Answers the requests of one connection until it ends, is idle for too long, or `stop` is true or gone. Then the
/// requests that it has are answered still, for the time of [`Times::grace`].
pub(crate) async fn serve<S, A, F>(
    stream: S,
    times: Times,
    answer: A,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Answer>> + Send + 'static,
{
    let activity = Arc::new(Activity::new());
    let service = service_fn(|request: Request<Incoming>| {
        let (busy, answering) = (Busy::new(&activity), answer(request));
        async move {
            let response = answering.await;
            drop(busy);
            Ok::<_, Infallible>(response)
        }
    });
    let builder = builder(times);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = &mut connection => return ended.map_err(ConnectionError),
        () = stopped(&mut stop) => {}
        () = activity.idle(times) => {}
    }
    connection.as_mut().graceful_shutdown();
    // How it ends then is nobody's fault.
    let _ = timeout(times.grace, connection).await;
    Ok(())
}

fn builder(times: Times) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // It runs while a connection waits for its next request, too.
        .header_read_timeout(times.idle)
        .max_buf_size(MAX_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Who could say so is gone: then it is time, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

// === impl Activity ===

impl Activity {
    fn new() -> Activity {
        Activity { state: Mutex::new(State { requests: 0, any: false, since: Instant::now() }) }
    }

    /// Returns when the connection has had no request for too long.
    async fn idle(&self, times: Times) {
        loop {
            let state = self.with(|state| *state);
            let limit = if state.any { times.idle } else { times.first };
            // With a request under way it is looked at again later.
            let from = if state.requests > 0 { Instant::now() } else { state.since };
            let Some(end) = from.checked_add(limit) else { return pending().await };
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Busy ===

impl Busy {
    fn new(activity: &Arc<Activity>) -> Busy {
        activity.with(|state| {
            state.requests += 1;
            state.any = true;
        });
        Busy(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.requests = state.requests.saturating_sub(1);
            state.since = Instant::now();
        });
    }
}
