//! One connection, from its first byte to its end.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::export::Exporter;
use super::settings::Settings;
use super::{grpc, http};
use crate::http::connection::{self, Answer, ConnectionError, Times};
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
    let exporter = Exporter { settings, intake };
    let answer = |request: Request<Incoming>| {
        let exporter = exporter.clone();
        async move { answer(&exporter, request).await }
    };
    connection::serve(stream, times, answer, stop).await
}

async fn answer<I: Intake>(exporter: &Exporter<I>, request: Request<Incoming>) -> Response<Answer> {
    if request.version() == Version::HTTP_2 && grpc::is_grpc(request.headers()) {
        return grpc::answer(exporter, request).await;
    }
    http::answer(exporter, request).await
}
