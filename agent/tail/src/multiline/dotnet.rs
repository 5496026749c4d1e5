//! Exceptions of .NET: the exception, those inside it, their frames and the marks between them; and records of its
//! console logger, which go on indented.

use super::Step;
use super::words::{begins_with_exception, indented, is_blank, mentions_exception};

/// An exception's first line came; so many lines of its message before that, added to this.
const MESSAGE: u8 = 1;
const MAX_MESSAGE: u8 = 9;
/// A frame or a mark came.
const FRAMES: u8 = 16;
/// The first line of the console logger's record.
const CONSOLE: u8 = 17;

pub(super) fn start(line: &[u8]) -> Option<u8> {
    match line.first()? {
        b' ' => is_of_trace(indented(line)?).then_some(FRAMES),
        b'-' => is_mark(line).then_some(FRAMES),
        b'U' if line.starts_with(b"Unhandled ") => Some(MESSAGE),
        b't' | b'd' | b'i' | b'w' | b'f' | b'c' if is_console(line) => Some(CONSOLE),
        _ => (begins_with_exception(line) || mentions_exception(line)).then_some(MESSAGE),
    }
}

pub(super) fn next(state: u8, line: &[u8]) -> Step {
    if state == CONSOLE {
        return match line {
            _ if line.starts_with(b"      ") => Step::Sure(CONSOLE),
            _ if is_blank(line) => Step::Perhaps(CONSOLE),
            _ => Step::No,
        };
    }
    if is_mark(line) {
        return Step::Sure(FRAMES);
    }
    if let Some(text) = indented(line) {
        if text.starts_with(b"---> ") {
            return Step::Sure(MESSAGE);
        }
        if is_of_trace(text) {
            return Step::Sure(FRAMES);
        }
    }
    match state {
        MESSAGE..MAX_MESSAGE => Step::Perhaps(state + 1),
        // Between the exceptions inside an AggregateException.
        FRAMES if is_blank(line) => Step::Perhaps(FRAMES),
        _ => Step::No,
    }
}

/// A line below an exception, without what it is indented by.
fn is_of_trace(text: &[u8]) -> bool {
    text.starts_with(b"at ") || text.starts_with(b"---> ") || is_mark(text)
}

fn is_mark(text: &[u8]) -> bool {
    text.starts_with(b"--- End of ")
}

/// `fail: Microsoft.AspNetCore.Server.Kestrel[13]`
fn is_console(line: &[u8]) -> bool {
    let levels: [&[u8]; 6] = [b"trce: ", b"dbug: ", b"info: ", b"warn: ", b"fail: ", b"crit: "];
    levels.iter().any(|level| line.starts_with(level)) && line.last() == Some(&b']')
}
