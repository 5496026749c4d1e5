//! For tests: a fake of the pipeline, and a client over memory.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::intake::{Intake, NotSafe, Parcel, Refusal, Safe};

/// What the pipeline says of the next message.
pub enum Verdict {
    Safe,
    NotSafe,
    /// When it is told so.
    Later(oneshot::Receiver<()>),
}

#[derive(Clone, Default)]
pub struct FakeIntake {
    pub state: Arc<Mutex<Fake>>,
}

#[derive(Default)]
pub struct Fake {
    pub verdicts: VecDeque<Verdict>,
    pub parcels: Vec<Parcel>,
    pub rooms: Vec<usize>,
    pub refused: Vec<(Refusal, u64)>,
    /// Larger rooms never come.
    pub largest_room: Option<usize>,
}

impl Intake for FakeIntake {
    type Room = usize;

    async fn room(&self, bytes: usize) -> Result<usize, NotSafe> {
        let largest = {
            let mut state = self.state.lock().unwrap();
            state.rooms.push(bytes);
            state.largest_room
        };
        if largest.is_some_and(|largest| bytes > largest) {
            std::future::pending::<()>().await;
        }
        Ok(bytes)
    }

    fn push(&self, parcel: Parcel, room: usize) -> Safe {
        let bytes = match &parcel {
            Parcel::Events(message) => message.documents.bytes(),
            Parcel::Samples(message) => message.samples.bytes(),
        };
        assert!(4 * room + 4 > bytes);
        let mut state = self.state.lock().unwrap();
        state.parcels.push(parcel);
        let verdict = state.verdicts.pop_front().unwrap_or(Verdict::Safe);
        Box::pin(async move {
            match verdict {
                Verdict::Safe => Ok(()),
                Verdict::NotSafe => Err(NotSafe),
                Verdict::Later(told) => told.await.map_err(|_| NotSafe),
            }
        })
    }

    fn count(&self, what: Refusal, events: u64) {
        self.state.lock().unwrap().refused.push((what, events));
    }
}

impl FakeIntake {
    pub fn will(&self, verdict: Verdict) {
        self.state.lock().unwrap().verdicts.push_back(verdict);
    }

    pub fn messages(&self) -> usize {
        self.state.lock().unwrap().parcels.len()
    }

    pub fn refused(&self) -> Vec<(Refusal, u64)> {
        self.state.lock().unwrap().refused.clone()
    }
}

/// An answer, as a client sees it.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Protocol {
    Http1,
    Http2,
}

pub type ClientBody = UnsyncBoxBody<Bytes, Infallible>;

/// A client with one connection.
pub enum Client {
    Http1(http1::SendRequest<ClientBody>),
    Http2(http2::SendRequest<ClientBody>),
}

impl Client {
    pub async fn new<S>(protocol: Protocol, stream: S) -> Client
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                Client::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                Client::Http2(sender)
            }
        }
    }

    pub async fn try_send(&mut self, request: Request<ClientBody>) -> hyper::Result<Response<Incoming>> {
        match self {
            Client::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Client::Http2(sender) => sender.send_request(request).await,
        }
    }

    pub async fn send(&mut self, request: Request<Vec<u8>>) -> Answered {
        let request = request.map(|body| Full::new(Bytes::from(body)).boxed_unsync());
        answered(self.try_send(request).await.unwrap()).await
    }
}

/// A body whose parts come when they are sent.
pub fn streamed() -> (mpsc::Sender<Bytes>, ClientBody) {
    let (sender, receiver) = mpsc::channel(8);
    (sender, Parts(receiver).boxed_unsync())
}

struct Parts(mpsc::Receiver<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

pub async fn answered(response: Response<Incoming>) -> Answered {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answered { status: parts.status, headers: parts.headers, body: collected.to_bytes(), trailers }
}

impl Answered {
    /// Of gRPC: in the trailers, or in the headers where there is no message.
    pub fn grpc_status(&self) -> &str {
        let status = self.trailers.get("grpc-status").or_else(|| self.headers.get("grpc-status"));
        status.unwrap().to_str().unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
