//! A gate in front of a registry: it may answer itself, in the registry's place, or change what the registry answers.

use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::http1::Message;

const TIMEOUT: Duration = Duration::from_secs(60);

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// The registry answers.
    Pass,
    /// This is the answer.
    Answer(Message),
}

type Judge = dyn Fn(&Message) -> Verdict + Send + Sync;
type Alter = dyn Fn(&Message, &mut Message) + Send + Sync;

/// A gate on a port of its own, until it is dropped.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    judge: Box<Judge>,
    alter: Box<Alter>,
    is_over: AtomicBool,
    requests: AtomicU64,
}

// === impl Gate ===

impl Gate {
    /// A gate that judges requests and alters answers.
    pub fn start(
        upstream: SocketAddr,
        judge: impl Fn(&Message) -> Verdict + Send + Sync + 'static,
        alter: impl Fn(&Message, &mut Message) + Send + Sync + 'static,
    ) -> Gate {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (judge, alter) = (Box::new(judge), Box::new(alter));
        let (is_over, requests) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { upstream, judge, alter, is_over, requests });
        let serving = Arc::clone(&shared);
        let listener = thread::spawn(move || serving.listen(&listener));
        Gate { address, shared, listener: Some(listener) }
    }

    /// Lets everything through.
    pub fn open(upstream: SocketAddr) -> Gate {
        Gate::start(upstream, |_| Verdict::Pass, |_, _| {})
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// From now on nobody answers at its address.
    pub fn close(self) {}
}

impl Drop for Gate {
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
    fn listen(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(&self);
            thread::spawn(move || {
                // An error is a connection that ended.
                let _ = shared.serve(&stream);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }

    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(TIMEOUT))?;
        client.set_write_timeout(Some(TIMEOUT))?;
        let mut reader = BufReader::new(client);
        while let Some(request) = Message::read_request(&mut reader)? {
            if self.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let answer = match (self.judge)(&request) {
                Verdict::Answer(answer) => answer,
                Verdict::Pass => {
                    let mut answer = self.ask(&request)?;
                    (self.alter)(&request, &mut answer);
                    answer
                }
            };
            let mut client = client;
            if request.target().0 == "HEAD" {
                client.write_all(&answer.head(answer.body.len()))?;
            } else {
                answer.write(&mut client)?;
            }
        }
        Ok(())
    }

    /// The answer to HEAD is that to GET without its body, which our reader would wait for.
    fn ask(&self, request: &Message) -> io::Result<Message> {
        let mut asked = request.clone();
        if let Some(rest) = request.start.strip_prefix("HEAD ") {
            asked.start = format!("GET {rest}");
        }
        let mut upstream = TcpStream::connect_timeout(&self.upstream, TIMEOUT)?;
        upstream.set_read_timeout(Some(TIMEOUT))?;
        asked.write(&mut upstream)?;
        Message::read_answer(&mut BufReader::new(upstream))
    }
}

/// Puts a document there by hand, and returns the status.
pub fn put(server: SocketAddr, path: &str, kind: &str, body: &[u8]) -> u16 {
    let headers = vec![("host".to_owned(), server.to_string()), ("content-type".to_owned(), kind.to_owned())];
    let request = Message { start: format!("PUT {path} HTTP/1.1"), headers, body: body.to_vec() };
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT).expect("a server");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a limit");
    request.write(&mut stream).expect("a request that is taken");
    let answer = Message::read_answer(&mut BufReader::new(stream)).expect("an answer");
    answer.status().expect("a status")
}
