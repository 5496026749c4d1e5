//! OTLP over HTTP (OTLP specification, "OTLP/HTTP").

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use rand::Rng;
use tonic::Code;
use weir_event::json;

use super::compression::Compression;
use super::export::{Exporter, Packed};
use super::request::Encoding;
use super::settings::Settings;
use crate::http::auth::has_bearer;
use crate::http::body::{Reading, START_BYTES};
use crate::http::connection::Answer;
use crate::http::refused::Refused;
use crate::intake::Intake;

/// Where logs are sent to.
const PATH: &str = "/v1/logs";
/// A client that is told to try again is told to wait up to so many seconds, so that not all come at once.
const MAX_RETRY_S: u32 = 5;

/// Why a request over HTTP was not taken.
#[derive(Debug, thiserror::Error)]
enum HttpRefused {
    #[error("there is nothing here; logs go to {PATH}")]
    Path,
    #[error("logs are sent by POST")]
    Method,
    #[error("the content type must be application/x-protobuf or application/json")]
    ContentType,
    #[error("the content encoding must be gzip, zstd or identity")]
    ContentEncoding,
    #[error(transparent)]
    Export(#[from] Refused),
}

/// google.rpc.Status: the body of each answer that is no success.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorBody {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

// === impl HttpRefused ===

impl HttpRefused {
    fn status(&self) -> (StatusCode, Code) {
        match self {
            HttpRefused::Path => (StatusCode::NOT_FOUND, Code::NotFound),
            HttpRefused::Method => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            HttpRefused::ContentType | HttpRefused::ContentEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument)
            }
            HttpRefused::Export(refused) => match refused {
                Refused::Malformed(_) | Refused::Broken => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
                Refused::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted),
                Refused::Unauthorized => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
                Refused::TooSlow => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
                Refused::Busy | Refused::Unsafe => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
                Refused::Failed => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
            },
        }
    }

    fn header(&self) -> Option<(hyper::header::HeaderName, HeaderValue)> {
        match self {
            HttpRefused::Method => Some((ALLOW, HeaderValue::from_static("POST"))),
            HttpRefused::Export(Refused::Unauthorized) => {
                Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            HttpRefused::Export(Refused::Busy | Refused::Unsafe) => {
                let seconds = rand::rng().random_range(1..=MAX_RETRY_S);
                Some((RETRY_AFTER, HeaderValue::from(seconds)))
            }
            _ => None,
        }
    }
}

/// Answers a request.
pub(super) async fn answer<B, I>(exporter: &Exporter<I>, request: Request<B>) -> Response<Answer>
where
    B: Body<Data = Bytes> + Unpin + Send,
    I: Intake,
{
    let (parts, body) = request.into_parts();
    let encoding = content_type(&parts.headers);
    match take(exporter, &parts, encoding, body).await {
        Ok((encoding, response)) => reply(StatusCode::OK, encoding, success(encoding, &response)),
        Err(refused) => {
            match &refused {
                HttpRefused::Export(refused) => exporter.count(refused),
                _ => exporter.count(&Refused::Malformed(String::new())),
            }
            failure(encoding.unwrap_or(Encoding::Json), &refused)
        }
    }
}

/// Whether a request has the bearer token that it must have.
pub(super) fn authorize(settings: &Settings, headers: &HeaderMap) -> Result<(), Refused> {
    let Some(secret) = &settings.bearer else { return Ok(()) };
    if has_bearer(headers, secret) {
        return Ok(());
    }
    Err(Refused::Unauthorized)
}

async fn take<B, I>(
    exporter: &Exporter<I>,
    parts: &Parts,
    encoding: Option<Encoding>,
    body: B,
) -> Result<(Encoding, ExportLogsServiceResponse), HttpRefused>
where
    B: Body<Data = Bytes> + Unpin + Send,
    I: Intake,
{
    if parts.uri.path() != PATH {
        return Err(HttpRefused::Path);
    }
    if parts.method != Method::POST {
        return Err(HttpRefused::Method);
    }
    authorize(&exporter.settings, &parts.headers)?;
    let encoding = encoding.ok_or(HttpRefused::ContentType)?;
    let name = parts.headers.get(CONTENT_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
    let compression = Compression::named(name).ok_or(HttpRefused::ContentEncoding)?;
    Ok((encoding, read(exporter, body, compression, encoding).await?))
}

async fn read<B, I>(
    exporter: &Exporter<I>,
    body: B,
    compression: Compression,
    encoding: Encoding,
) -> Result<ExportLogsServiceResponse, Refused>
where
    B: Body<Data = Bytes> + Unpin + Send,
    I: Intake,
{
    let limit = exporter.settings.max_message;
    let mut held = exporter.held();
    let mut reading = Reading::new(body, exporter.settings.read_timeout);
    match reading.declared() {
        Some(declared) if declared > limit => {
            return Err(Refused::TooLarge(format!(
                "the body has {declared} bytes, {limit} may be; send fewer records at once"
            )));
        }
        Some(declared) => held.cover(compression.expected(declared, limit)).await?,
        None => held.cover(START_BYTES.min(limit)).await?,
    }
    reading.rest(limit, &mut held).await?;
    exporter.export(Packed { body: reading.into_bytes(), compression, encoding }, held).await
}

/// The encoding that a content type means, whatever its parameters.
fn content_type(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    let name = value.split(|byte| *byte == b';').next()?.trim_ascii();
    if name.eq_ignore_ascii_case(b"application/x-protobuf") {
        return Some(Encoding::Protobuf);
    }
    name.eq_ignore_ascii_case(b"application/json").then_some(Encoding::Json)
}

fn success(encoding: Encoding, response: &ExportLogsServiceResponse) -> Vec<u8> {
    if encoding == Encoding::Protobuf {
        return response.encode_to_vec();
    }
    let Some(partial) = &response.partial_success else { return b"{}".to_vec() };
    // A 64-bit integer is a string in protobuf's JSON.
    let rejected = partial.rejected_log_records;
    let mut out = format!("{{\"partialSuccess\":{{\"rejectedLogRecords\":\"{rejected}\",\"errorMessage\":")
        .into_bytes();
    json::write_string(&mut out, &partial.error_message);
    out.extend_from_slice(b"}}");
    out
}

fn failure(encoding: Encoding, refused: &HttpRefused) -> Response<Answer> {
    let (status, code) = refused.status();
    let body = ErrorBody { code: code as i32, message: refused.to_string() };
    let body = match encoding {
        Encoding::Protobuf => body.encode_to_vec(),
        Encoding::Json => {
            let mut out = format!("{{\"code\":{},\"message\":", body.code).into_bytes();
            json::write_string(&mut out, &body.message);
            out.push(b'}');
            out
        }
    };
    let mut response = reply(status, encoding, body);
    if let Some((name, value)) = refused.header() {
        response.headers_mut().insert(name, value);
    }
    response
}

fn reply(status: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response<Answer> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *response.status_mut() = status;
    let name = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(name));
    response
}
