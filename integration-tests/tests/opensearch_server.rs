//! What the tests with a real OpenSearch stand on: that a search finds every document once, and that a bulk which was cut
//! off behind the proxy was taken all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{self, BufReader};
use std::net::TcpStream;

use integration_tests::{Fault, FaultProxy, Message, OpenSearch, Reply, Schedule};
use serde_json::{Value, json};

fn bulk(index: &str, ids: impl Iterator<Item = u64>) -> Vec<u8> {
    let action = |id: u64| json!({"create": {"_index": index, "_id": id.to_string()}});
    ids.map(|id| format!("{}\n{}\n", action(id), json!({"n": id}))).collect::<String>().into_bytes()
}

fn send(server: &OpenSearch, index: &str, ids: impl Iterator<Item = u64>) -> Reply {
    let reply = server.exchange("POST", "/_bulk", "application/x-ndjson", bulk(index, ids)).unwrap();
    assert!(reply.is_good(), "{reply:?}");
    reply
}

fn statuses(body: &Value) -> BTreeSet<u64> {
    body["items"].as_array().unwrap().iter().map(|item| item["create"]["status"].as_u64().unwrap()).collect()
}

#[test]
fn every_document_is_found_once_over_many_pages() {
    const DOCUMENTS: u64 = 12_345;
    let server = OpenSearch::shared();
    let index = format!("pages-{}", std::process::id());
    let first = send(&server, &index, 0..DOCUMENTS);
    assert_eq!(statuses(&first.body), BTreeSet::from([201]));
    assert_eq!(server.count(&index), DOCUMENTS);
    let mut seen = Vec::new();
    server.for_each_document(&index, |hit| seen.push(hit["_source"]["n"].as_u64().unwrap()));
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..DOCUMENTS), "{} documents", seen.len());
    server.remove(&index);
    assert_eq!(server.count(&index), 0);
}

#[test]
fn a_bulk_that_nobody_answered_for_was_taken() {
    let server = OpenSearch::shared();
    let index = format!("taken-{}", std::process::id());
    let proxy = FaultProxy::start(server.address(), Schedule::new(1, &[(Fault::CutAfter, 1000)]));
    let address = proxy.url().strip_prefix("http://").unwrap().to_owned();
    let ask = || -> io::Result<Message> {
        let mut stream = TcpStream::connect(&address)?;
        let headers = vec![("content-type".to_owned(), "application/x-ndjson".to_owned())];
        let start = "POST /_bulk HTTP/1.1".to_owned();
        Message { start, headers, body: bulk(&index, 0..50) }.write(&mut stream)?;
        Message::read_answer(&mut BufReader::new(stream))
    };
    assert!(ask().is_err());
    assert_eq!(server.count(&index), 50);
    let again = send(&server, &index, 40..60);
    assert_eq!(statuses(&again.body), BTreeSet::from([201, 409]));
    assert_eq!(server.count(&index), 60);
    server.remove(&index);
}
