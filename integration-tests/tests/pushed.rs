//! Events that are pushed: what a client hears, and what that is worth when the agent or its sink is gone a moment later.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::forward::{Forward, Mode, array, binary, message, text};
use integration_tests::{Agent, Node, OpenSearch, PushScenario, numbers, parse, until};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

const TIME: u32 = 1_763_900_000;

fn configured(source: &str) -> Node {
    let node = Node::new();
    node.configure(&format!(
        "sources: {{agents: {{type: forward, listen: 127.0.0.1:0{source}}}}}
pipelines: {{pushed: {{from: [agents], to: [out], durability: always}}}}
sinks: {{out: {{type: file, path: out.ndjson, buffer: b}}}}
buffers: {{b: {{disk: 64MiB}}}}
"
    ));
    node
}

fn connect(agent: &Agent) -> Forward {
    Forward::connect(agent.admin().listening("agents")).unwrap()
}

fn events(of: std::ops::Range<u64>) -> Vec<(u32, Value)> {
    of.map(|n| (TIME, json!({"n": n, "message": format!("number {n}")}))).collect()
}

fn refused(agent: &Agent, reason: &str) -> u64 {
    agent.admin().metrics().count("weir_source_refused_total", &[("source", "agents"), ("reason", reason)])
}

#[test]
fn every_mode_arrives_once_and_is_acknowledged() {
    let node = configured("");
    let agent = node.start();
    let mut client = connect(&agent);
    let mut first = 0;
    for (index, mode) in Mode::ALL.into_iter().enumerate() {
        let count = if mode == Mode::Message { 1 } else { 700 };
        let chunk = format!("chunk-{index}");
        client.send(&message(mode, "app.shop", Some(&chunk), &events(first..first + count))).unwrap();
        assert_eq!(client.ack().unwrap(), chunk);
        // Without a chunk nobody is answered.
        first += count;
        client.send(&message(mode, "app.shop", None, &events(first..first + 1))).unwrap();
        first += 1;
    }
    until("all have arrived", || integration_tests::count(&node.path("out.ndjson")) == first);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(numbers(&node.path("out.ndjson")), (0..first).collect::<Vec<_>>());
    let documents = parse(&node.path("out.ndjson"));
    assert_eq!(
        documents.first(),
        Some(&json!({
            "@timestamp": "2025-11-23T12:13:20.000000000Z", "cluster": "test", "node": "node-1",
            "log": {"tag": "app.shop", "offset": 0}, "n": 0, "message": "number 0",
        }))
    );
    let account = node.ledger().account("pushed", "out");
    account.check();
    assert_eq!((account.read.events, account.delivered.events), (first, first));
}

#[test]
fn a_chunk_that_is_sent_again_is_acknowledged_again_and_taken_once() {
    let node = configured("");
    let agent = node.start();
    let frame = message(Mode::Packed, "t", Some("same"), &events(0..10));
    for _ in 0..3 {
        // Also over another connection.
        let mut client = connect(&agent);
        for _ in 0..2 {
            client.send(&frame).unwrap();
            assert_eq!(client.ack().unwrap(), "same");
        }
    }
    let repeated =
        agent.admin().metrics().count("weir_source_repeated_messages_total", &[("source", "agents")]);
    assert_eq!(repeated, 5);
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(numbers(&node.path("out.ndjson")), (0..10).collect::<Vec<_>>());
}

#[test]
fn what_was_acknowledged_while_the_sink_was_away_survives_the_agent() {
    let node = configured("");
    node.break_output();
    let agent = node.start();
    let mut client = connect(&agent);
    for chunk in 0..20 {
        let name = format!("c{chunk}");
        client.send(&message(Mode::Packed, "t", Some(&name), &events(chunk * 50..chunk * 50 + 50))).unwrap();
        assert_eq!(client.ack().unwrap(), name);
    }
    // At once: nothing was saved in peace.
    agent.kill();
    assert_eq!(node.durably_buffered("pushed", "out"), 1_000);
    node.heal_output();
    let agent = node.start();
    until("all have arrived", || integration_tests::count(&node.path("real.ndjson")) >= 1_000);
    assert_eq!(agent.terminate().code, Some(0));
    let mut arrived = numbers(&node.path("real.ndjson"));
    arrived.sort_unstable();
    assert_eq!(arrived, (0..1_000).collect::<Vec<_>>());
    node.ledger().account("pushed", "out").check();
}

/// A port that nobody has: the agent is to come back at the same one.
fn free_port() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

#[test]
fn killed_between_data_and_ack_nothing_is_lost_or_doubled() {
    const CHUNKS: u64 = 400;
    const EVENTS: u64 = 25;
    const KILLS: u64 = 12;
    let seed = std::env::var("WEIR_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    eprintln!("WEIR_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let search = OpenSearch::shared();
    let index = format!("pushed-{}", std::process::id());
    let (node, address) = (Node::new(), free_port());
    node.configure(&format!(
        "sources: {{agents: {{type: forward, listen: \"{address}\"}}}}
pipelines: {{pushed: {{from: [agents], to: [out], durability: always}}}}
sinks: {{out: {{type: opensearch, endpoints: [\"{}\"], index: {index}, max_wait: 50ms, buffer: b}}}}
buffers: {{b: {{disk: 64MiB}}}}
",
        search.url()
    ));
    let mut agent = Some(node.start());
    let mut open: BTreeSet<u64> = (0..CHUNKS).collect();
    let mut kills = 0;
    while !open.is_empty() {
        // Several chunks are under way when it happens.
        let most = (2 * CHUNKS / KILLS) as usize;
        let round: Vec<u64> = open.iter().copied().take(random.random_range(1..=most)).collect();
        let mut client = Forward::connect(address).unwrap();
        for chunk in &round {
            let range = chunk * EVENTS..(chunk + 1) * EVENTS;
            client.send(&message(Mode::Packed, "t", Some(&chunk.to_string()), &events(range))).unwrap();
        }
        let is_last = kills == KILLS;
        let waited_for = if is_last { round.len() } else { random.random_range(0..=round.len()) };
        for _ in 0..waited_for {
            let chunk = client.ack().unwrap().parse().unwrap();
            open.remove(&chunk);
        }
        if !is_last {
            kills += 1;
            // Now and then a moment passes in which it may be storing, saving or sending.
            thread::sleep(Duration::from_millis(random.random_range(0..20)));
            agent.take().unwrap().kill();
            agent = Some(node.start());
        }
    }
    let wanted = CHUNKS * EVENTS;
    until("all are in OpenSearch", || search.count(&index) >= wanted);
    assert_eq!(agent.take().unwrap().terminate().code, Some(0));
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    search.for_each_document(&index, |hit| {
        *found.entry(hit["_source"]["n"].as_u64().unwrap()).or_default() += 1
    });
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    let missing: Vec<u64> = (0..wanted).filter(|n| !found.contains_key(n)).collect();
    assert!(doubled.is_empty() && missing.is_empty(), "doubled {doubled:?}, missing {missing:?}");
    node.ledger().account("pushed", "out").check();
    search.remove(&index);
}

#[test]
fn clients_that_do_wrong_are_cut_off_and_cost_no_memory() {
    let node = configured(", max_message: 1MiB, max_connections: 20");
    let agent = node.start();
    let before = agent.resident_bytes();
    let is_cut_off = |bytes: &[u8]| {
        let mut client = connect(&agent);
        // It may be closed while something is still sent.
        let _ = client.send(bytes);
        assert!(client.is_closed(), "{:x?}", bytes.get(..20));
    };
    is_cut_off(b"GET / HTTP/1.1\r\n\r\n");
    is_cut_off(&[0xc1; 100]);
    let mut torn = Vec::new();
    array(&mut torn, 3);
    text(&mut torn, "t");
    binary(&mut torn, b"\x92\xce\x00");
    torn.push(0x80);
    is_cut_off(&torn);
    assert_eq!(refused(&agent, "malformed"), 3);
    // Four gigabytes are announced, and none comes.
    let mut giant = vec![0x93, 0xa1, b't', 0xc6];
    giant.extend_from_slice(&u32::MAX.to_be_bytes());
    is_cut_off(&giant);
    // Millions of empty events in some kilobytes.
    let mut bomb = Vec::new();
    let mut gzip = flate2::write::GzEncoder::new(&mut bomb, flate2::Compression::fast());
    for _ in 0..64 {
        gzip.write_all(&b"\x92\x00\x80".repeat(1 << 18)).unwrap();
    }
    gzip.finish().unwrap();
    let mut packed = Vec::new();
    array(&mut packed, 3);
    text(&mut packed, "t");
    binary(&mut packed, &bomb);
    packed.extend_from_slice(b"\x81\xaacompressed\xa4gzip");
    is_cut_off(&packed);
    assert_eq!(refused(&agent, "too_large"), 2);
    // What is broken off is nobody's fault and stays nowhere.
    let whole = message(Mode::Packed, "t", Some("c"), &events(0..100));
    for end in [1, 10, whole.len() / 2, whole.len() - 1] {
        connect(&agent).send(&whole[..end]).unwrap();
    }
    until("they are gone", || {
        agent.admin().metrics().count("weir_source_connections", &[("source", "agents")]) == 0
    });
    // More than may be connected.
    let address = agent.admin().listening("agents");
    let many: Vec<TcpStream> = (0..25).map(|_| TcpStream::connect(address).unwrap()).collect();
    until("some are refused", || refused(&agent, "connections") == 5);
    drop(many);
    // Others are served meanwhile.
    until("there is room again", || {
        let mut client = connect(&agent);
        client.send(&whole).is_ok() && client.ack().is_ok()
    });
    let after = agent.resident_bytes();
    assert!(after < before + (24 << 20), "{} MiB, then {} MiB", before >> 20, after >> 20);
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(numbers(&node.path("out.ndjson")), (0..100).collect::<Vec<_>>());
}

#[test]
fn who_does_not_know_the_key_is_not_let_in() {
    let node = configured(", shared_key: {file: key}");
    node.write("key", "secret\n");
    let agent = node.start();
    let address = agent.admin().listening("agents");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut head = [0; 6];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head, *b"\x92\xa4HELO", "it greets first");
    let mut ping = Vec::new();
    array(&mut ping, 6);
    for part in ["PING", "client", "salt", "00", "", ""] {
        text(&mut ping, part);
    }
    stream.write_all(&ping).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("secret"));
    until("it is counted", || refused(&agent, "unauthorized") == 1);
    assert!(!agent.log().contains("secret"));
    // Who says nothing at all is not let in either, and a message in the place of a ping is none.
    let mut client = Forward::connect(address).unwrap();
    client.send(&message(Mode::Packed, "t", Some("c"), &events(0..1))).unwrap();
    assert!(client.ack().is_err());
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(integration_tests::count(&node.path("out.ndjson")), 0);
}

#[test]
fn a_source_that_is_changed_goes_on_at_its_address() {
    let (node, address) = (Node::new(), free_port());
    let configure = |more: &str| {
        node.configure(&format!(
            "sources: {{agents: {{type: forward, listen: \"{address}\"{more}}}}}
pipelines: {{pushed: {{from: [agents], to: [out], durability: always}}}}
sinks: {{out: {{type: file, path: out.ndjson, buffer: b}}}}
buffers: {{b: {{disk: 64MiB}}}}
"
        ));
    };
    configure("");
    let agent = node.start();
    for round in 0..5_u64 {
        let mut client = Forward::connect(address).unwrap();
        let name = round.to_string();
        client.send(&message(Mode::Packed, "t", Some(&name), &events(round..round + 1))).unwrap();
        assert_eq!(client.ack().unwrap(), name);
        configure(&format!(", max_message: {}MiB", round + 1));
        let (status, answer) = agent.admin().reload();
        assert_eq!(status, 200, "{answer}");
    }
    // An address that somebody else has is an error of the configuration, and nothing changes.
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = other.local_addr().unwrap();
    node.configure(&format!(
        "sources: {{agents: {{type: forward, listen: \"{taken}\"}}}}
pipelines: {{pushed: {{from: [agents], to: [out], durability: always}}}}
sinks: {{out: {{type: file, path: out.ndjson, buffer: b}}}}
buffers: {{b: {{disk: 64MiB}}}}
"
    ));
    let (status, answer) = agent.admin().reload();
    assert_ne!(status, 200);
    assert!(answer.to_string().contains(&format!("cannot listen at {taken}")), "{answer}");
    let mut client = Forward::connect(address).unwrap();
    client.send(&message(Mode::Message, "t", Some("last"), &events(5..6))).unwrap();
    assert_eq!(client.ack().unwrap(), "last");
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(numbers(&node.path("out.ndjson")), (0..6).collect::<Vec<_>>());
}

#[test]
fn acks_come_at_full_rate() {
    let begun = Instant::now();
    let scenario = PushScenario { time: Duration::from_secs(5), rate: 100_000 };
    let report = scenario.play(&|text| eprintln!("{:?} {text}", begun.elapsed()));
    assert_eq!(report.problems(), Vec::<String>::new(), "{:#}", report.to_json());
}
