//! What a store says no with, in words that say what to do.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use weir_buffer::object::{ObjectError, ObjectErrorKind as Kind};

/// Whether the store answered with this code.
pub fn has_code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, code: &str) -> bool {
    error.code() == Some(code)
}

/// Whether a conditional write met another state than it asked for.
pub fn is_condition<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    // 409: another conditional write was under way, and was first.
    has_code(error, "PreconditionFailed") || status(error) == Some(412)
}

/// The error in words. `action` and `place` complete `cannot …`.
pub fn said<E>(error: &SdkError<E, HttpResponse>, action: &str, place: &str) -> ObjectError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = status(error);
    let without_keys = || {
        let reason = chain(find::<CredentialsError>(error)?);
        let help = "give access_key and secret_key, or let the agent's environment give them";
        Some(ObjectError {
            kind: Kind::Refused,
            message: format!(
                "cannot {action} {place}: there are no keys to sign requests with: {reason}; {help}"
            ),
        })
    };
    if let Some(without_keys) = without_keys() {
        return without_keys;
    }
    let (kind, reason) = match (error.code().unwrap_or_default(), status) {
        ("NoSuchBucket", _) => {
            (Kind::Refused, "the bucket does not exist; make it, or set create_bucket: true".to_owned())
        }
        ("NoSuchKey", _) => (Kind::Missing, "there is no such object".to_owned()),
        ("InvalidAccessKeyId", _) => {
            (Kind::Refused, "the store does not know the access key; see to access_key".to_owned())
        }
        ("SignatureDoesNotMatch", _) => {
            (Kind::Refused, "the secret key is not that of the access key; see to secret_key".to_owned())
        }
        ("ExpiredToken" | "InvalidToken", _) => {
            (Kind::Refused, "the session token is not valid any more; give new keys".to_owned())
        }
        ("RequestTimeTooSkewed", _) => {
            (Kind::Refused, "the clocks of this node and of the store differ by minutes; set them".to_owned())
        }
        ("AccessDenied" | "AllAccessDisabled", _) | (_, Some(401 | 403)) => (
            Kind::Refused,
            "the keys may not do that; allow them s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket"
                .to_owned(),
        ),
        ("XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded", _) => {
            (Kind::Refused, "the store is full; make room there".to_owned())
        }
        ("SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestTimeout", _)
        | (_, Some(408 | 409 | 429 | 500..=599)) => (Kind::Retry, words(error)),
        ("BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch", _) => {
            (Kind::Retry, "it arrived damaged".to_owned())
        }
        (_, Some(400..=499)) => (Kind::Refused, words(error)),
        _ => (Kind::Retry, words(error)),
    };
    ObjectError { kind, message: format!("cannot {action} {place}: {reason}") }
}

/// A bucket from which nothing goes.
pub fn locked(place: &str) -> ObjectError {
    let message = format!(
        "cannot use {place}: it has an object lock, so what is delivered could not be removed; use a bucket without one"
    );
    ObjectError { kind: Kind::Refused, message }
}

/// An answer that is not whole.
pub fn broken(place: &str, reason: &str) -> ObjectError {
    ObjectError { kind: Kind::Retry, message: format!("cannot read {place}: {reason}") }
}

/// A configuration that cannot be used.
pub fn wrong(place: &str, reason: &str) -> ObjectError {
    ObjectError { kind: Kind::Refused, message: format!("cannot speak to {place}: {reason}") }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}

/// What the store or the client said itself. Neither quotes keys.
fn words<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message(), status(error)) {
        (Some(code), Some(message), _) => format!("{code}: {message}"),
        (Some(code), None, _) => code.to_owned(),
        (None, _, Some(status)) => format!("HTTP status {status}"),
        (None, _, None) => chain(error),
    }
}

/// An error of this type, or one that was caused by one.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with what caused it, and that in turn.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
