//! Stands where OpenSearch would, as fast as it can be: answers bulk requests, counts their documents, and holds them to
//! the protocol. What `cargo xtask bench` sends W3 to.
//!
//! Prints its URL as the first line. When its standard input ends, it prints a report in JSON and ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::HashSet;
use std::io::{self, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use flate2::read::GzDecoder;
use integration_tests::Message;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

/// No event of the bench is so long, let alone a bulk of them that was to have 5 MiB.
const LONGEST_BULK: u64 = 64 * 1024 * 1024;
const MOST_PROBLEMS: usize = 10;

/// What came so far.
#[derive(Default)]
struct Account {
    requests: u64,
    events: u64,
    /// Of documents.
    bytes: u64,
    /// Of bodies as they were sent.
    wire_bytes: u64,
    /// The wrapping sum of the documents' hashes, as the blackhole makes it.
    checksum: u64,
    ids: HashSet<Vec<u8>>,
    problems: Vec<String>,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    create: Target<'a>,
}

#[derive(Deserialize)]
struct Target<'a> {
    _index: &'a str,
    _id: &'a str,
}

fn main() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    println!("http://{}", listener.local_addr().expect("its address"));
    let account = Arc::new(Mutex::new(Account::default()));
    let serving = Arc::clone(&account);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let account = Arc::clone(&serving);
            thread::spawn(move || serve(&stream, &account));
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).expect("the end of standard input");
    let account = account.lock().unwrap_or_else(PoisonError::into_inner);
    let checksum = format!("{:016x}", account.checksum);
    println!(
        "{}",
        json!({
            "sink": "bulk",
            "events": account.events,
            "bytes": account.bytes,
            "checksum": checksum,
            "requests": account.requests,
            "wire_bytes": account.wire_bytes,
            "problems": account.problems,
        })
    );
}

fn serve(stream: &TcpStream, account: &Mutex<Account>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 18, stream);
    while let Some(request) = Message::read_request(&mut reader)? {
        let (method, target) = request.target();
        let is_bulk = method == "POST" && target.split('?').next().unwrap_or_default().ends_with("/_bulk");
        let answer = if is_bulk {
            take(&request, &mut account.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            Message::answer(200, "OK", r#"{"version":{"distribution":"opensearch","number":"2.19.4"}}"#)
        };
        answer.write(&mut &*stream)?;
        if !request.keeps_alive() {
            break;
        }
    }
    Ok(())
}

/// Takes a bulk, and answers as OpenSearch does where a client asked for outcomes alone.
fn take(request: &Message, account: &mut Account) -> Message {
    account.requests += 1;
    account.wire_bytes += request.body.len() as u64;
    let documents = match decoded(request).and_then(|body| account.take(&body)) {
        Ok(documents) => documents,
        Err(problem) => {
            account.problem(problem);
            return Message::answer(400, "Bad Request", r#"{"error":{"type":"illegal_argument_exception"}}"#);
        }
    };
    let mut body = String::from(r#"{"took":1,"errors":false,"items":["#);
    for number in 0..documents {
        body.push_str(if number == 0 { "" } else { "," });
        body.push_str(r#"{"create":{"status":201}}"#);
    }
    body.push_str("]}");
    Message::answer(200, "OK", body)
}

fn decoded(request: &Message) -> Result<Vec<u8>, String> {
    match request.header("content-encoding") {
        None => Ok(request.body.clone()),
        Some("gzip") => {
            let mut body = Vec::new();
            let mut decoder = GzDecoder::new(request.body.as_slice()).take(LONGEST_BULK);
            decoder.read_to_end(&mut body).map_err(|error| format!("not gzip: {error}"))?;
            Ok(body)
        }
        Some(other) => Err(format!("content-encoding {other}")),
    }
}

impl Account {
    /// The number of documents in a body, each of which has its action before it.
    fn take(&mut self, body: &[u8]) -> Result<usize, String> {
        let Some(body) = body.strip_suffix(b"\n") else {
            return Err("the last line of a bulk is not finished".to_owned());
        };
        let mut lines = body.split(|byte| *byte == b'\n');
        let mut documents = 0;
        while let Some(action) = lines.next() {
            let document =
                lines.next().ok_or_else(|| format!("an action without a document: {}", show(action)))?;
            self.document(action, document)?;
            documents += 1;
        }
        Ok(documents)
    }

    fn document(&mut self, action: &[u8], document: &[u8]) -> Result<(), String> {
        let Action { create } = serde_json::from_slice(action)
            .map_err(|error| format!("{error}, as an action: {}", show(action)))?;
        let is_index = create._index.starts_with("bench");
        let is_object =
            document.first() == Some(&b'{') && serde_json::from_slice::<IgnoredAny>(document).is_ok();
        if !is_index || !is_object {
            return Err(format!("index {}, document {}", create._index, show(document)));
        }
        if !self.ids.insert(create._id.as_bytes().to_vec()) {
            self.problem(format!("the id {} came twice", create._id));
        }
        self.events += 1;
        // With the newline, as the blackhole counts.
        self.bytes += document.len() as u64 + 1;
        self.checksum = self.checksum.wrapping_add(xxh3_64(document));
        Ok(())
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

fn show(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned()
}
