//! Tracebacks of Python: frames and their source, the exception, those it was chained to, groups of exceptions.

use super::Step;
use super::words::{indented, is_blank};

/// Frames and their source come.
const FRAMES: u8 = 1;
/// The exception came; another one may be chained to it.
const RAISED: u8 = 2;
/// It was said how the next one is chained.
const CHAINED: u8 = 3;
/// It was said whose exception it is.
const ANNOUNCED: u8 = 4;
/// Lines of an exception group, each with a bar before it.
const GROUP: u8 = 5;
/// The interpreter itself failed, and prints all threads.
const FATAL: u8 = 6;

const HEADER: &[u8] = b"Traceback (most recent call last):";
const GROUP_HEADER: &[u8] = b"+ Exception Group Traceback (most recent call last):";

pub(super) fn start(line: &[u8]) -> Option<u8> {
    match line.first()? {
        b'T' if line.starts_with(HEADER) => Some(FRAMES),
        b' ' => match indented(line)? {
            // Of a syntax error in the program's own file only this is printed.
            text if text.starts_with(b"File \"") => Some(FRAMES),
            text if text.starts_with(GROUP_HEADER) => Some(GROUP),
            _ => None,
        },
        b'E' if line.starts_with(b"Exception in thread ") && !line.starts_with(b"Exception in thread \"") => {
            Some(ANNOUNCED)
        }
        b'E' if line.starts_with(b"Exception ignored in") => Some(ANNOUNCED),
        b'F' if line.starts_with(b"Fatal Python error: ") => Some(FATAL),
        b'D' | b'T' if is_link(line) => Some(CHAINED),
        // Behind what a logger writes before it.
        _ => line.ends_with(HEADER).then_some(FRAMES),
    }
}

pub(super) fn next(state: u8, line: &[u8]) -> Step {
    let begins = line.starts_with(HEADER);
    let text = indented(line);
    let begins_group = text.is_some_and(|text| text.starts_with(GROUP_HEADER));
    match state {
        FRAMES if text.is_some() => Step::Sure(FRAMES),
        FRAMES if is_blank(line) => Step::Perhaps(FRAMES),
        FRAMES if names_exception(line) => Step::Sure(RAISED),
        RAISED | CHAINED | GROUP if is_link(line) => Step::Sure(CHAINED),
        CHAINED | ANNOUNCED if begins => Step::Sure(FRAMES),
        CHAINED | ANNOUNCED if begins_group => Step::Sure(GROUP),
        GROUP if text.is_some_and(|text| matches!(text.first(), Some(b'|' | b'+'))) => Step::Sure(GROUP),
        RAISED | CHAINED | ANNOUNCED | GROUP | FATAL if is_blank(line) => Step::Perhaps(state),
        FATAL if text.is_some() || is_of_interpreter(line) => Step::Sure(FATAL),
        _ => Step::No,
    }
}

/// What stands between two chained exceptions.
fn is_link(line: &[u8]) -> bool {
    line.starts_with(b"During handling of the above exception, another exception occurred:")
        || line.starts_with(b"The above exception was the direct cause of the following exception:")
}

/// An exception's dotted name, and its message behind a colon.
fn names_exception(line: &[u8]) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || byte >= 0x80;
    let len = line.iter().take_while(|byte| is_name(**byte)).count();
    let begins = line.first().is_some_and(|byte| !byte.is_ascii_digit() && *byte != b'.');
    // Of a class that was made inside a function the name says so.
    let rest = line.get(len..).unwrap_or_default();
    begins && len > 0 && matches!(rest, [] | [b':', ..] | [b'<', ..])
}

fn is_of_interpreter(line: &[u8]) -> bool {
    let begins: [&[u8]; 5] =
        [b"Current thread ", b"Thread 0x", b"Python runtime state", b"Extension modules", b"Stack "];
    begins.iter().any(|begin| line.starts_with(begin))
}
