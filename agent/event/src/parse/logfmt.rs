//! logfmt: `key=value` pairs on one line, as logrus, slog, go-kit and many others write them.
//!
//! Each pair is a member with a string as its value, numbers included. `key=` is an empty string. A word that
//! is no pair is no member: prose would make a field of every word. Keys are taken as they are, values in
//! quotes are unescaped. The record ends with its line; a quoted value may go over several. From a quoted
//! value that does not end on, words are looked at one by one.

use super::pairs::{BareValues, OwnNames, Pair, Pairs, Tokens, Value};
use super::{end_document, start_document};

const OWN_NAMES: OwnNames = OwnNames { prefix: b"logfmt.", names: &[b"message"] };

/// Keys that make a line logfmt, whatever else it holds.
const TELLING_KEYS: [&[u8]; 5] = [b"level", b"msg", b"time", b"ts", b"lvl"];

/// Appends a document; `false`, and nothing appended, if there is no pair.
pub(super) fn render(text: &str, out: &mut Vec<u8>) -> bool {
    let pairs = collect(text, |_| ());
    if pairs.is_empty() {
        return false;
    }
    write(text, &pairs, out);
    true
}

/// The same, but only for a text that is surely logfmt: it begins with a pair and has at least two, and one
/// of them is a level, a time or a message, or there are nothing but pairs. Most other lines are known by
/// their first word.
pub(super) fn render_recognised(text: &str, out: &mut Vec<u8>) -> bool {
    if !begins_with_pair(text.as_bytes()) {
        return false;
    }
    let (mut sound, mut telling, mut others) = (0, false, 0);
    let pairs = collect(text, |token| match token {
        Ok(pair) if is_sound(pair) => {
            sound += 1;
            telling |= TELLING_KEYS.contains(&pair.key);
        }
        _ => others += 1,
    });
    if sound < 2 || !telling && others > 0 {
        return false;
    }
    write(text, &pairs, out);
    true
}

fn collect<'a>(text: &'a str, mut look: impl FnMut(&Result<Pair<'a>, ()>)) -> Pairs<'a> {
    let mut pairs = Pairs::new(&OWN_NAMES);
    for token in Tokens::new(text.as_bytes(), BareValues::ToBlank) {
        look(&token);
        if let Ok(pair) = token {
            pairs.add(pair);
            if pairs.is_full() {
                break;
            }
        }
    }
    pairs
}

fn write(text: &str, pairs: &Pairs<'_>, out: &mut Vec<u8>) {
    start_document(out, text);
    pairs.write(out);
    end_document(out);
}

fn begins_with_pair(text: &[u8]) -> bool {
    let key_len = text.iter().position(|byte| !is_key_byte(*byte)).unwrap_or(text.len());
    text.get(key_len) == Some(&b'=') && text[..key_len].first().is_some_and(u8::is_ascii_alphabetic)
}

/// Whether it is a pair as programs write them, not a part of code or prose such as `f(a=1`, or `a=1` before
/// a comma.
fn is_sound(pair: &Pair<'_>) -> bool {
    let in_prose = matches!(pair.value, Value::Bare([.., b',' | b';']));
    !in_prose && pair.key.iter().all(|byte| is_key_byte(*byte))
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'@')
}
