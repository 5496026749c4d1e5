//! A fake of the pipeline, a client over memory, and helpers to make requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;
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
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::documents::Documents;
use crate::intake::{Intake, Message, NotSafe, Refusal, Safe};
use crate::otlp::{ConnectionError, Encoding, Settings, decode, serve, write_documents};

pub const GRPC_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub const LIMIT: usize = 1 << 20;

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
    pub messages: Vec<Message>,
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

    fn push(&self, message: Message, room: usize) -> Safe {
        assert!(4 * room + 4 > message.documents.bytes());
        let mut state = self.state.lock().unwrap();
        state.messages.push(message);
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
        self.state.lock().unwrap().messages.len()
    }

    pub fn refused(&self) -> Vec<(Refusal, u64)> {
        self.state.lock().unwrap().refused.clone()
    }

    /// The keys of the messages, and their documents.
    pub fn taken(&self) -> Vec<(Option<u64>, Vec<Value>)> {
        let state = self.state.lock().unwrap();
        state.messages.iter().map(|message| (message.key, values(&message.documents))).collect()
    }
}

/// A connection to the service, from both ends.
pub struct Connection {
    pub intake: FakeIntake,
    pub stop: watch::Sender<bool>,
    pub server: JoinHandle<Result<(), ConnectionError>>,
    pub stream: DuplexStream,
}

/// An answer, as a client sees it.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

pub fn connect(settings: Settings) -> Connection {
    let (stream, server) = tokio::io::duplex(64 * 1024);
    let intake = FakeIntake::default();
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(server, Arc::new(settings), intake.clone(), stopped));
    Connection { intake, stop, server, stream }
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
    pub async fn new(protocol: Protocol, stream: DuplexStream) -> Client {
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

/// Sends one request over a new connection.
pub async fn send(
    protocol: Protocol,
    settings: Settings,
    request: Request<Vec<u8>>,
) -> (Answered, FakeIntake) {
    let connection = connect(settings);
    let answered = Client::new(protocol, connection.stream).await.send(request).await;
    (answered, connection.intake)
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

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub fn post<B>(content_type: &str, encoding: &str, body: B) -> Request<B> {
    let mut request = Request::post("http://weir/v1/logs").header("content-type", content_type);
    if !encoding.is_empty() {
        request = request.header("content-encoding", encoding);
    }
    request.body(body).unwrap()
}

pub fn grpc<B>(path: &str, encoding: &str, body: B) -> Request<B> {
    let mut request = Request::post(format!("http://weir{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if !encoding.is_empty() {
        request = request.header("grpc-encoding", encoding);
    }
    request.body(body).unwrap()
}

/// A message with gRPC's prefix.
pub fn framed(packed: bool, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(packed)];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

pub fn pack(encoding: &str, body: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(body, 3).unwrap(),
        _ => body.to_vec(),
    }
}

/// A request with these bodies.
pub fn json_request(bodies: &[&str]) -> String {
    let records: Vec<Value> =
        bodies.iter().map(|body| serde_json::json!({"body": {"stringValue": body}})).collect();
    serde_json::json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string()
}

pub fn from_json(json: &str) -> ExportLogsServiceRequest {
    decode(json.as_bytes(), Encoding::Json, 1 << 30).unwrap()
}

pub fn protobuf_request(bodies: &[&str]) -> Vec<u8> {
    from_json(&json_request(bodies)).encode_to_vec()
}

pub fn documents(request: &ExportLogsServiceRequest, trust_kubernetes: bool) -> (Documents, u64) {
    let mut documents = Documents::new(1 << 30);
    let rejected = write_documents(request, trust_kubernetes, &mut documents).unwrap();
    (documents, rejected)
}

pub fn values(documents: &Documents) -> Vec<Value> {
    documents.iter().map(|(_, text)| serde_json::from_slice(text).unwrap()).collect()
}

pub const PROTOBUF: &str = "application/x-protobuf";
pub const JSON: &str = "application/json";

/// A way to send the same records.
pub fn ways() -> Vec<(Protocol, Request<Vec<u8>>)> {
    let records = ["one", "two"];
    let mut ways = Vec::new();
    for encoding in ["", "identity", "gzip", "zstd"] {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let (json, protobuf) = (json_request(&records), protobuf_request(&records));
            ways.push((protocol, post(JSON, encoding, pack(encoding, json.as_bytes()))));
            ways.push((protocol, post(PROTOBUF, encoding, pack(encoding, &protobuf))));
        }
        let message = pack(encoding, &protobuf_request(&records));
        let is_packed = matches!(encoding, "gzip" | "zstd");
        ways.push((Protocol::Http2, grpc(GRPC_PATH, encoding, framed(is_packed, &message))));
    }
    ways.push((Protocol::Http1, post("Application/JSON; charset=utf-8", "", json_request(&records).into())));
    ways
}

/// Whether it is a success of HTTP or gRPC.
pub fn is_success(answered: &Answered) -> bool {
    answered.status == StatusCode::OK
        && (answered.header("content-type") != "application/grpc" || answered.grpc_status() == "0")
}

/// 503 with a time, or UNAVAILABLE.
pub fn is_unavailable(answered: &Answered) -> bool {
    match answered.header("content-type") {
        "application/grpc" => answered.grpc_status() == "14",
        _ => {
            answered.status == StatusCode::SERVICE_UNAVAILABLE
                && (1..=5).contains(&answered.header("retry-after").parse::<u32>().unwrap())
        }
    }
}
