//! Quoted strings as Go programs write them into their logs, rewritten as the content of JSON strings.
//!
//! Go's `%q` (logrus, slog, klog) and go-kit's logfmt escape differently; taken together they write `\" \\ \a
//! \b \f \n \r \t \v`, `\xhh`, `\uhhhh` (go-kit's as UTF-16 in pairs) and `\Uhhhhhhhh`. What is none of these
//! stays as it is, with its backslash.

use crate::json;

/// What stands between the quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quoted<'a> {
    /// With its escapes.
    pub content: &'a [u8],
    /// Whether there are any.
    pub escaped: bool,
}

impl<'a> Quoted<'a> {
    /// Reads up to the closing quote; `bytes` begins behind the opening one. Also returns what follows;
    /// `None` if the string does not end.
    pub fn read(bytes: &'a [u8]) -> Option<(Quoted<'a>, &'a [u8])> {
        let (mut at, mut escaped) = (0, false);
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                return Some((Quoted { content: &bytes[..at], escaped }, &bytes[at + 1..]));
            }
            // Over the backslash and what it escapes, be it a quote.
            (at, escaped) = (at + 2, true);
        }
    }

    /// Appends the string's value as the content of a JSON string.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.escaped {
            return write_unescaped(out, self.content);
        }
        json::write_escaped(out, self.content);
    }
}

fn write_unescaped(out: &mut Vec<u8>, content: &[u8]) {
    let mut rest = content;
    while let Some(backslash) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(backslash);
        json::write_escaped(out, plain);
        let taken = match escape {
            // JSON has these too.
            [_, b'"' | b'\\' | b'n' | b'r' | b't' | b'b' | b'f', ..] => {
                out.extend_from_slice(&escape[..2]);
                2
            }
            _ => write_unusual(out, escape),
        };
        rest = &escape[taken..];
    }
    json::write_escaped(out, rest);
}

/// Appends the value of the rarer escapes and returns how many bytes of `escape` they take.
fn write_unusual(out: &mut Vec<u8>, escape: &[u8]) -> usize {
    let Some((value, taken)) = value_of(escape) else {
        out.extend_from_slice(b"\\\\");
        return 1;
    };
    // What is no character: half of a surrogate pair, or a byte of something that was not UTF-8.
    let value = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
    json::write_escaped(out, value.encode_utf8(&mut [0; 4]).as_bytes());
    taken
}

/// The code point (or surrogate) that an escape stands for, and its length.
fn value_of(escape: &[u8]) -> Option<(u32, usize)> {
    match escape.get(1)? {
        b'a' => Some((0x07, 2)),
        b'v' => Some((0x0b, 2)),
        b'x' => {
            // Go writes bytes from 0x80 on like this only if they are not UTF-8.
            let byte = hex(escape.get(2..4)?)?;
            Some((if byte < 0x80 { byte } else { u32::from(char::REPLACEMENT_CHARACTER) }, 4))
        }
        b'u' => {
            let high = hex(escape.get(2..6)?)?;
            let low = escape.get(6..12).filter(|low| low.starts_with(b"\\u")).and_then(|low| hex(&low[2..]));
            match (high, low) {
                (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
                    Some((0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12))
                }
                _ => Some((high, 6)),
            }
        }
        b'U' => Some((hex(escape.get(2..10)?)?, 10)),
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
