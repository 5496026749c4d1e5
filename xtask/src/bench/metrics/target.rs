//! What M1 and M2 scrape: counters whose text is rendered once. A scrape only writes the digits anew, so that it costs
//! next to nothing beside the agent that is measured.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::error::{Error, Result};

/// Digits of each value, always as many: the text never changes its length.
const DIGITS: usize = 10;
/// The least value with so many digits.
const FIRST_VALUE: u64 = 1_000_000_000;
const STACK_BYTES: usize = 64 * 1024;

/// What one target exposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Metric names.
    pub counters: u64,
    /// Series of each.
    pub series: u64,
}

/// Targets on ports of their own. Their threads stay until the process ends; `stop` makes them refuse.
#[derive(Debug)]
pub struct Targets {
    addresses: Vec<SocketAddr>,
    served: Arc<Served>,
}

/// What was exposed so far.
#[derive(Debug, Default)]
struct Served {
    scrapes: AtomicU64,
    samples: AtomicU64,
    /// Of all values, wrapping.
    sum: AtomicU64,
    is_stopped: AtomicBool,
}

/// What was exposed up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// Answers to scrapes.
    pub scrapes: u64,
    /// Samples in them.
    pub samples: u64,
    /// The wrapping sum of all values.
    pub sum: u64,
}

/// The text of one target.
#[derive(Debug)]
struct Body {
    text: Vec<u8>,
    /// Where the digits of each series begin, with its value.
    values: Vec<(usize, u64)>,
}

// === impl Shape ===

impl Shape {
    /// Series of a target.
    pub fn total(self) -> u64 {
        self.counters * self.series
    }
}

// === impl Body ===

impl Body {
    fn new(shape: Shape) -> Body {
        let mut body = Body { text: Vec::new(), values: Vec::new() };
        for counter in 0..shape.counters {
            let name = format!("bench_requests_{counter:03}_total");
            let help = format!("# HELP {name} Requests that were answered.\n# TYPE {name} counter\n");
            body.text.extend_from_slice(help.as_bytes());
            for series in 0..shape.series {
                body.line(&name, counter * shape.series + series);
            }
        }
        body
    }

    fn line(&mut self, name: &str, number: u64) {
        let choose = |from: [&'static str; 4], divisor: u64| {
            from.get((number / divisor % 4) as usize).copied().unwrap_or_default()
        };
        let method = choose(["GET", "PUT", "POST", "HEAD"], 1);
        let path = choose(["/items", "/carts", "/login", "/users"], 4);
        let code = choose(["200", "204", "404", "500"], 16);
        let labels = format!(
            "{name}{{namespace=\"team-{:02}\",pod=\"api-7d9c5b6f-{number:05}\",method=\"{method}\",path=\"{path}\",\
             code=\"{code}\"}} ",
            number % 20
        );
        self.text.extend_from_slice(labels.as_bytes());
        let value = FIRST_VALUE + number;
        self.values.push((self.text.len(), value));
        self.text.extend_from_slice(value.to_string().as_bytes());
        self.text.push(b'\n');
    }

    /// Lets each counter grow, and returns the wrapping sum of all.
    fn advance(&mut self) -> u64 {
        let mut sum = 0_u64;
        for (number, (at, value)) in self.values.iter_mut().enumerate() {
            *value += 1 + number as u64 % 97;
            sum = sum.wrapping_add(*value);
            let mut left = *value;
            let digits = self.text.get_mut(*at..*at + DIGITS).unwrap_or_default();
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
        }
        sum
    }
}

// === impl Targets ===

impl Targets {
    /// So many targets of this shape.
    pub fn start(count: usize, shape: Shape) -> Result<Targets> {
        let failed = |cause: io::Error| Error::failed(format!("cannot serve a target: {cause}"));
        let served = Arc::new(Served::default());
        let mut addresses = Vec::new();
        for _ in 0..count {
            let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            let (body, served) = (Arc::new(Mutex::new(Body::new(shape))), Arc::clone(&served));
            thread(move || accept(&listener, &body, &served)).map_err(failed)?;
        }
        Ok(Targets { addresses, served })
    }

    /// Where they listen, as `127.0.0.1:PORT`.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }

    /// What they have exposed so far.
    pub fn exposed(&self) -> Exposed {
        Exposed {
            scrapes: self.served.scrapes.load(Ordering::SeqCst),
            samples: self.served.samples.load(Ordering::SeqCst),
            sum: self.served.sum.load(Ordering::SeqCst),
        }
    }

    /// From now on they answer 503, so that what was exposed stays what it is.
    pub fn stop(&self) {
        self.served.is_stopped.store(true, Ordering::SeqCst);
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.stop();
    }
}

fn thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(work).map(drop)
}

fn accept(listener: &TcpListener, body: &Arc<Mutex<Body>>, served: &Arc<Served>) {
    for stream in listener.incoming().flatten() {
        let (body, served) = (Arc::clone(body), Arc::clone(served));
        // Who closes the connection ends its thread.
        let _started = thread(move || drop(serve(&stream, &body, &served)));
    }
}

fn serve(stream: &TcpStream, body: &Mutex<Body>, served: &Served) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::with_capacity(4096, stream);
    while read_request(&mut requests)? {
        let mut body = body.lock().unwrap_or_else(PoisonError::into_inner);
        if served.is_stopped.load(Ordering::SeqCst) {
            (&*stream).write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        let sum = body.advance();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\ncontent-length: {}\r\n\r\n",
            body.text.len()
        );
        (&*stream).write_all(head.as_bytes())?;
        (&*stream).write_all(&body.text)?;
        served.samples.fetch_add(body.values.len() as u64, Ordering::SeqCst);
        served.sum.fetch_add(sum, Ordering::SeqCst);
        served.scrapes.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Reads a request without a body up to its empty line; false at the end of the stream.
fn read_request(stream: &mut impl BufRead) -> io::Result<bool> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        if line == b"\r\n" {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_text_of_m1_is_as_long_as_it_was_when_the_peers_were_measured() {
        let mut body = Body::new(Shape { counters: 200, series: 500 });
        assert_eq!(body.values.len(), 100_000);
        let megabytes = body.text.len() as f64 / 1e6;
        assert!((12.0..12.2).contains(&megabytes), "{megabytes}");
        let length = body.text.len();
        let first = body.advance();
        assert!(body.advance() > first);
        assert_eq!(body.text.len(), length);
    }

    #[test]
    fn what_is_exposed_is_counted_until_it_is_stopped() {
        let targets = Targets::start(2, Shape { counters: 2, series: 3 }).unwrap();
        let get = |address: &SocketAddr| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let mut sum = 0_u64;
        for address in targets.addresses.iter().chain(&targets.addresses) {
            let answer = get(address);
            let samples = answer.lines().filter(|line| line.starts_with("bench_"));
            let values: Vec<u64> =
                samples.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
            assert_eq!(values.len(), 6, "{answer}");
            sum += values.iter().sum::<u64>();
        }
        targets.stop();
        assert!(get(&targets.addresses[0]).starts_with("HTTP/1.1 503 "));
        assert_eq!(targets.exposed(), Exposed { scrapes: 4, samples: 24, sum });
    }
}
