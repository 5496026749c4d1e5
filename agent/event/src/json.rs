//! Writing JSON text.

use crate::swar;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string with quotes (RFC 8259 section 7). Everything beyond the required escapes is
/// written as it is.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Appends a name that is known to be UTF-8 as a JSON string with quotes.
pub(crate) fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(b'"');
    write_escaped(out, name);
    out.push(b'"');
}

/// Appends the bytes of a string's content, escaping what RFC 8259 section 7 requires. Does not look at UTF-8.
pub fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        rest = write_clean(out, rest);
        let Some((byte, behind)) = rest.split_first() else { return };
        write_escape(out, *byte);
        rest = behind;
    }
}

/// Appends what comes before the first byte that needs an escape; returns what begins with it.
#[inline]
fn write_clean<'a>(out: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk::<32>()
        && is_clean(block)
    {
        out.extend_from_slice(block);
        rest = behind;
    }
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let clean = swar::lowest(escapes_in(u64::from_le_bytes(*chunk)));
        out.extend_from_slice(chunk);
        if clean < 8 {
            out.truncate(out.len() - 8 + clean);
            return &rest[clean..];
        }
        rest = behind;
    }
    // Zeros are behind the last bytes, and are found at the latest.
    let word = swar::load_few(rest);
    let clean = swar::lowest(escapes_in(word));
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(out.len() - 8 + clean);
    &rest[clean..]
}

/// The compiler makes vector instructions of this; told to stop at the first, it would not.
#[inline]
fn is_clean(block: &[u8; 32]) -> bool {
    !block.iter().fold(false, |any, byte| any | (*byte < b' ') | (*byte == b'"') | (*byte == b'\\'))
}

/// Marks the bytes that need an escape, as [`swar`] does.
#[inline]
fn escapes_in(word: u64) -> u64 {
    swar::below(word, b' ') | swar::equal(word, b'"') | swar::equal(word, b'\\')
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        other => {
            let [high, low] = [HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    }
}

/// Appends the characters that a string's content stands for (RFC 8259 section 7). A lone surrogate becomes U+FFFD;
/// an escape that the grammar does not know is kept as it is.
pub fn unescape(content: &[u8], out: &mut Vec<u8>) {
    let mut rest = content;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = unescape_one(&rest[at..], out);
    }
    out.extend_from_slice(rest);
}

/// One escape at the beginning of `text`; returns what lies behind it.
fn unescape_one<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let plain = match text.get(1) {
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return unescape_unicode(text, out),
        _ => {
            out.push(b'\\');
            return &text[1..];
        }
    };
    out.push(plain);
    &text[2..]
}

fn unescape_unicode<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let Some(first) = hex4(text) else {
        out.push(b'\\');
        return &text[1..];
    };
    let mut rest = &text[6..];
    let mut character = char::from_u32(first);
    if (0xd800..0xdc00).contains(&first)
        && let Some(second @ 0xdc00..0xe000) = hex4(rest)
    {
        character = char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
        rest = &rest[6..];
    }
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

/// The number of `\uXXXX` at the beginning of `text`.
fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        let mut out = b"before".to_vec();
        write_string(&mut out, text);
        let json = std::str::from_utf8(&out).unwrap().strip_prefix("before").unwrap();
        assert_eq!(serde_json::from_str::<String>(json).unwrap(), text, "{json}");
    }

    #[test]
    fn every_byte_is_written_at_every_place() {
        for code in (0..0x800).chain([0x2028, 0x2029, 0xffff, 0x1_f600]) {
            let special = char::from_u32(code).unwrap();
            for before in 0..18 {
                check(&format!("{}{special}{}", "x".repeat(before), "y".repeat(17 - before)));
            }
        }
    }

    #[test]
    fn only_what_must_be_is_escaped() {
        let mut out = Vec::new();
        write_escaped(&mut out, b"a/\"\\\n\r\t\x00\x1f\x7f\xff'\xc3\xa9");
        assert_eq!(out, b"a/\\\"\\\\\\n\\r\\t\\u0000\\u001f\x7f\xff'\xc3\xa9");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "[\\x00-\\x30\\\\\"a-cé😀]*") {
            check(&text);
        }
    }
}
