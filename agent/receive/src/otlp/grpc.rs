//! OTLP over gRPC (OTLP specification, "OTLP/gRPC"; gRPC over HTTP2): one unary method.
//!
//! A unary request is one frame: whether it is packed, its length, the message. It is read here, and not by tonic,
//! because its memory must be granted between its length and its message.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Request, Response};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::compression::Compression;
use super::export::{Exporter, Packed};
use super::http::authorize;
use super::request::Encoding;
use crate::http::body::Reading;
use crate::http::connection::Answer;
use crate::http::refused::Refused;
use crate::intake::Intake;

const PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// One byte says whether the message is packed, four how long it is.
const PREFIX_BYTES: usize = 5;
const ENCODINGS: &str = "gzip,zstd,identity";

/// Why a request over gRPC was not taken.
#[derive(Debug, thiserror::Error)]
enum GrpcRefused {
    #[error("only logs are taken here: the method is {PATH}")]
    Method,
    #[error("the message's encoding must be gzip, zstd or identity")]
    MessageEncoding,
    #[error("the request took longer than its grpc-timeout")]
    Deadline,
    #[error(transparent)]
    Export(#[from] Refused),
}

// === impl GrpcRefused ===

impl GrpcRefused {
    /// Which of these are sent again says the OTLP specification, "Failures".
    fn code(&self) -> Code {
        match self {
            GrpcRefused::Method | GrpcRefused::MessageEncoding => Code::Unimplemented,
            GrpcRefused::Deadline => Code::DeadlineExceeded,
            GrpcRefused::Export(refused) => match refused {
                Refused::Malformed(_) => Code::InvalidArgument,
                // Without RetryInfo the client does not send it again: it would be as large.
                Refused::TooLarge(_) => Code::ResourceExhausted,
                Refused::Unauthorized => Code::Unauthenticated,
                Refused::TooSlow => Code::DeadlineExceeded,
                Refused::Broken => Code::Cancelled,
                Refused::Busy | Refused::Unsafe => Code::Unavailable,
                Refused::Failed => Code::Internal,
            },
        }
    }

    fn into_response(self) -> Response<Answer> {
        let mut response: Response<()> = Status::new(self.code(), self.to_string()).into_http();
        if matches!(self, GrpcRefused::MessageEncoding) {
            response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(ENCODINGS));
        }
        response.map(|()| Empty::new().boxed_unsync())
    }
}

/// Whether a request's content type is one of gRPC's that this service speaks.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let name = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(b"application/grpc") || name.eq_ignore_ascii_case(b"application/grpc+proto")
}

/// Answers a request.
pub(super) async fn answer<B, I>(exporter: &Exporter<I>, request: Request<B>) -> Response<Answer>
where
    B: Body<Data = Bytes> + Unpin + Send,
    I: Intake,
{
    let taken = match deadline(request.headers()) {
        None => take(exporter, request).await,
        Some(time) => timeout(time, take(exporter, request)).await.unwrap_or(Err(GrpcRefused::Deadline)),
    };
    match taken {
        Ok(response) => success(&response),
        Err(refused) => {
            match &refused {
                GrpcRefused::Export(refused) => exporter.count(refused),
                GrpcRefused::Deadline => {}
                _ => exporter.count(&Refused::Malformed(String::new())),
            }
            refused.into_response()
        }
    }
}

async fn take<B, I>(
    exporter: &Exporter<I>,
    request: Request<B>,
) -> Result<ExportLogsServiceResponse, GrpcRefused>
where
    B: Body<Data = Bytes> + Unpin + Send,
    I: Intake,
{
    authorize(&exporter.settings, request.headers())?;
    if request.uri().path() != PATH {
        return Err(GrpcRefused::Method);
    }
    let name = request.headers().get("grpc-encoding").map_or(&b""[..], HeaderValue::as_bytes);
    let named = Compression::named(name).ok_or(GrpcRefused::MessageEncoding)?;
    Ok(read(exporter, request.into_body(), named).await?)
}

async fn read<B, I>(
    exporter: &Exporter<I>,
    body: B,
    named: Compression,
) -> Result<ExportLogsServiceResponse, Refused>
where
    B: Body<Data = Bytes> + Unpin + Send,
    I: Intake,
{
    let limit = exporter.settings.max_message;
    let mut held = exporter.held();
    let mut reading = Reading::new(body, exporter.settings.read_timeout);
    let (compression, len) = prefix(reading.first(PREFIX_BYTES).await?, named)?;
    if len > limit {
        return Err(Refused::TooLarge(format!(
            "the message has {len} bytes, {limit} may be; send fewer records at once"
        )));
    }
    held.cover(compression.expected(len, limit).max(len + PREFIX_BYTES)).await?;
    reading.rest(PREFIX_BYTES + len, &mut held).await?;
    let mut body = reading.into_bytes();
    if body.len() != PREFIX_BYTES + len {
        return Err(Refused::Malformed("the body is not one message of the length that it says".to_owned()));
    }
    body.drain(..PREFIX_BYTES);
    exporter.export(Packed { body, compression, encoding: Encoding::Protobuf }, held).await
}

/// What a frame's prefix says: how its message is packed, and its length.
fn prefix(begun: &[u8], named: Compression) -> Result<(Compression, usize), Refused> {
    let Some(([packed, length @ ..], _)) = begun.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Refused::Malformed("the request has no message".to_owned()));
    };
    let compression = match (packed, named) {
        (0, _) => Compression::Identity,
        (1, Compression::Gzip | Compression::Zstd) => named,
        _ => {
            let message = "the message is marked as packed, but grpc-encoding does not say how";
            return Err(Refused::Malformed(message.to_owned()));
        }
    };
    Ok((compression, u32::from_be_bytes(*length) as usize))
}

/// How long the client waits: up to eight digits and a unit. What is none of that is ignored.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn success(response: &ExportLogsServiceResponse) -> Response<Answer> {
    let mut frame = vec![0; PREFIX_BYTES];
    frame.extend_from_slice(&response.encode_to_vec());
    let len = u32::try_from(frame.len() - PREFIX_BYTES).unwrap_or(0);
    if let Some(length) = frame.get_mut(1..PREFIX_BYTES) {
        length.copy_from_slice(&len.to_be_bytes());
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(ENCODINGS));
    response
}
