//! Fluent Forward as a client speaks it, byte by byte: what is tested shares no code with it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer comes later than this when the agent is stuck.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection of a client.
#[derive(Debug)]
pub struct Forward {
    stream: TcpStream,
}

/// How a message carries its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One event.
    Message,
    /// An array of events.
    Forward,
    /// Events one behind another, as bytes.
    Packed,
    /// The same, in gzip.
    Compressed,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 4] = [Mode::Message, Mode::Forward, Mode::Packed, Mode::Compressed];
}

// === impl Forward ===

impl Forward {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Forward> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Forward { stream })
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The chunk that is acknowledged next; an error where the connection ends instead.
    pub fn ack(&mut self) -> io::Result<String> {
        let mut head = [0; 6];
        self.stream.read_exact(&mut head)?;
        let [0x81, 0xa3, b'a', b'c', b'k', kind] = head else {
            return Err(io::Error::other(format!("{head:x?} is no ack")));
        };
        // As the client wrote it.
        if kind != 0xdb {
            return Err(io::Error::other(format!("{kind:#x} is no text")));
        }
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk)?;
        String::from_utf8(chunk).map_err(io::Error::other)
    }

    /// Whether the other side has closed the connection, which is waited for.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

// --- messages ---

/// A message whose events have these times, in seconds, and records. With a `chunk` it is to be acknowledged.
pub fn message(mode: Mode, tag: &str, chunk: Option<&str>, events: &[(u32, Value)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut options: Vec<(String, Value)> = Vec::new();
    options.extend(chunk.map(|chunk| ("chunk".to_owned(), Value::from(chunk))));
    match mode {
        Mode::Message => {
            let [(time, record)] = events else { panic!("one event") };
            array(&mut out, 4);
            text(&mut out, tag);
            event_time(&mut out, *time);
            value(&mut out, record);
        }
        Mode::Forward => {
            array(&mut out, 3);
            text(&mut out, tag);
            array(&mut out, events.len());
            out.extend_from_slice(&entries(events));
        }
        Mode::Packed => {
            array(&mut out, 3);
            text(&mut out, tag);
            binary(&mut out, &entries(events));
        }
        Mode::Compressed => {
            array(&mut out, 3);
            text(&mut out, tag);
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&entries(events)).expect("memory");
            binary(&mut out, &gzip.finish().expect("memory"));
            options.push(("compressed".to_owned(), Value::from("gzip")));
        }
    }
    value(&mut out, &options.into_iter().collect::<serde_json::Map<_, _>>().into());
    out
}

fn entries(events: &[(u32, Value)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (time, record) in events {
        array(&mut out, 2);
        event_time(&mut out, *time);
        value(&mut out, record);
    }
    out
}

// --- MessagePack ---

/// The head of an array.
pub fn array(out: &mut Vec<u8>, length: usize) {
    out.push(0xdd);
    out.extend_from_slice(&(length as u32).to_be_bytes());
}

/// A text.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0xdb);
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Bytes.
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(0xc6);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Seconds and no nanoseconds, as Fluentd's EventTime.
fn event_time(out: &mut Vec<u8>, seconds: u32) {
    out.extend_from_slice(&[0xd7, 0]);
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&0_u32.to_be_bytes());
}

fn value(out: &mut Vec<u8>, of: &Value) {
    match of {
        Value::Null => out.push(0xc0),
        Value::Bool(is) => out.push(if *is { 0xc3 } else { 0xc2 }),
        Value::Number(number) => {
            out.push(0xcf);
            out.extend_from_slice(&number.as_u64().expect("a natural number").to_be_bytes());
        }
        Value::String(string) => text(out, string),
        Value::Array(items) => {
            array(out, items.len());
            items.iter().for_each(|item| value(out, item));
        }
        Value::Object(members) => {
            out.push(0xdf);
            out.extend_from_slice(&(members.len() as u32).to_be_bytes());
            for (name, member) in members {
                text(out, name);
                value(out, member);
            }
        }
    }
}
