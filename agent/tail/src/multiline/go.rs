//! What a Go program prints when it dies: panics, fatal errors, the stacks of its goroutines, data races.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::Step;
use super::words::{indented, is_blank};

/// The first line came; so many lines of what was thrown before that, added to this.
const HEAD: u8 = 1;
const MAX_HEAD: u8 = 9;
/// Stacks come.
const STACKS: u8 = 16;
/// The line came that stands before and behind a report of a data race.
const RACE_MARK: u8 = 17;
/// The report came.
const RACE: u8 = 18;
/// And the line behind it.
const RACE_ENDED: u8 = 19;

/// Made once: making a searcher costs more than the search.
static SERVED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"http: panic serving "));

pub(super) fn start(line: &[u8]) -> Option<u8> {
    let begins = |text: &[u8]| line.starts_with(text);
    match line.first()? {
        b'p' if begins(b"panic: ") => Some(HEAD),
        b'f' if begins(b"fatal error: ") => Some(HEAD),
        b'g' if is_goroutine(line) => Some(STACKS),
        b'c' if begins(b"created by ") => Some(STACKS),
        b'r' if begins(b"runtime: goroutine stack exceeds") || begins(b"runtime: out of memory") => {
            Some(HEAD)
        }
        b'u' if begins(b"unexpected fault address ") => Some(HEAD),
        b'S' if begins(b"SIG") && memmem::find(line.get(..32).unwrap_or(line), b": ").is_some() => Some(HEAD),
        b'[' if begins(b"[signal SIG") => Some(HEAD),
        b'=' if is_race_mark(line) => Some(RACE_MARK),
        b'W' if begins(b"WARNING: DATA RACE") => Some(RACE),
        b'\t' => is_place(line).then_some(STACKS),
        b'0'..=b'9' | b'h' => is_served(line).then_some(HEAD),
        _ => None,
    }
}

pub(super) fn next(state: u8, line: &[u8]) -> Step {
    match state {
        RACE_MARK if line.starts_with(b"WARNING: DATA RACE") => Step::Sure(RACE),
        RACE if is_race_mark(line) => Step::Sure(RACE_ENDED),
        RACE if indented(line).is_some() || line.last() == Some(&b':') => Step::Sure(RACE),
        RACE if is_blank(line) => Step::Perhaps(RACE),
        RACE_MARK | RACE | RACE_ENDED => Step::No,
        STACKS if is_of_stack(line) => Step::Sure(STACKS),
        STACKS if is_blank(line) => Step::Perhaps(STACKS),
        STACKS => Step::No,
        _ if is_goroutine(line) || line.starts_with(b"runtime stack:") => Step::Sure(STACKS),
        _ if is_of_head(line) => Step::Sure(HEAD),
        HEAD..MAX_HEAD => Step::Perhaps(state + 1),
        _ => Step::No,
    }
}

/// `goroutine 7 [running]:`
fn is_goroutine(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"goroutine ") else { return false };
    rest.first().is_some_and(u8::is_ascii_digit) && line.last() == Some(&b':')
}

/// Between the first line and the stacks.
fn is_of_head(line: &[u8]) -> bool {
    let begins: [&[u8]; 7] =
        [b"\t", b"panic: ", b"fatal error: ", b"[signal ", b"runtime: ", b"PC=", b"signal arrived during "];
    begins.iter().any(|begin| line.starts_with(begin))
}

fn is_of_stack(line: &[u8]) -> bool {
    let begins: [&[u8]; 7] = [
        b"\t",
        b"created by ",
        b"...additional frames elided...",
        b"[originating from ",
        b"runtime stack:",
        b"[signal ",
        b"...",
    ];
    is_goroutine(line)
        || is_call(line)
        || is_register(line)
        || begins.iter().any(|begin| line.starts_with(begin))
}

/// `main.(*Server).serve(0xc000012120, {0x5?, 0x7})`: no space before the arguments.
fn is_call(line: &[u8]) -> bool {
    if line.last() != Some(&b')')
        || !line.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
    {
        return false;
    }
    let name = line.iter().take_while(|byte| !byte.is_ascii_whitespace() && **byte != b'(').count();
    line.get(name) == Some(&b'(')
}

/// `rip    0x4a871d`
fn is_register(line: &[u8]) -> bool {
    let name = line.iter().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).count();
    let rest = line.get(name..).unwrap_or_default();
    (2..=6).contains(&name) && rest.starts_with(b" ") && rest.trim_ascii_start().starts_with(b"0x")
}

/// `/src/main.go:12 +0x1d`, behind a tab.
fn is_place(line: &[u8]) -> bool {
    memmem::find(line, b".go:").is_some() || memmem::find(line, b" +0x").is_some()
}

fn is_race_mark(line: &[u8]) -> bool {
    line.len() >= 18 && line.iter().all(|byte| *byte == b'=')
}

/// What the HTTP server says of a handler that panicked, before its stack.
fn is_served(line: &[u8]) -> bool {
    SERVED.find(line).is_some()
}
