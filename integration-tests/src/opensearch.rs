//! OpenSearch, asked over plain HTTP.

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::http1::Message;
use crate::servers::Server;

/// Long enough for a search over millions of documents on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A running OpenSearch without TLS.
#[derive(Clone, Debug)]
pub struct OpenSearch {
    address: SocketAddr,
    server: Server,
}

/// What it answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Such as 200.
    pub status: u16,
    /// The body, or null where there is none.
    pub body: Value,
}

// === impl OpenSearch ===

impl OpenSearch {
    /// The one that all tests share; the first to ask for it waits until it is up.
    pub fn shared() -> OpenSearch {
        OpenSearch::of(Server::new("opensearch", "", &[]))
    }

    /// Has this server run.
    pub fn of(server: Server) -> OpenSearch {
        let shown = server.up();
        let url = shown["url"].as_str().expect("a URL");
        let address = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url} is not plain HTTP"));
        OpenSearch { address: address.parse().expect("an address and a port"), server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it; its documents stay.
    pub fn stop(&self) {
        self.server.down();
    }

    /// Starts it again, at the same address.
    pub fn start(&self) {
        let again = OpenSearch::of(self.server.clone());
        assert_eq!(again.address, self.address, "it came back on another port: somebody took the old one");
    }

    /// Asks, and expects an answer of whatever status.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Asks, and expects success.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.expect("GET", path, &Value::Null)
    }

    /// Asks, and expects success.
    #[track_caller]
    pub fn expect(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.ask(method, path, body);
        assert!(reply.is_good(), "{method} {path}: {reply:?}");
        reply.body
    }

    /// Changes settings of the whole cluster; null takes one back.
    #[track_caller]
    pub fn set_cluster(&self, settings: &Value) {
        self.expect("PUT", "/_cluster/settings", &serde_json::json!({"persistent": settings}));
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> io::Result<Reply> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.exchange(method, path, "application/json", body)
    }

    /// One request over a connection of its own.
    pub fn exchange(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> io::Result<Reply> {
        let headers = [("host", self.address.to_string()), ("content-type", kind.to_owned())];
        let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value)).into();
        headers.push(("connection".to_owned(), "close".to_owned()));
        let request = Message { start: format!("{method} {path} HTTP/1.1"), headers, body };
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        request.write(&mut stream)?;
        let answer = Message::read_answer(&mut BufReader::new(stream))?;
        let body = if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body)? };
        Ok(Reply { status: answer.status()?, body })
    }

    /// The number of documents that a search over these indices finds, once what was written is searchable.
    #[track_caller]
    pub fn count(&self, indices: &str) -> u64 {
        self.refresh(indices);
        let answer = self.get(&format!("/{indices}/_count?ignore_unavailable=true&allow_no_indices=true"));
        answer["count"].as_u64().expect("a count")
    }

    /// Makes what was written searchable.
    #[track_caller]
    pub fn refresh(&self, indices: &str) {
        self.expect("POST", &format!("/{indices}/_refresh?ignore_unavailable=true"), &Value::Null);
    }

    /// Removes indices, also those that are closed or read-only.
    #[track_caller]
    pub fn remove(&self, indices: &str) {
        let path = format!("/{indices}?ignore_unavailable=true&expand_wildcards=all");
        self.expect("DELETE", &path, &Value::Null);
    }

    /// Hands every hit over, once each: `_index`, `_id` and `_source`.
    #[track_caller]
    pub fn for_each_document(&self, indices: &str, mut each: impl FnMut(&Value)) {
        const PAGE: usize = 5000;
        self.refresh(indices);
        let first = serde_json::json!({"size": PAGE, "sort": ["_doc"], "query": {"match_all": {}}});
        let mut answer = self.expect("POST", &format!("/{indices}/_search?scroll=5m"), &first);
        loop {
            assert_eq!(answer["_shards"]["failed"], 0, "{}", answer["_shards"]);
            let scroll = answer["_scroll_id"].clone();
            let hits = answer["hits"]["hits"].as_array().expect("hits");
            hits.iter().for_each(&mut each);
            if hits.is_empty() {
                self.expect("DELETE", "/_search/scroll", &serde_json::json!({"scroll_id": scroll}));
                return;
            }
            let next = serde_json::json!({"scroll": "5m", "scroll_id": scroll});
            answer = self.expect("POST", "/_search/scroll", &next);
        }
    }
}

// === impl Reply ===

impl Reply {
    /// Whether it did what it was asked.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
