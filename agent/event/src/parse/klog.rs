//! klog, the log format of Kubernetes' components:
//! `I1122 10:00:00.123456    6111 file.go:123] message`.
//!
//! | part | member |
//! |---|---|
//! | `I`, `W`, `E`, `F` | `level`: `info`, `warn`, `error`, `fatal` |
//! | the number before the file | `thread` |
//! | file and line | `source` |
//! | the quoted message of a structured record | `msg` |
//! | its pairs `key="value"`, `key=1`, `key={"json":true}` | one of the key's name each |
//!
//! The date has no year and the time no zone, so they are no member: an event has its time from elsewhere. A
//! message without quotes has no `msg`, it stands in `message` anyhow. Pairs are read up to the first word
//! that is none; a value that klog writes over several lines (`key=<`) stays in `message` only.

use super::pairs::{BareValues, OwnNames, Pair, Pairs, Tokens, Value};
use super::quoted::Quoted;
use super::{end_document, start_document};
use crate::json;

const OWN_NAMES: OwnNames =
    OwnNames { prefix: b"klog.", names: &[b"message", b"level", b"thread", b"source", b"msg"] };

/// What stands before the message, and the message.
struct Record<'a> {
    level: &'static [u8],
    thread: &'a [u8],
    source: &'a [u8],
    message: &'a [u8],
}

/// Appends a document; `false`, and nothing appended, if the text is not klog's.
pub(super) fn render(text: &str, out: &mut Vec<u8>) -> bool {
    let Some(record) = split(text.as_bytes()) else { return false };
    start_document(out, text);
    for (name, value) in [("level", record.level), ("thread", record.thread), ("source", record.source)] {
        start_member(out, name);
        json::write_escaped(out, value);
        out.push(b'"');
    }
    if let Some((msg, pairs)) = split_structured(record.message) {
        start_member(out, "msg");
        msg.write(out);
        out.push(b'"');
        pairs.write(out);
    }
    end_document(out);
    true
}

fn start_member(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
}

fn split(text: &[u8]) -> Option<Record<'_>> {
    let level: &[u8] = match text.first()? {
        b'I' => b"info",
        b'W' => b"warn",
        b'E' => b"error",
        b'F' => b"fatal",
        _ => return None,
    };
    const DATE_AND_TIME: &[u8; 21] = b"0000 00:00:00.000000 ";
    let (date_and_time, rest) = text[1..].split_first_chunk::<21>()?;
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    if !date_and_time.iter().zip(DATE_AND_TIME).all(fits) {
        return None;
    }
    let (thread, rest) = split_digits(rest.trim_ascii_start())?;
    let rest = rest.strip_prefix(b" ")?;
    let (source, message) = rest.split_at(rest.iter().position(|byte| matches!(byte, b']' | b' ' | b'\n'))?);
    let colon = source.iter().rposition(|byte| *byte == b':')?;
    let (_, b"") = split_digits(&source[colon + 1..])? else { return None };
    let message = message.strip_prefix(b"]")?;
    if !matches!(message, [] | [b' ' | b'\n', ..]) {
        return None;
    }
    Some(Record { level, thread, source, message: message.strip_prefix(b" ").unwrap_or(message) })
}

/// One digit or more, and what follows them.
fn split_digits(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let count = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    (count > 0).then(|| bytes.split_at(count))
}

/// The message and pairs of a structured record: a quoted string with nothing behind it but pairs, or at
/// least a pair first.
fn split_structured(message: &[u8]) -> Option<(Quoted<'_>, Pairs<'_>)> {
    let (msg, rest) = Quoted::read(message.strip_prefix(b"\"")?)?;
    if !matches!(rest, [] | [b' ' | b'\n', ..]) {
        return None;
    }
    let mut pairs = Pairs::new(&OWN_NAMES);
    for token in Tokens::new(rest, BareValues::ToBlankOrClosed) {
        match token {
            Ok(Pair { value: Value::Bare(b"<"), .. }) => break,
            Ok(pair) => pairs.add(pair),
            Err(()) if pairs.is_empty() => return None,
            Err(()) => break,
        }
        if pairs.is_full() {
            break;
        }
    }
    Some((msg, pairs))
}
