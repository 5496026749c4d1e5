//! Writing JSON text.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string with quotes (RFC 8259 section 7). Everything beyond the required escapes is
/// written as it is.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Appends the bytes of a string's content, escaping what RFC 8259 section 7 requires. Does not look at UTF-8.
pub fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut clean = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[clean..at]);
        clean = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[(other >> 4) as usize]);
                out.push(HEX[(other & 15) as usize]);
            }
        }
    }
    out.extend_from_slice(&bytes[clean..]);
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
