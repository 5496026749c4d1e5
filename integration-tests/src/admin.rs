//! The admin address of a running agent, over plain HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::wait::until_some;

/// A reload may compile a plugin.
const TIMEOUT: Duration = Duration::from_secs(70);

/// Where an agent answers.
#[derive(Clone, Debug)]
pub struct Admin {
    address: String,
}

/// What it answered.
#[derive(Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Everything before the body.
    pub head: String,
    /// The body.
    pub body: String,
}

#[derive(Deserialize)]
struct Place {
    address: String,
    pid: u32,
}

// === impl Admin ===

impl Admin {
    /// The address that the agent with this process id wrote into its data folder; `None` as long as there is none.
    pub fn find(data_dir: &Path, pid: u32) -> Option<Admin> {
        let text = std::fs::read(data_dir.join("admin.json")).ok()?;
        let place: Place = serde_json::from_slice(&text).expect("admin.json is whole at any time");
        let address = place.address.strip_prefix("http://").expect("a URL").to_owned();
        (place.pid == pid).then_some(Admin { address })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks for a path.
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|error| panic!("GET http://{}{path}: {error}", self.address))
    }

    /// Posts nothing to a path, with these headers besides.
    pub fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: 0\r\n{headers}");
        self.ask(&head).unwrap_or_else(|error| panic!("POST http://{}{path}: {error}", self.address))
    }

    /// Asks for a reload: the status and the answer.
    pub fn reload(&self) -> (u16, Value) {
        let answer = self.post("/api/reload", &[]);
        let body = serde_json::from_str(&answer.body);
        (answer.status, body.unwrap_or_else(|error| panic!("{error}: {answer:?}")))
    }

    /// Which generation runs.
    pub fn generation(&self) -> Value {
        serde_json::from_str(&self.get("/api/generation").body).expect("JSON")
    }

    /// What runs at this moment.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.get("/api/status").body).expect("JSON")
    }

    /// Where a source listens. An agent that is ready says so a moment later.
    #[track_caller]
    pub fn listening(&self, source: &str) -> SocketAddr {
        let listening = until_some("the source listens", || {
            let status = self.status();
            let mut sources = status["sources"].as_array().expect("sources").iter();
            let found = sources.find(|found| found["source"] == source).expect("the source");
            found["listen"].as_str().map(str::to_owned)
        });
        listening.parse().expect("an address and a port")
    }

    fn try_get(&self, path: &str) -> std::io::Result<Answer> {
        self.ask(&format!("GET {path} HTTP/1.1\r\n"))
    }

    fn ask(&self, head: &str) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "{head}Host: {}\r\nConnection: close\r\n\r\n", self.address)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            !head.to_lowercase().contains("transfer-encoding"),
            "a body in pieces is not understood here"
        );
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// All accounts at this moment.
    pub fn ledger(&self) -> Ledger {
        let answer = self.get("/api/ledger");
        assert_eq!(answer.status, 200, "{answer:?}");
        Ledger::parse(&answer.body)
    }

    /// All metrics at this moment.
    pub fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics::parse(&answer.body)
    }
}
