//! A real OpenSearch that lets only some in: passwords, certificates, and requests that are too large for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::time::Duration;

use integration_tests::{Account, Agent, Authority, FaultProxy, Node, OpenSearch, lines, until_within};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(90);
const EVENTS: u64 = 200;

fn account(agent: &Agent) -> Account {
    let ledger = agent.admin().ledger();
    ledger.accounts.iter().for_each(Account::check);
    ledger.accounts.into_iter().find(|account| account.sink == "search").unwrap_or_default()
}

/// A node whose events go to OpenSearch, by a sink with these further keys, and to a file.
fn node(url: &str, index: &str, keys: &str) -> Node {
    let node = Node::new();
    node.configure(&format!(
        "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
pipelines: {{all: {{from: [pods], to: [search, local]}}}}
sinks:
  search: {{type: opensearch, endpoints: ['{url}'], index: '{index}', max_wait: 100ms, {keys}}}
  local: {{type: file, path: out.ndjson}}
"
    ));
    node
}

fn index(name: &str) -> String {
    format!("access-{name}-{}", std::process::id())
}

fn write_events(node: &Node) {
    node.pod("shop_cart_u1").lines((0..EVENTS).map(|n| json!({"n": n}).to_string()));
}

/// Waits until the file has every event while OpenSearch has none, and nothing is given up.
fn only_the_file_has_them(node: &Node, agent: &Agent) {
    until_within(LIMIT, "the other sink has everything", || {
        lines(&node.path("out.ndjson")).len() as u64 == EVENTS && account(agent).read.events == EVENTS
    });
    // More than one attempt.
    std::thread::sleep(Duration::from_secs(3));
    let account = account(agent);
    assert_eq!((account.delivered.events, account.settled().events), (0, 0), "{account:#?}");
    assert_eq!(account.on_the_way().events, EVENTS, "{account:#?}");
}

fn everything_arrives(server: &OpenSearch, index: &str, agent: Agent) {
    until_within(LIMIT, "everything is delivered", || account(&agent).delivered.events == EVENTS);
    assert_eq!(server.count(index), EVENTS);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    server.remove(index);
}

#[test]
fn a_wrong_password_holds_everything_until_it_is_right() {
    let server = OpenSearch::secured();
    let security = server.security().unwrap().clone();
    let index = index("password");
    let keys = format!(
        "tls: {{ca: {{file: '{}'}}}}, auth: {{basic: {{username: {}, password: {{file: password}}}}}}",
        security.ca.display(),
        security.username
    );
    let node = node(&server.url(), &index, &keys);
    node.write("password", "not-the-password\n");
    write_events(&node);
    let agent = node.start();
    only_the_file_has_them(&node, &agent);
    assert!(agent.log().contains("401"), "the log says why:\n{}", agent.log());
    // As a Secret is renewed: the agent notices by itself.
    let renewed = node.write("renewed", format!("{}\n", security.password));
    fs::rename(renewed, node.path("password")).unwrap();
    everything_arrives(&server, &index, agent);
    let log = fs::read_to_string(node.path("out.ndjson")).unwrap();
    assert!(!log.contains(&security.password));
}

/// The server takes no request above 1 MiB: the sink, which sends up to 5 MiB, finds that out and halves. What is larger
/// alone is a dead letter.
#[test]
fn an_oversize_document_is_a_dead_letter_and_its_neighbours_arrive() {
    let server = OpenSearch::secured();
    let security = server.security().unwrap().clone();
    let index = index("oversize");
    let keys = format!(
        "compression: none, tls: {{ca: {{file: '{}'}}}}, \
         auth: {{basic: {{username: {}, password: {{file: password}}}}}}",
        security.ca.display(),
        security.username
    );
    let node = node(&server.url(), &index, &keys);
    node.write("password", &security.password);
    let filler = "x".repeat(20_000);
    let too_long = "y".repeat(1_500_000);
    node.pod("shop_cart_u1").lines((0..EVENTS).map(|n| {
        let text = if n == 77 { &too_long } else { &filler };
        json!({"n": n, "text": text}).to_string()
    }));
    let agent = node.start();
    until_within(LIMIT, "every event has its fate", || {
        let account = account(&agent);
        account.read.events == EVENTS && account.is_settled()
    });
    let account = account(&agent);
    assert_eq!(account.delivered.events, EVENTS - 1, "{account:#?}");
    assert_eq!(account.dead_lettered["oversize"].events, 1, "{account:#?}");
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(server.count(&index), EVENTS - 1);
    let letters = lines(&node.path("data/dead-letters/sinks/search.ndjson"));
    let [letter] = letters.as_slice() else { panic!("{} dead letters", letters.len()) };
    let letter: Value = serde_json::from_str(letter).unwrap();
    assert_eq!((&letter["reason"], &letter["document"]["n"]), (&json!("oversize"), &json!(77)));
    assert_eq!(letter["document"]["text"], too_long.as_str());
    server.remove(&index);
}

#[test]
fn an_expired_certificate_holds_everything_until_it_is_renewed() {
    let server = OpenSearch::shared();
    let index = index("certificate");
    let authority = Authority::new();
    let expired = FaultProxy::with_certificate(0, server.address(), &authority.expired());
    let port = expired.port();
    let node = node(&expired.url(), &index, "tls: {ca: {file: ca.pem}}");
    node.write("ca.pem", &authority.pem);
    write_events(&node);
    let agent = node.start();
    only_the_file_has_them(&node, &agent);
    assert_eq!(server.count(&index), 0, "nothing may pass a certificate that is not good");
    drop(expired);
    let _renewed = FaultProxy::with_certificate(port, server.address(), &authority.valid());
    everything_arrives(&server, &index, agent);
}
