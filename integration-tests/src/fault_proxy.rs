//! A proxy in front of a real server that fails in the ways in which networks and clusters fail, by a schedule that a
//! seed decides.
//!
//! 1. What a fault does to the request behind it is exact: it was taken, or it was not.
//! 2. The fault of the n-th request depends on the seed and on n alone.
//! 3. What happened is counted, so that a test can say that it did happen.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::http1::Message;
use crate::tls::{self, Certificate};

const TIMEOUT: Duration = Duration::from_secs(120);
const LONGEST_DELAY: Duration = Duration::from_millis(1500);

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Nothing.
    None,
    /// The proxy answers with this status itself; the server never sees the request.
    Answer(u16),
    /// The connection ends before the server sees the request.
    CutBefore,
    /// The server takes the request, and the connection ends without its answer.
    CutAfter,
    /// The server takes the request, and half of its answer arrives.
    CutWithin,
    /// The server takes the request, and its answer refuses some of the items as if it had been too busy for them.
    RefuseItems,
    /// The request waits before the server sees it.
    Delay,
}

/// Which request meets which fault.
#[derive(Clone, Debug)]
pub struct Schedule {
    seed: u64,
    /// How often each comes, out of a thousand requests; the rest meets none.
    faults: Vec<(Fault, u32)>,
}

/// Sees each request that the server answered, and the answer as it came, before the proxy passes it on.
type Observer = dyn Fn(&Message, &Message) + Send + Sync;

/// A proxy on a port of its own, until it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    schedule: Schedule,
    is_over: AtomicBool,
    is_away: AtomicBool,
    requests: AtomicU64,
    happened: Mutex<BTreeMap<Fault, u64>>,
    observer: Box<Observer>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

// === impl Schedule ===

impl Schedule {
    /// Nothing fails.
    pub fn quiet() -> Schedule {
        Schedule { seed: 0, faults: Vec::new() }
    }

    /// Each of these faults as often as it says, out of a thousand requests.
    pub fn new(seed: u64, faults: &[(Fault, u32)]) -> Schedule {
        let sum: u32 = faults.iter().map(|(_, share)| share).sum();
        assert!(sum <= 1000, "{sum} of a thousand");
        Schedule { seed, faults: faults.to_vec() }
    }

    /// Every kind of fault; two of three requests meet none.
    pub fn stormy(seed: u64) -> Schedule {
        Schedule::new(
            seed,
            &[
                (Fault::Answer(429), 50),
                (Fault::Answer(500), 30),
                (Fault::Answer(503), 50),
                (Fault::CutBefore, 40),
                (Fault::CutAfter, 50),
                (Fault::CutWithin, 30),
                (Fault::RefuseItems, 40),
                (Fault::Delay, 50),
            ],
        )
    }

    /// What happens on the way to an object store; two of three requests meet no fault.
    pub fn bad_line(seed: u64) -> Schedule {
        Schedule::new(
            seed,
            &[
                (Fault::Answer(500), 60),
                (Fault::Answer(503), 60),
                (Fault::CutBefore, 60),
                (Fault::CutAfter, 60),
                (Fault::CutWithin, 50),
                (Fault::Delay, 40),
            ],
        )
    }

    /// The fault of the n-th request, and a source of chance for what else it needs.
    fn fault(&self, request: u64) -> (Fault, StdRng) {
        let mut random = StdRng::seed_from_u64(self.seed ^ request.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut left = random.random_range(0..1000);
        for (fault, share) in &self.faults {
            if left < *share {
                return (*fault, random);
            }
            left -= share;
        }
        (Fault::None, random)
    }
}

// === impl FaultProxy ===

impl FaultProxy {
    /// A proxy in front of `upstream`.
    pub fn start(upstream: SocketAddr, schedule: Schedule) -> FaultProxy {
        FaultProxy::observed(upstream, schedule, |_, _| {})
    }

    /// The same, and somebody looks on.
    pub fn observed(
        upstream: SocketAddr,
        schedule: Schedule,
        observer: impl Fn(&Message, &Message) + Send + Sync + 'static,
    ) -> FaultProxy {
        FaultProxy::listen(0, upstream, schedule, Box::new(observer), None)
    }

    /// A proxy without faults that shows this certificate, on a port of the caller's choice; 0 is a free one.
    pub fn with_certificate(port: u16, upstream: SocketAddr, certificate: &Certificate) -> FaultProxy {
        let tls = Some(tls::server(certificate));
        FaultProxy::listen(port, upstream, Schedule::quiet(), Box::new(|_, _| {}), tls)
    }

    fn listen(
        port: u16,
        upstream: SocketAddr,
        schedule: Schedule,
        observer: Box<Observer>,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> FaultProxy {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let happened = Mutex::default();
        let (is_over, is_away) = (AtomicBool::new(false), AtomicBool::new(false));
        let requests = AtomicU64::new(0);
        let shared = Shared { upstream, schedule, is_over, is_away, requests, happened, observer, tls };
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        let listener = thread::spawn(move || serving.listen(&listener));
        FaultProxy { address, shared, listener: Some(listener) }
    }

    /// `http://127.0.0.1:PORT`, or https.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// From now on every connection ends before a request passes, as if nobody was there; or no longer.
    pub fn set_away(&self, is_away: bool) {
        self.shared.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often each fault happened so far.
    pub fn happened(&self) -> BTreeMap<Fault, u64> {
        self.shared.happened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // The listener looks up when somebody comes.
        let _ = TcpStream::connect_timeout(&self.address, TIMEOUT);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    /// One thread for each connection: an agent has few.
    fn listen(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(&self);
            thread::spawn(move || {
                // An error is a connection that ended, which is what this is about.
                let _ = shared.serve(&stream);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }

    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        prepare(client)?;
        match &self.tls {
            None => self.converse(client),
            Some(config) => {
                let session = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                self.converse(rustls::StreamOwned::new(session, client))
            }
        }
    }

    fn converse(&self, client: impl Read + Write) -> io::Result<()> {
        let mut client = BufReader::new(client);
        let mut upstream = None;
        while let Some(request) = Message::read_request(&mut client)? {
            if !self.pass_on(&request, client.get_mut(), &mut upstream)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn pass_on(
        &self,
        request: &Message,
        client: &mut impl Write,
        upstream: &mut Option<TcpStream>,
    ) -> io::Result<bool> {
        if self.is_away.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (fault, mut random) = self.schedule.fault(self.requests.fetch_add(1, Ordering::Relaxed));
        match fault {
            Fault::Answer(status) => {
                self.count(fault);
                refusal(status).write(client)?;
                return Ok(request.keeps_alive());
            }
            Fault::CutBefore => {
                self.count(fault);
                return Ok(false);
            }
            Fault::Delay => thread::sleep(LONGEST_DELAY.mul_f64(random.random_range(0.1..1.0))),
            Fault::None | Fault::CutAfter | Fault::CutWithin | Fault::RefuseItems => {}
        }
        let Ok(mut answer) = self.ask_upstream(request, upstream) else {
            // A server that is not there is no fault of ours; a proxy says so.
            Message::answer(502, "Bad Gateway", "").write(client)?;
            return Ok(request.keeps_alive());
        };
        (self.observer)(request, &answer);
        match fault {
            Fault::CutAfter => {
                self.count(fault);
                Ok(false)
            }
            Fault::CutWithin => {
                self.count(fault);
                let mut half = answer.head(answer.body.len());
                half.extend_from_slice(&answer.body[..answer.body.len() / 2]);
                client.write_all(&half)?;
                client.flush()?;
                Ok(false)
            }
            _ => {
                let did_happen = fault != Fault::RefuseItems || refuse_items(&mut answer, &mut random);
                self.count(if did_happen { fault } else { Fault::None });
                answer.write(client)?;
                Ok(request.keeps_alive() && answer.keeps_alive())
            }
        }
    }

    /// A connection that the server has closed meanwhile is made anew, once.
    fn ask_upstream(&self, request: &Message, kept: &mut Option<TcpStream>) -> io::Result<Message> {
        if let Some(stream) = kept.take()
            && is_open(&stream)
            && let Ok(answer) = exchange(request, &stream)
        {
            *kept = answer.keeps_alive().then_some(stream);
            return Ok(answer);
        }
        let stream = TcpStream::connect_timeout(&self.upstream, TIMEOUT)?;
        prepare(&stream)?;
        let answer = exchange(request, &stream)?;
        *kept = answer.keeps_alive().then_some(stream);
        Ok(answer)
    }

    fn count(&self, fault: Fault) {
        *self.happened.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))
}

/// Between two requests nothing comes: what can be read is the end.
fn is_open(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let is_quiet = looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    is_quiet && stream.set_nonblocking(false).is_ok()
}

fn exchange(request: &Message, mut stream: &TcpStream) -> io::Result<Message> {
    request.write(&mut stream)?;
    Message::read_answer(&mut BufReader::new(stream))
}

fn refusal(status: u16) -> Message {
    let (reason, kind) = match status {
        429 => ("Too Many Requests", "rejected_execution_exception"),
        503 => ("Service Unavailable", "cluster_manager_not_discovered_exception"),
        _ => ("Internal Server Error", "exception"),
    };
    let body = json!({"error": {"type": kind, "reason": "so the schedule wants it"}, "status": status});
    Message::answer(status, reason, body.to_string())
}

/// Turns some items of a bulk's answer into refusals. The server has taken them: sent again, they are there already.
fn refuse_items(answer: &mut Message, random: &mut StdRng) -> bool {
    let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else { return false };
    let Some(items) = body["items"].as_array_mut() else { return false };
    let mut has_refused = false;
    for item in items.iter_mut().filter(|_| random.random_bool(0.3)) {
        for outcome in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            let error = json!({"type": "rejected_execution_exception", "reason": "so the schedule wants it"});
            outcome["status"] = json!(429);
            outcome["error"] = error;
            has_refused = true;
        }
    }
    if has_refused {
        body["errors"] = json!(true);
        answer.body = body.to_string().into_bytes();
    }
    has_refused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes requests, counts them, and answers like a bulk of two.
    fn upstream(taken: &Arc<AtomicU64>) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, taken) = (listener.local_addr().unwrap(), Arc::clone(taken));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, taken) = (stream.unwrap(), Arc::clone(&taken));
                thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    while let Ok(Some(_)) = Message::read_request(&mut reader) {
                        taken.fetch_add(1, Ordering::Relaxed);
                        let items = vec![json!({"create": {"status": 201}}); 20];
                        let body = json!({"errors": false, "items": items}).to_string();
                        Message::answer(200, "OK", body).write(&mut &stream).unwrap();
                    }
                });
            }
        });
        address
    }

    fn ask(proxy: &FaultProxy) -> io::Result<Message> {
        let stream = TcpStream::connect(proxy.address)?;
        let request =
            Message { start: "POST /_bulk HTTP/1.1".to_owned(), headers: Vec::new(), body: b"x\n".to_vec() };
        exchange(&request, &stream)
    }

    fn outcome(fault: Fault) -> (io::Result<Message>, u64) {
        let taken = Arc::default();
        let proxy = FaultProxy::start(upstream(&taken), Schedule::new(1, &[(fault, 1000)]));
        let answer = ask(&proxy);
        assert_eq!(proxy.happened(), BTreeMap::from([(fault, 1)]));
        (answer, taken.load(Ordering::Relaxed))
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let (answer, taken) = outcome(Fault::None);
        assert_eq!((answer.unwrap().status().unwrap(), taken), (200, 1));
        for status in [429, 500, 503] {
            let (answer, taken) = outcome(Fault::Answer(status));
            assert_eq!((answer.unwrap().status().unwrap(), taken), (status, 0));
        }
        let (answer, taken) = outcome(Fault::CutBefore);
        assert!(answer.is_err() && taken == 0);
        for fault in [Fault::CutAfter, Fault::CutWithin] {
            let (answer, taken) = outcome(fault);
            assert!(answer.is_err() && taken == 1, "{fault:?}");
        }
        let (answer, taken) = outcome(Fault::RefuseItems);
        let body: Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
        let statuses: Vec<_> =
            body["items"].as_array().unwrap().iter().map(|i| &i["create"]["status"]).collect();
        assert!(statuses.contains(&&json!(429)) && statuses.contains(&&json!(201)), "{statuses:?}");
        assert_eq!((taken, &body["errors"]), (1, &json!(true)));
    }

    #[test]
    fn a_certificate_is_good_until_it_expires() {
        let authority = crate::tls::Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, &authority.pem).unwrap();
        let client = tls::client(&ca);
        let upstream = upstream(&Arc::default());
        let ask = |certificate: &Certificate| {
            let proxy = FaultProxy::with_certificate(0, upstream, certificate);
            let mut stream = tls::connect(&client, TcpStream::connect(proxy.address).unwrap());
            let start = "POST /_bulk HTTP/1.1".to_owned();
            Message { start, headers: Vec::new(), body: Vec::new() }.write(&mut stream)?;
            Message::read_answer(&mut BufReader::new(stream))
        };
        assert_eq!(ask(&authority.valid()).unwrap().status().unwrap(), 200);
        let refused = ask(&authority.expired()).unwrap_err().to_string();
        assert!(refused.contains("expired"), "{refused}");
        assert!(ask(&crate::tls::Authority::new().valid()).is_err(), "nobody vouches for it");
    }

    #[test]
    fn a_seed_names_the_schedule() {
        let faults = |seed| (0..300).map(|n| Schedule::stormy(seed).fault(n).0).collect::<Vec<_>>();
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
        let quiet = faults(7).iter().filter(|fault| **fault == Fault::None).count();
        assert!((150..250).contains(&quiet), "{quiet} of 300 meet no fault");
    }

    #[test]
    fn a_server_that_is_gone_is_a_bad_gateway() {
        let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let proxy = FaultProxy::start(gone, Schedule::quiet());
        assert_eq!(ask(&proxy).unwrap().status().unwrap(), 502);
    }
}
