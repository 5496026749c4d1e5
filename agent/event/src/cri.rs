//! One line of a container's log as kubelet's container runtimes write it:
//! `<RFC 3339 time> <stdout|stderr> <P|F[:tags]> <content>`.
//!
//! `P` marks a piece of a record that goes on in the next line of the same output stream, `F` a whole record
//! or the last piece of one. Runtimes split records at 16 KiB (containerd) or 8 KiB (CRI-O). More tags may
//! follow the first, behind colons; only the first one means anything so far.

use crate::time::{RFC3339_LEN, Rfc3339Reader};

/// What a container wrote a record to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl OutputStream {
    /// The name it has in the line and in the document: `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        }
    }
}

/// What stands before a line's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CriLine {
    /// When the runtime read the record, in nanoseconds since the Unix epoch.
    pub time: i64,
    /// What the container wrote it to.
    pub stream: OutputStream,
    /// Whether the record goes on in the stream's next line.
    pub partial: bool,
    /// Where the content begins, in bytes from the start of the line; the line's length where there is none.
    pub content_start: usize,
}

/// Why a line is not one of a container's log. The caller keeps it as text, flagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin with a time stamp and a space.
    #[error("the line does not begin with an RFC 3339 time and a space")]
    Time,
    /// The second word is neither `stdout` nor `stderr`.
    #[error("the second word of the line is neither stdout nor stderr")]
    Stream,
    /// The third word is neither `P` nor `F`, with or without further tags.
    #[error("the third word of the line is neither P nor F")]
    Tag,
}

/// Reads what stands before the content of one line, which comes without its newline. The content is not
/// looked at: it may be empty, hold any bytes and end in a carriage return. `reader` is the stream's own, or
/// at least one used for lines that lie close to each other in time.
#[inline]
pub fn parse_line(line: &[u8], reader: &mut Rfc3339Reader) -> Result<CriLine, Malformed> {
    let (stamp, behind) = split_stamp(line);
    // Nearly every line has one tag and content, or at least the space before it.
    if let Some((stream, partial)) = behind.first_chunk().and_then(stream_and_tag)
        && let Some(time) = reader.read(stamp)
    {
        return Ok(CriLine { time, stream, partial, content_start: stamp.len() + HEAD_LEN });
    }
    parse_words(line, reader)
}

/// Length of ` stdout F `.
const HEAD_LEN: usize = 10;

/// The bytes before the first space and those from there on. Most stamps are of full length and in UTC.
#[inline]
fn split_stamp(line: &[u8]) -> (&[u8], &[u8]) {
    if let Some((stamp, rest)) = line.split_first_chunk::<RFC3339_LEN>()
        && rest.first() == Some(&b' ')
        // A space there would make two words of it.
        && stamp[10] == b'T'
    {
        return (stamp, rest);
    }
    line.split_at(memchr::memchr(b' ', line).unwrap_or(line.len()))
}

#[inline]
fn stream_and_tag(head: &[u8; HEAD_LEN]) -> Option<(OutputStream, bool)> {
    match head {
        b" stdout F " => Some((OutputStream::Stdout, false)),
        b" stderr F " => Some((OutputStream::Stderr, false)),
        b" stdout P " => Some((OutputStream::Stdout, true)),
        b" stderr P " => Some((OutputStream::Stderr, true)),
        _ => None,
    }
}

/// The same, word by word, for lines of every form.
#[inline(never)]
fn parse_words(line: &[u8], reader: &mut Rfc3339Reader) -> Result<CriLine, Malformed> {
    let (stamp, rest) = split_word(line);
    let time = reader.read(stamp).ok_or(Malformed::Time)?;
    let (stream, rest) = split_word(rest.ok_or(Malformed::Stream)?);
    let stream = match stream {
        b"stdout" => OutputStream::Stdout,
        b"stderr" => OutputStream::Stderr,
        _ => return Err(Malformed::Stream),
    };
    let (tags, content) = split_word(rest.ok_or(Malformed::Tag)?);
    let partial = match tags {
        [b'P'] | [b'P', b':', ..] => true,
        [b'F'] | [b'F', b':', ..] => false,
        _ => return Err(Malformed::Tag),
    };
    let content_start = line.len() - content.map_or(0, <[u8]>::len);
    Ok(CriLine { time, stream, partial, content_start })
}

/// The bytes before the first space, and those behind it where there is one.
fn split_word(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b' ', bytes) {
        Some(space) => (&bytes[..space], Some(&bytes[space + 1..])),
        None => (bytes, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(line: &[u8]) -> Result<(OutputStream, bool, &[u8]), Malformed> {
        let cri = parse_line(line, &mut Rfc3339Reader::default())?;
        let stamp = line.split(|byte| *byte == b' ').next().unwrap();
        assert_eq!(Some(cri.time), crate::time::parse_rfc3339(stamp));
        Ok((cri.stream, cri.partial, &line[cri.content_start..]))
    }

    #[test]
    fn lines_are_read() {
        use OutputStream::{Stderr, Stdout};
        for (line, expected) in [
            (&b"2026-11-22T10:00:00.037000123Z stdout F hello"[..], (Stdout, false, &b"hello"[..])),
            (b"2026-11-22T10:00:00.037000123Z stderr P hel lo ", (Stderr, true, b"hel lo ")),
            (b"2026-11-22T10:00:00.037000123Z stderr F  two", (Stderr, false, b" two")),
            (b"2026-11-22T10:00:00.037000123Z stdout P ", (Stdout, true, b"")),
            (b"2026-11-22T10:00:00.037000123Z stdout F", (Stdout, false, b"")),
            (b"2026-11-22T10:00:00.037000123Z stdout F hello\r", (Stdout, false, b"hello\r")),
            (b"2026-11-22T10:00:00.037000123Z stdout F \r", (Stdout, false, b"\r")),
            (b"2026-11-22T10:00:00.037000123Z stdout F \0\xff\xfe", (Stdout, false, b"\0\xff\xfe")),
            (b"2026-11-22T10:00:00.037000123Z stdout F:a:b hello", (Stdout, false, b"hello")),
            (b"2026-11-22T10:00:00.037000123Z stderr P:F", (Stderr, true, b"")),
            (b"2026-11-22T10:00:00.037000123Z stdout F: x", (Stdout, false, b"x")),
            (b"2026-11-22T10:00:00.03Z stdout F hello", (Stdout, false, b"hello")),
            (b"2026-11-22T10:00:00Z stdout F hello", (Stdout, false, b"hello")),
            (b"2026-11-22T10:00:00.037000123+02:00 stderr F hello", (Stderr, false, b"hello")),
        ] {
            assert_eq!(parsed(line), Ok(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_line_of_a_container_is_refused() {
        for (line, expected) in [
            (&b""[..], Malformed::Time),
            (b"hello world", Malformed::Time),
            (b" 2026-11-22T10:00:00.037000123Z stdout F hello", Malformed::Time),
            (b"2026-11-22T10:00:00.037000123 stdout F hello", Malformed::Time),
            (b"2026-11-22 10:00:00.037000123Z stdout F hello", Malformed::Time),
            (b"{\"log\":\"hello\\n\",\"stream\":\"stdout\"}", Malformed::Time),
            (b"2026-11-22T10:00:00.037000123Z", Malformed::Stream),
            (b"2026-11-22T10:00:00.037000123Z ", Malformed::Stream),
            (b"2026-11-22T10:00:00.037000123Z stdlog F hello", Malformed::Stream),
            (b"2026-11-22T10:00:00.037000123Z Stdout F hello", Malformed::Stream),
            (b"2026-11-22T10:00:00.037000123Z  stdout F hello", Malformed::Stream),
            (b"2026-11-22T10:00:00.037000123Z\tstdout F hello", Malformed::Time),
            (b"2026-11-22T10:00:00.037000123Z stdout", Malformed::Tag),
            (b"2026-11-22T10:00:00.037000123Z stdout ", Malformed::Tag),
            (b"2026-11-22T10:00:00.037000123Z stdout hello", Malformed::Tag),
            (b"2026-11-22T10:00:00.037000123Z stdout  hello", Malformed::Tag),
            (b"2026-11-22T10:00:00.037000123Z stdout f hello", Malformed::Tag),
            (b"2026-11-22T10:00:00.037000123Z stdout FP hello", Malformed::Tag),
            (b"2026-11-22T10:00:00.037000123Z stdout F\r", Malformed::Tag),
            (b"2026-11-22T10:00:00.037000123Z stdout :F hello", Malformed::Tag),
        ] {
            assert_eq!(parsed(line), Err(expected), "{}", line.escape_ascii());
        }
    }

    proptest! {
        /// The short way and the long way answer alike, whatever is done to a line, and with any reader.
        #[test]
        fn the_short_way_answers_as_the_long_way(
            content in prop::collection::vec(any::<u8>(), 0..24),
            tag in prop::sample::select(vec!["F", "P", "F:x", "P:", "G", ""]),
            stream in prop::sample::select(vec!["stdout", "stderr", "stdin"]),
            stamp in prop::sample::select(vec!["2026-11-22T10:00:00.037000123Z", "2026-11-22T10:00:00Z"]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            end: prop::sample::Index,
        ) {
            let mut line = format!("{stamp} {stream} {tag} ").into_bytes();
            line.extend_from_slice(&content);
            line.truncate(end.index(2 * line.len()));
            for (at, byte) in changes {
                if !line.is_empty() {
                    let at = at.index(line.len());
                    line[at] = byte;
                }
            }
            let mut warm = Rfc3339Reader::default();
            warm.read(b"2026-11-22T10:00:59.999999999Z");
            let answer = parse_line(&line, &mut warm);
            prop_assert_eq!(answer, parse_words(&line, &mut Rfc3339Reader::default()));
            if let Ok(cri) = answer {
                prop_assert!(cri.content_start <= line.len());
                let content = &line[cri.content_start..];
                prop_assert!(content.is_empty() || line[cri.content_start - 1] == b' ');
            }
        }
    }
}
