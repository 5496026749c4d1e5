//! The server that M1 and M2 write to: it takes remote write 1.0, counts and adds up what comes, and answers 204.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::error::{Error, Result};

/// No request of the agents that are measured is so long.
const LONGEST_BODY: usize = 64 * 1024 * 1024;
const MOST_PROBLEMS: usize = 5;
/// A value that says that a series has ended.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// What came so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Requests.
    pub requests: u64,
    /// Samples of the targets.
    pub samples: u64,
    /// The wrapping sum of their values.
    pub sum: u64,
    /// Ends of series of the targets.
    pub stale: u64,
    /// What agents send of their own, such as `up`.
    pub others: u64,
    /// Bytes of bodies, compressed.
    pub wire_bytes: u64,
    /// What was no remote write.
    pub problems: Vec<String>,
}

/// The server. Its threads stay until the process ends.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    has_ended: Arc<AtomicBool>,
}

/// A field of a message: what is in it, or nothing for numbers that are passed over.
enum Field<'a> {
    Bytes(&'a [u8]),
    Fixed64(u64),
    Varint,
}

// === impl Receiver ===

impl Receiver {
    /// A server on a free port.
    pub fn start() -> Result<Receiver> {
        let failed = |cause: io::Error| Error::failed(format!("cannot take remote write: {cause}"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (received, has_ended) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (account, ended) = (Arc::clone(&received), Arc::clone(&has_ended));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let account = Arc::clone(&account);
                thread::spawn(move || serve(&stream, &account));
            }
        });
        Ok(Receiver { address, received, has_ended })
    }

    /// Where remote write is taken.
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// What came so far.
    pub fn received(&self) -> Received {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
        let _wakes_it = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, account: &Mutex<Received>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::with_capacity(64 * 1024, stream);
    let (mut body, mut unpacked) = (Vec::new(), Vec::new());
    while read_request(&mut requests, &mut body)? {
        // Counted apart and added at once: connections do not wait for each other.
        let mut one = Received { requests: 1, wire_bytes: body.len() as u64, ..Received::default() };
        let taken = unpack(&body, &mut unpacked).and_then(|message| one.take(message));
        let answer: &[u8] = match &taken {
            Ok(()) => b"HTTP/1.1 204 No Content\r\n\r\n",
            Err(_) => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        };
        one.problems.extend(taken.err());
        account.lock().unwrap_or_else(PoisonError::into_inner).add(one);
        (&*stream).write_all(answer)?;
    }
    Ok(())
}

fn read_request(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let (mut line, mut length) = (String::new(), None);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok().filter(|length| *length <= LONGEST_BODY);
        }
    }
    let length = length.ok_or_else(|| io::Error::other("a request without a length"))?;
    body.resize(length, 0);
    stream.read_exact(body)?;
    Ok(true)
}

fn unpack<'a>(body: &[u8], into: &'a mut Vec<u8>) -> std::result::Result<&'a [u8], String> {
    let length = snap::raw::decompress_len(body).map_err(|cause| cause.to_string())?;
    if length > LONGEST_BODY {
        return Err(format!("{length} bytes in a request"));
    }
    into.resize(length.max(into.len()), 0);
    let written = snap::raw::Decoder::new().decompress(body, into).map_err(|cause| cause.to_string())?;
    into.get(..written).ok_or_else(|| "no room".to_owned())
}

// === impl Received ===

impl Received {
    fn add(&mut self, other: Received) {
        self.requests += other.requests;
        self.samples += other.samples;
        self.sum = self.sum.wrapping_add(other.sum);
        self.stale += other.stale;
        self.others += other.others;
        self.wire_bytes += other.wire_bytes;
        self.problems.extend(other.problems);
        self.problems.truncate(MOST_PROBLEMS);
    }

    /// `prometheus.WriteRequest`: field 1 is a time series, and has labels in field 1 and samples in field 2.
    fn take(&mut self, mut message: &[u8]) -> std::result::Result<(), String> {
        while let Some((number, field)) = next(&mut message)? {
            if let (1, Field::Bytes(series)) = (number, field) {
                self.series(series)?;
            }
        }
        Ok(())
    }

    fn series(&mut self, mut series: &[u8]) -> std::result::Result<(), String> {
        let mut is_ours = false;
        while let Some((number, field)) = next(&mut series)? {
            match (number, field) {
                (1, Field::Bytes(label)) => is_ours = is_ours || is_name_of_ours(label)?,
                (2, Field::Bytes(sample)) => self.sample(sample, is_ours)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn sample(&mut self, mut sample: &[u8], is_ours: bool) -> std::result::Result<(), String> {
        let mut bits = 0;
        while let Some((number, field)) = next(&mut sample)? {
            if let (1, Field::Fixed64(value)) = (number, field) {
                bits = value;
            }
        }
        match (is_ours, bits) {
            (false, _) => self.others += 1,
            (true, STALE) => self.stale += 1,
            (true, bits) => {
                self.samples += 1;
                self.sum = self.sum.wrapping_add(f64::from_bits(bits) as u64);
            }
        }
        Ok(())
    }
}

/// Whether a label is `__name__` with the name of a target's counter.
fn is_name_of_ours(mut label: &[u8]) -> std::result::Result<bool, String> {
    let (mut is_name, mut is_ours) = (false, false);
    while let Some((number, field)) = next(&mut label)? {
        match (number, field) {
            (1, Field::Bytes(name)) => is_name = name == b"__name__",
            (2, Field::Bytes(value)) => is_ours = value.starts_with(b"bench_requests_"),
            _ => {}
        }
    }
    Ok(is_name && is_ours)
}

/// The next field of a message and its number.
fn next<'a>(message: &mut &'a [u8]) -> std::result::Result<Option<(u64, Field<'a>)>, String> {
    if message.is_empty() {
        return Ok(None);
    }
    let tag = varint(message)?;
    let field = match tag & 7 {
        0 => varint(message).map(|_value| Field::Varint)?,
        1 => {
            let (value, rest) = message.split_first_chunk::<8>().ok_or("a number is cut off")?;
            *message = rest;
            Field::Fixed64(u64::from_le_bytes(*value))
        }
        2 => {
            let length = usize::try_from(varint(message)?).map_err(|_| "a length is too large")?;
            let (bytes, rest) = message.split_at_checked(length).ok_or("a field is cut off")?;
            *message = rest;
            Field::Bytes(bytes)
        }
        other => return Err(format!("wire type {other}")),
    };
    Ok(Some((tag >> 3, field)))
}

fn varint(message: &mut &[u8]) -> std::result::Result<u64, String> {
    let mut value = 0;
    for (index, byte) in message.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index).min(63);
        if byte & 0x80 == 0 {
            *message = message.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err("a number has no end".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    }

    fn label(name: &str, value: &str) -> Vec<u8> {
        field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
    }

    fn sample(bits: u64) -> Vec<u8> {
        field(2, &[&[9][..], &bits.to_le_bytes(), &[16, 0x80, 1]].concat())
    }

    #[test]
    fn samples_are_counted_and_added_up() {
        let ours = label("__name__", "bench_requests_001_total");
        let value = |value: f64| sample(value.to_bits());
        let message = [
            field(1, &[label("a", "b"), ours.clone(), value(7.0), value(5.0)].concat()),
            field(1, &[ours, sample(STALE)].concat()),
            field(1, &[label("__name__", "up"), value(1.0)].concat()),
        ]
        .concat();
        let mut packed = snap::raw::Encoder::new().compress_vec(&message).unwrap();
        let receiver = Receiver::start().unwrap();
        let send = |body: &[u8]| {
            let mut stream = TcpStream::connect(receiver.address).unwrap();
            let head = format!("POST /api/v1/write HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(send(&packed).starts_with("HTTP/1.1 204 "));
        let received = receiver.received();
        assert_eq!((received.samples, received.sum, received.stale, received.others), (2, 12, 1, 1));
        packed.truncate(packed.len() - 1);
        assert!(send(&packed).starts_with("HTTP/1.1 400 "));
        assert_eq!(receiver.received().problems.len(), 1);
    }

    #[test]
    fn what_is_cut_off_is_a_problem() {
        for wrong in [&[0x0a, 5, 1][..], &[0x80], &[9, 1, 2], &[0x0b]] {
            assert!(Received::default().take(wrong).is_err(), "{wrong:?}");
        }
    }
}
