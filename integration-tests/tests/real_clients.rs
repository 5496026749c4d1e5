//! What other people's loggers and SDKs send arrives once, in every mode that they have: Fluentd's loggers for Python and
//! Go, a logger of Fluent Forward for Node, the OpenTelemetry SDKs for Python and Node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::time::Duration;

use integration_tests::{Admin, Agent, Authority, Client, Clients, Node, own_members, parse, until};
use jiff::Timestamp;
use serde_json::{Value, json};

const EVENTS: u64 = 1000;
/// Interpreters take their time to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Which program sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    FluentPython,
    FluentNode,
    FluentGo,
    OtlpPython,
    OtlpNode,
}

/// A client in one of its modes. Its name is the mode behind the program's name.
#[derive(Clone, Copy, Debug)]
struct Case {
    program: Program,
    options: &'static [(&'static str, &'static str)],
}

const fn case(program: Program, options: &'static [(&'static str, &'static str)]) -> Case {
    Case { program, options }
}

const CASES: [Case; 18] = [
    case(Program::FluentPython, &[("mode", "seconds")]),
    case(Program::FluentPython, &[("mode", "nanoseconds")]),
    case(Program::FluentPython, &[("mode", "async")]),
    case(Program::FluentNode, &[("mode", "Message")]),
    case(Program::FluentNode, &[("mode", "Forward")]),
    case(Program::FluentNode, &[("mode", "PackedForward")]),
    case(Program::FluentNode, &[("mode", "CompressedPackedForward")]),
    case(Program::FluentGo, &[("connections", "8")]),
    case(Program::OtlpPython, &[("mode", "http"), ("body", "map")]),
    case(Program::OtlpPython, &[("mode", "http-gzip")]),
    case(Program::OtlpPython, &[("mode", "grpc")]),
    case(Program::OtlpPython, &[("mode", "grpc-gzip"), ("body", "map")]),
    case(Program::OtlpNode, &[("mode", "http")]),
    case(Program::OtlpNode, &[("mode", "http"), ("body", "map")]),
    case(Program::OtlpNode, &[("mode", "http-gzip")]),
    case(Program::OtlpNode, &[("mode", "grpc")]),
    case(Program::OtlpNode, &[("mode", "grpc"), ("body", "map")]),
    case(Program::OtlpNode, &[("mode", "grpc-gzip")]),
];

// === impl Case ===

impl Case {
    /// Tells its events from those of all others.
    fn name(&self) -> String {
        let options: Vec<&str> = self.options.iter().map(|(_, value)| *value).collect();
        format!("{:?}-{}", self.program, options.join("-"))
    }

    fn is_fluent(&self) -> bool {
        !matches!(self.program, Program::OtlpPython | Program::OtlpNode)
    }

    fn has(&self, option: (&str, &str)) -> bool {
        self.options.contains(&option)
    }

    fn client(&self, admin: &Admin) -> Client {
        let clients = Clients::shared();
        let to = admin.listening(if self.is_fluent() { "agents" } else { "otel" });
        let client = match self.program {
            Program::FluentPython => clients.fluent_python(to),
            Program::FluentNode => clients.fluent_node(to),
            Program::FluentGo => clients.fluent_go(to),
            Program::OtlpPython => clients.otlp_python(to),
            Program::OtlpNode => clients.otlp_node(to),
        };
        let client = client.with("client", self.name()).with("count", EVENTS);
        self.options.iter().fold(client, |client, (name, value)| client.with(name, value))
    }

    /// Fails unless a document is what its client meant with the event of this number.
    fn check(&self, document: &Value, n: u64) {
        let (name, text) = (self.name(), format!("event {n}"));
        let mut own = own_members(document);
        if self.is_fluent() {
            let prefix = match self.program {
                Program::FluentPython => "python",
                Program::FluentNode => "node",
                _ => "go",
            };
            assert_eq!(document["log"]["tag"], format!("{prefix}.{name}"), "{document}");
            assert_eq!(Value::from(own), json!({"client": name, "n": n, "message": text}), "{document}");
            let is_whole = document["@timestamp"].as_str().unwrap().ends_with(".000000000Z");
            assert!(is_whole || !self.has(("mode", "seconds")), "{document}");
            return;
        }
        // The SDK for Node takes another look at the clock.
        let observed = own.remove("observed_timestamp");
        assert!(observed.as_ref() != Some(&document["@timestamp"]), "{document}");
        // An SDK says of itself what it likes.
        own["resource"]["attributes"].as_object_mut().unwrap().retain(|name, _| name == "service.name");
        let mut expected = json!({
            "severity_text": "INFO",
            "severity_number": 9,
            "level": "info",
            "resource": {"attributes": {"service.name": name}},
            "scope": {"name": "numbered", "version": "1.0"},
        });
        if self.has(("body", "map")) {
            (expected["n"], expected["text"]) = (json!(n), json!(text));
        } else {
            (expected["message"], expected["attributes"]) = (json!(text), json!({"n": n}));
        }
        assert_eq!(Value::from(own), expected, "{document}");
    }
}

fn client_of(document: &Value) -> &str {
    let of_resource = &document["resource"]["attributes"]["service.name"];
    let name = document["client"].as_str().or(of_resource.as_str());
    name.unwrap_or_else(|| panic!("nobody's document: {document}"))
}

fn number_of(document: &Value) -> u64 {
    let number = document["n"].as_u64().or(document["attributes"]["n"].as_u64());
    number.unwrap_or_else(|| panic!("no number in {document}"))
}

/// Waits until so many events are delivered, and asserts that nothing else came or was refused.
fn settle(agent: &Agent, events: u64) {
    let account = || agent.admin().ledger().account("pushed", "out");
    until("all events are read", || account().read.events >= events);
    until("all events are delivered", || account().is_settled());
    let account = account();
    assert_eq!((account.read.events, account.delivered.events), (events, events), "{account:#?}");
}

fn refused(agent: &Agent, source: &str, reason: &str) -> u64 {
    let labels = [("source", source), ("reason", reason)];
    agent.admin().metrics().count("weir_source_refused_total", &labels)
}

#[test]
fn every_client_in_every_mode_is_understood() {
    let node = Node::new();
    node.configure(
        "
sources: {agents: {type: forward, listen: '127.0.0.1:0'}, otel: {type: otlp, listen: '127.0.0.1:0'}}
pipelines: {pushed: {from: [agents, otel], to: [out], durability: always}}
sinks: {out: {type: file, path: out.ndjson, buffer: b}}
buffers: {b: {disk: 64MiB}}
",
    );
    let agent = node.start();
    let admin = agent.admin();
    let began = Timestamp::now();
    // Two at a time, so that they meet.
    for pair in CASES.chunks(2) {
        let sending: Vec<_> = pair.iter().map(|case| case.client(&admin).start()).collect();
        sending.into_iter().for_each(|sending| sending.wait(LIMIT).expect_content());
    }
    settle(&agent, EVENTS * CASES.len() as u64);
    for sample in admin.metrics().samples {
        let is_fault = ["weir_source_refused_total", "weir_source_repeated_messages_total"];
        assert!(!is_fault.contains(&sample.name.as_str()) || sample.value == 0.0, "{sample:?}");
    }
    let log = agent.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    node.ledger().check();

    let documents = parse(&node.path("out.ndjson"));
    let mut of_clients: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for document in &documents {
        of_clients.entry(client_of(document)).or_default().push(document);
    }
    assert_eq!(of_clients.len(), CASES.len(), "{:?}", of_clients.keys());
    // A time of whole seconds may lie before the second of the start.
    let times = began - jiff::SignedDuration::from_secs(1)..Timestamp::now();
    for case in CASES {
        let mut documents = of_clients.remove(case.name().as_str()).unwrap();
        documents.sort_by_key(|document| number_of(document));
        assert!(documents.iter().map(|document| number_of(document)).eq(0..EVENTS), "{case:?}");
        for (n, document) in documents.iter().enumerate() {
            case.check(document, n as u64);
            let time: Timestamp = document["@timestamp"].as_str().unwrap().parse().unwrap();
            assert!(times.contains(&time), "{document}");
        }
    }
}

/// A node with sources that want to know who sends, whom it trusts beside it.
fn guarded() -> Node {
    let node = Node::new();
    let authority = Authority::new();
    let certificate = authority.valid();
    node.write("ca.pem", &authority.pem);
    node.write("other-ca.pem", &Authority::new().pem);
    node.write("cert.pem", &certificate.pem);
    node.write("key.pem", &certificate.key_pem);
    for (file, secret) in [("shared", "sesame\n"), ("password", "open\n"), ("token", "t0ken\n")] {
        node.write(file, secret);
    }
    node.configure(
        "
sources:
  agents:
    type: forward
    listen: '127.0.0.1:0'
    tls: {cert: {file: cert.pem}, key: {file: key.pem}}
    shared_key: {file: shared}
    users: [{username: ali, password: {file: password}}]
  plain: {type: forward, listen: '127.0.0.1:0', shared_key: {file: shared}}
  otel:
    type: otlp
    listen: '127.0.0.1:0'
    tls: {cert: {file: cert.pem}, key: {file: key.pem}}
    bearer: {file: token}
pipelines: {pushed: {from: [agents, plain, otel], to: [out], durability: always}}
sinks: {out: {type: file, path: out.ndjson, buffer: b}}
buffers: {b: {disk: 64MiB}}
",
    );
    node
}

#[test]
fn who_has_the_keys_is_let_in() {
    let node = guarded();
    let agent = node.start();
    let (admin, clients, ca) = (agent.admin(), Clients::shared(), node.path("ca.pem"));
    let mut events = 0;
    let mut send = |name: String, client: Client| {
        client.with("client", &name).with("count", 200).run(LIMIT).expect_content();
        events += 200;
    };
    for mode in ["Message", "CompressedPackedForward"] {
        let user = |client: Client| client.with("user", "ali").with("password", "open");
        let client = clients.fluent_node(admin.listening("agents")).with_file("ca", &ca);
        send(format!("tls-{mode}"), user(client.with("key", "sesame").with("mode", mode)));
        let client = clients.fluent_node(admin.listening("plain"));
        send(format!("plain-{mode}"), client.with("key", "sesame").with("mode", mode));
    }
    let otel = admin.listening("otel");
    for mode in ["http-gzip", "grpc"] {
        for (language, client) in [("python", clients.otlp_python(otel)), ("node", clients.otlp_node(otel))] {
            let client = client.with_file("ca", &ca).with("bearer", "t0ken").with("mode", mode);
            send(format!("otlp-{language}-{mode}"), client);
        }
    }
    settle(&agent, events);
    for source in ["agents", "plain", "otel"] {
        assert_eq!(refused(&agent, source, "unauthorized"), 0, "{source}");
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for document in parse(&node.path("out.ndjson")) {
        *counts.entry(client_of(&document).to_owned()).or_default() += 1;
    }
    assert!(counts.len() == 8 && counts.values().all(|count| *count == 200), "{counts:?}");
}

#[test]
fn who_has_the_wrong_key_hears_so_and_brings_nothing_in() {
    let node = guarded();
    let agent = node.start();
    let (admin, clients, ca) = (agent.admin(), Clients::shared(), node.path("ca.pem"));
    let (tls, plain) = (admin.listening("agents"), admin.listening("plain"));
    let otel = admin.listening("otel");
    let trusting = |client: Client| client.with_file("ca", &ca);
    let user = |key, password| {
        let client = trusting(clients.fluent_node(tls)).with("key", key);
        client.with("user", "ali").with("password", password)
    };
    let python = |mode| trusting(clients.otlp_python(otel)).with("bearer", "wrong").with("mode", mode);
    let js = |mode| trusting(clients.otlp_node(otel)).with("mode", mode);
    // Each with what its user reads.
    let wrong = [
        (user("wrong", "open"), "shared_key mismatch"),
        (user("sesame", "wrong"), "username/password mismatch"),
        (clients.fluent_node(plain).with("key", "wrong"), "shared_key mismatch"),
        (python("http"), "code: 401, reason: Unauthorized"),
        (python("grpc"), "the authorization is missing or wrong"),
        (js("http"), "Unauthorized"),
        (js("grpc").with("bearer", "wrong"), "UNAUTHENTICATED: the authorization is missing or wrong"),
    ];
    let send = |clients: Vec<(Client, &str)>| {
        let start = |(client, says): (Client, _)| (client.with("count", 10).with("limit", 3).start(), says);
        let sending: Vec<_> = clients.into_iter().map(start).collect();
        for (sending, says) in sending {
            let gone = sending.wait(LIMIT);
            assert!(!gone.is_content() && gone.output.contains(says), "no `{says}`: {gone}");
        }
    };
    send(wrong.into());
    for (source, at_least) in [("agents", 2), ("plain", 1), ("otel", 4)] {
        let refused = refused(&agent, source, "unauthorized");
        assert!(refused >= at_least, "{source}: {refused}");
    }
    // Whom clients do not trust they tell nothing.
    let other = node.path("other-ca.pem");
    send(vec![
        (clients.fluent_node(tls).with_file("ca", &other).with("key", "sesame"), "certificate"),
        (clients.otlp_node(otel).with_file("ca", &other).with("bearer", "t0ken"), "certificate"),
    ]);
    assert_eq!(admin.ledger().account("pushed", "out").read.events, 0);
    let log = agent.log();
    for secret in ["sesame", "t0ken", "wrong"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
