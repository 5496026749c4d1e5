//! Connections to the service, and helpers to make requests.

use std::io::Write;
use std::sync::Arc;

use hyper::{Request, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::documents::Documents;
pub use crate::http::testing::{Answered, Client, FakeIntake, Protocol, Verdict, answered, streamed};
use crate::intake::Parcel;
use crate::otlp::{ConnectionError, Encoding, Settings, decode, serve, write_documents};

pub const GRPC_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub const LIMIT: usize = 1 << 20;

/// A connection to the service, from both ends.
pub struct Connection {
    pub intake: FakeIntake,
    pub stop: watch::Sender<bool>,
    pub server: JoinHandle<Result<(), ConnectionError>>,
    pub stream: DuplexStream,
}

pub fn connect(settings: Settings) -> Connection {
    let (stream, server) = tokio::io::duplex(64 * 1024);
    let intake = FakeIntake::default();
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(server, Arc::new(settings), intake.clone(), stopped));
    Connection { intake, stop, server, stream }
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

impl FakeIntake {
    /// The keys of the messages, and their documents.
    pub fn taken(&self) -> Vec<(Option<u64>, Vec<Value>)> {
        let state = self.state.lock().unwrap();
        let taken = |parcel: &Parcel| match parcel {
            Parcel::Events(message) => (message.key, values(&message.documents)),
            Parcel::Samples(_) => panic!("samples"),
        };
        state.parcels.iter().map(taken).collect()
    }
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
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
