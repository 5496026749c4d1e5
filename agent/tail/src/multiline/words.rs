//! What the languages' printers have in common.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Made once: making a searcher costs more than the search.
static EXCEPTION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"Exception"));

/// Whether a line looks like a record of its own: it begins with a time, a level, a bracket or a key.
pub(super) fn is_record(line: &[u8]) -> bool {
    const LEVELS: [&[u8]; 10] = [
        b"TRACE",
        b"DEBUG",
        b"INFO",
        b"WARN",
        b"ERROR",
        b"FATAL",
        b"SEVERE",
        b"CRITICAL",
        b"NOTICE",
        b"PANIC",
    ];
    match line.first() {
        None => false,
        Some(b'[' | b'<' | b'{' | b'0'..=b'9') => true,
        Some(b'I' | b'W' | b'E' | b'F') if is_klog(line) => true,
        Some(b'A'..=b'Z') => LEVELS.iter().any(|level| line.starts_with(level)),
        Some(b'a'..=b'z') => begins_with_key(line),
        Some(_) => false,
    }
}

fn is_klog(line: &[u8]) -> bool {
    line.get(1..5).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}

/// `key=value`, as logfmt has it.
fn begins_with_key(line: &[u8]) -> bool {
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    line.get(name) == Some(&b'=')
}

/// Whether a line begins with the name of an exception, qualified or not, followed by its message, brackets or
/// nothing.
pub(super) fn begins_with_exception(line: &[u8]) -> bool {
    if !line.first().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$' | b'/' | b'+' | b'`');
    let len = line.iter().take_while(|byte| is_name(**byte)).count();
    let (name, rest) = line.split_at(len);
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let is_class = last.first().is_some_and(u8::is_ascii_uppercase);
    let is_ended = matches!(rest.first(), None | Some(b':' | b'[' | b'(')) || rest.starts_with(b" (");
    if !is_class || !is_ended {
        return false;
    }
    let says_so = [&b"Exception"[..], b"Error", b"Throwable", b"Failure", b"Fault"];
    if says_so.iter().any(|end| last.ends_with(end)) {
        return true;
    }
    // `com.acme.OutOfStock: none left`: of a class that does not say what it is, the packages do.
    let packages = name.iter().filter(|byte| **byte == b'.').count();
    packages >= 2
        && name.first().is_some_and(u8::is_ascii_lowercase)
        && matches!(rest.first(), None | Some(b':'))
}

/// Whether an exception's name, and a colon or nothing behind it, stands somewhere in a line.
pub(super) fn mentions_exception(line: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| EXCEPTION.find(rest)) {
        from += at + b"Exception".len();
        let rest = line.get(from..).unwrap_or_default();
        if matches!(rest, [] | [b':', ..]) {
            return true;
        }
    }
    false
}

/// A line without the white space before it, where there is some.
pub(super) fn indented(line: &[u8]) -> Option<&[u8]> {
    let trimmed = line.trim_ascii_start();
    (trimmed.len() < line.len() && !trimmed.is_empty()).then_some(trimmed)
}

pub(super) fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}
