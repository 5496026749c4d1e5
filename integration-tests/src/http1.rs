//! HTTP/1.1, as much as the servers here speak: whole messages over blocking streams.
//!
//! 1. A body is read whole or not at all; one longer than [`LONGEST_BODY`] is an error.
//! 2. A message that is written always says the length of its body.

use std::fmt::Write as _;
use std::io::{self, BufRead, Read as _, Write};

/// Longer than any body of a test.
pub const LONGEST_BODY: usize = 256 * 1024 * 1024;
const LONGEST_LINE: u64 = 64 * 1024;
const MOST_HEADERS: usize = 200;

/// A request or an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `POST /_bulk HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub start: String,
    /// In their order. The two that say where the body ends are left out.
    pub headers: Vec<(String, String)>,
    /// All of it, as it was sent: it may be compressed.
    pub body: Vec<u8>,
}

/// Where a body ends.
enum Framing {
    Length(usize),
    Chunks,
    /// Only of an answer.
    EndOfStream,
}

// === impl Message ===

impl Message {
    /// An answer with a body of JSON.
    pub fn answer(status: u16, reason: &str, body: impl Into<Vec<u8>>) -> Message {
        let headers = vec![("content-type".to_owned(), "application/json; charset=UTF-8".to_owned())];
        Message { start: format!("HTTP/1.1 {status} {reason}"), headers, body: body.into() }
    }

    /// Reads a request; `None` where the other side has closed the connection between two of them.
    pub fn read_request(stream: &mut impl BufRead) -> io::Result<Option<Message>> {
        let start = line(stream)?;
        if start.is_empty() {
            return Ok(None);
        }
        let (headers, framing) = headers(stream)?;
        // Who wants to be asked for the body sends it after a while all the same.
        let body = match framing {
            // A request without a length has no body.
            Framing::EndOfStream => Vec::new(),
            framing => body(stream, framing)?,
        };
        Ok(Some(Message { start, headers, body }))
    }

    /// Reads an answer.
    pub fn read_answer(stream: &mut impl BufRead) -> io::Result<Message> {
        let start = line(stream)?;
        if start.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (headers, framing) = headers(stream)?;
        let mut message = Message { start, headers, body: Vec::new() };
        if message.status()? == 100 {
            // The answer itself comes behind it.
            return Message::read_answer(stream);
        }
        if !matches!(message.status()?, 204 | 304) {
            message.body = body(stream, framing)?;
        }
        Ok(message)
    }

    /// An answer's status.
    pub fn status(&self) -> io::Result<u16> {
        let status = self.start.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        status.and_then(|status| status.parse().ok()).ok_or_else(|| wrong("that is no status line"))
    }

    /// A request's method and path with its query.
    pub fn target(&self) -> (&str, &str) {
        let mut words = self.start.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// Whether the other side keeps the connection open.
    pub fn keeps_alive(&self) -> bool {
        !self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Everything before the body. `length` is the body's, if it is not what is there.
    pub fn head(&self, length: usize) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {length}\r\n\r\n");
        head.into_bytes()
    }

    /// Writes it whole.
    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let mut bytes = self.head(self.body.len());
        bytes.extend_from_slice(&self.body);
        stream.write_all(&bytes)?;
        stream.flush()
    }
}

/// A line without its end; empty at the end of the stream.
fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(String::new());
    }
    if !bytes.ends_with(b"\r\n") {
        return Err(wrong("a line is not finished, or too long"));
    }
    bytes.truncate(bytes.len() - 2);
    String::from_utf8(bytes).map_err(|_| wrong("a line is not UTF-8"))
}

fn headers(stream: &mut impl BufRead) -> io::Result<(Vec<(String, String)>, Framing)> {
    let (mut headers, mut framing) = (Vec::new(), Framing::EndOfStream);
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            return Ok((headers, framing));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("a header without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().ok().filter(|length| *length <= LONGEST_BODY);
            framing = Framing::Length(length.ok_or_else(|| wrong("a body of that length is not taken"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunks;
        } else if headers.len() < MOST_HEADERS {
            headers.push((name.to_owned(), value.to_owned()));
        } else {
            return Err(wrong("too many headers"));
        }
    }
}

fn body(stream: &mut impl BufRead, framing: Framing) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => exactly(stream, length, &mut body)?,
        Framing::EndOfStream => {
            stream.take(LONGEST_BODY as u64 + 1).read_to_end(&mut body)?;
        }
        Framing::Chunks => loop {
            let size = line(stream)?;
            let digits = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| wrong("a chunk without its size"))?;
            if size.saturating_add(body.len()) > LONGEST_BODY {
                return Err(wrong("the body is too long"));
            }
            if size == 0 {
                // Trailers say nothing that is wanted here.
                while !line(stream)?.is_empty() {}
                break;
            }
            exactly(stream, size, &mut body)?;
            if !line(stream)?.is_empty() {
                return Err(wrong("a chunk is longer than it says"));
            }
        },
    }
    if body.len() > LONGEST_BODY { Err(wrong("the body is too long")) } else { Ok(body) }
}

fn exactly(stream: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.take(length as u64).read_to_end(body)?;
    if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_however_their_body_is_framed() {
        let text = "POST /_bulk?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
            POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
            2\r\nab\r\n1;x=y\r\nc\r\n0\r\nTrailer: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        let mut stream = text.as_bytes();
        let first = Message::read_request(&mut stream).unwrap().unwrap();
        assert_eq!((first.target(), first.body.as_slice()), (("POST", "/_bulk?a=b"), &b"abc"[..]));
        assert_eq!((first.header("HOST"), first.keeps_alive()), (Some("x"), true));
        let second = Message::read_request(&mut stream).unwrap().unwrap();
        assert_eq!((second.body.as_slice(), second.keeps_alive()), (&b"abc"[..], false));
        assert_eq!(Message::read_request(&mut stream).unwrap().unwrap().target(), ("GET", "/"));
        assert_eq!(Message::read_request(&mut stream).unwrap(), None);
    }

    #[test]
    fn what_is_cut_or_wrong_is_an_error() {
        for text in [
            "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc",
            "POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "POST / HTTP/1.1\r\nHo",
            "POST / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert!(Message::read_request(&mut text.as_bytes()).is_err(), "{text}");
        }
        assert!(Message::read_answer(&mut &b""[..]).is_err());
        assert!(Message::read_answer(&mut &b"ICY 200 OK\r\n\r\n"[..]).is_err());
    }

    #[test]
    fn an_answer_is_written_as_it_is_read() {
        let answer = Message::answer(429, "Too Many Requests", "{}");
        let mut bytes = Vec::new();
        answer.write(&mut bytes).unwrap();
        let read = Message::read_answer(&mut bytes.as_slice()).unwrap();
        assert_eq!((read.status().unwrap(), read), (429, answer));
        let open = Message::read_answer(&mut &b"HTTP/1.0 200 OK\r\n\r\nto the end"[..]).unwrap();
        assert_eq!(open.body, b"to the end");
    }
}
