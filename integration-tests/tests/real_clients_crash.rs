//! `kill -9` while other people's loggers and SDKs wait for their answers: they send again what was not answered, and nothing
//! is lost and nothing doubled in a real OpenSearch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use integration_tests::{
    Account, Agent, Client, Clients, Gone, Node, OpenSearch, Sending, until, until_within,
};
use rand::Rng as _;
use serde_json::Value;

const NAMES: [&str; 3] = ["go", "protobuf", "json"];
const KILLS: u64 = 5;
/// Of each client.
const EVENTS: u64 = 5000;
/// A second, of those that would else be done before the first kill.
const RATE: u64 = 800;
/// How long a client tries one event, or one request. It is longer than an agent is away.
const TRIES: u64 = 60;
const LIMIT: Duration = Duration::from_secs(30);

/// Nobody else is given it meanwhile: it is below those that the kernel chooses for connections and for listeners that do
/// not care.
fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::rng().random_range(10_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn account(agent: &Agent) -> Account {
    agent.admin().ledger().account("pushed", "search")
}

#[test]
fn kills_lose_and_double_nothing_that_is_sent_again() {
    let server = OpenSearch::shared();
    let node = Node::new();
    let (agents, otel) = (free_address(), free_address());
    let index = format!("clients-{:016x}", rand::rng().random::<u64>());
    node.configure(&format!(
        "
sources: {{agents: {{type: forward, listen: '{agents}'}}, otel: {{type: otlp, listen: '{otel}'}}}}
pipelines: {{pushed: {{from: [agents, otel], to: [search], durability: always}}}}
sinks: {{search: {{type: opensearch, endpoints: ['{}'], index: '{index}', max_wait: 300ms, buffer: b}}}}
buffers: {{b: {{disk: 64MiB}}}}
",
        server.url()
    ));
    let mut agent = node.start();
    let clients = Clients::shared();
    // The SDK for Node does not try again over gRPC.
    let all = [
        clients.fluent_go(agents).with("connections", 16),
        clients.otlp_python(otel).with("mode", "http-gzip").with("rate", RATE).with("batch", 20),
        clients.otlp_node(otel).with("mode", "http").with("rate", RATE).with("batch", 20),
    ];
    let sent = EVENTS * NAMES.len() as u64;
    let start = |(name, client): (&str, Client)| {
        client.with("client", name).with("count", EVENTS).with("limit", TRIES).start()
    };
    let mut sending: Vec<Sending> = NAMES.into_iter().zip(all).map(start).collect();

    for kill in 1..=KILLS {
        let goal = sent * kill / (KILLS + 1);
        until_within(LIMIT, "events arrive", || account(&agent).read.events >= goal);
        thread::sleep(Duration::from_millis(rand::rng().random_range(0..20)));
        assert!(sending.iter_mut().any(Sending::is_running), "nobody sends any more at kill {kill}");
        let ended = agent.kill();
        assert_eq!(ended.signal, Some(9), "it was to be killed: {ended}");
        node.ledger().check();
        agent = node.start();
        eprintln!("kill {kill} at {goal} of {sent} events");
    }
    let gone: Vec<Gone> = sending.into_iter().map(|sending| sending.wait(LIMIT)).collect();
    gone.iter().for_each(Gone::expect_content);
    // Kills that nobody noticed prove nothing. The logger for Go always waits for an answer.
    assert!(gone[0].output.contains("error reading message response ack"), "{}", gone[0]);
    until("all events are delivered", || account(&agent).is_settled());
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");

    let mut found: BTreeMap<(String, u64), u64> = BTreeMap::new();
    server.for_each_document(&index, |hit| *found.entry(event_of(&hit["_source"])).or_default() += 1);
    for client in NAMES {
        let copies = |n| found.get(&(client.to_owned(), n)).copied().unwrap_or_default();
        let missing = (0..EVENTS).filter(|n| copies(*n) == 0).count();
        let doubled = (0..EVENTS).filter(|n| copies(*n) > 1).count();
        assert_eq!((missing, doubled), (0, 0), "{client}: missing and doubled of {EVENTS}");
    }
    assert_eq!(found.len() as u64, sent, "somebody else's events");
    // What was safe when the agent was killed before its answer went out is read again, and becomes the same document.
    let account = node.ledger().account("pushed", "search");
    let again = account.read.events.checked_sub(sent).expect("every event was read");
    eprintln!("{again} events were read again after they were safe");
    assert_eq!(account.delivered, account.read, "{account:#?}");
    server.remove(&index);
}

/// Who sent it, and its number.
fn event_of(document: &Value) -> (String, u64) {
    let of_resource = &document["resource"]["attributes"]["service.name"];
    let client = document["client"].as_str().or(of_resource.as_str()).expect("a client");
    let number = document["n"].as_u64().or(document["attributes"]["n"].as_u64()).expect("a number");
    (client.to_owned(), number)
}
