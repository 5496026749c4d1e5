//! OpenSearch, asked over HTTP, with and without TLS.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use serde_json::Value;

use crate::http1::Message;
use crate::servers::Server;
use crate::tls;

/// Long enough for a search over millions of documents on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A running OpenSearch.
#[derive(Clone, Debug)]
pub struct OpenSearch {
    address: SocketAddr,
    server: Server,
    security: Option<Security>,
}

/// What it takes to be let in.
#[derive(Clone, Debug)]
pub struct Security {
    /// The file with the authority of the server's certificate.
    pub ca: PathBuf,
    /// A user who may do everything.
    pub username: String,
    /// Its password.
    pub password: String,
    tls: Arc<ClientConfig>,
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

    /// One with the security plugin, which all tests share. It takes no request above 1 MiB.
    pub fn secured() -> OpenSearch {
        let options = ["--security", "--set", "http.max_content_length=1mb"];
        OpenSearch::of(Server::new("opensearch", "-security", &options))
    }

    /// Has this server run.
    pub fn of(server: Server) -> OpenSearch {
        let shown = server.up();
        let text = |name: &str| shown[name].as_str().map(str::to_owned);
        let url = text("url").expect("a URL");
        let address = url.split_once("://").expect("a scheme").1;
        let address = address.parse().expect("an address and a port");
        let security = text("ca").map(PathBuf::from).map(|ca| Security {
            tls: tls::client(&ca),
            ca,
            username: text("username").expect("a user"),
            password: text("password").expect("a password"),
        });
        OpenSearch { address, server, security }
    }

    /// What it takes to be let in, if it takes anything.
    pub fn security(&self) -> Option<&Security> {
        self.security.as_ref()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or https.
    pub fn url(&self) -> String {
        let scheme = if self.security.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
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
        if let Some(Security { username, password, .. }) = &self.security {
            let login = STANDARD.encode(format!("{username}:{password}"));
            headers.push(("authorization".to_owned(), format!("Basic {login}")));
        }
        let request = Message { start: format!("{method} {path} HTTP/1.1"), headers, body };
        let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let answer = match &self.security {
            None => converse(&request, stream)?,
            Some(security) => converse(&request, tls::connect(&security.tls, stream))?,
        };
        let body = if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body)? };
        Ok(Reply { status: answer.status()?, body })
    }

    /// The number of documents that a search over these indices finds, once what was written is searchable.
    #[track_caller]
    pub fn count(&self, indices: &str) -> u64 {
        const PATIENCE: Duration = Duration::from_secs(30);
        self.refresh(indices);
        let path = format!("/{indices}/_count?ignore_unavailable=true&allow_no_indices=true");
        let mut answer = self.ask("GET", &path, &Value::Null);
        // An index that was made just now has no shard yet that could be asked.
        let end = Instant::now() + PATIENCE;
        while answer.status == 503 && Instant::now() < end {
            thread::sleep(Duration::from_millis(100));
            answer = self.ask("GET", &path, &Value::Null);
        }
        assert!(answer.is_good(), "GET {path}: {answer:?}");
        answer.body["count"].as_u64().expect("a count")
    }

    /// Makes what was written searchable.
    #[track_caller]
    pub fn refresh(&self, indices: &str) {
        self.expect("POST", &format!("/{indices}/_refresh?ignore_unavailable=true"), &Value::Null);
    }

    /// Removes indices, also those that are closed.
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

fn converse(request: &Message, mut stream: impl Read + Write) -> io::Result<Message> {
    request.write(&mut stream)?;
    Message::read_answer(&mut BufReader::new(stream))
}

// === impl Reply ===

impl Reply {
    /// Whether it did what it was asked.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}
