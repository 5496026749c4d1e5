//! One connection, from its first byte to its end.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::http;
use super::settings::Settings;
use super::writer::Writer;
use crate::http::connection::{self, ConnectionError, Times};
use crate::intake::Intake;

/// Answers the requests of one connection until it ends, is idle for too long, or `stop` is true or gone. Then the
/// requests that it has are answered still, for the time of [`Settings::grace`].
pub async fn serve<S, I>(
    stream: S,
    settings: Arc<Settings>,
    intake: I,
    stop: watch::Receiver<bool>,
) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    I: Intake,
{
    let times = Times { first: settings.read_timeout, idle: settings.idle_timeout, grace: settings.grace };
    let writer = Arc::new(Writer::new(settings, intake));
    let answer = |request: Request<Incoming>| {
        let writer = Arc::clone(&writer);
        async move { http::answer(&writer, request).await }
    };
    connection::serve(stream, times, answer, stop).await
}
