//! Events of a living agent, looked at and recorded from outside, and a recording that replays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;

use integration_tests::{Agent, Node, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
plugins:
  sampler: {artifact: file:plugins/log-sampler.wasm, config: {field: level, rates: {debug: 0}}}
  strip: {artifact: file:plugins/field-filter.wasm, config: {remove: [user.email], set: {team: a}}}
pipelines: {all: {from: [pods], stages: [sampler, strip], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

fn event(n: usize) -> String {
    let level = if n.is_multiple_of(2) { "debug" } else { "info" };
    json!({"n": n, "level": level, "message": format!("payment of Alice {n}"), "user": {"email": "alice@example.org", "id": 471_147_114_711_u64}}).to_string()
}

/// A tap that has begun: it sees everything that is written from now on.
fn tap(node: &Node, agent: &Agent, arguments: &[&str]) -> Agent {
    let before = taps(agent);
    let command = node.command(&[&["tap", "-c", "weir.yaml"], arguments].concat());
    let tap = Agent::spawn(command, &node.path("data"));
    until("the tap is open", || taps(agent) == before + 1);
    tap
}

fn taps(agent: &Agent) -> u64 {
    let status: Value = serde_json::from_str(&agent.admin().get("/api/status").body).unwrap();
    status["taps"].as_u64().unwrap()
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn node() -> Node {
    let node = Node::with_compiled(&["log-sampler", "field-filter"]);
    node.configure(CONFIG);
    node
}

#[test]
fn events_are_shown_where_they_are_looked_at() {
    let node = node();
    let mut log = node.pod("webshop_basket_u1");
    let agent = node.start();
    let limit = ["--limit", "10", "--output", "json"];
    let of = |arguments: &[&str]| tap(&node, &agent, &[arguments, &limit].concat());
    let source = of(&["all", "--after", "source"]);
    let sampled = of(&["--after", "sampler", "--where", "level=debug", "--where", "n!=0"]);
    let end = of(&["--where", "kubernetes.namespace=webshop"]);
    let never = tap(&node, &agent, &["--where", "level=fatal", "--for", "2s"]);
    log.lines((0..30).map(event));

    let source = source.wait();
    assert_eq!(source.code, Some(0), "{source}");
    let seen = objects(&source.stdout);
    assert_eq!(seen.len(), 10);
    for (n, seen) in seen.iter().enumerate() {
        assert_eq!((&seen["verdict"], &seen["document"]["n"]), (&json!("read"), &json!(n)));
        assert_eq!(seen["document"]["user"]["email"], "alice@example.org");
        assert_eq!((&seen["pipeline"], &seen["attributes"]["pod"]), (&json!("all"), &json!("basket")));
        assert_eq!(seen.get("text"), None);
    }
    assert!(source.log.contains("the limit is reached; 10 events shown"), "{source}");

    let sampled = objects(&sampled.wait().stdout);
    assert_eq!(sampled.len(), 10);
    for (at, seen) in sampled.iter().enumerate() {
        assert_eq!(seen["document"]["n"], json!(2 * (at + 1)));
        let verdict = [&seen["verdict"], &seen["stage"], &seen["reason"]];
        assert_eq!(verdict, [&json!("sampled"), &json!("sampler"), &json!("level=debug")]);
    }

    // At the end: what was dropped as it came to the stage, the rest as it goes to the sink.
    for seen in objects(&end.wait().stdout) {
        let is_dropped = seen["document"]["level"] == "debug";
        assert_eq!(seen["verdict"] == "sampled", is_dropped, "{seen}");
        assert_eq!(seen["document"]["user"].get("email").is_some(), is_dropped, "{seen}");
        assert_eq!(seen["document"].get("team").is_some(), !is_dropped, "{seen}");
    }

    let never = never.wait();
    assert_eq!((never.code, never.stdout.as_str()), (Some(0), ""), "{never}");
    assert!(never.log.contains("the time is over; 0 events shown"), "{never}");

    until("no tap is left", || taps(&agent) == 0);
    let admin = agent.admin();
    until("the events are delivered", || admin.ledger().account("all", "out").delivered.events == 15);
    admin.ledger().check();

    let text = tap(&node, &agent, &["--limit", "1"]);
    log.lines([event(31)]);
    let text = text.wait();
    assert!(text.stdout.contains(" kept  all: webshop/basket/"), "{text}");
    for (arguments, expected) in [
        (&["nope"][..], "no pipeline `nope`; there are all"),
        (&["--after", "nope"], "no stage `nope`; there are source, sampler, strip"),
    ] {
        let wrong = node.weir(&[&["tap", "-c", "weir.yaml"], arguments].concat());
        assert_eq!(wrong.code, Some(1), "{wrong}");
        assert!(wrong.log.contains(expected), "{wrong}");
    }
    for arguments in [&["--sample", "2"][..], &["--where", "level"], &["--keep", "a"], &["--limit", "0"]] {
        let wrong = node.weir(&[&["tap", "-c", "weir.yaml"], arguments].concat());
        assert_eq!(wrong.code, Some(2), "{wrong}");
    }
    // Nobody sees an event who cannot read the data folder.
    let refused = admin.post("/api/tap", &[]);
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(agent.terminate().code, Some(0));
    let nobody = node.weir(&["tap", "-c", "weir.yaml"]);
    assert_eq!(nobody.code, Some(1), "{nobody}");
    assert!(nobody.log.contains("no agent runs"), "{nobody}");
}

#[test]
fn a_redacted_recording_replays() {
    let node = node();
    let mut log = node.pod("webshop_basket_u1");
    let agent = node.start();
    let record = ["all", "--record", "levels.events.ndjson", "--redact", "--keep", "n", "--limit", "20"];
    let recording = tap(&node, &agent, &record);
    let plain = tap(&node, &agent, &["--record", "plain.ndjson", "--limit", "20", "--after", "source"]);
    log.lines((0..20).map(event));
    let recording = recording.wait();
    assert_eq!(recording.code, Some(0), "{recording}");
    assert!(recording.log.contains("20 events recorded in levels.events.ndjson"), "{recording}");
    assert_eq!(plain.wait().code, Some(0));

    let path = node.path("levels.events.ndjson");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let recorded = std::fs::read_to_string(&path).unwrap();
    for gone in ["Alice", "alice@", "471147114711", "payment", "webshop", "basket"] {
        assert!(!recorded.contains(gone), "{gone}: {recorded}");
    }
    let (recorded, plain) =
        (objects(&recorded), objects(&std::fs::read_to_string(node.path("plain.ndjson")).unwrap()));
    assert_eq!((recorded.len(), plain.len()), (20, 20));
    let texts = |lines: &[Value]| {
        let mut texts: Vec<Value> = objects(
            &lines.iter().map(|line| format!("{}\n", line["text"].as_str().unwrap())).collect::<String>(),
        );
        texts.sort_by_key(|text| text["n"].as_u64());
        texts
    };
    let (hidden, read) = (texts(&recorded), texts(&plain));
    for (n, (hidden, read)) in hidden.iter().zip(&read).enumerate() {
        assert_eq!(read.to_string(), event(n));
        assert_eq!((&hidden["n"], &hidden["level"]), (&read["n"], &read["level"]));
        let length = |value: &Value| value["message"].as_str().map(str::len);
        assert_eq!(length(hidden), length(read));
        // The same value is the same everywhere.
        assert_eq!(hidden["user"], recorded_user(&recorded));
    }

    // As a fixture: what comes out is written down, and comes out again.
    std::fs::create_dir_all(node.path("author/fixtures")).unwrap();
    node.write("author/Cargo.toml", "");
    node.write("author/manifest.json", r#"{"name": "log-sampler"}"#);
    std::fs::copy(node.path("plugins/log-sampler.wasm"), node.path("author/log-sampler.wasm")).unwrap();
    std::fs::rename(&path, node.path("author/fixtures/levels.events.ndjson")).unwrap();
    node.write("author/fixtures/levels.config.json", r#"{"field": "level", "rates": {"debug": 0}}"#);
    let test = |more: &[&str]| node.weir(&[&["plugin", "test", "author"], more].concat());
    let updated = test(&["--update"]);
    assert_eq!(updated.code, Some(0), "{updated}");
    let tested = test(&[]);
    assert_eq!(tested.code, Some(0), "{tested}");
    let expected =
        objects(&std::fs::read_to_string(node.path("author/fixtures/levels.expected.ndjson")).unwrap());
    assert_eq!(expected.iter().filter(|line| line.get("drop").is_some()).count(), 10);

    let diff = node.weir(&[
        "plugin",
        "diff",
        "plugins/log-sampler.wasm",
        "plugins/log-sampler.wasm",
        "--traffic",
        "author/fixtures/levels.events.ndjson",
        "--config",
        "author/fixtures/levels.config.json",
    ]);
    assert_eq!(diff.code, Some(0), "{diff}");

    // What is there is not written over, and what was recorded until an interrupt is whole.
    let again = node.weir(&["tap", "-c", "weir.yaml", "--record", "plain.ndjson"]);
    assert_eq!(again.code, Some(1), "{again}");
    assert!(again.log.contains("is there already"), "{again}");
    until("no tap is left", || taps(&agent) == 0);
    let open = tap(&node, &agent, &["--record", "open.ndjson", "--output", "json"]);
    log.lines((20..25).map(event));
    let lines = || std::fs::read_to_string(node.path("open.ndjson")).unwrap().lines().count();
    until("they are recorded", || lines() == 5);
    open.signal(Signal::INT);
    let open = open.wait();
    assert_eq!(open.code, Some(0), "{open}");
    let told: Value = serde_json::from_str(&open.stdout).unwrap();
    assert_eq!((&told["events"], &told["redacted"]), (&json!(5), &json!(false)));
    agent.terminate();
}

fn recorded_user(recorded: &[Value]) -> Value {
    let text: Value = serde_json::from_str(recorded[0]["text"].as_str().unwrap()).unwrap();
    text["user"].clone()
}

#[test]
fn a_tap_goes_on_over_a_reload_and_ends_with_its_pipeline_or_the_agent() {
    let node = node();
    let mut log = node.pod("webshop_basket_u1");
    let agent = node.start();
    let reload = |config: &str| {
        node.configure(config);
        let (status, answer) = agent.admin().reload();
        assert_eq!(status, 200, "{answer}");
    };
    let command = node.command(&["tap", "-c", "weir.yaml", "all", "--output", "json"]);
    let (following, stdout) = Agent::spawn_piped(command, &node.path("data"));
    let mut lines = BufReader::new(stdout).lines();
    until("the tap is open", || taps(&agent) == 1);
    let other = tap(&node, &agent, &["--after", "strip"]);
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    log.lines([event(1)]);
    assert_eq!(next()["document"]["team"], "a");
    reload(&CONFIG.replace("team: a", "team: b"));
    log.lines([event(3)]);
    assert_eq!(next()["document"]["team"], "b");
    // The stage goes, then the pipeline.
    reload(&CONFIG.replace("stages: [sampler, strip]", "stages: [sampler]"));
    let other = other.wait();
    assert_eq!(other.code, Some(0), "{other}");
    assert!(other.log.contains("generation 3 runs now: there is no stage `strip`"), "{other}");
    reload(&CONFIG.replace("{all: {from", "{some: {from"));
    let following = following.wait();
    assert_eq!(following.code, Some(0), "{following}");
    assert!(following.log.contains("there is no pipeline `all`; there are some"), "{following}");

    until("no tap is left", || taps(&agent) == 0);
    let last = tap(&node, &agent, &[]);
    assert_eq!(agent.terminate().code, Some(0));
    let last = last.wait();
    assert_eq!(last.code, Some(0), "{last}");
    assert!(last.log.contains("the agent stops; 0 events shown"), "{last}");
}

#[test]
fn who_does_not_read_holds_nothing_up() {
    let node = node();
    let mut log = node.pod("webshop_basket_u1");
    let agent = node.start();
    let command = node.command(&["tap", "-c", "weir.yaml", "--after", "source", "--output", "json"]);
    let (stuck, stdout) = Agent::spawn_piped(command, &node.path("data"));
    until("the tap is open", || taps(&agent) == 1);
    // Nobody reads the pipe, whose 64 KiB and those of the connection are soon full.
    let wide = "x".repeat(20_000);
    let admin = agent.admin();
    for round in 0..10 {
        log.lines((0..200).map(|n| json!({"level": "info", "n": n, "wide": wide}).to_string()));
        let wanted = (round + 1) * 200;
        until("the events are delivered", || admin.ledger().account("all", "out").delivered.events == wanted);
    }
    drop(stdout);
    stuck.signal(Signal::TERM);
    assert_eq!(stuck.wait().signal, None);
    until("no tap is left", || taps(&agent) == 0);
    admin.ledger().check();
    assert_eq!(agent.terminate().code, Some(0));
}
