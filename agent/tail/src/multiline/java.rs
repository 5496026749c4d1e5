//! Stack traces of Java and its kin: the exception, its frames, what was suppressed, and what caused it.

use super::Step;
use super::words::{begins_with_exception, indented, mentions_exception};

/// An exception's first line came; so many lines of its message before that, added to this.
const MESSAGE: u8 = 1;
const MAX_MESSAGE: u8 = 9;
/// A frame came.
const FRAMES: u8 = 16;

pub(super) fn start(line: &[u8]) -> Option<u8> {
    match line.first()? {
        b'\t' | b' ' => is_frame(indented(line)?).then_some(FRAMES),
        b'E' if line.starts_with(b"Exception in thread \"") => Some(MESSAGE),
        b'C' | b'W' | b'S' if begins_cause(line) => Some(MESSAGE),
        _ => (begins_with_exception(line) || mentions_exception(line)).then_some(MESSAGE),
    }
}

pub(super) fn next(state: u8, line: &[u8]) -> Step {
    if begins_cause(line) {
        return Step::Sure(MESSAGE);
    }
    if let Some(text) = indented(line) {
        if begins_cause(text) {
            return Step::Sure(MESSAGE);
        }
        if is_frame(text) {
            return Step::Sure(FRAMES);
        }
    }
    // Some print without indenting.
    if line.starts_with(b"at ") && line.last() == Some(&b')') {
        return Step::Sure(FRAMES);
    }
    match state {
        MESSAGE..MAX_MESSAGE => Step::Perhaps(state + 1),
        _ => Step::No,
    }
}

fn begins_cause(text: &[u8]) -> bool {
    [&b"Caused by: "[..], b"Wrapped by: ", b"Suppressed: "].iter().any(|cause| text.starts_with(cause))
}

/// A line below an exception, without what it is indented by.
fn is_frame(text: &[u8]) -> bool {
    match text.first() {
        Some(b'a') => text.starts_with(b"at "),
        Some(b'.') => {
            let Some(rest) = text.strip_prefix(b"... ") else { return false };
            rest.first().is_some_and(u8::is_ascii_digit)
        }
        Some(b'-') => {
            [&b"- locked "[..], b"- waiting ", b"- parking "].iter().any(|lock| text.starts_with(lock))
        }
        Some(b'[') => text.starts_with(b"[CIRCULAR REFERENCE"),
        Some(b'(') => text.starts_with(b"(Coroutine boundary)"),
        _ => false,
    }
}
