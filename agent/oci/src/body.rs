//! Answers, read within a bound.

use reqwest::Response;

use crate::error::Error;

/// Of an error, for a person.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
const SHOWN_CHARS: usize = 200;

/// The whole body, unless it is longer than `limit`.
pub(crate) async fn read(
    mut response: Response,
    limit: usize,
    what: &str,
    registry: &str,
) -> Result<Vec<u8>, Error> {
    let too_large = || Error::TooLarge { what: what.to_owned(), limit };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| unreachable(registry, &error))?;
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}

/// What a registry says of an error: the first message of its JSON, in one line.
pub(crate) async fn message(response: Response) -> String {
    let registry = String::new();
    let Ok(body) = read(response, MAX_MESSAGE_BYTES, "the message", &registry).await else { return registry };
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = json.pointer("/errors/0/message").or_else(|| json.pointer("/errors/0/code"));
    let said = said.and_then(serde_json::Value::as_str).unwrap_or_default();
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_CHARS).collect()
}

/// An error of the connection, with what lies below it and without the address, which may hold a signature of a store.
pub(crate) fn unreachable(registry: &str, error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::Unreachable { registry: registry.to_owned(), cause: "it took too long".to_owned() };
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    let cause =
        if error.is_redirect() { "a redirect that is not followed".to_owned() } else { cause.to_string() };
    Error::Unreachable { registry: registry.to_owned(), cause }
}
