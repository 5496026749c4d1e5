//! Requests and answers of remote write (Prometheus Remote-Write specifications 1.0 and 2.0, "Protocol" and "Response").

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use rand::Rng;
use weir_samples::receive::{Report, Version};

use super::settings::{DEFAULT_PATH, THANOS_PATH};
use super::writer::{Packed, Writer};
use crate::http::body::{Reading, START_BYTES};
use crate::http::connection::Answer;
use crate::http::refused::Refused;
use crate::intake::{Intake, Refusal};

/// A client that is told to try again is told to wait up to so many seconds, so that not all come at once.
const MAX_RETRY_S: u32 = 5;

const SAMPLES_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS_WRITTEN: HeaderName =
    HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
enum WriteRefused {
    #[error("there is nothing here; samples go to {DEFAULT_PATH}")]
    Path,
    #[error("samples are sent by POST")]
    Method,
    #[error(
        "the content type must be application/x-protobuf, with proto=prometheus.WriteRequest or \
         proto=io.prometheus.write.v2.Request"
    )]
    ContentType,
    #[error("the content encoding must be snappy")]
    ContentEncoding,
    #[error(transparent)]
    Request(#[from] Refused),
}

// === impl WriteRefused ===

impl WriteRefused {
    /// Senders send again what they hear 5xx of, and nothing else.
    fn status(&self) -> StatusCode {
        match self {
            WriteRefused::Path => StatusCode::NOT_FOUND,
            WriteRefused::Method => StatusCode::METHOD_NOT_ALLOWED,
            WriteRefused::ContentType | WriteRefused::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            WriteRefused::Request(refused) => match refused {
                Refused::Malformed(_) => StatusCode::BAD_REQUEST,
                Refused::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                Refused::Unauthorized => StatusCode::UNAUTHORIZED,
                // The network's fault rather than the request's.
                Refused::TooSlow | Refused::Broken | Refused::Busy | Refused::Unsafe => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                Refused::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        match self {
            WriteRefused::Request(refused) => refused.refusal(),
            _ => Some(Refusal::Malformed),
        }
    }
}

/// Answers a request.
pub(super) async fn answer<B, I>(writer: &Writer<I>, request: Request<B>) -> Response<Answer>
where
    B: Body<Data = Bytes> + Unpin + Send,
    I: Intake,
{
    let (parts, body) = request.into_parts();
    let version = match negotiate(writer, &parts) {
        Ok(version) => version,
        Err(refused) => return failure(writer, &refused),
    };
    let (mut response, report) = match read(writer, body, version).await {
        Ok(report) if report.is_partial() => (reply(StatusCode::BAD_REQUEST, report.to_string()), report),
        Ok(report) => (reply(StatusCode::NO_CONTENT, String::new()), report),
        Err(refused) => (failure(writer, &refused.into()), Report::default()),
    };
    // From here on a 2.0 request's answer says what was written, whatever it is otherwise.
    if version == Version::V2 {
        let counts = [
            (SAMPLES_WRITTEN, report.samples),
            (HISTOGRAMS_WRITTEN, report.histograms),
            (EXEMPLARS_WRITTEN, report.exemplars),
        ];
        response.headers_mut().extend(counts.map(|(name, count)| (name, HeaderValue::from(count))));
    }
    response
}

/// Whether a request is one for this source, and of which version.
fn negotiate<I: Intake>(writer: &Writer<I>, parts: &Parts) -> Result<Version, WriteRefused> {
    let path = parts.uri.path();
    if ![DEFAULT_PATH, THANOS_PATH, &writer.settings.path].contains(&path) {
        return Err(WriteRefused::Path);
    }
    if parts.method != Method::POST {
        return Err(WriteRefused::Method);
    }
    if writer.settings.auth.as_ref().is_some_and(|auth| !auth.is_given(&parts.headers)) {
        return Err(Refused::Unauthorized.into());
    }
    let version = content_type(&parts.headers).ok_or(WriteRefused::ContentType)?;
    let mut encodings = parts.headers.get_all(CONTENT_ENCODING).iter();
    // Senders that say nothing send snappy, which is all that there is; Prometheus takes it, too.
    let is_snappy = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"snappy");
    if encodings.next().is_some_and(|value| !is_snappy(value)) || encodings.next().is_some() {
        return Err(WriteRefused::ContentEncoding);
    }
    Ok(version)
}

/// The version that a content type means (RFC 9110, section 8.3.1). Without one it is 1.0, as for Prometheus.
fn content_type(headers: &HeaderMap) -> Option<Version> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Some(Version::V1) };
    if values.next().is_some() {
        return None;
    }
    let mut parts = value.to_str().ok()?.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
        return None;
    }
    let mut version = None;
    // An empty parameter is none.
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        if !name.eq_ignore_ascii_case("proto") {
            continue;
        }
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let message = quoted.unwrap_or(value);
        let known = [Version::V1, Version::V2].into_iter().find(|version| version.message() == message)?;
        if version.replace(known).is_some_and(|before| before != known) {
            return None;
        }
    }
    Some(version.unwrap_or(Version::V1))
}

async fn read<B, I>(writer: &Writer<I>, body: B, version: Version) -> Result<Report, Refused>
where
    B: Body<Data = Bytes> + Unpin + Send,
    I: Intake,
{
    let limit = writer.settings.max_message;
    let mut held = writer.held();
    let mut reading = Reading::new(body, writer.settings.read_timeout);
    match reading.declared() {
        Some(declared) if declared > limit => {
            return Err(Refused::TooLarge(format!(
                "the body has {declared} bytes, {limit} may be; send fewer samples at once"
            )));
        }
        Some(declared) => held.cover(declared).await?,
        None => held.cover(START_BYTES.min(limit)).await?,
    }
    reading.rest(limit, &mut held).await?;
    writer.write(Packed { body: reading.into_bytes(), version }, held).await
}

fn failure<I: Intake>(writer: &Writer<I>, refused: &WriteRefused) -> Response<Answer> {
    if let Some(refusal) = refused.refusal() {
        writer.count(refusal);
    }
    let mut response = reply(refused.status(), refused.to_string());
    let header = match (refused, &writer.settings.auth) {
        (WriteRefused::Method, _) => Some((ALLOW, HeaderValue::from_static("POST"))),
        (WriteRefused::Request(Refused::Unauthorized), Some(auth)) => {
            Some((WWW_AUTHENTICATE, auth.challenge()))
        }
        _ if refused.status() == StatusCode::SERVICE_UNAVAILABLE => {
            Some((RETRY_AFTER, HeaderValue::from(rand::rng().random_range(1..=MAX_RETRY_S))))
        }
        _ => None,
    };
    response.headers_mut().extend(header);
    response
}

/// An answer in words; one that succeeds has none.
fn reply(status: StatusCode, text: String) -> Response<Answer> {
    let is_empty = text.is_empty();
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    if !is_empty {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
    }
    response
}
